"""From decoded frames to the output: fades, speaking rates, and silence where segments ask for it.

For tensors and, in a voice of graphs, for arrays. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lina.core.audio.time_stretch import TimeStretch

if TYPE_CHECKING:
    from lina.speech.segments import Segment

T = TypeVar("T")

FADE_SECONDS = 0.02
"""Duration in which speech that is cut becomes silent."""


class Sound(Protocol):
    """The facts of a codec's audio."""

    sample_rate: int
    hop: int
    channels: int


class AudioChunk(NamedTuple):
    """Audio of at most one frame of the codec; of exactly one unless it is silence or a rate changes its length."""

    audio: Any
    """Float32 [C, n]: a tensor, or an array in a voice of graphs."""
    sentence: int
    """Index of its sentence."""


class FrameTag(NamedTuple):
    """The segment of a frame."""

    segment: Segment
    fades: bool = False
    """It is the last frame of speech that was cut."""


class Ending(Protocol):
    """A result or stream that knows, after its last frame, if the model has ended it."""

    @property
    def stopped(self) -> bool: ...


def tag_frames(frames: Iterable[T], segment: Segment, ending: Ending) -> Iterator[tuple[T, FrameTag]]:
    """Tag the frames of a segment. Each waits for the next one, since the last one fades if the speech is cut."""
    latest: list[T] = []
    for frame in frames:
        yield from ((one, FrameTag(segment)) for one in latest)
        latest = [frame]
    yield from ((one, FrameTag(segment, not ending.stopped)) for one in latest)


def shape_frames(
    sound: Sound,
    frames: Iterable[tuple[Any, FrameTag]],
    total: Callable[[], float],
    convert: Callable[[npt.NDArray[np.float32]], Any],
) -> Iterator[AudioChunk]:
    """From decoded frames [C, hop] to the output.

    ``total``: seconds of silence in all, called after the last frame. ``convert``: from an array to what frames are.
    """
    faded = _with_fades(sound, frames, convert)
    return _with_silence(sound, _with_rate(sound, faded, convert), total, convert)


def _with_fades(
    sound: Sound, frames: Iterable[tuple[Any, FrameTag]], convert: Callable[[npt.NDArray[np.float32]], Any]
) -> Iterator[tuple[Any, Segment]]:
    samples = min(sound.hop, round(FADE_SECONDS * sound.sample_rate))
    falling = np.arange(samples, 0, -1, dtype=np.float32) / np.float32(max(1, samples))
    fade = convert(np.concatenate([np.ones(sound.hop - samples, np.float32), falling]))
    for audio, tag in frames:
        yield audio * fade if tag.fades else audio, tag.segment


def _with_rate(
    sound: Sound, frames: Iterable[tuple[Any, Segment]], convert: Callable[[npt.NDArray[np.float32]], Any]
) -> Iterator[tuple[Any, Segment]]:
    """Stretch segments of one rate in time as one, up to a pause."""
    for (rate, _), run in groupby(frames, lambda frame: (frame[1].rate, frame[1].seconds)):
        if rate == 1:
            yield from run
            continue
        stretch = TimeStretch(rate, sound.sample_rate, sound.channels)
        state, segment = stretch.initial_state(), None
        for frame, segment in run:
            audio, state = stretch.step(np.asarray(frame), state)
            yield convert(audio), segment
        assert segment is not None
        yield convert(stretch.flush(state)), segment


def _with_silence(
    sound: Sound,
    pieces: Iterable[tuple[Any, Segment]],
    total: Callable[[], float],
    convert: Callable[[npt.NDArray[np.float32]], Any],
) -> Iterator[AudioChunk]:
    samples, number = 0, 0

    def pause(seconds: float) -> Iterator[AudioChunk]:
        nonlocal samples
        missing = round(seconds * sound.sample_rate) - samples
        samples += missing
        for start in range(0, missing, sound.hop):
            silence = np.zeros((sound.channels, min(sound.hop, missing - start)), np.float32)
            yield AudioChunk(convert(silence), number)

    for audio, segment in pieces:
        number = segment.sentence
        yield from pause(segment.seconds)
        for start in range(0, audio.shape[1], sound.hop):
            yield AudioChunk(audio[:, start : start + sound.hop], number)
    yield from pause(total())
