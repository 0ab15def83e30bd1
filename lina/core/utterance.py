"""One line of a corpus, or the reason why there is none."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Utterance(BaseModel):
    """A recording and what is said in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in the corpus."""
    audio: Path
    text: str
    speaker: str = ""


class Reject(BaseModel):
    """Something in a corpus that cannot be used, for ``rejects.jsonl``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    where: str
    """File, and line where that helps."""
    reason: str
