"""A corpus becomes token shards once, and is read from them ever after.

A folder of tokens holds, for each group of utterances,

    shard-00000.safetensors   codes int16 [frames, Q], offsets int64 [N + 1]: utterance i is
    codes[offsets[i]:offsets[i + 1]] shard-00000.jsonl         id, text and speaker of each of the N
    utterances shard-00000.json          written last: the key of what it was made from, SHA-256 and counts,
    what was rejected

and, when all are there, manifest.json and rejects.jsonl. A shard whose key and sums still hold is not made
again, so a killed build goes on where it was, and a changed codec, configuration, text or recording makes
only what it touches.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.numpy import save
from torch import Tensor
from torch.nn.functional import pad

from lina.core.audio import AudioError, read_audio
from lina.core.dataset import FORMAT, TokenDataset
from lina.core.errors import DataError, PluginError, TextError
from lina.core.files import remove_temporary, sha256, write_atomic
from lina.core.manifest import without_duplicates
from lina.core.utterance import Reject, Utterance

Encode = Callable[[Float[Tensor, "B C N"]], Int[Tensor, "B T Q"]]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class CodecFacts:
    """What encoding needs to know of a codec; see ``lina.core.protocols.Codec``."""

    sample_rate: int
    hop: int
    channels: int
    codebook_sizes: tuple[int, ...]

    @classmethod
    def of(cls, codec: Any) -> "CodecFacts":
        sizes = tuple(int(size) for size in codec.codebook_sizes)
        return cls(int(codec.sample_rate), int(codec.hop), int(codec.channels), sizes)


class Encoded(NamedTuple):
    utterance: Utterance
    codes: Tensor


def build_tokens(
    items: Iterable[Utterance | Reject],
    *,
    directory: Path,
    encode: Encode,
    facts: CodecFacts,
    settings: Mapping[str, Any],
    max_seconds: float = 20.0,
    max_rejects: float = 0.05,
    check_text: Callable[[str], object] | None = None,
    shard_size: int = 256,
    report: Report | None = None,
) -> TokenDataset:
    """Encode a corpus into ``directory``; what is already there and right is kept.

    Args:
        items: what a corpus plugin's ``read`` gives, in its fixed order.
        encode: audio [1, C, N] in [-1, 1], N a multiple of ``facts.hop``, to codes [1, N / hop, Q].
        settings: what the codes depend on and JSON can hold: the codec's full name, version and
        configuration, and
            those of the corpus. Anything changed in it makes all shards anew.
        max_seconds: longer recordings are rejected.
        max_rejects: the fraction of the corpus that may be rejected.
        check_text: raises ``TextError`` for a text that cannot be spoken; name the frontend in ``settings``
        then. shard_size: utterances a shard.
        report: called with (entries done, entries in all), first with what was there before.

    Raises:
        DataError: nothing is usable, or more than ``max_rejects`` is rejected; rejects.jsonl has each reason.
        PluginError: the codec breaks its contract.
    """
    if max(facts.codebook_sizes) > np.iinfo(np.int16).max + 1:
        raise PluginError(f"a codebook of {max(facts.codebook_sizes)} entries: shards hold at most 32768")
    directory.mkdir(parents=True, exist_ok=True)
    remove_temporary(directory)
    entries = list(without_duplicates(items))
    fingerprint = _digest(
        {"format": FORMAT, "codec": asdict(facts), "max_seconds": max_seconds, "settings": settings}
    )
    builder = _Builder(directory, encode, facts, fingerprint, max_seconds, check_text)
    groups = [entries[start : start + shard_size] for start in range(0, len(entries), shard_size)]
    kept = [builder.finished(number, group) for number, group in enumerate(groups)]
    done = sum(len(group) for group, record in zip(groups, kept, strict=True) if record)
    manifest_file = directory / "manifest.json"
    if None in kept:
        manifest_file.unlink(missing_ok=True)
    tell = report or (lambda done, total: None)
    tell(done, len(entries))
    records: list[dict[str, Any]] = []
    for number, (group, record) in enumerate(zip(groups, kept, strict=True)):
        if record is None:
            record = builder.make(number, group, partial(_tell_on, tell, done, len(entries)))
            done += len(group)
        records.append(record)
    _remove_beyond(directory, len(groups))
    rejects = [Reject(**reject) for record in records for reject in record["rejects"]]
    write_atomic(directory / "rejects.jsonl", _json_lines(reject.model_dump() for reject in rejects))
    refuse_too_many(rejects, len(entries), max_rejects, directory / "rejects.jsonl")
    manifest = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "settings": settings,
        "codec": asdict(facts),
        "utterances": sum(record["utterances"] for record in records),
        "frames": sum(record["frames"] for record in records),
        "rejects": len(rejects),
        "shards": [
            {key: record[key] for key in ("name", "utterances", "frames", "sha256")} for record in records
        ],
    }
    content = (json.dumps(manifest, indent=1, default=str) + "\n").encode()
    if not manifest_file.is_file() or manifest_file.read_bytes() != content:
        write_atomic(manifest_file, content)
    return TokenDataset(directory, verify=False)


def _tell_on(tell: Report, before: int, total: int, within: int) -> None:
    tell(before + within, total)


class _Builder:
    def __init__(
        self,
        directory: Path,
        encode: Encode,
        facts: CodecFacts,
        fingerprint: str,
        max_seconds: float,
        check_text: Callable[[str], object] | None,
    ) -> None:
        self.directory = directory
        self.encode = encode
        self.facts = facts
        self.fingerprint = fingerprint
        self.max_seconds = max_seconds
        self.check_text = check_text

    def finished(self, number: int, group: Sequence[Utterance | Reject]) -> dict[str, Any] | None:
        """The record of a shard that is there, made from exactly this, and undamaged."""
        name = shard_name(number)
        try:
            record: dict[str, Any] = json.loads((self.directory / f"{name}.json").read_bytes())
            if record["key"] != self._key(group):
                return None
            whole = all(sha256(self.directory / file) == digest for file, digest in record["sha256"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if whole else None

    def make(
        self, number: int, group: Sequence[Utterance | Reject], report: Callable[[int], None]
    ) -> dict[str, Any]:
        name = shard_name(number)
        record_file = self.directory / f"{name}.json"
        # From here until the new record is written, the shard counts as unfinished.
        record_file.unlink(missing_ok=True)
        key = self._key(group)
        encoded: list[Encoded] = []
        rejects: list[Reject] = []
        for within, item in enumerate(group, start=1):
            result = item if isinstance(item, Reject) else self._encode(item)
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                encoded.append(result)
            report(within)
        tensors, lines = f"{name}.safetensors", f"{name}.jsonl"
        offsets = np.cumsum([0, *(len(one.codes) for one in encoded)], dtype=np.int64)
        empty = torch.zeros(0, len(self.facts.codebook_sizes), dtype=torch.int16)
        codes = torch.cat([empty, *(one.codes for one in encoded)]).numpy()
        write_atomic(self.directory / tensors, save({"codes": codes, "offsets": offsets}))
        described = (one.utterance.model_dump(include={"id", "text", "speaker"}) for one in encoded)
        write_atomic(self.directory / lines, _json_lines(described))
        record = {
            "name": name,
            "key": key,
            "utterances": len(encoded),
            "frames": int(offsets[-1]),
            "sha256": {file: sha256(self.directory / file) for file in (tensors, lines)},
            "rejects": [reject.model_dump() for reject in rejects],
        }
        write_atomic(record_file, json.dumps(record).encode())
        return record

    def _encode(self, utterance: Utterance) -> Encoded | Reject:
        facts = self.facts
        try:
            if self.check_text is not None:
                self.check_text(utterance.text)
            audio = read_audio(utterance.audio, facts.sample_rate, facts.channels, self.max_seconds)
            if audio.shape[1] < facts.hop:
                raise AudioError(utterance.audio, f"too short: less than one frame of {facts.hop} samples")
        except AudioError as error:
            return Reject(id=utterance.id, where=str(utterance.audio), reason=error.reason)
        except TextError as error:
            return Reject(id=utterance.id, where=str(utterance.audio), reason=f"text refused: {error}")
        padded = pad(audio, (0, -audio.shape[1] % facts.hop))
        with torch.no_grad():
            codes = self.encode(padded.unsqueeze(0))
        expected = (1, padded.shape[1] // facts.hop, len(facts.codebook_sizes))
        if tuple(codes.shape) != expected or codes.is_floating_point():
            raise PluginError(
                f"the codec gave codes {list(codes.shape)} {codes.dtype} for {utterance.id!r}, expected "
                f"integers {list(expected)}; run `lina check` on it"
            )
        sizes = torch.tensor(facts.codebook_sizes)
        rows = codes[0].cpu()
        if bool(((rows < 0) | (rows >= sizes)).any()):
            raise PluginError(
                f"the codec gave codes out of range for {utterance.id!r}: {int(rows.min())} to "
                f"{int(rows.max())} in codebooks of {list(facts.codebook_sizes)}; run `lina check` on it"
            )
        return Encoded(utterance, rows.to(torch.int16))

    def _key(self, group: Sequence[Utterance | Reject]) -> str:
        return _digest([self.fingerprint, *(_identity(item) for item in group)])


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def reason_kind(reason: str) -> str:
    """What reasons of one kind have in common: the part before the particulars."""
    return reason.split(":", 1)[0]


def reasons_in_brief(rejects: Iterable[Reject]) -> str:
    """``7 no transcript, 3 is silent``: kinds of reasons, the most frequent first."""
    counts = Counter(reason_kind(reject.reason) for reject in rejects)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def refuse_too_many(rejects: Sequence[Reject], total: int, max_rejects: float, listed: Path) -> None:
    """Raise DataError if nothing is left of a corpus of ``total`` entries, or too much was rejected."""
    if total == 0:
        raise DataError("the corpus has no utterances; check data.source and data.path")
    fraction = len(rejects) / total
    if len(rejects) < total and fraction <= max_rejects:
        return
    raise DataError(
        f"{len(rejects)} of {total} utterances were rejected ({fraction:.1%}, allowed {max_rejects:.1%}): "
        f"{reasons_in_brief(rejects)}; see {listed}, mend the corpus or raise data.max_rejects"
    )


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
