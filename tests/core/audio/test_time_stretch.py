"""Time stretching: duration, pitch, equality over splits."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.audio.time_stretch import TimeStretch

RATE = 8000


def tone(hertz: float, seconds: float) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * math.pi * hertz * time)[None]


@pytest.mark.parametrize("rate", [0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5])
def test_the_duration_changes_and_the_pitch_stays(rate: float) -> None:
    audio = tone(220.0, 2.0)
    output = TimeStretch(rate, RATE, 1).parallel_forward(audio)
    assert output.shape == (1, round(2.0 * RATE / rate))
    middle = output[0, 800:-800]
    spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle))).abs()
    assert float(spectrum.argmax()) * RATE / len(middle) == pytest.approx(220.0, abs=4.0)
    assert float(middle.square().mean().sqrt()) == pytest.approx(0.5**0.5, rel=0.1), (
        "no window cancels another"
    )


def test_rate_one_gives_the_same_samples() -> None:
    audio = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(TimeStretch(1.0, RATE, 2).parallel_forward(audio), audio, atol=1e-5, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    rate=st.floats(0.25, 2.5),
    channels=st.integers(1, 2),
)
def test_pieces_give_the_whole(length: int, cuts: list[int], rate: float, channels: int) -> None:
    audio = torch.randn(channels, length, generator=torch.Generator().manual_seed(length))
    stretch = TimeStretch(rate, RATE, channels)
    whole = stretch.parallel_forward(audio)
    bounds = [0, *sorted(min(cut, length) for cut in cuts), length]
    state, found = stretch.initial_state(), []
    for start, end in itertools.pairwise(bounds):
        before = state.input.clone()
        output, after = stretch.step(audio[:, start:end], state)
        assert torch.equal(before, state.input)
        found.append(output)
        state = after
    assert torch.equal(torch.cat([*found, stretch.flush(state)], 1), whole)
    assert whole.shape == (channels, round(length / rate))
    assert torch.isfinite(whole).all()


def test_the_state_does_not_grow() -> None:
    stretch = TimeStretch(1.3, RATE, 1)
    state = stretch.initial_state()
    for piece in tone(150.0, 20.0).split(320, dim=1):
        _, state = stretch.step(piece, state)
        assert state.input.shape[1] <= 320 + 2 * (2 * stretch.hop + 2 * stretch.search)


@pytest.mark.parametrize("rate", [0.0, -1.0, 2.6, math.nan])
def test_other_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"is not in 0\.25 \.\. 2\.5"):
        TimeStretch(rate, RATE, 1)
