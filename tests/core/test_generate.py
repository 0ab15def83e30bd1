from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lina.core.generate import generate
from lina.core.lm import Conditions, DelayLM
from lina.core.sampling import Sampling, row_generators
from lina.core.tokens import MARKS, PAD, START, STOP, delayed_columns
from tests.core.toy_model import SIZES, push_stop, random_codes, toy_conditions, toy_lm

TEXTS = ([2, 3, 4, 5, 6, 7, 8], [9, 10, 11], [12, 2], [5])
SAMPLED = Sampling(temperature=1.0)


class Said(NamedTuple):
    codes: Tensor
    stopped: bool
    attention: Tensor


def say(lm: DelayLM, conditions: Conditions, sampling: Sampling = SAMPLED, **options: Any) -> list[Said]:
    """What each row says."""
    options.setdefault("max_frames", 30)
    frames = list(generate(lm, conditions, sampling=sampling, **options))
    rows = []
    for row in range(conditions.speaker.shape[0]):
        codes = [frame.codes[row] for frame in frames if frame.complete[row]]
        attention = [frame.attention[row] for frame in frames if frame.speaking[row]]
        rows.append(Said(torch.stack(codes), bool(frames[-1].stopped[row]), torch.stack(attention)))
    return rows


@pytest.fixture(scope="module")
def lm() -> DelayLM:
    return push_stop(toy_lm(), 0.02)


def test_rows_end_on_their_own(lm: DelayLM) -> None:
    said = say(lm, toy_conditions(lm, *TEXTS), seed=1)
    lengths = [len(row.codes) for row in said]
    assert len(set(lengths)) > 2, lengths
    assert all(row.stopped == (len(row.codes) < 30) for row in said)
    assert any(row.stopped for row in said)
    assert all(len(row.attention) == len(row.codes) for row in said)


@pytest.mark.parametrize("attention", ["blind", "plain"])
def test_a_text_in_company_is_said_as_alone(attention: str) -> None:
    lm = push_stop(toy_lm(attention=attention), 0.02)
    for sampling in (Sampling(), SAMPLED):
        together = say(lm, toy_conditions(lm, *TEXTS), sampling, seed=1)
        for row, text in enumerate(TEXTS):
            own = row_generators(1, len(TEXTS))[row : row + 1]
            (alone,) = say(lm, toy_conditions(lm, text), sampling, generators=own)
            assert torch.equal(alone.codes, together[row].codes), (sampling, row)
            assert alone.stopped == together[row].stopped
            weights = together[row].attention[:, : len(text)]
            torch.testing.assert_close(weights, alone.attention, atol=1e-5, rtol=1e-5)


