"""The fused heads and cross-entropy against logits of the whole batch."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.core.ops import codebook_cross_entropy as module
from lina.core.ops.codebook_cross_entropy import codebook_cross_entropy

SIZES = (7, 4, 11)


def example(sizes: Sequence[int], rows: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    return {
        "hidden": torch.randn(rows, 8, generator=draw, dtype=dtype).requires_grad_(),
        "weight": torch.randn(sum(sizes), 8, generator=draw, dtype=dtype).requires_grad_(),
        "sizes": sizes,
        "offsets": torch.tensor([sum(sizes[:book]) for book in range(len(sizes))]),
        "targets": torch.stack([torch.randint(0, size, (rows,), generator=draw) for size in sizes], 1),
        "loss_mask": torch.rand(rows, len(sizes), generator=draw) < 0.7,
    }


def reference(parts: dict[str, Any]) -> tuple[Tensor, Tensor]:
    logits = (parts["hidden"] @ parts["weight"].t()).split(parts["sizes"], dim=1)
    losses, right = [], []
    for book, own in enumerate(logits):
        target, counts = parts["targets"][:, book], parts["loss_mask"][:, book]
        losses.append(F.cross_entropy(own, target, reduction="none")[counts])
        right.append(((own.argmax(1) == target) & counts).sum())
    return torch.cat(losses).mean(), torch.stack(right)


@pytest.mark.parametrize("sizes", [SIZES, (5, 5), (6,)])
@pytest.mark.parametrize("rows", [1, 13, 64])
def test_it_equals_the_logits_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], rows: int
) -> None:
    """The last chunk is shorter than the others; a factor after the loss reaches the gradients."""
    monkeypatch.setitem(module.LOGITS, "cpu", 5 * sum(sizes))
    found = []
    for function in (lambda parts: codebook_cross_entropy(**parts), reference):
        parts = example(sizes, rows)
        loss, right = function(parts)
        (3 * loss).backward()
        found.append((loss, right, parts["hidden"].grad, parts["weight"].grad))
    torch.testing.assert_close(found[0], found[1])


def test_masked_positions_have_no_part() -> None:
    parts = example(SIZES, 20)
    mask = parts["loss_mask"]
    mask[3] = False
    expected = codebook_cross_entropy(**parts)
    changed = parts | {"targets": torch.where(mask, parts["targets"], 0)}
    assert all(map(torch.equal, codebook_cross_entropy(**changed), expected))
    expected[0].backward()
    assert not parts["hidden"].grad[3].any()
    assert parts["hidden"].grad[mask.any(1)].any(1).all()


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_no_gradient_is_computed_of_what_needs_none(frozen: str) -> None:
    parts = example(SIZES, 9)
    parts[frozen].requires_grad_(False)
    codebook_cross_entropy(**parts)[0].backward()
    assert [name for name in ("hidden", "weight") if parts[name].grad is None] == [frozen]
    with torch.no_grad():
        assert not codebook_cross_entropy(**parts)[0].requires_grad


def test_bfloat16_has_a_loss_and_sums_in_float32() -> None:
    parts, exact = example((50, 50), 300, torch.bfloat16), example((50, 50), 300, torch.bfloat16)
    exact |= {name: exact[name].detach().float().requires_grad_() for name in ("hidden", "weight")}
    loss, _ = codebook_cross_entropy(**parts)
    assert loss.dtype == torch.float32
    loss.backward()
    expected, _ = reference(exact)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=2e-3, atol=0)
    for name in ("hidden", "weight"):
        error = (parts[name].grad.float() - exact[name].grad).norm() / exact[name].grad.norm()
        assert error < 2e-2, name


def test_less_memory_than_the_logits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product is larger than a chunk."""
    largest = []
    before = module._differentiate

    def seen(logits: Tensor, *rest: Any) -> Any:
        largest.append(logits.numel())
        return before(logits, *rest)

    monkeypatch.setattr(module, "_differentiate", seen)
    monkeypatch.setitem(module.LOGITS, "cpu", 100)
    codebook_cross_entropy(**example(SIZES, 50))
    assert len(largest) == 13
    assert max(largest) <= 100
