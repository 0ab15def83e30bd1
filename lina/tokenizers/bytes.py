"""UTF-8 bytes: no training, every character. Ids 0..255, BEGIN 256, END 257."""

from collections.abc import Sequence
from typing import Any

from lina.core.plugin import PluginConfig, TokenizerPlugin
from lina.tokenizers.stream import SegmentStream, printable

BEGIN, END = 256, 257


class BytesConfig(PluginConfig):
    """Configuration of the bytes tokenizer."""

    lowercase: bool = False
    """Lower each character by itself (so a capital sigma becomes σ wherever it stands)."""


class BytesTokenizer(SegmentStream):
    """Every character is a segment of its own; only lone surrogates are refused."""

    vocab_size, begin, end = 258, BEGIN, END

    def __init__(self, lowercase: bool) -> None:
        self.lowercase = lowercase

    def segment_end(self, text: str, start: int) -> int | None:
        return len(text) if start < len(text) else None

    def encode(self, text: str) -> list[int]:
        # str.lower looks at the neighbors of a sigma, which a stream does not have
        lowered = "".join(map(str.lower, text)) if self.lowercase else text
        return list(lowered.encode("utf-8"))

    def labels(self, ids: Sequence[int]) -> list[str]:
        """The character at its first byte and ``·`` at the others; a byte that is not UTF-8 as ``0x80``.

        Raises:
            ValueError: an id is not in 0 .. 257.
        """
        labels: list[str] = []
        while len(labels) < len(ids):
            labels += _first_character(ids[len(labels) : len(labels) + 4])
        return labels


def _first_character(ids: Sequence[int]) -> list[str]:
    """Labels of the first character, or of a single id that starts no character."""
    first = ids[0]
    if not 0 <= first <= END:
        raise ValueError(f"id {first} is not in 0 .. {END}")
    if first in (BEGIN, END):
        return ["BEGIN" if first == BEGIN else "END"]
    for length in range(1, len(ids) + 1):
        try:
            character = bytes(ids[:length]).decode("utf-8")
        except ValueError:
            continue
        return [printable(character), *["·"] * (length - 1)]
    return [f"0x{first:02X}"]


class Bytes(TokenizerPlugin):
    """Tokenizer of UTF-8 bytes, without training or dependencies."""

    Config = BytesConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": BytesConfig()}

    @classmethod
    def build(cls, *, config: BytesConfig, trained: Any = None) -> BytesTokenizer:
        return BytesTokenizer(config.lowercase)
