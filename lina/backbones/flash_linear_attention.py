"""Whether flash-linear-attention's Triton kernels (MIT; Yang & Zhang 2024) can run on this machine."""

import functools
import os

import torch

from lina.core.errors import PluginError

VARIANTS = "LINA_KERNEL_VARIANTS"
"""Environment variable: how many variants of each kernel are tried at its first use; all if it is not set.

Trying all takes minutes and finds the fastest; two are right as well, and start in seconds.
"""


@functools.cache
def obstacle() -> str | None:
    """Why the kernels cannot run here, and what to do; None if they can.

    ``import fla`` alone proves nothing: without Triton it succeeds and is empty.
    """
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        import fla.ops  # noqa: F401
    except Exception as error:
        return f"flash-linear-attention does not import ({type(error).__name__}: {error}); pip install 'lina[fla]'"
    if VARIANTS in os.environ:
        _try_few(os.environ[VARIANTS])
    return None


def _try_few(count: str) -> None:
    if not count.isdecimal() or int(count) < 1:
        raise PluginError(f"{VARIANTS} is {count!r}; give a whole number of at least 1, or leave it unset")
    from triton.runtime.autotuner import Autotuner

    every = Autotuner.prune_configs
    Autotuner.prune_configs = lambda self, kwargs: every(self, kwargs)[: int(count)]
