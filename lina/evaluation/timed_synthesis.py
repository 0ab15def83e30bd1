"""One text spoken as a listener would get it, chunk after chunk, with the time that it took."""

import time
from dataclasses import dataclass
from typing import Any

from lina.core.text.sentences import sentences_of_text
from lina.speech.long_form import read
from lina.speech.result import SentenceSpeech, Speech, Spoken, join_speech
from lina.speech.voice import Voice


@dataclass(frozen=True)
class Timed:
    speech: Speech
    seconds: float
    """From the text to the last chunk."""
    first_audio: float
    """From the text to the first one."""


def speak_timed(voice: Voice, text: str, **options: Any) -> Timed:
    """Speak a text; options as for ``Voice.say``."""
    pieces: list[Spoken] = []
    sentences: list[SentenceSpeech] = []
    began = time.perf_counter()
    first_audio = None
    for piece in read(voice, sentences_of_text(text), on_sentence=sentences.append, **options):
        if first_audio is None:
            first_audio = time.perf_counter() - began
        pieces.append(piece)
    seconds = time.perf_counter() - began
    return Timed(
        join_speech(voice.codec, pieces, sentences), seconds, seconds if first_audio is None else first_audio
    )
