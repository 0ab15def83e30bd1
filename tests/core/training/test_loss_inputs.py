"""Losses are given what their parameters name, and nothing else is computed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lina.core.errors import SpecError
from lina.core.model.auxiliary import auxiliary_loss
from lina.core.model.delay_lm import DelayLM, Heads
from lina.core.training.loss_inputs import names_read
from lina.training.losses import CrossEntropy, cross_entropy, fused_cross_entropy
from lina.training.objective import Objective, StepMeasures
from tests.core.toy_model import toy_lm
from tests.training.test_shape_buckets import CODEBOOKS, part

CPU = torch.device("cpu")


def measure(loss: Any, model: DelayLM | None = None) -> StepMeasures:
    model = model or toy_lm(sizes=(4,) * CODEBOOKS).train()
    return Objective(model, loss, CPU, guided=False)(part([[7, 5], [9]]), 20, torch.float32)


def test_a_loss_may_read_hidden_states_logits_or_attention() -> None:
    expected = measure(fused_cross_entropy)

    def of_logits(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
        return cross_entropy(logits, targets, loss_mask)

    def of_hidden(hidden: Tensor, heads: Heads, targets: Tensor, loss_mask: Tensor) -> Tensor:
        return fused_cross_entropy(hidden, heads, targets, loss_mask).loss

    for loss in (of_logits, of_hidden):
        torch.testing.assert_close(measure(loss), expected)

    def of_attention(attention: Tensor, progress: Tensor) -> Tensor:
        assert attention.shape[:2] == progress.shape
        return -attention.square().mean()

    found = measure(of_attention)
    assert -1 < found.loss < 0
    assert found.n_correct.equal(expected.n_correct)


def test_logits_are_computed_for_losses_that_read_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_lm(sizes=(4,) * CODEBOOKS).train()
    calls = []
    by_codebook = model.by_codebook

    def seen(logits: Tensor) -> Tensor:
        calls.append(1)
        return by_codebook(logits)

    monkeypatch.setattr(model, "by_codebook", seen)
    measure(CrossEntropy.build(config=CrossEntropy.Config()), model)
    assert not calls
    measure(cross_entropy, model)
    assert calls == [1]


def test_an_unknown_parameter_is_named() -> None:
    def loss(hiden: Tensor) -> Tensor:
        return hiden.sum()

    with pytest.raises(SpecError, match="'mine' has a parameter 'hiden'; did you mean 'hidden'") as refused:
        names_read(loss, "mine")
    assert "\n" not in str(refused.value)


class Balancing(nn.Module):
    """Linear layer in the place of a head norm that adds an auxiliary loss."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            auxiliary_loss("balance", 0.25 * self.scale.square().mean())
        return x * self.scale


def test_auxiliary_losses_are_added_unless_the_loss_reads_them() -> None:
    model = toy_lm(sizes=(4,) * CODEBOOKS).train()
    assert float(measure(fused_cross_entropy, model).auxiliary_loss.detach()) == 0.0
    balancing = Balancing(model.rvq_embed.embedding_dim)
    model.add_module("head_norm", balancing)
    found = measure(fused_cross_entropy, model)
    assert float(found.auxiliary_loss.detach()) == pytest.approx(0.5)
    found.auxiliary_loss.backward()
    assert balancing.scale.grad is not None

    def reading(auxiliary: dict[str, Tensor], hidden: Tensor) -> Tensor:
        return 3 * auxiliary["balance"] + 0 * hidden.sum()

    own = measure(reading, model)
    assert float(own.loss.detach()) == pytest.approx(1.5)
    assert float(own.auxiliary_loss.detach()) == 0.0
    assert float(measure(fused_cross_entropy, model.eval()).auxiliary_loss.detach()) == 0.0


def test_an_auxiliary_loss_outside_of_training_is_nothing() -> None:
    auxiliary_loss("balance", torch.tensor(float("nan")))


def test_the_z_loss_is_that_of_the_normalizers() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 1] = 9.0
    mask = torch.tensor([[[True], [False]]])
    loss = CrossEntropy.build(config=CrossEntropy.Config(z_loss=0.5))
    expected = torch.tensor(4.0).log() + 0.5 * torch.tensor(4.0).log() ** 2
    torch.testing.assert_close(loss(logits, torch.zeros(1, 2, 1, dtype=torch.int64), mask), expected)
