"""Checkpoints of job codec: small shards, bfloat16 moments, resuming bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lina.codec_training import checkpoint
from lina.codec_training.checkpoint import TrainingState, restore, round_moments, save
from lina.core.errors import CheckpointError
from lina.runs.checkpoint_store import FACTS, newest_checkpoint
from lina.training.optimizer import MovingAverage


def make_state(width: int = 8, seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    codec, discriminators = nn.Linear(width, width), nn.Linear(width, 1)
    optimizers = [torch.optim.AdamW(one.parameters(), 1e-2) for one in (codec, discriminators)]
    return TrainingState(codec, MovingAverage(codec, 0.9), optimizers[0], discriminators, optimizers[1])


def train(one: TrainingState, steps: int) -> None:
    for step in range(1, steps + 1):
        assert isinstance(one.codec, nn.Linear)
        width = one.codec.in_features
        (one.discriminators(one.codec(torch.linspace(0, step, width)[None]))).sum().backward()
        for optimizer in (one.optimizer, one.discriminators_optimizer):
            optimizer.step()
            optimizer.zero_grad()
        assert one.average is not None
        one.average.update(one.codec, step)


def write(folder: Path, one: TrainingState, step: int = 3) -> Path:
    settings = {"corpus": "c", "precision": "float32", "discriminators_precision": "float32"}
    round_moments(one)
    return save(folder, one, step=step, seconds=1.0, keep=2, **settings).path


def tensors(one: TrainingState) -> list[torch.Tensor]:
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


def test_resuming_equals_continuing(tmp_path: Path) -> None:
    one, other = make_state(), make_state(seed=1)
    train(one, 3)
    write(tmp_path, one)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    restore(newest, other)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
    for each in (one, other):
        train(each, 2)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_shards_are_bounded_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 1500)
    one, other = make_state(16), make_state(16, seed=1)
    train(one, 1)
    path = write(tmp_path, one)
    shards = list(path.glob("state-*.safetensors"))
    assert len(shards) > 2
    assert all(shard.stat().st_size < 2000 for shard in shards)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    restore(newest, other)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_checkpoint_with_damaged_shard_is_skipped(tmp_path: Path) -> None:
    one = make_state()
    train(one, 1)
    write(tmp_path, one, step=1)
    shard = write(tmp_path, one, step=2) / "state-00.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 1


def test_weights_hash_changes_with_the_weights_only(tmp_path: Path) -> None:
    one = make_state()
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


def test_checkpoint_of_another_codec_is_rejected(tmp_path: Path) -> None:
    one = make_state()
    train(one, 1)
    write(tmp_path, one)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    with pytest.raises(CheckpointError, match=r"codec/bias is \[8\], but the spec's model has \[9\]"):
        restore(newest, make_state(9))
    (newest.path / "numbers.json").unlink()
    with pytest.raises(CheckpointError, match="is not a checkpoint of job codec"):
        restore(newest, make_state())
    assert (newest.path / FACTS).is_file()
