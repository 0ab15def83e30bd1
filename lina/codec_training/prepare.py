"""Data stage of job codec: decode the corpora into an audio pool and split off held-out utterances."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lina.codec_training.audio_pool import AudioPool, build_pool, split_held_out
from lina.codec_training.decoding import FULL_SCALE
from lina.config.codec_resolve import ResolvedCodecSpec
from lina.config.codec_spec import CodecSpec
from lina.core.protocols import TrainableCodec
from lina.runs.files import write_data_summary
from lina.runs.records import CodecInfo, DataSummary


@dataclass(frozen=True)
class CodecRun:
    """A run of job codec as hooks receive it; see ``lina.runs.hooks.Run``."""

    directory: Path
    spec: CodecSpec


@dataclass(frozen=True)
class CodecData:
    """The audio pool, and the numbers of its training and held-out utterances."""

    pool: AudioPool
    train: Sequence[int]
    valid: Sequence[int]

    def audio(self, number: int) -> Float[Tensor, "samples"]:
        """An utterance without augmentation, in [-1, 1]."""
        return self.pool.utterance(number).float() / FULL_SCALE


def prepare_audio(run: CodecRun, resolved: ResolvedCodecSpec, codec: TrainableCodec, hooks: Any) -> CodecData:
    """Decode the corpora unless this is done, and split off utterances for validation and evaluation.

    Raises:
        DataError: the corpora cannot be used; reasons are in ``data/rejects.jsonl``.
    """
    spec, began, started = run.spec.data, time.perf_counter(), False

    def report(done: int, total: int) -> None:
        nonlocal started
        if not started:
            hooks.stage_started(run=run, stage="data", total=total, done=done)
        started = True
        hooks.stage_progress(run=run, stage="data", done=done, info={})

    pool = build_pool(
        run.directory / "data",
        [list(source.plugin.read(config=source.config)) for source in resolved.sources],
        sample_rate=codec.sample_rate,
        min_seconds=spec.min_seconds,
        max_seconds=spec.max_seconds,
        max_rejects=spec.max_rejects,
        workers=spec.workers or _core_count(),
        report=report,
    )
    train, valid = split_held_out(pool, spec.valid, run.spec.seed)
    write_data_summary(
        run.directory,
        DataSummary(
            utterances=len(pool.index.entries),
            valid=len(valid),
            seconds=pool.index.samples / codec.sample_rate,
            rejects=pool.index.rejects,
            codec=CodecInfo(
                name=resolved.codec.record.name,
                sample_rate=codec.sample_rate,
                hop=codec.hop,
                codebook_sizes=tuple(codec.codebook_sizes),
            ),
        ),
    )
    hooks.stage_finished(run=run, stage="data", seconds=time.perf_counter() - began if started else 0.0)
    return CodecData(pool, train, valid)


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
