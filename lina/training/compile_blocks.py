"""torch.compile for the layers of a model in training, in one piece of code for all layers of a kind and all shapes.

What surrounds a recurrence (norms, projections, gates, channel mixing) is bound by memory, and compilation does in few
passes over it what PyTorch's operators do in many. Kernels of the recurrences themselves are called as they are.
"""

import importlib.util
from contextlib import ExitStack
from types import MethodType
from typing import Any

import torch

from lina.config.train_section import TrainSection
from lina.core.model.contract import check_backbone
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.dispatch import HAS_TRITON, log_once
from lina.engine.compilation import RECOMPILES, cache_compiled_code
from lina.runs.device import mixed_precision
from lina.training.graph_choice import LONG_RUN
from lina.training.layers import backbones_of, layers_of

OPAQUE = (
    *("lina.backbones.fused", "fla", "triton"),
    *(
        f"lina.core.ops.{name}"
        for name in (
            *("dispatch", "segments", "gated_linear_attention", "rwkv6_attention", "scalar_decay_attention"),
            *("delta_rule", "selective_scan", "chunk_scores"),
        )
    ),
)
"""Modules that are called and not compiled: they choose and launch kernels, or loop over chunks of frames, which takes
minutes to trace."""


OLDEST = (7, 0)
"""Compute capability from which Triton supports a GPU."""


def compiles_layers(train: TrainSection, device: torch.device) -> bool:
    """Choose for a run on ``device``: long runs on a GPU that Triton supports, or what the spec says."""
    if device.type != "cuda" or train.compile is False:
        return False
    possible = HAS_TRITON and torch.cuda.get_device_capability(device) >= OLDEST
    if train.compile == "auto" and not possible:
        log_once("train: layers are not compiled, since Triton is not installed or does not support this GPU")
    return train.compile is True or (possible and train.steps >= LONG_RUN)


def compile_blocks(model: DelayLM, device: torch.device, precision: torch.dtype) -> ExitStack:
    """Compile each layer of the backbones and of the text encoder, at its first call.

    A backbone without a ``ModuleList`` named ``layers`` is left as it is. Closing the result puts the compiler's
    settings, which are the process's, back as they were.
    """
    import torch._dynamo.config  # in seconds: only where something is compiled
    import torch.fx.experimental._config

    cache_compiled_code()
    settings = ExitStack()
    # Constants of layers, such as a norm's eps, would be tensors on the CPU, with C++ kernels of their own.
    # What cannot be compiled runs as it is, as in a plugin whose layers nobody has compiled before.
    own: dict[str, Any] = {"recompile_limit": RECOMPILES, "specialize_float": True, "suppress_errors": True}
    settings.enter_context(torch._dynamo.config.patch(own))
    # Sizes that happen to be equal in one batch are not in the next.
    settings.enter_context(torch.fx.experimental._config.patch(use_duck_shape=False))  # type: ignore[attr-defined]
    with mixed_precision(device, precision):
        for backbone in (model.encoder, model.decoder):
            # Kernels are chosen, and their packages imported, outside of any compilation.
            check_backbone(backbone, model.rvq_embed.embedding_dim)
    _skip(OPAQUE, settings)
    for backbone, _ in backbones_of(model):
        for layer in layers_of(backbone):
            # A method, so that a copy of the layer computes with its own weights.
            layer.parallel_forward = MethodType(
                torch.compile(type(layer).parallel_forward, dynamic=True), layer
            )
    for block in model.txt_encoder.sa:
        block.compile(dynamic=True)
    return settings


def _skip(names: tuple[str, ...], settings: ExitStack) -> None:
    """Leave modules out of compilation until ``settings`` are closed."""
    from torch._dynamo import trace_rules

    before = list(trace_rules.SKIP_DIRS)

    def restore() -> None:
        trace_rules.SKIP_DIRS[:] = before
        trace_rules._recompile_re()

    settings.callback(restore)
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            trace_rules.add(name)
