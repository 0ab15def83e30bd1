"""Check what plugins of training return, at its beginning: a plugin's mistake is one line instead of a traceback."""

import math
from numbers import Real
from typing import Any

from torch import Tensor

from lina.core.errors import PluginError
from lina.core.protocols import implements
from lina.core.registry import Record
from lina.core.training.loss_inputs import LossResult
from lina.core.training.plugin import Optimizes, Schedule


def check_optimizer(built: Any, record: Record) -> Any:
    """Return the result of ``OptimizerPlugin.build``.

    Raises:
        PluginError: it is no optimizer.
    """
    if isinstance(built, type) or not implements(built, Optimizes):
        raise PluginError(f"{record}: build returned {_a(built)}; it must return a torch.optim.Optimizer")
    return built


def check_schedule(built: Any, record: Record) -> Schedule:
    """Return the result of ``SchedulePlugin.build``, which checks its rates.

    Raises:
        PluginError: it is no function.
    """
    if not callable(built):
        raise PluginError(f"{record}: build returned {_a(built)}; it must return a function of the step")

    def rate_of(step: int) -> float:
        rate: Any = built(step)
        if not isinstance(rate, Real) or not 0.0 <= float(rate) < math.inf:
            shown = repr(rate) if isinstance(rate, Real) else _a(rate)
            raise PluginError(
                f"{record} returned {shown} for step {step}; it must return a number from 0 to 1, the share of "
                "train.lr"
            )
        return float(rate)

    return rate_of


def check_loss(result: Any, plugin: str, codebooks: int) -> None:
    """Check the first result of a loss.

    Args:
        plugin: the loss, for the message.

    Raises:
        PluginError: it is no scalar tensor, nor a ``LossResult`` with one and a count per codebook.
    """
    must = "it must return a scalar tensor: a mean over the targets under loss_mask"
    loss = result.loss if isinstance(result, LossResult) else result
    if not isinstance(loss, Tensor):
        raise PluginError(f"{plugin} returned {_a(loss)}; {must}")
    if loss.dim() or not loss.is_floating_point():
        raise PluginError(f"{plugin} returned a tensor {list(loss.shape)} of {loss.dtype}; {must}")
    if isinstance(result, LossResult):
        counts = result.n_correct
        if not isinstance(counts, Tensor) or tuple(counts.shape) != (codebooks,):
            found = f"a tensor {list(counts.shape)}" if isinstance(counts, Tensor) else _a(counts)
            raise PluginError(
                f"{plugin} returned {found} as n_correct; it must be a tensor [{codebooks}], a count per codebook"
            )


def _a(value: object) -> str:
    """The kind of a value, with its article."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
