"""A long text as a stream of sentences, however long it is: a file is read piece by piece."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lina.core.errors import TextError
from lina.core.text.validate import sentence_end, split_sentences

PIECE = 65_536
"""Characters read at once."""

LONGEST = 100_000
"""A sentence that has not ended after so many characters is none."""


def sentences(pieces: Iterable[str]) -> Iterator[str]:
    """The sentences of a text that comes in pieces; the rules are those of ``lina.core.text.validate.sentence_end``.

    Lines may be wrapped, as in the plain text of a book: within a sentence any run of blanks becomes one space.
    Sentences without a letter or digit, such as a line of asterisks, are left out.

    Raises:
        TextError: no sentence ends for a very long time.
    """
    rest = ""
    for piece in pieces:
        rest += piece
        start = 0
        while (end := sentence_end(rest, start)) is not None:
            yield from _spoken(rest[start:end])
            start = end
        rest = rest[start:]
        if len(rest) > LONGEST:
            raise TextError(
                f"no sentence ends in the {LONGEST} characters that begin with {rest[:40]!r}; "
                "is this a text of sentences?"
            )
    yield from _spoken(rest)


def sentences_of_text(text: str) -> list[str]:
    """The sentences of a whole text, as ``sentences`` yields them.

    A text without any letter or digit is one sentence as it is: the tokenizer has the last word on it.
    """
    return [one for sentence in split_sentences(text) for one in _spoken(sentence)] or [text]


def sentences_of_file(path: Path) -> Iterator[str]:
    """The sentences of a UTF-8 text file.

    Raises:
        TextError: it cannot be read, or is no such text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from sentences(iter(lambda: file.read(PIECE), ""))
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: is not UTF-8 text ({error.reason}); convert it first") from None


def _spoken(sentence: str) -> Iterator[str]:
    if any(map(str.isalnum, sentence)):
        yield " ".join(sentence.split())
