"""Encode a corpus to token shards, once.

A directory of tokens holds, for each group of utterances,

- shard-00000.safetensors: codes int16 [frames, Q], offsets int64 [N + 1]; utterance i is
  codes[offsets[i]:offsets[i + 1]]
- shard-00000.jsonl: id, text and speaker of each of the N utterances
- shard-00000.json, written last: the key of its inputs, SHA-256, counts, and rejects

and, when all are complete, manifest.json and rejects.jsonl. A shard with matching key and digests is kept, so a killed
build resumes, and a changed codec, configuration, text or recording re-encodes only the shards that it affects.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lina.core.files.atomic import make_directory, remove_temporary, write_atomic
from lina.core.utterance import Reject, Utterance
from lina.data.encoding import CodecFacts, EncodingTools
from lina.data.rejects import refuse_too_many
from lina.data.shard_builder import Report, json_lines, make_missing, plan_shards, remove_beyond, shard_name
from lina.data.shard_records import ShardRecord
from lina.data.token_dataset import FORMAT, TokenDataset

__all__ = ["CodecFacts", "EncodingTools", "Report", "build_part", "build_tokens", "shard_name"]


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
    shard_size: int | None = None,
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
        shard_size: utterances per shard, ``SHARD_SIZE`` by default.
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
    plan = plan_shards(items, directory, facts, settings, min_seconds, max_seconds, shard_size, others)
    manifest_file = directory / "manifest.json"
    if None in plan.kept:
        manifest_file.unlink(missing_ok=True)
    kept = make_missing(plan, range(len(plan.groups)), tools, workers, report)
    entries, groups, fingerprint = plan.entries, plan.groups, plan.builder.fingerprint
    records = [record for record in kept if record is not None]
    remove_beyond(directory, len(groups))
    rejects = [reject for record in records for reject in record.rejects]
    write_atomic(directory / "rejects.jsonl", json_lines(reject.model_dump() for reject in rejects))
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


def build_part(
    items: Iterable[Utterance | Reject],
    part: int,
    parts: int,
    *,
    directory: Path,
    tools: Callable[[], EncodingTools],
    facts: CodecFacts,
    settings: Mapping[str, Any],
    min_seconds: float = 0.0,
    max_seconds: float = 20.0,
    shard_size: int | None = None,
    workers: int = 1,
    readers: int = 0,
    report: Report | None = None,
) -> list[ShardRecord]:
    """Encode every ``parts``-th shard from ``part`` on, while other processes encode others, in any order.

    Arguments and errors as of ``build_tokens``, which then finds all shards and only writes the manifest.

    Args:
        readers: threads that read recordings ahead of the codec, if there is one worker.
    """
    make_directory(directory, parents=True)
    plan = plan_shards(items, directory, facts, settings, min_seconds, max_seconds, shard_size, ())
    own = range(part, len(plan.groups), parts)
    kept = make_missing(plan, own, tools, workers, report, readers)
    return [record for number in own if (record := kept[number]) is not None]
