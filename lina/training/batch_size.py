"""``train.batch_seconds: auto``: the largest micro-batch that fits on the GPU, found before the first step.

The memory of a step grows linearly with its frames, so two sizes tell how many fit. The result is kept in the run
directory: the order of batches depends on it, and a run that resumes from a checkpoint, on any machine, has the same.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter

from lina.config.train_section import FIXED_BATCH_SECONDS
from lina.core.errors import LinaError, is_out_of_memory
from lina.core.files.atomic import write_atomic
from lina.core.files.json_file import read_json
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.dispatch import log_once
from lina.data.collate import KEEP_ALL
from lina.data.training_data import TrainingData
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.device import choose_device, choose_precision
from lina.runs.hooks import Run
from lina.training.activation_memory import checkpoint_layers
from lina.training.backward import BackwardPass
from lina.training.micro_batches import make_micro_batch
from lina.training.objective import build_objective
from lina.training.packing import packs_groups

FILE = "batch_seconds.json"
FIRST = 30.0
"""Seconds of the first size that is measured."""
SHARE = 0.85
"""Share of the GPU's memory that a step may take: batches differ in shape, and memory is in pieces."""
PARTS = 20
"""A micro-batch is at most this part of the corpus: an epoch of few batches trains badly."""
_SECONDS = TypeAdapter(Annotated[float, Field(gt=0.0, le=1e6)])


def choose_batch_seconds(run: Run, model: DelayLM, data: TrainingData) -> float:
    """Seconds per micro-batch of a run with ``train.batch_seconds: auto``: those of its checkpoints, or found now.

    Before the first checkpoint the spec may change, and the model with it.

    Raises:
        LinaError: not even the smallest micro-batch fits.
    """
    if (kept := kept_batch_seconds(run.directory)) is not None:
        return kept
    file, device = run.directory / FILE, choose_device(run.spec.train.device)
    seconds = FIXED_BATCH_SECONDS
    if device.type == "cuda":
        memory = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        seconds = largest_batch(
            lambda seconds: _bytes_of_step(run, model, data, device, seconds),
            SHARE * memory,
            max(FIRST, sum(data.lengths[i] for i in data.train) / data.frame_rate / PARTS),
        )
    write_atomic(file, (json.dumps(seconds) + "\n").encode())
    log_once(f"train.batch_seconds: auto: {seconds:g} s per micro-batch, kept in {file}")
    return seconds


def kept_batch_seconds(directory: Path) -> float | None:
    """The seconds per micro-batch that a run with checkpoints has found, None if it has not.

    Raises:
        FileError: the file is damaged.
    """
    file = directory / FILE
    return read_json(file, _SECONDS, strict=False) if file.is_file() and has_checkpoints(directory) else None


def largest_batch(bytes_of: Callable[[float], float], available: float, most: float) -> float:
    """Largest number of seconds, up to ``most``, whose step takes at most ``available`` bytes.

    ``bytes_of`` measures a step of so many seconds, with an exception that ``is_out_of_memory`` if it does not fit. Two
    sizes give a first line through the bytes, and half of its answer a better one.

    Raises:
        LinaError: the first sizes do not fit.
    """
    points: list[tuple[float, float]] = []
    for seconds in (FIRST, 2 * FIRST):
        found = _measured(bytes_of, seconds)
        if found is None:
            raise LinaError(
                f"train.batch_seconds: auto: a micro-batch of {seconds:g} s does not fit on the GPU; set a smaller "
                "train.batch_seconds, or train.gradient_checkpointing: true"
            )
        points.append((seconds, found))
    guess = min(_solve(points, available), most)
    if guess > 8 * FIRST:
        half = guess / 2
        found = _measured(bytes_of, half)
        if found is None:
            guess = _largest_halved(bytes_of, half / 2)
        else:
            guess = min(_solve([points[-1], (half, found)], available), most)
    return float(f"{max(FIRST, guess):.3g}")


def _largest_halved(bytes_of: Callable[[float], float], seconds: float) -> float:
    """``seconds``, halved until a step of so many fits."""
    while seconds > 2 * FIRST and _measured(bytes_of, seconds) is None:
        seconds /= 2
    return seconds


def _measured(bytes_of: Callable[[float], float], seconds: float) -> float | None:
    """The bytes of a step, None if it does not fit.

    Whoever measures a smaller one next does so after the handler of the error, whose traceback holds the tensors.
    """
    try:
        return bytes_of(seconds)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def _solve(points: list[tuple[float, float]], available: float) -> float:
    """The seconds at which the line through two points reaches ``available`` bytes."""
    (near, less), (far, more) = points
    slope = max((more - less) / (far - near), 1e-6)
    return far + (available - more) / slope


def _bytes_of_step(
    run: Run, model: DelayLM, data: TrainingData, device: torch.device, seconds: float
) -> float:
    """Peak memory of forward and backward pass over the longest utterances, and of what the optimizer adds.

    Layers are not compiled here; those that are take less.
    """
    frames = int(seconds * data.frame_rate)
    precision = choose_precision(run.spec.train.precision, device)
    end_to_end = packs_groups(model, precision)
    spec = run.spec.train.model_copy(update={"cuda_graph": False})  # its rows, without a capture
    checkpoint_layers(model, spec.gradient_checkpointing)
    backward = BackwardPass(spec, build_objective(run.spec, model.to(device).train(), device))
    longest = sorted(data.train, key=lambda number: -data.lengths[number])
    budget, groups = frames, list[list[int]]()
    while budget > 0:
        number = longest[len(groups) % len(longest)]
        groups.append([number])
        budget -= data.lengths[number]
    batch = make_micro_batch(data, groups, KEEP_ALL, torch.Generator().manual_seed(0), end_to_end=end_to_end)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        backward(batch, precision)
    finally:
        model.zero_grad(set_to_none=True)
    weights = sum(4 * one.numel() for one in model.parameters() if one.requires_grad)
    peak = torch.cuda.max_memory_allocated(device)
    # A graph keeps its memory, and another shape's first step runs beside it; with ``auto`` that is left out where it
    # does not fit.
    twice = peak - before if run.spec.train.cuda_graph is True else 0
    return peak + twice + weights * (3 if spec.ema else 2)


def resolved_run(run: Run, **values: float | bool) -> Run:
    """The run with values for keys of ``train`` that are ``auto``."""
    train = run.spec.train.model_copy(update=values)
    return replace(run, spec=run.spec.model_copy(update={"train": train}))
