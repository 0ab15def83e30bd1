"""Audio prompts: a recording with its transcript, which synthesis continues in the same voice."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.audio.codec import AnyCodec, encode, validate_codes
from lina.core.audio.read import AudioError, read_audio


@dataclass(frozen=True, eq=False)
class Prompt:
    """Audio that precedes the speech and is not part of the output."""

    audio: str | Path | Int[Tensor, "P Q"]
    """A recording, or codes of the run's codec, such as those of an earlier ``Speech``."""
    transcript: str
    """Verbatim transcript of the audio."""


@torch.no_grad()
def encode_prompt(prompt: Prompt, codec: AnyCodec, min_seconds: float, max_seconds: float) -> Prompt:
    """Encode a prompt's recording, read and checked like one of a corpus, and cut to whole frames.

    Cut rather than padded with silence (as the end of a training recording is), because the speech continues there.

    Raises:
        AudioError: the recording cannot be used.
        DataError: the codes are of another codec.
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
