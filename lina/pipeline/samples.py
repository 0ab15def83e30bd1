"""Samples of a run: synthesized audio, its attention and, where there is one, the recording."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors.torch import save
from torch import Tensor

from lina.core.audio.codec import decode
from lina.core.audio.read import read_audio
from lina.core.audio.wav import write_wav
from lina.core.files.atomic import write_atomic
from lina.core.files.names import file_name
from lina.runs.hooks import Run
from lina.runs.records import Sample
from lina.speech.result import Speech
from lina.speech.voice import Voice

ROWS = 16
"""Texts per batch."""


@dataclass(frozen=True)
class SampleRequest:
    """A sample to synthesize."""

    id: str
    kind: str
    text: str
    codes: Int[Tensor, "T Q"] | None = None
    """Codes of the recording."""
    recording: Path | None = None
    speaker: str | None = None


def make_samples(
    run: Run,
    step: int,
    voice: Voice,
    requests: Sequence[SampleRequest],
    hooks: Any,
    progress: Callable[[int], None],
) -> list[Sample]:
    """Synthesize the requested samples into ``samples/``; ``progress`` gets the number of finished ones."""
    (run.directory / "samples").mkdir(exist_ok=True)
    samples: list[Sample] = []
    # Utterances of the corpus are spoken as the model has learned them: whole.
    for speaker, whole in dict.fromkeys((one.speaker, one.codes is not None) for one in requests):
        same = [one for one in requests if (one.speaker, one.codes is not None) == (speaker, whole)]
        for start in range(0, len(same), ROWS):
            rows = same[start : start + ROWS]
            speeches = voice.speak([row.text for row in rows], whole=whole, speaker=speaker)
            for one, speech in zip(rows, speeches, strict=True):
                samples.append(_write(run.directory, one, speech, voice))
                hooks.sample_made(run=run, step=step, sample=samples[-1])
            progress(len(samples))
    order = {(one.kind, one.id): place for place, one in enumerate(requests)}
    return sorted(samples, key=lambda sample: order[sample.kind, sample.id])


def _write(directory: Path, request: SampleRequest, speech: Speech, voice: Voice) -> Sample:
    stem, rate = f"samples/{request.kind}-{file_name(request.id)}", voice.sample_rate
    write_wav(directory / f"{stem}.wav", speech.audio, rate)
    attention = Path(f"{stem}.attention.safetensors")
    ids = torch.tensor([id for sentence in speech.sentences for id in sentence.input.ids])
    write_atomic(directory / attention, save({"attention": speech.attention.contiguous(), "text": ids}))
    reference = resynthesis = None
    if request.codes is not None:
        resynthesis = Path(f"{stem}.codec.wav")
        write_wav(directory / resynthesis, decode(voice.codec, request.codes[None])[0], rate)
    if request.recording is not None:
        reference = Path(f"{stem}.recording.wav")
        audio = read_audio(request.recording, rate, voice.codec.channels, 3600.0)
        write_wav(directory / reference, audio, rate)
    return Sample(
        id=request.id,
        kind=request.kind,
        text=request.text,
        audio=Path(f"{stem}.wav"),
        sample_rate=rate,
        reference=reference,
        resynthesis=resynthesis,
        attention=attention,
        text_labels=speech.labels,
        stopped=speech.stopped,
    )
