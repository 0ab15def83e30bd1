"""``train.gpus``: two processes train as one does, and end together. On the CPU, where they add by gloo."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from lina.config.train_section import TrainSection
from lina.core.errors import DataError, LinaError, SpecError
from lina.pipeline.speech_job import run_spec
from lina.runs.hooks import hookimpl
from lina.runs.signals import RunStopped
from lina.training.data_parallel import check_gpus
from lina.training.micro_batches import step_seed
from lina.training.process_group import ProcessGroup
from lina.training.trainer import train
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import EVERYTHING, Listener, hooks_of, learned, ready, small, stored

TWO = ("train.gpus=2", "train.device=cpu", "train.threads=1")


class Stopper:
    """Sends all processes the signal of a Ctrl-C or of a job that is ended after a step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == self.step:
            for one in multiprocessing.active_children():
                os.kill(one.pid or 0, self.number)
            os.kill(os.getpid(), self.number)


class Killer:
    """Kills the other process after a step."""

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == 3:
            [other] = multiprocessing.active_children()
            other.kill()


def trained(folder: Path, *overrides: str, out: str = "run", plugins: tuple[object, ...] = ()) -> Path:
    resolved, hooks = small(folder, *EVERYTHING, "data.valid=0.2", *overrides, out=out), hooks_of(*plugins)
    train(*ready(resolved, hooks), hooks)
    assert not multiprocessing.active_children()
    return folder / out


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


ROUNDING = ("cross_att.ln_k.bias", "tmix.qkv.bias", "pos_net.layers.0.cmix.p_out.bias")
"""Parameters on which the loss depends in part or not at all, such as an offset of all keys: their
gradients are rounding errors, of which Adam makes steps as large as any."""


def assert_alike(one: Path, other: Path) -> None:
    """Each tensor up to rounding, which a step exceeds ten thousand times; those of ``ROUNDING`` a hundred times."""
    a, b = ({name: value.double() for name, value in stored(run).items()} for run in (one, other))
    assert a.keys() == b.keys()
    far = {name: float((value - b[name]).abs().mean()) for name, value in a.items()}
    bounds = {name: 1e-4 if name.endswith(ROUNDING) else 1e-6 for name in far}
    assert not {name: value for name, value in far.items() if value > bounds[name]}
    for left, right in zip(learned(one), learned(other), strict=True):
        assert left[:2] == right[:2]
        assert left[2] == pytest.approx(right[2], rel=1e-5)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_two_processes_train_as_one_does_and_write_no_more(tmp_path: Path, accumulate: int) -> None:
    notices, parts = Listener(), f"train.accumulate={accumulate}"
    one = trained(tmp_path, parts, "train.threads=1", out="one")
    two = trained(tmp_path, parts, *TWO, out="two", plugins=(notices,))
    assert_alike(one, two)
    assert files(one) == files(two)
    assert [step for step, _ in notices.steps] == [1, 2, 3, 4, 5, 6]


def test_a_stopped_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    one = trained(tmp_path, "train.threads=1", out="one")
    with pytest.raises(RunStopped, match="at step 3 of 6; run the same command"):
        trained(tmp_path, *TWO, plugins=(Stopper(3),))
    assert (tmp_path / "run" / "checkpoints" / "step-00000003").is_dir()
    assert not multiprocessing.active_children()
    with pytest.raises(RunStopped, match="at step 5 of 6"):
        trained(tmp_path, "train.threads=1", plugins=(Stopper(5),))
    assert_alike(one, trained(tmp_path, *TWO))


def test_a_process_that_is_killed_ends_the_training_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LinaError, match=r"process 2 of 2 was killed by SIGKILL; .* same command") as ended:
        trained(tmp_path, *TWO, plugins=(Killer(),))
    assert "\n" not in str(ended.value)
    assert not multiprocessing.active_children()
    assert (tmp_path / "run" / "checkpoints" / "step-00000002").is_dir()


LOSS = """
    import multiprocessing
    from lina.core.errors import LinaError
    from lina.core import LossPlugin
    from lina.training.losses import cross_entropy

    def apart(logits, targets, loss_mask):
        if multiprocessing.parent_process() is not None:
            raise LinaError("not here")
        return cross_entropy(logits, targets, loss_mask)

    def nowhere(logits, targets, loss_mask):
        scale = float("inf") if multiprocessing.parent_process() is not None else 1.0
        return cross_entropy(logits, targets, loss_mask) * scale

    calls = [0]

    def once(logits, targets, loss_mask):
        # infinite in the second part of step 3, wherever that is computed
        calls[0] += 1
        alone = calls[0] == 6 and multiprocessing.parent_process() is None and not multiprocessing.active_children()
        other = calls[0] == 3 and multiprocessing.parent_process() is not None
        return cross_entropy(logits, targets, loss_mask) * (float("inf") if alone or other else 1.0)

    def plugin(loss):
        class Loss(LossPlugin):
            @classmethod
            def build(cls, *, config): return loss
            @classmethod
            def example(cls): return {}
        return Loss

    Apart, Nowhere, Once = map(plugin, (apart, nowhere, once))
"""
LOSSES = {"lina.losses": {name.lower(): f"losses:{name}" for name in ("Apart", "Nowhere", "Once")}}


