"""``train.parallel: fsdp``: weights, gradients and moments in shards, one per rank (FSDP2, torch's ``fully_shard``).

Each layer is a unit: its weights are gathered before it computes, and its gradients are summed and scattered after its
backward pass. Checkpoints hold whole tensors, as those of one GPU: a run may go on with or without shards.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn

from lina.core.errors import LinaError
from lina.core.model.delay_lm import DelayLM
from lina.training.layers import layers_of


def shard(module: nn.Module, layers: Iterator[nn.Module], device: torch.device, ranks: int) -> None:
    """Shard the parameters of ``module`` in place: each of ``layers`` is a unit, and the rest is one.

    Raises:
        LinaError: this PyTorch has no ``fully_shard``.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError as error:
        raise LinaError(
            f"train.parallel: fsdp needs a PyTorch with fully_shard: {error}; set parallel: ddp"
        ) from None
    mesh = init_device_mesh(device.type, (ranks,))
    shard_module = cast(Callable[..., Any], fully_shard)
    for layer in layers:
        shard_module(layer, mesh=mesh)
        register_fsdp_forward_method(layer, "parallel_forward")
    shard_module(module, mesh=mesh)


def units_of(model: DelayLM) -> Iterator[nn.Module]:
    """The layers of both halves of the backbone, where they have a list of them."""
    for backbone in (model.encoder, model.decoder):
        yield from layers_of(backbone)
