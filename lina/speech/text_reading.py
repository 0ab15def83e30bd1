"""The tokenizer of a voice that speaks: unknown characters, a lexicon, SSML."""

from pathlib import Path
from typing import Literal

from lina.core.errors import TextError
from lina.core.protocols import Tokenizer
from lina.core.text.lexicon import read_lexicon
from lina.core.text.ssml import strip_ssml


def speaking_tokenizer(
    tokenizer: Tokenizer, unknown: Literal["skip", "refuse"], lexicon: Path | None
) -> Tokenizer:
    """The tokenizer of a run as its voice uses it; capabilities that it lacks are not needed for ``skip``.

    Raises:
        TextError: the lexicon cannot be read, or the tokenizer has no phonemes.
    """
    if unknown == "skip" and hasattr(tokenizer, "skipping_unknown"):
        tokenizer = tokenizer.skipping_unknown()
    if lexicon is None:
        return tokenizer
    if not hasattr(tokenizer, "with_lexicon"):
        raise TextError(
            f"{lexicon}: a lexicon needs a tokenizer that reads phonemes, and this run's reads letters"
        )
    entries = read_lexicon(lexicon)
    try:
        found: Tokenizer = tokenizer.with_lexicon(entries)
    except TextError as error:
        raise TextError(f"{lexicon}: {error}") from None
    return found


def plain_text(text: str, tokenizer: Tokenizer) -> str:
    """A text as the sentences are cut of it: without SSML, but for its pauses."""
    return strip_ssml(text, getattr(tokenizer, "reads_phonemes", False))
