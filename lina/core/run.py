"""A run: data -> train -> evaluate -> synthesize -> report, in one directory, where finished work is not redone.

Running the same spec again goes on where the last run was: each stage keeps what it was made from, and a stage whose
causes have not changed is left as it is. Everything a run makes is inside its directory.
"""

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from lina.core.checkpoint import Checkpoint
from lina.core.errors import CheckpointError, LinaError
from lina.core.evaluate import Heard, evaluation, listen, records
from lina.core.files import write_atomic
from lina.core.hooks import Run
from lina.core.model import build_lm, count_parameters
from lina.core.prepare import Prepared, prepare
from lina.core.resolve import Resolved
from lina.core.run_files import (
    MachineInfo,
    ModelInfo,
    PluginInfo,
    RunInfo,
    SampleRecord,
    read_run_info,
    read_samples,
    write_evaluation,
    write_run_info,
    write_samples,
)
from lina.core.samples import Wanted, make_samples
from lina.core.spec import differences
from lina.core.spec_load import load_spec
from lina.core.train import train
from lina.core.voice import SPEC_FILE, Voice, load

STAGES_FILE = "stages.json"
PACKAGES = ("torch", "numpy", "safetensors", "flash-linear-attention", "fla-core", "triton", "faster-whisper")
FREE_KEYS = (
    "evaluate.",
    "synthesize.",
    "train.valid_every",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.threads",
    "train.out",
    "train.device",
    "data.max_rejects",
)
"""Keys that may change between two starts of a run: they do not change what training computes."""

T = TypeVar("T")
log = logging.getLogger("lina")


def run_spec(resolved: Resolved, hooks: Any) -> Path:
    """Do what a spec asks, or what is left of it; the run directory.

    Raises:
        LinaError: something in the spec, the corpus or the directory is wrong. What was finished stays.
    """
    spec, directory = resolved.spec, resolved.spec.train.out
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / "lock", timeout=0)
        lock.acquire()
    except OSError as error:
        if not isinstance(error, Timeout):
            raise LinaError(
                f"{directory}: cannot be written: {error.strerror}; choose another train.out"
            ) from None
        raise LinaError(
            f"{directory}: another lina is running there; wait for it, or choose another train.out"
        ) from None
    with lock:
        run = Run(directory, spec)
        _claim(run)
        hooks.run_started(run=run)
        prepared = _timed(run, hooks, "data", lambda: prepare(run, resolved, hooks))
        checkpoint = _train(run, resolved, prepared, hooks)
        voice = load(directory, device=spec.train.device)
        if spec.evaluate.sentences or spec.evaluate.unseen:
            _evaluate(run, resolved, prepared, voice, checkpoint, hooks)
        if spec.synthesize.texts:
            _synthesize(run, voice, checkpoint, hooks)
        _report(run, hooks)
        hooks.run_finished(run=run)
    return directory


def _train(run: Run, resolved: Resolved, prepared: Prepared, hooks: Any) -> Checkpoint:
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.frontend.vocab_size,
        speakers=len(prepared.speakers),
        seed=run.spec.seed,
    )
    _write_run_info(run, resolved, model)
    return _timed(run, hooks, "train", lambda: train(run, model, prepared.training, hooks))


def _evaluate(
    run: Run, resolved: Resolved, prepared: Prepared, voice: Voice, checkpoint: Checkpoint, hooks: Any
) -> None:
    spec, data = run.spec.evaluate, prepared.dataset
    causes = [checkpoint.step, spec.model_dump(mode="json"), run.spec.synthesize.model_dump(mode="json")]
    if _finished(run, "evaluate", causes):
        hooks.stage_finished(run=run, stage="evaluate", seconds=0.0)
        return
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
    new = [Wanted(f"{place:02d}", "unseen", text) for place, text in enumerate(spec.unseen, start=1)]
    wanted = said + new
    listens = resolved.recognizer is not None
    hooks.stage_started(run=run, stage="evaluate", total=len(wanted) * (1 + listens), done=0)

    def progress(done: int) -> None:
        hooks.stage_progress(run=run, stage="evaluate", done=done, info={})

    def work() -> None:
        samples = make_samples(run, checkpoint.step, voice, wanted, hooks, {}, progress)
        if resolved.recognizer is None:
            _put_samples(run, ("train", "unseen"), [SampleRecord.of(sample) for sample in samples])
            return
        recognizer = resolved.recognizer.plugin.build(config=resolved.recognizer.config)
        heard: list[Heard] = listen(
            run.directory, samples, recognizer, lambda done: progress(len(wanted) + done)
        )
        write_evaluation(run.directory, evaluation(resolved.recognizer.record.name, heard))
        _put_samples(run, ("train", "unseen"), records(heard))

    _timed(run, hooks, "evaluate", work)
    _finish(run, "evaluate", causes)


