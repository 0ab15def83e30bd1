from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lina.core.generation.generate import generate
from lina.core.generation.sampling import Sampling, row_generators
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.tokens import MARKS, PAD, START, STOP, delayed_columns
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


@pytest.mark.parametrize("attention", ["position", "plain"])
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


@pytest.mark.parametrize("frames", [0, 1, 5])
@pytest.mark.parametrize("stop", [0.02, -3.0])
def test_the_model_reads_the_columns_of_training(frames: int, stop: float) -> None:
    """Whatever is said, after any prompt, whether it stops or is cut: ramp, frames and tail are as in training."""
    lm = push_stop(toy_lm(sizes=(7, 4, 11, 5, 6)), stop)
    read: list[Tensor] = []
    embed, conditions = lm._embed, toy_conditions(lm, *TEXTS)

    def overheard(tokens: Tensor) -> Tensor:
        read.append(tokens.view(4, -1, 5))
        return embed(tokens)

    lm._embed = overheard  # type: ignore[method-assign]
    prompt = random_codes(4, frames, lm.codebook_sizes)
    given = {"prompt": prompt} if frames else {}
    said = say(lm, conditions, Sampling(3.0), seed=8, max_frames=9, **given)
    columns = torch.cat(read, 1)
    for row, speech in enumerate(said):
        codes = torch.cat([prompt[row], speech.codes])[None]
        trained = delayed_columns(codes, torch.tensor([codes.shape[1]]))[0]
        steps = min(len(trained), columns.shape[1])
        assert steps >= codes.shape[1] + 5 - 1, "all but the last frame's last code was read"
        assert torch.equal(columns[row, :steps], trained[:steps])
        assert (columns[row, steps:] == STOP).all()
    assert {speech.stopped for speech in said} == {stop > 0}


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
        said, read = [], []
        for column in tokens.unbind(1):
            logits, state, attention = self._lm.step(column, state, conditions)
            said.append(logits)
            read.append(attention)
            self.stepped += 1
        return torch.stack(said, 1), state, torch.stack(read, 1)


def test_frames_of_the_prompt_are_not_said_again() -> None:
    """The frames that come out follow the prompt, whole from the first on."""
    lm = push_stop(toy_lm(), -3.0)
    conditions = toy_conditions(lm, TEXTS[0])
    (first,) = say(lm, conditions, Sampling(), max_frames=9)
    (rest,) = say(lm, conditions, Sampling(), max_frames=5, prompt=first.codes[None, :4])
    assert torch.equal(rest.codes, first.codes[4:])


@pytest.mark.parametrize("attention", ["position", "plain"])
@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
def test_rows_of_unequal_prompts_are_said_as_alone(attention: str, sampling: Sampling) -> None:
    lm = push_stop(toy_lm(attention=attention), 0.02)
    lengths = torch.tensor([4, 0, 7, 4])
    prompt = random_codes(4, 7)
    together = say(
        lm, toy_conditions(lm, *TEXTS), sampling, prompt=prompt, prompt_lengths=lengths, max_frames=9, seed=1
    )
    for row, text in enumerate(TEXTS):
        own = row_generators(1, len(TEXTS))[row : row + 1]
        given = prompt[row : row + 1, : lengths[row]]
        (alone,) = say(lm, toy_conditions(lm, text), sampling, prompt=given, generators=own, max_frames=9)
        assert torch.equal(alone.codes, together[row].codes), row
        assert alone.stopped == together[row].stopped
        weights = together[row].attention[:, : len(text)]
        torch.testing.assert_close(weights, alone.attention, atol=1e-5, rtol=1e-5)


def test_what_lies_beyond_a_rows_own_prompt_is_not_read(lm: DelayLM) -> None:
    prompt, lengths = random_codes(2, 6), torch.tensor([6, 2])
    changed = prompt.clone()
    changed[1, 2:] = 0
    one, other = (
        say(lm, toy_conditions(lm, *TEXTS[:2]), prompt=codes, prompt_lengths=lengths, seed=1)
        for codes in (prompt, changed)
    )
    assert all(torch.equal(a.codes, b.codes) for a, b in zip(one, other, strict=True))


def test_a_prompt_of_no_frames_is_no_prompt(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, *TEXTS)
    plain = say(lm, conditions, seed=3)
    for prompt, lengths in (
        (random_codes(4, 0), None),
        (random_codes(4, 5), torch.zeros(4, dtype=torch.int64)),
    ):
        prompted = say(lm, conditions, seed=3, prompt=prompt, prompt_lengths=lengths)
        for one, other in zip(plain, prompted, strict=True):
            assert torch.equal(one.codes, other.codes)
            assert torch.equal(one.attention, other.attention)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_a_continuation_is_what_the_model_would_have_said(seed: int) -> None:
    """Greedy: given any beginning of its own speech, the model says the rest of it, and reads the text as it did."""
    lm = push_stop(toy_lm(seed=seed), 0.02)
    conditions = toy_conditions(lm, *TEXTS)
    said = say(lm, conditions, Sampling())
    assert sum(len(row.codes.unique(dim=0)) for row in said) > 15, "it says different things"
    starts = torch.tensor([max(1, len(row.codes) // (2 + place)) for place, row in enumerate(said)])
    prompt = torch.nn.utils.rnn.pad_sequence([row.codes for row in said], batch_first=True)
    rest = say(lm, conditions, Sampling(), prompt=prompt, prompt_lengths=starts)
    for row, start in enumerate(starts.tolist()):
        # Speech that was cut had no time to finish what its last codes were to be.
        wanted = said[row].codes[start:] if said[row].stopped else said[row].codes[start : -len(SIZES) + 1]
        assert torch.equal(rest[row].codes[: len(wanted)], wanted)
        if said[row].stopped:
            assert rest[row].stopped
            assert len(rest[row].codes) == len(wanted)
        seen = said[row].attention[start : start + len(wanted)]
        torch.testing.assert_close(rest[row].attention[: len(wanted)], seen, atol=1e-5, rtol=1e-5)


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
