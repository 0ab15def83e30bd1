"""Entries of a corpus: utterances, and rejects with their reason."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


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

    id: str
    where: str
    """File, with the line number in a manifest."""
    reason: str
