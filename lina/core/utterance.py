"""Entries of a corpus: utterances, and rejects with their reason."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _escaped(text: Any) -> Any:
    """Bytes of file names that are no text, and lone surrogates, as ``\\udcff``: no file could hold them."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


Escaped = Annotated[str, BeforeValidator(_escaped)]


class Utterance(BaseModel):
    """A recording and its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in the corpus."""
    audio: Path
    text: str
    speaker: str = ""


class Reject(BaseModel):
    """An unusable entry of a corpus, for ``rejects.jsonl``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Escaped
    where: Escaped
    """File, with the line number in a manifest."""
    reason: Escaped
