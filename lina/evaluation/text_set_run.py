"""A text set spoken and judged, in ``evaluations/NAME`` of a run; what was finished is not redone.

First the voice says all texts, alone in the process, so that its memory can be told; then recordings and others are
written, and at last the judges are loaded and hear everybody.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lina.config.resolve import Chosen, as_written
from lina.core.errors import CheckpointError
from lina.core.files import write_atomic
from lina.core.plugin import RecognizerPlugin
from lina.evaluation import espeak, metrics
from lina.evaluation.attention_quality import telling
from lina.evaluation.clip_file import ClipFile
from lina.evaluation.normalization import identity
from lina.evaluation.records import MODEL, RECORDINGS, SYSTEMS, ClipRecord, TextSetEvaluation
from lina.evaluation.scoring import Judges, optional, with_errors, with_similarity
from lina.evaluation.summary import groups
from lina.evaluation.systems import Speakers, file_name, systems
from lina.evaluation.text_set import Item
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.hooks import Run
from lina.runs.stage_cache import finish, forget, is_finished
from lina.speech.voice import Voice

FOLDER = Path("evaluations")
FILE = Path("evaluation.json")
SPOKEN, JUDGED = Path("spoken.jsonl"), Path("judged.jsonl")
DNSMOS_INSTALL = "pip install 'lina[eval]'"
SIMILARITY_INSTALL = "pip install resemblyzer"


@dataclass(frozen=True)
class Asked:
    """How a text set is to be evaluated."""

    name: str
    items: Sequence[Item]
    recognizer: Chosen[RecognizerPlugin] | None
    seed: int
    speaker: str | None = None
    floor: bool = True
    """espeak-ng beside it, where it is installed."""
    alone: bool = True
    """Nothing else has been done in this process: its memory is what speaking takes."""
    remarks: tuple[str, ...] = ()
    """What a reader of the result should know besides."""


def evaluate_texts(
    run: Run, asked: Asked, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> TextSetEvaluation:
    """Speak and judge what is left to do; the result is written to ``evaluations/NAME/evaluation.json``, too.

    Raises:
        LinaError: a text cannot be spoken, a recording not be read, or the recogniser not be built.
    """
    began = time.perf_counter()
    remarks = list(asked.remarks)
    floor = asked.floor and espeak.is_here()
    if asked.floor and not floor:
        remarks.append(f"{espeak.PROGRAM} is left out: it is not installed")
    naturalness = optional("DNSMOS", metrics.dnsmos, DNSMOS_INSTALL, remarks)
    saying = _causes(run, asked, voice, checkpoint)
    judging = [saying, _recognizer(asked), naturalness is not None]
    everything = [judging, floor, asked.floor, metrics.can_tell_speakers(), identity()]
    folder = run.directory / FOLDER / file_name(asked.name)
    if (folder / FILE).is_file() and is_finished(folder, "evaluate", everything):
        hooks.stage_finished(run=run, stage="evaluate", seconds=0.0)
        return _read(folder / FILE)
    _begin(folder, saying, judging)
    work = [
        (item, system)
        for system, speaks in systems(asked.items, floor)
        for item in asked.items
        if speaks(item)
    ]
    spoken, judged = ClipFile(folder / SPOKEN), ClipFile(folder / JUDGED)
    keys = [(item.id, system) for item, system in work]

    def done() -> int:
        return sum(key in file.records for file in (spoken, judged) for key in keys)

    def progress() -> None:
        hooks.stage_progress(run=run, stage="evaluate", done=done(), info={})

    hooks.stage_started(run=run, stage="evaluate", total=2 * len(keys), done=done())
    _speak(Speakers(voice, folder, asked.seed, asked.speaker, asked.alone), work, spoken, progress)
    clips = [spoken.records[key] for key in keys]
    if any(key not in judged.records for key in keys):
        listener = (
            None
            if asked.recognizer is None
            else asked.recognizer.plugin.build(config=asked.recognizer.config)
        )
        _judge(Judges(listener, naturalness), folder, clips, judged, progress)
    clips = [with_errors(judged.records[key]) for key in keys]
    if any(clip.system == RECORDINGS for clip in clips):
        encode = optional("speaker similarity", metrics.speaker_encoder, SIMILARITY_INSTALL, remarks)
        if encode is not None:
            clips = with_similarity(folder, clips, {item.id: item.speaker for item in asked.items}, encode)
    found = _evaluation(run, asked, voice, checkpoint, telling(clips, remarks), remarks)
    write_atomic(folder / FILE, found.model_dump_json(indent=2).encode())
    finish(folder, "evaluate", everything)
    hooks.stage_finished(run=run, stage="evaluate", seconds=time.perf_counter() - began)
    return found


def _begin(folder: Path, saying: Any, judging: Any) -> None:
    """Delete what was made from other causes."""
    if not is_finished(folder, "speak", saying):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        finish(folder, "speak", saying)
    if not is_finished(folder, "judge", judging):
        (folder / JUDGED).unlink(missing_ok=True)
        finish(folder, "judge", judging)
    forget(folder, "evaluate")


def _speak(
    speakers: Speakers, work: Sequence[tuple[Item, str]], spoken: ClipFile, progress: Callable[[], None]
) -> None:
    left = [(item, system) for item, system in work if (item.id, system) not in spoken.records]
    if any(system == MODEL for _, system in left):
        speakers.warm_up(left[0][0])
    for item, system in left:
        spoken.append(speakers.clip(item, system))
        progress()


def _judge(
    panel: Judges, folder: Path, clips: Sequence[ClipRecord], judged: ClipFile, progress: Callable[[], None]
) -> None:
    for clip in clips:
        if clip.key not in judged.records:
            judged.append(panel.judge(folder, clip))
            progress()


def read_text_set_evaluations(directory: Path) -> list[tuple[Path, TextSetEvaluation]]:
    """Folder and result of each finished evaluation of a run, by name.

    Raises:
        CheckpointError: a file is damaged.
    """
    found = []
    for path in sorted((directory / FOLDER).glob(f"*/{FILE}")):
        found.append((path.parent, _read(path)))
    return found


def _read(path: Path) -> TextSetEvaluation:
    try:
        return TextSetEvaluation.model_validate_json(path.read_bytes())
    except ValueError:
        raise CheckpointError(f"{path}: is damaged; remove the file, then evaluate again") from None


def _causes(run: Run, asked: Asked, voice: Voice, checkpoint: Checkpoint) -> list[Any]:
    """What is said depends on these: on other ones all is said again."""
    sampling = run.spec.synthesize.model_dump(mode="json", exclude={"texts"})
    items = [(one.id, one.text, one.speaker, _fingerprint(one.recording)) for one in asked.items]
    machine = [_device(voice), _threads(voice), asked.alone]
    return [checkpoint.weights, sampling, items, asked.seed, asked.speaker, machine]


def _fingerprint(recording: Path | None) -> list[Any] | None:
    if recording is None:
        return None
    status = recording.stat()
    return [str(recording), status.st_size, status.st_mtime_ns]


def _recognizer(asked: Asked) -> list[Any] | None:
    if asked.recognizer is None:
        return None
    record = asked.recognizer.record
    return [record.full_name, record.version, asked.recognizer.config.model_dump(mode="json")]


def _listener(chosen: Chosen[RecognizerPlugin]) -> str:
    """Its name and what was written of its configuration, such as ``faster-whisper model=base``."""
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
    asked: Asked,
    voice: Voice,
    checkpoint: Checkpoint,
    clips: Sequence[ClipRecord],
    remarks: Sequence[str],
) -> TextSetEvaluation:
    peaks = [clip.peak_memory_mib for clip in clips if clip.peak_memory_mib is not None]
    return TextSetEvaluation(
        name=asked.name,
        run=str(run.directory),
        step=checkpoint.step,
        lina=version("lina"),
        recognizer=None if asked.recognizer is None else _listener(asked.recognizer),
        seed=asked.seed,
        device=_device(voice),
        threads=_threads(voice),
        remarks=tuple(remarks),
        peak_memory_mib=max(peaks, default=None),
        groups=groups(clips, SYSTEMS),
        clips=tuple(clips),
    )
