"""``lina say --file``: a long text, read from a file while it is spoken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.errors import TextError


def read_file(voice: Any, path: Path, *, carry: bool = False, **options: Any) -> Iterator[Any]:
    """The audio of a text file in chunks.

    The file is read twice, so that a sentence that cannot be spoken is told of before hours of speech, not amid them.

    Raises:
        TextError: the file cannot be read, holds no sentence, or one that cannot be spoken.
    """
    from lina.core.text.sentences import sentences_of_file
    from lina.speech.segments import count_sentences

    try:
        count = count_sentences(voice, sentences_of_file(path), carry=carry, prompt=options.get("prompt"))
    except TextError as error:
        message = str(error)
        raise TextError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    if not count:
        raise TextError(f"{path}: holds no sentence; write one")
    chunks: Iterator[Any] = voice.read(sentences_of_file(path), carry=carry, **options)
    return chunks
