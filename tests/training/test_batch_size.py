"""The largest micro-batch that fits, by measurements of smaller ones."""

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lina.core.errors import LinaError
from lina.training import batch_size
from lina.training.backward import BackwardPass
from lina.training.batch_size import FILE, SHARE, choose_batch_seconds, largest_batch, resolved_run
from lina.training.objective import MicroBatch, StepMeasures
from lina.training.trainer import Trainer, train
from tests.fakes import FakeDistributions
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


def test_a_step_that_did_not_fit_is_gone_before_the_next_one_is_measured() -> None:
    """A traceback holds the tensors of its frames as long as its error is handled."""
    sizes, held = list[float](), list[weakref.ref[Any]]()

    class Memory:
        pass

    def bytes_of(seconds: float) -> float:
        assert all(one() is None for one in held)
        memory = Memory()
        held.append(weakref.ref(memory))
        sizes.append(seconds)
        if seconds > 200.0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return seconds

    assert largest_batch(bytes_of, ROOM, most=1e6) == 125.0
    assert sizes == [30.0, 60.0, 500.0, 250.0, 125.0]


def test_a_gpu_too_small_for_a_minute_is_one_line() -> None:
    with pytest.raises(LinaError, match=r"60 s does not fit on the GPU; set a smaller train\.batch_seconds"):
        largest_batch(a_step(fixed=900.0, slope=2.0).bytes_of, ROOM, most=1e6)


def test_a_run_keeps_its_size(tmp_path: Path) -> None:
    """60 s on a CPU; from the first checkpoint on the file decides, wherever the run goes on."""
    hooks = hooks_of()
    run, model, data = ready(small(tmp_path, "train.batch_seconds=auto", "train.steps=1"), hooks)
    (run.directory / FILE).write_text("2.5\n")  # of another model, that a changed spec had before
    assert Trainer(run, model, data, hooks).micro_batches.budget == int(60 * data.frame_rate)
    assert (run.directory / FILE).read_text() == "60.0\n"
    train(run, model, data, hooks)
    (run.directory / FILE).write_text("2.5\n")
    assert choose_batch_seconds(run, model, data) == 2.5
    assert resolved_run(run, batch_seconds=2.5).spec.train.batch_seconds == 2.5
    trainer = Trainer(run, model, data, hooks)
    assert trainer.micro_batches.budget == int(2.5 * data.frame_rate)
    assert "train.batch_seconds (2.5)" in trainer.next_batch()[1]


LOSS_PACKAGE = """
    from lina.core import LossPlugin
    from lina.training.losses import cross_entropy
    def of_logits(logits, targets, loss_mask):
        return cross_entropy(logits, targets, loss_mask)
    class Plain(LossPlugin):
        @classmethod
        def build(cls, *, config):
            return of_logits
        @classmethod
        def example(cls): return {}
"""


@pytest.mark.parametrize("steps", [6, 5000])
def test_a_step_is_measured_as_it_is_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distributions: FakeDistributions,
    steps: int,
) -> None:
    """With the spec's own loss, end to end, not captured, and without gradients that stay when it fails."""
    distributions.install("lina-loss", {"lina.losses": {"plain": "lina_loss:Plain"}}, lina_loss=LOSS_PACKAGE)
    settings = (f"train.steps={steps}", "train.loss=plain", "train.cuda_graph=auto", "train.accumulate=2")
    run, model, data = ready(small(tmp_path, *settings), hooks_of())
    seen: list[tuple[Any, ...]] = []
    real = BackwardPass.__call__

    def failing(self: BackwardPass, batch: MicroBatch, *arguments: Any, **options: Any) -> StepMeasures:
        real(self, batch, *arguments, **options)
        seen.append((self.objective.reads, len(batch.rows) == 1, self.graphs))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(BackwardPass, "__call__", failing)
    monkeypatch.setattr(batch_size, "packs_groups", lambda model, precision: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    with pytest.raises(torch.OutOfMemoryError):
        batch_size._bytes_of_step(run, model, data, torch.device("cpu"), 1.0)
    assert seen == [(("logits", "targets", "loss_mask"), True, False)]
    assert all(one.grad is None for one in model.parameters())
