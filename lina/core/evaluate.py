"""Stage evaluate: the model says training sentences back and new ones; a recogniser writes down what it hears.

The recordings and their codec resynthesis are heard by the same recogniser: no model on this codec can be expected to
do better than they.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lina.core.evaluation.judging import mono
from lina.core.evaluation.records import CODEC, RECORDINGS, ClipRecord
from lina.core.evaluation.summary import group
from lina.core.hooks import Sample
from lina.core.protocols import Recognizer
from lina.core.run_records import Evaluation, EvaluationGroup, SampleRecord
from lina.core.words import count_errors, error_rates


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
            None if path is None else recognizer.transcribe(mono(directory / path, recognizer.sample_rate))
            for path in (sample.audio, sample.resynthesis, sample.reference)
        )
        heard.append(Heard(sample, spoken or "", resynthesis, reference))
        progress(done)
    return heard


def evaluation(recognizer: str, heard: Sequence[Heard]) -> Evaluation:
    """Error rates of each group of samples, and of the same sentences' recordings and resynthesis."""
    said = [one for one in heard if one.sample.kind == "train"]
    unseen = [one for one in heard if one.sample.kind == "unseen"]
    groups = (
        _group("training sentences", [(one.sample, one.transcript) for one in said]),
        _group("unseen sentences", [(one.sample, one.transcript) for one in unseen]),
        _group(CODEC, [(one.sample, one.resynthesis) for one in said]),
        _group(RECORDINGS, [(one.sample, one.reference) for one in said]),
    )
    return Evaluation(recognizer=recognizer, groups=tuple(one for one in groups if one is not None))


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


def _group(name: str, rows: Sequence[tuple[Sample, str | None]]) -> EvaluationGroup | None:
    clips = [
        ClipRecord(
            id=sample.id,
            system=name,
            text=sample.text,
            audio=sample.audio,
            seconds=0.0,
            transcript=transcript,
            **count_errors(sample.text, transcript)._asdict(),
        )
        for sample, transcript in rows
        if transcript is not None
    ]
    return group(name, clips) if clips else None
