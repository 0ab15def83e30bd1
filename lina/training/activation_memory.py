"""Memory of a micro-batch's activations, estimated without computing them."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from lina.config.spec import Spec
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import count_parameters
from lina.training.losses import fused_cross_entropy
from lina.training.objective import MicroBatch, Objective, build_objective

FRAMES = 256, 512
"""Lengths of the two rows whose difference gives the bytes per frame: chunks and windows are full in both."""
TEXT_PER_FRAME = 0.5
"""Positions of text per frame, for the attention weights; English phonemes at 25 frames/s have about as many."""
CPU = torch.device("cpu")

log = logging.getLogger("lina")


class Size(NamedTuple):
    parameters: int
    """Trained ones."""
    bytes_per_frame: float
    """That the backward pass keeps, per frame of a micro-batch."""


def model_size(build: Callable[[], DelayLM], spec: Spec) -> Size:
    """Size of a model and of what its backward pass keeps, in float32 and by the reference operators.

    The loss is the spec's, or cross-entropy if that one reads values, which there are not. Fused kernels and bfloat16
    keep less, so on a GPU it is an upper bound. Nothing is allocated or computed: the tensors are fake
    (``torch._subclasses.FakeTensorMode``), and storages are counted where autograd saves them.

    Raises:
        SpecError, PluginError: the loss or its options cannot be used.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build()
        checkpoint_layers(model, spec.train.gradient_checkpointing)
        objective = build_objective(spec, model, CPU)
        try:
            short, long = (_saved_bytes(objective, frames) for frames in FRAMES)
        except (DataDependentOutputException, DynamicOutputShapeException):
            log.info(
                "train.loss: %s cannot be run without values; memory is that of cross-entropy",
                spec.train.loss,
            )
            objective = Objective(model, fused_cross_entropy, CPU, guided=objective.guided)
            short, long = (_saved_bytes(objective, frames) for frames in FRAMES)
    return Size(count_parameters(model), (long - short) / (FRAMES[1] - FRAMES[0]))


def checkpoint_layers(model: DelayLM, enabled: bool) -> None:
    """Let stacks recompute their layers in the backward pass, or not."""
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            setattr(module, "gradient_checkpointing", enabled)  # noqa: B010 (a plain bool)


def _saved_bytes(objective: Objective, frames: int) -> int:
    model = objective.model
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    model.train()
    batch = _micro_batch(frames, round(frames * TEXT_PER_FRAME), len(model.codebook_sizes))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(batch, frames + len(model.codebook_sizes), torch.float32)
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in kept}
    return sum(storages.values())


def _micro_batch(frames: int, text: int, codebooks: int) -> MicroBatch:
    nothing = torch.zeros(1, dtype=torch.bool)
    return MicroBatch(
        codes=torch.zeros(1, frames, codebooks, dtype=torch.int64),
        lengths=torch.tensor([frames]),
        text=torch.zeros(1, text, dtype=torch.int64),
        text_mask=torch.ones(1, text, dtype=torch.bool),
        speaker=torch.zeros(1, dtype=torch.int64),
        without_text=nothing,
        without_speaker=nothing,
        prompts=torch.zeros(1, dtype=torch.int64),
        rows=torch.zeros(1, 1, dtype=torch.int64),
        groups=torch.zeros(1, dtype=torch.int64),
    )
