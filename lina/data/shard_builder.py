"""Shards of tokens: which are up to date, and the making of those that are not."""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from lina.core.corpus.manifest import without_duplicates
from lina.core.errors import FileError
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import sha256
from lina.core.files.json_file import read_json
from lina.core.process.threads import use_one_thread
from lina.core.process.workers import work
from lina.core.utterance import Reject, Utterance
from lina.data.encoding import CodecFacts, Encoder, EncodingTools
from lina.data.shard_records import SHARD_RECORD, ShardRecord
from lina.data.token_dataset import FORMAT

Report = Callable[[int, int], None]
Codes = npt.NDArray[np.int16]
SHARD_SIZE = 256
"""Utterances per shard."""
AHEAD = 4
"""Recordings per thread that are decoded ahead of the codec."""

log = logging.getLogger("lina")


class ShardPlan(NamedTuple):
    """Groups of entries, one per shard, and the records of shards that are up to date."""

    builder: "ShardBuilder"
    entries: list[Utterance | Reject]
    groups: list[list[Utterance | Reject]]
    kept: list[ShardRecord | None]


def plan_shards(
    items: Iterable[Utterance | Reject],
    directory: Path,
    facts: CodecFacts,
    settings: Mapping[str, Any],
    min_seconds: float,
    max_seconds: float,
    shard_size: int | None,
    others: Sequence[Path],
) -> ShardPlan:
    entries = list(without_duplicates(items))
    seconds = [min_seconds, max_seconds]
    fingerprint = _digest(
        {"format": FORMAT, "codec": asdict(facts), "seconds": seconds, "settings": settings}
    )
    builder = ShardBuilder(directory, facts, min_seconds, max_seconds, fingerprint)
    size = shard_size or SHARD_SIZE
    groups = [entries[start : start + size] for start in range(0, len(entries), size)]
    kept = [builder.finished(number, group) for number, group in enumerate(groups)]
    kept = [
        record or builder.adopt(number, group, others)
        for number, (group, record) in enumerate(zip(groups, kept, strict=True))
    ]
    return ShardPlan(builder, entries, groups, kept)


def make_missing(
    plan: ShardPlan,
    numbers: Iterable[int],
    tools: Callable[[], EncodingTools],
    workers: int,
    report: Report | None,
    readers: int = 0,
) -> list[ShardRecord | None]:
    """Encode those shards of ``numbers`` that are not up to date; return the records of all."""
    builder, groups, kept = plan.builder, plan.groups, list(plan.kept)
    own = list(numbers)
    total = sum(len(groups[number]) for number in own)
    done = sum(len(groups[number]) for number in own if kept[number] is not None)
    report = report or (lambda done, total: None)
    report(done, total)
    missing = [number for number in own if kept[number] is None]
    utterances = [item for number in missing for item in groups[number] if isinstance(item, Utterance)]
    if readers and workers == 1 and utterances:
        results = builder.encode_ahead(tools(), utterances, readers)
    else:
        results = work(utterances, builder.encode, tools, workers, attrgetter("audio"))
    with closing(results) as encoded:
        for number in missing:
            kept[number] = builder.make(number, groups[number], encoded)
            done += len(groups[number])
            report(done, total)
    return kept


