"""Spectrograms and text-audio attention as data for a template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.audio.mel import DECIBEL_FLOOR, decibels, hz_to_mel, mel_spectrogram
from lina.core.errors import FileError
from lina.report.audio import Clip
from lina.report.chart import Tick, ticks
from lina.report.numbers import short
from lina.report.picture import png

N_MELS = 80
MAX_COLUMNS = 320
MAX_LABEL = 12


@dataclass(frozen=True)
class Spectrogram:
    """Image of mel bands over a time axis that the clips of one sample share."""

    picture: str
    share: float
    """Fraction of the time axis that the image covers."""
    x_ticks: tuple[Tick, ...]
    """Positions 0 .. 1 from the left, labeled in seconds."""
    y_ticks: tuple[Tick, ...]
    """Positions 0 .. 1 from the bottom, labeled in kHz."""


def spectrogram(clip: Clip, seconds: float) -> Spectrogram:
    """Compute dB below the clip's peak, on a time axis of ``seconds`` (at least the clip's duration)."""
    hop = max(1, round(clip.sample_rate * 0.008), round(seconds * clip.sample_rate / MAX_COLUMNS))
    mel = mel_spectrogram(
        clip.mono.nan_to_num(0.0),
        sample_rate=clip.sample_rate,
        window=max(1, round(clip.sample_rate * 0.032)),
        hop=hop,
        n_mels=N_MELS,
    )
    picture = png(1.0 - decibels(mel).flip(0) / DECIBEL_FLOOR, "magma")
    top = hz_to_mel(torch.tensor(clip.sample_rate / 2)).item()
    marks = [hz for hz in (500, 1000, 2000, 4000, 8000, 16000) if hz <= clip.sample_rate / 2]
    return Spectrogram(
        picture=picture,
        share=min(1.0, clip.seconds / seconds),
        x_ticks=tuple(Tick(at / seconds, short(at)) for at in ticks(0.0, seconds)),
        y_ticks=tuple(
            Tick(hz_to_mel(torch.tensor(float(hz))).item() / top, short(hz / 1000)) for hz in marks
        ),
    )


@dataclass(frozen=True)
class Attention:
    """Attention weights over text positions (x axis) and time (y axis)."""

    picture: str
    labels: tuple[str, ...]
    """One per text position; empty if unknown."""
    longest: int
    """Characters of the longest label. Labels of one character are upright; others are rotated."""
    cell: float
    """Width of a text position in the drawing."""
    width: float
    x_ticks: tuple[Tick, ...]
    """Indices of text positions, used without labels."""
    y_ticks: tuple[Tick, ...]
    """Positions 0 .. 1 from the bottom."""
    y_label: str
    peak: float
    """The largest weight, drawn in the strongest color."""


def attention(path: Path, labels: Sequence[str], frames_per_second: float | None) -> Attention | str:
    """Lay out ``attention`` float [T, J] of a safetensors file; return the reason where it cannot be read."""
    from lina.core.files.tensor_file import read_safetensors

    if not path.exists():
        return "is missing"
    try:
        weights = read_safetensors(path)["attention"].float().nan_to_num(0.0)
    except (FileError, OSError):
        return "is not a readable safetensors file"
    except KeyError:
        return "holds no tensor 'attention'"
    if weights.dim() != 2 or weights.numel() == 0:
        return f"holds an attention of shape {list(weights.shape)}, not [T, J]"
    frames, positions = weights.shape
    peak = weights.max().item()
    shown = tuple(_visible(label) for label in labels) if len(labels) == positions else ()
    cell = max(9.0 if shown else 2.0, min(14.0, 900.0 / positions), 420.0 / positions)
    length = frames / frames_per_second if frames_per_second else float(frames)
    return Attention(
        picture=png(_shorten(weights).flip(0) / max(peak, torch.finfo(torch.float32).tiny), "ink"),
        labels=shown,
        longest=max(map(len, shown), default=1),
        cell=cell,
        width=cell * positions,
        x_ticks=tuple(Tick((at + 0.5) * cell, short(at)) for at in ticks(0, positions - 1, whole=True)),
        y_ticks=tuple(Tick(at / length, short(at)) for at in ticks(0.0, length)),
        y_label="time (s)" if frames_per_second else "frame",
        peak=peak,
    )


def _shorten(weights: Float[Tensor, "T J"]) -> Float[Tensor, "rows J"]:
    """Average neighboring frames to at most MAX_COLUMNS rows."""
    size = -(-len(weights) // MAX_COLUMNS)
    return torch.stack([part.mean(dim=0) for part in torch.split(weights, size)])


def _visible(label: str) -> str:
    """Replace spaces by an open box and unprintable characters by a replacement mark; truncate long labels."""
    short_label = label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
    return "".join("␣" if c == " " else c if c.isprintable() else "�" for c in short_label) or "∅"
