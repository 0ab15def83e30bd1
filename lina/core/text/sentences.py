"""Sentences of texts of any length, as a stream over pieces of text."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from lina.core.errors import TextError
from lina.core.text.validate import sentence_end, split_sentences

PIECE = 65_536
"""Characters per read."""

LONGEST = 100_000
"""Maximum characters of a sentence."""


MOST_CHARACTERS, MOST_CLAUSES = 160, 8
"""A sentence with more is spoken in parts: in long ones, and among alike items of a list, attention loses its place."""

_CLAUSE_END = re.compile(
    r"(?<=[^\W\d_])[\"'”’)]*(?:[,;:]|\s?[—–])[\"'”’)]*\s+(?=[\"'“‘(]*(?P<next>[^\W\d_][^\W_]*)\W)"
)
_GOES_ON = re.compile(r"[A-Z]{2,}|Jr|Sr|Inc|Ltd|Co|Esq|PhD|[IVX]+")
"""After a comma these belong to the words before it: Austin, TX."""


class SentenceCutter:
    """A stream over text that cuts it into sentences: folding ``step`` over any split, then ``flush``, is the same.

    The state is the text of the unfinished sentence. The rules are those of ``lina.core.text.validate.sentence_end``.
    Lines may be wrapped, as in the plain text of a book: within a sentence any run of blanks becomes one space.
    Sentences without a letter or digit, such as a line of asterisks, are left out.
    """

    def initial_state(self) -> str:
        return ""

    def step(self, piece: str, state: str) -> tuple[list[str], str]:
        """Return the sentences that have ended, and the rest of the text.

        Raises:
            TextError: a sentence is longer than ``LONGEST``.
        """
        text, start, found = state + piece, 0, list[str]()
        while (end := sentence_end(text, start)) is not None:
            found += _with_content(text[start:end])
            start = end
        rest = text[start:]
        if len(rest) > LONGEST:
            raise TextError(
                f"no sentence ends in the {LONGEST} characters that begin with {rest[:40]!r}; "
                "is this a text of sentences?"
            )
        return found, rest

    def flush(self, state: str) -> list[str]:
        return list(_with_content(state))

    def final_clauses(self, state: str) -> int:
        """Characters at the beginning of the unfinished sentence that are complete clauses, whatever follows.

        A clause is final as soon as the word after its mark is: nothing that is read together (``July 4, 2024``,
        ``Austin, TX``) goes across. Never fewer when the sentence grows.
        """
        ends = (match.end() for match in _CLAUSE_END.finditer(state) if not _GOES_ON.fullmatch(match["next"]))
        return max(ends, default=0)


def split_clauses(sentence: str) -> list[str]:
    """Cut a sentence that is long, or a long list, at clause marks, into parts of nearly equal length.

    No part has more than ``MOST_CHARACTERS`` characters or ``MOST_CLAUSES`` clauses, unless no clause mark stands
    within it. The parts joined by blanks are the sentence.
    """
    marks = [match.end() for match in _CLAUSE_END.finditer(sentence) if not _GOES_ON.fullmatch(match["next"])]
    count = max(math.ceil(len(sentence) / MOST_CHARACTERS), math.ceil((len(marks) + 1) / MOST_CLAUSES))
    clauses = [sentence[start:end] for start, end in pairwise([0, *marks, len(sentence)])]
    parts, held = [""], 0
    for clause in clauses:
        full = len(parts[-1]) >= len(sentence) / count or held == MOST_CLAUSES
        if parts[-1] and (full or len(parts[-1]) + len(clause.rstrip()) > MOST_CHARACTERS):
            parts.append("")
            held = 0
        parts[-1] += clause
        held += 1
    return [part.strip() for part in parts] if len(parts) > 1 else [sentence]


def sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the sentences of a text in pieces, as cut by ``SentenceCutter``.

    Raises:
        TextError: a sentence is longer than ``LONGEST``.
    """
    cutter = SentenceCutter()
    state = cutter.initial_state()
    for piece in pieces:
        found, state = cutter.step(piece, state)
        yield from found
    yield from cutter.flush(state)


def sentences_of_text(text: str) -> list[str]:
    """List the sentences of a whole text, as ``sentences`` yields them.

    A text without any letter or digit is a single sentence; the tokenizer decides about it.
    """
    return [one for sentence in split_sentences(text) for one in _with_content(sentence)] or [text]


def sentences_of_file(path: Path) -> Iterator[str]:
    """Yield the sentences of a UTF-8 text file.

    Raises:
        TextError: the file cannot be read or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from sentences(iter(lambda: file.read(PIECE), ""))
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: is not UTF-8 text ({error.reason}); convert it first") from None


def _with_content(sentence: str) -> Iterator[str]:
    if any(map(str.isalnum, sentence)):
        yield " ".join(sentence.split())
