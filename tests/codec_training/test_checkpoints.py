"""Checkpoints of job codec: in shards that can be carried, with moments that a resumed run shares."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lina.codec_training import checkpoints
from lina.codec_training.checkpoints import Learning, restore, save
from lina.core.errors import CheckpointError
from lina.runs.checkpoint_store import FACTS, newest_checkpoint
from lina.training.optimizer import MovingAverage


def learning(width: int = 8, seed: int = 0) -> Learning:
    torch.manual_seed(seed)
    codec, judges = nn.Linear(width, width), nn.Linear(width, 1)
    optimizers = [torch.optim.AdamW(one.parameters(), 1e-2) for one in (codec, judges)]
    return Learning(codec, MovingAverage(codec, 0.9), optimizers[0], judges, optimizers[1])


def train(one: Learning, steps: int) -> None:
    for step in range(1, steps + 1):
        width = one.codec.in_features
        (one.discriminators(one.codec(torch.linspace(0, step, width)[None]))).sum().backward()
        for optimizer in (one.optimizer, one.discriminators_optimizer):
            optimizer.step()
            optimizer.zero_grad()
        assert one.average is not None
        one.average.update(one.codec, step)


def write(folder: Path, one: Learning, step: int = 3) -> Path:
    settings = {"corpus": "c", "precision": "float32", "discriminators_precision": "float32"}
    return save(folder, one, step=step, seconds=1.0, keep=2, **settings).path  # type: ignore[arg-type]


def tensors(one: Learning) -> list[torch.Tensor]:
    assert one.average is not None
    weights = [*one.codec.state_dict().values(), *one.discriminators.state_dict().values()]
    moments = [
        optimizer.state[parameter][name]
        for optimizer in (one.optimizer, one.discriminators_optimizer)
        for group in optimizer.param_groups
        for parameter in group["params"]
        for name in ("step", "exp_avg", "exp_avg_sq")
    ]
    return [*weights, *one.average.average.values(), *moments]


def test_a_resumed_run_and_the_one_that_went_on_are_the_same(tmp_path: Path) -> None:
    one, other = learning(), learning(seed=1)
    train(one, 3)
    write(tmp_path, one)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    restore(newest, other)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
    for each in (one, other):
        train(each, 2)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_shards_are_small_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SHARD_BYTES", 1500)
    one, other = learning(16), learning(16, seed=1)
    train(one, 1)
    path = write(tmp_path, one)
    shards = list(path.glob("state-*.safetensors"))
    assert len(shards) > 2
    assert all(shard.stat().st_size < 2000 for shard in shards)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    restore(newest, other)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_a_damaged_shard_is_passed_over(tmp_path: Path) -> None:
    one = learning()
    train(one, 1)
    write(tmp_path, one, step=1)
    shard = write(tmp_path, one, step=2) / "state-00.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 1


def test_the_weights_are_known_by_what_is_exported(tmp_path: Path) -> None:
    one = learning()
    train(one, 1)
    weights = []
    for step in (1, 2, 3):
        write(tmp_path, one, step)
        newest = newest_checkpoint(tmp_path)
        assert newest is not None
        weights.append(newest.weights)
        if step == 2:
            train(one, 1)
    assert weights[0] == weights[1] != weights[2]


def test_another_codec_is_refused(tmp_path: Path) -> None:
    one = learning()
    train(one, 1)
    write(tmp_path, one)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    with pytest.raises(CheckpointError, match=r"codec/bias is \[8\], but the spec makes it \[9\]"):
        restore(newest, learning(9))
    (newest.path / "numbers.json").unlink()
    with pytest.raises(CheckpointError, match="is no checkpoint of job codec"):
        restore(newest, learning())
    assert (newest.path / FACTS).is_file()
