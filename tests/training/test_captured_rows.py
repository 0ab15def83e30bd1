"""Rows of fixed shape through the form that a GPU captures, with a graph that runs its function again on a CPU."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.core.errors import LinaError
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.segments import segments_of
from lina.training.backward import BackwardPass, _places
from lina.training.cuda_graph import EAGER_CALLS, CapturedFunction
from lina.training.fixed_rows import FixedRow, RowShape, fix_row
from lina.training.losses import cross_entropy
from lina.training.objective import MicroBatch, Objective
from tests.core.toy_model import toy_lm
from tests.training.test_fixed_rows import CPU, end_to_end
from tests.training.test_shape_buckets import CODEBOOKS

SHAPE = RowShape(groups=5, utterances=10, frames=16, steps=128, text=9)
GIB = 2**30


def lines_up(function: CapturedFunction[Any], inputs: tuple[Tensor, ...]) -> None:
    """Stands for a capture."""
    function.inputs = function.place(inputs, CPU)

    def replay() -> None:
        function._clear_gradients()
        function.result = function.function(*function.inputs)
        function.gradients = [one.grad for one in function.parameters]

    function.graph = SimpleNamespace(replay=replay)  # type: ignore[assignment]


def refuses(function: CapturedFunction[Any], inputs: tuple[Tensor, ...]) -> None:
    """As PyTorch does, whose capture ends with an error of its own after one."""
    try:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes of a GPU: those that a step takes, and those that are free."""
    found = {"step": GIB, "free": 16 * GIB}
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: found["step"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (found["free"], 80 * GIB))
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *device: None)

    def eagerly(function: CapturedFunction[Any], inputs: tuple[Tensor, ...]) -> Any:
        function._clear_gradients()
        return function.function(*function.place(inputs, CPU))

    monkeypatch.setattr(CapturedFunction, "_run_on_side_stream", eagerly)
    monkeypatch.setattr(CapturedFunction, "_capture", lines_up)
    return found


def passes(lm: DelayLM, may_go_without_graphs: bool = False) -> tuple[BackwardPass, BackwardPass]:
    """A plain backward pass, and that of a GPU."""
    objective = Objective(lm, cross_entropy, CPU, guided=True)
    plain = BackwardPass(TrainSection(device="cpu", cuda_graph=False), objective)
    captured = BackwardPass(
        TrainSection(device="cpu", cuda_graph=True), objective, may_go_without_graphs=may_go_without_graphs
    )
    captured.graphs, captured.places = True, _places(lm)
    return plain, captured


def batches() -> list[MicroBatch]:
    layouts = [[[7, 5], [9], [3, 2], [1]], [[4], [6, 6], [2], [8, 3]], [[16, 1], [1, 1]]]
    return [end_to_end(layout) for layout in layouts]


def gradients(lm: DelayLM) -> list[Tensor]:
    return [one.grad.clone() for one in lm.parameters() if one.grad is not None]


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("attention", ["plain", "position"])
def test_each_batch_of_a_shape_has_the_gradients_of_its_own_row(attention: str) -> None:
    lm = toy_lm(attention=attention, sizes=(4,) * CODEBOOKS, speakers=1, drops_text=True).double().train()
    plain, captured = passes(lm)
    for number in range(EAGER_CALLS + 4):
        batch = batches()[number % 3]
        lm.zero_grad()
        expected = plain(batch, torch.float32, 0.5)
        reference = gradients(lm)
        row = fix_row(batch, SHAPE)
        measured = captured(row, torch.float32, 0.5)
        for one, other in zip((*measured, *gradients(lm)), (*expected, *reference), strict=True):
            torch.testing.assert_close(one, other)
    assert all(one.grad is place for one, place in captured.places if one.grad is not None)
    [function] = captured.captured.values()
    assert function.graph is not None
    *_, groups, group_offsets, utterances, _ = function.inputs
    assert torch.equal(group_offsets, row.tables.group_offsets)
    assert segments_of(groups).offsets is group_offsets
    assert torch.equal(segments_of(utterances).offsets, row.tables.utterance_offsets)


def run(captured: BackwardPass, calls: int) -> None:
    row: FixedRow = fix_row(batches()[0], SHAPE)
    for _ in range(calls):
        captured(row, torch.float32)


def test_where_memory_is_short_nothing_is_captured(
    memory: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    lm = toy_lm(sizes=(4,) * CODEBOOKS).train()
    _, captured = passes(lm, may_go_without_graphs=True)
    memory["step"] = 9 * GIB
    with caplog.at_level("INFO", logger="lina"):
        run(captured, EAGER_CALLS + 2)
    assert "train: no CUDA graphs: memory is short (18.0 GiB for two steps and 16.0 GiB free)" in caplog.text
    assert all(function.graph is None for function in captured.captured.values())
    captured(fix_row(batches()[1], SHAPE._replace(text=12)), torch.float32)
    assert all(function.graph is None for function in captured.captured.values())


@pytest.mark.usefixtures("memory")
def test_memory_that_runs_out_beside_graphs_ends_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lm = toy_lm(sizes=(4,) * CODEBOOKS).train()
    _, captured = passes(lm, may_go_without_graphs=True)
    run(captured, EAGER_CALLS + 2)
    [first] = captured.captured.values()
    assert first.graph is not None
    eagerly = CapturedFunction._run_on_side_stream
    calls: list[int] = []

    def full(function: CapturedFunction[Any], inputs: tuple[Tensor, ...]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return eagerly(function, inputs)

    monkeypatch.setattr(CapturedFunction, "_run_on_side_stream", full)
    other = fix_row(batches()[1], SHAPE._replace(text=12))
    with caplog.at_level("INFO", logger="lina"):
        measured = captured(other, torch.float32)
    assert float(measured.loss.detach()) > 0
    assert "train: no CUDA graphs: memory has run out beside them" in caplog.text
    assert vars(first)["graph"] is None
    assert not first.inputs
    calls.clear()
    with pytest.raises(torch.OutOfMemoryError):  # there is nothing more to give back
        captured(other, torch.float32)


@pytest.mark.usefixtures("memory")
def test_what_cannot_be_captured_runs_without_or_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CapturedFunction, "_capture", refuses)
    lm = toy_lm(sizes=(4,) * CODEBOOKS).train()
    _, captured = passes(lm, may_go_without_graphs=True)
    with caplog.at_level("INFO", logger="lina"):
        run(captured, EAGER_CALLS + 2)
    assert "train: no CUDA graphs: a step cannot be captured (operation not permitted" in caplog.text
    _, required = passes(lm)
    with pytest.raises(
        LinaError, match=r"cuda_graph: true: a step cannot be captured .*set it to auto or false"
    ):
        run(required, EAGER_CALLS + 2)
