"""Audio prompts: a recording with its transcript, which synthesis continues in the same voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # options of a voice of graphs need the class, and no torch
    from jaxtyping import Int
    from torch import Tensor

    from lina.core.audio.codec import AnyCodec


@dataclass(frozen=True, eq=False)
class Prompt:
    """Audio that precedes the speech and is not part of the output."""

    audio: str | Path | Int[Tensor, "P Q"]
    """A recording, or codes of the run's codec, such as those of an earlier ``Speech``."""
    transcript: str
    """Verbatim transcript of the audio."""


Prompts = Prompt | Sequence[Prompt | None] | None
"""One prompt for all texts, or one (or None) for each."""


def encode_prompt(prompt: Prompt, codec: AnyCodec, min_seconds: float, max_seconds: float) -> Prompt:
    """Encode a prompt's recording, read and checked like one of a corpus, and cut to whole frames.

    Cut rather than padded with silence (as the end of a training recording is), because the speech continues there.

    Raises:
        AudioError: the recording cannot be used.
        DataError: the codes are of another codec.
    """
    import torch

    from lina.core.audio.codec import encode, validate_codes
    from lina.core.audio.read import AudioError, read_audio

    audio = prompt.audio
    if isinstance(audio, torch.Tensor):
        codes = audio[None]
    else:
        sound = read_audio(audio, codec.sample_rate, codec.channels, max_seconds)
        if sound.shape[1] < min_seconds * codec.sample_rate:
            raise AudioError(audio, f"too short: less than {min_seconds:g} s")
        if sound.shape[1] < codec.hop:
            raise AudioError(audio, f"too short: less than one frame of {codec.hop} samples")
        with torch.no_grad():
            codes = encode(codec, sound[None, :, : sound.shape[1] // codec.hop * codec.hop])
    validate_codes(codec, codes)
    return Prompt(codes[0].to("cpu", torch.int64), prompt.transcript)