def test_the_seed_decides(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, TEXTS[0])
    one, again, other = (say(lm, conditions, seed=seed)[0].codes for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_the_limit_cuts_and_says_so() -> None:
    lm = push_stop(toy_lm(), -3.0)
    for said in say(lm, toy_conditions(lm, *TEXTS), max_frames=7):
        assert len(said.codes) == 7
        assert not said.stopped
        assert len(said.attention) == 7


@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
def test_nothing_is_no_speech(sampling: Sampling) -> None:
    """A model that wants to stop at once still says one frame."""
    lm = push_stop(toy_lm(), 5.0)
    for said in say(lm, toy_conditions(lm, *TEXTS), sampling):
        assert len(said.codes) == 1
        assert said.stopped


def test_codes_are_in_the_range_of_their_codebook(lm: DelayLM) -> None:
    codes = torch.cat(
        [said.codes for said in say(lm, toy_conditions(lm, *TEXTS), Sampling(100.0), max_frames=60)]
    )
    assert (codes >= 0).all()
    assert (codes < torch.tensor(SIZES)).all()
    assert (codes.amax(0) == torch.tensor(SIZES) - 1).all(), "all of the range is used at such a temperature"


@pytest.mark.parametrize("frames", [0, 3])
@torch.no_grad()
def test_greedy_speech_read_again_is_what_the_model_would_say(frames: int) -> None:
    """Teacher forcing over what was said puts the same token first wherever one was chosen."""
    lm = push_stop(toy_lm(), -1.0)
    conditions = toy_conditions(lm, TEXTS[0])
    prompt = random_codes(1, frames) if frames else None
    (said,) = say(lm, conditions, Sampling(), prompt=prompt, max_frames=12)
    assert len(said.codes) > 3
    codes = said.codes[None] if prompt is None else torch.cat([prompt, said.codes[None]], 1)
    length = codes.shape[1]
    columns = delayed_columns(codes, torch.tensor([length]))
    logits, _, _ = lm.parallel_forward(columns[:, :-1], lm.initial_state(1), conditions)
    logits[..., [PAD, START]] = -torch.inf
    logits[:, :, 1:, STOP] = -torch.inf
    logits[:, frames, 0, STOP] = -torch.inf
    likeliest = logits.argmax(-1)
    for codebook in range(len(SIZES)):
        steps = slice(frames + codebook, length + codebook)
        assert torch.equal(likeliest[0, steps, codebook], said.codes[:, codebook] + MARKS)


@torch.no_grad()
def test_prefill_of_a_prompt_is_stepping_through_it(lm: DelayLM) -> None:
    conditions, prompt = toy_conditions(lm, *TEXTS), random_codes(4, 5)
    together = say(lm, conditions, prompt=prompt, seed=3)
    slow = _Stepping(lm)
    again = say(slow, conditions, prompt=prompt, seed=3)  # type: ignore[arg-type]
    assert slow.stepped == 5, "the reference has read the prompt"
    for one, other in zip(together, again, strict=True):
        assert torch.equal(one.codes, other.codes)
    without = say(lm, conditions, seed=3)
    assert any(
        one.codes.shape != other.codes.shape or not torch.equal(one.codes, other.codes)
        for one, other in zip(together, without, strict=True)
    )


class _Stepping:
    """A model whose prefill is a loop of steps."""

    def __init__(self, lm: DelayLM) -> None:
        self._lm, self.stepped = lm, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lm, name)

    def parallel_forward(self, tokens: Tensor, state: Any, conditions: Conditions) -> Any:
        said = []
        for column in tokens.unbind(1):
            logits, state, _ = self._lm.step(column, state, conditions)
            said.append(logits)
            self.stepped += 1
        return torch.stack(said, 1), state, None


def test_frames_of_the_prompt_are_not_said_again() -> None:
    """The frames that come out follow the prompt, whole from the first on."""
    lm = push_stop(toy_lm(), -3.0)
    conditions = toy_conditions(lm, TEXTS[0])
    (first,) = say(lm, conditions, Sampling(), max_frames=9)
    (rest,) = say(lm, conditions, Sampling(), max_frames=5, prompt=first.codes[None, :4])
    assert torch.equal(rest.codes, first.codes[4:])


@pytest.mark.parametrize("sizes", [(5,), (6, 6), (3,) * 9])
def test_any_number_of_codebooks(sizes: tuple[int, ...]) -> None:
    lm = push_stop(toy_lm(sizes=sizes), -3.0)
    (said,) = say(lm, toy_conditions(lm, TEXTS[1]), max_frames=2)
    assert said.codes.shape == (2, len(sizes))


def test_frames_come_as_soon_as_they_are_complete() -> None:
    """The first frame needs as many steps as there are codebooks, and each later one more step."""
    lm = push_stop(toy_lm(), -3.0)
    frames = list(generate(lm, toy_conditions(lm, TEXTS[0]), sampling=Sampling(), max_frames=4))
    assert [bool(frame.complete[0]) for frame in frames] == [False, False, True, True, True, True]
    assert [bool(frame.speaking[0]) for frame in frames] == [True, True, True, True, False, False]


def test_the_model_may_be_asked_twice(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, TEXTS[0])
    assert torch.equal(say(lm, conditions, seed=2)[0].codes, say(lm, conditions, seed=2)[0].codes)


def test_a_generator_for_each_row(lm: DelayLM) -> None:
    with pytest.raises(ValueError, match="1 generators for 4 rows"):
        say(lm, toy_conditions(lm, *TEXTS), generators=row_generators(0, 1))
