"""Resuming a run whose files are missing, or that has been copied to another place."""

import json
import shutil
from pathlib import Path

import pytest

from lina.core.errors import CheckpointError
from lina.pipeline.speech_job import run_spec
from tests.faults.conftest import OVERRIDES, resume
from tests.pipeline.small_run import hooks_of, small, stored

BPE = Path(__file__).parents[1] / "tokenizers" / "fixtures" / "small_bpe.json"


def test_a_run_without_its_spec_stops(run: Path) -> None:
    (run / "spec.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"spec\.yaml: is missing, .*restore it"):
        resume(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match=r"spec\.yaml: is missing"):  # the codes depend on it, too
        resume(run)


def test_a_run_copied_with_its_corpus_resumes(run: Path, tmp_path: Path) -> None:
    whole = run_spec(small(tmp_path / "whole", *OVERRIDES), hooks_of())
    resume(run)
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 4
    assert stored(run).keys() == stored(whole).keys()
    assert all(value.equal(stored(whole)[name]) for name, value in stored(run).items())


def test_a_run_copied_with_its_tokenizer_resumes(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copyfile(BPE, first / "bpe.json")
    options = ("tokenizer.plugin=bpe", "tokenizer.config.file={}", *OVERRIDES)
    run_spec(small(first, *(one.format(first / "bpe.json") for one in options)), hooks_of())
    second = Path(shutil.move(first, tmp_path / "second"))
    shutil.rmtree(second / "run" / "checkpoints" / "step-00000004")
    run_spec(small(second, *(one.format(second / "bpe.json") for one in options)), hooks_of())
    assert (second / "run" / "checkpoints" / "step-00000004").is_dir()


def test_a_run_copied_beside_another_corpus_stops(run: Path) -> None:
    manifest = run.parent / "corpus" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("five and six", "another text"))
    with pytest.raises(CheckpointError, match="was trained on other utterances: the corpus has changed"):
        resume(run)


def test_a_run_copied_beside_other_recordings_stops(run: Path) -> None:
    corpus = run.parent / "corpus"
    shutil.copyfile(corpus / "1.wav", corpus / "2.wav")
    with pytest.raises(CheckpointError, match="was trained on other data"):
        resume(run)
