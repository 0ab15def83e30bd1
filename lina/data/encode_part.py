"""Encoding of one part of a corpus, for several processes or machines that share the work."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import SPEC_FILE
from lina.config.spec import Spec
from lina.core.audio.codec import encode
from lina.core.files.atomic import make_directory, write_atomic
from lina.core.utterance import Utterance
from lina.data.corpus_inputs import DATA_KEYS, FREE_DATA_KEYS, check_readable, shard_settings, tokenizer_of
from lina.data.token_shards import CodecFacts, EncodingTools, Report, build_part
from lina.runs.build_model import build_codec
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.directory import claim, part_locked


class EncodedPart(NamedTuple):
    """Counts of one part of a corpus."""

    utterances: int
    rejects: int
    hours: float
    """Of audio, in its shards."""


def encode_part(
    resolved: ResolvedSpec, part: int, parts: int, device: torch.device, readers: int, report: Report
) -> EncodedPart:
    """Encode one part of a run's corpus, into its directory; a run of the spec then only writes the manifest.

    Args:
        part: of ``parts``, from 0; other processes encode the others, at any time and on any machine.
        device: of the codec, if it is a module.
        readers: threads that read recordings ahead of it.

    Raises:
        DataError, LinaError: as ``prepare``; the part is being encoded already, or a run is under way there.
        CheckpointError: the directory holds a corpus that was encoded with other settings.
    """
    make_directory(resolved.spec.train.out, parents=True)
    with part_locked(resolved.spec.train.out, part, parts):
        return _encode_part(resolved, part, parts, device, readers, report)


def _encode_part(
    resolved: ResolvedSpec, part: int, parts: int, device: torch.device, readers: int, report: Report
) -> EncodedPart:
    spec, directory = resolved.spec, resolved.spec.train.out
    _claim(directory, spec)
    items = list(resolved.corpus.plugin.read(config=resolved.corpus.config))
    tokenizer, _ = tokenizer_of(resolved, [one for one in items if isinstance(one, Utterance)], directory)
    codec: Any = build_codec(resolved.codec)
    if isinstance(codec, nn.Module):
        codec.to(device)
    facts = CodecFacts.of(codec)
    tools = EncodingTools(
        lambda audio: encode(codec, audio.to(device)),
        partial(check_readable, tokenizer, spec.text.max_characters),
    )
    records = build_part(
        items,
        part,
        parts,
        directory=directory / "data",
        tools=lambda: tools,
        facts=facts,
        settings=shard_settings(resolved),
        min_seconds=spec.data.min_seconds,
        max_seconds=spec.data.max_seconds,
        readers=readers,
        report=report,
    )
    hours = sum(record.frames for record in records) * facts.hop / facts.sample_rate / 3600
    rejects = sum(len(record.rejects) for record in records)
    return EncodedPart(sum(record.utterances for record in records), rejects, hours)


def _claim(directory: Path, spec: Spec) -> None:
    """Write ``spec.yaml``, without which a run refuses shards that it finds; a trained run keeps its own.

    Other parts may do the same at once, and have encoded already.

    Raises:
        CheckpointError: the corpus has been encoded with other settings.
    """
    path = directory / SPEC_FILE
    if not path.exists():
        write_atomic(path, spec.to_yaml().encode())
    elif not has_checkpoints(directory):
        claim(directory, spec, FREE_DATA_KEYS, DATA_KEYS)