@dataclass(frozen=True)
class ShardBuilder:
    directory: Path
    facts: CodecFacts
    min_seconds: float
    max_seconds: float
    fingerprint: str

    def finished(self, number: int, group: Sequence[Utterance | Reject]) -> ShardRecord | None:
        """The record of an undamaged shard of exactly this group, else None."""
        return _whole_shard(self.directory, shard_name(number), self._key(group))

    def adopt(
        self, number: int, group: Sequence[Utterance | Reject], others: Sequence[Path]
    ) -> ShardRecord | None:
        """Take an undamaged shard of exactly this group from one of the ``others``, else None.

        Its files are hard links where the disk has them: shards are replaced, never changed in place.
        """
        name, key = shard_name(number), self._key(group)
        for other in others:
            record = _whole_shard(other, name, key)
            if record is None:
                continue
            (self.directory / f"{name}.json").unlink(missing_ok=True)
            for file in record.sha256:
                (self.directory / file).unlink(missing_ok=True)
                try:
                    os.link(other / file, self.directory / file)
                except OSError:
                    write_atomic(self.directory / file, (other / file).read_bytes())
            write_atomic(self.directory / f"{name}.json", json.dumps(record.model_dump()).encode())
            log.info("data: %s is that of %s", name, other.parent)
            return record
        return None

    def encode(self, tools: EncodingTools, utterance: Utterance) -> Codes | Reject:
        result = self._encoder(tools)(utterance)
        return result if isinstance(result, Reject) else result.numpy()

    def encode_ahead(
        self, tools: EncodingTools, utterances: Sequence[Utterance], readers: int
    ) -> Generator[Codes | Reject]:
        """Results of ``encode``, in order; threads decode the next recordings while the codec computes."""
        encoder, submitted = self._encoder(tools), deque[Future[Any]]()
        with ThreadPoolExecutor(readers, initializer=use_one_thread) as pool:
            for place, utterance in enumerate(utterances):
                while len(submitted) < AHEAD * readers and place + len(submitted) < len(utterances):
                    submitted.append(pool.submit(encoder.read, utterances[place + len(submitted)]))
                result = encoder.codes(utterance, submitted.popleft().result())
                yield result if isinstance(result, Reject) else result.numpy()

    def _encoder(self, tools: EncodingTools) -> Encoder:
        return Encoder(tools.encode, self.facts, self.min_seconds, self.max_seconds, tools.check_text)

    def make(
        self, number: int, group: Sequence[Utterance | Reject], encoded: Iterator[Codes | Reject]
    ) -> ShardRecord:
        """Write a shard and return its record. ``encoded``: the results of ``encode`` for the group's utterances."""
        name = shard_name(number)
        record_file = self.directory / f"{name}.json"
        # Without its record the shard counts as unfinished.
        record_file.unlink(missing_ok=True)
        key = self._key(group)
        codes = [np.zeros((0, len(self.facts.codebook_sizes)), dtype=np.int16)]
        utterances: list[Utterance] = []
        rejects: list[Reject] = []
        for item in group:
            result = item if isinstance(item, Reject) else next(encoded)
            if isinstance(result, Reject):
                rejects.append(result)
            elif isinstance(item, Utterance):
                utterances.append(item)
                codes.append(result)
        tensors, lines = f"{name}.safetensors", f"{name}.jsonl"
        offsets = np.cumsum([len(one) for one in codes], dtype=np.int64)
        write_atomic(self.directory / tensors, save({"codes": np.concatenate(codes), "offsets": offsets}))
        described = (one.model_dump(include={"id", "text", "speaker"}) for one in utterances)
        write_atomic(self.directory / lines, json_lines(described))
        record = ShardRecord(
            name=name,
            key=key,
            utterances=len(utterances),
            frames=int(offsets[-1]),
            sha256={file: sha256(self.directory / file) for file in (tensors, lines)},
            rejects=tuple(rejects),
        )
        write_atomic(record_file, json.dumps(record.model_dump()).encode())
        return record

    def _key(self, group: Sequence[Utterance | Reject]) -> str:
        return _digest([self.fingerprint, *(_identity(item) for item in group)])


def _whole_shard(directory: Path, name: str, key: str) -> ShardRecord | None:
    """The record of the shard if its key is this and its files are undamaged."""
    try:
        record = read_json(directory / f"{name}.json", SHARD_RECORD)
        if record.key != key:
            return None
        whole = len(record.sha256) == 2 and all(
            sha256(directory / file) == digest for file, digest in record.sha256.items()
        )
    except (OSError, FileError):
        return None
    return record if whole else None


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def _identity(item: Utterance | Reject) -> list[Any]:
    if isinstance(item, Reject):
        return ["reject", item.id, item.where, item.reason]
    try:
        status = item.audio.stat()
        stamp = [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):
        stamp = []
    return ["utterance", item.id, item.audio.name, item.text, item.speaker, *stamp]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def json_lines(values: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def remove_beyond(directory: Path, shards: int) -> None:
    known = {shard_name(number) for number in range(shards)}
    for path in directory.glob("shard-*"):
        if path.name.split(".", 1)[0] not in known:
            path.unlink()
