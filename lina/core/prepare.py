"""Stage data: from a corpus to token shards, a trained text frontend and a table of speakers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lina.core.codec import AnyCodec, encode, frame_rate
from lina.core.dataset import TokenDataset
from lina.core.errors import DataError, TextError
from lina.core.files import write_atomic
from lina.core.hooks import Run
from lina.core.protocols import Frontend
from lina.core.resolve import Resolved
from lina.core.run_files import CodecInfo, DataSummary, write_data_summary
from lina.core.shards import CodecFacts, build_tokens
from lina.core.text import check_text
from lina.core.train import TrainingData
from lina.core.utterance import Reject, Utterance
from lina.core.voice import SPEAKERS_FILE, TOKENIZER_FILE, build_frontend


@dataclass(frozen=True)
class Prepared:
    """What training and evaluation work on."""

    codec: AnyCodec
    frontend: Frontend
    dataset: TokenDataset
    speakers: tuple[str, ...]
    """Speaker n of the model (from 1) is ``speakers[n - 1]``; 0 is nobody."""
    training: TrainingData
    recordings: dict[str, Path]
    """Where the recording of an utterance is."""


def prepare(run: Run, resolved: Resolved, hooks: Any) -> Prepared:
    """Encode what is not encoded yet; train the frontend if it learns; set validation aside.

    Raises:
        DataError: the corpus cannot be used (reasons in ``data/rejects.jsonl``).
    """
    spec, directory = resolved.spec, run.directory
    items = list(resolved.corpus.plugin.read(config=resolved.corpus.config))
    texts = [item.text for item in items if isinstance(item, Utterance)]
    frontend = _frontend(resolved, texts, directory)
    codec = resolved.codec.plugin.build(config=resolved.codec.config)
    facts = CodecFacts.of(codec)

    def check(text: str) -> None:
        check_text(text, spec.text.max_characters)
        if not frontend.parallel_forward(text):
            raise TextError("the text frontend gives nothing for it")

    hooks.stage_started(run=run, stage="data", total=len(items), done=0)
    dataset = build_tokens(
        items,
        directory=directory / "data",
        encode=lambda audio: encode(codec, audio),
        facts=facts,
        settings=_settings(resolved),
        min_seconds=spec.data.min_seconds,
        max_seconds=spec.data.max_seconds,
        max_rejects=spec.data.max_rejects,
        check_text=check,
        report=lambda done, total: hooks.stage_progress(run=run, stage="data", done=done, info={}),
    )
    split = dataset.split(spec.data.valid, spec.seed)
    speakers = tuple(sorted(set(dataset.speakers) - {""}))
    if spec.conditions.speaker and not speakers:
        raise DataError("conditions.speaker is true, but the corpus names no speakers; say speaker: false")
    write_atomic(directory / SPEAKERS_FILE, json.dumps(speakers).encode())
    number = {name: index for index, name in enumerate(speakers, start=1)} | {"": 0}
    training = TrainingData(
        codes=lambda index: dataset[index].codes,
        lengths=dataset.lengths.tolist(),
        texts=[frontend.parallel_forward(text) for text in dataset.texts],
        speakers=[number[name] for name in dataset.speakers],
        ids=dataset.ids,
        train=split.train.tolist(),
        valid=split.valid.tolist(),
        frame_rate=frame_rate(codec),
    )
    write_data_summary(
        directory,
        DataSummary(
            utterances=len(dataset),
            valid=len(split.valid),
            seconds=dataset.seconds,
            rejects=sum(isinstance(item, Reject) for item in items),
            codec=CodecInfo(
                name=resolved.codec.record.name,
                sample_rate=facts.sample_rate,
                hop=facts.hop,
                codebook_sizes=facts.codebook_sizes,
            ),
        ),
    )
    recordings = {item.id: item.audio for item in items if isinstance(item, Utterance)}
    return Prepared(codec, frontend, dataset, speakers, training, recordings)


def _settings(resolved: Resolved) -> dict[str, Any]:
    """All that the token shards depend on besides the corpus itself."""
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


def _frontend(resolved: Resolved, texts: Sequence[str], directory: Path) -> Frontend:
    """Train the frontend on the corpus's texts, unless that was done for the same texts before."""
    chosen, path = resolved.tokenizer, directory / TOKENIZER_FILE
    asked = [chosen.record.full_name, chosen.config.model_dump(mode="json"), texts]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    try:
        known = json.loads(path.read_text())["key"] == key
    except (OSError, ValueError, KeyError):
        known = False
    if not known:
        trained = chosen.plugin.train(texts, config=chosen.config)
        write_atomic(path, json.dumps({"key": key, "trained": trained}).encode())
    return build_frontend(resolved, directory)
