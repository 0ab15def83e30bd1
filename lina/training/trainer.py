"""Training: every step is a function of (weights, moments, seed, step), so a run resumes where it was, bit for bit.

The order of batches comes from the plan, and all random numbers of a step from (seed, step, micro-batch): neither is
stored, and the step of the checkpoint is all that resuming needs, on any number of ranks.
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any

import torch

from lina.config.training_choices import training_choices
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.dispatch import HAS_TRITON, log_once
from lina.core.process.malloc import keep_freed_memory
from lina.data.training_data import TrainingData
from lina.runs.checkpoint import (
    checkpoint_content,
    load_average,
    load_optimizer,
    load_weights,
    save_tensors,
)
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder
from lina.runs.checkpoint_writer import CheckpointWriter, copied
from lina.runs.device import (
    choose_device,
    choose_precision,
    keep_precision,
    precision_name,
)
from lina.runs.hooks import Run
from lina.runs.metrics import append_metrics
from lina.runs.records import MetricsRecord
from lina.runs.shards import gather
from lina.training.activation_memory import checkpoint_layers
from lina.training.backward import BackwardPass
from lina.training.batch_size import choose_batch_seconds, resolved_run
from lina.training.compile_blocks import compile_blocks, compiles_layers
from lina.training.finite_steps import SkippedSteps
from lina.training.gradient_spikes import NormStatistics
from lina.training.graph_choice import choose_forms_for_graph, is_own_code, uses_cuda_graph
from lina.training.issued_step import HostCopy, IssuedStep
from lina.training.kernel_warm_up import KernelWarmUp
from lina.training.loop import resume_point, run_steps
from lina.training.micro_batches import MicroBatches, step_seed
from lina.training.objective import StepMeasures, build_objective
from lina.training.optimizer import MovingAverage, parameter_groups
from lina.training.optimizer_step import OptimizerStep
from lina.training.packing import packs_groups
from lina.training.process_group import ProcessGroup
from lina.training.results import check_optimizer, check_schedule
from lina.training.step_numbers import accuracies, step_numbers
from lina.training.validation import validation_metrics


def train(
    run: Run, model: DelayLM, data: TrainingData, hooks: Any, group: ProcessGroup | None = None
) -> Checkpoint | None:
    """Train until ``train.steps``, from the newest checkpoint if there is one; return the last checkpoint.

    Every rank of ``group`` calls this, and other ranks than rank 0 get None.

    Raises:
        RunStopped: SIGTERM or SIGINT came, or ``train.minutes`` are over; the state is saved.
        DataError: the loss or the gradient was not finite in many consecutive steps, which were not applied.
        CheckpointError: the checkpoints cannot be used, or are of another corpus.
        LostError: another rank has exited.
    """
    spec, began, group = run.spec.train, time.perf_counter(), group or ProcessGroup()
    last: Checkpoint | None = group.broadcast(resume_point(run, data.identity, "") if group.is_main else None)
    if last is not None and last.step >= spec.steps:
        hooks.stage_finished(run=run, stage="train", seconds=0.0)
        return last
    hooks.stage_started(run=run, stage="train", total=spec.steps, done=last.step if last else 0)
    keep_freed_memory()
    trainer = Trainer(run, model, data, hooks, group)
    try:
        if last is not None:
            trainer.restore(last)
        last = run_steps(trainer, run, group, began)
    finally:
        trainer.writer.close()
        trainer.end_warm_up()
        trainer.compilation.close()
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last


class Trainer:
    """Training state: weights, optimizer moments, EMA, step; one rank of ``group``."""

    def __init__(
        self, run: Run, model: DelayLM, data: TrainingData, hooks: Any, group: ProcessGroup | None = None
    ) -> None:
        self.group = group or ProcessGroup()
        if run.spec.train.batch_seconds == "auto":
            found = choose_batch_seconds(run, model, data) if self.group.is_main else None
            run = resolved_run(run, batch_seconds=self.group.broadcast(found))
        self.device = choose_device(run.spec.train.device)
        self.precision = choose_precision(run.spec.train.precision, self.device)
        """Chosen for this machine; a checkpoint overrides it with the precision that the run began with."""
        end_to_end = self._packs_groups(model)
        frames = int(run.spec.train.fixed_batch_seconds * data.frame_rate)
        own, ranks = is_own_code(model, run.spec), self.group.size
        graph = uses_cuda_graph(run.spec.train, model, frames, ranks, end_to_end=end_to_end, own=own)
        graph = graph and self.device.type == "cuda"
        graph_by_choice = run.spec.train.cuda_graph == "auto"
        run = resolved_run(run, cuda_graph=graph)
        spec = run.spec.train
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.model = model.to(self.device)
        checkpoint_layers(model, spec.gradient_checkpointing)
        if not end_to_end:
            choose_forms_for_graph(spec, model)
        compiles = compiles_layers(spec, self.device)
        warms_up = compiles and HAS_TRITON and self.group.is_main
        self.warm_up = (
            KernelWarmUp(model, self.device, self.precision, restarts=end_to_end) if warms_up else None
        )
        self.compilation = compile_blocks(model, self.device, self.precision) if compiles else ExitStack()
        chosen = training_choices(run.spec)
        self.objective = build_objective(run.spec, model, self.device)
        self.micro_batches = MicroBatches(
            run.spec,
            data,
            self.group.micro_batches(spec.accumulate),
            end_to_end=end_to_end,
            captured=graph,
            pinned=self.device.type == "cuda",
        )
        self.backward = BackwardPass(spec, self.objective, self.group, may_go_without_graphs=graph_by_choice)
        optimizer = chosen.optimizer.plugin.build(
            parameters=parameter_groups(model),
            lr=spec.lr,
            betas=spec.betas,
            weight_decay=spec.weight_decay,
            config=chosen.optimizer.config,
        )
        self.optimizer: torch.optim.Optimizer = check_optimizer(optimizer, chosen.optimizer.record)
        schedule = chosen.schedule.plugin.build(
            steps=spec.steps, warmup=spec.warmup, floor=spec.min_lr, config=chosen.schedule.config
        )
        self.schedule = check_schedule(schedule, chosen.schedule.record)
        self.average = MovingAverage(model, spec.ema) if spec.ema else None
        self.optimizer_step = OptimizerStep(spec, model, self.optimizer, self.average, self.device)
        self.skipped = SkippedSteps(torch.device("cpu"))
        self.norms = NormStatistics()
        self.writer = CheckpointWriter(self._report)
        self.group.end_after(self.writer.is_writing)
        self.step = 0
        """Steps that were taken, or that the device has been given."""
        self.runs_ahead = self.device.type == "cuda"
        self.issued: IssuedStep | None = None
        self.collected_at = 0.0
        """Time at which the last step was collected, or the present one began."""
        self.stops = False
        """A rank was stopping with a step that has been collected, wherever that was."""
        self.seconds = 0.0

    def _packs_groups(self, model: DelayLM) -> bool:
        """Lay all rows of a micro-batch end to end: on a GPU, where kernels take restarts."""
        if self.device.type != "cuda":
            return False
        packs = packs_groups(model, self.precision)
        log_once(f"train: {'rows end to end' if packs else 'padded rows'}")
        return packs

    def end_warm_up(self) -> None:
        if self.warm_up is not None:
            self.warm_up.finish()
            self.warm_up = None

    def restore(self, checkpoint: Checkpoint) -> None:
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            self.precision = keep_precision(
                checkpoint.precision, self.precision, self.device, checkpoint.path
            )
        load_weights(self.model, checkpoint, average=False)
        load_optimizer(self.model, self.optimizer, checkpoint)
        if self.average is not None:
            self.average.load(load_average(checkpoint, self.model))
        self.norms = NormStatistics.of(checkpoint.norms)
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def save(self, wait: bool = True) -> Checkpoint | None:
        """Write a checkpoint; without ``wait`` its files are written while training goes on."""
        self.collect()
        average = self.average.state(self.model) if self.average else None
        content = checkpoint_content(self.model, self.optimizer, average)
        if self.backward.sharded:
            files = {name: gather(one, self.group.is_main) for name, one in content.files.items()}
            content = content._replace(files=files)
        if not self.group.is_main:
            return None
        if not wait and not self.backward.sharded:  # what has been gathered is a copy
            content = copied(content)
        write = partial(
            save_tensors,
            checkpoint_folder(self.run.directory),
            content,
            step=self.step,
            seconds=self.seconds,
            corpus=self.data.identity,
            precision=precision_name(self.precision),
            norms=tuple(self.norms),
            keep=self.spec.keep,
        )
        self.writer.submit(write)
        return self.writer.finish() if wait else None

    def finish_writing(self) -> None:
        self.writer.finish()

    def _report(self, written: Checkpoint) -> None:
        self.hooks.checkpoint_written(run=self.run, step=written.step, path=written.path)

    def next_batch(self) -> tuple[str, str]:
        key = f"train.batch_seconds ({self.spec.fixed_batch_seconds:g})"
        return self.micro_batches.largest(self.step + 1), key

    def advance(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """One optimizer step over ``train.accumulate`` micro-batches; true if a rank is ``stopping`` after it.

        A GPU is given the step, and the numbers of the one before are read meanwhile; ``collect`` reads the last ones.
        Among them are the requests of several ranks to stop, which are so heeded a step later.
        """
        if self.issued is None:
            self.collected_at = time.perf_counter()
        self.writer.poll()
        spec, step, group = self.spec, self.step + 1, self.group
        if not self.model.training:
            self.model.train()
        measures: list[StepMeasures] = []
        batches, inputs, shares = self.micro_batches(step)
        for number, batch, share in zip(self.micro_batches.own, inputs, shares, strict=True):
            torch.manual_seed(step_seed(self.run.spec.seed, step, number))
            last = len(measures) == len(batches) - 1
            measures.append(self.backward(batch, self.precision, share, last=last))
        self.end_warm_up()
        frames = sum(int(batch.lengths.sum()) for batch in batches)
        # One exchange for all that the ranks decide by, so that they decide alike.
        numbers = group.all_reduce(step_numbers(measures, shares, frames, group.size > 1 and stopping()))
        self.collect()
        further: dict[str, float] = {}
        if self.group.is_main:
            for one in self.hooks.step_metrics(run=self.run, step=step, model=self.model, batches=batches):
                further |= one
        rate = spec.lr * self.schedule(step)
        # As the device has it, so that it decides as ``collect`` does.
        largest = float(torch.tensor(self.norms.limit(spec.max_spike)))
        norm = self.optimizer_step(numbers[0], rate, step, largest)
        copy = HostCopy(torch.cat([numbers, norm.double()[None]]))
        self.issued = IssuedStep(step, copy, rate, largest, further)
        self.step = step
        if not self.runs_ahead:
            self.collect()
        return self.stops if group.size > 1 else stopping()

    def collect(self) -> None:
        """Wait for the step that was issued last, and record it.

        Raises:
            DataError: ``finite_steps.LIMIT`` steps in a row were not applied.
        """
        if self.issued is None:
            return
        (step, copy, rate, largest, further), self.issued = self.issued, None
        *values, norm = copy.read().tolist()
        total, attention_loss, auxiliary_loss, frames, stopping, *counts = values
        self.stops |= bool(stopping)
        applied = math.isfinite(norm) and math.isfinite(total) and norm <= largest
        self.optimizer_step.finish(step, applied)
        if applied:
            self.norms = self.norms.after(norm)
        self.skipped.add(step, torch.tensor(applied))
        cause = "the loss or a gradient is not finite"
        if largest < norm < math.inf:
            cause = f"the gradient norm is a spike: above {largest:.4g} (train.max_spike)"
        self.skipped.report(self.micro_batches.ids, f" (loss {total}, gradient norm {norm})", cause)
        now = time.perf_counter()
        spent, self.collected_at = now - self.collected_at, now
        if not self.group.is_main:
            return
        self.seconds += spent
        if not applied:
            self.hooks.stage_progress(run=self.run, stage="train", done=step, info={})
            return
        metrics: dict[str, Any] = {
            "loss": total,
            "accuracy": accuracies(*torch.tensor(counts, dtype=torch.int64).chunk(2)),
            "lr": rate,
            "grad_norm": norm,
            "frames/s": frames / spent,
            "seconds": self.seconds,
            **({"guided_attention": attention_loss} if self.spec.guided_attention else {}),
            **({"auxiliary": auxiliary_loss} if auxiliary_loss else {}),
            **further,
        }
        if step % self.spec.log_every == 0 or step in (1, self.spec.steps):
            record = MetricsRecord(step=step, split="train", **{"ranks": self.group.size} | metrics)
            append_metrics(self.run.directory, record)
        self.hooks.step_done(run=self.run, step=step, metrics=metrics)
        brief = {"frames/s": metrics["frames/s"], "loss": total}
        self.hooks.stage_progress(run=self.run, stage="train", done=step, info=brief)

    def validate(self) -> None:
        """Loss and accuracy over all validation utterances, with the averaged weights where they are kept."""
        self.collect()
        if not len(self.data.valid):
            return
        self.model.eval()
        with self.average.in_place(self.model) if self.average else nullcontext():
            metrics = validation_metrics(
                self.backward, self.data, self.spec.fixed_batch_seconds, self.precision, self.group
            )
        if not self.group.is_main:
            return
        metrics["seconds"] = self.seconds
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)
