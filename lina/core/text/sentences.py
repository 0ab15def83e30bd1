"""Sentences of texts of any length, as a stream over pieces of text."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from lina.core.errors import TextError
from lina.core.text.pauses import PARAGRAPH_PAUSE
from lina.core.text.sentence_ends import CLOSERS, LONGEST_RUN, STOPS, ends_paragraph, sentence_end

PIECE = 65_536
"""Characters per read."""

LONGEST = 100_000
"""Maximum characters of a sentence."""


MOST_CHARACTERS, MOST_CLAUSES = 160, 8
"""A sentence with more is spoken in parts: in long ones, and among alike items of a list, attention loses its place."""

# Bounded, so that a text that grows is searched for clauses only in its last characters.
_CLAUSE_END = re.compile(
    r"(?<=[^\W\d_])[\"'”’)]{0,8}(?:[,;:]|\s?[—–])[\"'”’)]{0,8}\s{1,64}(?=[\"'“‘(]{0,8}(?P<next>[^\W\d_][^\W_]{0,39})\W)"
)
_CLAUSE_REACH = 160
"""Characters of a clause mark with its surroundings, at most."""
_GOES_ON = re.compile(r"[A-Z]{2,}|Jr|Sr|Inc|Ltd|Co|Esq|PhD|[IVX]+")
"""After a comma these belong to the words before it: Austin, TX."""

_TAGS = re.compile(r"</?(?!break\b|prosody\b)[A-Za-z][A-Za-z0-9]{0,20}(?:\s[^<>]{0,300})?>")
"""Tags, other than those that stand for silence or a rate."""

_WORD = re.compile(rf"[^\s<{re.escape(STOPS + CLOSERS)}]++")
_HELD = 4096
"""Characters of a sentence that are searched; those before are only stored."""


class CutterState(NamedTuple):
    """The text of the unfinished sentence: ``head`` in pieces, then ``tail``."""

    head: tuple[str, ...] = ()
    tail: str = ""
    content: bool = False
    """``head`` has a letter or digit."""
    final: int = 0
    """Characters at the beginning that are complete clauses, whatever follows."""
    later: bool = False
    """A sentence has been given out before."""
    paragraph: bool = False
    """A paragraph has ended since."""

    @property
    def text(self) -> str:
        return "".join(self.head) + self.tail


class SentenceCutter:
    """A stream over text that cuts it into sentences: folding ``step`` over any split, then ``flush``, is the same.

    The cost is linear in the text for any split. The rules are those of ``lina.core.text.sentence_ends``.
    Lines may be wrapped, as in the plain text of a book: within a sentence any run of blanks becomes one space.
    Sentences without a letter or digit, such as a line of asterisks, are left out. A sentence that begins a paragraph
    begins with ``PARAGRAPH_PAUSE``, except for the first.
    """

    def initial_state(self) -> CutterState:
        return CutterState()

    def step(self, piece: str, state: CutterState) -> tuple[list[str], CutterState]:
        """Return the sentences that have ended, and the unfinished one.

        ``final`` of the state: characters at its beginning that are complete clauses, whatever follows. A clause is
        final as soon as the word after its mark is: nothing that is read together (``July 4, 2024``, ``Austin, TX``)
        goes across.

        Raises:
            TextError: a sentence is longer than ``LONGEST``.
        """
        head, before, content, final, later, paragraph = state
        text, start, found = before + piece, 0, list[str]()
        decided, opening = len(before), head[0] if head else None
        while (end := sentence_end(text, start, decided, content, opening)) is not None:
            sentence = "".join(head) + text[start:end]
            found += _with_content(sentence, later, paragraph)
            later, paragraph = _after(sentence, later, paragraph)
            head, content, final = (), False, 0
            start, decided, opening = end, 0, None
        length = sum(map(len, head))
        tail = text[start:]
        if length + len(tail) > LONGEST:
            near = "".join(head)[:40] + tail[:40]
            raise TextError(
                f"no sentence ends in the {LONGEST} characters that begin with {near[:40]!r}; "
                "is this a text of sentences?"
            )
        if not piece.isalnum():  # else no word has ended
            final = max(final, length + _clauses_end(tail, max(0, decided - _CLAUSE_REACH)))
        return found, _shortened(CutterState(head, tail, content, final, later, paragraph), len(before))

    def flush(self, state: CutterState) -> list[str]:
        return list(_with_content(state.text, state.later, state.paragraph))


def _clauses_end(text: str, start: int) -> int:
    """End of the last complete clause whose mark is after ``start``; 0 without one."""
    matches = _CLAUSE_END.finditer(text, start)
    return max((match.end() for match in matches if not _GOES_ON.fullmatch(match["next"])), default=0)


def _shortened(state: CutterState, before: int) -> CutterState:
    """The same state with a short ``tail``, if it can be cut between two words; ``before`` is its former length.

    Tried once per ``_HELD`` characters, so that a tail without words costs no more.
    """
    tail = state.tail
    if len(tail) // _HELD <= before // _HELD:
        return state
    place = max((match.end() for match in _WORD.finditer(tail, 0, len(tail) - 2 * LONGEST_RUN)), default=0)
    if not place:
        return state
    content = state.content or any(map(str.isalnum, tail[:place]))
    return state._replace(head=(*state.head, tail[:place]), tail=tail[place:], content=content)


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

    Raises:
        TextError: a sentence is longer than ``LONGEST``.
    """
    return list(sentences([text])) or [text]


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


def _with_content(sentence: str, later: bool, paragraph: bool) -> Iterator[str]:
    if _has_content(sentence):
        pause = later and (paragraph or ends_paragraph(sentence[: len(sentence) - len(sentence.lstrip())]))
        yield f"{PARAGRAPH_PAUSE} " * pause + " ".join(sentence.split())


def _after(sentence: str, later: bool, paragraph: bool) -> tuple[bool, bool]:
    """``later`` and ``paragraph`` of the state after a sentence."""
    if _has_content(sentence):
        return True, ends_paragraph(sentence[len(sentence.rstrip()) :])
    return later, paragraph or ends_paragraph(sentence)


def _has_content(sentence: str) -> bool:
    return any(map(str.isalnum, _TAGS.sub("", sentence) if "<" in sentence else sentence))
