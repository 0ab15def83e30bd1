"""Spec of job codec and its sections. ``lina.config.loader.load_job`` loads one."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lina.config.patience import Patience
from lina.config.sections import (
    CodecSection,
    Count,
    Fraction,
    PluginName,
    Seconds,
    SpecSection,
    min_below_max,
)
from lina.config.spec import AnySpec

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Decibels = Annotated[float, Field(ge=-60.0, le=0.0)]

SHORTEST_CROPS = {"loudness": 0.04, "intelligibility": 0.45}
"""Shortest crops in seconds for these losses: one window of the first, one segment of the second."""


class SourceSection(SpecSection):
    """One training corpus of a codec."""

    source: PluginName
    """Name of a corpus plugin."""
    config: dict[str, Any] = Field(default={})
    """The plugin's own keys."""
    weight: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    """Relative share of the crops; the length of the corpus does not count."""


class CodecDataSection(SpecSection):
    sources: Annotated[tuple[SourceSection, ...], Field(min_length=1)]
    """Corpora, each with ``source``, ``config`` and ``weight``; texts and speakers are ignored."""
    valid: Annotated[float, Field(ge=0.0, le=0.5)] | Annotated[int, Field(ge=1, le=1_000_000)] = 0.01
    """Held-out utterances, as a fraction or a number."""
    min_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 0.5
    """Shorter recordings are rejected."""
    max_seconds: Seconds = 30.0
    """Longer recordings are rejected."""
    max_rejects: Fraction = 0.05
    """The run stops if a larger fraction of the corpora is rejected."""
    workers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Worker processes that decode and resample; one per core if left out."""
    may_change: bool = False
    """Resume although the audio has changed, such as after it was synthesized again on another machine."""

    _min_below_max = model_validator(mode="after")(min_below_max)


class AugmentSection(SpecSection):
    """Augmentation of crops. The augmented crop is both input and target."""

    level: tuple[Decibels, Decibels] = (-16.0, -1.0)
    """Range of peak levels to which utterances are scaled, in dB of full scale."""
    invert: Fraction = 0.5
    """Probability of inverted polarity."""
    resample: Fraction = 0.5
    """Probability of resampling, which changes speed and pitch together."""
    speeds: tuple[Annotated[float, Field(ge=0.5, le=1.0)], Annotated[float, Field(ge=1.0, le=2.0)]] = (
        0.85,
        1.18,
    )
    """Slowest and fastest speed."""
    band: Fraction = 0.1
    """Probability of a low-pass filter."""
    cutoff: Annotated[float, Field(ge=1000.0, le=48_000.0)] = 3400.0
    """Lowest cutoff of the low-pass in Hz; the highest is half the sample rate."""
    noise: Fraction = 0.1
    """Probability of additive noise, white to pink."""
    snr: tuple[Annotated[float, Field(ge=0.0, le=80.0)], Annotated[float, Field(ge=0.0, le=80.0)]] = (
        20.0,
        45.0,
    )
    """Lowest and highest signal-to-noise ratio, in dB."""

    @model_validator(mode="after")
    def _least_first(self) -> Self:
        for key in ("level", "snr"):
            least, most = getattr(self, key)
            if least > most:
                raise ValueError(f"{key}: {least} is more than {most}; write the smaller one first")
        return self


class DiscriminatorsSection(SpecSection):
    """Discriminators between decoded and real audio."""

    windows: tuple[Annotated[int, Field(ge=16, le=16_384, multiple_of=4)], ...] = (2048, 1024, 512)
    """Window lengths in samples of the multi-resolution STFT discriminators."""
    channels: Annotated[int, Field(ge=1, le=1024)] = 32
    """Channels of the first layers; later ones have twice as many."""
    periods: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = ()
    """Periods in samples of the multi-period discriminators; none by default."""
    period_channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Channels of their first layers, ``channels`` if left out; later ones have up to eight times as many."""
    loss: Literal["hinge", "least_squares"] = "hinge"
    """Adversarial loss."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] | None = None
    """Peak learning rate of the discriminators; ``train.lr`` if left out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the discriminators' matrix products."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.windows and not self.periods:
            raise ValueError("windows and periods are both empty; leave windows out, or name some")
        return self


