"""Tensors of which each rank has a shard (torch's ``DTensor``), and the whole tensors that checkpoints hold."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def is_sharded(value: Any) -> bool:
    return hasattr(value, "full_tensor")


def local(value: Any) -> Tensor:
    """This rank's shard of a tensor, or the whole tensor if it is not sharded; both share their memory."""
    return value.to_local() if is_sharded(value) else value  # type: ignore[no-any-return]


def whole(value: Any) -> Tensor:
    """The whole tensor; every rank calls this."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[no-any-return]


def gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Whole tensors on the CPU, gathered one after the other by all ranks, for those ranks that ``keep`` them."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        one = whole(value.detach())
        if keep:
            found[name] = one.cpu()
    return found


def scatter(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's shards of whole tensors that all ranks have, where those of ``like`` are sharded."""
    from torch.distributed.tensor import distribute_tensor

    found = {}
    for name, value in tensors.items():
        own: Any = like.get(name)
        if own is not None and is_sharded(own):
            place = value.to(own.device)
            value = distribute_tensor(place, own.device_mesh, own.placements, src_data_rank=None)
        found[name] = value
    return found
