"""Losses are given what their parameters name, and nothing else is computed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.errors import SpecError
from lina.core.model.delay_lm import DelayLM, Heads
from lina.training.loss_inputs import names_read
from lina.training.losses import LOSSES, cross_entropy, fused_cross_entropy
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
    measure(LOSSES["cross_entropy"], model)
    assert not calls
    measure(cross_entropy, model)
    assert calls == [1]


def test_an_unknown_parameter_is_named() -> None:
    def loss(hiden: Tensor) -> Tensor:
        return hiden.sum()

    with pytest.raises(SpecError, match="'mine' has a parameter 'hiden'; did you mean 'hidden'") as refused:
        names_read(loss, "mine")
    assert "\n" not in str(refused.value)
