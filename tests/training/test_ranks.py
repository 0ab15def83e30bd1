"""Several ranks train as one does, stop together and resume on any number of them. On the CPU, by gloo."""

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lina.config.train_section import TrainSection
from lina.core.errors import LinaError, SpecError
from lina.core.model.tokens import teacher_forcing
from lina.data.collate import drop_conditions
from lina.runs.hooks import hookimpl
from lina.runs.shards import gather
from lina.training import process_group
from lina.training import trainer as trainer_module
from lina.training.backward import BackwardPass
from lina.training.gradient_spikes import NormStatistics
from lina.training.launcher import check_gpus
from lina.training.micro_batches import MicroBatches, count_targets, step_seed
from lina.training.objective import MicroBatch, StepMeasures
from lina.training.process_group import ProcessGroup, check_share, join_ranks
from lina.training.shape_buckets import columns_of
from tests.pipeline.small_run import EVERYTHING, hooks_of, learned, ready, small, stored
from tests.training.ranks import on_ranks, trained

ROUNDING = ("cross_att.ln_k.bias", "tmix.qkv.bias", "pos_net.layers.0.cmix.p_out.bias")
"""Parameters on which the loss depends in part or not at all, such as an offset of all keys: their
gradients are rounding errors, of which Adam makes steps as large as any."""


class Signal:
    """Sends this process a signal after a step."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


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
        assert left[3] == right[3]


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``one``, which one process has trained."""
    folder = tmp_path_factory.mktemp("ranks")
    trained(folder, (), "one")
    return folder


def test_ranks_train_as_one_process_does_and_write_no_more(whole: Path) -> None:
    assert on_ranks(2, trained, whole, (), "two") == ["finished"] * 2
    assert_alike(whole / "one", whole / "two")
    assert files(whole / "one") == files(whole / "two")


def trained_in_shards(folder: Path, out: str) -> str:
    """Training in shards, whose checkpoints are copied by their gathering, and not once more."""
    vars(trainer_module)["copied"] = None
    return trained(folder, ("train.parallel=fsdp",), out)


def test_what_is_gathered_has_memory_of_its_own() -> None:
    """Also what no rank has a shard of, such as AdamW's count of steps: training changes it in place."""
    steps = torch.tensor(3.0)
    found = gather({"step": steps}, True)["step"]
    steps += 1
    assert found == 3.0
    assert gather({"step": steps}, False) == {}


def test_a_run_goes_on_in_shards_as_it_would_without_them(whole: Path) -> None:
    with pytest.raises(LinaError, match="at step 2 of 6"):
        trained(whole, (), "sharded", (Signal(2, signal.SIGTERM),))
    assert on_ranks(2, trained_in_shards, whole, "sharded") == ["finished"] * 2
    assert_alike(whole / "one", whole / "sharded")


def interrupted(folder: Path, step: int, rank: int) -> str:
    """Training of which one rank gets a SIGTERM in the middle of a step."""
    advance = BackwardPass.__call__

    def signalled(self: BackwardPass, *arguments: Any, **options: Any) -> StepMeasures:
        calls.append(1)
        if os.environ["RANK"] == str(rank) and len(calls) == 2 * step:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, *arguments, **options)

    calls: list[int] = []
    BackwardPass.__call__ = signalled  # type: ignore[method-assign]
    return trained(folder, (), "run")


def test_a_run_stopped_on_two_ranks_resumes_on_one_and_back(whole: Path) -> None:
    stopped, followed = sorted(on_ranks(2, interrupted, whole, 3, 1), key=str, reverse=True)
    assert stopped == "RunStopped: stopped by a signal at step 3 of 6; run the same command to resume"
    assert followed == 75
    with pytest.raises(LinaError, match="at step 5 of 6"):
        trained(whole, (), "run", (Signal(5, signal.SIGTERM),))
    assert on_ranks(2, trained, whole, (), "run") == ["finished"] * 2
    assert_alike(whole / "one", whole / "run")


def not_finite(folder: Path) -> str:
    """Training in which the loss of rank 1's part of step 3 is infinite, or that same part on a single rank."""
    advance = BackwardPass.__call__
    size, calls = int(os.environ.get("WORLD_SIZE", "1")), []

    def poisoned(self: BackwardPass, batch: MicroBatch, *arguments: Any, **options: Any) -> StepMeasures:
        calls.append(1)
        here = os.environ.get("RANK", "0") == str(size - 1) and len(calls) == 3 * 4 // size
        measured = advance(self, batch, *arguments, **options)
        return measured._replace(loss=measured.loss * float("inf")) if here else measured

    BackwardPass.__call__ = poisoned  # type: ignore[method-assign, assignment]
    try:
        return trained(folder, (), f"infinite{size}")
    finally:
        BackwardPass.__call__ = advance  # type: ignore[method-assign]


