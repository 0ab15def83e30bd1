from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.core.ops.delta_rule import (
    CHUNK,
    delta_rule,
    delta_rule_step,
    gated_delta_rule,
    gated_delta_rule_step,
)
from tests.core.model.naive import naive
from tests.core.ops.recurrence import assert_near, with_gradients

B, H, K, V = 2, 3, 8, 4
SCALE = K**-0.5
LENGTHS = (1, 5, CHUNK, CHUNK + 1, 100)
Operator = Callable[..., Any]


def fla_general(*arguments: Any) -> Any:
    *sequences, memory, scale = arguments
    assert scale == SCALE, "the reference knows no other"
    q, k, v, a, b, log_decay = (tensor.transpose(1, 2) for tensor in sequences)
    recurrence = naive("generalized_delta_rule/dplr", "dplr_recurrence")
    out, memory = recurrence(q, k, v, a, b, log_decay.expand_as(q), initial_state=memory)
    return out.transpose(1, 2), memory


def fla_gated(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, memory: Tensor, scale: float
) -> Any:
    if log_decay.shape[-1] == 1:
        recurrence = naive("gated_delta_rule", "naive_recurrent_gated_delta_rule")
        return recurrence(q, k, v, beta, log_decay.squeeze(-1), scale, memory, True)
    return naive("kda", "naive_recurrent_kda")(q, k, v, log_decay, beta, scale, memory, True)


def inputs(rule: str, channels: int, frames: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Arguments of a rule but for the scale; decays from about -5 to -1e-3 a frame, and a memory that is not zero."""
    generator = torch.Generator().manual_seed(frames + channels)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    q, k, v = randn(B, frames, H, K), F.normalize(randn(B, frames, H, K), dim=-1), randn(B, frames, H, V)
    log_decay = -torch.exp(2 * randn(B, frames, H, channels) - 2)
    memory = randn(B, H, K, V)
    if rule == "gated":
        return [q, k, v, randn(B, frames, H).sigmoid(), log_decay, memory]
    a = F.normalize(randn(B, frames, H, K), dim=-1)
    return [q, k, v, -a, a * randn(B, frames, H, K).sigmoid(), log_decay, memory]


RULES: dict[str, tuple[Operator, Operator, Operator]] = {
    "general": (delta_rule, delta_rule_step, fla_general),
    "gated": (gated_delta_rule, gated_delta_rule_step, fla_gated),
}
EACH = pytest.mark.parametrize(
    ("rule", "channels"), [(rule, channels) for rule in RULES for channels in (1, K)]
)


def folded(step: Operator) -> Operator:
    def run(*arguments: Any) -> Any:
        *sequences, memory, scale = arguments
        out = []
        for frame in zip(*(tensor.unbind(1) for tensor in sequences), strict=True):
            output, memory = step(*frame, memory, scale)
            out.append(output)
        return torch.stack(out, 1), memory

    return run


@EACH
@pytest.mark.parametrize("frames", LENGTHS)
def test_agrees_with_flash_linear_attention(rule: str, channels: int, frames: int) -> None:
    operator, step, reference = RULES[rule]
    tensors = inputs(rule, channels, frames)
    expected = with_gradients(reference, tensors, SCALE)
    assert_near(with_gradients(operator, tensors, SCALE), expected, 1e-5)
    assert_near(with_gradients(folded(step), tensors, SCALE), expected, 1e-5)


@EACH
def test_float64_is_exact(rule: str, channels: int) -> None:
    operator, step, _ = RULES[rule]
    tensors = inputs(rule, channels, 70, torch.float64)
    assert_near(with_gradients(operator, tensors, 0.7), with_gradients(folded(step), tensors, 0.7), 1e-13)


@EACH
def test_gradients_are_those_of_finite_differences(rule: str, channels: int) -> None:
    tensors = [tensor[:1].requires_grad_() for tensor in inputs(rule, channels, CHUNK + 1, torch.float64)]
    operator = RULES[rule][0]
    assert torch.autograd.gradcheck(lambda *arguments: operator(*arguments, 0.7), tensors, fast_mode=True)


@EACH
def test_extreme_decays_stay_finite_and_right(rule: str, channels: int) -> None:
    """From hardly forgetting (-1e-4) to forgetting at once (-1e4), mixed over channels and frames."""
    operator, step, _ = RULES[rule]
    tensors = inputs(rule, channels, 80)
    generator = torch.Generator().manual_seed(2)
    tensors[-2] = -(10 ** (8 * torch.rand(tensors[-2].shape, generator=generator) - 4))
    got = with_gradients(operator, tensors, SCALE)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    assert_near(got, with_gradients(folded(step), [tensor.double() for tensor in tensors], SCALE), 2e-6)


@EACH
@pytest.mark.parametrize("decay", [-1e-4, -1.0, -80.0, -1e4])
def test_one_decay_everywhere(rule: str, channels: int, decay: float) -> None:
    operator, step, _ = RULES[rule]
    tensors = inputs(rule, channels, 80)
    tensors[-2] = torch.full_like(tensors[-2], decay)
    expected = with_gradients(folded(step), [tensor.double() for tensor in tensors], SCALE)
    assert_near(with_gradients(operator, tensors, SCALE), expected, 5e-6)


@EACH
def test_the_same_key_for_ever(rule: str, channels: int) -> None:
    """The worst triangular system: each frame corrects all of the one before it, and nothing is forgotten."""
    operator, step, _ = RULES[rule]
    tensors = inputs(rule, channels, 80)
    tensors[-2] = torch.zeros_like(tensors[-2])
    tensors[1] = tensors[1][:, :1].expand_as(tensors[1]).clone()
    if rule == "gated":
        tensors[3] = torch.ones_like(tensors[3])
    else:
        tensors[3], tensors[4] = -tensors[1], tensors[1].clone()
    expected = with_gradients(folded(step), [tensor.double() for tensor in tensors], SCALE)
    assert_near(with_gradients(operator, tensors, SCALE), expected, 5e-6)


@EACH
def test_minus_infinity_forgets_everything_before(rule: str, channels: int) -> None:
    operator, step, _ = RULES[rule]
    tensors = inputs(rule, channels, 60)
    tensors[-2][:, 41] = -torch.inf
    if rule == "general":
        tensors[3][:, 41] = 0.0
    got = with_gradients(operator, tensors, SCALE)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    *sequences, memory = tensors
    alone, after = operator(*(tensor[:, 41:] for tensor in sequences), torch.zeros_like(memory), SCALE)
    torch.testing.assert_close(got[0][:, 41:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1], after, atol=1e-5, rtol=1e-5)
    assert_near(got, with_gradients(folded(step), [tensor.double() for tensor in tensors], SCALE), 2e-6)
