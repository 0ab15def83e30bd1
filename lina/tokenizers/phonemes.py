"""English phonemes with stress, punctuation and word boundaries, by hibari-tts.

Tried in November 2026 on 10 sentences with numbers, dates, heteronyms, accents and made-up words:

- hibari-tts 0.2.1: Apache-2.0, a wheel of 14 MB that needs numpy and onnxruntime; loads in 0.5 s, 3 ms per
  sentence; reads all of them.
- gruut 2.4.0 with gruut-lang-en: MIT, 15 MB of sources and 13 more packages, one LGPL; loads in 4 s, 200 ms per
  sentence; reads nothing of ``1/2``, half of ``résumé``, and spells ``NASA``.

hibari ports misaki (the phonemes of Kokoro-82M): a lexicon, a tagger that distinguishes the two readings of
``read``, and a network for unknown words. Its rules for numbers and signs are not used: ``lina.tokenizers.english``
writes those out in words.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from lina.core.errors import PluginError, TextError
from lina.core.plugin import PluginConfig, TokenizerPlugin
from lina.core.text.lexicon import Lexicon
from lina.tokenizers.english.characters import SILENT, Unknown, excerpt, remark
from lina.tokenizers.english.normalizer import LONGEST_SENTENCE, EnglishNormalizer
from lina.tokenizers.english.pronunciation import certain_reading, with_stress
from lina.tokenizers.english.sounds import take_sounds
from lina.tokenizers.stream import SegmentStream, printable

__all__ = ["INVENTORY", "LONGEST_SENTENCE", "Phonemes", "PhonemesConfig", "PhonemesTokenizer"]

BEGIN, END = 0, 1
INVENTORY = ' .,;:!?…—"“”()ˈˌːbdfhjklmnpstvwzTðŋɡɹʀʃʒʤʧθAIOQWYaiuyæɐɑɒɔəɛɜɪʊʌᵊᵻ'
"""Symbol i has the id i + 2. Trained models depend on the order: append, never insert.

T is the flap of ``city``; the other capitals are diphthongs (A eɪ, I aɪ, O oʊ, Q əʊ, W aʊ, Y ɔɪ); a blank is
a word boundary.
"""
MAX_REPORTED = 30
"""Maximum unknown words that are logged per process."""

log = logging.getLogger("lina")

_IDS = {symbol: place + 2 for place, symbol in enumerate(INVENTORY)}
_BLANK_BEFORE_STOP = re.compile(r" \.")


class PhonemesConfig(PluginConfig):
    """Configuration of the phonemes tokenizer."""

    accent: Literal["american", "british"] = "american"


class PhonemesTokenizer(SegmentStream):
    """Phonemes of sentences, which are the segments: a reading depends on its sentence only."""

    vocab_size, begin, end = len(INVENTORY) + 2, BEGIN, END

    def __init__(
        self,
        read: Callable[[str], list[tuple[str, str, bool]]],
        british: bool = False,
        unknown: Unknown = "refuse",
        lexicon: Lexicon | None = None,
    ) -> None:
        """``read`` maps text to tokens: text, phonemes, and a flag for a blank after it.

        Its input is words and punctuation, with ``[x](/sounds/)`` for phonemes in brackets.
        """
        self.read, self.unknown = read, unknown
        self.normalizer = EnglishNormalizer(british, unknown, lexicon)

    reads_phonemes = True
    """Phonemes in brackets are read as written."""

    def skipping_unknown(self) -> "PhonemesTokenizer":
        """This tokenizer, with unknown characters left out with a warning."""
        return PhonemesTokenizer(self.read, self.normalizer.british, "skip", self.normalizer.lexicon)

    def with_lexicon(self, entries: Mapping[str, str]) -> "PhonemesTokenizer":
        """This tokenizer with a lexicon, whose words are read by their phonemes.

        Raises:
            TextError: a word has invalid phonemes.
        """
        for word, sounds in entries.items():
            try:
                take_sounds(f"[ˈ{sounds}]", self.normalizer.british)
            except TextError as error:
                raise TextError(f"lexicon, word {word!r}: {error}") from None
        return PhonemesTokenizer(self.read, self.normalizer.british, self.unknown, Lexicon(entries))

    def segment_end(self, text: str, start: int) -> int | None:
        return self.normalizer.segment_end(text, start)

    def next_end(self, text: str, start: int, decided: int) -> int | None:
        return self.normalizer.segment_end(text, start, decided)

    def encode(self, text: str) -> list[int]:
        phonemes = self.phonemes(text)
        if phonemes and text[-1].isspace():
            phonemes += " "
        return [self._id(symbol, text) for symbol in phonemes]

    def flush(self, state: str | None) -> list[int]:
        return super().flush(state and state.rstrip())

    def phonemes(self, sentence: str) -> str:
        """Phonemes of one sentence.

        Raises:
            TextError: as ``EnglishNormalizer.words``, or a word has no reading.
        """
        text = self.normalizer.words(sentence)
        try:
            tokens = self.read(text)
        except Exception as error:
            cause = " ".join(str(error).split())
            raise TextError(f"hibari cannot read {excerpt(text)} ({cause}); write it differently") from error
        symbols = []
        for token, sounds, blank in tokens:
            if not sounds and not SILENT.issuperset("".join(token.split())):
                if self.unknown == "refuse":
                    raise TextError(
                        f"hibari has no sound for {token!r} in {excerpt(text)}; write it differently"
                    )
                remark(f"{excerpt(token)} is left out: it has no reading in English")
            symbols.append(sounds + " " * blank)
        words = [place for place, (token, _, _) in enumerate(tokens) if any(map(str.isalpha, token))]
        if len(words) == 1:
            symbols[words[0]] = with_stress(symbols[words[0]])
        return _BLANK_BEFORE_STOP.sub(".", " ".join("".join(symbols).split()))

    def _id(self, symbol: str, text: str) -> int:
        if symbol not in _IDS:
            raise TextError(
                f"hibari reads {excerpt(text)} with {symbol!r}, no phoneme of lina's; write it differently"
            )
        return _IDS[symbol]

    def labels(self, ids: Sequence[int]) -> list[str]:
        """Label each id by its phoneme.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        for one in ids:
            if not 0 <= one < self.vocab_size:
                raise ValueError(f"id {one} is not in 0 .. {self.vocab_size - 1}")
        marks = ["BEGIN", "END"]
        return [marks[one] if one < 2 else printable(INVENTORY[one - 2]) for one in ids]


