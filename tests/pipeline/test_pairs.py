"""Every installed backbone with every installed codec, and every tokenizer: one line of the spec, and it speaks."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.audio.codec import decode
from lina.core.registry import Record, load_record, records
from lina.pipeline.speech_job import run_spec
from lina.runs.files import read_run_info, read_samples
from lina.runs.metrics import read_metrics
from lina.speech.voice_loading import load
from tests.pipeline.small_run import Listener, hooks_of, write_spec

SHORT = (
    "train.steps=2",
    "train.batch_seconds=0.4",
    "data.max_seconds=0.4",
    "data.max_rejects=1",
    "synthesize.texts=[one two]",
    "synthesize.max_seconds=0.05",
)


def installed(role: str) -> list[Any]:
    return [pytest.param(record, id=record.name) for record in records() if record.role == role]


def line_of(record: Record, **sizes: int) -> str:
    """A section of a spec in one line, with the plugin's own example as its configuration."""
    config = load_record(record).example().get("config") or {}
    written = config if isinstance(config, dict) else config.model_dump(mode="json", exclude_unset=True)
    section = {"backbone": "backbone", "codec": "codec", "tokenizer": "tokenizer"}[record.role]
    return f"{section}: {json.dumps({'plugin': record.name, **sizes, 'config': written})}"


def backbone_line(record: Record) -> str:
    return line_of(record, d_model=load_record(record).example()["d_model"], n_layers=1)


def with_line(folder: Path, line: str) -> Path:
    """The small spec with one line exchanged."""
    path = write_spec(folder) if not (folder / "small.yaml").exists() else folder / "small.yaml"
    section = line.split(":")[0]
    lines = path.read_text().splitlines()
    [place] = [number for number, one in enumerate(lines) if one.startswith(f"{section}:")]
    lines[place] = line
    path.write_text("\n".join(lines) + "\n")
    return path


def check_speaks(folder: Path, *names: str) -> None:
    resolved = resolve(load_spec(folder / "small.yaml", (*SHORT, f"train.out={folder / 'run'}")))
    listener = Listener()
    run_spec(resolved, hooks_of(listener))
    info = read_run_info(folder / "run")
    assert info is not None
    assert set(names) <= {plugin.name for plugin in info.plugins}
    assert [line.step for line in read_metrics(folder / "run")] == [1, 2]
    [sample] = read_samples(folder / "run")
    audio, rate = soundfile.read(folder / "run" / sample.audio, always_2d=True)
    voice = load(folder / "run", device="cpu")
    speech = voice.speak(["one two"])[0]
    assert rate == voice.sample_rate
    assert len(audio) == speech.audio.shape[1] == len(speech.codes) * voice.codec.hop > 0
    assert audio.shape[1] == voice.codec.channels
    assert decode(voice.codec, speech.codes[None]).shape[2] == len(audio)


ALIKE = ("dac", "mimi")
"""Codecs over transformers, which meet one backbone instead of all."""
PAIRS = [
    pytest.param(codec.values[0], backbone.values[0], id=f"{codec.id}-{backbone.id}")
    for codec in installed("codec")
    for backbone in installed("backbone")
    if not (str(codec.id).endswith(ALIKE) and backbone.id != "gla")
]


@pytest.mark.parametrize(("codec", "backbone"), PAIRS)
def test_every_backbone_speaks_with_every_codec(tmp_path: Path, backbone: Record, codec: Record) -> None:
    with_line(tmp_path, backbone_line(backbone))
    with_line(tmp_path, line_of(codec))
    check_speaks(tmp_path, backbone.name, codec.name)


@pytest.mark.parametrize("tokenizer", installed("tokenizer"))
def test_every_tokenizer_is_spoken_from(tmp_path: Path, tokenizer: Record) -> None:
    with_line(tmp_path, line_of(tokenizer))
    check_speaks(tmp_path, tokenizer.name)


def test_something_is_installed_in_each_role() -> None:
    assert {"gla", "transformer"} <= {record.name for record in records() if record.role == "backbone"}
    assert {"codec2", "encodec"} <= {record.name for record in records() if record.role == "codec"}
    assert len(installed("tokenizer")) >= 3
