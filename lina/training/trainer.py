"""Training: every step is a function of (weights, moments, seed, step), so a run resumes where it was, bit for bit.

The order of batches comes from the plan, and all random numbers of a step from (seed, step, micro-batch): neither is
stored, and the step of the checkpoint is all that resuming needs, on any number of GPUs.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from lina.config.training_choices import training_choices
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.dispatch import log_once
from lina.core.process.malloc import keep_freed_memory
from lina.data.collate import KEEP_ALL
from lina.data.training_data import TrainingData
from lina.runs.checkpoint import load_average, load_optimizer, load_weights, save_checkpoint
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder
from lina.runs.device import (
    choose_device,
    choose_precision,
    keep_precision,
    precision_name,
)
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run
from lina.runs.metrics import append_metrics
from lina.runs.records import MetricsRecord
from lina.training.backward import BackwardPass
from lina.training.data_parallel import spawn_workers
from lina.training.finite_steps import SkippedSteps
from lina.training.loop import resume_point, run_steps
from lina.training.micro_batches import MicroBatches, make_micro_batch, step_seed
from lina.training.objective import Objective, StepMeasures
from lina.training.optimizer import MovingAverage, parameter_groups
from lina.training.optimizer_step import OptimizerStep
from lina.training.packing import packs_groups
from lina.training.process_group import ProcessGroup
from lina.training.shape_buckets import columns_of


def train(run: Run, model: DelayLM, data: TrainingData, hooks: Any) -> Checkpoint:
    """Train until ``train.steps``, from the newest checkpoint if there is one.

    Raises:
        RunStopped: SIGTERM or SIGINT came; the state is saved.
        DataError: the loss or the gradient was not finite in many consecutive steps, which were not applied.
        CheckpointError: the checkpoints cannot be used, or are of another corpus.
        LinaError: another rank of ``train.gpus`` has exited.
    """
    spec = run.spec.train
    last = resume_point(run, data.identity, "")
    if last is not None and last.step >= spec.steps:
        hooks.stage_finished(run=run, stage="train", seconds=0.0)
        return last
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="train", total=spec.steps, done=last.step if last else 0)
    keep_freed_memory()
    with spawn_workers(spec, _run_rank, run, model, data, last) as group:
        trainer = Trainer(run, model, data, hooks, group)
        if last is not None:
            trainer.restore(last)
        last = run_steps(trainer, run)
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last


def _run_rank(
    run: Run, model: DelayLM, data: TrainingData, last: Checkpoint | None, group: ProcessGroup
) -> None:
    """Entry point of non-zero ranks: run the same steps on their share of the micro-batches."""
    keep_freed_memory()
    trainer = Trainer(run, model, data, build_manager().hook, group)
    if last is not None:
        trainer.restore(last)
    while trainer.step < run.spec.train.steps:
        trainer.advance()


class Trainer:
    """Training state: weights, optimizer moments, EMA, step; one rank of ``group``."""

    def __init__(
        self, run: Run, model: DelayLM, data: TrainingData, hooks: Any, group: ProcessGroup | None = None
    ) -> None:
        spec = run.spec.train
        self.group = group or ProcessGroup()
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.device = choose_device(spec.device)
        self.precision = choose_precision(spec.precision, self.device)
        """Chosen for this machine; a checkpoint overrides it with the precision that the run began with."""
        self.model = model.to(self.device)
        for module in model.modules():
            if hasattr(module, "gradient_checkpointing"):
                setattr(module, "gradient_checkpointing", spec.gradient_checkpointing)  # noqa: B010 (a plain bool)
        chosen = training_choices(run.spec)
        self.optimizer = chosen.optimizer.plugin.build(
            parameters=parameter_groups(model),
            lr=spec.lr,
            betas=spec.betas,
            weight_decay=spec.weight_decay,
            config=chosen.optimizer.config,
        )
        self.schedule = chosen.schedule.plugin.build(
            steps=spec.steps, warmup=spec.warmup, floor=spec.min_lr, config=chosen.schedule.config
        )
        loss = chosen.loss.plugin.build(config=chosen.loss.config)
        guided = spec.guided_attention > 0
        self.objective = Objective(model, loss, self.device, guided=guided, name=chosen.loss.record.name)
        self.average = MovingAverage(model, spec.ema) if spec.ema and self.group.is_main else None
        self.micro_batches = MicroBatches(
            run.spec, data, self.group.micro_batches(spec.accumulate), self._packs_groups()
        )
        self.backward = BackwardPass(spec, self.objective, self.micro_batches.budget)
        self.optimizer_step = OptimizerStep(spec, model, self.optimizer, self.average, self.device)
        self.skipped = SkippedSteps(torch.device("cpu"))
        self.step = 0
        self.seconds = 0.0

    def _packs_groups(self) -> bool:
        """Lay all rows of a micro-batch end to end: on a GPU, where kernels take restarts and shapes are free."""
        if self.device.type != "cuda" or self.spec.cuda_graph:
            return False
        packs = packs_groups(self.model)
        log_once(
            f"train: {'rows end to end, without padding' if packs else 'padded rows: the backbone takes no starts'}"
        )
        return packs

    def restore(self, checkpoint: Checkpoint) -> None:
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            self.precision = keep_precision(
                checkpoint.precision, self.precision, self.device, checkpoint.path
            )
        load_weights(self.model, checkpoint, average=False)
        load_optimizer(self.model, self.optimizer, checkpoint)
        if self.average is not None:
            self.average.load(load_average(checkpoint, self.model))
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

    def next_batch(self) -> tuple[str, str]:
        lengths, batches = self.data.lengths, self.micro_batches.numbers(self.step + 1)
        rows, longest = max(
            ((len(rows), max(sum(lengths[i] for i in row) for row in rows)) for rows in batches),
            key=math.prod,
        )
        return (
            f"{rows} rows of up to {longest:,} frames",
            f"train.batch_seconds ({self.spec.batch_seconds:g})",
        )

    def advance(self) -> None:
        """One optimizer step over ``train.accumulate`` micro-batches."""
        began = time.perf_counter()
        spec, step = self.spec, self.step + 1
        self.model.train()
        measures, frames, batches = [], 0, self.micro_batches(step)
        for number, batch in zip(self.micro_batches.own, batches, strict=True):
            torch.manual_seed(step_seed(self.run.spec.seed, step, number))
            measures.append(self.backward(batch, self.precision))
            frames += int(batch.lengths.sum())
        numbers = self.group.all_reduce_gradients(self.model.parameters(), _numbers(measures, frames))
        further: dict[str, float] = {}
        if self.group.is_main:
            for one in self.hooks.step_metrics(run=self.run, step=step, model=self.model, batches=batches):
                further |= one
        rate = spec.lr * self.schedule(step)
        norm = self.optimizer_step(numbers[0], rate, step)
        total, attention_loss = float(numbers[0]) / spec.accumulate, float(numbers[1]) / spec.accumulate
        auxiliary_loss = float(numbers[2]) / spec.accumulate
        n_correct, n_targets = numbers[4:].long().chunk(2)
        finite = norm.isfinite() & math.isfinite(total)
        self.skipped.add(step, finite.cpu())
        self.skipped.report(self._utterances, f" (loss {total}, gradient norm {float(norm)})")
        self.step = step
        if not self.group.is_main:
            return
        spent = time.perf_counter() - began
        self.seconds += spent
        if not finite:
            self.hooks.stage_progress(run=self.run, stage="train", done=step, info={})
            return
        metrics: dict[str, Any] = {
            "loss": total,
            "accuracy": _shares(n_correct, n_targets),
            "lr": rate,
            "grad_norm": float(norm),
            "frames/s": float(numbers[3]) / spent,
            "seconds": self.seconds,
        }
        if spec.guided_attention:
            metrics["guided_attention"] = attention_loss
        if auxiliary_loss:
            metrics["auxiliary"] = auxiliary_loss
        metrics |= further
        if step % spec.log_every == 0 or step in (1, spec.steps):
            append_metrics(self.run.directory, MetricsRecord(step=step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=step, metrics=metrics)
        brief = {"frames/s": metrics["frames/s"], "loss": total}
        self.hooks.stage_progress(run=self.run, stage="train", done=step, info=brief)

    def _utterances(self, step: int) -> list[str]:
        return [self.data.ids[i] for rows in self.micro_batches.numbers(step) for row in rows for i in row]

    @torch.no_grad()
    def validate(self) -> None:
        """Loss and accuracy over all validation utterances, with the averaged weights where they are kept."""
        if not len(self.data.valid):
            return
        self.model.eval()
        total = 0.0
        n_correct = n_targets = torch.zeros(
            len(self.model.codebook_sizes), dtype=torch.int64, device=self.device
        )
        generator = torch.Generator().manual_seed(0)
        with self.average.in_place(self.model) if self.average else nullcontext():
            for numbers in self.data.plan(self.data.valid, self.spec.batch_seconds, 0).batches(0):
                rows = [[self.data.valid[i]] for i in numbers]
                batch = make_micro_batch(self.data, rows, KEEP_ALL, generator)
                measured = self.objective(batch.to(self.device), columns_of(batch), self.precision)
                total += float(measured.loss) * int(measured.n_targets.sum())
                n_correct, n_targets = n_correct + measured.n_correct, n_targets + measured.n_targets
        metrics: dict[str, Any] = {
            "loss": total / int(n_targets.sum()),
            "accuracy": _shares(n_correct, n_targets),
            "seconds": self.seconds,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)


def _numbers(measures: Sequence[StepMeasures], frames: int) -> Tensor:
    """Exact sums over a step's micro-batches: three losses, frames, correct and all targets per codebook."""
    rows = [
        torch.cat(
            [
                torch.stack([one.loss, one.guided_attention_loss, one.auxiliary_loss]).double(),
                one.n_correct.double(),
                one.n_targets.double(),
            ]
        )
        for one in measures
    ]
    sums = torch.stack(rows).sum(dim=0)
    return torch.cat([sums[:3], torch.full_like(sums[:1], frames), sums[3:]])


def _shares(n_correct: Tensor, n_targets: Tensor) -> list[float]:
    return [round(share, 6) for share in (n_correct / n_targets.clamp(min=1)).tolist()]
