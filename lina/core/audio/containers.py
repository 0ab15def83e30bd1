"""Detection of truncated audio files, which decoders shorten without an error.

WAV by its chunk sizes (RIFF and RF64), Ogg by the end-of-stream mark of its last page (RFC 3533, section 6),
the rest by counting decoded samples.
"""

import struct
from pathlib import Path

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


def _wav_complaint(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        order = ">" if magic[:4] == b"RIFX" else "<"
        large_data = None
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", head)
            if name == b"ds64":
                _, large_data = struct.unpack("<QQ", file.read(16))
                file.seek(length - 16, 1)
                continue
            if name == b"data":
                if length == UNKNOWN_SIZE and large_data is not None:
                    length = large_data
                elif length >= STREAMED_SIZE:
                    return ""
                held = size - file.tell()
                return (
                    f"the header promises {length} bytes of sound, the file holds {held}"
                    if held < length
                    else ""
                )
            file.seek(length + length % 2, 1)
    return "there is no data chunk"


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
