"""``lina plan``: the forecast agrees with what training does, before and after the corpus is encoded."""

import json
from pathlib import Path

import numpy as np
import pytest

from lina.core.errors import DataError, LinaError
from lina.data.corpus_lengths import CorpusLengths, drawn
from lina.pipeline.forecast import Forecast, forecast
from lina.pipeline.speech_job import run_spec
from lina.runs.metrics import append_metrics, read_metrics, rewind_metrics
from lina.runs.records import MetricsRecord
from tests.cli.conftest import Lina, lina
from tests.pipeline.small_run import hooks_of, small, write_spec

__all__ = ["lina"]


def of(folder: Path, *overrides: str, **changes: object) -> Forecast:
    settings: dict[str, object] = {"hours": None, "throughput": 100.0, "gpus": (1, 2, 3, 8)} | changes
    return forecast(small(folder, *overrides), **settings)  # type: ignore[arg-type]


def test_the_forecast_before_encoding_is_that_of_the_encoded_corpus(tmp_path: Path) -> None:
    before = of(tmp_path, "train.accumulate=4")
    assert "not encoded yet" in before.corpus
    resolved = small(tmp_path, "train.accumulate=4")
    run_spec(resolved, hooks_of())
    after = of(tmp_path, "train.accumulate=4", throughput=None)
    assert after.corpus.startswith("encoded")
    assert "measured in" in after.throughput_origin
    assert after.throughput is not None
    assert after.parameters <= before.parameters, "the vocabulary of the trained tokenizer"
    same = {"corpus", "throughput", "throughput_origin", "by_gpus", "parameters", "memory_gib"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)
    run_json = json.loads((resolved.spec.train.out / "run.json").read_text())
    assert run_json["model"]["parameters"] == after.parameters


def test_days_by_gpus(tmp_path: Path) -> None:
    found = of(tmp_path, "train.accumulate=4")
    assert [one.micro_batches for one in found.by_gpus] == [4, 2, 2, 1]
    assert [one.busy for one in found.by_gpus] == [1.0, 1.0, pytest.approx(2 / 3), 0.5]
    days = [one.days for one in found.by_gpus]
    alone = found.frames / 100.0 / 86_400
    assert days == [
        pytest.approx(alone),
        pytest.approx(alone / 2),
        pytest.approx(alone / 2),
        pytest.approx(alone / 4),
    ]
    with pytest.raises(LinaError, match="0 GPUs"):
        of(tmp_path, gpus=(0,))
    for number in (float("nan"), float("inf"), 0.0, 1e12):
        with pytest.raises(LinaError, match=r"plan: a corpus of .* hours; pass more than 0"):
            of(tmp_path, hours=number)
    for number in (float("nan"), float("inf"), -1.0):
        with pytest.raises(LinaError, match="plan: a throughput of"):
            of(tmp_path, throughput=number)


def test_the_throughput_is_that_of_the_ranks_which_trained(tmp_path: Path) -> None:
    """torchrun starts them without ``train.gpus``; lines of earlier versions have no number of ranks."""
    run_spec(small(tmp_path, "train.accumulate=4"), hooks_of())
    out = tmp_path / "run"
    assert {line.ranks for line in read_metrics(out)} == {1}
    (out / "metrics.jsonl").unlink()
    for step, ranks in enumerate((2, 4, 4, None), start=1):
        values = {"frames/s": 100.0 * (ranks or 2), "ranks": ranks}
        append_metrics(out, MetricsRecord(step=step, split="train", loss=1.0, **values))  # type: ignore[arg-type]
    found = of(tmp_path, "train.accumulate=4", "train.gpus=2", throughput=None)
    assert found.throughput == 100.0
    assert found.throughput_origin == f"measured in {out} on 2 and 4 ranks"
    rewind_metrics(out, 1)
    assert of(tmp_path, throughput=None).throughput_origin == f"measured in {out} on 2 ranks"


def test_padding_and_epochs(tmp_path: Path) -> None:
    one_by_one = of(tmp_path, "train.batch_seconds=0.3")
    assert (one_by_one.micro_batches_per_epoch, one_by_one.padding, one_by_one.epochs) == (6, 0.0, 1.0)
    assert one_by_one.frames == pytest.approx(one_by_one.hours * 3600 * 50)
    assert of(tmp_path, "train.batch_seconds=100").padding > 0.1
    packed = of(tmp_path, "train.batch_seconds=100", "train.consecutive=3")
    assert packed.micro_batches_per_epoch == 1


def test_batches_are_those_that_the_run_has_found(tmp_path: Path) -> None:
    auto = ("train.batch_seconds=auto", "train.steps=1")
    assert of(tmp_path, *auto).micro_batches_per_epoch == 1
    run_spec(small(tmp_path, *auto), hooks_of())
    (tmp_path / "run/batch_seconds.json").write_text("0.3\n")
    assert of(tmp_path, *auto).micro_batches_per_epoch == 6
    assert of(tmp_path, "train.batch_seconds=100").micro_batches_per_epoch == 1


def test_memory(tmp_path: Path) -> None:
    found = of(tmp_path)
    weights = 4 * found.parameters / 2**30
    assert found.memory_gib["weights"] == found.memory_gib["gradients"] == pytest.approx(weights)
    assert found.memory_gib["optimizer"] == pytest.approx(2 * weights)
    assert found.memory_gib["moving average"] == 0
    assert of(tmp_path, "train.ema=0.9").memory_gib["moving average"] == pytest.approx(weights)
    twice = of(tmp_path, "train.batch_seconds=2.0").memory_gib["activations"]
    assert twice == pytest.approx(2 * found.memory_gib["activations"])


def test_a_larger_corpus_has_the_same_lengths() -> None:
    known = CorpusLengths(np.array([25, 50, 75], np.int32), np.array([0, 1, 1], np.int32), "a test")
    larger = drawn(known, 100.0, 25.0, 0)
    assert len(larger.frames) == 180_000
    assert float(larger.frames.mean()) == pytest.approx(50, rel=0.01)
    assert set(zip(larger.frames.tolist(), larger.speakers.tolist(), strict=True)) == {
        (25, 0),
        (50, 1),
        (75, 1),
    }
    assert (drawn(known, 100.0, 25.0, 0).frames == larger.frames).all()
    assert not (drawn(known, 100.0, 25.0, 1).frames == larger.frames).all()


def test_no_usable_utterance(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable utterance"):
        of(tmp_path, "data.min_seconds=5")


def test_the_command(lina: Lina, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    arguments = ["plan", str(spec), f"train.out={tmp_path / 'run'}", "train.accumulate=2", "--hours", "2"]
    done = lina(*arguments, "--throughput", "50", "--json", str(tmp_path / "plan.json"))
    assert done.code == 0, done
    assert "drawn from 6 utterances" in done.out
    assert "more GPUs than micro-batches per step" in done.out.splitlines()[-1]
    numbers = Forecast.model_validate_json((tmp_path / "plan.json").read_text())
    assert numbers.hours == pytest.approx(2.0, rel=0.02)
    unknown = lina(*arguments)
    assert unknown.code == 0
    assert "--throughput" in unknown.out
    assert lina("plan", str(spec), "--hours", "-1").code == 2
    assert not (tmp_path / "run").exists(), "a forecast writes nothing"
