"""Several texts at once: all their sentences are rows of one batch, and the audio of each text is decoded whole."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lina.core.generation.generate import collect
from lina.core.text.sentences import sentences_of_text
from lina.speech.best_of import Choice, choose
from lina.speech.lines import Line, list_lines
from lina.speech.long_form import end_sentence
from lina.speech.options import SpeechOptions
from lina.speech.request import each_prompt
from lina.speech.result import SentenceSpeech, Speech, decode_after, join_speech, with_silence
from lina.speech.threads import limit_threads

if TYPE_CHECKING:
    from lina.speech.voice import Voice

ROWS = 64
"""Rows of a batch at most: sentences times ``best_of``. What a row says does not depend on the others."""

Key = tuple[int, int]
"""Text and line."""


def speak_side_by_side(voice: "Voice", texts: Sequence[str], asked: SpeechOptions) -> list[Speech]:
    """Speak texts.

    Raises:
        TextError: a text cannot be spoken; before anything is spoken.
        LinaError: another number of prompts than of texts.
    """
    by_text = [
        list_lines(voice, sentences_of_text(text), prompt)
        for text, prompt in zip(texts, each_prompt(asked.prompt, len(texts)), strict=True)
    ]
    work = [
        ((row, line.place), line.script)
        for row, lines in enumerate(by_text)
        for line in lines
        if line.script is not None
    ]
    size, choices = max(1, ROWS // asked.best_of), dict[Key, Choice]()
    with limit_threads(voice.threads):
        for start in range(0, len(work), size):
            keys, scripts = zip(*work[start : start + size], strict=True)
            chosen = choose(collect(voice.frames(scripts, asked, keys)), scripts, asked.seed)
            choices |= zip(keys, chosen, strict=True)
        return [_join(voice, row, lines, choices) for row, lines in enumerate(by_text)]


def _join(voice: "Voice", row: int, lines: Sequence[Line], choices: dict[Key, Choice]) -> Speech:
    sentences: list[SentenceSpeech] = []
    frames: Iterable[tuple[Tensor, Line]] = ()
    spoken = [line for line in lines if line.script is not None]
    if spoken:
        sentences = [end_sentence(voice, line, choices[row, line.place]) for line in spoken]
        codes = torch.cat([one.codes for one in sentences])
        audio = decode_after(voice.codec, sentences[0].script.prompt, codes)
        origin = [line for line, one in zip(spoken, sentences, strict=True) for _ in one.codes]
        frames = zip(audio.split(voice.codec.hop, dim=1), origin, strict=True)
    pieces = with_silence(voice.codec, frames, lambda: lines[-1].seconds)
    return join_speech(voice.codec, pieces, sentences)
