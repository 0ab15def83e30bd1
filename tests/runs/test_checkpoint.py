"""Checkpoints: whole or not there, and never believed without their sums."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from lina.core.errors import CheckpointError
from lina.runs import checkpoint, checkpoint_store
from lina.runs.checkpoint import load_average, load_optimizer, load_weights, save_checkpoint
from lina.runs.checkpoint_store import DamagedError, newest_checkpoint, open_checkpoint
from lina.training.optimizer import MovingAverage


def trained(seed: int = 0, width: int = 3, optimizer: type = torch.optim.AdamW) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
    chosen = optimizer(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(4, width)).square().sum().backward()
        chosen.step()
        chosen.zero_grad()
    return model, chosen


def save(folder: Path, step: int, keep: int = 5, seed: int = 0, average: bool = True) -> Path:
    model, optimizer = trained(seed)
    averaged = MovingAverage(model, 0.5).state(model) if average else None
    return save_checkpoint(
        folder,
        step=step,
        seconds=1.5 * step,
        corpus="c",
        model=model,
        optimizer=optimizer,
        average=averaged,
        keep=keep,
    ).path


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


FILES = (
    "model.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "optimizer.json",
    "checkpoint.json",
)


def test_saved_state_equals_loaded_state(tmp_path: Path) -> None:
    saved = save_step(tmp_path)
    found = newest_checkpoint(tmp_path)
    assert found == saved
    assert (saved.step, saved.seconds, saved.corpus) == (4, 2.5, "c")
    model, optimizer = trained(seed=0)
    other, other_optimizer = trained(seed=1)
    load_weights(other, saved, average=False)
    load_optimizer(other, other_optimizer, saved)
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert one.equal(two)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert all(
            value.equal(other_optimizer.state[two][key]) for key, value in optimizer.state[one].items()
        )
    averaged = load_average(saved, model)
    assert averaged["0.weight"].equal(model.state_dict()["0.weight"] + 1)
    load_weights(other, saved, average=True)
    assert other.state_dict()["0.weight"].equal(averaged["0.weight"])


def save_step(folder: Path) -> checkpoint_store.Checkpoint:
    model, optimizer = trained(seed=0)
    average = {name: value + 1 for name, value in model.state_dict().items()}
    facts = {"step": 4, "seconds": 2.5, "corpus": "c", "keep": 2}
    return save_checkpoint(folder, model=model, optimizer=optimizer, average=average, **facts)  # type: ignore[arg-type]


def test_without_an_average_the_weights_speak(tmp_path: Path) -> None:
    model, _ = trained(seed=1)
    load_weights(model, open_checkpoint(save(tmp_path, 1, average=False)), average=True)
    assert model.state_dict()["0.weight"].equal(trained(seed=0)[0].state_dict()["0.weight"])


def test_the_fingerprint_of_the_weights_is_of_those_that_speak(tmp_path: Path) -> None:
    one, other = open_checkpoint(save(tmp_path / "a", 1)), open_checkpoint(save(tmp_path / "b", 2))
    assert one.weights == other.weights
    assert open_checkpoint(save(tmp_path / "c", 1, seed=1)).weights != one.weights


@pytest.mark.parametrize("damage", [flip, truncate, empty, Path.unlink])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: Callable[[Path], None]
) -> None:
    save(tmp_path, 1)
    damaged = save(tmp_path, 2)
    damage(damaged / file)
    with caplog.at_level(logging.WARNING, "lina"):
        found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 1
    [warning] = caplog.messages
    assert str(damaged) in warning
    assert file in warning
    assert warning.endswith("trying the one before")


def test_one_under_another_step_is_damaged(tmp_path: Path) -> None:
    save(tmp_path, 1).rename(tmp_path / "step-00000009")
    with pytest.raises(DamagedError, match=r"is of step 1$"):
        open_checkpoint(tmp_path / "step-00000009")


def test_if_none_is_whole_nothing_is_started_anew(tmp_path: Path) -> None:
    for step in (1, 2):
        flip(save(tmp_path, step) / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"none of its 2 checkpoints is whole; .*delete that folder"):
        newest_checkpoint(tmp_path)
    assert steps(tmp_path) == [1, 2]


def test_reading_beside_a_run_that_replaces_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    real = checkpoint_store.open_checkpoint

    def late(path: Path) -> checkpoint_store.Checkpoint:
        if path.name == "step-00000001":
            save(tmp_path, 2, keep=1)
        return real(path)

    monkeypatch.setattr(checkpoint_store, "open_checkpoint", late)
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 2


def test_another_format_is_refused_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 1)
    facts = save(tmp_path, 2) / "checkpoint.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="is in format 99, this lina reads format 1") as refused:
        newest_checkpoint(tmp_path)
    assert not isinstance(refused.value, DamagedError)


@pytest.mark.parametrize(
    "content", ["[]", "null", "{}", '{"format": 1, "step": 2, "seconds": 0, "corpus": "", "sha256": []}']
)
def test_a_checkpoint_json_of_something_else_is_damaged(tmp_path: Path, content: str) -> None:
    path = save(tmp_path, 2)
    (path / "checkpoint.json").write_text(content)
    with pytest.raises(DamagedError, match=r"no readable checkpoint\.json"):
        open_checkpoint(path)


def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint_store, "sha256", refuse)
    with pytest.raises(CheckpointError, match="may not be read: Permission denied; fix its permissions"):
        newest_checkpoint(tmp_path)


def test_the_newest_is_chosen_by_its_step_not_by_clock_or_spelling(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000, 5):
        shutil.move(save(tmp_path / str(step), step), tmp_path)
    os.utime(tmp_path / "step-00000005")
    (tmp_path / "step-junk").mkdir()
    (tmp_path / "step-00000200").write_text("no directory")
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 100_000_000


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "missing") is None


def test_the_configured_number_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step, keep=2)
    assert steps(tmp_path) == [3, 4]
    save(tmp_path, 5, keep=1)
    assert steps(tmp_path) == [5]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_a_damaged_later_one_never_crowds_out_the_one_just_written(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for step in (8, 9):
        flip(save(tmp_path, step) / "model.safetensors")
    save(tmp_path, 2, keep=1)
    assert steps(tmp_path) == [2]


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    flip(save(tmp_path, 1) / "model.safetensors")
    save(tmp_path, 1)
    assert newest_checkpoint(tmp_path) is not None


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.123").mkdir()
    (tmp_path / ".step-00000001.123" / "model.safetensors").write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("nth", range(1, 16))
def test_a_full_disk_at_any_write_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    save(tmp_path, 1)
    writes = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == nth:
                if real is save_file:
                    raise SafetensorError("I/O error: No space left on device (os error 28)")
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", failing(save_file))
        for name in ("_sync", "sync_directory"):
            patch.setattr(checkpoint_store, name, failing(getattr(checkpoint_store, name)))
        for name in ("mkdir", "write_text", "rename"):
            patch.setattr(Path, name, failing(getattr(Path, name)))
        message = ""
        try:
            save(tmp_path, 2)
        except CheckpointError as error:
            message = str(error)
    finished = not message
    assert finished == (writes < nth)
    assert finished or ("step 2 cannot be written" in message and "No space left on device" in message)
    found = newest_checkpoint(tmp_path)
    assert found is not None
    # The very last write confirms the rename: the new one is there already, and whole.
    assert found.step in ({2} if finished else {1, 2})
    assert not list(tmp_path.glob(".step-*"))
    save(tmp_path, 3)
    assert newest_checkpoint(tmp_path).step == 3  # type: ignore[union-attr]


def test_a_writer_killed_at_any_moment_never_leaves_less_than_it_reported(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill_writer.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "checkpoints"), "40"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    kills, step = map(int, done.stdout.split())
    assert kills == 40
    assert step > 0


def test_weights_of_another_shape_or_name_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    saved = open_checkpoint(save(tmp_path, 1))
    wide, _ = trained(width=5)
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"0\.bias is \[3\], but the spec's model has \[5\]"):
        load_weights(wide, saved, average=False)
    assert all(value.equal(before[name]) for name, value in wide.state_dict().items())
    with pytest.raises(CheckpointError, match=r"0\.bias is \[3\], but the spec's model has nothing"):
        load_weights(nn.Identity(), saved, average=False)


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    saved = open_checkpoint(save(tmp_path, 1))
    model = nn.Linear(3, 3)
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: does not fit"):
        load_optimizer(model, torch.optim.AdamW(model.parameters()), saved)


def test_tied_weights_are_stored_and_loaded(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        second.weight = first.weight
        return nn.Sequential(first, second)

    model = tied()
    average = MovingAverage(model, 0.5)
    average.average["0.weight"].fill_(7.0)
    optimizer = torch.optim.SGD(model.parameters())
    options: dict[str, Any] = {"step": 1, "seconds": 0.0, "corpus": "", "keep": 1}
    saved = save_checkpoint(
        tmp_path, model=model, optimizer=optimizer, average=average.state(model), **options
    )
    other = tied()
    load_weights(other, saved, average=False)
    assert other.get_parameter("0.weight").equal(model.get_parameter("0.weight"))
    load_weights(other, saved, average=True)
    assert bool((other.get_parameter("0.weight") == 7.0).all())


def test_a_load_without_shards_does_not_import_what_shards_need(tmp_path: Path) -> None:
    """torch.distributed.tensor takes half a second, at every load of a voice."""
    save(tmp_path, 1)
    code = f"""
import sys
from pathlib import Path
from torch import nn
from lina.runs.checkpoint import load_average, load_weights
from lina.runs.checkpoint_store import newest_checkpoint
model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
found = newest_checkpoint(Path({str(tmp_path)!r}))
load_weights(model, found, average=False)
load_average(found, model)
assert "torch.distributed.tensor" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
