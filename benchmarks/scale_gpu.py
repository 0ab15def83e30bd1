"""Ranks on GPUs, on random codes: throughput of one and two, and a run that resumes on two, one and two again."""

import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.decode_models import CODEBOOKS, PLACEHOLDERS, ROOT, TEXT
from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.model.delay_lm import DelayLM
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_lm, count_parameters
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run, hookimpl
from lina.runs.metrics import read_metrics
from lina.training.process_group import join_ranks
from lina.training.trainer import Trainer, train

FRAME_RATE = 75.0
SPEC = "specs/lina_speech/gla-230m.yaml"
MODELS: dict[str, tuple[int, tuple[str, ...]]] = {
    "gla-230m": (16, ("backbone.d_model=1024", "backbone.n_layers=6")),
    "gla-1b": (8, ("backbone.d_model=2048", "backbone.n_layers=7")),
    "gla-small": (4, ("backbone.d_model=256", "backbone.n_layers=2", "text.position_dim=128")),
}
"""Rows of a micro-batch, and the size of each model: ``n_layers`` before and as many after the text."""
FRAMES = 2000


def setup(model: str, accumulate: int, *settings: str) -> tuple[ResolvedSpec, DelayLM, TrainingData]:
    """A model of random weights, and enough utterances of random codes, the same on every rank."""
    rows, size = MODELS[model]
    resolved = resolve(
        load_spec(
            ROOT / SPEC,
            [
                *PLACEHOLDERS,
                *size,
                "train.gradient_checkpointing=false",
                f"train.batch_seconds={(rows * FRAMES + 0.5) / FRAME_RATE}",
                f"train.accumulate={accumulate}",
                *("train.precision=bfloat16", "train.warmup=5", "train.log_every=1", "train.ema=0.999"),
                *settings,
            ],
        )
    )
    draw = torch.Generator().manual_seed(0)
    count = 8 * rows
    lengths = torch.randint(FRAMES // 2, FRAMES + 1, (count,), generator=draw).tolist()
    codes = [torch.randint(0, 1024, (length, len(CODEBOOKS)), generator=draw) for length in lengths]
    texts = [torch.randint(2, 200, (TEXT,), generator=draw).tolist() for _ in range(count)]
    names = [str(number) for number in range(count)]
    data = TrainingData(
        codes.__getitem__, lengths, texts, [1] * count, names, range(count), [], FRAME_RATE, "random"
    )
    lm = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=256, speakers=1, seed=0)
    return resolved, lm, data


class Losses:
    """Losses of each step, its frames per second, and the seconds until its end."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.frames: list[float] = []
        self.ends: list[float] = []

    @hookimpl
    def step_done(self, metrics: dict[str, Any]) -> None:
        self.losses.append(metrics["loss"])
        self.frames.append(metrics["frames/s"])
        self.ends.append(metrics["seconds"])


def throughput(model: str, accumulate: int, parallel: str, warmup: int, steps: int) -> dict[str, Any] | None:
    """Frames per second of the median step of all ranks, in this process's launcher; on rank 0."""
    settings = (f"train.parallel={parallel}", f"train.steps={warmup + steps}", "train.compile=false")
    resolved, lm, data = setup(model, accumulate, *(one for one in settings if _known(one)))
    manager, listener = build_manager(()), Losses()
    manager.register(listener)
    began = time.perf_counter()
    with join_ranks(resolved.spec.train) as group, tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(Run(Path(scratch), resolved.spec), lm, data, manager.hook, group)
        for number in range(warmup + steps):
            group.enter("compilation" if number < warmup else "step")
            if number == warmup:
                trainer.collect()
                first = time.perf_counter() - began
                _on_gpu(torch.cuda.reset_peak_memory_stats)
            trainer.advance()
        trainer.collect()
        if not group.is_main:
            return None
        seconds = [end - start for start, end in pairwise(listener.ends[warmup - 1 :])]
        timed = sorted(seconds)
        frames = [rate * one for rate, one in zip(listener.frames[warmup:], seconds, strict=True)]
        return {
            "model": model,
            "parameters": count_parameters(lm),
            "parallel": parallel if group.size > 1 else "",
            "ranks": group.size,
            "micro_batches": accumulate,
            "frames_per_second": round(sum(frames) / sum(seconds)),
            "median_step_seconds": round(timed[len(timed) // 2], 4),
            "peak_gib": round((_on_gpu(torch.cuda.max_memory_allocated) or 0) / 2**30, 2),
            "seconds_to_first_timed_step": round(first, 1),
            "losses": [round(one, 5) for one in listener.losses],
        }


def resumed(directory: str, steps: int, parallel: str) -> dict[str, Any] | None:
    """Train a small model until ``steps`` in ``directory``, from its last checkpoint; its losses, on rank 0."""
    settings = (
        *(f"train.parallel={parallel}", f"train.steps={steps}", "train.schedule=constant"),
        *(f"train.out={directory}", "train.checkpoint_every=1000", "train.compile=false"),
    )
    resolved, lm, data = setup("gla-small", 4, *(one for one in settings if _known(one)))
    Path(directory).mkdir(parents=True, exist_ok=True)
    with join_ranks(resolved.spec.train) as group:
        run = Run(Path(directory), resolved.spec)
        train(run, lm, data, build_manager(()).hook, group)
        if not group.is_main:
            return None
        losses = [round(one.loss, 6) for one in read_metrics(run.directory)]
        return {"ranks": os.environ.get("WORLD_SIZE", "1"), "parallel": parallel, "losses": losses}


def sharing(directory: str, steps: int, parallel: str) -> dict[str, Any] | None:
    """``resumed`` of several ranks on the first GPU, which exchange by gloo: NCCL wants a GPU for each of them."""
    start = dist.init_process_group
    torch.cuda.set_device = lambda device: None
    dist.init_process_group = lambda backend, **options: start("gloo", **options)
    return resumed(directory, steps, parallel)


def _on_gpu(function: Callable[[], Any]) -> Any:
    return function() if torch.cuda.is_available() else None


def _known(setting: str) -> bool:
    from lina.config.train_section import TrainSection

    return setting.partition("=")[0].removeprefix("train.") in TrainSection.model_fields
