"""Schemas of the JSON files of token shards. ``sha256`` is a name in the folder to the SHA-256 of its content."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from lina.core.utterance import Reject

Count = Annotated[int, Field(ge=0, lt=2**53)]
Sums = dict[
    Annotated[str, StringConstraints(pattern=r"^shard-\d{5,}\.(safetensors|jsonl)$")],
    Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")],
]


class ShardSummary(BaseModel):
    """A shard in ``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^shard-\d{5,}$")]
    utterances: Count
    frames: Count
    sha256: Sums


class ShardRecord(ShardSummary):
    """Record of a finished shard, ``shard-00000.json``."""

    key: str
    """Hash of its inputs."""
    rejects: tuple[Reject, ...]


class CodecEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: Annotated[int, Field(ge=1, le=10**7)]
    hop: Annotated[int, Field(ge=1, le=10**7)]
    channels: Annotated[int, Field(ge=1, le=2)]
    codebook_sizes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2**15)], ...], Field(min_length=1, max_length=1024)
    ]


class Manifest(BaseModel):
    """``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    codec: CodecEntry
    rejects: Count
    shards: tuple[ShardSummary, ...]


class UtteranceLine(BaseModel):
    """A line of ``shard-00000.jsonl``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    speaker: str


SHARD_RECORD = TypeAdapter(ShardRecord)
MANIFEST = TypeAdapter(Manifest)
UTTERANCE_LINE = TypeAdapter(UtteranceLine)
