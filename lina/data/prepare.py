"""Stage data: from a corpus to token shards, a trained tokenizer and a table of speakers."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import SPEAKERS_FILE, SPEC_FILE, TOKENIZER_FILE
from lina.config.spec import Spec
from lina.core.audio.codec import AnyCodec, encode, frame_rate
from lina.core.errors import CheckpointError, DataError, TextError
from lina.core.files.atomic import make_directory, write_atomic
from lina.core.files.checks import sha256
from lina.core.generation.settings import Sampling
from lina.core.protocols import Tokenizer
from lina.core.text.contract import read_ids
from lina.core.text.speakable import check_speakable, speaking_tokenizer
from lina.core.text.validate import check_text
from lina.core.utterance import Utterance
from lina.data.text_ids import encode_corpus_texts
from lina.data.token_dataset import TokenDataset
from lina.data.token_shards import CodecFacts, EncodingTools, Report, build_part, build_tokens
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_codec
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.directory import claim, part_locked
from lina.runs.files import write_data_summary
from lina.runs.hooks import Run
from lina.runs.layout import build_tokenizer, read_tokenizer_key
from lina.runs.records import CodecInfo, DataSummary

DATA_KEYS = ("codec.", "tokenizer.", "data.", "text.max_characters")
"""Keys on which the encoded corpus depends."""
FREE_DATA_KEYS = ("data.max_rejects", "data.workers")
"""Those of them that may change between two starts."""


@dataclass(frozen=True)
class PreparedData:
    """Encoded corpus, tokenizer and codec, for training and evaluation."""

    codec: AnyCodec
    tokenizer: Tokenizer
    dataset: TokenDataset
    speakers: tuple[str, ...]
    """Speaker n of the model (from 1) is ``speakers[n - 1]``; 0 is no speaker."""
    training: TrainingData
    recordings: dict[str, Path]
    """Audio file of each utterance, by id."""


def prepare(
    run: Run, resolved: ResolvedSpec, hooks: Any, earlier_speakers: Sequence[str] = ()
) -> PreparedData:
    """Train the tokenizer if it is trainable, encode the corpus, and split off validation.

    Args:
        earlier_speakers: speakers of the model before those of the corpus, such as those of the run it begins from.

    Raises:
        DataError: the corpus cannot be used (reasons in ``data/rejects.jsonl``).
    """
    spec, directory = resolved.spec, run.directory
    began = time.perf_counter()
    items = list(resolved.corpus.plugin.read(config=resolved.corpus.config))
    utterances = [item for item in items if isinstance(item, Utterance)]
    codec = build_codec(resolved.codec)  # before the tokenizer's training: weights may be missing
    tokenizer, key = _tokenizer(resolved, utterances, directory)
    facts, workers = CodecFacts.of(codec), spec.data.workers
    check = partial(_check, tokenizer, spec.text.max_characters)
    here = EncodingTools(partial(encode, codec), check)
    _validate_requested_texts(spec, tokenizer, len(facts.codebook_sizes))
    progress = _Progress(run, hooks)
    dataset = build_tokens(
        items,
        directory=directory / "data",
        tools=(lambda: here) if workers == 1 else partial(_make_tools, resolved, directory),
        facts=facts,
        settings=_settings(resolved),
        min_seconds=spec.data.min_seconds,
        max_seconds=spec.data.max_seconds,
        max_rejects=spec.data.max_rejects,
        workers=workers,
        report=progress,
        others=[one for one in sorted(directory.parent.glob("*/data")) if one.parent != directory],
    )
    texts = encode_corpus_texts(
        dataset.texts,
        directory / "data" / "text.safetensors",
        hashlib.sha256(f"{key} {resolved.tokenizer.record.version} {dataset.content}".encode()).hexdigest(),
        (lambda: tokenizer) if workers == 1 else partial(build_tokenizer, resolved, directory),
        workers,
    )
    split = dataset.split(spec.data.valid, spec.seed)
    new = set(dataset.speakers) - {"", *earlier_speakers}
    speakers = (*earlier_speakers, *sorted(new))
    if spec.conditions.speaker and not speakers:
        raise DataError("conditions.speaker is true, but the corpus names no speakers; set speaker: false")
    write_atomic(directory / SPEAKERS_FILE, json.dumps(speakers).encode())
    number = {name: index for index, name in enumerate(speakers, start=1)} | {"": 0}
    training = TrainingData(
        codes=dataset.codes,
        lengths=dataset.lengths.tolist(),
        texts=texts,
        speakers=[number[name] for name in dataset.speakers],
        ids=dataset.ids,
        train=split.train.tolist(),
        valid=split.valid.tolist(),
        frame_rate=frame_rate(codec),
        identity=hashlib.sha256(f"{key} {dataset.content}".encode()).hexdigest(),
    )
    write_data_summary(
        directory,
        DataSummary(
            utterances=len(dataset),
            valid=len(split.valid),
            seconds=dataset.seconds,
            rejects=dataset.rejects,
            codec=CodecInfo(
                name=resolved.codec.record.name,
                sample_rate=facts.sample_rate,
                hop=facts.hop,
                codebook_sizes=facts.codebook_sizes,
            ),
        ),
    )
    hooks.stage_finished(
        run=run, stage="data", seconds=time.perf_counter() - began if progress.worked else 0.0
    )
    recordings = {item.id: item.audio for item in utterances}
    return PreparedData(codec, tokenizer, dataset, speakers, training, recordings)


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
    tokenizer, _ = _tokenizer(resolved, [one for one in items if isinstance(one, Utterance)], directory)
    codec: Any = build_codec(resolved.codec)
    if isinstance(codec, nn.Module):
        codec.to(device)
    facts = CodecFacts.of(codec)
    tools = EncodingTools(
        lambda audio: encode(codec, audio.to(device)), partial(_check, tokenizer, spec.text.max_characters)
    )
    records = build_part(
        items,
        part,
        parts,
        directory=directory / "data",
        tools=lambda: tools,
        facts=facts,
        settings=_settings(resolved),
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


def _by_content(value: Any) -> Any:
    """A configuration with the SHA-256 of each file in place of its path, which depends on the machine."""
    if isinstance(value, dict):
        return {name: _by_content(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_by_content(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute() and Path(value).is_file():
        return sha256(Path(value))
    return value


def _make_tools(resolved: ResolvedSpec, directory: Path) -> EncodingTools:
    """Build codec and tokenizer in a worker process."""
    codec = build_codec(resolved.codec)
    tokenizer = build_tokenizer(resolved, directory)
    return EncodingTools(
        partial(encode, codec), partial(_check, tokenizer, resolved.spec.text.max_characters)
    )


def _check(tokenizer: Tokenizer, max_characters: int, text: str) -> None:
    check_text(text, max_characters)
    if not read_ids(tokenizer, text):
        raise TextError("the tokenizer gives nothing for it")


def _settings(resolved: ResolvedSpec) -> dict[str, Any]:
    """Inputs of the token shards besides the corpus itself."""
    codec, tokenizer = resolved.codec, resolved.tokenizer
    return {
        "codec": [codec.record.full_name, codec.record.version, codec.config.model_dump(mode="json")],
        "tokenizer": [
            tokenizer.record.full_name,
            tokenizer.record.version,
            tokenizer.config.model_dump(mode="json"),
        ],
        "max_characters": resolved.spec.text.max_characters,
    }


def _validate_requested_texts(spec: Spec, tokenizer: Tokenizer, codebooks: int) -> None:
    """Validate the texts to be synthesized after training, read as the trained voice will read them."""
    section = spec.synthesize
    reader = speaking_tokenizer(tokenizer, section.unknown, section.lexicon)
    for key, texts in (
        ("synthesize.texts", section.texts),
        ("evaluate.unseen", spec.evaluate.unseen),
    ):
        for place, text in enumerate(texts):
            try:
                check_speakable(text, reader, spec.text.max_characters)
            except TextError as error:
                raise TextError(f"{key}[{place}]: {error}") from None
    Sampling(**{field.name: getattr(section, field.name) for field in fields(Sampling)}).spread(codebooks)


class _Progress:
    """Report encoding progress to the hooks; ``worked`` is true if there was anything to encode."""

    def __init__(self, run: Run, hooks: Any) -> None:
        self.run, self.hooks = run, hooks
        self.started = self.worked = False

    def __call__(self, done: int, total: int) -> None:
        if self.started:
            self.hooks.stage_progress(run=self.run, stage="data", done=done, info={})
            return
        self.started, self.worked = True, done < total
        if self.worked:
            self.hooks.stage_started(run=self.run, stage="data", total=total, done=done)


def _tokenizer(
    resolved: ResolvedSpec, utterances: Sequence[Utterance], directory: Path
) -> tuple[Tokenizer, str]:
    """The tokenizer, trained on the corpus's texts unless it has been before, and the key of its inputs.

    Raises:
        CheckpointError: the run was trained on other texts; its tokenizer is kept.
    """
    chosen, path = resolved.tokenizer, directory / TOKENIZER_FILE
    corpus = [[one.id, one.text, one.speaker] for one in utterances]
    config = chosen.config.model_dump(mode="json")
    key, by_paths = (
        hashlib.sha256(json.dumps([chosen.record.full_name, one, corpus]).encode()).hexdigest()
        for one in (_by_content(config), config)
    )
    known = read_tokenizer_key(directory)
    if known == by_paths:
        key = by_paths  # of an earlier version of lina: checkpoints refer to it
    if known != key:
        if known is not None and has_checkpoints(directory):
            raise CheckpointError(
                f"{directory}: was trained on other utterances: the corpus has changed since; "
                "choose another name or train.out, or delete that directory"
            )
        trained = chosen.plugin.train([one.text for one in utterances], config=chosen.config)
        write_atomic(path, json.dumps({"key": key, "trained": trained}).encode())
    return build_tokenizer(resolved, directory), key
