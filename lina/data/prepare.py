"""Stage data: from a corpus to token shards, a trained tokenizer and a table of speakers."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import SPEAKERS_FILE
from lina.config.spec import Spec
from lina.core.audio.codec import AnyCodec, encode, frame_rate
from lina.core.errors import DataError, TextError
from lina.core.files.atomic import write_atomic
from lina.core.generation.settings import Sampling
from lina.core.protocols import Tokenizer
from lina.core.text.speakable import check_speakable, speaking_tokenizer
from lina.core.utterance import Utterance
from lina.data.corpus_inputs import check_readable, make_tools, shard_settings, tokenizer_of
from lina.data.text_ids import encode_corpus_texts
from lina.data.token_dataset import TokenDataset
from lina.data.token_shards import CodecFacts, EncodingTools, build_tokens
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_codec
from lina.runs.files import write_data_summary
from lina.runs.hooks import Run
from lina.runs.layout import build_tokenizer
from lina.runs.records import CodecInfo, DataSummary


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
    tokenizer, key = tokenizer_of(resolved, utterances, directory)
    facts, workers = CodecFacts.of(codec), spec.data.workers
    check = partial(check_readable, tokenizer, spec.text.max_characters)
    here = EncodingTools(partial(encode, codec), check)
    _validate_requested_texts(spec, tokenizer, len(facts.codebook_sizes))
    progress = _Progress(run, hooks)
    dataset = build_tokens(
        items,
        directory=directory / "data",
        tools=(lambda: here) if workers == 1 else partial(make_tools, resolved, directory),
        facts=facts,
        settings=shard_settings(resolved),
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
