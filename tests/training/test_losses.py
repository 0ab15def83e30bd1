import torch
from torch import Tensor

from lina.core.model.tokens import MARKS, teacher_forcing
from lina.training.losses import accuracy, cross_entropy, fused_cross_entropy
from tests.core.toy_model import SIZES, random_codes, toy_conditions, toy_lm


def example(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 3, 7, generator=generator)
    targets = torch.randint(0, 7, (2, 5, 3), generator=generator)
    return logits, targets, torch.rand(2, 5, 3, generator=generator) < 0.6


def test_cross_entropy_is_the_mean_over_what_counts() -> None:
    logits, targets, loss_mask = example()
    each = -logits.double().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    expected = each[loss_mask].mean()
    torch.testing.assert_close(
        cross_entropy(logits, targets, loss_mask).double(), expected, atol=1e-6, rtol=1e-6
    )


def test_masked_positions_change_nothing() -> None:
    logits, targets, loss_mask = example()
    expected = cross_entropy(logits, targets, loss_mask)
    other_targets = torch.where(loss_mask, targets, (targets + 3) % 7)
    other_logits = torch.where(loss_mask[..., None], logits, logits * 5 - 2)
    assert torch.equal(cross_entropy(logits, other_targets, loss_mask), expected)
    assert torch.equal(cross_entropy(other_logits, targets, loss_mask), expected)
    right = accuracy(logits, targets, loss_mask)
    assert torch.equal(accuracy(other_logits, other_targets, loss_mask), right)


def test_masked_positions_have_no_gradient() -> None:
    logits, targets, loss_mask = example()
    logits.requires_grad_()
    cross_entropy(logits, targets, loss_mask).backward()
    assert logits.grad is not None
    assert not logits.grad[~loss_mask].any()
    assert logits.grad[loss_mask].any(-1).all()


def test_accuracy_by_codebook() -> None:
    logits, _, loss_mask = example()
    targets = logits.argmax(-1)
    targets[:, :, 1] = (targets[:, :, 1] + 1) % 7
    right = accuracy(logits, targets, loss_mask)
    total = loss_mask.sum((0, 1))
    assert right.tolist() == [int(total[0]), 0, int(total[2])]


def test_codebooks_of_different_sizes_give_finite_loss_and_gradients() -> None:
    lm = toy_lm().train()
    codes, lengths = random_codes(2, 6), torch.tensor([6, 3])
    inputs, targets, loss_mask, _ = teacher_forcing(codes, lengths)
    logits, _, _ = lm.parallel_forward(inputs, lm.initial_state(2), toy_conditions(lm, [2, 3, 4], [5]))
    loss = cross_entropy(logits, targets, loss_mask)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in lm.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    head = lm.logits_head.weight.grad
    assert head is not None
    assert head.any(-1).sum() >= sum(size + MARKS for size in SIZES) - 1, (
        "every token of every codebook is learned"
    )


def test_the_fused_loss_is_that_of_the_logits() -> None:
    """Loss, right predictions and all gradients, for codebooks of different sizes."""
    results = []
    for fused in (False, True):
        lm = toy_lm().double().train()
        columns = teacher_forcing(random_codes(2, 6), torch.tensor([6, 3]))
        hidden, _, _ = lm.hidden_states(
            columns.inputs, lm.initial_state(2), toy_conditions(lm, [2, 3, 4], [5])
        )
        if fused:
            loss, right = fused_cross_entropy(hidden, lm.heads, columns.targets, columns.loss_mask)
        else:
            logits = lm.logits(hidden)
            loss = cross_entropy(logits, columns.targets, columns.loss_mask)
            right = accuracy(logits, columns.targets, columns.loss_mask)
        loss.backward()
        results.append([loss, right, *(parameter.grad for parameter in lm.parameters())])
    torch.testing.assert_close(results[1], results[0])


def test_padding_of_a_row_changes_no_loss() -> None:
    """The loss of a batch is the mean over its rows' loss_mask targets, each as alone."""
    lm = toy_lm()
    codes, lengths = random_codes(2, 6), torch.tensor([6, 3])

    def sum_of(rows: slice, frames: int) -> tuple[Tensor, int]:
        inputs, targets, loss_mask, _ = teacher_forcing(codes[rows, :frames], lengths[rows])
        texts = [[2, 3, 4], [5]][rows]
        logits, _, _ = lm.parallel_forward(inputs, lm.initial_state(len(inputs)), toy_conditions(lm, *texts))
        return cross_entropy(logits, targets, loss_mask) * loss_mask.sum(), int(loss_mask.sum())

    together, count = sum_of(slice(0, 2), 6)
    first, n = sum_of(slice(0, 1), 6)
    second, m = sum_of(slice(1, 2), 3)
    assert count == n + m == 3 * (6 + 3) + 2
    torch.testing.assert_close(together, first + second, atol=1e-4, rtol=1e-5)
