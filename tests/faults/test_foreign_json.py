"""Wrong contents of the JSON and YAML files of a run: one line, as at the command line, and exit code 2."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lina.core.errors import CheckpointError
from lina.runs.files import read_samples
from tests.faults.conftest import OVERRIDES, checkpoint
from tests.pipeline.small_run import write_spec

Refused = Callable[..., str]

WRONG = {
    "nesting": "[" * 100_000,
    "number": '{"step": 1e999}',
    "type": "7",
    "list": "[[1]]",
    "surrogate": '["\\ud800"]',
    "empty": "",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    "name", ["speakers.json", "tokenizer.json", "checkpoints/step-00000002/checkpoint.json"]
)
def test_a_wrong_file_stops_say_and_export_in_one_line(
    run: Path,
    refused: Refused,
    name: str,
    content: str,
) -> None:
    (run / name).write_text(content)
    line = refused("say", "--run", str(run), "one", "-o", str(run.parent / "a.wav"))
    assert name.rpartition("/")[2] in line
    assert "\n" not in line.strip()
    refused("export", str(run), "-o", str(run.parent / "voice"))


def test_a_step_beyond_any_number_is_one_line(run: Path, refused: Refused) -> None:
    path = checkpoint(run) / "checkpoint.json"
    path.write_text(path.read_text().replace('"step": 2', '"step": 1e999'))
    assert "NaN, infinite or too large" in refused("say", "--run", str(run), "one", "-o", str(run / "a.wav"))


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_wrong_record_of_a_shard_is_written_anew(
    run: Path, lina: Callable[..., object], content: str
) -> None:
    record = run / "data" / "shard-00000.json"
    before = json.loads(record.read_text())
    record.write_text(content)
    spec = write_spec(run.parent)
    done = lina("run", str(spec), *OVERRIDES, f"train.out={run}")
    assert done.code == 0, done  # type: ignore[attr-defined]
    assert json.loads(record.read_text()) == before


@pytest.mark.parametrize(
    "rejects", ['[{"id": 1}]', '[{"id": "a", "where": "b", "reason": "c", "more": 1}]', "{}", "[[]]"]
)
def test_wrong_rejects_of_a_shard_are_written_anew(
    run: Path, lina: Callable[..., object], rejects: str
) -> None:
    record = run / "data" / "shard-00000.json"
    before = json.loads(record.read_text())
    record.write_text(json.dumps({**before, "rejects": json.loads(rejects)}))
    done = lina("run", str(write_spec(run.parent)), *OVERRIDES, f"train.out={run}")
    assert done.code == 0, done  # type: ignore[attr-defined]
    assert json.loads(record.read_text()) == before


@pytest.mark.parametrize("path", ["/etc/hostname", "../spec.yaml"])
def test_samples_outside_of_a_run_are_refused(run: Path, path: str) -> None:
    index = run / "samples" / "index.json"
    index.parent.mkdir(exist_ok=True)
    sample = {"id": "1", "kind": "spec", "text": "one", "audio": path, "sample_rate": 8000}
    index.write_text(json.dumps([sample]))
    with pytest.raises(CheckpointError, match="leads out of the run directory"):
        read_samples(run)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("codec: {plugin: codec2}", "codec: !!binary aGVsbG8="),
        ("plugin: gla, ", "plugin: !!binary aGVsbG8=, "),
        ("config: {n_heads: 2}", "config: !!binary aGVsbG8="),
        ("config: {n_heads: 2}", "config: {n_heads: !!binary aGVsbG8=}"),
        ("tokenizer: {plugin: bytes}", "tokenizer: !!set {plugin, bytes}"),
        ("tokenizer: {plugin: bytes}", "tokenizer: !!omap [plugin: bytes]"),
        ("evaluate: {sentences: 0}", "? !!binary aGVsbG8=\n: 1"),
        ("evaluate: {sentences: 0}", "~: 1"),
        ("seed: 3", "seed: 0x" + "9" * 50_000),
        ("seed: 3", "seed: 1" + ":1" * 5_000),
    ],
)
def test_odd_yaml_is_one_line(tmp_path: Path, refused: Refused, old: str, new: str) -> None:
    spec = write_spec(tmp_path)
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new))
    refused("run", str(spec), f"train.out={tmp_path / 'run'}")


@pytest.mark.parametrize(
    "override", ["[x=1", "x]=1", "a.[b]=1", "[]=1", "\ud800=1", "a" * 200 + "=1", "x=[1", "train.lr=1e999"]
)
def test_odd_overrides_are_one_line(tmp_path: Path, refused: Refused, override: str) -> None:
    refused("run", str(write_spec(tmp_path)), override)


NORMALIZERS = [
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
    {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "/////w=="}]},
    {"type": "Sequence", "normalizers": 3},
    7,
    [],
]


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_a_normalizer_that_panics_is_refused(tmp_path: Path, refused: Refused, normalizer: object) -> None:
    fixture = Path(__file__).parents[1] / "tokenizers" / "fixtures" / "small_bpe.json"
    document = json.loads(fixture.read_text()) | {"normalizer": normalizer}
    (tmp_path / "bpe.json").write_text(json.dumps(document))
    line = refused(
        *("run", str(write_spec(tmp_path)), "tokenizer.plugin=bpe", f"train.out={tmp_path / 'run'}"),
        f"tokenizer.config.file={tmp_path / 'bpe.json'}",
    )
    assert "bpe.json" in line


def test_a_vocabulary_that_is_no_vocabulary_is_refused(run: Path, refused: Refused) -> None:
    shutil.copyfile(run / "spec.yaml", run / "spec.bak")
    (run / "spec.yaml").write_text((run / "spec.bak").read_text().replace("plugin: bytes", "plugin: bpe"))
    contents: list[object] = [None, 3, [], {}, {"model": 3}, {"model": {"type": "BPE"}}]
    for trained in contents:
        (run / "tokenizer.json").write_text(json.dumps({"key": "", "trained": trained}))
        refused("say", "--run", str(run), "one", "-o", str(run.parent / "a.wav"))
