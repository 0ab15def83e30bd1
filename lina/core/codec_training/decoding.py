"""Recordings to int16 samples at one rate, by several processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lina.core.audio import AudioError, read_audio

FULL_SCALE = 32767
CHUNK = 16
"""Recordings that a process takes at a time."""
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
) -> Iterator[Decoded | str]:
    """Each recording as one channel at ``sample_rate`` Hz, or the reason why not, in order.

    Raises:
        PluginError: a package that a kind of file needs is not installed.
    """
    settings = (sample_rate, min_seconds, max_seconds)
    if workers == 1 or len(paths) < WORTH_PROCESSES:
        for path in paths:
            yield decode_one(path, *settings)
        return
    # Fork would copy locks that PyTorch's threads may hold.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        chunks = [[str(path) for path in paths[at : at + CHUNK]] for at in range(0, len(paths), CHUNK)]
        for waiting in [executor.submit(_decode_chunk, chunk, *settings) for chunk in chunks]:
            yield from waiting.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


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


def _decode_chunk(
    paths: Sequence[str], sample_rate: int, min_seconds: float, max_seconds: float
) -> list[Decoded | str]:
    return [decode_one(Path(path), sample_rate, min_seconds, max_seconds) for path in paths]


def _sounding(audio: npt.NDArray[np.float32], sample_rate: int) -> tuple[int, int]:
    """From where to where there is sound: silence before and after it is not worth training on."""
    block, margin = max(1, int(BLOCK_SECONDS * sample_rate)), int(MARGIN_SECONDS * sample_rate)
    blocks = np.pad(audio, (0, -len(audio) % block)).reshape(-1, block)
    level = np.sqrt(np.square(blocks).mean(axis=1))
    (loud,) = np.nonzero(level > SOUND * level.max())
    return max(0, int(loud[0]) * block - margin), min(len(audio), (int(loud[-1]) + 1) * block + margin)
