"""CPU threads inside lina's calls."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lina.core.errors import LinaError
from lina.speech.threads import SMALL, choose_threads
from tests.speech.test_long_form import streaming
from tests.speech.test_voice import make

__all__ = ["streaming"]

HOST = 3


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(HOST)
    yield
    torch.set_num_threads(before)


def test_small_models_have_one_thread() -> None:
    assert choose_threads(None, SMALL) == 1
    assert choose_threads(None, SMALL + 1) is None
    assert choose_threads(2, 1) == choose_threads(2, SMALL + 1) == 2
    for wrong in (0, -1, 1.0, "2", True, 1025):
        with pytest.raises(LinaError, match=r"^threads = .* is not a whole number in 1 \.\. 1024"):
            choose_threads(wrong, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("face", ["say", "stream", "read", "speak"])
def test_all_synthesis_methods_are_limited(streaming: Any, face: str) -> None:
    voice = make(streaming, -3.0)
    assert voice.threads == 1
    seen: set[int] = set()
    model, decoder = voice.model.step, streaming.decoder.parallel_forward

    def stepped(*arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return model(*arguments)

    def decoded(*arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return decoder(*arguments)

    voice.model.step = stepped  # type: ignore[method-assign, assignment]
    streaming.decoder.parallel_forward = decoded
    for _ in getattr(voice, face)("Hello. No." if face in ("say", "stream") else ["Hello. No."]):
        assert torch.get_num_threads() == HOST
    assert seen == {1}
