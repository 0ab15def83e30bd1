"""Small files of a run directory: its speakers, and the tokenizer that they describe."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from lina.config.resolve import PluginChoice, ResolvedSpec
from lina.config.run_files import SPEAKERS_FILE, TOKENIZER_FILE
from lina.core.errors import CheckpointError, FileError
from lina.core.files import json_file
from lina.core.plugin import TokenizerPlugin
from lina.core.protocols import Tokenizer
from lina.core.text.contract import check_tokenizer

T = TypeVar("T")


def build_tokenizer(resolved: ResolvedSpec, directory: Path) -> Tokenizer:
    """The run's tokenizer, as trained on the corpus."""
    return tokenizer_of(resolved.tokenizer, directory)


def tokenizer_of(chosen: PluginChoice[TokenizerPlugin], directory: Path) -> Tokenizer:
    """The tokenizer of the run in ``directory``, whose spec chose this plugin."""
    path = directory / TOKENIZER_FILE
    learned = _read(path, _TOKENIZER)
    try:
        tokenizer = chosen.plugin.build(config=chosen.config, trained=learned.trained)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: tokenizer {chosen.record.name!r} cannot be built from it ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}); run the spec again"
        ) from error
    check_tokenizer(tokenizer, chosen.record)
    return tokenizer


def read_speakers(directory: Path) -> list[str]:
    """Names of the speakers of a run.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    return _read(directory / SPEAKERS_FILE, _SPEAKERS)


def read_tokenizer_key(directory: Path) -> str | None:
    """Key of the inputs of the run's tokenizer; None if there is no readable file."""
    try:
        return _read(directory / TOKENIZER_FILE, _TOKENIZER).key
    except CheckpointError:
        return None


class _TokenizerRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str | None = None
    trained: Any


_TOKENIZER = TypeAdapter(_TokenizerRecord)
_SPEAKERS = TypeAdapter(list[str])


def _read(path: Path, schema: TypeAdapter[T]) -> T:
    try:
        return json_file.read_json(path, schema)
    except FileError as error:
        raise CheckpointError(f"{error}; run the spec again") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); run the spec again") from None
