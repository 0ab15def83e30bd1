"""Synthetic attention: a clean diagonal costs least, and each kind of error is recognized."""

import pytest
import torch
from torch import Tensor

from lina.speech.alignment import alignment, monotonic_focus

POSITIONS = 40


def attention(path: list[float] | Tensor, blur: float = 0.7, positions: int = POSITIONS) -> Tensor:
    """Attention of frames around the positions of a path."""
    indices = torch.arange(positions)
    return (-((indices - torch.as_tensor(path)[:, None]) ** 2) / (2 * blur**2)).softmax(-1)


def span(start: float, end: float, frames_per_position: float = 3.0) -> list[float]:
    return torch.linspace(start, end, max(2, round(abs(end - start) * frames_per_position))).tolist()


CLEAN = span(0, 39)
SKIP = span(0, 15) + span(22, 39)
REPEAT = span(0, 20) + span(12, 39)
EARLY = span(0, 25)


@pytest.mark.parametrize("blur", [0.1, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("pace", [1.3, 3.0, 8.0])
def test_a_clean_diagonal_is_best_at_any_pace_and_blur(blur: float, pace: float) -> None:
    clean = alignment(attention(span(0, 39, pace), blur), stopped=True)
    assert clean.alignment_cost <= 0.03
    assert clean.repeated == 0
    for path in (SKIP, REPEAT, EARLY):
        assert (
            alignment(attention(path, min(blur, 1.5)), stopped=True).alignment_cost
            > clean.alignment_cost + 0.02
        )
    assert alignment(attention(CLEAN, blur), stopped=False).alignment_cost >= 1


def test_a_skip_is_counted_in_positions() -> None:
    errors = alignment(attention(SKIP, blur=0.3), stopped=True)
    assert errors.skipped == 6 / POSITIONS, "16 to 21"
    assert (errors.repeated, errors.unread) == (0, 0)


def test_a_repeat_is_measured_by_its_backward_moves() -> None:
    errors = alignment(attention(REPEAT), stopped=True)
    assert errors.repeated == pytest.approx(8 / POSITIONS, abs=0.01)
    assert (errors.skipped, errors.unread) == (0, 0)
    slowly = span(0, 20) + span(20, 12) + span(12, 39)
    assert alignment(attention(slowly), stopped=True).repeated == pytest.approx(8 / POSITIONS, abs=0.01)
    twice = span(0, 39) + span(0, 39)
    assert alignment(attention(twice), stopped=True).repeated == pytest.approx(39 / POSITIONS, abs=0.02)
    at_the_end = span(0, 39) + span(39, 30)
    assert alignment(attention(at_the_end), stopped=True).repeated == pytest.approx(9 / POSITIONS, abs=0.02)


def test_small_backward_moves_are_no_repeat() -> None:
    path = torch.tensor(span(0, 39, 6.0))
    path = (path + 0.3 * torch.sin(torch.arange(len(path)) * 2.0)).clamp(0, 39)
    assert alignment(attention(path), stopped=True).repeated == 0


def test_an_early_stop_leaves_positions_unread() -> None:
    errors = alignment(attention(EARLY), stopped=True)
    assert errors.unread == pytest.approx((39 - 25 - 2) / POSITIONS, abs=0.01)
    assert (errors.skipped, errors.repeated) == (0, 0)


def test_constant_attention_is_no_diagonal() -> None:
    diffuse = torch.full((200, POSITIONS), 1 / POSITIONS)
    assert alignment(diffuse, stopped=True).alignment_cost > 0.4
    assert alignment(attention([0.0] * 100), stopped=True).alignment_cost > 0.9


def test_positions_of_the_prompt_are_not_counted() -> None:
    rest = attention(span(20, 39), blur=0.3)
    errors = alignment(rest, stopped=True, start=20)
    assert errors.alignment_cost == 0
    assert alignment(rest, stopped=True).skipped > 0.4
    again = alignment(attention(span(20, 25) + span(5, 39), blur=0.3), stopped=True, start=20)
    assert again.repeated == pytest.approx(1.0, abs=0.02), "20 positions back, of 20 after the prompt"
    nothing = alignment(attention(span(5, 19), blur=0.3), stopped=True, start=20)
    assert 0.85 <= nothing.unread <= 1
    assert nothing.skipped == 0


@pytest.mark.parametrize(("frames", "start"), [(0, 0), (5, 40), (5, -1)])
def test_no_frames_or_positions_are_refused(frames: int, start: int) -> None:
    with pytest.raises(ValueError, match="over 40 positions"):
        alignment(torch.ones(frames, POSITIONS), stopped=True, start=start)


def test_a_text_of_one_position() -> None:
    assert alignment(torch.ones(4, 1), stopped=True).alignment_cost == 0


@pytest.mark.parametrize("path", [CLEAN, SKIP, REPEAT, EARLY, span(0, 39) + span(0, 39)])
@pytest.mark.parametrize("blur", [0.1, 0.7, 3.0])
def test_faulty_speech_has_monotonic_focus_too(path: list[float], blur: float) -> None:
    assert monotonic_focus(attention(path, blur)) > 0.4


def test_unfocused_or_constant_attention() -> None:
    noise = torch.randn(200, POSITIONS, generator=torch.Generator().manual_seed(0))
    everywhere, anywhere = noise.mul(0.5).softmax(-1), noise.mul(9).softmax(-1)
    drifting = (torch.linspace(0, 0.02, 200)[:, None] * torch.arange(POSITIONS)).softmax(-1)
    for read in (everywhere, anywhere, drifting, attention([5.0] * 100), attention(span(39, 0))):
        assert monotonic_focus(read) < 0.25


@pytest.mark.parametrize(("frames", "positions", "expected"), [(1, 5, 0.0), (4, 1, 1.0)])
def test_focus_of_one_frame_or_one_position(frames: int, positions: int, expected: float) -> None:
    assert monotonic_focus(torch.full((frames, positions), 1 / positions)) == expected