@pytest.mark.parametrize(
    ("loss", "kind", "match"),
    [
        ("apart", LinaError, "process 2 of 2 failed: not here; fix this"),
        ("nowhere", DataError, r"10 steps in a row were not applied.*loss inf.*of step 10?: .*tone-\d"),
    ],
)
def test_an_error_in_another_process_is_one_line(
    tmp_path: Path, distributions: FakeDistributions, loss: str, kind: type[LinaError], match: str
) -> None:
    distributions.install("losses", LOSSES, losses=LOSS)
    with pytest.raises(kind, match=match):
        trained(tmp_path, *TWO, f"train.loss={loss}", "train.steps=12")
    assert not multiprocessing.active_children()


def test_all_processes_leave_out_a_step_that_is_not_finite_in_one(
    tmp_path: Path, distributions: FakeDistributions, caplog: pytest.LogCaptureFixture
) -> None:
    distributions.install("losses", LOSSES, losses=LOSS)
    import losses  # type: ignore[import-not-found]

    losses.calls[0] = 0
    one = trained(tmp_path, "train.threads=1", "train.loss=once", out="one")
    with caplog.at_level("WARNING", logger="lina"):
        caplog.clear()
        two = trained(tmp_path, *TWO, "train.loss=once", out="two")
    [message] = caplog.messages
    assert message.startswith("train: step 3 was not applied")
    assert [line[:2] for line in learned(one)] == [line[:2] for line in learned(two)]
    assert_alike(one, two)


def test_gpus_share_a_step_evenly(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"accumulate \(3\) is not a multiple of gpus \(2\).*accumulate: 4"):
        small(tmp_path, "train.gpus=2", "train.accumulate=3")
    with pytest.raises(SpecError, match="one micro-batch per GPU; set accumulate: 2 instead of 4"):
        small(tmp_path, "train.gpus=2", "train.accumulate=4", "train.cuda_graph=true")
    small(tmp_path, "train.gpus=2", "train.accumulate=2", "train.cuda_graph=true")


def test_too_many_gpus_are_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = TrainSection(gpus=4, accumulate=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(LinaError, match=r"gpus is 4, but 2 CUDA devices are available; set gpus: 2"):
        check_gpus(requests)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LinaError, match="no CUDA device is available; set gpus: 1, or device: cpu"):
        run_spec(small(tmp_path, "train.gpus=2", "train.accumulate=2"), hooks_of())
    assert not (tmp_path / "run").exists()


def test_each_part_has_chance_of_its_own_and_the_first_that_of_its_step() -> None:
    seeds = {step_seed(3, step, part) for step in range(1, 100) for part in range(100)}
    assert len(seeds) == 99 * 100
    assert step_seed(3, 7, 0) == step_seed(3, 7) == 3 * 1_000_000_007 + 7


def test_a_gradient_that_only_others_have_counts_as_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others, nobodys, frozen = (torch.nn.Parameter(torch.zeros(2)) for _ in range(4))
    frozen.requires_grad_(False)
    two = ProcessGroup(1, 2)
    for _ in range(2):
        inputs = iter(
            [torch.tensor([1, 1, 0], dtype=torch.int32), torch.arange(4.0), torch.tensor([10.0]).double()]
        )
        monkeypatch.setattr(
            "lina.training.process_group.dist.all_reduce", lambda here, inputs=inputs: here.add_(next(inputs))
        )
        for parameter, gradient in ((mine, torch.ones(2)), (others, None)):
            parameter.grad = gradient
        numbers = two.all_reduce_gradients([mine, others, nobodys, frozen], torch.tensor([5.0]).double())
        assert mine.grad is not None
        assert mine.grad.tolist() == [1.0, 2.0]
        assert others.grad is not None
        assert others.grad.tolist() == [2.0, 3.0]
        assert [nobodys.grad, frozen.grad] == [None, None]
        assert numbers.tolist() == [15.0]
        place = others.grad
    assert two.zeros[others] is place


def test_a_process_of_its_own_takes_all_parts_and_asks_nobody() -> None:
    one = torch.tensor([1.0]).double()
    assert ProcessGroup().all_reduce_gradients([], one) is one
    assert ProcessGroup().is_main
    assert list(ProcessGroup().micro_batches(3)) == [0, 1, 2]
    assert [list(ProcessGroup(rank, 2).micro_batches(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
