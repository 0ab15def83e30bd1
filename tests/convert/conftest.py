"""Checkpoints in the seed's format, rebuilt from tests/golden/seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.seed.rebuild import checkpoint

Written = Callable[..., Path]


@pytest.fixture(scope="session")
def seeds() -> dict[str, dict[str, Tensor]]:
    return {name: checkpoint(name) for name in ("gla", "mamba", "rwkv6")}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A file as the seed wrote it, of any content."""

    def write(tensors: Any, key: str | None = "model", **more: Any) -> Path:
        path = tmp_path / "seed.pt"
        torch.save({key: tensors, **more} if key else tensors, path)
        return path

    return write
