"""Made-up attention: a clean diagonal is best, and each way to go wrong is seen for what it is."""

import pytest
import torch
from torch import Tensor

from lina.speech.alignment import alignment, following

POSITIONS = 40


def attention(path: list[float] | Tensor, blur: float = 0.7, positions: int = POSITIONS) -> Tensor:
    """Each frame reads around a position."""
    places = torch.arange(positions)
    return (-((places - torch.as_tensor(path)[:, None]) ** 2) / (2 * blur**2)).softmax(-1)


def span(start: float, end: float, frames_a_position: float = 3.0) -> list[float]:
    return torch.linspace(start, end, max(2, round(abs(end - start) * frames_a_position))).tolist()


CLEAN = span(0, 39)
SKIP = span(0, 15) + span(22, 39)
REPEAT = span(0, 20) + span(12, 39)
EARLY = span(0, 25)


@pytest.mark.parametrize("blur", [0.1, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("pace", [1.3, 3.0, 8.0])
def test_a_clean_diagonal_is_best_at_any_pace_and_blur(blur: float, pace: float) -> None:
    clean = alignment(attention(span(0, 39, pace), blur), stopped=True)
    assert clean.badness <= 0.03
    assert clean.repeated == 0
    for path in (SKIP, REPEAT, EARLY):
        assert alignment(attention(path, min(blur, 1.5)), stopped=True).badness > clean.badness + 0.02
    assert alignment(attention(CLEAN, blur), stopped=False).badness >= 1


def test_a_skip_is_counted_in_positions() -> None:
    judged = alignment(attention(SKIP, blur=0.3), stopped=True)
    assert judged.skipped == 6 / POSITIONS, "16 to 21"
    assert (judged.repeated, judged.unread) == (0, 0)


def test_a_repeat_is_how_far_the_reading_went_back() -> None:
    judged = alignment(attention(REPEAT), stopped=True)
    assert judged.repeated == pytest.approx(8 / POSITIONS, abs=0.01)
    assert (judged.skipped, judged.unread) == (0, 0)
    slowly = span(0, 20) + span(20, 12) + span(12, 39)
    assert alignment(attention(slowly), stopped=True).repeated == pytest.approx(8 / POSITIONS, abs=0.01)
    twice = span(0, 39) + span(0, 39)
    assert alignment(attention(twice), stopped=True).repeated == pytest.approx(39 / POSITIONS, abs=0.02)
    at_the_end = span(0, 39) + span(39, 30)
    assert alignment(attention(at_the_end), stopped=True).repeated == pytest.approx(9 / POSITIONS, abs=0.02)


def test_wavering_is_no_repeat() -> None:
    path = torch.tensor(span(0, 39, 6.0))
    path = (path + 0.3 * torch.sin(torch.arange(len(path)) * 2.0)).clamp(0, 39)
    assert alignment(attention(path), stopped=True).repeated == 0


def test_an_early_stop_is_what_was_not_reached() -> None:
    judged = alignment(attention(EARLY), stopped=True)
    assert judged.unread == pytest.approx((39 - 25 - 2) / POSITIONS, abs=0.01)
    assert (judged.skipped, judged.repeated) == (0, 0)


def test_attention_that_never_moves_is_no_diagonal() -> None:
    diffuse = torch.full((200, POSITIONS), 1 / POSITIONS)
    assert alignment(diffuse, stopped=True).badness > 0.4
    assert alignment(attention([0.0] * 100), stopped=True).badness > 0.9


def test_what_a_prompt_has_said_is_not_to_be_said() -> None:
    rest = attention(span(20, 39), blur=0.3)
    judged = alignment(rest, stopped=True, start=20)
    assert judged.badness == 0
    assert alignment(rest, stopped=True).skipped > 0.4
    again = alignment(attention(span(20, 25) + span(5, 39), blur=0.3), stopped=True, start=20)
    assert again.repeated == pytest.approx(1.0, abs=0.02), "20 positions back, of 20 to say"
    nothing = alignment(attention(span(5, 19), blur=0.3), stopped=True, start=20)
    assert 0.85 <= nothing.unread <= 1
    assert nothing.skipped == 0


@pytest.mark.parametrize(("frames", "start"), [(0, 0), (5, 40), (5, -1)])
def test_nothing_to_judge(frames: int, start: int) -> None:
    with pytest.raises(ValueError, match="over 40 positions"):
        alignment(torch.ones(frames, POSITIONS), stopped=True, start=start)


def test_a_text_of_one_position() -> None:
    assert alignment(torch.ones(4, 1), stopped=True).badness == 0


@pytest.mark.parametrize("path", [CLEAN, SKIP, REPEAT, EARLY, span(0, 39) + span(0, 39)])
@pytest.mark.parametrize("blur", [0.1, 0.7, 3.0])
def test_bad_reading_follows_the_text_too(path: list[float], blur: float) -> None:
    assert following(attention(path, blur)) > 0.4


def test_what_does_not_follow_the_text() -> None:
    noise = torch.randn(200, POSITIONS, generator=torch.Generator().manual_seed(0))
    everywhere, anywhere = noise.mul(0.5).softmax(-1), noise.mul(9).softmax(-1)
    drifting = (torch.linspace(0, 0.02, 200)[:, None] * torch.arange(POSITIONS)).softmax(-1)
    for read in (everywhere, anywhere, drifting, attention([5.0] * 100), attention(span(39, 0))):
        assert following(read) < 0.25


@pytest.mark.parametrize(("frames", "positions", "expected"), [(1, 5, 0.0), (4, 1, 1.0)])
def test_where_nothing_can_move(frames: int, positions: int, expected: float) -> None:
    assert following(torch.full((frames, positions), 1 / positions)) == expected
