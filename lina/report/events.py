"""What is already in a TensorBoard directory."""

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


def written(directory: Path) -> set[tuple[str, int]]:
    """(tag, step) of every value in the event files, but for those that a later purge hides."""
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
    """The whole records of a file; what a kill cut off at its end is left out.

    TensorFlow's TFRecord: a length (8 bytes), its checksum (4), the record and its checksum (4).
    """
    at = 0
    while at + _HEADER.size <= len(content):
        length, _ = _HEADER.unpack_from(content, at)
        start, at = at + _HEADER.size, at + _HEADER.size + length + _CHECKSUM_BYTES
        if at > len(content):
            return
        yield content[start : start + length]
