"""Speech that a run makes to be heard: audio, attention and, where there is one, the recording beside it."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor

from lina.core.audio.codec import decode
from lina.core.audio.read import read_audio
from lina.core.audio.wav import WavWriter
from lina.runs.hooks import Run, Sample
from lina.speech.result import Speech
from lina.speech.voice import Voice

ROWS = 16
"""Texts spoken side by side."""


@dataclass(frozen=True)
class Wanted:
    """A sample to make."""

    id: str
    kind: str
    text: str
    codes: Int[Tensor, "T Q"] | None = None
    """The recording's codes."""
    recording: Path | None = None
    speaker: str | None = None


def make_samples(
    run: Run,
    step: int,
    voice: Voice,
    wanted: Sequence[Wanted],
    hooks: Any,
    options: dict[str, Any],
    progress: Callable[[int], None],
) -> list[Sample]:
    """Speak the wanted texts and write them into ``samples/``."""
    (run.directory / "samples").mkdir(exist_ok=True)
    made: list[Sample] = []
    for speaker in dict.fromkeys(one.speaker for one in wanted):
        same = [one for one in wanted if one.speaker == speaker]
        for start in range(0, len(same), ROWS):
            rows = same[start : start + ROWS]
            for one, speech in zip(
                rows, voice.speak([row.text for row in rows], speaker=speaker, **options), strict=True
            ):
                made.append(_write(run.directory, one, speech, voice))
                hooks.sample_made(run=run, step=step, sample=made[-1])
            progress(len(made))
    order = {(one.kind, one.id): place for place, one in enumerate(wanted)}
    return sorted(made, key=lambda sample: order[sample.kind, sample.id])


def _write(directory: Path, one: Wanted, speech: Speech, voice: Voice) -> Sample:
    stem = f"samples/{one.kind}-{_file_name(one.id)}"
    _write_wav(directory / f"{stem}.wav", speech.audio, voice.sample_rate)
    attention = Path(f"{stem}.attention.safetensors")
    ids = torch.tensor([id for sentence in speech.sentences for id in sentence.script.ids])
    save_file({"attention": speech.attention.contiguous(), "text": ids}, directory / attention)
    reference = resynthesis = None
    if one.codes is not None:
        resynthesis = Path(f"{stem}.codec.wav")
        _write_wav(directory / resynthesis, decode(voice.codec, one.codes[None])[0], voice.sample_rate)
    if one.recording is not None:
        reference = Path(f"{stem}.recording.wav")
        audio = read_audio(one.recording, voice.sample_rate, voice.codec.channels, 3600.0)
        _write_wav(directory / reference, audio, voice.sample_rate)
    return Sample(
        id=one.id,
        kind=one.kind,
        text=one.text,
        audio=Path(f"{stem}.wav"),
        sample_rate=voice.sample_rate,
        reference=reference,
        resynthesis=resynthesis,
        attention=attention,
        text_labels=speech.labels,
        stopped=speech.stopped,
    )


def _file_name(id: str) -> str:
    """The id itself where it is a harmless name; else what is left of it and a digest that tells ids apart."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:60]
    return name if name == id else f"{name}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def _write_wav(path: Path, audio: Float[Tensor, "C N"], sample_rate: int) -> None:
    with WavWriter(path, sample_rate, audio.shape[0]) as wav:
        wav.write(audio)
