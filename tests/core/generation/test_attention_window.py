from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.generation.attention_window import (
    WindowState,
    first_place,
    follow,
    has_arrived,
    readable,
    window_rules,
)
from lina.core.generation.guidance import Guided
from lina.core.generation.settings import Sampling, Window
from lina.core.state import join_rows
from tests.core.generation.reading_model import Reader, Wish, listed, texts
from tests.core.toy_model import push_stop, random_codes, toy_conditions, toy_lm
from tests.engine.decoding import SAMPLED, TEXTS, decode

NARROW = Window(ahead=3, back=1, pace=1.0)
WIDE = Window(ahead=1000, back=1000, pace=1000.0)
LENGTH = 12
STEADY = listed(range(LENGTH))


def rules_of(window: Window, mask: Tensor) -> Any:
    """The same window for all rows."""
    return join_rows([window_rules(window, row) for row in mask.split(1)])


def speech(*wishes: Wish, lengths: tuple[int, ...] | None = None, **options: Any) -> list[Any]:
    """Per row: positions in the order in which they were spoken, and True if the row stopped by itself."""
    conditions = texts(*(lengths or [LENGTH] * len(wishes)))
    options.setdefault("max_frames", 60)
    output = decode(Reader(*wishes), conditions, Sampling(), **options)
    return [(one.codes[:, 0].tolist(), one.stopped) for one in output]


def test_steady_reading_is_as_without_a_window() -> None:
    assert speech(STEADY, window=NARROW) == speech(STEADY) == [(list(range(LENGTH)), True)]


def test_a_jump_ahead_skips_nothing() -> None:
    """Reading leaps from 2 to the end; the window lets it go on by a position a step."""
    leaping = listed([0, 1, 2] + [11] * 20)
    assert speech(leaping)[0][0][:5] == [0, 1, 2, 11, 11]
    output, _ = speech(leaping, window=NARROW)[0]
    assert output[:9] == [0, 1, 2, 5, 6, 7, 8, 9, 10]


