"""Clips heard by a recogniser and judged by networks; what is not installed is left out and said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lina.core.protocols import Recognizer
from lina.evaluation.error_rates import count_errors
from lina.evaluation.metrics import RATE, Naturalness, SpeakerEncoder, similarity
from lina.evaluation.records import RECORDINGS, ClipRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Judges:
    recognizer: Recognizer | None
    naturalness: Naturalness | None

    def judge(self, folder: Path, clip: ClipRecord) -> ClipRecord:
        """The clip with its transcript and its DNSMOS; ``with_errors`` counts what is wrong in the transcript."""
        path = folder / clip.audio
        found: dict[str, Any] = {}
        if self.recognizer is not None:
            found = {
                "transcript": self.recognizer.transcribe(mono(path, self.recognizer.sample_rate)),
                "language": self.recognizer.language,
            }
        if self.naturalness is not None:
            score = self.naturalness(mono(path, RATE))
            found["dnsmos"] = None if np.isnan(score) else score
        return clip.model_copy(update=found)


def with_errors(clip: ClipRecord) -> ClipRecord:
    """The clip with the errors of its transcript, if it has one.

    They are counted from the stored transcript each time, so that they are those of this normalization.
    """
    if clip.transcript is None:
        return clip
    return clip.model_copy(update=count_errors(clip.text, clip.transcript, clip.language)._asdict())


def with_similarity(
    folder: Path, clips: Sequence[ClipRecord], speakers: Mapping[str, str | None], encode: SpeakerEncoder
) -> list[ClipRecord]:
    """Each clip's likeness to its speaker's recordings of the other texts; ``speakers`` by text id.

    The text's own recording does not count for anybody: what is said, and where, would be taken for the voice.
    """
    embedded: dict[tuple[str, str], NDArray[np.float32]] = {}
    for clip in clips:
        audio = mono(folder / clip.audio, RATE)
        if len(audio):
            embedded[clip.key] = encode(audio)
    known = [clip for clip in clips if clip.system == RECORDINGS and clip.key in embedded]

    def judged(clip: ClipRecord) -> ClipRecord:
        if clip.key not in embedded:
            return clip
        same = [one for one in known if one.id != clip.id and speakers[one.id] == speakers[clip.id]]
        alike = similarity(embedded[clip.key], [embedded[one.key] for one in same])
        return clip.model_copy(update={"similarity": alike})

    return [judged(clip) for clip in clips]


def optional(name: str, make: Callable[[], T], install: str, remarks: list[str]) -> T | None:
    """What ``make`` gives, or None and a remark if a package is missing."""
    try:
        return make()
    except ImportError as error:
        remarks.append(f"{name} is left out: {error}; {install}")
        return None


def mono(path: Path, sample_rate: int) -> Float[Tensor, "samples"]:
    """Audio that lina wrote, at another rate; silence is allowed here."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(soxr.resample(audio.mean(axis=1), rate, sample_rate))
