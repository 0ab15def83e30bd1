"""The tokenizer as a voice uses it: unknown characters, a lexicon, SSML."""

from pathlib import Path
from typing import Literal

from lina.core.errors import TextError
from lina.core.protocols import Tokenizer
from lina.core.text.lexicon import read_lexicon
from lina.core.text.ssml import strip_ssml


def speaking_tokenizer(
    tokenizer: Tokenizer, unknown: Literal["skip", "refuse"], lexicon: Path | None
) -> Tokenizer:
    """Apply ``synthesize.unknown`` and a lexicon to a run's tokenizer.

    With ``skip``, a tokenizer that cannot skip unknown characters is used unchanged.

    Raises:
        TextError: the lexicon cannot be read, or the tokenizer has no phonemes.
    """
    if unknown == "skip" and hasattr(tokenizer, "skipping_unknown"):
        tokenizer = tokenizer.skipping_unknown()
    if lexicon is None:
        return tokenizer
    if not hasattr(tokenizer, "with_lexicon"):
        raise TextError(
            f"{lexicon}: a lexicon needs a tokenizer of phonemes, and this run's reads letters; "
            "leave the lexicon out"
        )
    entries = read_lexicon(lexicon)
    try:
        extended: Tokenizer = tokenizer.with_lexicon(entries)
    except TextError as error:
        raise TextError(f"{lexicon}: {error}") from None
    return extended


def plain_text(text: str, tokenizer: Tokenizer) -> str:
    """Strip SSML from a text, except for its pauses."""
    return strip_ssml(text, getattr(tokenizer, "reads_phonemes", False))
