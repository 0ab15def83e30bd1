"""Detection of truncated audio files, which decoders shorten without an error.

WAV by its chunk sizes (RIFF and RF64), Ogg by the end-of-stream mark of its last page (RFC 3533, section 6),
the rest by counting decoded samples.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

UNKNOWN_SIZE = 0xFFFFFFFF
# Writers that cannot go back to fill in the length (a pipe) put 0xFFFFFFFF or, SoX, just under 2 GiB.
STREAMED_SIZE = 0x7FFFF000
LARGEST_OGG_PAGE = 65_307
# MP3 counts include the encoder's padding, and an estimate where there is no Xing header.
MP3_TOLERANCE_FRAMES = 2_304


def check_complete(path: Path, container: str, *, promised: int, decoded: int) -> str:
    """Describe the missing part as a clause; "" if the file is complete.

    Args:
        container: libsndfile's name of the format.
        promised: frames by the header.
        decoded: frames decoded.
    """
    if container in ("WAV", "WAVEX", "RF64"):
        complaint = _wav_complaint(path)
        if complaint:
            return complaint
    if container == "OGG" and not _ogg_ends(path):
        return "the last Ogg page does not end the stream"
    tolerance = max(MP3_TOLERANCE_FRAMES, promised // 100) if container == "MP3" else 0
    if decoded < promised - tolerance:
        return f"the header promises {promised} frames, the file holds {decoded}"
    return ""


class _DataChunk(NamedTuple):
    """The samples of a WAV file."""

    size_at: int
    """Offset of the chunk's length."""
    length: int
    """Bytes by the header."""
    held: int
    """Bytes to the end of the file."""
    streamed: bool
    """The header gives no length."""
    order: str


def _data_chunk(path: Path) -> _DataChunk | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] not in (b"RIFF", b"RIFX", b"RF64") or magic[8:] != b"WAVE":
            return None
        order = ">" if magic[:4] == b"RIFX" else "<"
        (total,) = struct.unpack(f"{order}I", magic[4:8])
        large_data = None
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", head)
            if name == b"ds64":
                sizes = file.read(16)
                if len(sizes) < 16 or length < 16:
                    return None
                _, large_data = struct.unpack("<QQ", sizes)
                file.seek(length - 16, 1)
                continue
            if name == b"data":
                at = file.tell()
                # An honest empty chunk has an honest total, and other chunks may follow it.
                unknown = length >= STREAMED_SIZE or (length == 0 and total != size - 8)
                if length == UNKNOWN_SIZE and large_data is not None:
                    length, unknown = large_data, False
                return _DataChunk(at - 4, length, size - at, unknown, order)
            file.seek(length + length % 2, 1)
    return None


def _wav_complaint(path: Path) -> str:
    chunk = _data_chunk(path)
    if chunk is None:
        return "there is no data chunk"
    if chunk.streamed or chunk.held >= chunk.length:
        return ""
    return f"the header promises {chunk.length} bytes of sound, the file holds {chunk.held}"


class _Patched(io.RawIOBase):
    """A file with other bytes at one place."""

    def __init__(self, file: io.BufferedReader, at: int, patch: bytes) -> None:
        self.file, self.at, self.patch = file, at, patch

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        start = self.file.tell()
        content = bytearray(self.file.read(size))
        for place, byte in enumerate(self.patch, start=self.at - start):
            if 0 <= place < len(content):
                content[place] = byte
        return bytes(content)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def streamed_wav(path: Path) -> Iterator[io.RawIOBase | None]:
    """A WAV file whose header gives no length, with the length of its samples in place; None for other files.

    libsndfile reads nothing of a file whose header says 0 bytes.
    """
    chunk = _data_chunk(path) if path.suffix.lower() == ".wav" else None
    if chunk is None or not chunk.streamed or not chunk.held:
        yield None
        return
    length = min(chunk.held, STREAMED_SIZE - 1)
    with path.open("rb") as file:
        yield _Patched(file, chunk.size_at, struct.pack(f"{chunk.order}I", length))


def _ogg_ends(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - LARGEST_OGG_PAGE))
        tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0 or len(tail) < start + 27:
        return False
    flags, segments = tail[start + 5], tail[start + 26]
    lacing = tail[start + 27 : start + 27 + segments]
    whole = len(lacing) == segments and len(tail) >= start + 27 + segments + sum(lacing)
    return bool(flags & 0x04) and whole
