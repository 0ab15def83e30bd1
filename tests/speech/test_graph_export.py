"""Graphs for other programs: the folder speaks by itself, without torch and without lina."""

import importlib.util
import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import lina
from lina.core.errors import DataError, LinaError
from lina.core.generation.stream_key import stream_key
from lina.engine.onnx.files import FACTS, WEIGHTS, read_folder
from lina.runs.checkpoint_store import INDEX
from lina.speech import graph_export
from lina.speech.default_voice import shipped_voice
from lina.speech.graph_export import export_graphs

pytest.importorskip("onnxscript")
ALONE = "import sys, runpy\nfor name in ('torch', 'lina'):\n    sys.modules[name] = None\n"
TEXT = "The bridge is closed."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "graphs"
    assert export_graphs(shipped_voice(), out) == sum(one.stat().st_size for one in out.iterdir())
    return out


def test_the_example_speaks_as_lina_does(folder: Path) -> None:
    lines = (folder / "speak.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    found = importlib.util.spec_from_file_location("speak", folder / "speak.py")
    assert found is not None
    assert found.loader is not None
    example: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(example)
    voice = lina.load(device="cpu", backend="onnx")  # the example multiplies in float32
    item = voice.input(TEXT)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))["speech"]
    audio = np.concatenate(list(example.speak(item.ids, facts, stream_key(0, 0, 0))), axis=1)
    np.testing.assert_allclose(audio, voice.say(TEXT), atol=1e-4)


def test_the_example_needs_neither_torch_nor_lina(folder: Path, tmp_path: Path) -> None:
    ids = map(str, lina.load(device="cpu").input("Yes.").ids)
    out = tmp_path / "yes.wav"
    script = f"sys.argv[1:] = {[str(out), *ids]!r}\nrunpy.run_path({str(folder / 'speak.py')!r}, run_name='__main__')"
    code = ALONE + script
    subprocess.run([sys.executable, "-c", code], check=True)
    with wave.open(str(out)) as file:
        assert file.getframerate() == 24_000
        assert file.getnframes() > 4800


def test_weights_are_one_file_that_all_graphs_name(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    assert {name.partition(".")[0] for name in tensors if "|pad" not in name} == {"lm", "codec"}
    assert all(value.dtype == np.float32 for name, value in tensors.items() if "|pad" not in name)
    large = [one.name for one in folder.iterdir() if one.suffix == ".onnx" and one.stat().st_size > 500_000]
    assert not large
    found = read_folder(folder)
    assert found is not None
    assert not {"key", "weights", "inputs", "outside"} & found.facts.keys()


class EnoughError(Exception):
    """The part under test is over."""


def test_only_the_decoder_that_other_programs_use_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def write(*_: Any, others: dict[str, Any], facts: dict[str, Any], **options: Any) -> None:
        found.update(others, facts=set(facts))
        raise EnoughError

    monkeypatch.setattr(graph_export, "export_decoder", lambda decoder, codebooks, frames: frames)
    monkeypatch.setattr(graph_export, "write_graphs", write)
    with pytest.raises(EnoughError):
        export_graphs(shipped_voice(), tmp_path / "graphs")
    assert found == {"decoder.onnx": 1, "facts": {"speech"}}


def test_weights_in_several_files_are_refused_before_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_export, "weights_file", lambda *_, **options: (shipped_voice() / INDEX, None))
    monkeypatch.setattr(graph_export, "write_graphs", None)
    monkeypatch.setattr(graph_export, "export_decoder", None)
    with pytest.raises(LinaError, match="graphs are for models of one weights file; leave out --graphs"):
        graph_export.write_voice_graphs(shipped_voice())


def test_refused_places(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already; name a new directory"):
        export_graphs(shipped_voice(), folder)
    with pytest.raises(DataError, match="there is no folder"):
        export_graphs(shipped_voice(), tmp_path / "no" / "graphs")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.engine.onnx.export.PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(LinaError, match=r"no_such_package not installed; pip install 'lina\[onnx\]'"):
        export_graphs(shipped_voice(), tmp_path / "graphs")
    assert not list(tmp_path.iterdir())
