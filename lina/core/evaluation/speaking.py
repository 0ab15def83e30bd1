"""One text spoken as a listener would get it, chunk after chunk, with the time that it took."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.best_of import choose
from lina.core.generate import Frame, collect
from lina.core.speech import Speech, decode_frames, decoded
from lina.core.voice import Voice


@dataclass(frozen=True)
class Timed:
    speech: Speech
    seconds: float
    """From the text to the last chunk."""
    first_audio: float
    """From the text to the first one."""


@torch.inference_mode()
def speak_timed(voice: Voice, text: str, **options: Any) -> Timed:
    """Speak a text; options as for ``Voice.say``. With ``best_of`` all audio is there at once, at the end."""
    asked = voice.asked(options)
    began = time.perf_counter()
    if asked.best_of > 1:
        (speech,) = voice.speak([text], **options)
        seconds = time.perf_counter() - began
        return Timed(speech, seconds, seconds)
    scripts = voice.scripts([text], asked)
    frames: list[Frame] = []

    def complete() -> Iterator[tuple[Int[Tensor, "1 Q"], None]]:
        for frame in voice.frames(scripts, asked):
            frames.append(frame)
            if bool(frame.complete[0]):
                yield frame.codes, None

    chunks = decode_frames(voice.codec, scripts[0].prompt, complete())
    times = [time.perf_counter() - began for _ in chunks]
    (choice,) = choose(collect(iter(frames)), scripts, asked.seed)
    return Timed(decoded(scripts[0], choice, voice.codec, voice.frontend), times[-1], times[0])
