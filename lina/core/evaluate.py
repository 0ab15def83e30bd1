"""Stage evaluate: the model says training sentences back and new ones; a recogniser writes down what it hears.

The recordings and their codec resynthesis are heard by the same recogniser: no model on this codec can be expected to
do better than they.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.hooks import Sample
from lina.core.protocols import Recognizer
from lina.core.run_records import Evaluation, EvaluationGroup, SampleRecord
from lina.core.words import error_rates


@dataclass(frozen=True)
class Heard:
    """One sample with what the recogniser wrote down of it."""

    sample: Sample
    transcript: str
    resynthesis: str | None
    reference: str | None


def listen(
    directory: Path, samples: Sequence[Sample], recognizer: Recognizer, progress: Callable[[int], None]
) -> list[Heard]:
    """Transcribe each sample, and its recording and resynthesis where there are any."""
    heard = []
    for done, sample in enumerate(samples, start=1):
        spoken, resynthesis, reference = (
            None if path is None else recognizer.transcribe(_mono(directory / path, recognizer.sample_rate))
            for path in (sample.audio, sample.resynthesis, sample.reference)
        )
        heard.append(Heard(sample, spoken or "", resynthesis, reference))
        progress(done)
    return heard


def evaluation(recognizer: str, heard: Sequence[Heard]) -> Evaluation:
    """Error rates of each group of samples, and of the same sentences' recordings and resynthesis."""
    groups = []
    said = [one for one in heard if one.sample.kind == "train"]
    for name, kind in (("training sentences", "train"), ("unseen sentences", "unseen")):
        rows = [(one.sample.text, one.transcript) for one in heard if one.sample.kind == kind]
        groups += _group(name, rows)
    groups += _group("codec resynthesis", [(one.sample.text, one.resynthesis) for one in said])
    groups += _group("recordings", [(one.sample.text, one.reference) for one in said])
    return Evaluation(recognizer=recognizer, groups=tuple(groups))


def records(heard: Sequence[Heard]) -> list[SampleRecord]:
    """For ``samples/index.json``."""
    return [
        SampleRecord.of(
            one.sample,
            transcript=one.transcript,
            error_rate=error_rates([one.sample.text], [one.transcript]).words,
            reference_transcript=one.reference,
            resynthesis_transcript=one.resynthesis,
            resynthesis_error_rate=(
                None if one.resynthesis is None else error_rates([one.sample.text], [one.resynthesis]).words
            ),
        )
        for one in heard
    ]


def _group(name: str, rows: Sequence[tuple[str, str | None]]) -> list[EvaluationGroup]:
    pairs = [(text, transcript) for text, transcript in rows if transcript is not None]
    if not pairs:
        return []
    rates = error_rates([text for text, _ in pairs], [transcript for _, transcript in pairs])
    return [
        EvaluationGroup(
            name=name,
            sentences=len(pairs),
            word_error_rate=rates.words,
            character_error_rate=rates.characters,
        )
    ]


def _mono(path: Path, sample_rate: int) -> Float[Tensor, "samples"]:
    """The audio that lina wrote, at the recogniser's rate; silence is allowed here."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(soxr.resample(audio.mean(axis=1), rate, sample_rate))
