"""Codec training: a step is a function of (weights, moments, seed, step), as in ``lina.training.trainer``.

Between two lines of metrics (``train.log_every`` steps) nothing synchronizes with the GPU: skipped steps are counted
there, and reported with the metrics and before a checkpoint.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from lina.codec_training import checkpoint as checkpoint_files
from lina.codec_training.backward import CodecBackwardPass
from lina.codec_training.batches import CropBatches
from lina.codec_training.discriminators import Discriminators
from lina.codec_training.prepare import CodecData, CodecRun
from lina.codec_training.running_means import CODEC_TERMS, TERMS, RunningMeans, codebook_use
from lina.core.protocols import Reconstruction, TrainableCodec
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder
from lina.runs.device import choose_device, keep_precision, precision_name
from lina.runs.metrics import append_metrics
from lina.runs.records import MetricsRecord
from lina.training.finite_steps import SkippedSteps, step_if_finite
from lina.training.micro_batches import step_seed
from lina.training.optimizer import MovingAverage, adamw, parameter_groups
from lina.training.process_group import ProcessGroup
from lina.training.schedules import cosine_rate

CODEBOOK_SEED = 0x5DEECE66D
"""Mask that separates the random numbers of restarted codebook entries from those of the crops."""


class CodecTrainer:
    """Training of a codec and its discriminators; one rank of ``group``, which computes its rows of each step."""

    def __init__(
        self,
        run: CodecRun,
        codec: TrainableCodec,
        data: CodecData,
        hooks: Any,
        group: ProcessGroup | None = None,
    ) -> None:
        spec = run.spec.train
        self.group = group or ProcessGroup()
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.device = choose_device(spec.device)
        self.codec = codec
        module = cast(nn.Module, codec).to(self.device)
        torch.manual_seed(run.spec.seed)
        discriminators = Discriminators(spec.discriminators).to(self.device)
        self.state = checkpoint_files.TrainingState(
            codec=module,
            average=MovingAverage(module, spec.ema) if spec.ema else None,
            optimizer=adamw(
                parameter_groups(module),
                lr=spec.lr,
                betas=spec.betas,
                weight_decay=spec.weight_decay,
            ),
            discriminators=discriminators,
            discriminators_optimizer=adamw(
                parameter_groups(discriminators), lr=spec.lr, betas=spec.betas, weight_decay=0.0
            ),
        )
        self.backward_pass = CodecBackwardPass(spec, codec, discriminators, self.device)
        self.batches = CropBatches(run.spec, codec, data, self.device, self.group)
        self.step = 0
        self.seconds = 0.0
        self.began = time.perf_counter()
        self.skipped = SkippedSteps(self.device)
        self._reset_means()

    def restore(self, checkpoint: Checkpoint) -> None:
        checkpoint_files.restore(checkpoint, self.state)
        backward, path = self.backward_pass, checkpoint.path
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            backward.precision = keep_precision(checkpoint.precision, backward.precision, self.device, path)
        if self.spec.discriminators.precision == "auto":
            stored = str(checkpoint_files.read_numbers(checkpoint)["discriminators_precision"])
            backward.discriminators_precision = keep_precision(
                stored, backward.discriminators_precision, self.device, path
            )
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def save(self, wait: bool = True) -> Checkpoint | None:
        """Write a checkpoint; training waits for it, whatever ``wait`` says."""
        self.skipped.report(self._utterances)
        checkpoint_files.round_moments(self.state)
        if not self.group.is_main:
            return None
        written = checkpoint_files.save(
            checkpoint_folder(self.run.directory),
            self.state,
            step=self.step,
            seconds=self.seconds + time.perf_counter() - self.began,
            corpus=self.data.pool.identity,
            precision=precision_name(self.backward_pass.precision),
            discriminators_precision=precision_name(self.backward_pass.discriminators_precision),
            keep=self.spec.keep,
        )
        self.hooks.checkpoint_written(run=self.run, step=self.step, path=written.path)
        return written

    def finish_writing(self) -> None:
        """Nothing: ``save`` has waited."""

    def next_batch(self) -> tuple[str, str]:
        spec = self.spec
        return f"{spec.batch} crops of {spec.crop_seconds:g} s", f"train.batch ({spec.batch})"

    def advance(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """One optimizer step of the codec and, after ``train.adversarial_from`` steps, of the discriminators.

        True if a rank is ``stopping`` after it.
        """
        spec, state, step = self.spec, self.state, self.step + 1
        seed = step_seed(self.run.spec.seed, step)
        torch.manual_seed(seed)
        state.codec.train()
        crops, real = self.batches.draw(seed)
        self._set_learning_rates(step)
        adversarial = step > spec.adversarial_from
        before = {name: value.clone() for name, value in state.codec.named_buffers()}
        reconstruction, terms = self.backward_pass(real, crops.codebooks.long(), adversarial=adversarial)
        modules = [(state.codec, state.optimizer)]
        if adversarial:
            modules.append((state.discriminators, state.discriminators_optimizer))
        reconstruction, terms = self._over_ranks(reconstruction, terms, [module for module, _ in modules])
        norms = [torch.nn.utils.clip_grad_norm_(module.parameters(), spec.clip) for module, _ in modules]
        losses = [terms[name] for name in ("total", "discriminators") if name in terms]
        finite = torch.stack([*losses, *norms]).isfinite().all()
        for _, optimizer in modules:
            step_if_finite(optimizer, finite)
        self.codec.learn_codebooks(reconstruction, torch.Generator().manual_seed(seed ^ CODEBOOK_SEED))
        with torch.no_grad():
            for name, value in state.codec.named_buffers():
                value.copy_(torch.where(finite, value, before[name]))
        if state.average is not None:
            state.average.move(state.codec, (1.0 - state.average.decay_of(step)) * finite)
        self.step = step
        self.means.add(terms | {"grad_norm": norms[0]}, finite)
        self.skipped.add(step, finite)
        if step % spec.log_every == 0 or step in (1, spec.steps):
            self._log(reconstruction.codes)
        return self.group.any(stopping())

    def _over_ranks(
        self, reconstruction: Reconstruction, terms: dict[str, Tensor], modules: Sequence[nn.Module]
    ) -> tuple[Reconstruction, dict[str, Tensor]]:
        """Average gradients and losses over the ranks, and collect the evidence of all rows."""
        group = self.group
        if group.size == 1:
            return reconstruction, terms
        parameters = [one for module in modules for one in module.parameters()]
        group.all_reduce_gradients(parameters)
        torch._foreach_div_([one.grad for one in parameters if one.grad is not None], group.size)
        sums = group.all_reduce(torch.stack(list(terms.values())).double())
        means = (sums / group.size).float().unbind()
        return (
            reconstruction._replace(
                codes=group.all_rows(reconstruction.codes),
                evidence=tuple(group.all_rows(one) for one in reconstruction.evidence),
            ),
            dict(zip(terms, means, strict=True)),
        )

    @torch.no_grad()
    def validate(self) -> None:
        """Mel distance of center crops of held-out utterances, with all codebooks and the averaged weights."""
        if not self.data.valid:
            return
        average, module = self.state.average, self.state.codec
        module.eval()
        group, batch = self.group, self.spec.batch
        total = torch.zeros(1, dtype=torch.float64, device=self.device)
        with average.in_place(module) if average else nullcontext():
            for start in range(group.rank * batch, len(self.data.valid), group.size * batch):
                real = self.batches.centers(self.data.valid[start : start + batch])
                codebooks = torch.full((len(real),), len(self.codec.codebook_sizes), device=self.device)
                total += self.backward_pass.distance(real, codebooks) * len(real)
        loss = float(group.all_reduce(total)) / len(self.data.valid)
        if not group.is_main:
            return
        metrics: dict[str, Any] = {"loss": loss, "seconds": self.seconds + time.perf_counter() - self.began}
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)

    def _set_learning_rates(self, step: int) -> None:
        spec = self.spec
        factor = cosine_rate(step, steps=spec.steps, warmup=spec.warmup, floor=spec.min_lr)
        for optimizer, peak in (
            (self.state.optimizer, spec.lr),
            (self.state.discriminators_optimizer, spec.discriminators.lr or spec.lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = factor * peak

    def _reset_means(self) -> None:
        self.means, self.since = RunningMeans(self.device), time.perf_counter()

    def _mean_terms(self) -> dict[str, float]:
        """Running means of the terms, without those of weight 0."""
        weights = self.spec.losses.model_dump()
        names = TERMS if self.step > self.spec.adversarial_from else CODEC_TERMS
        return self.means.means([name for name in names if weights.get(name, 1.0) > 0])

    def _utterances(self, step: int) -> list[str]:
        return self.batches.utterances(step_seed(self.run.spec.seed, step))

    def _log(self, codes: Tensor) -> None:
        self.skipped.report(self._utterances)
        if not self.group.is_main:
            return
        means = self._mean_terms()
        if not means:
            self.hooks.stage_progress(run=self.run, stage="train", done=self.step, info={})
            self._reset_means()
            return
        elapsed = time.perf_counter() - self.since
        frames = self.batches.samples // self.codec.hop * self.spec.batch
        metrics: dict[str, Any] = means | {
            "lr": self.state.optimizer.param_groups[0]["lr"],
            "frames/s": frames * self.means.steps / elapsed,
            "steps/s": self.means.steps / elapsed,
            "codebook_use": codebook_use(codes, self.codec.codebook_sizes),
            "seconds": self.seconds + time.perf_counter() - self.began,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=self.step, metrics=metrics)
        info = {"steps/s": metrics["steps/s"], "mel": means["loss"]}
        self.hooks.stage_progress(run=self.run, stage="train", done=self.step, info=info)
        self._reset_means()
