"""Forecast of a training: frames, padding, steps, memory and days, from the spec and the lengths of its corpus."""

import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from pydantic import BaseModel, ConfigDict

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import TOKENIZER_FILE
from lina.core.audio.codec import frame_rate
from lina.core.errors import LinaError
from lina.data.batch_plan import BatchPlan
from lina.data.corpus_lengths import CorpusLengths, corpus_lengths, drawn
from lina.data.encoding import CodecFacts
from lina.data.packing_plan import RowPlan
from lina.runs.build_model import build_codec, build_lm
from lina.runs.layout import build_tokenizer
from lina.runs.metrics import read_metrics
from lina.training.activation_memory import model_size
from lina.training.batch_size import kept_batch_seconds

UNTRAINED_VOCABULARY = 512
"""Assumed as long as the tokenizer is not trained: too small to matter in the number of parameters."""
MEASURED_LINES = 20
"""Last lines of metrics.jsonl whose median is the measured throughput."""
SECONDS_PER_DAY = 86_400
MOST_HOURS = 1_000_000
"""Of a corpus: its lengths are drawn one by one."""


class Days(BaseModel):
    """Time of the whole training on some GPUs."""

    model_config = ConfigDict(frozen=True)

    gpus: int
    micro_batches: int
    """Per step on the busiest GPU."""
    busy: float
    """Share of the GPUs' time that the micro-batches fill."""
    days: float | None
    """None without a throughput."""


class Forecast(BaseModel):
    model_config = ConfigDict(frozen=True)

    corpus: str
    utterances: int
    hours: float
    padding: float
    """Share of the frames of a micro-batch that are padding, in the first epoch."""
    micro_batches_per_epoch: int
    micro_batches_per_step: int
    steps: int
    frames: float
    """Of the whole training, without padding."""
    epochs: float
    parameters: int
    memory_gib: dict[str, float]
    """Per GPU, by kind; the activations are an upper bound, see ``lina.training.activation_memory``."""
    throughput: float | None
    """Frames per second per GPU."""
    throughput_origin: str
    by_gpus: tuple[Days, ...]


def forecast(
    resolved: ResolvedSpec, *, hours: float | None, throughput: float | None, gpus: Sequence[int]
) -> Forecast:
    """Forecast the training of a spec.

    Args:
        hours: of a larger corpus with the same distribution of lengths; None: the corpus as it is.
        throughput: frames per second per GPU; None: as the run of this spec measured it, if it has begun.
        gpus: numbers of GPUs to give the duration for.

    Raises:
        LinaError: the corpus, the codec or a number cannot be used.
    """
    if hours is not None and not 0 < hours <= MOST_HOURS:
        raise LinaError(f"plan: a corpus of {hours:g} hours; pass more than 0 and at most {MOST_HOURS:,}")
    if throughput is not None and not 0 < throughput < math.inf:
        raise LinaError(f"plan: a throughput of {throughput:g}; pass a number of frames per second above 0")
    spec = resolved.spec
    train = spec.train
    codec = build_codec(resolved.codec)
    rate = frame_rate(codec)
    known = corpus_lengths(resolved, rate)
    speakers = len(np.unique(known.speakers[known.speakers > 0]))
    corpus = known if hours is None else drawn(known, hours, rate, spec.seed)
    plan = _plan(resolved, corpus, rate)
    batches, padded = plan.size_of(0)
    frames = int(plan.lengths.sum(dtype=np.int64))
    vocabulary = UNTRAINED_VOCABULARY
    if (train.out / TOKENIZER_FILE).is_file():
        vocabulary = build_tokenizer(resolved, train.out).vocab_size
    build = partial(
        build_lm,
        resolved,
        codebook_sizes=CodecFacts.of(codec).codebook_sizes,
        vocab_size=vocabulary,
        speakers=speakers,
        seed=spec.seed,
    )
    size = model_size(build, spec)
    weights = 4 * size.parameters
    memory = {
        "weights": weights,
        "gradients": weights,
        "optimizer": 2 * weights,
        "moving average": weights if train.ema else 0,
        "activations": int(size.bytes_per_frame * plan.budget),
    }
    measured = throughput, "given"
    if throughput is None:
        measured = _measured(resolved)
    total = train.steps * train.accumulate * frames / batches
    return Forecast(
        corpus=corpus.origin,
        utterances=len(corpus.frames),
        hours=float(corpus.frames.sum(dtype=np.int64)) / rate / 3600,
        padding=1 - frames / padded,
        micro_batches_per_epoch=batches,
        micro_batches_per_step=train.accumulate,
        steps=train.steps,
        frames=total,
        epochs=train.steps * train.accumulate / batches,
        parameters=size.parameters,
        memory_gib={name: size / 2**30 for name, size in memory.items()},
        throughput=measured[0],
        throughput_origin=measured[1],
        by_gpus=tuple(_days(gpus, train.accumulate, total, measured[0])),
    )


def _plan(resolved: ResolvedSpec, corpus: CorpusLengths, rate: float) -> BatchPlan:
    """The plan of the training side, whose share is ``1 - data.valid`` of the utterances."""
    spec = resolved.spec
    count = max(1, len(corpus.frames) - round(spec.data.valid * len(corpus.frames)))
    kept = kept_batch_seconds(spec.train.out) if spec.train.batch_seconds == "auto" else None
    budget = max(1, int((kept or spec.train.fixed_batch_seconds) * rate))
    frames, speakers = corpus.frames[:count], corpus.speakers[:count]
    if spec.train.consecutive == 1:
        return BatchPlan(frames, budget, spec.seed)
    return RowPlan(frames, speakers, spec.train.consecutive, budget, spec.seed)


def _measured(resolved: ResolvedSpec) -> tuple[float | None, str]:
    """Frames per second per rank of the run, and where they were measured."""
    train = resolved.spec.train
    lines = [one for one in read_metrics(train.out) if one.frames_per_second][-MEASURED_LINES:]
    if not lines:
        return None, f"not known: run some steps ({train.out} has none), or name it by --throughput"
    ranks = [one.ranks or train.gpus for one in lines]
    rates = [(one.frames_per_second or 0.0) / count for one, count in zip(lines, ranks, strict=True)]
    numbers = " and ".join(map(str, sorted(set(ranks))))
    return statistics.median(rates), f"measured in {train.out} on {numbers} rank{'s' * (numbers != '1')}"


def _days(gpus: Sequence[int], accumulate: int, frames: float, throughput: float | None) -> Iterator[Days]:
    for count in gpus:
        if count < 1:
            raise LinaError(f"plan: {count} GPUs cannot train; name at least 1")
        own = math.ceil(accumulate / count)
        busy = accumulate / (own * count)
        days = None if throughput is None else frames / (throughput * count * busy) / SECONDS_PER_DAY
        yield Days(gpus=count, micro_batches=own, busy=busy, days=days)
