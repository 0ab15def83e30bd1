import pytest
import torch
from torch import Tensor

from lina.core.ops.chunk_scores import after_sums, decayed_scores, segment_sums

B, H, N, K = 2, 2, 3, 5


def inputs(size: int, channels: int, dtype: torch.dtype = torch.float32, kinds: int = 2) -> list[Tensor]:
    """Queries of two kinds, keys of one or two, log-decays from -1e-4 to -1e4."""
    generator = torch.Generator().manual_seed(size)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    log_decay = -(10 ** (8 * torch.rand(B, H, N, size, channels, generator=generator, dtype=dtype) - 4))
    return [randn(B, H, N, size, 2, K), randn(B, H, N, size, kinds, K), log_decay]


def pair_by_pair(queries: Tensor, keys: Tensor, log_decay: Tensor) -> Tensor:
    size = queries.shape[3]
    rows = []
    for i in range(size):
        row = []
        for j in range(size):
            decay = log_decay[:, :, :, j + 1 : i + 1].sum(3).exp()[..., None, None, :]
            score = (queries[:, :, :, i, :, None] * keys[:, :, :, j, None] * decay).sum(-1)
            row.append(score if j <= i else torch.zeros_like(score))
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def with_gradients(operator: object, tensors: list[Tensor]) -> list[Tensor]:
    arguments = [tensor.clone().requires_grad_() for tensor in tensors]
    scores = operator(*arguments)  # type: ignore[operator]
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [scores.detach(), *torch.autograd.grad((scores * weights.to(scores)).sum(), arguments)]


@pytest.mark.parametrize("channels", [1, K])
@pytest.mark.parametrize("size", [1, 2, 16])
@pytest.mark.parametrize("kinds", [1, 2])
def test_scores_are_those_of_each_pair(size: int, channels: int, kinds: int) -> None:
    tensors = inputs(size, channels, kinds=kinds)
    reference = with_gradients(pair_by_pair, [tensor.double() for tensor in tensors])
    for got, expected in zip(with_gradients(decayed_scores, tensors), reference, strict=True):
        torch.testing.assert_close(got.double(), expected, atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize("channels", [1, K])
def test_gradients_are_those_of_finite_differences(channels: int) -> None:
    tensors = [tensor[:1, :1, :2].requires_grad_() for tensor in inputs(4, channels, torch.float64)]
    assert torch.autograd.gradcheck(decayed_scores, tensors, fast_mode=True)


@pytest.mark.parametrize("channels", [1, K])
def test_minus_infinity_separates(channels: int) -> None:
    tensors = inputs(8, channels)
    tensors[2][:, :, :, 3] = -torch.inf
    scores, *gradients = with_gradients(decayed_scores, tensors)
    assert all(bool(tensor.isfinite().all()) for tensor in (scores, *gradients))
    assert not scores[..., 3:, :3].any()
    assert scores[..., 3:, 3:].any()


@pytest.mark.parametrize("channels", [1, K])
def test_no_decay_means_no_gradient_from_rounding(channels: int) -> None:
    """Behind a gate that is shut, nothing depends on how much was forgotten before it."""
    tensors = inputs(8, channels)
    tensors[2] = torch.full_like(tensors[2], -1e3)
    tensors[0] = 1e3 * tensors[0]
    assert not with_gradients(decayed_scores, tensors)[3].any()


def test_sums_of_segments() -> None:
    x = torch.tensor([1.0, 2.0, 4.0, 8.0])
    none = -torch.inf
    reference = [[0, none, none, none], [2, 0, none, none], [6, 4, 0, none], [14, 12, 8, 0]]
    assert segment_sums(x).tolist() == reference
    assert after_sums(x[:, None])[:, 0].tolist() == [14.0, 12.0, 8.0, 0.0]
