"""Encode a corpus to token shards, once.

A directory of tokens holds, for each group of utterances,

- shard-00000.safetensors: codes int16 [frames, Q], offsets int64 [N + 1]; utterance i is
  codes[offsets[i]:offsets[i + 1]]
- shard-00000.jsonl: id, text and speaker of each of the N utterances
- shard-00000.json, written last: the key of its inputs, SHA-256, counts, and rejects

and, when all are complete, manifest.json and rejects.jsonl. A shard with matching key and digests is kept, so a killed
build resumes, and a changed codec, configuration, text or recording re-encodes only the shards that it affects.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from lina.core.corpus.manifest import without_duplicates
from lina.core.errors import FileError
from lina.core.files.atomic import make_directory, remove_temporary, write_atomic
from lina.core.files.checks import sha256
from lina.core.files.json_file import read_json
from lina.core.process.workers import work
from lina.core.utterance import Reject, Utterance
from lina.data.encoding import CodecFacts, Encoder, EncodingTools
from lina.data.rejects import refuse_too_many
from lina.data.shard_records import SHARD_RECORD, ShardRecord
from lina.data.token_dataset import FORMAT, TokenDataset

__all__ = ["CodecFacts", "EncodingTools", "build_tokens"]

Report = Callable[[int, int], None]
log = logging.getLogger("lina")
Codes = npt.NDArray[np.int16]


def build_tokens(
    items: Iterable[Utterance | Reject],
    *,
    directory: Path,
    tools: Callable[[], EncodingTools],
    facts: CodecFacts,
    settings: Mapping[str, Any],
    min_seconds: float = 0.0,
    max_seconds: float = 20.0,
    max_rejects: float = 0.05,
    shard_size: int = 256,
    workers: int = 1,
    report: Report | None = None,
    others: Sequence[Path] = (),
) -> TokenDataset:
    """Encode a corpus into ``directory``, keeping shards that are up to date.

    Args:
        items: entries from a corpus plugin's ``read``, in their fixed order.
        tools: builds codec and text check, once per process; picklable if there are several.
        settings: JSON value of everything that the codes depend on, such as name, version and configuration of the
            codec. A change re-encodes all shards.
        min_seconds: shorter recordings are rejected, and those shorter than one frame.
        max_seconds: longer ones are rejected.
        max_rejects: largest fraction of rejects.
        shard_size: utterances per shard.
        workers: number of processes, each encoding one utterance at a time.
        report: called with (finished entries, all entries), first with those of an earlier start.
        others: directories of tokens from which shards of the same inputs are taken instead of encoding them.

    Raises:
        DataError: nothing is usable, or more than ``max_rejects`` is rejected; rejects.jsonl has the reasons.
        PluginError: the codec breaks its contract.
        LinaError: a worker process was killed or crashed; the message names the recordings in work.
    """
    make_directory(directory, parents=True)
    remove_temporary(directory)
    entries = list(without_duplicates(items))
    seconds = [min_seconds, max_seconds]
    fingerprint = _digest(
        {"format": FORMAT, "codec": asdict(facts), "seconds": seconds, "settings": settings}
    )
    builder = _Builder(directory, facts, min_seconds, max_seconds, fingerprint)
    groups = [entries[start : start + shard_size] for start in range(0, len(entries), shard_size)]
    kept = [builder.finished(number, group) for number, group in enumerate(groups)]
    kept = [
        record or builder.adopt(number, group, others)
        for number, (group, record) in enumerate(zip(groups, kept, strict=True))
    ]
    done = sum(len(group) for group, record in zip(groups, kept, strict=True) if record)
    manifest_file = directory / "manifest.json"
    if None in kept:
        manifest_file.unlink(missing_ok=True)
    report = report or (lambda done, total: None)
    report(done, len(entries))
    missing = [number for number, record in enumerate(kept) if record is None]
    utterances = [item for number in missing for item in groups[number] if isinstance(item, Utterance)]
    with closing(work(utterances, builder.encode, tools, workers, attrgetter("audio"))) as encoded:
        for number in missing:
            kept[number] = builder.make(number, groups[number], encoded)
            done += len(groups[number])
            report(done, len(entries))
    records = [record for record in kept if record is not None]
    _remove_beyond(directory, len(groups))
    rejects = [reject for record in records for reject in record.rejects]
    write_atomic(directory / "rejects.jsonl", _json_lines(reject.model_dump() for reject in rejects))
    refuse_too_many(rejects, len(entries), max_rejects, directory / "rejects.jsonl")
    manifest = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "settings": settings,
        "codec": asdict(facts),
        "utterances": sum(record.utterances for record in records),
        "frames": sum(record.frames for record in records),
        "rejects": len(rejects),
        "shards": [record.model_dump(exclude={"key", "rejects"}) for record in records],
    }
    content = (json.dumps(manifest, indent=1, default=str) + "\n").encode()
    if not manifest_file.is_file() or manifest_file.read_bytes() != content:
        write_atomic(manifest_file, content)
    return TokenDataset(directory, verify=False)


@dataclass(frozen=True)
class _Builder:
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
        encoder = Encoder(tools.encode, self.facts, self.min_seconds, self.max_seconds, tools.check_text)
        result = encoder(utterance)
        return result if isinstance(result, Reject) else result.numpy()

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
        write_atomic(self.directory / lines, _json_lines(described))
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


def _json_lines(values: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def _remove_beyond(directory: Path, shards: int) -> None:
    known = {shard_name(number) for number in range(shards)}
    for path in directory.glob("shard-*"):
        if path.name.split(".", 1)[0] not in known:
            path.unlink()
