"""Reading of recordings: files become float32 tensors [C, N] in [-1, 1], or are refused in one line.

Rules:

- A file shorter than its header promises is refused; a WAV header without a length (streamed) is logged, and the file
  is read to its end.
- Silence is refused: no sample further than ``SILENCE`` (-80 dB of full scale) from the mean, so a constant
  too, and channels that cancel in their mean.
- A mean of more than ``OFFSET`` (1 % of full scale) is a fault of the recording equipment and is subtracted.
- Samples up to ``PEAK`` times full scale are clipped to [-1, 1] (lossy formats overshoot); beyond it is
  refused.
- One channel is the mean of all; for two, a mono file is doubled, and more channels are mixed to one first, block by
  block.
- Decoding stops at ``max_seconds``: a small file that unpacks to hours is not loaded.
- Raw G.722 has no header: 64 kbit/s at 16 kHz is assumed, and any bytes decode to some sound.
"""

import array
import logging
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.audio.containers import check_complete, streamed_wav
from lina.core.audio.wav import WavWriter, write_wav
from lina.core.errors import DataError, PluginError

__all__ = ["AUDIO_SUFFIXES", "AudioError", "WavWriter", "audio_seconds", "read_audio", "write_wav"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".g722")
SILENCE = 1e-4
OFFSET = 0.01
PEAK = 2.0
MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 8
G722_RATE, G722_BYTES_PER_SECOND = 16_000, 8_000
BLOCK = 65_536
MAX_REPORTED = 10
"""Recordings without a length that are logged per process."""

Samples = npt.NDArray[np.float32]

log = logging.getLogger("lina")


class AudioError(DataError):
    """A recording that cannot be used; ``reason`` is the message without the path."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str | Path, str]]:
        """Make the error picklable: one that cannot be unpickled would hang a process pool."""
        return type(self), (self.path, self.reason)


def read_audio(
    path: str | Path, sample_rate: int, channels: int = 1, max_seconds: float = 60.0
) -> Float[Tensor, "C N"]:
    """Read a recording at ``sample_rate`` Hz with ``channels`` (1 or 2) channels.

    Resampled by soxr in high quality; the duration changes by less than a sample. The rules are at the top of
    this file.

    Raises:
        AudioError: the file is missing, damaged, silent, too long, or of an unsupported kind.
        PluginError: a package that this kind of file needs is not installed.
    """
    file = check_file(path)
    mixer = _Mixer(file, channels)
    if file.suffix.lower() == ".g722":
        mixer.add(_read_g722(file, max_seconds))
        rate = G722_RATE
    else:
        rate = _read_soundfile(file, sample_rate, max_seconds, mixer)
    mixed = mixer.result()
    if rate != sample_rate:
        import soxr

        mixed = soxr.resample(mixed, rate, sample_rate, quality="HQ")
    return torch.from_numpy(np.ascontiguousarray(mixed.T, dtype=np.float32)).clamp_(-1.0, 1.0)


def audio_seconds(path: str | Path) -> float:
    """Duration in seconds by a file's header, without decoding (errors as in ``read_audio``)."""
    file = check_file(path)
    if file.suffix.lower() == ".g722":
        return file.stat().st_size / G722_BYTES_PER_SECOND
    with _opened(file) as sound:
        return float(sound.frames / sound.samplerate)


def check_file(path: str | Path) -> Path:
    """Return ``path`` if it is a non-empty file with a supported suffix."""
    file = Path(path)
    try:
        status = file.stat()
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(path, f"cannot be opened: {error}") from None
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(path, "is a directory, not a recording")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is not a regular file")
    if file.suffix.lower() not in AUDIO_SUFFIXES:
        raise AudioError(
            path, f"unknown kind of file: {file.suffix!r} (read are: {', '.join(AUDIO_SUFFIXES)})"
        )
    if status.st_size == 0:
        raise AudioError(path, "is empty: 0 bytes")
    return file


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    import soundfile

    try:
        with streamed_wav(file) as source:
            if source is not None:
                _report_streamed(file)
            with soundfile.SoundFile(file if source is None else source) as sound:
                yield sound
    except soundfile.SoundFileError as error:
        raise AudioError(file, f"cannot be decoded: {' '.join(str(error).split())}") from None
    except UnicodeEncodeError:
        raise AudioError(file, "cannot be opened: its name is no text; rename it") from None
    except OSError as error:
        raise AudioError(file, f"cannot be opened: {error.strerror}") from None


