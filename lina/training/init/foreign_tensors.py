"""Tensors from another project's file. Pickles are read by PyTorch's tensors-only reader: nothing in them runs."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lina.core.errors import CheckpointError

WRAPPERS = ("state_dict", "model", "module")
"""Keys under which training programs keep the state dict among other things."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file, or of a state dict that ``torch.save`` wrote; on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or holds anything but tensors by name.
    """
    if not path.is_file():
        there = "is a directory" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {there}; name a file of weights, such as model.pth")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # A pickle of another protocol either loads or fails; that it was seen is nothing to tell anyone.
            warnings.simplefilter("ignore", UserWarning)
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: holds more than tensors, or is no PyTorch file; lina reads nothing that could run. "
            "Save its state_dict() again by itself"
        ) from None
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        reason = "it is empty" if not path.stat().st_size else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: cannot be read as weights ({reason or type(error).__name__}); download or save it again"
        ) from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not tensors by name; save a state_dict() alone"
        )
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise CheckpointError(f"{path}: holds no tensors by name; save a state_dict() alone")
    return tensors
