import math

import pytest
import torch

from lina.core.ops.rotary import apply_rotary


def vectors(width: int, rows: int = 2, frames: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, frames, 3, width, generator=generator, dtype=torch.float64)


def positions(*values: int) -> torch.Tensor:
    return torch.tensor([list(values)])


def test_by_hand() -> None:
    """Width 8: pairs (0, 1) and (2, 3) turn by the position and by a hundredth of it; 4 to 7 stay."""
    x = vectors(8, rows=1, frames=1)
    turned = apply_rotary(x, positions(7))
    for pair, angle in ((0, 7.0), (2, 0.07)):
        even, odd = x[..., pair], x[..., pair + 1]
        torch.testing.assert_close(turned[..., pair], even * math.cos(angle) - odd * math.sin(angle))
        torch.testing.assert_close(turned[..., pair + 1], odd * math.cos(angle) + even * math.sin(angle))
    assert torch.equal(turned[..., 4:], x[..., 4:])


@pytest.mark.parametrize("width", [4, 8, 10, 64])
def test_scores_depend_on_the_distance_alone(width: int) -> None:
    q, k = vectors(width), vectors(width).flip(1)
    here = (apply_rotary(q, positions(3, 4, 5, 6, 7)) * apply_rotary(k, positions(1, 2, 3, 4, 5))).sum(-1)
    there = (
        apply_rotary(q, positions(903, 904, 905, 906, 907))
        * apply_rotary(k, positions(901, 902, 903, 904, 905))
    ).sum(-1)
    torch.testing.assert_close(here, there, atol=1e-9, rtol=1e-9)
    elsewhere = (apply_rotary(q, positions(3, 4, 5, 6, 7)) * apply_rotary(k, positions(2, 3, 4, 5, 6))).sum(
        -1
    )
    assert not torch.allclose(here, elsewhere, atol=1e-3)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8])
def test_any_width_preserves_the_length(width: int) -> None:
    x = vectors(width)
    turned = apply_rotary(x, positions(0, 1, 2, 3, 4))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, 0], x[:, 0])


def test_rows_may_be_at_different_positions() -> None:
    x = vectors(8)
    turned = apply_rotary(x, torch.tensor([[0, 1, 2, 3, 4], [50, 51, 52, 53, 54]]))
    torch.testing.assert_close(turned[1:], apply_rotary(x[1:], positions(50, 51, 52, 53, 54)))


def test_far_positions_are_exact_in_float32() -> None:
    x, far = vectors(8, rows=1, frames=1), positions(10_000_019)
    torch.testing.assert_close(
        apply_rotary(x.float(), far).double(), apply_rotary(x, far), atol=1e-6, rtol=1e-6
    )
