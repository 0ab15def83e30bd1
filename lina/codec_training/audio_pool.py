"""Audio pool: the decoded corpora of a codec run as one file of int16 samples and its index.

    data/pool.int16     concatenated utterances, mono, little-endian, at the codec's sample rate
    data/pool.json      PoolIndex: cache key and a PoolEntry per utterance

Built once, in parallel, and committed atomically.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int16
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from lina.codec_training.decoding import DecodedRecording, decode_recordings
from lina.core.corpus.manifest import without_duplicates
from lina.core.errors import DataError, FileError
from lina.core.files.atomic import commit, remove_temporary, temporary_name, write_atomic
from lina.core.files.checks import check_regular
from lina.core.files.json_file import read_json
from lina.core.utterance import Reject, Utterance
from lina.data.rejects import refuse_too_many

SAMPLES_FILE, INDEX_FILE, REJECTS_FILE = Path("pool.int16"), Path("pool.json"), Path("rejects.jsonl")


class PoolEntry(BaseModel):
    """One utterance; positions are in samples of the pool."""

    model_config = ConfigDict(frozen=True)

    id: str
    source: int
    """Index into the sources of the spec."""
    speaker: str
    text: str
    start: int
    length: int
    begin: int
    """First sample of sound, less a margin; crops lie between ``begin`` and ``end``."""
    end: int
    peak: float
    """Largest absolute sample; 1 is full scale."""


class PoolIndex(BaseModel):
    """Contents of ``pool.json``."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Hash of the inputs of the pool."""
    sample_rate: int
    """Hz."""
    samples: int
    rejects: int
    entries: tuple[PoolEntry, ...]


@dataclass(frozen=True)
class AudioPool:
    """The samples of all utterances and their index."""

    samples: Int16[Tensor, "N"]
    """Memory-mapped."""
    index: PoolIndex

    def utterance(self, number: int) -> Int16[Tensor, "n"]:
        """All samples of an utterance."""
        entry = self.index.entries[number]
        return self.samples[entry.start : entry.start + entry.length]

    @property
    def identity(self) -> str:
        """Hash of the pool's layout: sample rate, ids, sources and lengths; independent of the machine."""
        layout = [[entry.id, entry.source, entry.length] for entry in self.index.entries]
        return hashlib.sha256(json.dumps([self.index.sample_rate, layout]).encode()).hexdigest()


def build_pool(
    directory: Path,
    sources: Sequence[Sequence[Utterance | Reject]],
    *,
    sample_rate: int,
    min_seconds: float,
    max_seconds: float,
    max_rejects: float,
    workers: int,
    report: Callable[[int, int], None],
) -> AudioPool:
    """Open the pool in ``directory``, after decoding the sources into it if it is missing or out of date.

    Rejected recordings are listed in ``rejects.jsonl`` with the reason.

    Args:
        max_rejects: allowed share of rejected recordings.
        report: progress callback ``(done, total)``, in recordings.

    Raises:
        DataError: a source has no usable recording, or too many recordings were rejected.
        LinaError: a worker process was killed or crashed; names the recordings in work.
    """
    _refuse_big_endian()
    items = [(source, item) for source, several in enumerate(sources) for item in without_duplicates(several)]
    key = _key(items, sample_rate, min_seconds, max_seconds)
    if (existing := _open_existing(directory, key)) is not None:
        return existing
    directory.mkdir(parents=True, exist_ok=True)
    remove_temporary(directory)
    (directory / INDEX_FILE).unlink(missing_ok=True)
    utterances = [(source, item) for source, item in items if isinstance(item, Utterance)]
    rejects = [item for _, item in items if isinstance(item, Reject)]
    entries: list[PoolEntry] = []
    temporary, position = temporary_name(directory / SAMPLES_FILE), 0
    report(0, len(utterances))
    paths = [item.audio for _, item in utterances]
    with (
        temporary.open("wb") as file,
        closing(decode_recordings(paths, sample_rate, min_seconds, max_seconds, workers)) as recordings,
    ):
        for done, ((source, item), recording) in enumerate(zip(utterances, recordings, strict=True), start=1):
            if isinstance(recording, DecodedRecording):
                file.write(recording.samples.astype("<i2", copy=False).tobytes())
                entries.append(_entry(item, source, position, recording))
                position += len(recording.samples)
            else:
                rejects.append(Reject(id=item.id, where=str(item.audio), reason=recording))
            report(done, len(utterances))
    rejects_file = directory / REJECTS_FILE
    write_atomic(rejects_file, "".join(reject.model_dump_json() + "\n" for reject in rejects).encode())
    refuse_too_many(rejects, len(items), max_rejects, rejects_file)
    _refuse_empty_sources(len(sources), entries, rejects_file)
    commit(temporary, directory / SAMPLES_FILE)
    index = PoolIndex(
        key=key, sample_rate=sample_rate, samples=position, rejects=len(rejects), entries=tuple(entries)
    )
    write_atomic(directory / INDEX_FILE, index.model_dump_json().encode())
    return map_pool(directory, index)


