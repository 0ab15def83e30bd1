"""Training: every step is a function of (weights, moments, seed, step), so a run resumes where it was, bit for bit.

The order of batches comes from the plan and all random numbers of a step from (seed, step): nothing of either is
stored, and the checkpoint's step is all that resuming needs.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.batch import Batch, collate, drop_conditions
from lina.core.captured import EAGER_CALLS, Captured
from lina.core.checkpoint import load_average, load_optimizer, load_weights, save_checkpoint
from lina.core.checkpoint_directory import Checkpoint, newest_checkpoint
from lina.core.consecutive import RowPlan, row_numbers
from lina.core.device import (
    choose_device,
    choose_precision,
    keep_precision,
    precision_name,
)
from lina.core.errors import CheckpointError, DataError
from lina.core.fixed_shapes import Shape, columns_of, padded, shape_of
from lina.core.hooks import Run
from lina.core.lm import DelayLM
from lina.core.loss import LOSSES
from lina.core.memory import keep_freed_memory
from lina.core.metrics_file import append_metrics, rewind_metrics
from lina.core.objective import Measured, Objective, Part
from lina.core.optimizer import OPTIMIZERS, MovingAverage, choose, learning_rate, parameter_groups
from lina.core.run_records import MetricsRecord
from lina.core.signals import Stopped, asked_to_stop

CHECKPOINTS = "checkpoints"
CONDITIONS = 0x5DEECE66D
"""Keeps the draws of what a step leaves out apart from those of its dropout."""


@dataclass(frozen=True)
class TrainingData:
    """Utterances by number: ``codes(i)`` gives [T, Q] of the modelled codebooks."""

    codes: Callable[[int], Int[Tensor, "T Q"]]
    lengths: Sequence[int]
    texts: Sequence[Sequence[int]]
    speakers: Sequence[int]
    ids: Sequence[str]
    train: Sequence[int]
    valid: Sequence[int]
    frame_rate: float
    identity: str
    """Tells corpora apart: training goes on only on what it began with."""

    def batch(self, numbers: Sequence[int]) -> Batch:
        return collate(
            [self.codes(i) for i in numbers],
            [self.texts[i] for i in numbers],
            [self.speakers[i] for i in numbers],
        )

    def plan(self, numbers: Sequence[int], budget_seconds: float, seed: int, utterances: int = 1) -> RowPlan:
        """Batches of positions in ``numbers``; with so many utterances in a row."""
        budget = max(1, int(budget_seconds * self.frame_rate))
        lengths, speakers = ([of[i] for i in numbers] for of in (self.lengths, self.speakers))
        return RowPlan(lengths, speakers, utterances, budget, seed)


def train(run: Run, model: DelayLM, data: TrainingData, hooks: Any) -> Checkpoint:
    """Train until ``train.steps``, from the newest checkpoint if there is one.

    Raises:
        Stopped: SIGTERM or SIGINT came; the state is saved.
        DataError: the loss or the gradient is not finite; nothing was changed by that step.
        CheckpointError: the checkpoints cannot be used, or are of another corpus.
    """
    spec = run.spec.train
    last = newest_checkpoint(checkpoint_folder(run.directory))
    if last is not None and last.corpus != data.identity:
        raise CheckpointError(
            f"{last.path}: was trained on other data: the corpus or its codes have changed since; "
            "choose another name or train.out, or delete that run directory"
        )
    if last is not None and last.step >= spec.steps:
        hooks.stage_finished(run=run, stage="train", seconds=0.0)
        return last
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="train", total=spec.steps, done=last.step if last else 0)
    keep_freed_memory()
    trainer = _Trainer(run, model, data, hooks)
    if last is not None:
        trainer.restore(last)
    rewind_metrics(run.directory, trainer.step)
    with asked_to_stop() as stop:
        while trainer.step < spec.steps:
            trainer.advance()
            finished = trainer.step == spec.steps
            if finished or trainer.step % spec.valid_every == 0:
                trainer.validate()
            if finished or trainer.step % spec.checkpoint_every == 0 or stop.is_set():
                last = trainer.save()
            if stop.is_set():
                raise Stopped(
                    f"stopped by a signal at step {trainer.step} of {spec.steps}; run the same command to go on"
                )
    assert last is not None
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last


class _Trainer:
    def __init__(self, run: Run, model: DelayLM, data: TrainingData, hooks: Any) -> None:
        spec = run.spec.train
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.device = choose_device(spec.device)
        self.precision = choose_precision(spec.precision, self.device)
        """Of this machine, until a checkpoint says what the run began with."""
        self.model = model.to(self.device)
        for module in model.modules():
            if hasattr(module, "gradient_checkpointing"):
                setattr(module, "gradient_checkpointing", spec.gradient_checkpointing)  # noqa: B010 (a plain bool)
        factory = choose("optimizer", spec.optimizer, OPTIMIZERS, hooks.optimizers())
        groups = parameter_groups(model, spec.weight_decay)
        self.optimizer = factory(groups, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay)
        loss = choose("loss", spec.loss, LOSSES, hooks.losses())
        self.objective = Objective(model, loss, self.device, guides=spec.guided_attention > 0)
        self.graphs = spec.cuda_graph and self.device.type == "cuda"
        self.captured: dict[Shape, Captured[Measured]] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.average = MovingAverage(model, spec.ema) if spec.ema else None
        self.plan = data.plan(data.train, spec.batch_seconds, run.spec.seed, spec.consecutive)
        self.ahead = ThreadPoolExecutor(1)
        self.prepared: tuple[int, Future[list[Part]]] | None = None
        """The parts of a step to come, which are made while the device works on the one before."""
        self.step = 0
        self.seconds = 0.0

    def restore(self, checkpoint: Checkpoint) -> None:
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            self.precision = keep_precision(
                checkpoint.precision, self.precision, self.device, checkpoint.path
            )
        load_weights(self.model, checkpoint, average=False)
        load_optimizer(self.model, self.optimizer, checkpoint)
        if self.average is not None:
            self.average.load(load_average(checkpoint))
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def save(self) -> Checkpoint:
        written = save_checkpoint(
            checkpoint_folder(self.run.directory),
            step=self.step,
            seconds=self.seconds,
            corpus=self.data.identity,
            precision=precision_name(self.precision),
            model=self.model,
            optimizer=self.optimizer,
            average=self.average.state(self.model) if self.average else None,
            keep=self.spec.keep,
        )
        self.hooks.checkpoint_written(run=self.run, step=self.step, path=written.path)
        return written

    def advance(self) -> None:
        """One optimiser step over ``train.accumulate`` batches."""
        began = time.perf_counter()
        spec, step = self.spec, self.step + 1
        torch.manual_seed(step_seed(self.run.spec.seed, step))
        self.model.train()
        parts = self._parts(step)
        total, stray, frames = 0.0, 0.0, 0
        right = counted = torch.zeros(len(self.model.codebook_sizes), dtype=torch.int64, device=self.device)
        for part in parts:
            measured = self._backward(part)
            total += float(measured.loss) / len(parts)
            stray += float(measured.strayed) / len(parts)
            right, counted = right + measured.right, counted + measured.counted
            frames += int(part.lengths.sum())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), spec.clip)
        if not math.isfinite(total) or not bool(norm.isfinite()):
            ids = [self.data.ids[i] for rows in self._planned(step) for row in rows for i in row]
            raise DataError(
                f"train: step {step}: loss {total}, gradient norm {float(norm)}; the weights were not changed; "
                f"start a run of another name with a lower train.lr, or look at these utterances: "
                f"{', '.join(ids[:8])}{' …' if len(ids) > 8 else ''}"
            )
        rate = learning_rate(step, steps=spec.steps, peak=spec.lr, warmup=spec.warmup, floor=spec.min_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, step)
        self.step = step
        spent = time.perf_counter() - began
        self.seconds += spent
        metrics: dict[str, Any] = {
            "loss": total,
            "accuracy": _shares(right, counted),
            "lr": rate,
            "grad_norm": float(norm),
            "frames/s": frames / spent,
            "seconds": self.seconds,
        }
        if spec.guided_attention:
            metrics["guided_attention"] = stray
        if step % spec.log_every == 0 or step in (1, spec.steps):
            append_metrics(self.run.directory, MetricsRecord(step=step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=step, metrics=metrics)
        glance = {"frames/s": metrics["frames/s"], "loss": total}
        self.hooks.stage_progress(run=self.run, stage="train", done=step, info=glance)

    @torch.no_grad()
    def validate(self) -> None:
        """Loss and accuracy over all validation utterances, with the averaged weights where they are kept."""
        if not len(self.data.valid):
            return
        self.model.eval()
        total = 0.0
        right = counted = torch.zeros(len(self.model.codebook_sizes), dtype=torch.int64, device=self.device)
        generator = torch.Generator().manual_seed(0)
        with self.average.in_place(self.model) if self.average else nullcontext():
            for numbers in self.data.plan(self.data.valid, self.spec.batch_seconds, 0).batches(0):
                part = self._part([[self.data.valid[i]] for i in numbers], (0.0, 0.0, 0.0), generator)
                measured = self.objective(self._here(part), columns_of(part), self.precision)
                total += float(measured.loss) * int(measured.counted.sum())
                right, counted = right + measured.right, counted + measured.counted
        metrics: dict[str, Any] = {
            "loss": total / int(counted.sum()),
            "accuracy": _shares(right, counted),
            "seconds": self.seconds,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)

    def _parts(self, step: int) -> list[Part]:
        """Of ``step``; those of the next one begin to be made."""
        known, made = self.prepared or (None, None)
        parts = made.result() if made is not None and known == step else self._prepare(step)
        if step < self.spec.steps:
            self.prepared = step + 1, self.ahead.submit(self._prepare, step + 1)
        return parts

    def _prepare(self, step: int) -> list[Part]:
        """A function of the step alone."""
        conditions = self.run.spec.conditions
        drop = (conditions.drop_text, conditions.drop_speaker, conditions.prompt)
        generator = torch.Generator().manual_seed(step_seed(self.run.spec.seed, step) ^ CONDITIONS)
        return [self._part(rows, drop, generator) for rows in self._planned(step)]

    def _planned(self, step: int) -> list[list[list[int]]]:
        """The utterances of each row of each part of ``step``, by their numbers in the corpus."""
        accumulate = self.spec.accumulate
        planned = [self.plan.rows(part) for part in range((step - 1) * accumulate, step * accumulate)]
        return [[[self.data.train[i] for i in row] for row in rows] for rows in planned]

    def _part(
        self, rows: Sequence[Sequence[int]], drop: tuple[float, float, float], generator: torch.Generator
    ) -> Part:
        """The utterances of each row, by their numbers in the corpus, and what is drawn for them; on the CPU."""
        batch = self.data.batch([number for row in rows for number in row])
        dropped = drop_conditions(batch.lengths, *drop, generator)
        return Part(*batch, dropped.text, dropped.speaker, dropped.prompts, row_numbers(rows))

    def _backward(self, part: Part) -> Measured:
        """Gradients of a part are added to those that are there, or on a GPU take their place."""
        if not self.graphs:
            return self._compute(*self._here(part), steps=columns_of(part))
        shape = shape_of(part, self.plan.budget)
        if shape not in self.captured:
            parameters = [one for one in self.model.parameters() if one.requires_grad]
            compute = partial(self._compute, steps=shape.steps)
            # Only the first shape has libraries to warm up; another one may still have kernels to choose.
            eager = 1 if self.captured else EAGER_CALLS
            self.captured[shape] = Captured(compute, parameters, self.device, self.pool, eager)
        return self.captured[shape](*padded(part, shape))

    def _compute(self, *part: Tensor, steps: int) -> Measured:
        measured = self.objective(Part(*part), steps, self.precision)
        loss = measured.loss + self.spec.guided_attention * measured.strayed
        torch.autograd.backward(loss / self.spec.accumulate)
        return Measured(*(value.detach() for value in measured))

    def _here(self, part: Part) -> Part:
        return Part(*(tensor.to(self.device, non_blocking=True) for tensor in part))


def step_seed(seed: int, step: int) -> int:
    """What all random numbers of a step are drawn from."""
    return (seed * 1_000_000_007 + step) % 2**63


def _shares(right: Tensor, counted: Tensor) -> list[float]:
    return [round(share, 6) for share in (right / counted.clamp(min=1)).tolist()]


def checkpoint_folder(directory: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return directory / CHECKPOINTS
