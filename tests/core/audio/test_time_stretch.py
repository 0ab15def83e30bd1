"""Time stretching: duration, pitch, equality over splits."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.audio.time_stretch import TimeStretch, _most_alike

RATE = 8000


def tone(hertz: float, seconds: float) -> npt.NDArray[np.float32]:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * hertz * time, dtype=np.float32)[None]


def noise(channels: int, length: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(length).standard_normal((channels, length), np.float32)


@pytest.mark.parametrize("rate", [0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5])
def test_the_duration_changes_and_the_pitch_stays(rate: float) -> None:
    audio = tone(220.0, 2.0)
    output = TimeStretch(rate, RATE, 1).parallel_forward(audio)
    assert output.shape == (1, round(2.0 * RATE / rate))
    middle = output[0, 800:-800]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert float(spectrum.argmax()) * RATE / len(middle) == pytest.approx(220.0, abs=4.0)
    assert float(np.sqrt(np.square(middle).mean())) == pytest.approx(0.5**0.5, rel=0.1), (
        "no window cancels another"
    )


def test_rate_one_gives_the_same_samples() -> None:
    audio = noise(2, 5000)
    np.testing.assert_allclose(TimeStretch(1.0, RATE, 2).parallel_forward(audio), audio, atol=1e-5, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    rate=st.floats(0.25, 2.5),
    channels=st.integers(1, 2),
)
def test_pieces_give_the_whole(length: int, cuts: list[int], rate: float, channels: int) -> None:
    audio = noise(channels, length)
    stretch = TimeStretch(rate, RATE, channels)
    whole = stretch.parallel_forward(audio)
    bounds = [0, *sorted(min(cut, length) for cut in cuts), length]
    state, found = stretch.initial_state(), []
    for start, end in itertools.pairwise(bounds):
        before = state.input.copy()
        output, after = stretch.step(audio[:, start:end], state)
        assert np.array_equal(before, state.input)
        found.append(output)
        state = after
    assert np.array_equal(np.concatenate([*found, stretch.flush(state)], 1), whole)
    assert whole.shape == (channels, round(length / rate))
    assert np.isfinite(whole).all()


def test_the_state_does_not_grow() -> None:
    stretch = TimeStretch(1.3, RATE, 1)
    state = stretch.initial_state()
    for piece in np.split(tone(150.0, 20.0), range(320, 20 * RATE, 320), axis=1):
        _, state = stretch.step(piece, state)
        assert state.input.shape[1] <= 320 + 2 * (2 * stretch.hop + 2 * stretch.search)


@pytest.mark.parametrize("rate", [0.0, -1.0, 2.6, math.nan])
def test_other_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"is not in 0\.25 \.\. 2\.5"):
        TimeStretch(rate, RATE, 1)


def test_the_nearest_continuation_is_found() -> None:
    """Against each sum written out, on a loud sound before a faint one."""
    candidates, reference = noise(2, 300) * np.geomspace(1e4, 1e-2, 300, dtype=np.float32), noise(2, 120)
    own, other = candidates.astype(float), reference.astype(float)
    likeness = [
        (own[:, at : at + 120] * other).sum() / np.sqrt((own[:, at : at + 120] ** 2).sum() + 1e-9)
        for at in range(181)
    ]
    assert _most_alike(candidates, reference) == int(np.argmax(likeness))
