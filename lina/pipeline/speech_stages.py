"""Stages evaluate and synthesize: each is redone when the weights, its texts or the sampling change, not otherwise."""

import time
from typing import Any

from lina.config.resolve import ResolvedSpec
from lina.data.prepare import PreparedData
from lina.evaluation.normalization import identity
from lina.evaluation.recognizer import build_recognizer
from lina.evaluation.run import TextSetJob, evaluate_texts
from lina.evaluation.run_samples import sample_records, summarize, transcribe_samples
from lina.evaluation.text_set import check_text_set, read_text_set
from lina.pipeline.samples import Wanted, make_samples
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.files import EVALUATION_FILE, read_samples, write_evaluation, write_samples
from lina.runs.hooks import Run
from lina.runs.records import SampleRecord
from lina.runs.stage_cache import finish, forget, is_finished
from lina.speech.voice import Voice

ORDER = ("train", "unseen", "spec")
"""The kinds of samples, as the index lists them."""


def evaluate(
    run: Run, resolved: ResolvedSpec, prepared: PreparedData, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> None:
    """Training sentences said back and unseen ones, and what the recogniser hears, if the spec names one."""
    wanted = _to_evaluate(run, prepared, voice)
    causes = [
        run.spec.evaluate.model_dump(mode="json", exclude={"texts"}),
        _sampling(run),
        checkpoint.weights,
        identity(),
    ]
    if _nothing_to_do(run, "evaluate", causes, wanted, ("train", "unseen"), hooks):
        return
    began = time.perf_counter()
    chosen = resolved.recognizer
    hooks.stage_started(run=run, stage="evaluate", total=len(wanted) * (2 if chosen else 1), done=0)

    def progress(done: int) -> None:
        hooks.stage_progress(run=run, stage="evaluate", done=done, info={})

    recognizer = build_recognizer(chosen) if chosen else None
    samples = make_samples(run, checkpoint.step, voice, wanted, hooks, {}, progress)
    if chosen is None or recognizer is None:
        _replace_samples(run, ("train", "unseen"), [SampleRecord.of(sample) for sample in samples])
    else:
        transcribed = transcribe_samples(
            run.directory, samples, recognizer, lambda done: progress(len(wanted) + done)
        )
        write_evaluation(run.directory, summarize(chosen.record.name, transcribed))
        _replace_samples(run, ("train", "unseen"), sample_records(transcribed))
    finish(run.directory, "evaluate", causes)
    hooks.stage_finished(run=run, stage="evaluate", seconds=time.perf_counter() - began)


def evaluate_text_set(
    run: Run, resolved: ResolvedSpec, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> None:
    """The spec's text set, if it names one: the same as ``lina evaluate`` with the spec's recogniser."""
    path = run.spec.evaluate.texts
    if path is None:
        return
    items = read_text_set(path)
    check_text_set(items, voice)
    asked = TextSetJob(path.stem, items, resolved.recognizer, run.spec.synthesize.seed, alone=False)
    evaluate_texts(run, asked, voice, checkpoint, hooks)


def synthesize(run: Run, voice: Voice, checkpoint: Checkpoint, hooks: Any) -> None:
    """The texts of the spec, spoken."""
    texts = run.spec.synthesize.texts
    wanted = [Wanted(f"{place:02d}", "spec", text) for place, text in enumerate(texts, start=1)]
    causes = [list(texts), _sampling(run), checkpoint.weights]
    if _nothing_to_do(run, "synthesize", causes, wanted, ("spec",), hooks):
        return
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="synthesize", total=len(wanted), done=0)

    def progress(done: int) -> None:
        hooks.stage_progress(run=run, stage="synthesize", done=done, info={})

    samples = make_samples(run, checkpoint.step, voice, wanted, hooks, {}, progress)
    _replace_samples(run, ("spec",), [SampleRecord.of(sample) for sample in samples])
    finish(run.directory, "synthesize", causes)
    hooks.stage_finished(run=run, stage="synthesize", seconds=time.perf_counter() - began)


def _to_evaluate(run: Run, prepared: PreparedData, voice: Voice) -> list[Wanted]:
    spec, data = run.spec.evaluate, prepared.dataset
    said = [
        Wanted(
            data.ids[i],
            "train",
            data.texts[i],
            data[i].codes,
            prepared.recordings.get(data.ids[i]),
            data.speakers[i] if voice.model.speaker_embed is not None and data.speakers[i] else None,
        )
        for i in prepared.training.train[: spec.sentences]
    ]
    return said + [Wanted(f"{place:02d}", "unseen", text) for place, text in enumerate(spec.unseen, start=1)]


def _sampling(run: Run) -> dict[str, Any]:
    """How speech is drawn, without what is said."""
    return run.spec.synthesize.model_dump(mode="json", exclude={"texts"})


def _nothing_to_do(
    run: Run, stage: str, causes: Any, wanted: list[Wanted], kinds: tuple[str, ...], hooks: Any
) -> bool:
    """The stage is finished, its files are there, or nothing is wanted; results of other causes are dropped."""
    made = [record for record in read_samples(run.directory) if record.kind in kinds]
    files = [record.audio for record in made]
    if stage == "evaluate" and run.spec.evaluate.recognizer:
        files.append(EVALUATION_FILE)
    there = len(made) == len(wanted) and all((run.directory / file).is_file() for file in files)
    if wanted and there and is_finished(run.directory, stage, causes):
        hooks.stage_finished(run=run, stage=stage, seconds=0.0)
        return True
    forget(run.directory, stage)
    _replace_samples(run, kinds, [])
    if stage == "evaluate":
        (run.directory / EVALUATION_FILE).unlink(missing_ok=True)
    return not wanted


def _replace_samples(run: Run, kinds: tuple[str, ...], new: list[SampleRecord]) -> None:
    """Replace the samples of these kinds in the index."""
    before = read_samples(run.directory)
    after = [record for record in before if record.kind not in kinds] + new
    after.sort(key=lambda record: ORDER.index(record.kind))
    if after != before:
        write_samples(run.directory, after)
