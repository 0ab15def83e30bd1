"""Choosing between the plain form of an operator and a fast one: by what the machine has, said aloud once."""

import functools
import logging
from collections.abc import Callable
from typing import Literal

from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig

Kernels = Literal["auto", "plain", "fast"]

log = logging.getLogger("lina")


class FastFormConfig(PluginConfig):
    """Configuration of a plugin that has a fast form."""

    kernels: Kernels = "auto"
    """``plain``: PyTorch alone; ``fast``: the fast form, an error where it cannot run; ``auto``: fast where it can."""


def use_fast(plugin: str, wanted: Kernels, obstacle: Callable[[], str | None], on_accelerator: bool) -> bool:
    """Whether to take the fast form for tensors that are (or are not) on an accelerator.

    ``obstacle`` says in a few words why the fast form cannot run on this machine and what to do, or None.

    Raises:
        PluginError: ``wanted`` is ``fast`` and there is an obstacle.
    """
    if wanted == "plain":
        return False
    reason = "the model is on the CPU; move it to a GPU" if not on_accelerator else obstacle()
    if reason is None:
        say_once(f"{plugin}: fast kernels")
        return True
    if wanted == "fast":
        raise PluginError(f"{plugin}: config.kernels is 'fast', but {reason}; or say kernels: auto")
    if on_accelerator:
        say_once(f"{plugin}: plain PyTorch form, since {reason}")
    return False


@functools.cache
def say_once(message: str) -> None:
    """What a process chose, in its log, however often it chooses."""
    log.info(message)
