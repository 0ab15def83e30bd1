"""Checkpoints that are written while training goes on."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from lina.core.errors import CheckpointError
from lina.runs.checkpoint import CheckpointContent, checkpoint_content, load_weights, save_tensors
from lina.runs.checkpoint_store import Checkpoint, newest_checkpoint
from lina.runs.checkpoint_writer import CheckpointWriter, copied


def write(folder: Path, content: CheckpointContent, step: int, gate: threading.Event) -> Checkpoint:
    assert gate.wait(30)
    return save_tensors(folder, content, step=step, seconds=0.0, corpus="c", keep=2)


def test_training_goes_on_while_the_checkpoint_holds_its_step(tmp_path: Path) -> None:
    model, gate = nn.Linear(3, 2), threading.Event()
    reports: list[Checkpoint] = []
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model.weight.grad = model.bias.grad = None
    before = model.weight.detach().clone()
    writer = CheckpointWriter(reports.append)
    content = copied(checkpoint_content(model, optimizer, {"weight": model.weight}))
    writer.submit(lambda: write(tmp_path, content, 1, gate))
    with torch.no_grad():
        model.weight.add_(1.0)
    writer.poll()
    assert reports == []
    assert newest_checkpoint(tmp_path) is None
    gate.set()
    for _ in range(300):
        writer.poll()
        if reports:
            break
        time.sleep(0.1)
    assert [one.step for one in reports] == [1]
    other = nn.Linear(3, 2)
    load_weights(other, reports[0], average=False)
    assert torch.equal(other.weight, before)
    writer.close()


def test_one_checkpoint_follows_the_other_and_errors_are_raised(tmp_path: Path) -> None:
    model, gate = nn.Linear(3, 2), threading.Event()
    reports: list[Checkpoint] = []
    gate.set()
    content = copied(checkpoint_content(model, torch.optim.AdamW(model.parameters()), None))
    writer = CheckpointWriter(reports.append)
    for step in (1, 2):
        writer.submit(partial(write, tmp_path / "there", content, step, gate))
    assert [one.step for one in reports] == [1], "the first is complete before the second begins"
    last = writer.finish()
    assert last is not None
    assert last.step == 2
    assert writer.finish() is None
    writer.submit(lambda: write(tmp_path / "not" / "there", content, 3, gate))
    with pytest.raises(CheckpointError, match="cannot be written"):
        writer.submit(lambda: write(tmp_path / "there", content, 4, gate))
    writer.close()
    found = newest_checkpoint(tmp_path / "there")
    assert found is not None
    assert found.step == 2


def test_the_error_that_ends_training_is_not_replaced_by_one_of_the_writing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Checkpoint:
        raise MemoryError("no room")

    writer = CheckpointWriter(lambda one: None)
    writer.submit(fail)
    writer.close()
    assert caplog.messages == ["the last checkpoint was not written: no room"]


def test_a_checkpoint_is_being_written_until_it_is_complete_whoever_waits_for_it() -> None:
    gate, checkpoint = threading.Event(), Checkpoint(Path("there"), 1, 0.0, "c", "w")

    def hold() -> Checkpoint:
        assert gate.wait(30)
        return checkpoint

    writer = CheckpointWriter(lambda one: None)
    assert not writer.is_writing()
    writer.submit(hold)
    waiting = threading.Thread(target=writer.finish)
    waiting.start()
    time.sleep(0.1)
    assert writer.is_writing()
    gate.set()
    waiting.join(30)
    assert not writer.is_writing()
    writer.close()
