"""Dispatch between an operator's reference form (reference kernel) and its fused kernels; log the choice once."""

import contextlib
import functools
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from lina.core.errors import PluginError
from lina.core.ops.segments import can_read
from lina.core.plugin import PluginConfig
from lina.core.renames import Renames

Kernels = Literal["auto", "reference", "fused"]

HAS_TRITON = importlib.util.find_spec("triton") is not None

log = logging.getLogger("lina")

_thread = threading.local()


@contextlib.contextmanager
def reference_kernels() -> Iterator[None]:
    """Use PyTorch's operators alone in this thread: they need no compiler at their first use."""
    before = getattr(_thread, "reference", False)
    _thread.reference = True
    try:
        yield
    finally:
        _thread.reference = before


def allows_fused_kernels() -> bool:
    """False within ``reference_kernels``."""
    return torch.compiler.is_compiling() or not getattr(_thread, "reference", False)


def runs_triton(device: torch.device) -> bool:
    """Check that Triton kernels can run, and may, on tensors of this device."""
    return HAS_TRITON and device.type == "cuda" and allows_fused_kernels()


@functools.cache
def log_once(message: str) -> None:
    """Log ``message`` unless this process has logged it before."""
    log.info(message)


class KernelConfig(PluginConfig):
    """Configuration of a plugin that has fused kernels."""

    renames: ClassVar[Renames] = Renames(values={"kernels": {"plain": "reference", "fast": "fused"}})

    kernels: Kernels = "auto"
    """``reference``: PyTorch alone; ``fused``: fused kernels, or an error where they cannot run; ``auto``: fused
    kernels where they can run."""

    @classmethod
    def auto_uses_fused_kernels(cls, mixed_precision: bool) -> bool:
        """Decide for ``auto`` on a machine that can run them, under mixed precision (autocast) or without it."""
        return True


class MixedPrecisionKernelConfig(KernelConfig):
    """Configuration of a plugin whose fused kernels are meant for mixed precision."""

    kernels: Kernels = "auto"
    """As elsewhere, but ``auto`` uses fused kernels under mixed precision only: in float32 they are too inexact."""

    @classmethod
    def auto_uses_fused_kernels(cls, mixed_precision: bool) -> bool:
        return mixed_precision


def operand_dtype(device: torch.device, exact: torch.dtype) -> torch.dtype:
    """Dtype of the matrices that a fused kernel multiplies: autocast's, or ``exact``; decays and states stay exact."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else exact


def use_fused_kernel(
    plugin: str,
    config: KernelConfig,
    obstacle: Callable[[], str | None],
    device: torch.device,
    starts: Bool[Tensor, "B T"] | None = None,
) -> bool:
    """Choose the form of an operator for tensors on ``device``, in the precision of the current autocast.

    ``obstacle`` returns in a few words why the kernels cannot run on this machine and what to do, or None. ``starts``:
    restarts of the rows, for kernels that need their segments.

    Raises:
        PluginError: ``config.kernels`` is ``fused`` and there is an obstacle.
    """
    kernels, on_gpu = config.kernels, device.type == "cuda"
    if kernels == "reference" or (kernels == "auto" and not allows_fused_kernels()):
        return False
    if not on_gpu:
        reason: str | None = "the model is on the CPU; move it to a GPU"
    elif kernels == "auto" and not config.auto_uses_fused_kernels(torch.is_autocast_enabled(device.type)):
        reason = (
            "its fused kernels are too inexact for float32; train with mixed precision, or set kernels: fused"
        )
    elif starts is not None and not can_read(starts):
        reason = "its kernels cannot learn in a CUDA graph where rows restart; set train.cuda_graph: false"
    else:
        reason = obstacle()
    if reason is None:
        log_once(f"{plugin}: fused kernels")
        return True
    if kernels == "fused":
        raise PluginError(f"{plugin}: config.kernels is 'fused', but {reason}; or set kernels: auto")
    if on_gpu:
        log_once(f"{plugin}: reference form in PyTorch, since {reason}")
    return False
