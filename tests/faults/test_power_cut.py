"""After a power cut at any sync, rename or deletion, each file is the old or the new one, and a checkpoint is whole."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lina.core.files.atomic import write_atomic
from lina.runs.checkpoint import load_weights, save_checkpoint
from lina.runs.checkpoint_store import newest_checkpoint
from tests.faults.power_cut import cut_at

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds files in /proc")


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_a_file_is_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, nth: int
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if old is not None:
        (folder / "a").write_bytes(old)
    written = False
    with cut_at(folder, nth, monkeypatch) as disk:
        write_atomic(folder / "a", b"new")
        written = True
    after = disk.after_the_cut(tmp_path / "after")
    found = (after / "a").read_bytes() if (after / "a").exists() else None
    assert found == b"new" if written else found in (old, b"new")
    assert written == (nth > 4)  # the last is the removal of a temporary file that is gone


def save(folder: Path, step: int, keep: int) -> nn.Linear:
    torch.manual_seed(step)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    options = {"step": step, "seconds": 0.0, "corpus": "", "keep": keep}
    save_checkpoint(folder, model=model, optimizer=optimizer, average=model.state_dict(), **options)  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_checkpoint_that_was_reported_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, before: int
) -> None:
    cuts = 0
    for nth in range(1, 60):
        run = tmp_path / f"run-{nth}"
        run.mkdir()
        for step in range(1, before + 1):
            save(run / "checkpoints", step, keep)
        reported = before
        with cut_at(run, nth, monkeypatch) as disk:
            save(run / "checkpoints", before + 1, keep)
            reported = before + 1
        after = disk.after_the_cut(tmp_path / f"after-{nth}")
        found = newest_checkpoint(after / "checkpoints")
        assert (found.step if found else 0) >= reported, f"cut at {nth}"
        if found is not None:
            model = nn.Linear(4, 4)
            load_weights(model, found, average=False)
            save(after / "checkpoints", found.step + 1, keep)  # what the cut has left is in nobody's way
        if reported > before:
            break
        cuts += 1
    assert cuts >= 8
