"""How two results are compared: by their errors against the truth, never by a tolerance that someone liked.

The truth is the float64 parallel form on the same weights. A result passes if its error is at most three times
that of the parallel form in the dtype under test, plus a floor that is relative to the size of the numbers. Where
a problem is ill-conditioned (a near-tie under a sharp softmax), luck decides how much of the rounding shows; so an
error is also allowed that is at most eight times what one rounding of all that the truth is given does to it. The
error of floats is the root mean square of the difference; that of integers (codes, where a tie may flip one) is
the share that differs, and in float64 codes agree exactly.
"""

import torch
from torch import Tensor

from lina.core.laws.law import Violation

Tensors = dict[str, Tensor]
"""Tensors by name."""

ALLOWED_RATIO = 3.0
ALLOWED_ROUNDINGS = 8.0
_FLOAT_FLOORS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
_CODE_FLOORS = {torch.float64: 0.0, torch.float32: 5e-3, torch.float16: 2e-2, torch.bfloat16: 2e-2}


def error(found: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference of floats; share of integers that differ. Equal infinities are equal."""
    if truth.numel() == 0:
        return 0.0
    if not truth.is_floating_point():
        return float((found != truth).double().mean())
    found, truth = found.double(), truth.double()
    return float(torch.where(found == truth, 0.0, found - truth).square().mean().sqrt())


def floor(dtype: torch.dtype, like: Tensor) -> float:
    """The relative error below which nothing is asked, for floats or codes computed in ``dtype``."""
    return (_FLOAT_FLOORS if like.is_floating_point() else _CODE_FLOORS)[dtype]


def require_as_good(
    group: str,
    found: Tensors,
    whole: Tensors,
    truth: Tensors,
    dtype: torch.dtype,
    shaken: Tensors | None = None,
) -> None:
    """``found`` is as near to ``truth`` as the parallel form ``whole`` is; see the module.

    ``shaken`` is the truth from rounded weights and inputs. Floors are relative to the largest root mean square of
    the group, so that a gradient which is zero but for rounding (a key's bias under softmax) asks for nothing.
    """
    require_same_layout(group, found, truth)
    scale = max((_size(leaf) for leaf in truth.values()), default=0.0)
    for name, expected in truth.items():
        found_error, whole_error = error(found[name], expected), error(whole[name], expected)
        one_rounding = error(shaken[name], expected) if shaken is not None else 0.0
        slack = floor(dtype, expected) * (scale if expected.is_floating_point() else 1.0)
        allowed = max(ALLOWED_RATIO * whole_error, ALLOWED_ROUNDINGS * one_rounding) + slack
        if not found_error <= allowed:
            raise Violation(
                f"{group} {name}: error {found_error:.2g} against the float64 parallel form, allowed "
                f"{allowed:.2g} (the parallel form's own is {whole_error:.2g}); {_worst(found[name], expected)}"
            )


def require_equal(group: str, found: Tensors, expected: Tensors) -> None:
    """Bit for bit, NaN equal to NaN."""
    require_same_layout(group, found, expected)
    for name, leaf in expected.items():
        if not torch.equal(found[name].nan_to_num(0.25), leaf.nan_to_num(0.25)):
            raise Violation(f"{group} {name}: must be equal bit for bit; {_worst(found[name], leaf)}")


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
                f"{bad[0].tolist()} ({len(bad)} of {leaf.numel()} are not finite)"
            )


def _size(leaf: Tensor) -> float:
    if not leaf.is_floating_point() or leaf.numel() == 0:
        return 0.0
    return float(leaf.double().nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt())


def _worst(found: Tensor, expected: Tensor) -> str:
    difference = (found.double() - expected.double()).abs().nan_to_num(float("inf"))
    difference = torch.where(found == expected, 0.0, difference)
    index = torch.unravel_index(difference.argmax(), difference.shape)
    place = [int(i) for i in index]
    return f"worst at {place}: expected {expected[index].item():.6g}, found {found[index].item():.6g}"
