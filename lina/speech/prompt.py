"""A recording and what is said in it, for a model to go on from: the same voice, saying something new."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.audio.codec import AnyCodec, encode, validate_codes
from lina.core.audio.read import AudioError, read_audio


@dataclass(frozen=True, eq=False)
class Prompt:
    """What the speech begins with, and is not part of what is given out."""

    audio: str | Path | Int[Tensor, "P Q"]
    """A recording, or codes of the run's codec, such as those of earlier ``Speech``."""
    transcript: str
    """What is said in it, word for word."""


@torch.no_grad()
def encoded(prompt: Prompt, codec: AnyCodec, min_seconds: float, max_seconds: float) -> Prompt:
    """The prompt with codes for audio. A recording is read and checked as one of a corpus is, and cut to whole frames.

    Cut and not filled up with silence, as the end of a training recording is: the speech goes on there.

    Raises:
        AudioError: the recording cannot be used; says why.
        DataError: codes of another codec.
    """
    audio = prompt.audio
    if isinstance(audio, Tensor):
        codes = audio[None]
    else:
        sound = read_audio(audio, codec.sample_rate, codec.channels, max_seconds)
        if sound.shape[1] < min_seconds * codec.sample_rate:
            raise AudioError(audio, f"too short: less than {min_seconds:g} s")
        if sound.shape[1] < codec.hop:
            raise AudioError(audio, f"too short: less than one frame of {codec.hop} samples")
        codes = encode(codec, sound[None, :, : sound.shape[1] // codec.hop * codec.hop])
    validate_codes(codec, codes)
    return Prompt(codes[0].to("cpu", torch.int64), prompt.transcript)
