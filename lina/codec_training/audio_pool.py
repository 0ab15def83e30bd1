"""The audio that a codec is trained on: one file of int16 samples at the codec's rate, and an index of it.

    data/pool.int16     all utterances end to end, little-endian, one channel
    data/pool.json      Index: what the pool was made from, and an Entry for each utterance

Built once, by as many processes as the machine has cores, and whole or not there.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int16, Int64
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lina.codec_training.decoding import Decoded, decode_all
from lina.core.corpus.manifest import without_duplicates
from lina.core.errors import DataError
from lina.core.files import commit, remove_temporary, temporary_name, write_atomic
from lina.core.utterance import Reject, Utterance
from lina.data.rejects import refuse_too_many

SAMPLES_FILE, INDEX_FILE, REJECTS_FILE = Path("pool.int16"), Path("pool.json"), Path("rejects.jsonl")


class Entry(BaseModel):
    """One utterance. Places are in samples of the pool."""

    model_config = ConfigDict(frozen=True)

    id: str
    source: int
    """Place among the sources of the spec."""
    speaker: str
    text: str
    start: int
    length: int
    begin: int
    """Where sound begins, with a little of what is before it; crops are taken from between ``begin`` and ``end``."""
    end: int
    peak: float
    """Largest sample, where 1 is full scale."""


class Index(BaseModel):
    model_config = ConfigDict(frozen=True)

    key: str
    sample_rate: int
    """Hz."""
    samples: int
    rejects: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Pool:
    samples: Int16[Tensor, "N"]
    """Memory-mapped."""
    index: Index

    def starts(self) -> Int64[Tensor, "U"]:
        return torch.tensor([one.start for one in self.index.entries])

    def utterance(self, number: int) -> Int16[Tensor, "n"]:
        """An utterance whole."""
        entry = self.index.entries[number]
        return self.samples[entry.start : entry.start + entry.length]

    @property
    def identity(self) -> str:
        """Tells pools apart by what is in them and where, whatever machine decoded it."""
        said = [[one.id, one.source, one.length] for one in self.index.entries]
        return hashlib.sha256(json.dumps([self.index.sample_rate, said]).encode()).hexdigest()


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
) -> Pool:
    """The pool in ``directory``, decoded unless it is there; ``report(done, total)`` tells how far.

    What cannot be used is listed in ``rejects.jsonl`` with its reason.

    Raises:
        DataError: nothing can be used of a source, or too much cannot be used.
        LinaError: a worker process was killed or crashed; names the recordings in work.
    """
    _refuse_big_endian()
    items = [(place, item) for place, several in enumerate(sources) for item in without_duplicates(several)]
    key = _key(items, sample_rate, min_seconds, max_seconds)
    if (made := _there(directory, key)) is not None:
        return made
    directory.mkdir(parents=True, exist_ok=True)
    remove_temporary(directory)
    (directory / INDEX_FILE).unlink(missing_ok=True)
    utterances = [(place, item) for place, item in items if isinstance(item, Utterance)]
    rejects = [item for _, item in items if isinstance(item, Reject)]
    entries: list[Entry] = []
    temporary, position = temporary_name(directory / SAMPLES_FILE), 0
    report(0, len(utterances))
    paths = [item.audio for _, item in utterances]
    with (
        temporary.open("wb") as file,
        closing(decode_all(paths, sample_rate, min_seconds, max_seconds, workers)) as decoded,
    ):
        for done, ((source, item), found) in enumerate(zip(utterances, decoded, strict=True), start=1):
            if isinstance(found, Decoded):
                file.write(found.samples.astype("<i2", copy=False).tobytes())
                entries.append(_entry(item, source, position, found))
                position += len(found.samples)
            else:
                rejects.append(Reject(id=item.id, where=str(item.audio), reason=found))
            report(done, len(utterances))
    listed = directory / REJECTS_FILE
    write_atomic(listed, "".join(reject.model_dump_json() + "\n" for reject in rejects).encode())
    refuse_too_many(rejects, len(items), max_rejects, listed)
    _refuse_empty_sources(len(sources), entries, listed)
    commit(temporary, directory / SAMPLES_FILE)
    index = Index(
        key=key, sample_rate=sample_rate, samples=position, rejects=len(rejects), entries=tuple(entries)
    )
    write_atomic(directory / INDEX_FILE, index.model_dump_json().encode())
    return _mapped(directory, index)


def held_out(pool: Pool, valid: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the utterances to train on and of those held back: a part below 1, or a count.

    Which they are hangs on their own ids and the seed alone: other utterances beside them change nothing.

    Raises:
        DataError: nothing would be left to train on.
    """
    entries = pool.index.entries
    count = round(valid * len(entries)) if valid < 1 else int(valid)
    if count >= len(entries):
        raise DataError(
            f"data.valid ({valid}) holds back all of the {len(entries)} utterances; say fewer, or add audio"
        )

    def drawn(number: int) -> bytes:
        return hashlib.sha256(f"{seed} {entries[number].source} {entries[number].id}".encode()).digest()

    out = sorted(sorted(range(len(entries)), key=drawn)[:count])
    return sorted(set(range(len(entries))) - set(out)), out


def _entry(item: Utterance, source: int, position: int, found: Decoded) -> Entry:
    return Entry(
        id=item.id,
        source=source,
        speaker=item.speaker,
        text=item.text,
        start=position,
        length=len(found.samples),
        begin=position + found.begin,
        end=position + found.end,
        peak=found.peak,
    )


def _key(items: Sequence[tuple[int, Utterance | Reject]], *settings: object) -> str:
    """Of all that the pool depends on. A recording counts as changed when its size or time is."""
    told = []
    for place, item in items:
        try:
            status = item.audio.stat() if isinstance(item, Utterance) else None
        except OSError:
            status = None
        told.append([place, item.model_dump(mode="json"), status and [status.st_size, status.st_mtime_ns]])
    return hashlib.sha256(json.dumps([settings, told]).encode()).hexdigest()


def _there(directory: Path, key: str) -> Pool | None:
    try:
        index = Index.model_validate_json((directory / INDEX_FILE).read_bytes())
        size = (directory / SAMPLES_FILE).stat().st_size
    except (OSError, ValidationError):
        return None
    return _mapped(directory, index) if index.key == key and size == 2 * index.samples else None


def _mapped(directory: Path, index: Index) -> Pool:
    mapped = torch.from_file(
        str(directory / SAMPLES_FILE), shared=False, size=index.samples, dtype=torch.int16
    )
    return Pool(mapped, index)


def _refuse_empty_sources(count: int, entries: Sequence[Entry], listed: Path) -> None:
    for place in sorted(set(range(count)) - {entry.source for entry in entries}):
        raise DataError(
            f"data.sources[{place}]: has no recording that can be used; see {listed}, or leave it out"
        )


def _refuse_big_endian() -> None:
    if sys.byteorder != "little":
        raise DataError("this machine is big-endian; pools of audio are little-endian")
