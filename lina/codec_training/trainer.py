"""Training a codec: every step is a function of (weights, moments, seed, step), as in ``lina.training.trainer``.

Within ``train.log_every`` steps nothing is brought back from the GPU: steps that are not finite are counted there, and
reported with the other numbers, and before a checkpoint is written.
"""

import time
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from lina.codec_training import checkpoints
from lina.codec_training.backward import CodecBackwardPass
from lina.codec_training.batches import Batches
from lina.codec_training.discriminators import Discriminators
from lina.codec_training.prepare import CodecData
from lina.codec_training.run import CodecRun
from lina.codec_training.running_means import PARTS, UNJUDGED, Tally, codebook_use
from lina.core.protocols import TrainableCodec
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder
from lina.runs.device import choose_device, keep_precision, precision_name
from lina.runs.metrics import append_metrics
from lina.runs.records import MetricsRecord
from lina.training.finite_steps import SkippedSteps, step_if_finite
from lina.training.micro_batches import step_seed
from lina.training.optimizer import MovingAverage, adamw, learning_rate, parameter_groups

CODEBOOKS = 0x5DEECE66D
"""Keeps the draws of restarted codebook entries apart from those of crops."""


class Trainer:
    """One process's training: the codec, its discriminators and what they have seen."""

    def __init__(self, run: CodecRun, codec: TrainableCodec, data: CodecData, hooks: Any) -> None:
        spec = run.spec.train
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.device = choose_device(spec.device)
        self.codec = codec
        module = cast(nn.Module, codec).to(self.device)
        torch.manual_seed(run.spec.seed)
        discriminators = Discriminators(spec.discriminators).to(self.device)
        self.learning = checkpoints.Learning(
            codec=module,
            average=MovingAverage(module, spec.ema) if spec.ema else None,
            optimizer=adamw(
                parameter_groups(module, spec.weight_decay),
                lr=spec.lr,
                betas=spec.betas,
                weight_decay=spec.weight_decay,
            ),
            discriminators=discriminators,
            discriminators_optimizer=adamw(
                parameter_groups(discriminators, 0.0), lr=spec.lr, betas=spec.betas, weight_decay=0.0
            ),
        )
        self.gradients = CodecBackwardPass(spec, codec, discriminators, self.device)
        self.batches = Batches(run.spec, codec, data, self.device)
        self.step = 0
        self.seconds = 0.0
        self.began = time.perf_counter()
        self.skipped = SkippedSteps(self.device)
        self._begin_tally()

    def restore(self, checkpoint: Checkpoint) -> None:
        checkpoints.restore(checkpoint, self.learning)
        mine, where = self.gradients, checkpoint.path
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            mine.precision = keep_precision(checkpoint.precision, mine.precision, self.device, where)
        if self.spec.discriminators.precision == "auto":
            begun = str(checkpoints.read_numbers(checkpoint)["discriminators_precision"])
            here = mine.discriminators_precision
            mine.discriminators_precision = keep_precision(begun, here, self.device, where)
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def save(self) -> Checkpoint:
        self.skipped.report(self._utterances)
        written = checkpoints.save(
            checkpoint_folder(self.run.directory),
            self.learning,
            step=self.step,
            seconds=self.seconds + time.perf_counter() - self.began,
            corpus=self.data.pool.identity,
            precision=precision_name(self.gradients.precision),
            discriminators_precision=precision_name(self.gradients.discriminators_precision),
            keep=self.spec.keep,
        )
        self.hooks.checkpoint_written(run=self.run, step=self.step, path=written.path)
        return written

    def advance(self) -> None:
        """One step of the codec and, from ``train.adversarial_from`` on, of the discriminators."""
        spec, learning, step = self.spec, self.learning, self.step + 1
        seed = step_seed(self.run.spec.seed, step)
        torch.manual_seed(seed)
        learning.codec.train()
        rows, real = self.batches.draw(seed)
        self._set_rates(step)
        judged = step > spec.adversarial_from
        before = {name: value.clone() for name, value in learning.codec.named_buffers()}
        made, parts = self.gradients(real, rows.codebooks.long(), judged=judged)
        modules = [(learning.codec, learning.optimizer)]
        if judged:
            modules.append((learning.discriminators, learning.discriminators_optimizer))
        norms = [torch.nn.utils.clip_grad_norm_(module.parameters(), spec.clip) for module, _ in modules]
        losses = [parts[name] for name in ("total", "discriminators") if name in parts]
        finite = torch.stack([*losses, *norms]).isfinite().all()
        for _, optimizer in modules:
            step_if_finite(optimizer, finite)
        self.codec.learn_codebooks(made, torch.Generator().manual_seed(seed ^ CODEBOOKS))
        with torch.no_grad():
            for name, value in learning.codec.named_buffers():
                value.copy_(torch.where(finite, value, before[name]))
        if learning.average is not None:
            learning.average.move(learning.codec, (1.0 - learning.average.decay_of(step)) * finite)
        self.step = step
        self.tally.add(parts | {"grad_norm": norms[0]}, finite)
        self.skipped.add(step, finite)
        if step % spec.log_every == 0 or step in (1, spec.steps):
            self._log(made.codes)

    @torch.no_grad()
    def validate(self) -> None:
        """The mel distance of the middles of held-out utterances, with all codebooks and the averaged weights."""
        if not self.data.valid:
            return
        average, module = self.learning.average, self.learning.codec
        module.eval()
        distances: list[Tensor] = []
        with average.in_place(module) if average else nullcontext():
            for at in range(0, len(self.data.valid), self.spec.batch):
                real = self.batches.middles(self.data.valid[at : at + self.spec.batch])
                every = torch.full((len(real),), len(self.codec.codebook_sizes), device=self.device)
                distances.append(self.gradients.distance(real, every) * len(real))
        loss = float(torch.stack(distances).sum()) / len(self.data.valid)
        metrics: dict[str, Any] = {"loss": loss, "seconds": self.seconds + time.perf_counter() - self.began}
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)

    def _set_rates(self, step: int) -> None:
        spec = self.spec
        part = learning_rate(step, steps=spec.steps, peak=1.0, warmup=spec.warmup, floor=spec.min_lr)
        for optimizer, peak in (
            (self.learning.optimizer, spec.lr),
            (self.learning.discriminators_optimizer, spec.discriminators.lr or spec.lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = part * peak

    def _begin_tally(self) -> None:
        self.tally, self.since = Tally(self.device), time.perf_counter()

    def _means(self) -> dict[str, float]:
        """Of the tally, but for losses that have no weight."""
        weights = self.spec.losses.model_dump()
        names = PARTS if self.step > self.spec.adversarial_from else UNJUDGED
        return self.tally.means([name for name in names if weights.get(name, 1.0) > 0])

    def _utterances(self, step: int) -> list[str]:
        return self.batches.utterances(step_seed(self.run.spec.seed, step))

    def _log(self, codes: Tensor) -> None:
        self.skipped.report(self._utterances)
        means = self._means()
        if not means:
            self.hooks.stage_progress(run=self.run, stage="train", done=self.step, info={})
            self._begin_tally()
            return
        spent = time.perf_counter() - self.since
        frames = self.batches.samples // self.codec.hop * self.spec.batch
        metrics: dict[str, Any] = means | {
            "lr": self.learning.optimizer.param_groups[0]["lr"],
            "frames/s": frames * self.tally.steps / spent,
            "steps/s": self.tally.steps / spent,
            "codebook_use": codebook_use(codes, self.codec.codebook_sizes),
            "seconds": self.seconds + time.perf_counter() - self.began,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=self.step, metrics=metrics)
        glance = {"steps/s": metrics["steps/s"], "mel": means["loss"]}
        self.hooks.stage_progress(run=self.run, stage="train", done=self.step, info=glance)
        self._begin_tally()
