"""Stages evaluate and synthesize: redone when the weights, their texts or the sampling options change."""

import time
from typing import Any

from lina.config.resolve import ResolvedSpec
from lina.data.prepare import PreparedData
from lina.evaluation.normalization import identity
from lina.evaluation.recognizer import build_recognizer
from lina.evaluation.run import TextSetJob, evaluate_texts
from lina.evaluation.run_samples import sample_records, summarize, transcribe_samples
from lina.evaluation.text_set import check_text_set, read_text_set
from lina.pipeline.samples import SampleRequest, make_samples
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.files import EVALUATION_FILE, read_samples, write_evaluation, write_samples
from lina.runs.hooks import Run
from lina.runs.lexicon_copy import speaking_identity
from lina.runs.records import Sample
from lina.runs.stage_cache import finish, invalidate, is_up_to_date
from lina.speech.voice import Voice

ORDER = ("train", "unseen", "spec")
"""Kinds of samples, in the order of the index."""


def evaluate_samples(
    run: Run, resolved: ResolvedSpec, prepared: PreparedData, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> None:
    """Synthesize training and unseen sentences; transcribe and score them if the spec names a recognizer."""
    requests = _evaluation_requests(run, prepared, voice)
    inputs = [
        run.spec.evaluate.model_dump(mode="json", exclude={"texts"}),
        speaking_identity(run.spec.synthesize, voice.lexicon),
        checkpoint.weights,
        identity(),
    ]
    if _is_done(run, "evaluate", inputs, requests, ("train", "unseen"), hooks):
        return
    began = time.perf_counter()
    chosen = resolved.recognizer
    hooks.stage_started(run=run, stage="evaluate", total=len(requests) * (2 if chosen else 1), done=0)

    def progress(done: int) -> None:
        hooks.stage_progress(run=run, stage="evaluate", done=done, info={})

    recognizer = build_recognizer(chosen) if chosen else None
    samples = make_samples(run, checkpoint.step, voice, requests, hooks, progress)
    if chosen is None or recognizer is None:
        _replace_samples(run, ("train", "unseen"), samples)
    else:
        transcribed = transcribe_samples(
            run.directory, samples, recognizer, lambda done: progress(len(requests) + done)
        )
        write_evaluation(run.directory, summarize(chosen.record.name, transcribed))
        _replace_samples(run, ("train", "unseen"), sample_records(transcribed))
    finish(run.directory, "evaluate", inputs)
    hooks.stage_finished(run=run, stage="evaluate", seconds=time.perf_counter() - began)


def evaluate_text_set(
    run: Run, resolved: ResolvedSpec, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> None:
    """Evaluate the spec's text set, if any, as ``lina evaluate`` does with the spec's recognizer."""
    path = run.spec.evaluate.texts
    if path is None:
        return
    items = read_text_set(path)
    check_text_set(items, voice)
    job = TextSetJob(path.stem, items, resolved.recognizer, run.spec.synthesize.seed, alone=False)
    evaluate_texts(run, job, voice, checkpoint, hooks)


def synthesize_texts(run: Run, voice: Voice, checkpoint: Checkpoint, hooks: Any) -> None:
    """Synthesize the texts of the spec."""
    texts = run.spec.synthesize.texts
    requests = [SampleRequest(f"{place:02d}", "spec", text) for place, text in enumerate(texts, start=1)]
    inputs = [list(texts), speaking_identity(run.spec.synthesize, voice.lexicon), checkpoint.weights]
    if _is_done(run, "synthesize", inputs, requests, ("spec",), hooks):
        return
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="synthesize", total=len(requests), done=0)

    def progress(done: int) -> None:
        hooks.stage_progress(run=run, stage="synthesize", done=done, info={})

    samples = make_samples(run, checkpoint.step, voice, requests, hooks, progress)
    _replace_samples(run, ("spec",), samples)
    finish(run.directory, "synthesize", inputs)
    hooks.stage_finished(run=run, stage="synthesize", seconds=time.perf_counter() - began)


def _evaluation_requests(run: Run, prepared: PreparedData, voice: Voice) -> list[SampleRequest]:
    spec, data = run.spec.evaluate, prepared.dataset
    training = [
        SampleRequest(
            data.ids[i],
            "train",
            data.texts[i],
            data[i].codes,
            prepared.recordings.get(data.ids[i]),
            data.speakers[i] if voice.model.speaker_embed is not None and data.speakers[i] else None,
        )
        for i in prepared.training.train[: spec.sentences]
    ]
    return training + [
        SampleRequest(f"{place:02d}", "unseen", text) for place, text in enumerate(spec.unseen, start=1)
    ]


def _is_done(
    run: Run, stage: str, inputs: Any, requests: list[SampleRequest], kinds: tuple[str, ...], hooks: Any
) -> bool:
    """Check for an up-to-date stage or one without requests; remove results of other inputs."""
    samples = [record for record in read_samples(run.directory) if record.kind in kinds]
    files = [record.audio for record in samples]
    if stage == "evaluate" and run.spec.evaluate.recognizer:
        files.append(EVALUATION_FILE)
    complete = len(samples) == len(requests) and all((run.directory / file).is_file() for file in files)
    if requests and complete and is_up_to_date(run.directory, stage, inputs):
        hooks.stage_finished(run=run, stage=stage, seconds=0.0)
        return True
    invalidate(run.directory, stage)
    _replace_samples(run, kinds, [])
    if stage == "evaluate":
        (run.directory / EVALUATION_FILE).unlink(missing_ok=True)
    return not requests


def _replace_samples(run: Run, kinds: tuple[str, ...], new: list[Sample]) -> None:
    """Replace the samples of these kinds in the index."""
    before = read_samples(run.directory)
    after = [record for record in before if record.kind not in kinds] + new
    after.sort(key=lambda record: ORDER.index(record.kind) if record.kind in ORDER else len(ORDER))
    if after != before:
        write_samples(run.directory, after)
