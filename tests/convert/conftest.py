"""Checkpoints in lina-speech's format, rebuilt from tests/golden/lina_speech."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.lina_speech.rebuild import checkpoint

Written = Callable[..., Path]


@pytest.fixture(scope="session")
def checkpoints() -> dict[str, dict[str, Tensor]]:
    return {name: checkpoint(name) for name in ("gla", "mamba", "rwkv6")}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A file as lina-speech wrote it, of any content."""

    def write(tensors: Any, key: str | None = "model", **more: Any) -> Path:
        path = tmp_path / "lina-speech.pt"
        torch.save({key: tensors, **more} if key else tensors, path)
        return path

    return write
