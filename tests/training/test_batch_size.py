"""The largest micro-batch that fits, by measurements of smaller ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lina.core.errors import LinaError
from lina.training.batch_size import FILE, SHARE, largest_batch, resolved_run, with_batch_size
from lina.training.trainer import Trainer, train
from tests.pipeline.small_run import hooks_of, ready, small

ROOM = 1_000.0


def a_step(fixed: float, slope: float, bend: float = 0.0) -> Any:
    """Bytes of a step of so many seconds, which fails where there are no more than ``ROOM``; notes its calls."""
    sizes: list[float] = []

    def bytes_of(seconds: float) -> float:
        sizes.append(seconds)
        needed = fixed + slope * seconds + bend * seconds**2
        if needed > ROOM:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return needed

    return SimpleNamespace(bytes_of=bytes_of, sizes=sizes)


def test_the_answer_lies_on_the_line() -> None:
    step = a_step(fixed=100.0, slope=1.0)
    assert largest_batch(step.bytes_of, ROOM, most=10_000.0) == 900.0
    assert step.sizes == [30.0, 60.0, 450.0]


def test_a_bend_is_seen_halfway() -> None:
    step = a_step(fixed=100.0, slope=1.0, bend=2e-4)
    found = largest_batch(step.bytes_of, SHARE * ROOM, most=10_000.0)
    assert SHARE * ROOM < step.bytes_of(found) <= ROOM


def test_a_batch_is_no_larger_than_is_good_for_the_corpus() -> None:
    assert largest_batch(a_step(0.0, 0.01).bytes_of, ROOM, most=200.0) == 200.0


def test_what_does_not_fit_halfway_is_halved_again() -> None:
    step = a_step(fixed=0.0, slope=0.1, bend=2e-3)
    found = largest_batch(step.bytes_of, ROOM, most=1e6)
    assert step.bytes_of(found) <= ROOM


def test_a_gpu_too_small_for_a_minute_is_one_line() -> None:
    with pytest.raises(LinaError, match=r"60 s does not fit on the GPU; set a smaller train\.batch_seconds"):
        largest_batch(a_step(fixed=900.0, slope=2.0).bytes_of, ROOM, most=1e6)


def test_a_run_keeps_its_size(tmp_path: Path) -> None:
    """60 s on a CPU; the file decides from then on, wherever the run goes on."""
    hooks = hooks_of()
    run, model, data = ready(small(tmp_path, "train.batch_seconds=auto", "train.steps=1"), hooks)
    assert Trainer(run, model, data, hooks).micro_batches.budget == int(60 * data.frame_rate)
    (run.directory / FILE).write_text("2.5\n")
    assert with_batch_size(run, model, data) == 2.5
    assert resolved_run(run, batch_seconds=2.5).spec.train.batch_seconds == 2.5
    trainer = Trainer(run, model, data, hooks)
    assert trainer.micro_batches.budget == int(2.5 * data.frame_rate)
    assert "train.batch_seconds (2.5)" in trainer.next_batch()[1]
    train(run, model, data, hooks)
