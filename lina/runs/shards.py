"""Tensors of which each rank has a shard (torch's ``DTensor``), and the whole tensors that checkpoints hold."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def is_sharded(value: Any) -> bool:
    return hasattr(value, "full_tensor")


def local(value: Any) -> Tensor:
    """This rank's shard of a tensor, or the whole tensor if it is not sharded; both share their memory."""
    return value.to_local() if is_sharded(value) else value  # type: ignore[no-any-return]


def whole(value: Any) -> Tensor:
    """The whole tensor; every rank calls this."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[no-any-return]


def cpu_copy(value: Tensor) -> Tensor:
    """The same tensor in memory of its own on the CPU."""
    return torch.empty_like(value, device="cpu", requires_grad=False).copy_(value.detach())


def gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Copies of whole tensors on the CPU, gathered one after the other by all ranks, for those that ``keep`` them."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        sharded = is_sharded(value)
        one = whole(value.detach()) if sharded else value
        if keep:
            found[name] = one.cpu() if sharded else cpu_copy(one)
    return found


def scatter(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's shards of whole tensors that all ranks have, where those of ``like`` are sharded."""
    found = {}
    for name, value in tensors.items():
        own: Any = like.get(name)
        if own is not None and is_sharded(own):
            from torch.distributed.tensor import distribute_tensor  # half a second, in use by now

            place = value.to(own.device)
            value = distribute_tensor(place, own.device_mesh, own.placements, src_data_rank=None)
        found[name] = value
    return found