def test_a_time_limit_stops_a_run_as_a_signal_does(whole: Path) -> None:
    with pytest.raises(LinaError, match="stopped after 1e-05 minutes at step 1 of 6; run the same command"):
        trained(whole, ("train.minutes=0.00001",), "limited")


def running_ahead(folder: Path, settings: tuple[str, ...], out: str) -> str:
    """Training that reads the numbers of a step during the next one, as on a GPU."""
    initialize = trainer_module.Trainer.__init__

    def begin(self: trainer_module.Trainer, *arguments: Any) -> None:
        initialize(self, *arguments)
        self.runs_ahead = True

    trainer_module.Trainer.__init__ = begin  # type: ignore[method-assign, assignment]
    return trained(folder, settings, out)


@pytest.mark.parametrize("key", ["valid_every", "checkpoint_every", "log_every"])
def test_a_request_to_stop_counts_wherever_the_numbers_of_its_step_are_read(whole: Path, key: str) -> None:
    settings = (f"train.{key}=1", "train.minutes=0.00001")
    stopped, followed = sorted(
        on_ranks(2, running_ahead, whole, settings, f"ahead-{key}"), key=str, reverse=True
    )
    assert stopped == "RunStopped: stopped after 1e-05 minutes at step 2 of 6; run the same command to resume"
    assert followed == 75


def test_all_ranks_leave_out_a_step_that_is_not_finite_in_one(whole: Path) -> None:
    not_finite(whole)
    assert on_ranks(2, not_finite, whole) == ["finished"] * 2
    assert [line[0] for line in learned(whole / "infinite2") if line[1] == "train"] == [1, 2, 4, 5, 6]
    assert_alike(whole / "infinite1", whole / "infinite2")


def hung(folder: Path, number: int) -> str:
    """Training of which rank 1 is stopped or killed in step 3."""
    validate = trainer_module.Trainer.advance

    def advance(self: Any, *arguments: Any) -> bool:
        if self.step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), number)
        return validate(self, *arguments)

    trainer_module.Trainer.advance = advance  # type: ignore[method-assign, assignment]
    return trained(folder, (), f"hung{number}")


def test_a_killed_rank_ends_the_others(whole: Path) -> None:
    assert on_ranks(2, hung, whole, int(signal.SIGKILL)) == [3, -signal.SIGKILL]


def test_a_stopped_rank_ends_the_others_after_its_silence(whole: Path) -> None:
    assert on_ranks(2, hung, whole, int(signal.SIGSTOP), hung=1) == [3, None]


def mistaken() -> None:
    """A mistake of rank 1 while rank 0 is at other things, before any training."""
    with join_ranks(TrainSection(device="cpu")) as group:
        if group.rank:
            raise LinaError("a mistake")
        time.sleep(30)


def test_a_mistake_of_one_rank_ends_the_others_before_they_train() -> None:
    assert on_ranks(2, mistaken) == [75, "LinaError: a mistake"]


def without_memory() -> None:
    """Memory that runs out on rank 1 outside of a step."""
    with join_ranks(TrainSection(device="cpu")) as group:
        if group.rank:
            raise MemoryError("no room")
        time.sleep(30)


def test_memory_that_runs_out_anywhere_on_a_rank_is_a_mistake_of_the_user() -> None:
    """Not a crash, after which the launcher would start all again."""
    waiting, failed = on_ranks(2, without_memory)
    assert waiting == 75
    assert failed.startswith("LinaError: out of memory (no room); use fewer workers")


def without_memory_in_a_step(folder: Path) -> str:
    """Training of which rank 1 has no memory in step 3, while rank 0 still writes the checkpoint of step 2."""
    advance, save = BackwardPass.__call__, vars(trainer_module)["save_tensors"]
    calls: list[int] = []

    def failing(self: BackwardPass, *arguments: Any, **options: Any) -> StepMeasures:
        calls.append(1)
        if os.environ["RANK"] == "1" and len(calls) == 5:
            raise MemoryError("no room")
        return advance(self, *arguments, **options)

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(2)
        return save(*arguments, **options)

    BackwardPass.__call__ = failing  # type: ignore[method-assign]
    vars(trainer_module)["save_tensors"] = slow
    return trained(folder, (), "memory")


