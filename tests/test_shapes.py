"""Coverage of the shape checks of ``make shapes``, and that they refuse a wrong shape."""

from typing import Any

import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError, jaxtyped
from torch import Tensor

from lina.training.losses import cross_entropy
from tests.conftest import CHECK_SHAPES
from tests.shapes import ROOT, check, checked_modules, runs_tensor_code_alone


@pytest.mark.skipif(not CHECK_SHAPES, reason="a check of make shapes")
def test_the_tensor_code_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        cross_entropy(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, dtype=torch.int64), torch.ones(2, 3, 4))


def test_shapes_are_checked_and_no_other_type() -> None:
    @jaxtyped(typechecker=check)
    def last(
        audio: Float[Tensor, "B T"], prompt: tuple[Int[Tensor, "B Q"], str] | None, rate: int
    ) -> Float[Tensor, "B"]:
        return audio[:, -1] if rate else audio

    stand_in: Any = "16 kHz"
    codes = torch.zeros(2, 4, dtype=torch.int64)
    last(torch.zeros(2, 3), (codes, "text"), stand_in)
    for audio, prompt, rate in (
        (torch.zeros(2, 3, 4), None, 1),
        (torch.zeros(2, 3), (codes[:1], "text"), 1),
        (torch.zeros(2, 3), None, 0),
    ):
        with pytest.raises(TypeCheckError):
            last(audio, prompt, rate)


def test_modules_and_tests_are_found_in_every_package() -> None:
    modules = checked_modules()
    tests = {path for path in (ROOT / "tests").rglob("test_*.py") if runs_tensor_code_alone(path)}
    for folder in ("backbones", "codecs", "core"):
        assert any(name.startswith(f"lina.{folder}.") for name in modules)
        assert any(path.is_relative_to(ROOT / "tests" / folder) for path in tests)
    assert ROOT / "tests/test_package.py" not in tests, "whole programs"
