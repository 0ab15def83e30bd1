import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lina
from lina.core.errors import CheckpointError
from tests.pipeline.small_run import write_spec


def test_importing_lina_is_light() -> None:
    code = (
        "import lina, sys\n"
        "print(lina.__version__ != '', sorted({'torch', 'numpy', 'click', 'pydantic'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_load_gives_the_voice_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lina.speech.loaded")
    module.LoadedVoice = lambda directory, *options: ("voice of", directory, *options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lina.speech.loaded", module)
    loaded: Any = lina.load("runs/first")
    assert loaded == ("voice of", Path("runs/first"), "auto", (), None, None, "auto")
    settings = ["synthesize.seed=1"]
    loaded = lina.load("runs/first", settings, device="cpu", threads=2, lexicon="words.tsv", backend="eager")
    assert loaded == ("voice of", Path("runs/first"), "cpu", settings, 2, "words.tsv", "eager")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run"):
        lina.load(tmp_path)


def test_run_evaluate_and_export_from_python(tmp_path: Path) -> None:
    """The three calls do what their commands do, in one small run."""
    out = f"train.out={tmp_path / 'run'}"
    directory = lina.run(write_spec(tmp_path), [out, "train.steps=2"])
    assert directory == tmp_path / "run"
    assert lina.read_metrics(directory)[-1].step == 2
    texts = tmp_path / "texts.txt"
    texts.write_text("one\n")
    found = lina.evaluate(
        directory, texts, ["synthesize.max_seconds=0.1"], out=tmp_path / "results", recognizer=None
    )
    assert found.groups[0].sentences == 1
    assert (tmp_path / "results/evaluations/texts").is_dir()
    assert lina.export(directory, tmp_path / "voice").step == 2
    assert lina.load(tmp_path / "voice").say("one", max_seconds=0.1).shape[0] == 1
