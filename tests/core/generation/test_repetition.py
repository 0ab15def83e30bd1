from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.generation.repetition import RepetitionRules, draw_again, repetition_rules
from lina.core.generation.settings import Repetition, Sampling
from lina.core.model.tokens import PAD
from tests.core.generation.reading_model import Reader, texts
from tests.core.toy_model import push_stop, toy_conditions, toy_lm
from tests.engine.decoding import TEXTS, decode

RULE = Repetition(last=4, ratio=0.25)
LOGITS = torch.tensor([[0.0, 1.0, 2.0, -9.0, 0.5]])
ALLOWED = torch.tensor([False, True, True, True, True])


def again(token: int, recent: list[int], rows: int = 1, seed: int = 3) -> Tensor:
    return draw_again(
        torch.full((rows,), token),
        torch.tensor(recent).expand(rows, -1),
        LOGITS.expand(rows, -1),
        ALLOWED,
        RepetitionRules(*(rule.expand(rows) for rule in repetition_rules(RULE))),
        torch.randint(-(2**62), 2**62, (rows,), generator=torch.Generator().manual_seed(seed)),
    )


@pytest.mark.parametrize("recent", [[PAD] * 4, [1, 2, 4, 1], [3, 2, 1, 4]])
def test_rare_tokens_are_kept(recent: list[int]) -> None:
    assert again(3, recent, rows=50).tolist() == [3] * 50


def test_frequent_tokens_are_drawn_from_all_that_is_allowed() -> None:
    drawn = torch.bincount(again(3, [3, 3, 1, 2], rows=5_000), minlength=5) / 5_000
    expected = LOGITS[0].masked_fill(~ALLOWED, -torch.inf).softmax(-1)
    assert drawn[0] == 0
    torch.testing.assert_close(drawn, expected, atol=0.03, rtol=0)


def test_a_row_looks_at_its_own_latest_tokens() -> None:
    """Rows of rules that look back further share the same buffer."""
    rules = RepetitionRules(
        torch.tensor([2, 4, 1]), torch.tensor([0.5, 0.25, torch.inf], dtype=torch.float64)
    )
    recent = torch.tensor([[3, 3, 1, 3], [3, 3, 1, 2], [3, 3, 3, 3]])
    token, keys = torch.tensor([3, 3, 3]), torch.full((3,), 5)
    drawn = draw_again(token, recent, LOGITS.expand(3, -1), ALLOWED, rules, keys)
    assert drawn.tolist() == [3, 1, 3]


def test_a_loop_is_broken_in_codebook_0_alone() -> None:
    """The likeliest code is 4 all the time, and no other is left to choose from."""
    stuck: Any = Reader(lambda frame: 4, sure=2.0)
    sampling = Sampling(temperature=1.0, top_k=1)
    rule = Repetition(last=4, ratio=0.25)
    (loop,) = decode(stuck, texts(9), sampling, max_frames=40)
    (free,) = decode(stuck, texts(9), sampling, max_frames=40, repetition=rule)
    assert (loop.codes == 4).all()
    assert (free.codes[:, 1] == 4).all()
    assert free.codes[:2, 0].tolist() == [4, 4], "one in four is not too often yet"
    assert 10 < (free.codes[:, 0] != 4).sum() < 30


def test_greedy_speech_is_left_alone() -> None:
    lm = push_stop(toy_lm(), 0.02)
    conditions, rule = toy_conditions(lm, *TEXTS), Repetition(last=10, ratio=0.0)
    for sampling in (Sampling(), Sampling(temperature=[0.0, 1.0, 1.0])):
        for one, other in zip(
            decode(lm, conditions, sampling), decode(lm, conditions, sampling, repetition=rule), strict=True
        ):
            assert torch.equal(one.codes, other.codes)


def test_rows_are_independent() -> None:
    lm = push_stop(toy_lm(), 0.02)
    rule, sampling = Repetition(last=6, ratio=0.2), Sampling(temperature=1.0, top_k=2)
    together = decode(lm, toy_conditions(lm, *TEXTS), sampling, seed=1, repetition=rule)
    for row, text in enumerate(TEXTS):
        (alone,) = decode(lm, toy_conditions(lm, text), sampling, seed=1, rows=[row], repetition=rule)
        assert torch.equal(alone.codes, together[row].codes)