_streamed: set[Path] = set()


def _report_streamed(file: Path) -> None:
    if file not in _streamed and len(_streamed) < MAX_REPORTED:
        _streamed.add(file)
        more = "; further ones are not logged" if len(_streamed) == MAX_REPORTED else ""
        log.warning(
            "%s: its header gives no length (streamed); it is read to the end of the file%s", file, more
        )


def _read_soundfile(file: Path, sample_rate: int, max_seconds: float, mixer: "_Mixer") -> int:
    """Decode into ``mixer``; return the sample rate."""
    with _opened(file) as sound:
        rate = int(sound.samplerate)
        lowest = min(MIN_RATE, sample_rate)
        if not lowest <= rate <= MAX_RATE:
            raise AudioError(
                file, f"sample rate out of range: {rate} Hz (from {lowest} to {MAX_RATE} is read)"
            )
        if sound.channels > MAX_CHANNELS:
            raise AudioError(file, f"too many channels: {sound.channels} (at most {MAX_CHANNELS} are mixed)")
        limit = max_seconds * rate
        frames = 0
        while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
            frames += len(block)
            if frames > limit:
                raise AudioError(file, f"too long: more than {max_seconds:g} s")
            mixer.add(block)
        if not frames:
            raise AudioError(file, "holds no audio: 0 frames")
        complaint = check_complete(file, sound.format, promised=sound.frames, decoded=frames)
    if complaint:
        raise AudioError(file, f"truncated: {complaint}")
    return rate


def _read_g722(file: Path, max_seconds: float) -> Samples:
    seconds = file.stat().st_size / G722_BYTES_PER_SECOND
    if seconds > max_seconds:
        raise AudioError(file, f"too long: more than {max_seconds:g} s")
    try:
        from G722 import G722
    except ImportError:
        raise PluginError(f"{file}: reading G.722 needs a package; pip install 'lina[asterisk]'") from None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise AudioError(file, f"cannot be opened: {error.strerror}") from None
    decoded = G722(G722_RATE, 64_000).decode(content)
    pcm = np.frombuffer(decoded, np.int16) if isinstance(decoded, array.array) else np.asarray(decoded)
    samples: Samples = pcm.astype(np.float32)[:, None] / 32_768.0
    return samples


class _Mixer:
    """Mixes a recording to ``channels`` block by block, and keeps what decides whether it can be used."""

    def __init__(self, file: Path, channels: int) -> None:
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {channels}")
        self.file, self.channels = file, channels
        self.blocks: list[Samples] = []
        self.sum: npt.NDArray[np.float64] | float = 0.0
        self.low: Samples | float = math.inf
        self.high: Samples | float = -math.inf

    def add(self, block: Samples) -> None:
        """Add samples [frames, channels of the file]."""
        if len(block):
            self.sum = self.sum + block.sum(axis=0, dtype=np.float64)
            self.low = np.minimum(self.low, block.min(axis=0))
            self.high = np.maximum(self.high, block.max(axis=0))
        self.blocks.append(self._mix(block))

    def result(self) -> Samples:
        """The mixed samples [frames, channels], without a constant offset.

        Raises:
            AudioError: they cannot be used.
        """
        low, high = float(np.min(self.low)), float(np.max(self.high))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise AudioError(self.file, "holds samples that are not numbers: NaN or infinity")
        peak = max(-low, high)
        if peak > PEAK:
            raise AudioError(
                self.file, f"too loud: a sample is {peak:g} times full scale; scale it to [-1, 1]"
            )
        mixed = np.concatenate(self.blocks)
        means = self.sum / len(mixed)
        if float(np.max(np.maximum(self.high - means, means - self.low))) < SILENCE:
            raise AudioError(self.file, "is silent: no sample leaves the mean by 0.0001 of full scale")
        offset = mixed.mean(axis=0, dtype=np.float64)
        if float(np.abs(mixed - offset).max()) < SILENCE:
            raise AudioError(self.file, "is silent as one channel: its channels cancel each other")
        if float(np.abs(offset).max()) > OFFSET:
            mixed = (mixed - offset).astype(np.float32)
        return mixed

    def _mix(self, block: Samples) -> Samples:
        if block.shape[1] == self.channels:
            return block
        mono: Samples = block.mean(axis=1, keepdims=True)
        return np.repeat(mono, self.channels, axis=1)
