from pathlib import Path

import pytest
import torch
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import build_lm
from lina.training import activation_memory
from lina.training.activation_memory import model_size
from lina.training.losses import fused_cross_entropy
from lina.training.objective import Objective
from tests.pipeline.small_run import small


def really_saved(model: DelayLM, frames: int) -> int:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    objective = Objective(model, fused_cross_entropy, torch.device("cpu"), guided=False)
    batch = activation_memory._micro_batch(frames, frames // 2, len(model.codebook_sizes))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(batch, frames + len(model.codebook_sizes), torch.float32)
    return sum(
        {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}.values()
    )


def test_the_estimate_is_what_a_real_pass_saves(tmp_path: Path) -> None:
    resolved = small(tmp_path)

    def build() -> DelayLM:
        return build_lm(resolved, codebook_sizes=(16, 16), vocab_size=32, speakers=0, seed=0)

    size = model_size(build, resolved.spec.train)
    model = build().train()
    short, long = (really_saved(model, frames) for frames in activation_memory.FRAMES)
    low, high = activation_memory.FRAMES
    assert size.bytes_per_frame == pytest.approx((long - short) / (high - low), rel=0.01)
    assert size.parameters == sum(one.numel() for one in model.parameters())


def test_checkpointing_keeps_less(tmp_path: Path) -> None:
    resolved = small(tmp_path, "backbone.n_layers=3")

    def of(train: TrainSection) -> float:
        return model_size(
            lambda: build_lm(resolved, codebook_sizes=(16,), vocab_size=32, speakers=0, seed=0), train
        ).bytes_per_frame

    train = resolved.spec.train
    assert of(train.model_copy(update={"gradient_checkpointing": True})) < 0.6 * of(train)
