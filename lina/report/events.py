"""Reading of TensorBoard event files."""

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


def logged_values(directory: Path) -> set[tuple[str, int]]:
    """Return (tag, step) of every value in the event files, without those hidden by a later purge."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: set[tuple[str, int]] = set()
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for record in _records(path.read_bytes()):
            event = Event.FromString(record)
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                found = {(tag, step) for tag, step in found if step < event.step}
            found.update((value.tag, event.step) for value in event.summary.value)
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the complete records of a TFRecord file; a truncated last one is left out.

    Format: length (8 bytes), its checksum (4), the record and its checksum (4).
    """
    at = 0
    while at + _HEADER.size <= len(content):
        length, _ = _HEADER.unpack_from(content, at)
        start, at = at + _HEADER.size, at + _HEADER.size + length + _CHECKSUM_BYTES
        if at > len(content):
            return
        yield content[start : start + length]
