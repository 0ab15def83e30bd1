"""``lina say --file``: synthesize a long text file while reading it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lina.core.errors import FileError, TextError
from lina.core.files.checks import check_regular

MAX_DOCUMENT = 1_000_000


def read_file(voice: Any, path: Path, *, carry: bool = False, **options: Any) -> Iterator[Any]:
    """Synthesize a text file in chunks of audio.

    The file is read twice, so that a sentence that cannot be spoken fails before hours of speech instead of amid them.
    One that begins with ``<speak`` or an XML declaration is one SSML document of at most ``MAX_DOCUMENT`` bytes.

    Raises:
        TextError: the file cannot be read, holds no sentence, or has one that cannot be spoken.
    """
    from lina.speech.segments import count_sentences

    try:
        sentences = _sentences(voice, path)
        count = count_sentences(voice, sentences(), carry=carry, prompt=options.get("prompt"))
    except TextError as error:
        message = str(error)
        raise TextError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    if not count:
        raise TextError(f"{path}: holds no sentence; write one")
    chunks: Iterator[Any] = voice.read(sentences(), carry=carry, **options)
    return chunks


def _sentences(voice: Any, path: Path) -> Callable[[], Iterable[str]]:
    """A function that gives the sentences of a file from its beginning."""
    from lina.core.text.sentences import sentences_of_file, sentences_of_text
    from lina.core.text.speakable import plain_text

    try:
        check_regular(path)
        with path.open("rb") as file:
            beginning = file.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()
            document = beginning.startswith((b"<speak", b"<?xml"))
            content = beginning + file.read(MAX_DOCUMENT) if document else b""
        if len(content) > MAX_DOCUMENT:
            raise TextError(f"{path}: an SSML document has at most {MAX_DOCUMENT} bytes; split it")
        text = content.decode()
    except FileError as error:
        raise TextError(f"{error}; pass text that is not in a file by standard input: lina say -") from None
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: is not UTF-8 text ({error.reason}); convert it first") from None
    if not document:
        return partial(sentences_of_file, path)
    found = sentences_of_text(plain_text(text, voice.tokenizer))
    return lambda: iter(found)
