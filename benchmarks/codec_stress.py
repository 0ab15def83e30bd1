"""Sounds that no codec was made for: what comes out must be finite, and not louder than what went in by 6 dB."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode, decoder_stream, encode

SECONDS = 2.0
GAIN = 6.0
"""dB: most that the output may be louder (root mean square over the whole sound)."""
FLOOR = -60.0
"""dB of full scale: softer sounds count as this loud."""


class Outcome(NamedTuple):
    sound: str
    way: str
    """``whole`` or ``frames``."""
    gain: float
    """dB, output against input, both at least at the floor."""
    finite: bool

    @property
    def holds(self) -> bool:
        return self.finite and self.gain <= GAIN


def sounds(sample_rate: int) -> dict[str, Float[Tensor, " samples"]]:
    """Two seconds of each, the same every time."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(int(SECONDS * sample_rate)) / sample_rate
    noise = torch.randn(len(time), generator=generator)
    chord = sum(torch.sin(2 * math.pi * hz * time) for hz in (220.0, 277.18, 329.63, 440.0, 880.0))
    impulses = torch.zeros_like(time)
    impulses[:: sample_rate // 10] = 1.0
    return {
        "silence": torch.zeros_like(time),
        "very soft noise": 1e-4 * noise,
        "DC": torch.full_like(time, 0.5),
        "full-scale DC": torch.ones_like(time),
        "tone": 0.5 * torch.sin(2 * math.pi * 440.0 * time),
        "clipped tone": (20.0 * torch.sin(2 * math.pi * 150.0 * time)).clamp(-1.0, 1.0),
        "chord": 0.19 * torch.as_tensor(chord),
        "white noise": (0.25 * noise).clamp(-1.0, 1.0),
        "clipped noise": (4.0 * noise).clamp(-1.0, 1.0),
        "impulses": impulses,
        "one impulse": torch.nn.functional.one_hot(torch.tensor(len(time) // 2), len(time)).float(),
        "fast alternation": torch.where(torch.arange(len(time)) % 2 == 0, 1.0, -1.0),
    }


def stress(codec: AnyCodec) -> Iterator[Outcome]:
    """Every sound through a codec: decoded whole, and frame by frame."""
    for name, sound in sounds(codec.sample_rate).items():
        with torch.inference_mode():
            codes = encode(codec, sound.expand(1, codec.channels, -1))
            yield _outcome(name, "whole", sound, decode(codec, codes))
            yield _outcome(name, "frames", sound, _by_frames(codec, codes))


def table(name: str, outcomes: list[Outcome]) -> str:
    lines = [f"{name}: gain in dB, decoded whole and by frames (at most {GAIN:g})"]
    for whole, frames in zip(outcomes[::2], outcomes[1::2], strict=True):
        outcome = "holds" if whole.holds and frames.holds else "BROKEN"
        outcome += "" if whole.finite and frames.finite else ": not finite"
        lines.append(f"{whole.sound:>18} {whole.gain:>7.1f} {frames.gain:>7.1f}  {outcome}")
    return "\n".join(lines)


def _outcome(sound: str, way: str, audio: Tensor, decoded: Tensor) -> Outcome:
    finite = bool(torch.isfinite(decoded).all())
    return Outcome(sound, way, _level(decoded) - _level(audio) if finite else math.inf, finite)


def _level(audio: Tensor) -> float:
    return max(FLOOR, 10.0 * math.log10(float(audio.double().square().mean()) + 1e-20))


def _by_frames(codec: AnyCodec, codes: Tensor) -> Tensor:
    stream = decoder_stream(codec)
    state = stream.initial_state(1)
    frames = []
    for frame in codes.unbind(dim=1):
        audio, state = stream.step(frame, state)
        frames.append(audio)
    return torch.cat([*frames, stream.flush(state)], dim=2)
