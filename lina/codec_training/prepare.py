"""Stage data of job codec: from corpora to a pool of samples, and what of it is held back."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lina.codec_training.audio_pool import Pool, build_pool, held_out
from lina.codec_training.decoding import FULL_SCALE
from lina.codec_training.run import CodecRun
from lina.config.codec_resolve import ResolvedCodecSpec
from lina.core.protocols import TrainableCodec
from lina.runs.files import write_data_summary
from lina.runs.records import CodecInfo, DataSummary


@dataclass(frozen=True)
class CodecData:
    pool: Pool
    train: Sequence[int]
    """Numbers of utterances."""
    valid: Sequence[int]

    def audio(self, number: int) -> Float[Tensor, "samples"]:
        """An utterance as it was recorded."""
        return self.pool.utterance(number).float() / FULL_SCALE


def prepare(run: CodecRun, resolved: ResolvedCodecSpec, codec: TrainableCodec, hooks: Any) -> CodecData:
    """Decode what is not decoded yet; set utterances aside for validation and evaluation.

    Raises:
        DataError: the corpora cannot be used (reasons in ``data/rejects.jsonl``).
    """
    spec, began, worked = run.spec.data, time.perf_counter(), False

    def report(done: int, total: int) -> None:
        nonlocal worked
        if not worked:
            hooks.stage_started(run=run, stage="data", total=total, done=done)
        worked = True
        hooks.stage_progress(run=run, stage="data", done=done, info={})

    pool = build_pool(
        run.directory / "data",
        [list(one.plugin.read(config=one.config)) for one in resolved.sources],
        sample_rate=codec.sample_rate,
        min_seconds=spec.min_seconds,
        max_seconds=spec.max_seconds,
        max_rejects=spec.max_rejects,
        workers=spec.workers or _cores(),
        report=report,
    )
    train, valid = held_out(pool, spec.valid, run.spec.seed)
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
    hooks.stage_finished(run=run, stage="data", seconds=time.perf_counter() - began if worked else 0.0)
    return CodecData(pool, train, valid)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