def split_held_out(pool: AudioPool, valid: float, seed: int) -> tuple[list[int], list[int]]:
    """Split the utterances into training and held-out ones, by number.

    Utterances are ranked by a hash of seed, source and id, so that the rest of the corpus has no influence on it.

    Args:
        valid: share (below 1) or number of held-out utterances.

    Raises:
        DataError: no utterance would remain for training.
    """
    entries = pool.index.entries
    count = round(valid * len(entries)) if valid < 1 else int(valid)
    if count >= len(entries):
        raise DataError(
            f"data.valid ({valid}) holds out all of the {len(entries)} utterances; set a lower number, or add audio"
        )

    def rank(number: int) -> bytes:
        return hashlib.sha256(f"{seed} {entries[number].source} {entries[number].id}".encode()).digest()

    held_out = sorted(sorted(range(len(entries)), key=rank)[:count])
    return sorted(set(range(len(entries))) - set(held_out)), held_out


def _entry(item: Utterance, source: int, position: int, recording: DecodedRecording) -> PoolEntry:
    return PoolEntry(
        id=item.id,
        source=source,
        speaker=item.speaker,
        text=item.text,
        start=position,
        length=len(recording.samples),
        begin=position + recording.begin,
        end=position + recording.end,
        peak=recording.peak,
    )


def _key(items: Sequence[tuple[int, Utterance | Reject]], *settings: object) -> str:
    """Hash of the inputs of the pool; a recording is represented by its size and modification time."""
    inputs = []
    for source, item in items:
        try:
            status = item.audio.stat() if isinstance(item, Utterance) else None
        except OSError:
            status = None
        inputs.append([source, item.model_dump(mode="json"), status and [status.st_size, status.st_mtime_ns]])
    return hashlib.sha256(json.dumps([settings, inputs]).encode()).hexdigest()


def _open_existing(directory: Path, key: str) -> AudioPool | None:
    try:
        index = read_json(directory / INDEX_FILE, TypeAdapter(PoolIndex), strict=False, limit=256_000_000)
        size = check_regular(directory / SAMPLES_FILE)
    except (OSError, FileError):
        return None
    return map_pool(directory, index) if index.key == key and size == 2 * index.samples else None


def map_pool(directory: Path, index: PoolIndex) -> AudioPool:
    """The pool in ``directory``, which has this index."""
    samples = torch.from_file(
        str(directory / SAMPLES_FILE), shared=False, size=index.samples, dtype=torch.int16
    )
    return AudioPool(samples, index)


def _refuse_empty_sources(count: int, entries: Sequence[PoolEntry], rejects_file: Path) -> None:
    for source in sorted(set(range(count)) - {entry.source for entry in entries}):
        raise DataError(
            f"data.sources[{source}]: has no usable recording; see {rejects_file}, or remove this source"
        )


def _refuse_big_endian() -> None:
    if sys.byteorder != "little":
        raise DataError("this machine is big-endian; pools of audio are little-endian")
