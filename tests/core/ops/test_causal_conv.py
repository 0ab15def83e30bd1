import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step

B, C, W = 2, 3, 4


def weights(width: int = W) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return randn(C, 1, width), randn(C), randn(B, width - 1, C)


def frames(count: int) -> Tensor:
    return torch.randn(B, count, C, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_agrees_with_conv1d(count: int, width: int) -> None:
    weight, bias, tail = weights(width)
    x = frames(count)
    out, after = causal_convolution(x, weight, bias, tail)
    padded = torch.cat([tail, x], 1)
    expected = F.conv1d(padded.transpose(1, 2), weight, bias, groups=C).transpose(1, 2)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(after, padded[:, count:])
    without, _ = causal_convolution(x, weight, None, tail)
    torch.testing.assert_close(without, expected - bias)


@pytest.mark.parametrize("with_bias", [True, False])
def test_step_folds_to_the_whole(with_bias: bool) -> None:
    weight, offset, tail = weights()
    bias = offset if with_bias else None
    x = frames(7)
    expected, after = causal_convolution(x, weight, bias, tail)
    for t in range(7):
        out, tail = causal_convolution_step(x[:, t], weight, bias, tail)
        torch.testing.assert_close(out, expected[:, t])
    torch.testing.assert_close(tail, after)


@pytest.mark.parametrize("at", [0, 1, 5, 8])
def test_starts_equal_separate_calls(at: int) -> None:
    weight, bias, tail = weights()
    x = frames(9)
    starts = torch.zeros(B, 9, dtype=torch.bool)
    starts[1, at] = True
    out, after = causal_convolution(x, weight, bias, tail, starts)
    plain, plain_after = causal_convolution(x, weight, bias, tail)
    fresh, fresh_after = causal_convolution(x[:, at:], weight, bias, torch.zeros_like(tail))
    torch.testing.assert_close(out[0], plain[0])
    torch.testing.assert_close(out[1, :at], plain[1, :at])
    torch.testing.assert_close(out[1, at:], fresh[1])
    torch.testing.assert_close(after[0], plain_after[0])
    torch.testing.assert_close(after[1], fresh_after[1])
