"""Availability of flash-linear-attention's Triton kernels (MIT; Yang & Zhang 2024) on this machine."""

import functools
import importlib.util
import os
import re
from pathlib import Path

import torch

from lina.core.errors import PluginError
from lina.core.ops.dispatch import log_once
from lina.core.process.kernel_configurations import TRIED, install, read_configurations

CONFIGURATIONS = Path(__file__).parent / "configurations"
"""A file per compute capability, written by ``benchmarks.tune_kernels``."""
VARIANTS = "LINA_KERNEL_VARIANTS"
"""Environment variable: how many variants are tried of a kernel without a committed configuration.

``all`` tries all of every kernel, in minutes, and finds the fastest; few are right as well, and start in seconds.
"""


@functools.cache
def obstacle() -> str | None:
    """Reason why the kernels cannot run here, with the remedy; None if they can.

    ``import fla`` alone proves nothing: without Triton it succeeds and is empty.
    """
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        import fla.ops  # noqa: F401
    except Exception as error:
        return f"flash-linear-attention does not import ({type(error).__name__}: {error}); pip install 'lina[fla]'"
    tried = _tried()
    install(read_configurations(configurations_file(), versions()) if tried else {}, tried)
    _tune_once_for_all_batches()
    return None


@functools.cache
def shared_decays_are_wrong() -> bool:
    """Check for the machines whose kernels with one decay per head are wrong.

    On Hopper GPUs, Triton 3.4 to 3.7.0 computes wrong gradients of them (flash-linear-attention's issue 640), and their
    backward pass refuses to run; with TileLang it does not need Triton there. The kernels
    with a decay per channel are right; with the same decay in every channel they compute the same operator, for a
    tensor as large as the keys.
    """
    if importlib.util.find_spec("tilelang") is not None:
        return False
    import triton

    version = tuple(int(part) for part in re.findall(r"\d+", triton.__version__)[:3])
    if torch.cuda.get_device_capability()[0] != 9 or not (3, 4, 0) <= version < (3, 7, 1):
        return False
    log_once(
        f"decays per head go through the kernels of decays per channel, since Triton {triton.__version__} computes "
        "wrong gradients of their own on Hopper GPUs; triton>=3.7.1 is faster"
    )
    return True


def configurations_file() -> Path:
    """The file of this machine's kind of GPU."""
    return CONFIGURATIONS / "sm_{}{}.json".format(*torch.cuda.get_device_capability())


def versions() -> dict[str, str]:
    """Versions that a kernel's variants, and which of them is fastest, depend on."""
    import fla
    import triton

    return {"triton": triton.__version__, "fla": fla.__version__}


def _tried() -> int | None:
    count = os.environ.get(VARIANTS, str(TRIED))
    if count == "all":
        return None
    if not count.isdecimal() or int(count) < 1:
        raise PluginError(
            f"{VARIANTS} is {count!r}; give a whole number of at least 1, or all, or leave it unset ({TRIED})"
        )
    return int(count)


def _tune_once_for_all_batches() -> None:
    """Remove the batch size from the autotuning keys of fla's kernels.

    It changes at every training step, and tuning took most of the time of a run's first thousand steps.
    """
    from fla.ops.utils import cumsum

    for kernel in list(vars(cumsum).values()):
        while kernel is not None:
            if isinstance(getattr(kernel, "keys", None), list):
                kernel.keys = [key for key in kernel.keys if key != "B"]
            kernel = getattr(kernel, "fn", None)
