"""Stage evaluate: word error rates of training sentences and unseen ones that the model speaks.

The recordings and their codec resynthesis are transcribed by the same recognizer: they are the ceiling of any model
on this codec.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lina.core.protocols import Recognizer
from lina.evaluation.error_rates import error_rates
from lina.evaluation.metrics import read_mono, with_errors
from lina.evaluation.records import CODEC, RECORDINGS, ClipRecord
from lina.evaluation.summary import group
from lina.runs.records import Evaluation, EvaluationGroup, Sample


@dataclass(frozen=True)
class TranscribedSample:
    """One sample with the recognizer's transcripts of it, of its codec resynthesis and of its recording."""

    sample: Sample
    language: str
    """Of the transcripts, as an ISO 639-1 code."""
    transcript: str
    resynthesis: str | None
    reference: str | None

    def error_rate(self, transcript: str) -> float:
        """Word error rate of a transcript against the sample's text."""
        return error_rates([self.sample.text], [transcript], self.language).words


def transcribe_samples(
    directory: Path, samples: Sequence[Sample], recognizer: Recognizer, progress: Callable[[int], None]
) -> list[TranscribedSample]:
    """Transcribe each sample, and its recording and resynthesis where there are any."""
    transcribed = []
    for done, sample in enumerate(samples, start=1):
        transcript, resynthesis, reference = (
            None
            if path is None
            else recognizer.transcribe(read_mono(directory / path, recognizer.sample_rate))
            for path in (sample.audio, sample.resynthesis, sample.reference)
        )
        transcribed.append(
            TranscribedSample(sample, recognizer.language, transcript or "", resynthesis, reference)
        )
        progress(done)
    return transcribed


def summarize(recognizer: str, samples: Sequence[TranscribedSample]) -> Evaluation:
    """Error rates of each group of samples, and of the same sentences' recordings and resynthesis."""
    train = [one for one in samples if one.sample.kind == "train"]
    unseen = [one for one in samples if one.sample.kind == "unseen"]
    groups = (
        _group("training sentences", [(one, one.transcript) for one in train]),
        _group("unseen sentences", [(one, one.transcript) for one in unseen]),
        _group(CODEC, [(one, one.resynthesis) for one in train]),
        _group(RECORDINGS, [(one, one.reference) for one in train]),
    )
    return Evaluation(recognizer=recognizer, groups=tuple(one for one in groups if one is not None))


def sample_records(samples: Sequence[TranscribedSample]) -> list[Sample]:
    """Records for ``samples/index.json``."""
    return [
        one.sample.model_copy(
            update={
                "transcript": one.transcript,
                "language": one.language,
                "error_rate": one.error_rate(one.transcript),
                "reference_transcript": one.reference,
                "resynthesis_transcript": one.resynthesis,
                "resynthesis_error_rate": None
                if one.resynthesis is None
                else one.error_rate(one.resynthesis),
            }
        )
        for one in samples
    ]


def _group(name: str, rows: Sequence[tuple[TranscribedSample, str | None]]) -> EvaluationGroup | None:
    clips = [
        with_errors(
            ClipRecord(
                id=one.sample.id,
                system=name,
                text=one.sample.text,
                audio=one.sample.audio,
                seconds=0.0,
                transcript=transcript,
                language=one.language,
            )
        )
        for one, transcript in rows
        if transcript is not None
    ]
    return group(name, clips) if clips else None