class LossesSection(SpecSection):
    """Weights of the codec's losses."""

    mel: Weight = 15.0
    """Multi-resolution log-mel distance."""
    loudness: Weight = 0.0
    """PESQ disturbance (ITU-T P.862)."""
    intelligibility: Weight = 0.0
    """1 - STOI (short-time objective intelligibility)."""
    adversarial: Weight = 1.0
    """Adversarial loss of the codec."""
    features: Weight = 2.0
    """Feature matching: distance of the discriminators' features."""
    commitment: Weight = 0.25
    """Commitment loss: distance of latents from their codes."""


class CodecTrainSection(SpecSection):
    steps: Count = 20_000
    """Optimizer steps."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Crops per step, of all ranks together."""
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    """Ranks on this machine that share the crops of a step, each on a GPU of its own."""
    restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Times that ``gpus`` ranks start again by themselves after one of them has died or hung."""
    patience: Patience = Patience()
    crop_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 1.0
    """Length of a crop, in whole frames of the codec."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = 5e-4
    """Peak learning rate."""
    min_lr: Fraction = 0.1
    """End of the cosine schedule, as a fraction of ``lr``."""
    warmup: Annotated[int, Field(ge=0, le=1_000_000_000)] = 200
    """Steps of linear warmup to ``lr``."""
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (
        0.8,
        0.99,
    )
    """Decay rates of both optimizers' two moments."""
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """Weight decay of the weight matrices of the codec's layers."""
    clip: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    """Gradient clipping: largest norm, of the codec and of the discriminators."""
    adversarial_from: Annotated[int, Field(ge=0, le=1_000_000_000)] = 5_000
    """Number of steps without discriminators."""
    losses: LossesSection = LossesSection()
    discriminators: DiscriminatorsSection = DiscriminatorsSection()
    codebook_dropout: Fraction = 0.5
    """Probability that a crop is coded with a random number of first codebooks only."""
    dropout_codebooks: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = ()
    """Numbers of codebooks among which ``codebook_dropout`` draws; one that is repeated is more probable. From 1 to all
    if left out."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the exponential moving average of the weights, which is exported; 0 keeps none."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the codec's matrix products (TF32 units count as float32)."""
    augment: AugmentSection = AugmentSection()
    valid_every: Count = 1000
    """Steps between validations."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Number of checkpoints to keep."""
    log_every: Count = 50
    """Steps between lines of metrics.jsonl; losses are read from the GPU only then."""
    minutes: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """Longest training time per start in minutes; then the run saves and stops as on a signal."""
    cuda_graph: bool = True
    """On a GPU, replay each step as one CUDA graph."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU threads of PyTorch; its own default if left out."""
    out: Path = Path("runs/${name}")
    """Run directory, relative to the working directory."""

    @model_validator(mode="after")
    def _gpus_share_a_batch_evenly(self) -> Self:
        if self.batch % self.gpus:
            raise ValueError(
                f"batch ({self.batch}) is not a multiple of gpus ({self.gpus}), which share the crops of a step; "
                f"set batch: {-(-self.batch // self.gpus) * self.gpus}, or change gpus"
            )
        return self

    @model_validator(mode="after")
    def _crops_are_long_enough(self) -> Self:
        for name, least in SHORTEST_CROPS.items():
            if getattr(self.losses, name) > 0 and self.crop_seconds < least:
                raise ValueError(
                    f"crop_seconds = {self.crop_seconds} is too short for losses.{name}; write {least} or more, or "
                    f"losses.{name}: 0"
                )
        return self


class CodecEvaluateSection(SpecSection):
    utterances: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """Held-out utterances that the exported codec encodes and decodes whole."""
    codebooks: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = ()
    """Numbers of codebooks to evaluate; 1, 2, 4 and so on up to all of them if left out."""
    samples: Annotated[int, Field(ge=0, le=1000)] = 4
    """Number of these utterances that are kept as audio and shown in the report."""


class CodecSpec(AnySpec):
    """A run of job codec: from recordings to the weights of a codec."""

    job: Literal["codec"]
    """Marks a spec of job codec."""
    codec: CodecSection
    data: CodecDataSection
    train: CodecTrainSection = CodecTrainSection()
    evaluate: CodecEvaluateSection = CodecEvaluateSection()
