"""Decoding of recordings to int16 samples at one rate, in parallel."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lina.core.audio.read import AudioError, read_audio
from lina.core.process.workers import work

FULL_SCALE = 32767
MIN_PARALLEL = 200
"""Number of recordings below which starting worker processes takes longer than decoding."""
SOUND_LEVEL = 1e-2
"""RMS above which a block counts as sound, relative to the loudest block (-40 dB)."""
BLOCK_SECONDS, MARGIN_SECONDS = 0.02, 0.15

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class DecodedRecording:
    """A recording as mono int16 samples."""

    samples: Samples
    begin: int
    """Sample at which sound begins, less ``MARGIN_SECONDS``."""
    end: int
    """Sample at which sound ends, plus ``MARGIN_SECONDS``."""
    peak: float
    """Largest absolute sample; 1 is full scale."""


def decode_recordings(
    paths: Sequence[Path], sample_rate: int, min_seconds: float, max_seconds: float, workers: int
) -> Generator[DecodedRecording | str]:
    """Yield each recording as mono at ``sample_rate`` Hz, or the reason for its rejection, in order.

    Raises:
        PluginError: a package that a file format needs is not installed.
        LinaError: a worker process was killed or crashed; names the recordings in work.
    """
    processes = workers if len(paths) >= MIN_PARALLEL else 1
    return work(paths, _decode, partial(_Limits, sample_rate, min_seconds, max_seconds), processes)


def decode_recording(
    path: Path, sample_rate: int, min_seconds: float, max_seconds: float
) -> DecodedRecording | str:
    """Decode one recording, or return the reason for its rejection."""
    try:
        audio = read_audio(path, sample_rate, channels=1, max_seconds=max_seconds)[0].numpy()
    except AudioError as error:
        return error.reason
    if len(audio) < min_seconds * sample_rate:
        return f"too short: less than {min_seconds:g} s"
    begin, end = _sound_bounds(audio, sample_rate)
    samples = np.round(audio * FULL_SCALE).astype(np.int16)
    return DecodedRecording(samples, begin, end, float(np.abs(audio).max()))


class _Limits(NamedTuple):
    sample_rate: int
    """Hz."""
    min_seconds: float
    max_seconds: float


def _decode(limits: _Limits, path: Path) -> DecodedRecording | str:
    return decode_recording(path, *limits)


def _sound_bounds(audio: npt.NDArray[np.float32], sample_rate: int) -> tuple[int, int]:
    """First and last sample of sound with a margin; leading and trailing silence is not used for training."""
    block, margin = max(1, int(BLOCK_SECONDS * sample_rate)), int(MARGIN_SECONDS * sample_rate)
    blocks = np.pad(audio, (0, -len(audio) % block)).reshape(-1, block)
    level = np.sqrt(np.square(blocks).mean(axis=1))
    (loud,) = np.nonzero(level > SOUND_LEVEL * level.max())
    return max(0, int(loud[0]) * block - margin), min(len(audio), (int(loud[-1]) + 1) * block + margin)
