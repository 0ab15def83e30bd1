"""Choosing between the plain form of an operator and a fast one: by what the machine has, said aloud once."""

import functools
import logging
from collections.abc import Callable
from typing import Literal

import torch

from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig

Kernels = Literal["auto", "plain", "fast"]

log = logging.getLogger("lina")


class FastFormConfig(PluginConfig):
    """Configuration of a plugin that has a fast form."""

    kernels: Kernels = "auto"
    """``plain``: PyTorch alone; ``fast``: the fast form, an error where it cannot run; ``auto``: fast where it can."""

    @classmethod
    def auto_may_be_fast(cls, mixed_precision: bool) -> bool:
        """Whether ``auto`` takes the fast form where it can run, under mixed precision (autocast) or without."""
        return True


class MixedPrecisionFormConfig(FastFormConfig):
    """Configuration of a plugin whose fast form is for mixed precision."""

    kernels: Kernels = "auto"
    """As elsewhere, but ``auto`` is fast under mixed precision only, as GPUs train: in float32 it is too inexact."""

    @classmethod
    def auto_may_be_fast(cls, mixed_precision: bool) -> bool:
        return mixed_precision


def use_fast(
    plugin: str, config: FastFormConfig, obstacle: Callable[[], str | None], device: torch.device
) -> bool:
    """Whether to take the fast form for tensors on ``device``, in the precision of the present autocast.

    ``obstacle`` says in a few words why the fast form cannot run on this machine and what to do, or None.

    Raises:
        PluginError: ``config.kernels`` is ``fast`` and there is an obstacle.
    """
    wanted, on_gpu = config.kernels, device.type == "cuda"
    if wanted == "plain":
        return False
    if not on_gpu:
        reason: str | None = "the model is on the CPU; move it to a GPU"
    elif wanted == "auto" and not config.auto_may_be_fast(torch.is_autocast_enabled(device.type)):
        reason = (
            "its fast kernels are too inexact for float32; train with mixed precision, or say kernels: fast"
        )
    else:
        reason = obstacle()
    if reason is None:
        say_once(f"{plugin}: fast kernels")
        return True
    if wanted == "fast":
        raise PluginError(f"{plugin}: config.kernels is 'fast', but {reason}; or say kernels: auto")
    if on_gpu:
        say_once(f"{plugin}: plain PyTorch form, since {reason}")
    return False


@functools.cache
def say_once(message: str) -> None:
    """What a process chose, in its log, however often it chooses."""
    log.info(message)
