"""Inputs of an encoded corpus: what its shards depend on, the tools that make them, and the tokenizer of its texts."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import TOKENIZER_FILE
from lina.core.audio.codec import encode
from lina.core.errors import CheckpointError, TextError
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import sha256
from lina.core.protocols import Tokenizer
from lina.core.text.contract import read_ids
from lina.core.text.validate import check_text
from lina.core.utterance import Utterance
from lina.data.token_shards import EncodingTools
from lina.runs.build_model import build_codec
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.layout import build_tokenizer, read_tokenizer_key

DATA_KEYS = ("codec.", "tokenizer.", "data.", "text.max_characters")
"""Keys on which the encoded corpus depends."""
FREE_DATA_KEYS = ("data.max_rejects", "data.workers")
"""Those of them that may change between two starts."""


def shard_settings(resolved: ResolvedSpec) -> dict[str, Any]:
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


def make_tools(resolved: ResolvedSpec, directory: Path) -> EncodingTools:
    """Build codec and tokenizer in a worker process."""
    codec = build_codec(resolved.codec)
    tokenizer = build_tokenizer(resolved, directory)
    return EncodingTools(
        partial(encode, codec), partial(check_readable, tokenizer, resolved.spec.text.max_characters)
    )


def check_readable(tokenizer: Tokenizer, max_characters: int, text: str) -> None:
    """Check a text of the corpus.

    Raises:
        TextError: it is too long or blank, or the tokenizer reads nothing of it.
    """
    check_text(text, max_characters)
    if not read_ids(tokenizer, text):
        raise TextError("the tokenizer gives nothing for it")


def tokenizer_of(
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


def _by_content(value: Any) -> Any:
    """A configuration with the SHA-256 of each file in place of its path, which depends on the machine."""
    if isinstance(value, dict):
        return {name: _by_content(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_by_content(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute() and Path(value).is_file():
        return sha256(Path(value))
    return value
