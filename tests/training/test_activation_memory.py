from pathlib import Path

import pytest
import torch
from torch import Tensor

from lina.config.spec import Spec
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import build_lm
from lina.training import activation_memory
from lina.training.activation_memory import model_size
from lina.training.losses import cross_entropy
from lina.training.objective import Objective, build_objective
from tests.pipeline.small_run import small

Z_LOSS = "train.loss={cross_entropy: {z_loss: 1.0e-4}}"


def really_saved(objective: Objective, frames: int) -> int:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    codebooks = len(objective.model.codebook_sizes)
    batch = activation_memory._micro_batch(frames, frames // 2, codebooks)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(batch, frames + codebooks, torch.float32)
    return sum(
        {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}.values()
    )


@pytest.mark.parametrize("settings", [(), (Z_LOSS,)], ids=["default", "z_loss"])
def test_the_estimate_is_what_a_real_pass_saves(settings: tuple[str, ...], tmp_path: Path) -> None:
    resolved = small(tmp_path, *settings)

    def build() -> DelayLM:
        return build_lm(resolved, codebook_sizes=(16, 16), vocab_size=32, speakers=0, seed=0)

    size = model_size(build, resolved.spec)
    model = build().train()
    objective = build_objective(resolved.spec, model, torch.device("cpu"))
    short, long = (really_saved(objective, frames) for frames in activation_memory.FRAMES)
    low, high = activation_memory.FRAMES
    assert size.bytes_per_frame == pytest.approx((long - short) / (high - low), rel=0.01)
    assert size.parameters == sum(one.numel() for one in model.parameters())


def test_a_loss_that_selects_by_value_is_replaced_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resolved = small(tmp_path)

    def build() -> DelayLM:
        return build_lm(resolved, codebook_sizes=(16, 16), vocab_size=32, speakers=0, seed=0)

    def selecting(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
        return cross_entropy(logits, targets, loss_mask) + logits[loss_mask].mean()

    expected = model_size(build, resolved.spec)
    monkeypatch.setattr(
        activation_memory,
        "build_objective",
        lambda spec, model, device: Objective(model, selecting, device, guided=False),
    )
    with caplog.at_level("INFO", "lina"):
        assert model_size(build, resolved.spec) == expected
    assert "train.loss: cross_entropy cannot be run without values; memory is that of" in caplog.text


def test_checkpointing_keeps_less(tmp_path: Path) -> None:
    resolved = small(tmp_path, "backbone.n_layers=3")

    def of(spec: Spec) -> float:
        return model_size(
            lambda: build_lm(resolved, codebook_sizes=(16,), vocab_size=32, speakers=0, seed=0), spec
        ).bytes_per_frame

    spec = resolved.spec
    train = spec.train.model_copy(update={"gradient_checkpointing": True})
    assert of(spec.model_copy(update={"train": train})) < 0.6 * of(spec)
