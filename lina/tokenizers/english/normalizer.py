"""Streaming text normalization of English: pieces of text in, final words out."""

import re

from lina.core.text.lexicon import Lexicon
from lina.core.text.sentence_ends import sentence_end
from lina.tokenizers.english import Style, normalize
from lina.tokenizers.english.characters import Unknown, parted, plain
from lina.tokenizers.english.emoticons import strip_emoticons
from lina.tokenizers.english.markup import strip_markup
from lina.tokenizers.english.quotes import strip_quotes
from lina.tokenizers.english.sounds import MARK, take_sounds

LONGEST_SENTENCE = 400
"""Maximum characters; longer sentences are cut at a clause, else at a blank, else here."""

_CLAUSE_END = re.compile(r".*[,;:—)]\s", re.DOTALL)
_BLANK = re.compile(r".*\s", re.DOTALL)
_STOP_AFTER_LETTERS = re.compile(r"((?:[A-Z]\.)+[A-Z])\.(?!\w)")
_LONG_COMPOUND = re.compile(r"\S{48,}")
_JOINT = re.compile(r"(?:[^\w\s]|_)+(?=\w)")


class EnglishNormalizer:
    """A stream over text: folding ``step`` over any split, then ``flush``, gives ``parallel_forward``.

    Sentences are normalized one by one; the state is the text of the unfinished one. The cost is linear in the text,
    and the state never exceeds ``LONGEST_SENTENCE`` characters.
    """

    def __init__(
        self, british: bool = False, unknown: Unknown = "refuse", lexicon: Lexicon | None = None
    ) -> None:
        self.british, self.unknown, self.lexicon = british, unknown, lexicon
        self._style = Style(day_first=british, joiner=".")

    def initial_state(self) -> str:
        return ""

    def parallel_forward(self, text: str) -> str:
        """Normalize a whole text.

        Raises:
            TextError: as ``words``.
        """
        words, state = self.step(text, self.initial_state())
        return words + self.flush(state)

    def step(self, piece: str, state: str) -> tuple[str, str]:
        """Normalize the complete sentences; return their words and the text of the unfinished one."""
        text, start, found, decided = state + piece, 0, [], len(state)
        while (end := self.segment_end(text, start, decided)) is not None:
            found.append(self._spaced(text[start:end]))
            start, decided = end, 0
        return "".join(found), text[start:]

    def flush(self, state: str) -> str:
        return self._spaced(state.rstrip())

    def segment_end(self, text: str, start: int, decided: int = 0) -> int | None:
        """End of the first segment of ``text[start:]`` if it is final, else None.

        ``decided``: length of the beginning of ``text[start:]`` for which the answer was None.
        """
        window = text[start : start + LONGEST_SENTENCE + 1]
        end = sentence_end(window, 0, decided)
        if end is None and len(window) > LONGEST_SENTENCE:
            held = window[:LONGEST_SENTENCE]
            cut = _CLAUSE_END.match(held) or _BLANK.match(held)
            end = cut.end() if cut else LONGEST_SENTENCE
        return None if end is None else start + end

    def _spaced(self, segment: str) -> str:
        words = self.words(segment)
        return words + " " * bool(words and segment[-1].isspace())

    def words(self, segment: str) -> str:
        """Words, punctuation, spelled letters as ``F.B.I``, and ``[x](/sounds/)`` for phonemes in brackets.

        Raises:
            TextError: a character cannot be read as English, or brackets have invalid phonemes.
        """
        text = strip_markup(strip_emoticons(segment))
        if self.lexicon is not None:
            text = self.lexicon.mark(text)
        text, sounds = take_sounds(text, self.british)
        parts = [plain(part, self.unknown) for part in text.split(MARK)]
        read = strip_quotes(normalize(MARK.join(parts), self._style)).replace("’", "'")
        # A phonemizer looks at all parts of a compound together, which is quadratic in their number.
        read = parted(_LONG_COMPOUND.sub(_at_joints, read)).strip()
        first, *others = _STOP_AFTER_LETTERS.sub(r"\1 .", read).split(MARK)
        return first + "".join(f"[x](/{one}/){after}" for one, after in zip(sounds, others, strict=True))


def _at_joints(compound: re.Match[str]) -> str:
    return _JOINT.sub(lambda joint: joint[0] if joint[0] == MARK else f"{joint[0]} ", compound[0])
