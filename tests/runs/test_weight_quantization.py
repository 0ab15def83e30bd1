"""Weights stored smaller: how near they come back, and what is refused."""

import pytest
import torch

from lina.core.errors import CheckpointError
from lina.runs.weight_quantization import AS_TRAINED, LAYOUTS, SCALE, pack, unpack


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(50, 64, generator=generator) * torch.logspace(-6, 6, 50).unsqueeze(1)
    table[7] = 0
    return {
        "table.weight": table.repeat(2, 1),
        "narrow.weight": torch.randn(256, 16, generator=generator),
        "low_rank": torch.randn(4, 40, 33, generator=generator),
        "A_log": torch.randn(256, 16, generator=generator),
        "convolution.weight": torch.randn(2048, 1, 4, generator=generator),
        "small.weight": torch.randn(63, 64, generator=generator),
        "bias": torch.randn(5000, generator=generator),
        "count": torch.tensor(3),
        "ids": torch.arange(64 * 64).view(64, 64),
    }


LARGE = {"table.weight", "narrow.weight", "low_rank"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_tensors_and_whole_numbers_are_kept_exactly(layout: str) -> None:
    weights = tensors()
    back = unpack(pack(weights, layout), layout)
    assert back.keys() == weights.keys()
    for name in weights.keys() - LARGE:
        assert back[name].dtype == weights[name].dtype
        assert back[name].equal(weights[name]), name
    assert {back[name].dtype for name in LARGE} == {torch.float32}


def test_int8_errs_by_half_a_step_of_each_row() -> None:
    weights = tensors()
    packed = pack(weights, "int8")
    assert {name for name in packed if packed[name].dtype == torch.int8} == LARGE
    assert packed["low_rank" + SCALE].shape == (4, 40)
    assert packed["table.weight"].amin() == -127
    for name in LARGE:
        step = weights[name].abs().amax(dim=-1, keepdim=True) / 127
        assert bool(((unpack(dict(packed), "int8")[name] - weights[name]).abs() <= 0.5001 * step).all())
    assert packed["table.weight"][7].count_nonzero() == 0


def test_bfloat16_errs_by_its_last_bit() -> None:
    weights = tensors()
    packed = pack(weights, "bfloat16")
    assert {name for name in packed if packed[name].dtype == torch.bfloat16} == LARGE
    for name, value in unpack(packed, "bfloat16").items():
        torch.testing.assert_close(value, weights[name], rtol=2**-8, atol=0)


def test_as_trained_is_untouched() -> None:
    weights = tensors()
    assert pack(weights, AS_TRAINED) == weights
    assert unpack(weights, AS_TRAINED) is weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_have_no_scale(value: float) -> None:
    weights = tensors()
    weights["low_rank"][1, 2, 3] = value
    with pytest.raises(CheckpointError, match="low_rank: holds NaN or infinity"):
        pack(weights, "int8")


def test_scales_that_are_missing_or_of_other_rows() -> None:
    packed = pack(tensors(), "int8")
    without = {name: value for name, value in packed.items() if name != "low_rank" + SCALE}
    with pytest.raises(CheckpointError, match=r"low_rank of shape \[4, 40, 33\] has no scales"):
        unpack(without, "int8")
    with pytest.raises(CheckpointError, match=r"low_rank of shape .* has scales of shape \[40\]"):
        unpack(packed | {"low_rank" + SCALE: torch.ones(40)}, "int8")
