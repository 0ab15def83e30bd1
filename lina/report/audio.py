"""Audio clips of a run, embedded into an HTML page."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lina.report.picture import data_uri

Format = Literal["flac", "mp3"]

LOSSLESS_LIMIT = 12_000_000
"""Most bytes of 16-bit samples per page for FLAC (half the size); a page with more gets MP3."""

_MEDIA = {"flac": "audio/flac", "mp3": "audio/mpeg"}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Clip:
    samples: Float[Tensor, "samples channels"]
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def mono(self) -> Float[Tensor, " samples"]:
        return self.samples.mean(dim=1)


def load(path: Path) -> Clip | str:
    """Read a clip; return the reason where it cannot be read."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError):
        return "is not a readable audio file" if path.exists() else "is missing"
    return Clip(torch.from_numpy(samples), rate) if len(samples) else "has no samples"


def stored_bytes(path: Path) -> int:
    """Size as 16-bit samples, from the header alone; 0 if the file cannot be read."""
    import soundfile

    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError):
        return 0
    return int(info.frames * info.channels * 2)


def encode(clip: Clip, form: Format) -> str:
    """Encode as a data URI. MP3 has few sample rates; a clip at another rate stays FLAC."""
    import soundfile

    if clip.sample_rate not in _MP3_RATES:
        form = "flac"
    subtype = "PCM_16" if form == "flac" else "MPEG_LAYER_III"
    whole = clip.samples.nan_to_num(0.0).clamp(-1.0, 1.0).numpy()
    # Not into memory: libsndfile would write by callbacks into Python, which swallow the exception of SIGTERM.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{form}"
        soundfile.write(path, whole, clip.sample_rate, format=form.upper(), subtype=subtype)
        return data_uri(_MEDIA[form], path.read_bytes())
