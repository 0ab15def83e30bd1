"""Comparison of a backend's step with the eager one."""

from collections.abc import Iterable

from torch import Tensor

from lina.core.state import State, leaves


class DifferentError(Exception):
    """A backend differs from eager."""


def worst_difference(expected: Tensor, found: Tensor, after: State, state: State) -> float:
    """The largest relative root-mean-square difference of logits and of the leaves of a state; NaN if one is NaN.

    ``expected``, ``after``: the logits and the state of the eager step.
    """
    pairs = [(expected[expected.isfinite()], found[expected.isfinite()])]
    states = zip(leaves(after), leaves(state), strict=True)
    pairs += [pair for pair in states if pair[0].is_floating_point() and pair[0].numel()]
    return _largest(_relative(own, other) for own, other in pairs)


def _largest(values: Iterable[float]) -> float:
    found = list(values)
    return max(found) if all(one == one for one in found) else float("nan")


def _relative(expected: Tensor, found: Tensor) -> float:
    difference = (expected.float() - found.float()).square().mean().sqrt()
    return float(difference / expected.float().square().mean().sqrt().clamp(min=1e-6))
