"""Comparison of results by their errors against a float64 truth, without hand-set tolerances.

The truth is the float64 parallel form on the same weights. A result passes if its error is at most three
times that of the parallel form in the dtype under test, plus a floor relative to the size of the numbers.
The error of floats is the root mean square of the difference; that of integers (codes, where a tie may flip
one) is the share that differs, and in float64 codes agree exactly.
"""

import torch
from torch import Tensor

from lina.core.laws.law import Violation

Tensors = dict[str, Tensor]
"""Tensors by name."""

ALLOWED_RATIO = 3.0
_FLOAT_FLOORS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
_CODE_FLOORS = {torch.float64: 0.0, torch.float32: 5e-3, torch.float16: 2e-2, torch.bfloat16: 2e-2}


def error(found: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference of floats, or share of integers that differ."""
    if truth.numel() == 0:
        return 0.0
    if not truth.is_floating_point():
        return float((found != truth).double().mean())
    found, truth = found.double(), truth.double()
    return float(torch.where(found == truth, 0.0, found - truth).square().mean().sqrt())


def floor(dtype: torch.dtype, like: Tensor) -> float:
    """Relative error that always passes, for floats or codes computed in ``dtype``."""
    return (_FLOAT_FLOORS if like.is_floating_point() else _CODE_FLOORS)[dtype]


def require_as_good(
    group: str,
    found: Tensors,
    whole: Tensors,
    truth: Tensors,
    dtype: torch.dtype,
    other: tuple[Tensors, Tensors] | None = None,
) -> None:
    """Require that ``found`` is as near to ``truth`` as the parallel form ``whole``; see the module.

    ``other``: another result of the parallel form and its truth, whose error is allowed as well.

    A group is compared by its largest error and its largest numbers, so that a gradient which is zero but for
    rounding (a key's bias under softmax) always passes.
    """
    require_same_layout(group, found, truth)
    scale = max((_size(leaf) for leaf in truth.values()), default=0.0)
    for name, expected in truth.items():
        if expected.isfinite().all():
            require_finite(group, {name: found[name]})
        floats = expected.is_floating_point()
        whole_error = _largest_error(whole, truth, floats)
        if other is not None:
            whole_error = max(whole_error, _largest_error(*other, floats))
        allowed = ALLOWED_RATIO * whole_error + floor(dtype, expected) * (scale if floats else 1.0)
        found_error = error(found[name], expected)
        if not found_error <= allowed:
            raise Violation(
                f"{group} {name}: error {found_error:.2g} against the float64 parallel form, allowed "
                f"{allowed:.2g} (the parallel form's is {whole_error:.2g}); "
                f"{_places(name, found[name], expected, allowed)}"
            )


def require_equal(group: str, found: Tensors, expected: Tensors) -> None:
    """Require bitwise equality, NaN equal to NaN."""
    require_same_layout(group, found, expected)
    for name, leaf in expected.items():
        if not torch.equal(found[name].nan_to_num(0.25), leaf.nan_to_num(0.25)):
            raise Violation(f"{group} {name}: must be equal bit for bit; {_places(name, found[name], leaf)}")


def require_same_layout(group: str, found: Tensors, expected: Tensors) -> None:
    """Same names and shapes."""
    if found.keys() != expected.keys():
        raise Violation(f"{group}: expected tensors {sorted(expected)}, found {sorted(found)}")
    for name, leaf in expected.items():
        if found[name].shape != leaf.shape:
            raise Violation(
                f"{group} {name}: expected shape {list(leaf.shape)}, found {list(found[name].shape)}"
            )


def require_finite(group: str, tensors: Tensors) -> None:
    for name, leaf in tensors.items():
        bad = (~leaf.isfinite()).nonzero()
        if len(bad):
            raise Violation(
                f"{group} {name}: expected finite numbers, found {leaf[tuple(bad[0])].item()} at "
                f"{bad[0].tolist()} ({len(bad)} of {leaf.numel()} are not finite){_remedy(group)}"
            )


def _remedy(group: str) -> str:
    if "gradient" in group:
        return (
            "; a square root, logarithm, division or power has an infinite slope at the end of its range, such as "
            "sqrt(1 - a * a) at a = 1: bound its argument, also where torch.where drops its value"
        )
    return (
        "; bound the arguments of exponentials, logarithms and divisions, such as log-decays by F.logsigmoid"
    )


def _largest_error(found: Tensors, truth: Tensors, floats: bool) -> float:
    return max(
        (error(found[name], truth[name]) for name in found if truth[name].is_floating_point() == floats),
        default=0.0,
    )


def _size(leaf: Tensor) -> float:
    if not leaf.is_floating_point() or leaf.numel() == 0:
        return 0.0
    return float(leaf.double().nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt())


def require_near(group: str, found: Tensors, truth: Tensors, limit: float) -> None:
    """Require a relative error of at most ``limit``, by root mean square over the largest tensor of the group."""
    require_same_layout(group, found, truth)
    scale = max((_size(leaf) for leaf in truth.values()), default=0.0)
    for name, expected in truth.items():
        require_finite(group, {name: found[name]})
        if expected.is_floating_point() and not error(found[name], expected) <= limit * scale:
            raise Violation(
                f"{group} {name}: relative error {error(found[name], expected) / scale:.2g} against float64, "
                f"allowed {limit}; {_places(name, found[name], expected, limit * scale)}"
            )


def _places(name: str, found: Tensor, expected: Tensor, allowed: float = 0.0) -> str:
    """The first and the worst place of a difference."""
    difference = (found.double() - expected.double()).abs().nan_to_num(float("inf"))
    difference = torch.where((found == expected) | (found.isnan() & expected.isnan()), 0.0, difference)
    worst = torch.unravel_index(difference.argmax(), difference.shape)
    wrong = (difference > min(allowed, float(difference[worst]) / 2)).nonzero()
    if name in _FRAMES_SECOND and wrong.shape[1] > 2:
        wrong = wrong[wrong[:, 1].argsort(stable=True)]
    first = tuple(wrong[0]) if len(wrong) else worst
    return f"first at {_pair(first, found, expected)}; worst at {_pair(worst, found, expected)}"


_FRAMES_SECOND = ("x", "y", "codes", "frames", "output")
"""Tensors [B, T, ...]: their first place is the earliest frame."""


def _pair(index: tuple[Tensor, ...], found: Tensor, expected: Tensor) -> str:
    place = [int(i) for i in index]
    return f"{place}: expected {expected[index].item():.6g}, found {found[index].item():.6g}"
