"""State is a value: a pytree of tensors, batch first, whose shapes and dtypes never change in a stream.

A state can be forked, stacked, moved, tuned by gradient or stored in a file. Nothing here depends on its meaning.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils import _pytree as pytree

from lina.core.errors import CheckpointError

State = Any
"""A pytree of tensors [B, ...]; in practice (nested tuples of) named tuples."""

S = TypeVar("S")


def tree_map(function: Callable[..., Any], state: S, *rest: S) -> S:
    """Apply ``function`` to every tensor of ``state`` (and the matching ones of ``rest``)."""
    mapped: S = pytree.tree_map(function, state, *rest)
    return mapped


def leaves(state: State) -> list[Tensor]:
    """The tensors of a state, in a fixed order."""
    found: list[Tensor] = pytree.tree_leaves(state)
    return found


def named_leaves(state: State) -> dict[str, Tensor]:
    """The tensors of a state by their path, such as ``0.memory`` or ``encoder.1.position``."""
    paths, _ = pytree.tree_flatten_with_path(state)
    return {".".join(_key_name(key) for key in path) or "state": leaf for path, leaf in paths}


def _key_name(key: Any) -> str:
    for attribute in ("name", "idx", "key"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def state_bytes(state: State) -> int:
    """Memory of a state in bytes."""
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(state))


def where_rows(rows: Tensor, chosen: S, other: S) -> S:
    """Rows (bool [B]) of ``chosen`` where true, of ``other`` elsewhere."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(rows.view(-1, *[1] * (a.dim() - 1)), a, b)

    return tree_map(pick, chosen, other)


def take_rows(state: S, index: Tensor) -> S:
    """Fork or reorder the streams of a state: its rows ``index`` (int64 [N], repeats allowed)."""
    return tree_map(lambda leaf: leaf.index_select(0, index.to(leaf.device)), state)


def join_rows(parts: Sequence[S]) -> S:
    """Concatenate the rows of several states."""
    return tree_map(lambda *rows: torch.cat(rows), *parts)


def save_state(path: str | Path, state: State) -> None:
    """Write a state to a safetensors file (for a language model: a voice)."""
    save_file(
        {name: leaf.detach().contiguous().cpu().clone() for name, leaf in named_leaves(state).items()}, path
    )


def load_state(path: str | Path, like: S) -> S:
    """Read a state with the structure, shapes, dtypes and device of ``like``.

    Raises:
        CheckpointError: the file's tensors are not those of ``like``; both sides are named.
    """
    stored = load_file(path)
    expected = named_leaves(like)
    if stored.keys() != expected.keys():
        raise CheckpointError(
            f"{path}: holds tensors {sorted(stored)}, but this model's state has {sorted(expected)}; "
            "use a file saved from the same model"
        )
    for name, leaf in expected.items():
        if stored[name].shape[1:] != leaf.shape[1:] or stored[name].dtype != leaf.dtype:
            raise CheckpointError(
                f"{path}: {name} is {list(stored[name].shape)} {stored[name].dtype}, but this model's state has "
                f"{list(leaf.shape)} {leaf.dtype}; use a file saved from the same model"
            )
    structure = pytree.tree_structure(like)
    device = next(iter(expected.values())).device if expected else torch.device("cpu")
    rebuilt: S = pytree.tree_unflatten([stored[name].to(device) for name in expected], structure)
    return rebuilt
