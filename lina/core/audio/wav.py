"""Writing of 16-bit WAV files, at once or in chunks, atomically."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # a voice of graphs writes arrays, without torch
    from torch import Tensor

from lina.core.errors import DataError
from lina.core.files.atomic import commit, temporary_name

HEADER_BYTES = 44
LARGEST_DATA = 0xFFFFFFFF - HEADER_BYTES


class WavWriter:
    """Writer of a WAV file in chunks.

    Chunks go to a hidden file beside ``path`` whose header is valid after every ``write``, so it can be played
    meanwhile; ``close`` renames it to ``path``. If the ``with`` block or the disk fails, the hidden file is deleted and
    an older ``path`` is unchanged.

        with WavWriter("out.wav", 24_000) as wav:
            for chunk in chunks:  # float [C, N] or [N]
                wav.write(chunk)

    Raises:
        DataError: ``path`` exists and is no regular file, the folder cannot be written or the disk is full, a chunk has
            the wrong shape or holds NaN, or the file exceeds 4 GiB.
    """

    def __init__(self, path: str | Path, sample_rate: int, channels: int = 1) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self._data_bytes = 0
        with self._one_line():
            _refuse_special_files(self.path)
            self.partial = temporary_name(self.path)
            self._file: FileIO = self.partial.open("wb", buffering=0)
        with self._clean_failure():
            self._write_header()

    @property
    def seconds(self) -> float:
        """Duration of the audio written, in seconds."""
        return self._data_bytes / (2 * self.channels * self.sample_rate)

    def write(self, audio: Tensor | npt.NDArray[Any]) -> None:
        """Append ``audio`` [C, N] (or [N]) in [-1, 1]; values outside are clipped."""
        chunk = _array(audio)
        chunk = chunk[None] if chunk.ndim == 1 else chunk
        if chunk.ndim != 2 or chunk.shape[0] != self.channels:
            raise DataError(
                f"{self.path}: expected audio [{self.channels}, samples], got {list(audio.shape)}; "
                "pass the number of channels to WavWriter"
            )
        if not bool(np.isfinite(chunk).all()):
            raise DataError(f"{self.path}: the audio to write holds NaN or infinity")
        pcm = pcm16(chunk)
        if self._data_bytes + len(pcm) > LARGEST_DATA:
            raise DataError(f"{self.path}: a WAV file holds at most 4 GiB; write several files")
        with self._clean_failure():
            self._write(pcm)
            self._data_bytes += len(pcm)
            self._write_header()

    def close(self) -> None:
        """Finish the file and rename it; closing twice has no effect."""
        if self._file.closed:
            return
        with self._clean_failure():
            self._file.close()
            commit(self.partial, self.path)

    def abort(self) -> None:
        """Delete the hidden file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _clean_failure(self) -> Iterator[None]:
        """Delete the hidden file if the context fails or is interrupted."""
        try:
            with self._one_line():
                yield
        except BaseException:
            self.abort()
            raise

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _write(self, content: bytes) -> None:
        """Write all of ``content``: the file is unbuffered, so that nothing is left to write when it is closed."""
        while content:
            content = content[self._file.write(content) :]

    def _write_header(self) -> None:
        frame_bytes = 2 * self.channels
        self._file.seek(0)
        self._write(
            struct.pack(
                "<4sI4s4sIHHIIHH4sI",
                b"RIFF",
                HEADER_BYTES - 8 + self._data_bytes,
                b"WAVE",
                b"fmt ",
                16,
                1,
                self.channels,
                self.sample_rate,
                self.sample_rate * frame_bytes,
                frame_bytes,
                16,
                b"data",
                self._data_bytes,
            )
        )
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def pcm16(audio: Tensor | npt.NDArray[Any]) -> bytes:
    """Little-endian 16-bit samples of audio [C, N], channels interleaved; values outside [-1, 1] are clipped."""
    scaled = np.rint(_array(audio).clip(-1.0, 1.0) * np.float32(32_767.0))
    return scaled.T.astype("<i2").tobytes()


def _array(audio: Tensor | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    found: Any = audio if isinstance(audio, np.ndarray) else audio.detach().float().cpu().numpy()
    array: npt.NDArray[np.float32] = found.astype(np.float32, copy=False)
    return array


def _refuse_special_files(path: Path) -> None:
    """Refuse devices, pipes and folders, which renaming would replace."""
    if path.is_dir():
        raise DataError(f"{path}: is a directory; name a file such as {path / 'out.wav'}")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a regular file; name a file such as out.wav")


def write_wav(path: str | Path, audio: Tensor | npt.NDArray[Any], sample_rate: int) -> None:
    """Write 16-bit PCM; ``audio`` [C, N] or [N] in [-1, 1]. Errors as in ``WavWriter``."""
    with WavWriter(path, sample_rate, channels=1 if audio.ndim == 1 else audio.shape[0]) as wav:
        wav.write(audio)
