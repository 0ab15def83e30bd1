from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.tokens import MARKS, delayed_columns
from lina.core.state import leaves
from tests.core.toy_model import SIZES, VOCABULARY, random_codes, toy_conditions, toy_lm

KINDS = [("position", True), ("position", False), ("plain", True), ("plain", False)]
LONG, SHORT = [2, 3, 4, 5, 6, 7, 8], [9, 10, 11]


def columns(rows: int, frames: int = 6) -> Tensor:
    return delayed_columns(random_codes(rows, frames), torch.full((rows,), frames))


def whole(lm: DelayLM, tokens: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
    logits, _, attention = lm.parallel_forward(tokens, lm.initial_state(len(tokens)), conditions)
    return logits, attention


@pytest.mark.parametrize(("attention", "rotary"), KINDS)
@torch.no_grad()
def test_step_equals_the_whole(attention: str, rotary: bool) -> None:
    lm, tokens = toy_lm(attention=attention, rotary=rotary), columns(2)
    conditions = toy_conditions(lm, LONG, SHORT)
    expected, after, weights = lm.parallel_forward(tokens, lm.initial_state(2), conditions)
    state: Any = lm.initial_state(2)
    for t, column in enumerate(tokens.unbind(1)):
        logits, state, read = lm.step(column, state, conditions)
        torch.testing.assert_close(logits, expected[:, t], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(read, weights[:, t], atol=1e-5, rtol=1e-5)
    for one, other in zip(leaves(state), leaves(after), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("attention", "rotary"), KINDS)
@torch.no_grad()
def test_a_stretch_goes_on_where_the_last_one_ended(attention: str, rotary: bool) -> None:
    lm, tokens = toy_lm(attention=attention, rotary=rotary), columns(2)
    conditions = toy_conditions(lm, LONG, SHORT)
    expected, _ = whole(lm, tokens, conditions)
    first, state, _ = lm.parallel_forward(tokens[:, :4], lm.initial_state(2), conditions)
    second, _, _ = lm.parallel_forward(tokens[:, 4:], state, conditions)
    torch.testing.assert_close(torch.cat([first, second], 1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("attention", "rotary"), KINDS)
@torch.no_grad()
def test_the_padding_of_a_text_is_not_read(attention: str, rotary: bool) -> None:
    lm, tokens = toy_lm(attention=attention, rotary=rotary), columns(1)
    mask = torch.arange(8)[None] < len(SHORT)
    outputs = []
    for garbage in (0, VOCABULARY - 1):
        ids = torch.tensor([[*SHORT, *[garbage] * 5]])
        logits, weights = whole(lm, tokens, lm.conditions(ids, mask))
        assert not weights[..., len(SHORT) :].any()
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
        outputs.append(logits)
    assert torch.equal(*outputs)
    changed = whole(lm, tokens, toy_conditions(lm, [SHORT[0], 1, SHORT[2]], width=8))[0]
    assert not torch.allclose(changed, outputs[0], atol=1e-2), "the text itself is read"


@pytest.mark.parametrize(("attention", "rotary"), KINDS)
@torch.no_grad()
def test_a_row_in_a_batch_equals_the_row_alone(attention: str, rotary: bool) -> None:
    lm, tokens = toy_lm(attention=attention, rotary=rotary), columns(2)
    together, weights = whole(lm, tokens, toy_conditions(lm, LONG, SHORT))
    alone, alone_weights = whole(lm, tokens[1:], toy_conditions(lm, SHORT))
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights[1:, :, : len(SHORT)], alone_weights, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_of_the_future_are_not_read() -> None:
    lm, tokens = toy_lm(), columns(1)
    conditions = toy_conditions(lm, LONG)
    before, _ = whole(lm, tokens, conditions)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 4
    after, _ = whole(lm, changed, conditions)
    torch.testing.assert_close(after[:, :5], before[:, :5], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(after[:, 5:], before[:, 5:], atol=1e-2)


@torch.no_grad()
def test_logits_of_smaller_codebooks() -> None:
    lm = toy_lm()
    logits, _ = whole(lm, columns(2), toy_conditions(lm, LONG, SHORT))
    assert logits.shape[-2:] == (len(SIZES), max(SIZES) + MARKS)
    for codebook, size in enumerate(SIZES):
        assert logits[..., codebook, : size + MARKS].isfinite().all()
        assert (logits[..., codebook, size + MARKS :] == -torch.inf).all()


@torch.no_grad()
def test_every_codebook_has_embeddings_and_a_head_of_its_own() -> None:
    lm = toy_lm(head_norm=False)
    starts = [0, *torch.tensor([size + MARKS for size in SIZES]).cumsum(0).tolist()]
    token = torch.tensor([[4, 5, 6]])
    rows = [lm.rvq_embed.weight[start + int(t)] for start, t in zip(starts, token[0], strict=False)]
    torch.testing.assert_close(lm._embed(token)[0], torch.stack(rows).sum(0))
    x = torch.randn(1, lm.logits_head.in_features, generator=torch.Generator().manual_seed(0))
    logits = lm.logits(x)
    for codebook, size in enumerate(SIZES):
        head = lm.logits_head.weight[starts[codebook] : starts[codebook + 1]]
        torch.testing.assert_close(logits[0, codebook, : size + MARKS], head @ x[0])


@torch.no_grad()
def test_equal_codebooks_need_no_spreading() -> None:
    lm = toy_lm(sizes=(6, 6))
    assert lm.uniform
    logits, _ = whole(lm, random_codes(1, 5, (6, 6)), toy_conditions(lm, SHORT))
    assert logits.shape == (1, 5, 2, 9)
    assert logits.isfinite().all()


@torch.no_grad()
def test_without_text_no_text_is_read() -> None:
    lm, tokens = toy_lm(drops_text=True), columns(2)
    without = torch.tensor([True, False])
    one, weights = whole(lm, tokens, toy_conditions(lm, LONG, SHORT, without_text=without))
    other, _ = whole(lm, tokens, toy_conditions(lm, SHORT, SHORT, without_text=without))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert (weights[0, :, 0] == 1).all()
    full, _ = whole(lm, tokens, toy_conditions(lm, LONG, SHORT))
    torch.testing.assert_close(one[1], full[1], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(one[0], full[0], atol=1e-2)


def test_without_text_is_learnt() -> None:
    lm, tokens = toy_lm(drops_text=True), columns(1)
    logits, _ = whole(lm, tokens, toy_conditions(lm, LONG, without_text=torch.tensor([True])))
    logits[..., 0, :3].sum().backward()
    assert lm.no_text is not None
    assert lm.no_text.grad is not None
    assert lm.no_text.grad.any()


def test_without_text_needs_a_model_trained_for_it() -> None:
    with pytest.raises(ValueError, match="drop_text"):
        toy_conditions(toy_lm(), LONG, without_text=torch.tensor([True]))


@torch.no_grad()
def test_speakers_differ_and_zero_is_no_speaker() -> None:
    lm, tokens = toy_lm(speakers=2), columns(1)

    def logits_of(speaker: Tensor | None) -> Tensor:
        return whole(lm, tokens, toy_conditions(lm, LONG, speaker=speaker))[0]

    nobody = logits_of(None)
    assert torch.equal(logits_of(torch.tensor([0])), nobody)
    first, second = logits_of(torch.tensor([1])), logits_of(torch.tensor([2]))
    assert not torch.allclose(first, nobody, atol=1e-2)
    assert not torch.allclose(first, second, atol=1e-2)


@torch.no_grad()
def test_attention_weights_of_plain_attention_are_a_mean_over_heads() -> None:
    lm = toy_lm(attention="plain")
    _, weights = whole(lm, columns(2), toy_conditions(lm, LONG, SHORT))
    assert weights.shape == (2, 10, len(LONG))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 10))


@torch.no_grad()
def test_blind_attention_reads_content_only_where_positions_point() -> None:
    """With queries and keys of zero the position network sees no content: its attention knows nothing of the text."""
    lm, tokens = toy_lm(rotary=False), columns(1)
    for projection in (lm.cross_att.ln_q, lm.cross_att.ln_k):
        projection.weight.zero_()
        projection.bias.zero_()
    _, one = whole(lm, tokens, toy_conditions(lm, LONG))
    logits, other = whole(lm, tokens, toy_conditions(lm, LONG[::-1]))
    assert torch.equal(one, other)
    assert not torch.allclose(logits, whole(lm, tokens, toy_conditions(lm, LONG))[0], atol=1e-3)
