"""``lina`` called in this process, as a shell would."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lina.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Lina = Callable[..., Done]


@pytest.fixture
def lina(capsys: pytest.CaptureFixture[str]) -> Lina:
    def call(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        written = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, written.out, written.err)

    return call


@pytest.fixture
def refused(lina: Lina) -> Callable[..., str]:
    """The one line of a call that must fail for a mistake of the user."""

    def call(*arguments: str) -> str:
        done = lina(*arguments)
        assert done.code == 2
        assert done.out == ""
        assert done.err.startswith("lina: error: ")
        assert done.err.count("\n") == 1
        return done.err

    return call