class Phonemes(TokenizerPlugin):
    """Tokenizer of English phonemes: fewer ambiguities than letters."""

    Config = PhonemesConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": PhonemesConfig()}

    @classmethod
    def build(cls, *, config: PhonemesConfig, trained: Any = None) -> PhonemesTokenizer:
        """Load hibari-tts.

        Raises:
            PluginError: hibari-tts cannot be imported.
        """
        try:
            from lina.tokenizers.hibari_g2p import G2P
        except ImportError as error:
            raise PluginError(
                f"tokenizer 'phonemes' needs hibari-tts ({error}); pip install hibari-tts"
            ) from error
        british = config.accent == "british"
        g2p = G2P(british)

        def look_up(word: str) -> str | None:
            found = g2p.lexicon.golds.get(word) or g2p.lexicon.silvers.get(word)
            return found if isinstance(found, str) else None

        def read(text: str) -> list[tuple[str, str, bool]]:
            tokens = g2p.tokenize(text)
            words = [token.text for token in tokens]
            for place, token in enumerate(tokens):
                if token.phonemes is None and (sounds := certain_reading(words, place, british, look_up)):
                    token.phonemes, token.rating = sounds, _CERTAIN
            tokens = g2p.phonemize_tokens(tokens)
            for token in tokens:
                if token.rating == _GUESSED and any(map(str.isalpha, token.text)):
                    _log_guessed(token.text, token.phonemes)
            return [(token.text, token.phonemes or "", bool(token.whitespace)) for token in tokens]

        return PhonemesTokenizer(read, british)


_CERTAIN = 5
"""hibari's rating of a predefined reading."""
_GUESSED = 2
"""hibari's rating of a reading that its network predicts from the letters."""


@lru_cache(maxsize=100_000)
def _log_guessed(word: str, sounds: str) -> None:
    count = _log_guessed.cache_info().misses
    if count <= MAX_REPORTED:
        more = "; further words are not logged" if count == MAX_REPORTED else ""
        log.info("%s is in no lexicon and read by its letters: [%s]%s", excerpt(word), sounds, more)
