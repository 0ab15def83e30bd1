"""``lina say --file``: synthesize a long text file while reading it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.errors import TextError


def read_file(voice: Any, path: Path, *, carry: bool = False, **options: Any) -> Iterator[Any]:
    """Synthesize a text file in chunks of audio.

    The file is read twice, so that a sentence that cannot be spoken fails before hours of speech instead of amid them.

    Raises:
        TextError: the file cannot be read, holds no sentence, or has one that cannot be spoken.
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
