"""torch.compile for the parts of a step, with compiled code cached on disk."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import nn

RECOMPILES = 64
"""Kinds of layers times sizes that one piece of code is compiled for; torch's own limit is 8."""


def cache_compiled_code() -> None:
    """Keep compiled code in lina's cache folder from here on, unless the environment names another."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lina" / "inductor"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))


def compile_regions(regions: Iterable[nn.Module]) -> None:
    """Compile each module's ``forward`` for fixed shapes, at its first call."""
    cache_compiled_code()
    for region in regions:
        region.compile(dynamic=False)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Calls in which compilation may happen."""
    import torch._dynamo.config  # in seconds: only where something is compiled

    with torch._dynamo.config.patch(recompile_limit=RECOMPILES, accumulated_recompile_limit=RECOMPILES * 8):
        yield
