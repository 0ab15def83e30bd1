"""Recordings to int16 samples at one rate, by several processes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lina.core.audio.read import AudioError, read_audio
from lina.core.workers import work

FULL_SCALE = 32767
WORTH_PROCESSES = 200
"""Below so many recordings, starting processes takes longer than decoding."""
SOUND = 1e-2
"""A block is sound if its level is above this part of the loudest block's (-40 dB)."""
BLOCK_SECONDS, MARGIN_SECONDS = 0.02, 0.15

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Decoded:
    samples: Samples
    begin: int
    """Where sound begins, ``MARGIN_SECONDS`` early."""
    end: int
    peak: float
    """Largest sample; 1 is full scale."""


def decode_all(
    paths: Sequence[Path], sample_rate: int, min_seconds: float, max_seconds: float, workers: int
) -> Generator[Decoded | str]:
    """Each recording as one channel at ``sample_rate`` Hz, or the reason why not, in order.

    Raises:
        PluginError: a package that a kind of file needs is not installed.
        LinaError: a worker process was killed or crashed; names the recordings in work.
    """
    processes = workers if len(paths) >= WORTH_PROCESSES else 1
    return work(paths, _decode, partial(_Limits, sample_rate, min_seconds, max_seconds), processes)


def decode_one(path: Path, sample_rate: int, min_seconds: float, max_seconds: float) -> Decoded | str:
    """One recording, or the reason why it cannot be used."""
    try:
        audio = read_audio(path, sample_rate, channels=1, max_seconds=max_seconds)[0].numpy()
    except AudioError as error:
        return error.reason
    if len(audio) < min_seconds * sample_rate:
        return f"too short: less than {min_seconds:g} s"
    begin, end = _sounding(audio, sample_rate)
    samples = np.round(audio * FULL_SCALE).astype(np.int16)
    return Decoded(samples, begin, end, float(np.abs(audio).max()))


class _Limits(NamedTuple):
    sample_rate: int
    """Hz."""
    min_seconds: float
    max_seconds: float


def _decode(limits: _Limits, path: Path) -> Decoded | str:
    return decode_one(path, *limits)


def _sounding(audio: npt.NDArray[np.float32], sample_rate: int) -> tuple[int, int]:
    """From where to where there is sound: silence before and after it is not worth training on."""
    block, margin = max(1, int(BLOCK_SECONDS * sample_rate)), int(MARGIN_SECONDS * sample_rate)
    blocks = np.pad(audio, (0, -len(audio) % block)).reshape(-1, block)
    level = np.sqrt(np.square(blocks).mean(axis=1))
    (loud,) = np.nonzero(level > SOUND * level.max())
    return max(0, int(loud[0]) * block - margin), min(len(audio), (int(loud[-1]) + 1) * block + margin)
