"""Weights files published by RWKV: their ``blocks.N`` with ln1, att, ln2, ffn are lina's ``layers.N``."""

import re
from collections.abc import Mapping

from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.plugin import Half

PARTS = {"norm1": "ln1", "tmix": "att", "norm2": "ln2", "cmix": "ffn"}
"""Part of a layer: lina's name -> RWKV's name."""
MARKS = {"rwkv5": "blocks.0.att.time_mix_g", "rwkv6": "blocks.0.att.time_maa_x", "rwkv7": "blocks.0.att.x_r"}
"""Plugin -> a tensor that only this generation has."""


def layers_for_half(
    tensors: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    *,
    plugin: str,
    sizes: Mapping[str, tuple[str, int]],
    n_layers: int,
    half: Half,
) -> dict[str, Tensor]:
    """Select the tensors of ``target`` (a stack's state dict): the file's first ``n_layers`` layers, or the next ones.

    ``sizes``: key of a spec that must fit the file -> tensor and its dimension with that size, which is compared with
    ``target``. Norms of embedding and output, which lina's stacks lack, are left out.

    Raises:
        CheckpointError: the file is of another architecture or generation, of other sizes, or too shallow.
    """
    _require_generation(tensors, plugin)
    numbers = (re.match(r"blocks\.(\d+)\.", name) for name in tensors)
    there = 1 + max(int(number[1]) for number in numbers if number)
    for key, (name, dimension) in sizes.items():
        having = next((i for i in range(n_layers) if f"layers.{i}.{name}" in target), None)
        if having is None:  # no layer of this spec has such a tensor
            continue
        found, expected = (
            tensors.get(_published(name, having)),
            target[f"layers.{having}.{name}"].shape[dimension],
        )
        if found is not None and found.dim() > dimension and found.shape[dimension] != expected:
            size = found.shape[dimension]
            raise CheckpointError(
                f"holds a model with {key} {size}, the spec has {expected}; write {key}: {size}"
            )
    if there < 2 * n_layers:
        advice = f"write backbone.n_layers: {there // 2}" if there > 1 else "use a deeper model"
        raise CheckpointError(
            f"has {there} layers, but backbone.n_layers: {n_layers} needs that many before the text and after "
            f"it, {2 * n_layers} in all; {advice}"
        )
    first = 0 if half == "encoder" else n_layers
    imported = {}
    for name, like in target.items():
        _, layer, rest = name.split(".", 2)
        published = _published(rest, first + int(layer))
        tensor = tensors.get(published)
        if tensor is None or tensor.shape != like.shape:
            problem = "is missing" if tensor is None else f"is {list(tensor.shape)}"
            raise CheckpointError(
                f"{published} {problem}, expected {list(like.shape)}; use a file published by RWKV for {plugin}"
            )
        imported[name] = tensor
    return imported


def _published(name: str, layer: int) -> str:
    part, rest = name.split(".", 1)
    return f"blocks.{layer}.{PARTS[part]}.{rest}"


def _require_generation(tensors: Mapping[str, Tensor], plugin: str) -> None:
    if MARKS[plugin] in tensors:
        return
    other = next((name for name, mark in MARKS.items() if mark in tensors), None)
    found = f"holds a model of {other}" if other else f"has no tensor {MARKS[plugin]}"
    raise CheckpointError(f"{found}; backbone {plugin} needs a .pth file published by RWKV for {plugin}")
