"""Check the results of a backbone once, when it is built: a plugin's mistake is one line instead of a traceback."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lina.core.errors import ContractError, PluginError
from lina.core.model.stack import Block, ResidualMixer
from lina.core.state import named_leaves

ROWS, FRAMES = 2, 3


def check_backbone(backbone: nn.Module, d_model: int) -> None:
    """Call all forms of a backbone, and of each mixer in its stack, on a few frames of zeros.

    Raises:
        ContractError: a form fails, or returns something other than vectors of the same shape and a state of tensors.
        PluginError: the plugin refuses, such as fused kernels on a CPU.
    """
    like = next((leaf for leaf in backbone.parameters() if leaf.is_floating_point()), torch.zeros(()))
    x = torch.zeros(ROWS, FRAMES, d_model, dtype=like.dtype, device=like.device)
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            for part in (*_mixers(backbone), backbone):
                _check(part, x)
    finally:
        backbone.train(training)


def _mixers(backbone: nn.Module) -> Iterator[Any]:
    for module in backbone.modules():
        if isinstance(module, Block):
            yield module.tmix
        if isinstance(module, ResidualMixer):
            yield module.mixer


def _check(part: Any, x: Tensor) -> None:
    name = type(part).__name__
    state = _call(f"{name}.initial_state", part.initial_state, len(x))
    _check_state(f"{name}.initial_state", state)
    for form, frames in ((part.parallel_forward, x), (part.step, x[:, 0])):
        where = f"{name}.{form.__name__}"
        result = _call(where, form, frames, state)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)):
            found = f"a tuple of {len(result)}" if type(result) is tuple else type(result).__name__
            raise ContractError(f"{where} returned {found}; it must return a tuple (y, state)")
        y, after = result
        if y.shape != frames.shape or not y.is_floating_point():
            raise ContractError(
                f"{where} returned {list(y.shape)} {y.dtype} for an input of {list(frames.shape)} {frames.dtype}; "
                "it must return as many vectors of the same width"
            )
        _check_state(where, after)


def _call(where: str, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except PluginError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        raise ContractError(
            f"{where} failed on {FRAMES} frames of zeros: {type(error).__name__}: {reason}"
        ) from error


def _check_state(where: str, state: Any) -> None:
    for name, leaf in named_leaves(state).items():
        if not isinstance(leaf, Tensor):
            raise ContractError(
                f"{where} returned a state whose {name} is {type(leaf).__name__}; states hold tensors of one row per "
                "stream"
            )
