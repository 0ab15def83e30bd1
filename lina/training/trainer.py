"""Training: every step is a function of (weights, moments, seed, step), so a run resumes where it was, bit for bit.

The order of batches comes from the plan and all random numbers of a step from (seed, step, number of its part):
nothing of either is stored, and the checkpoint's step is all that resuming needs, on however many GPUs.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.malloc import keep_freed_memory
from lina.core.model.delay_lm import DelayLM
from lina.data.training_data import TrainingData
from lina.runs.checkpoint import load_average, load_optimizer, load_weights, save_checkpoint
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder, newest_checkpoint
from lina.runs.device import (
    choose_device,
    choose_precision,
    keep_precision,
    precision_name,
)
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run
from lina.runs.metrics import append_metrics, rewind_metrics
from lina.runs.records import MetricsRecord
from lina.runs.signals import RunStopped, asked_to_stop
from lina.training.backward import Gradients
from lina.training.data_parallel import gathered
from lina.training.finite_steps import SkippedSteps
from lina.training.loss import LOSSES
from lina.training.micro_batches import Parts, make_part
from lina.training.objective import Measured, Objective
from lina.training.optimizer import OPTIMIZERS, MovingAverage, choose, learning_rate, parameter_groups
from lina.training.optimizer_step import Update
from lina.training.process_group import Team
from lina.training.shape_buckets import columns_of
from lina.training.step_seed import step_seed


def train(run: Run, model: DelayLM, data: TrainingData, hooks: Any) -> Checkpoint:
    """Train until ``train.steps``, from the newest checkpoint if there is one.

    Raises:
        RunStopped: SIGTERM or SIGINT came; the state is saved.
        DataError: the loss or the gradient was not finite in many steps in a row, none of which changed anything.
        CheckpointError: the checkpoints cannot be used, or are of another corpus.
        LinaError: another process of ``train.gpus`` has ended.
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
    with gathered(spec, _follow, run, model, data, last) as team:
        trainer = Trainer(run, model, data, hooks, team)
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
                    raise RunStopped(
                        f"stopped by a signal at step {trainer.step} of {spec.steps}; "
                        "run the same command to go on"
                    )
    assert last is not None
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last


def _follow(run: Run, model: DelayLM, data: TrainingData, last: Checkpoint | None, team: Team) -> None:
    """What the other processes of ``train.gpus`` do: the same steps, of other parts, and nothing else."""
    keep_freed_memory()
    trainer = Trainer(run, model, data, build_manager().hook, team)
    if last is not None:
        trainer.restore(last)
    while trainer.step < run.spec.train.steps:
        trainer.advance()


class Trainer:
    """What training changes, step by step: weights, moments, averages."""

    def __init__(
        self, run: Run, model: DelayLM, data: TrainingData, hooks: Any, team: Team | None = None
    ) -> None:
        spec = run.spec.train
        self.team = team or Team()
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
        self.average = MovingAverage(model, spec.ema) if spec.ema and self.team.leads else None
        self.parts = Parts(run.spec, data, self.team.parts(spec.accumulate))
        self.gradients = Gradients(spec, self.objective, self.parts.budget)
        self.update = Update(spec, model, self.optimizer, self.average, self.device)
        self.skipped = SkippedSteps(torch.device("cpu"))
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
        self.model.train()
        measures, frames = [], 0
        for number, part in zip(self.parts.mine, self.parts(step), strict=True):
            torch.manual_seed(step_seed(self.run.spec.seed, step, number))
            measures.append(self.gradients(part, self.precision))
            frames += int(part.lengths.sum())
        numbers = self.team.add(self.model.parameters(), _numbers(measures, frames))
        rate = learning_rate(step, steps=spec.steps, peak=spec.lr, warmup=spec.warmup, floor=spec.min_lr)
        norm = self.update(numbers[0], rate, step)
        total, stray = float(numbers[0]) / spec.accumulate, float(numbers[1]) / spec.accumulate
        right, counted = numbers[3:].long().chunk(2)
        finite = norm.isfinite() & math.isfinite(total)
        self.skipped.add(step, finite.cpu())
        self.skipped.report(self._utterances, f" (loss {total}, gradient norm {float(norm)})")
        self.step = step
        if not self.team.leads:
            return
        spent = time.perf_counter() - began
        self.seconds += spent
        if not finite:
            self.hooks.stage_progress(run=self.run, stage="train", done=step, info={})
            return
        metrics: dict[str, Any] = {
            "loss": total,
            "accuracy": _shares(right, counted),
            "lr": rate,
            "grad_norm": float(norm),
            "frames/s": float(numbers[2]) / spent,
            "seconds": self.seconds,
        }
        if spec.guided_attention:
            metrics["guided_attention"] = stray
        if step % spec.log_every == 0 or step in (1, spec.steps):
            append_metrics(self.run.directory, MetricsRecord(step=step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=step, metrics=metrics)
        glance = {"frames/s": metrics["frames/s"], "loss": total}
        self.hooks.stage_progress(run=self.run, stage="train", done=step, info=glance)

    def _utterances(self, step: int) -> list[str]:
        return [self.data.ids[i] for rows in self.parts.numbers(step) for row in rows for i in row]

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
                rows = [[self.data.valid[i]] for i in numbers]
                part = make_part(self.data, rows, (0.0, 0.0, 0.0), generator)
                measured = self.objective(part.to(self.device), columns_of(part), self.precision)
                total += float(measured.loss) * int(measured.counted.sum())
                right, counted = right + measured.right, counted + measured.counted
        metrics: dict[str, Any] = {
            "loss": total / int(counted.sum()),
            "accuracy": _shares(right, counted),
            "seconds": self.seconds,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)


def _numbers(measures: Sequence[Measured], frames: int) -> Tensor:
    """Of a step, summed over its parts, exactly: loss, strayed, frames, and of each codebook right and counted."""
    rows = [
        torch.cat([torch.stack([one.loss, one.strayed]).double(), one.right.double(), one.counted.double()])
        for one in measures
    ]
    sums = torch.stack(rows).sum(dim=0)
    return torch.cat([sums[:2], torch.full_like(sums[:1], frames), sums[2:]])


def _shares(right: Tensor, counted: Tensor) -> list[float]:
    return [round(share, 6) for share in (right / counted.clamp(min=1)).tolist()]
