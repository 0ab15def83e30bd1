"""Evaluation of a run on a text set, in ``evaluations/NAME``; finished work is not redone.

The voice speaks all texts first, alone in the process, so that its memory can be measured; the other systems follow,
and the metrics are loaded last.
"""

import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lina.config.resolve import PluginChoice, as_written
from lina.core.files.atomic import write_atomic
from lina.core.files.names import file_name
from lina.core.plugin import RecognizerPlugin
from lina.evaluation import espeak, metrics
from lina.evaluation.attention_quality import drop_uninformative
from lina.evaluation.metrics import Scorer, load_optional, with_errors, with_similarity
from lina.evaluation.normalization import identity
from lina.evaluation.recognizer import build_recognizer
from lina.evaluation.records import (
    EVALUATION_FILE,
    FOLDER,
    MODEL,
    RECORDINGS,
    SYSTEMS,
    ClipFile,
    ClipRecord,
    TextSetEvaluation,
    read_evaluation,
)
from lina.evaluation.summary import groups
from lina.evaluation.systems import ClipWriter, synthesis_jobs
from lina.evaluation.text_set import Item
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.hooks import Run
from lina.runs.lexicon_copy import speaking_identity
from lina.runs.stage_cache import finish, invalidate, is_up_to_date
from lina.speech.voice import Voice

CLIP_FILE, SCORE_FILE = Path("spoken.jsonl"), Path("judged.jsonl")
SIMILARITY_INSTALL = "pip install resemblyzer"


@dataclass(frozen=True)
class TextSetJob:
    """Settings of one text-set evaluation."""

    name: str
    items: Sequence[Item]
    recognizer: PluginChoice[RecognizerPlugin] | None
    seed: int
    speaker: str | None = None
    floor: bool = True
    """Evaluate espeak-ng, too, where it is installed."""
    alone: bool = True
    """The process has done no other work: its peak memory is that of synthesis."""
    remarks: tuple[str, ...] = ()
    """Remarks for the result, before those of the evaluation."""


