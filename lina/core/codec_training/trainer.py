"""Training a codec: every step is a function of (weights, moments, seed, step), as in ``lina.core.train``.

Within ``train.log_every`` steps nothing is brought back from the GPU: a loss that is not finite is remembered there,
with its step, and told when the numbers are looked at, which is before any checkpoint is written.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.core.checkpoint import Checkpoint
from lina.core.codec_training import checkpoints
from lina.core.codec_training.augment import coloured
from lina.core.codec_training.captured import Captured
from lina.core.codec_training.crops import DEVICE_BYTES, Rows, cut, draw, plan, to_device
from lina.core.codec_training.data import CodecData
from lina.core.codec_training.discriminators import Discriminators
from lina.core.codec_training.losses import (
    MelDistance,
    adversarial_loss,
    discriminator_loss,
    feature_distance,
)
from lina.core.codec_training.runs import CodecRun
from lina.core.device import (
    choose_device,
    choose_precision,
    keep_precision,
    mixed_precision,
    precision_name,
)
from lina.core.errors import DataError
from lina.core.metrics_file import append_metrics
from lina.core.optimizer import MovingAverage, adamw, learning_rate, parameter_groups
from lina.core.protocols import Reconstruction, TrainableCodec
from lina.core.run_records import MetricsRecord
from lina.core.train import checkpoint_folder, step_seed

CODEBOOKS, NOISE = 0x5DEECE66D, 0x2545F4914F6CDD1D
"""Keep the draws of restarted codebook entries and of noise apart from those of crops."""
PARTS = ("loss", "total", "adversarial", "features", "commitment", "discriminators", "grad_norm")
"""What is summed up between two lines of metrics; ``loss`` is the mel distance, in both splits."""


class Trainer:
    """One process's training: the codec, its discriminators and what they have seen."""

    def __init__(self, run: CodecRun, codec: TrainableCodec, data: CodecData, hooks: Any) -> None:
        spec = run.spec.train
        self.run, self.data, self.hooks, self.spec = run, data, hooks, spec
        self.device = choose_device(spec.device)
        self.precision = choose_precision(spec.precision, self.device)
        self.discriminators_precision = choose_precision(spec.discriminators.precision, self.device)
        self.codec = codec
        module = cast(nn.Module, codec).to(self.device)
        torch.manual_seed(run.spec.seed)
        self.discriminators = Discriminators(spec.discriminators).to(self.device)
        self.mel = MelDistance(codec.sample_rate).to(self.device)
        self.learning = checkpoints.Learning(
            codec=module,
            average=MovingAverage(module, spec.ema) if spec.ema else None,
            optimizer=adamw(
                parameter_groups(module, spec.weight_decay),
                lr=spec.lr,
                betas=spec.betas,
                weight_decay=spec.weight_decay,
            ),
            discriminators=self.discriminators,
            discriminators_optimizer=adamw(
                parameter_groups(self.discriminators, 0.0), lr=spec.lr, betas=spec.betas, weight_decay=0.0
            ),
        )
        self.samples = max(1, round(spec.crop_seconds * codec.sample_rate / codec.hop)) * codec.hop
        pool = data.pool.samples
        fits = self.device.type != "cpu" and pool.nbytes <= min(DEVICE_BYTES, _free(self.device) // 2)
        self.pool = pool.to(self.device) if fits else pool
        weights = [one.weight for one in run.spec.data.sources]
        self.plan = plan(data.pool, data.train, weights)
        self.step = 0
        self.seconds = 0.0
        self.began = time.perf_counter()
        self.captured: tuple[bool, Captured[tuple[Reconstruction, dict[str, Tensor]]]] | None = None
        self._forget_sums()

    def restore(self, checkpoint: Checkpoint) -> None:
        checkpoints.restore(checkpoint, self.learning)
        where = checkpoint.path
        if self.spec.precision == "auto" and checkpoint.precision is not None:
            self.precision = keep_precision(checkpoint.precision, self.precision, self.device, where)
        if self.spec.discriminators.precision == "auto":
            begun = str(checkpoints.read_numbers(checkpoint)["discriminators_precision"])
            here = self.discriminators_precision
            self.discriminators_precision = keep_precision(begun, here, self.device, where)
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def save(self) -> Checkpoint:
        self.look()
        written = checkpoints.save(
            checkpoint_folder(self.run.directory),
            self.learning,
            step=self.step,
            seconds=self.seconds + time.perf_counter() - self.began,
            corpus=self.data.pool.identity,
            precision=precision_name(self.precision),
            discriminators_precision=precision_name(self.discriminators_precision),
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
        rows, real = self._crops(seed)
        self._set_rates(step)
        judged = step > spec.adversarial_from
        made, parts = self._gradients(judged)(real, rows.codebooks.long())
        norm = _descend(learning.codec, learning.optimizer, spec.clip)
        finite = parts["total"].isfinite() & norm.isfinite()
        if judged:
            theirs = learning.discriminators_optimizer
            finite &= _descend(self.discriminators, theirs, spec.clip).isfinite()
        self.codec.learn_codebooks(made, torch.Generator().manual_seed(seed ^ CODEBOOKS))
        if learning.average is not None:
            learning.average.update(learning.codec, step)
        self.step = step
        self._remember(parts | {"grad_norm": norm}, finite)
        if step % spec.log_every == 0 or step in (1, spec.steps):
            self._log(made.codes)

    def look(self) -> dict[str, float]:
        """The means since the last log; brings them back from the GPU.

        Raises:
            DataError: a step's loss or gradient was not finite.
        """
        *sums, bad = torch.cat([self.sums, self.bad]).tolist()
        if bad >= 0:
            raise DataError(
                f"train: step {int(bad)}: the loss or a gradient is not finite; the last checkpoint is from before "
                "that; put it into a run of another name with a lower train.lr, or begin one"
            )
        if not self.summed:
            return {}
        judged = self.step > self.spec.adversarial_from
        shown = (
            PARTS
            if judged
            else [name for name in PARTS if name in ("loss", "total", "commitment", "grad_norm")]
        )
        return {name: sums[PARTS.index(name)] / self.summed for name in shown}

    @torch.no_grad()
    def validate(self) -> None:
        """The mel distance of the middles of held-out utterances, with all codebooks and the averaged weights."""
        if not self.data.valid:
            return
        self.look()
        average, module = self.learning.average, self.learning.codec
        module.eval()
        distances: list[Tensor] = []
        with average.in_place(module) if average else nullcontext():
            for at in range(0, len(self.data.valid), self.spec.batch):
                real = self._middles(self.data.valid[at : at + self.spec.batch])
                every = torch.full((len(real),), len(self.codec.codebook_sizes), device=self.device)
                with mixed_precision(self.device, self.precision):
                    made = self.codec.reconstruct(real[:, None], every)
                distances.append(self.mel(made.audio[:, 0].float(), self.mel.spectra(real)) * len(real))
        loss = float(torch.stack(distances).sum()) / len(self.data.valid)
        metrics: dict[str, Any] = {"loss": loss, "seconds": self.seconds + time.perf_counter() - self.began}
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="valid", **metrics))
        self.hooks.evaluation_done(run=self.run, step=self.step, metrics=metrics)

    def _crops(self, seed: int) -> tuple[Rows, Float[Tensor, "B samples"]]:
        """What the codec hears at a step, and what was drawn for it, on the device."""
        augment = self.spec.augment
        drawn = draw(
            self.plan,
            seed,
            rows=self.spec.batch,
            samples=self.samples,
            nyquist=self.codec.sample_rate / 2,
            augment=augment,
            dropout=self.spec.codebook_dropout,
            codebooks=len(self.codec.codebook_sizes),
        )
        rows = to_device(drawn, self.device)
        here = self.pool.device.type == self.device.type
        audio = cut(
            self.pool,
            rows if here else drawn,
            self.samples,
            fastest=augment.speeds[1],
            resample=augment.resample > 0,
        ).to(self.device)
        if augment.band or augment.noise:
            generator = torch.Generator(self.device).manual_seed((seed ^ NOISE) % 2**63)
            return rows, coloured(audio, rows, generator)
        return rows, audio.clamp(-1.0, 1.0)

    def _middles(self, numbers: Sequence[int]) -> Float[Tensor, "B samples"]:
        rows = torch.zeros(len(numbers), self.samples)
        for row, number in zip(rows, numbers, strict=True):
            whole = self.data.audio(number)
            at = max(0, (len(whole) - self.samples) // 2)
            part = whole[at : at + self.samples]
            row[: len(part)] = part
        return rows.to(self.device)

    def _gradients(self, judged: bool) -> Captured[tuple[Reconstruction, dict[str, Tensor]]]:
        """What computes a step's losses and gradients, with or without discriminators."""
        if self.captured is None or self.captured[0] != judged:
            self.captured = None  # the other one's memory is not needed any more
            function = partial(self._compute, judged=judged)
            graph = self.spec.cuda_graph and self.device.type == "cuda"
            captured = Captured(function, self._forget_gradients, self.device if graph else None)
            self.captured = (judged, captured)
        return self.captured[1]

    def _forget_gradients(self) -> None:
        self.learning.optimizer.zero_grad(set_to_none=True)
        self.learning.discriminators_optimizer.zero_grad(set_to_none=True)

    def _compute(
        self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"], *, judged: bool
    ) -> tuple[Reconstruction, dict[str, Tensor]]:
        """Decoded audio and the losses; leaves gradients on the codec and on the discriminators."""
        with torch.no_grad():
            spectra = self.mel.spectra(real)
        with mixed_precision(self.device, self.precision):
            made = self.codec.reconstruct(real[:, None], codebooks)
        decoded = made.audio[:, 0].float()
        weights = self.spec.losses
        parts = {"loss": self.mel(decoded, spectra), "commitment": made.commitment.float()}
        total = weights.mel * parts["loss"] + weights.commitment * parts["commitment"]
        if judged:
            parts["discriminators"], parts["adversarial"], parts["features"] = self._judge(real, decoded)
            total = total + weights.adversarial * parts["adversarial"] + weights.features * parts["features"]
            torch.autograd.backward(parts["discriminators"])
        parts["total"] = total
        torch.autograd.backward(total)
        told = Reconstruction(made.audio.detach(), made.commitment.detach(), made.codes, made.evidence)
        return told, {name: value.detach() for name, value in parts.items()}

    def _judge(self, real: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The discriminators' loss, then the codec's adversarial and feature losses, which leave them untouched."""
        judges, kind = self.discriminators, self.spec.discriminators.loss
        with torch.no_grad():
            real_views = judges.views(real)
        views = judges.views(decoded)
        both = [torch.cat([one, other.detach()]) for one, other in zip(real_views, views, strict=True)]
        with mixed_precision(self.device, self.discriminators_precision):
            on_real, on_fake = judges(both).split(len(real))
            judges.requires_grad_(False)
            heard = judges(views)
            judges.requires_grad_(True)
        return (
            discriminator_loss(on_real.verdicts, on_fake.verdicts, kind),
            adversarial_loss(heard.verdicts, kind),
            feature_distance(on_real.features, heard.features),
        )

    def _set_rates(self, step: int) -> None:
        spec = self.spec
        part = learning_rate(step, steps=spec.steps, peak=1.0, warmup=spec.warmup, floor=spec.min_lr)
        for optimizer, peak in (
            (self.learning.optimizer, spec.lr),
            (self.learning.discriminators_optimizer, spec.discriminators.lr or spec.lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = part * peak

    def _forget_sums(self) -> None:
        self.sums = torch.zeros(len(PARTS), device=self.device)
        self.bad = torch.full((1,), -1.0, dtype=torch.float64, device=self.device)
        self.summed, self.since = 0, time.perf_counter()

    def _remember(self, parts: dict[str, Tensor], finite: Tensor) -> None:
        zero = torch.zeros((), device=self.device)
        self.sums += torch.stack([parts.get(name, zero).detach().float() for name in PARTS])
        self.bad = torch.where(finite | (self.bad >= 0), self.bad, float(self.step))
        self.summed += 1

    def _log(self, codes: Tensor) -> None:
        means = self.look()
        spent = time.perf_counter() - self.since
        frames = self.samples // self.codec.hop * self.spec.batch
        metrics: dict[str, Any] = means | {
            "lr": self.learning.optimizer.param_groups[0]["lr"],
            "frames/s": frames * self.summed / spent,
            "steps/s": self.summed / spent,
            "codebook_use": _use(codes, self.codec.codebook_sizes),
            "seconds": self.seconds + time.perf_counter() - self.began,
        }
        append_metrics(self.run.directory, MetricsRecord(step=self.step, split="train", **metrics))
        self.hooks.step_done(run=self.run, step=self.step, metrics=metrics)
        glance = {"steps/s": metrics["steps/s"], "mel": means["loss"]}
        self.hooks.stage_progress(run=self.run, stage="train", done=self.step, info=glance)
        self._forget_sums()


def _descend(module: nn.Module, optimizer: torch.optim.Optimizer, clip: float) -> Tensor:
    """One step down; the gradient's norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    return norm


def _use(codes: Tensor, sizes: Sequence[int]) -> list[float]:
    """How evenly each codebook's entries are used in a batch: the perplexity of its codes over its size."""
    used = []
    for codebook, size in enumerate(sizes):
        share = torch.bincount(codes[..., codebook].flatten(), minlength=size).double()
        share = share / share.sum().clamp_min(1)
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        used.append(round(math.exp(float(entropy)) / size, 6))
    return used


def _free(device: torch.device) -> int:
    free: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info
    return free(device)[0]
