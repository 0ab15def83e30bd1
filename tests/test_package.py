import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lina
from lina.core.errors import CheckpointError


def test_importing_lina_is_light() -> None:
    code = (
        "import lina, sys\n"
        "print(lina.__version__ != '', sorted({'torch', 'numpy', 'click', 'pydantic'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_load_gives_the_voice_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lina.speech.voice")
    module.load = lambda directory, settings: ("voice of", directory, settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lina.speech.voice", module)
    monkeypatch.setattr("lina.speech.voice", module, raising=False)
    assert lina.load("runs/first") == ("voice of", Path("runs/first"), ())
    settings = ["synthesize.seed=1"]
    assert lina.load("runs/first", settings) == ("voice of", Path("runs/first"), settings)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run"):
        lina.load(tmp_path)