def evaluate_texts(
    run: Run, job: TextSetJob, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> TextSetEvaluation:
    """Synthesize and score all that is not done yet; write and return ``evaluations/NAME/evaluation.json``.

    Raises:
        LinaError: A text cannot be spoken, a recording cannot be read, or the recognizer cannot be built.
    """
    began = time.perf_counter()
    remarks = list(job.remarks)
    floor = job.floor and espeak.is_installed()
    if job.floor and not floor:
        remarks.append(f"{espeak.PROGRAM} is left out: it is not installed")
    audio_metrics = metrics.load_audio_metrics(remarks)
    synthesis_inputs = _synthesis_inputs(run, job, voice, checkpoint)
    score_inputs = [synthesis_inputs, _recognizer_inputs(job), _metric_inputs(audio_metrics)]
    inputs = [score_inputs, floor, job.floor, metrics.has_speaker_encoder(), identity()]
    folder = run.directory / FOLDER / file_name(job.name)
    if (folder / EVALUATION_FILE).is_file() and is_up_to_date(folder, "evaluate", inputs):
        hooks.stage_finished(run=run, stage="evaluate", seconds=0.0)
        return read_evaluation(folder / EVALUATION_FILE)
    _remove_outdated(folder, synthesis_inputs, score_inputs)
    synthesis = synthesis_jobs(job.items, floor)
    synthesized, scored = ClipFile(folder / CLIP_FILE), ClipFile(folder / SCORE_FILE)
    keys = [(item.id, system) for item, system in synthesis]

    def done() -> int:
        return sum(key in file.records for file in (synthesized, scored) for key in keys)

    def progress() -> None:
        hooks.stage_progress(run=run, stage="evaluate", done=done(), info={})

    hooks.stage_started(run=run, stage="evaluate", total=2 * len(keys), done=done())
    writer = ClipWriter(voice, folder, job.seed, job.speaker, job.alone)
    _synthesize(writer, synthesis, synthesized, progress)
    clips = [synthesized.records[key] for key in keys]
    if any(key not in scored.records for key in keys):
        recognizer = None if job.recognizer is None else build_recognizer(job.recognizer)
        _score(Scorer(recognizer, audio_metrics), folder, clips, scored, progress)
    clips = [with_errors(scored.records[key]) for key in keys]
    complete = True
    if any(clip.system == RECORDINGS for clip in clips):
        encode = load_optional("speaker similarity", metrics.speaker_encoder, SIMILARITY_INSTALL, remarks)
        # A package that lacks one of its own dependencies: the next evaluation tries again.
        complete = encode is not None or not metrics.has_speaker_encoder()
        if encode is not None:
            clips = with_similarity(folder, clips, {item.id: item.speaker for item in job.items}, encode)
    found = _evaluation(run, job, voice, checkpoint, drop_uninformative(clips, remarks), remarks)
    write_atomic(folder / EVALUATION_FILE, found.model_dump_json(indent=2).encode())
    if complete:
        finish(folder, "evaluate", inputs)
    hooks.stage_finished(run=run, stage="evaluate", seconds=time.perf_counter() - began)
    return found


def _metric_inputs(loaded: Collection[str]) -> bool | list[str]:
    """The loaded metrics as an input of scores: True for all, False for none."""
    return len(loaded) == len(metrics.AUDIO_METRICS) or sorted(loaded) or False


def _remove_outdated(folder: Path, synthesis_inputs: Any, score_inputs: Any) -> None:
    """Delete results that were made from other inputs."""
    if not is_up_to_date(folder, "speak", synthesis_inputs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        finish(folder, "speak", synthesis_inputs)
    if not is_up_to_date(folder, "judge", score_inputs):
        (folder / SCORE_FILE).unlink(missing_ok=True)
        finish(folder, "judge", score_inputs)
    invalidate(folder, "evaluate")


def _synthesize(
    writer: ClipWriter, jobs: Sequence[tuple[Item, str]], clips: ClipFile, progress: Callable[[], None]
) -> None:
    left = [(item, system) for item, system in jobs if (item.id, system) not in clips.records]
    if any(system == MODEL for _, system in left):
        writer.warm_up(left[0][0])
    for item, system in left:
        clips.append(writer.write(item, system))
        progress()


def _score(
    scorer: Scorer, folder: Path, clips: Sequence[ClipRecord], scores: ClipFile, progress: Callable[[], None]
) -> None:
    for clip in clips:
        if clip.key not in scores.records:
            scores.append(scorer.score(folder, clip))
            progress()


def _synthesis_inputs(run: Run, job: TextSetJob, voice: Voice, checkpoint: Checkpoint) -> list[Any]:
    """Return everything that the synthesis depends on, for the stage cache."""
    sampling = speaking_identity(run.spec.synthesize, voice.lexicon)
    items = [(one.id, one.text, one.speaker, _fingerprint(one.recording)) for one in job.items]
    machine = [_device(voice), _threads(voice), job.alone]
    return [checkpoint.weights, sampling, items, job.seed, job.speaker, machine]


def _fingerprint(recording: Path | None) -> list[Any] | None:
    if recording is None:
        return None
    status = recording.stat()
    return [str(recording), status.st_size, status.st_mtime_ns]


def _recognizer_inputs(job: TextSetJob) -> list[Any] | None:
    if job.recognizer is None:
        return None
    record = job.recognizer.record
    return [record.full_name, record.version, job.recognizer.config.model_dump(mode="json")]


def _recognizer_label(chosen: PluginChoice[RecognizerPlugin]) -> str:
    """Return the name and the configured values, such as ``faster-whisper model=base``."""
    return " ".join(
        [chosen.record.name, *(f"{key}={value}" for key, value in as_written(chosen.config).items())]
    )


def _device(voice: Voice) -> str:
    device = voice.model.logits_head.weight.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _threads(voice: Voice) -> int:
    return torch.get_num_threads() if voice.threads is None else voice.threads


def _evaluation(
    run: Run,
    job: TextSetJob,
    voice: Voice,
    checkpoint: Checkpoint,
    clips: Sequence[ClipRecord],
    remarks: Sequence[str],
) -> TextSetEvaluation:
    peaks = [clip.peak_memory_mib for clip in clips if clip.peak_memory_mib is not None]
    return TextSetEvaluation(
        name=job.name,
        run=str(run.directory),
        step=checkpoint.step,
        lina=version("lina"),
        recognizer=None if job.recognizer is None else _recognizer_label(job.recognizer),
        seed=job.seed,
        device=_device(voice),
        threads=_threads(voice),
        remarks=tuple(remarks),
        peak_memory_mib=max(peaks, default=None),
        groups=groups(clips, SYSTEMS),
        clips=tuple(clips),
    )