def test_a_glance_ahead_moves_the_place_by_the_pace() -> None:
    glancing = listed([0, 1, 2, 11, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    output, stopped = speech(glancing, window=Window(ahead=3, back=1, pace=0.5))[0]
    assert output == [0, 1, 2, 4, 3, 4, 5, 6, 6, 7, 7, 8, 8]
    assert stopped
    assert speech(glancing, window=Window(ahead=9, back=1, pace=9.0))[0][0][4:9] == [10, 10, 10, 10, 10]


def test_a_jump_back_says_nothing_again() -> None:
    returning = listed([0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11])
    assert speech(returning)[0][0][6:9] == [0, 1, 2]
    assert speech(returning, window=NARROW)[0][0] == [0, 1, 2, 3, 4, 5, 4, 4, 4, 6, 7, 8, 9, 10, 11]


def test_a_stuck_row_is_pushed_on() -> None:
    stuck = lambda frame: min(frame, 4.0)  # noqa: E731
    forever, stopped = speech(stuck, window=NARROW)[0]
    assert (forever[5:], stopped) == ([4] * 55, False)
    pushed, _ = speech(stuck, window=Window(ahead=3, back=1, pace=1.0, stall=3))[0]
    # Four steps without moving make a push; the second one hides position 4, and each later one the next.
    assert pushed == [*range(4), *[4] * 9, *[n for n in range(5, 11) for _ in range(4)], *[10] * 23]


def test_an_early_end_is_not_allowed() -> None:
    early = listed([0, 1, 2, 3])
    assert speech(early) == [([0, 1, 2, 3], True)]
    reading: Wish = lambda frame: -1.0 if frame in (4, 10) else float(frame)  # noqa: E731
    window = Window(ahead=3, back=1, pace=2.0, stop_within=2)
    output, stopped = speech(reading, window=window)[0]
    assert stopped
    assert len(output) == 10
    assert output[5:] == [5, 6, 7, 8, 9]


def test_a_row_that_continues_after_the_end_is_ended() -> None:
    endless = lambda frame: float(frame)  # noqa: E731
    assert speech(endless) == [([*range(LENGTH), *[11] * 48], False)]
    output, stopped = speech(endless, window=Window(ahead=3, back=1, pace=1.0, stop_within=2, linger=5))[0]
    assert output == [*range(LENGTH), *[11] * 3], "it arrives at 9 in step 10, and is given five more"
    assert not stopped, "it did not end by itself"


def test_the_end_of_a_row_has_a_reason() -> None:
    """By itself, by the window, by the limit."""
    wishes: list[Wish] = [STEADY, lambda frame: float(frame), lambda frame: 0.0]
    window = Window(ahead=3, back=1, pace=1.0, stop_within=2, linger=5)
    output = decode(Reader(*wishes), texts(*[LENGTH] * 3), Sampling(), max_frames=60, window=window)
    assert [(one.stopped, one.ended_by_window) for one in output] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_all_ends_even_if_the_model_never_does() -> None:
    window = Window(ahead=3, back=1, pace=1.0, stall=2, stop_within=2, linger=5)
    (output, _) = speech(lambda frame: 0.0, window=window, max_frames=1000)[0]
    assert len(output) <= 3 * LENGTH + 6


def test_a_single_word_is_not_ended_before_it_is_spoken() -> None:
    """``stop_within`` covers a text of five positions whole; a third of it may be left, one position."""
    window = Window(ahead=3, back=1, pace=1.0, stop_within=6)
    early = listed([0, 1, -1, 2, 3, -1])
    (output, stopped) = speech(early, lengths=(5,), window=window)[0]
    assert (output, stopped) == ([0, 1, 0, 2, 3], True)
    rules = window_rules(window, texts(12).text.mask, begin=6)
    assert int(rules.end[0]) == 11 - 1, "of the text after a prompt's transcript"


def test_nothing_is_repeated_once_the_last_position_is_settled() -> None:
    """The place arrives at 4 in step 5; two steps later only that position is readable."""
    again = listed([0, 1, 2, 3, 4, 3, 4, 3, 2, 3, 4])
    window = Window(ahead=3, back=3, pace=1.0)
    assert speech(again, lengths=(5,), window=window)[0][0] == [0, 1, 2, 3, 4, 3, 4, 3, 2, 3, 4]
    settling = Window(ahead=3, back=3, pace=1.0, settle=2)
    assert speech(again, lengths=(5,), window=settling)[0][0] == [0, 1, 2, 3, 4, 3, 4, 4, 4, 4, 4]


def test_rows_are_independent_and_padding_is_not_read() -> None:
    wishes = STEADY, listed([0, 1, 2] + [11] * 20), lambda frame: float(frame)
    lengths, window = (12, 9, 5), Window(ahead=3, back=1, pace=1.0, stall=2, stop_within=1, linger=3)
    together = speech(*wishes, lengths=lengths, window=window)
    for wish, length, row in zip(wishes, lengths, together, strict=True):
        assert speech(wish, lengths=(length,), window=window) == [row]
    assert len({len(output) for output, _ in together}) == 3


def test_after_a_prompt_the_place_is_where_it_was_read() -> None:
    """Its transcript is positions 0 to 3; row 1 has read on in it, and row 2 is far behind."""
    attention = torch.nn.functional.one_hot(torch.tensor([3, 9, 0, 0]), LENGTH).float()
    mask = texts(*[LENGTH] * 4).text.mask
    rules = rules_of(NARROW, mask)
    place = first_place(attention, torch.tensor([4, 4, 8, 0]), rules)
    assert place.at.tolist() == [3, 4, 5, 0]
    inside = readable(mask, place, rules)
    assert [row.nonzero()[:, 0].tolist() for row in inside] == [
        [2, 3, 4, 5, 6],
        [3, 4, 5, 6, 7],
        [4, 5, 6, 7, 8],
        [0, 1, 2, 3],
    ]


def test_prompts_are_read_whole_and_speech_goes_on_after_them() -> None:
    reading = lambda frame: float(frame)  # noqa: E731
    prompt = torch.zeros(2, 5, 2, dtype=torch.int64)
    options: dict[str, Any] = {"prompt": prompt, "prompt_lengths": torch.tensor([5, 0]), "max_frames": 4}
    output = speech(reading, reading, begin=torch.tensor([5, 0]), window=NARROW, **options)
    assert [codes for codes, _ in output] == [[5, 6, 7, 8], [0, 1, 2, 3]]


def test_a_row_without_text_reads_on() -> None:
    """Guidance speaks with the text and without: the latter has one position, which no window takes away."""
    conditions = texts(LENGTH, LENGTH)
    mask = conditions.text.mask
    pairs = torch.stack([mask, torch.arange(LENGTH).expand(2, -1) == 0], 1)
    rules, before = rules_of(NARROW, pairs), pairs.clone()
    place = WindowState(torch.tensor([6.0, 0.5]), *[torch.zeros(2, dtype=torch.int64)] * 2)
    inside = readable(pairs, place, rules)
    assert inside[0, 0].nonzero()[:, 0].tolist() == [5, 6, 7, 8, 9]
    assert inside[1, 0].nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert torch.equal(inside[:, 1], pairs[:, 1])
    arrived = has_arrived(place._replace(at=torch.tensor([11.0, 10.9])), rules)
    assert arrived.tolist() == [True, False]
    assert torch.equal(before, pairs), "the memory is only read"


def test_following_is_pure_and_keeps_its_shapes() -> None:
    place = WindowState(torch.tensor([2.0, 0.0]), torch.tensor([3, 0]), torch.tensor([0, 0]))
    before = [leaf.clone() for leaf in place]
    attention = torch.nn.functional.one_hot(torch.tensor([9, 0]), LENGTH).float()
    after = follow(place, attention, rules_of(NARROW, texts(LENGTH, LENGTH).text.mask))
    assert after.at.tolist() == [3.0, 0.0]
    assert after.waited.tolist() == [0, 1]
    assert all(torch.equal(was, leaf) for was, leaf in zip(before, place, strict=True))
    assert [(leaf.dtype, leaf.shape) for leaf in after] == [(leaf.dtype, leaf.shape) for leaf in place]


@pytest.mark.parametrize("attention", ["position", "plain"])
@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
def test_a_window_that_hides_nothing_changes_nothing(attention: str, sampling: Sampling) -> None:
    lm = push_stop(toy_lm(attention=attention), 0.02)
    conditions, prompt = toy_conditions(lm, *TEXTS), random_codes(4, 3)
    for start in (None, prompt):
        without = decode(lm, conditions, sampling, seed=2, prompt=start)
        within = decode(lm, conditions, sampling, seed=2, window=WIDE, prompt=start)
        assert_same(without, within)


@pytest.mark.parametrize("attention", ["position", "plain"])
def test_a_real_model_reads_only_in_its_window(attention: str) -> None:
    lm = push_stop(toy_lm(attention=attention), -3.0)
    conditions = toy_conditions(lm, TEXTS[0])
    (free,) = decode(lm, conditions, max_frames=6)
    (held,) = decode(lm, conditions, max_frames=6, window=Window(ahead=1, back=0, pace=0.5))
    assert (free.attention > 0).all()
    for step, weights in enumerate(held.attention):
        seen = weights.nonzero()[:, 0]
        assert int(seen.max() - seen.min()) <= 1
        assert int(seen.max()) <= 1 + step // 2
    assert int(held.attention[-1].argmax()) > 0


def test_guided_speech_in_a_window() -> None:
    lm = push_stop(toy_lm(drops_text=True), 0.02)
    guided = Guided(lm, 2.0)
    conditions = guided.conditions(torch.tensor([TEXTS[0]]), torch.ones(1, 7, dtype=torch.bool))
    free, wide, held = (
        decode(guided, conditions, max_frames=6, **inputs)  # type: ignore[arg-type]
        for inputs in ({}, {"window": WIDE}, {"window": Window(ahead=1, back=0, pace=0.5)})
    )
    assert_same(free, wide)
    assert all(len(weights.nonzero()) <= 2 for weights in held[0].attention)
    assert torch.isfinite(held[0].attention).all()


def assert_same(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.codes, b.codes)
        assert a.stopped == b.stopped
        assert isinstance(a.attention, Tensor)
        assert torch.equal(a.attention, b.attention)