def _synthesize(run: Run, voice: Voice, checkpoint: Checkpoint, hooks: Any) -> None:
    spec = run.spec.synthesize
    causes = [checkpoint.step, spec.model_dump(mode="json")]
    if _finished(run, "synthesize", causes):
        hooks.stage_finished(run=run, stage="synthesize", seconds=0.0)
        return
    wanted = [Wanted(f"{place:02d}", "spec", text) for place, text in enumerate(spec.texts, start=1)]
    hooks.stage_started(run=run, stage="synthesize", total=len(wanted), done=0)

    def work() -> None:
        samples = make_samples(
            run,
            checkpoint.step,
            voice,
            wanted,
            hooks,
            {},
            lambda done: hooks.stage_progress(run=run, stage="synthesize", done=done, info={}),
        )
        _put_samples(run, ("spec",), [SampleRecord.of(sample) for sample in samples])

    _timed(run, hooks, "synthesize", work)
    _finish(run, "synthesize", causes)


def _report(run: Run, hooks: Any) -> None:
    hooks.stage_started(run=run, stage="report", total=None, done=0)

    def work() -> list[Path]:
        sections = [section for several in hooks.report_sections(run=run) for section in several]
        return [path for path in hooks.write_report(run=run, sections=sections) if path is not None]

    if not _timed(run, hooks, "report", work):
        log.warning("no plugin wrote a report")


def _timed(run: Run, hooks: Any, stage: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    hooks.stage_finished(run=run, stage=stage, seconds=time.perf_counter() - began)
    return result


def _claim(run: Run) -> None:
    """Write the spec, or check that the one there asks for the same."""
    path = run.directory / SPEC_FILE
    if path.exists():
        changed = [line for line in differences(load_spec(path), run.spec) if not line.startswith(FREE_KEYS)]
        if changed:
            more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
            raise CheckpointError(
                f"{run.directory}: holds a run of another spec: {'; '.join(changed[:3])}{more}; "
                "choose another name or train.out, or delete that directory"
            )
    write_atomic(path, run.spec.to_yaml().encode())


def _stages(run: Run) -> dict[str, str]:
    try:
        stages: dict[str, str] = json.loads((run.directory / STAGES_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return stages


def _finished(run: Run, stage: str, causes: Any) -> bool:
    return _stages(run).get(stage) == _key(causes)


def _finish(run: Run, stage: str, causes: Any) -> None:
    stages = _stages(run) | {stage: _key(causes)}
    write_atomic(run.directory / STAGES_FILE, json.dumps(stages, indent=1).encode())


def _key(causes: Any) -> str:
    return hashlib.sha256(json.dumps(causes, sort_keys=True).encode()).hexdigest()


def _put_samples(run: Run, kinds: tuple[str, ...], new: list[SampleRecord]) -> None:
    """Replace the samples of these kinds in the index."""
    others = [record for record in read_samples(run.directory) if record.kind not in kinds]
    write_samples(
        run.directory, sorted(others + new, key=lambda record: ("train", "unseen", "spec").index(record.kind))
    )


def _write_run_info(run: Run, resolved: Resolved, model: Any) -> None:
    before = read_run_info(run.directory)
    started = before.started if before else datetime.now(UTC).isoformat(timespec="seconds")
    write_run_info(
        run.directory,
        RunInfo(
            lina=version("lina"),
            started=started,
            machine=MachineInfo(
                cpu=_processor(),
                cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            ),
            versions=_versions(),
            plugins=tuple(
                PluginInfo(role=one.role, name=one.name, distribution=one.distribution, version=one.version)
                for one in resolved.records
            ),
            model=ModelInfo(
                parameters=count_parameters(model),
                backbone=count_parameters(model.encoder) + count_parameters(model.decoder),
            ),
        ),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