def test_a_rank_without_memory_names_the_checkpoint_that_another_writes(whole: Path) -> None:
    code, message = on_ranks(2, without_memory_in_a_step, whole)
    assert code == 2
    assert "out of memory in step 3 on rank 1" in message
    assert "the last checkpoint is of step 2:" in message
    assert (whole / "memory/checkpoints/step-00000002").is_dir()


def slow_to_save(folder: Path) -> str:
    """Training of which rank 0 takes longer to save than a step may take."""
    save = trainer_module.Trainer.save

    def slow(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.group.is_main and self.step == 4:
            time.sleep(5)
        return save(self, *arguments, **options)

    trainer_module.Trainer.save = slow  # type: ignore[method-assign]
    return trained(folder, ("train.patience.step=2",), "slow")


def test_ranks_wait_for_a_checkpoint_as_long_as_saving_may_take(whole: Path) -> None:
    """In that phase, not in their next step, whose limit is shorter."""
    assert on_ranks(2, slow_to_save, whole) == ["finished"] * 2


class Partial(nn.Module):
    """An objective whose parameters are used in some micro-batches only, as the codes of a micro-batch say."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes, self.never = (nn.Parameter(torch.ones(2)) for _ in range(3))

    def parts(self, batch: MicroBatch) -> Tensor:
        loss = (self.always * batch.codes.float().mean()).sum()
        return loss + self.sometimes.sum() if bool(batch.codes[0, 0, 0] == 1) else loss


class PartialObjective:
    def __init__(self) -> None:
        self.model, self.device = Partial(), torch.device("cpu")

    def __call__(self, batch: MicroBatch, *options: Any) -> StepMeasures:
        zero = torch.zeros(())
        counts = torch.zeros(1, dtype=torch.int64)
        return StepMeasures(self.model.parts(batch), zero, zero, counts, counts)


def micro_batch(code: int) -> MicroBatch:
    one = torch.ones(1, dtype=torch.int64)
    row = torch.zeros(1, 1, dtype=torch.int64)
    return MicroBatch(
        row[..., None] + code, one, row, row == 0, one, one == 0, one == 0, one * 0, row, one * 0
    )


CODES = [
    ([[2, 2], [2, 1]], [0.25, 0.25]),
    ([[1, 2], [2, 2]], [0.25, 0.25]),
    ([[1, 1], [1, 1]], [1.0, 1.0]),
    ([[2, 2], [2, 2]], None),
]
"""Codes of the micro-batches of two ranks, and the gradient of the parameter that only codes of 1 use."""


def gradients() -> list[list[Any]]:
    """Gradients after each step of ``CODES``."""
    found = []
    with join_ranks(TrainSection(device="cpu")) as group:
        objective: Any = PartialObjective()
        backward = BackwardPass(TrainSection(device="cpu"), objective, group)
        for codes, _ in CODES:
            objective.model.zero_grad(set_to_none=True)
            for number, code in enumerate(codes[group.rank]):
                backward(micro_batch(code), torch.float32, 0.25, last=number == 1)
            found.append(
                [None if one.grad is None else one.grad.tolist() for one in objective.model.parameters()]
            )
    return found


def groups_left() -> list[bool]:
    """References to the group that this rank has left, while DistributedDataParallel has one."""
    objective: Any = PartialObjective()
    with join_ranks(TrainSection(device="cpu")) as group:
        backward = BackwardPass(TrainSection(device="cpu"), objective, group)
        own = torch.distributed.distributed_c10d._get_default_group()
    return [isinstance(backward.module, DistributedDataParallel), own in process_group._left_groups]


def test_a_group_is_not_destroyed_by_what_outlives_it() -> None:
    assert on_ranks(2, groups_left) == [[True, True]] * 2


def test_a_gradient_that_some_micro_batches_lack_counts_as_zeros() -> None:
    expected = [[[sum(map(sum, codes)) / 4] * 2, sometimes, None] for codes, sometimes in CODES]
    assert on_ranks(2, gradients) == [expected] * 2


def test_losses_are_weighed_by_the_targets_of_each_micro_batch() -> None:
    lengths, prompts = torch.tensor([3, 1, 9]), torch.tensor([1, 0, 4])
    codes = torch.zeros(3, 9, 2, dtype=torch.int64)
    assert count_targets(lengths, prompts, 2) == int(teacher_forcing(codes, lengths, prompts).loss_mask.sum())


def test_each_micro_batch_of_a_step_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = small(tmp_path, *EVERYTHING, "train.accumulate=4")
    run, _, data = ready(resolved, hooks_of())
    whole = MicroBatches(run.spec, data)._prepare(3).shares
    draws: list[int] = []

    def drawn(*arguments: Any) -> Any:
        draws.append(1)
        return drop_conditions(*arguments)

    monkeypatch.setattr("lina.training.micro_batches.drop_conditions", drawn)
    found = MicroBatches(run.spec, data, own=range(1, 4, 2))._prepare(3)
    assert found.shares == [whole[1], whole[3]]
    assert len(draws) == 4


def test_a_step_is_a_spike_only_after_a_hundred_and_far_above_them() -> None:
    norms = NormStatistics()
    for step in range(99):
        norms = norms.after(1.0 + 0.1 * (-1) ** step)
    assert norms.limit(6.0) == math.inf
    norms = norms.after(0.9)
    assert norms.limit(None) == math.inf
    assert norms.limit(6.0) == pytest.approx(1.6, rel=0.05)
    assert NormStatistics.of([*norms]) == norms


def test_ranks_share_a_step_evenly(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"accumulate \(3\) is not a multiple of gpus \(2\).*accumulate: 4"):
        small(tmp_path, "train.gpus=2", "train.accumulate=3")
    with pytest.raises(SpecError, match=r"accumulate \(6\) is not a multiple of the 4 ranks.*accumulate: 8"):
        check_share("accumulate", 6, 4, "micro-batches")
    with pytest.raises(SpecError, match=r"batch \(6\).*share the crops of a step; set batch: 8"):
        check_share("batch", 6, 4, "crops")
    with pytest.raises(SpecError, match="gpus"):
        small(tmp_path, "train.gpus=0")


def test_too_many_gpus_are_reported_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = TrainSection(gpus=4, accumulate=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(LinaError, match=r"gpus is 4, but 2 CUDA devices are available; set gpus: 2"):
        check_gpus(requests)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LinaError, match="no CUDA device is available; set gpus: 1, or device: cpu"):
        check_gpus(requests)


def test_each_micro_batch_has_a_seed_of_its_own_and_the_first_that_of_its_step() -> None:
    seeds = {step_seed(3, step, part) for step in range(1, 100) for part in range(100)}
    assert len(seeds) == 99 * 100
    assert step_seed(3, 7, 0) == step_seed(3, 7) == 3 * 1_000_000_007 + 7


def reduced() -> tuple[list[list[float] | None], bool, bool]:
    """Sums of gradients of which rank 0 lacks one and both lack another, twice; and their addresses."""
    with join_ranks(TrainSection(device="cpu")) as group:
        mine, others, nobodys, frozen = (nn.Parameter(torch.zeros(2)) for _ in range(4))
        frozen.requires_grad_(False)
        places = []
        for _ in range(2):
            mine.grad = torch.ones(2)
            others.grad = torch.full((2,), 3.0) if group.rank else None
            group.all_reduce_gradients([mine, others, nobodys, frozen])
            places.append(others.grad)
        found = [None if one.grad is None else one.grad.tolist() for one in (mine, others, nobodys, frozen)]
        return found, group.rank == 1 or places[0] is places[1], group.any(group.rank == 1)


def test_gradients_of_captured_graphs_are_summed_in_place() -> None:
    sums = [[2.0, 2.0], [3.0, 3.0], None, None]
    assert on_ranks(2, reduced) == [(sums, True, True)] * 2


def test_a_process_of_its_own_takes_all_parts_and_asks_nobody() -> None:
    one = torch.tensor([1.0]).double()
    assert ProcessGroup().all_reduce(one) is one
    assert ProcessGroup().is_main
    assert list(ProcessGroup().micro_batches(3)) == [0, 1, 2]
    assert [list(ProcessGroup(rank, 2).micro_batches(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
    rows = torch.arange(6)
    assert [ProcessGroup(rank, 2).own_rows(rows).tolist() for rank in (0, 1)] == [[0, 2, 4], [1, 3, 5]]
    assert columns_of(micro_batch(1)) == 2
