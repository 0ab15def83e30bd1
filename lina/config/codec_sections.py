"""The sections of a spec of job codec, every key with its bounds. docs/codec_training.md explains the keys."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lina.config.sections import Count, Fraction, PluginName, Seconds, SpecSection, min_below_max

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Decibels = Annotated[float, Field(ge=-60.0, le=0.0)]

SHORTEST_CROPS = {"loudness": 0.04, "intelligibility": 0.45}
"""Seconds that these losses need: one window of the first, one stretch of the second."""


class SourceSection(SpecSection):
    """One corpus among those that a codec is trained on."""

    source: PluginName
    """Name of a corpus plugin."""
    config: dict[str, Any] = Field(default={})
    """The plugin's own keys."""
    weight: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    """Its share of the crops, against the other sources' weights; its length does not count."""


class CodecDataSection(SpecSection):
    sources: Annotated[tuple[SourceSection, ...], Field(min_length=1)]
    """The corpora, each with ``source``, ``config`` and ``weight``; their texts and speakers do not matter."""
    valid: Annotated[float, Field(ge=0.0, le=0.5)] | Annotated[int, Field(ge=1, le=1_000_000)] = 0.01
    """Part of the utterances, or their number, that is held back."""
    min_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 0.5
    """Shorter recordings are rejected."""
    max_seconds: Seconds = 30.0
    """Longer recordings are rejected."""
    max_rejects: Fraction = 0.05
    """The run stops if a larger part of the corpora cannot be used."""
    workers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processes that decode and resample; one a core if left out."""
    may_change: bool = False
    """Go on with other audio than the run has begun with, such as that made anew on another machine."""

    _min_below_max = model_validator(mode="after")(min_below_max)


class AugmentSection(SpecSection):
    """How crops are changed before the codec hears them; what it hears is also what it has to give back."""

    level: tuple[Decibels, Decibels] = (-16.0, -1.0)
    """The peak of a crop's utterance is brought to between these levels, in dB of full scale."""
    invert: Fraction = 0.5
    """Probability that the sign is turned."""
    resample: Fraction = 0.5
    """Probability that speed and pitch are changed together."""
    speeds: tuple[Annotated[float, Field(ge=0.5, le=1.0)], Annotated[float, Field(ge=1.0, le=2.0)]] = (
        0.85,
        1.18,
    )
    """The slowest and the fastest."""
    band: Fraction = 0.1
    """Probability of a low-pass filter."""
    cutoff: Annotated[float, Field(ge=1000.0, le=48_000.0)] = 3400.0
    """Hz of the lowest low-pass; the highest is half the rate."""
    noise: Fraction = 0.1
    """Probability of added noise, white to pink."""
    snr: tuple[Annotated[float, Field(ge=0.0, le=80.0)], Annotated[float, Field(ge=0.0, le=80.0)]] = (
        20.0,
        45.0,
    )
    """dB of signal over noise, the least and the most."""

    @model_validator(mode="after")
    def _least_first(self) -> Self:
        for key in ("level", "snr"):
            least, most = getattr(self, key)
            if least > most:
                raise ValueError(f"{key}: {least} is more than {most}; write the smaller one first")
        return self


class DiscriminatorsSection(SpecSection):
    """The networks that tell decoded audio from real audio."""

    windows: tuple[Annotated[int, Field(ge=16, le=16_384, multiple_of=4)], ...] = (2048, 1024, 512)
    """Samples of the Fourier transforms, one discriminator each."""
    channels: Annotated[int, Field(ge=1, le=1024)] = 32
    """Of their first layers; later ones have twice as many."""
    periods: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = ()
    """Samples of the multi-period discriminators, one each; none by default."""
    loss: Literal["hinge", "least_squares"] = "hinge"
    """What real and decoded audio are told apart by."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] | None = None
    """Their highest learning rate; ``train.lr`` if left out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of their products."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.windows and not self.periods:
            raise ValueError("windows and periods are both empty; leave windows out, or name some")
        return self


class LossesSection(SpecSection):
    """Weights of the parts of the codec's loss."""

    mel: Weight = 15.0
    """Distance of log-mel spectra, summed over window lengths."""
    loudness: Weight = 0.0
    """Disturbance as an ear hears it, as PESQ adds it up."""
    intelligibility: Weight = 0.0
    """1 - STOI: how badly the words can be made out."""
    adversarial: Weight = 1.0
    """What the discriminators take decoded audio for."""
    features: Weight = 2.0
    """Distance of what the discriminators' layers make of both."""
    commitment: Weight = 0.25
    """Distance of latents and their codes."""


class CodecTrainSection(SpecSection):
    steps: Count = 20_000
    """Optimiser steps."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Crops in a step."""
    crop_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 1.0
    """Length of a crop, in whole frames of the codec."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = 5e-4
    """The highest learning rate."""
    min_lr: Fraction = 0.1
    """Where the cosine ends, as a fraction of ``lr``."""
    warmup: Annotated[int, Field(ge=0, le=1_000_000_000)] = 200
    """Steps over which the learning rate rises to ``lr``."""
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (
        0.8,
        0.99,
    )
    """Decays of both optimisers' two moments."""
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """Of the weight matrices of the codec's layers."""
    clip: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    """Largest norm of the codec's gradient, and of the discriminators'."""
    adversarial_from: Annotated[int, Field(ge=0, le=1_000_000_000)] = 5_000
    """Steps without discriminators; from then on they are trained and heard."""
    losses: LossesSection = LossesSection()
    discriminators: DiscriminatorsSection = DiscriminatorsSection()
    codebook_dropout: Fraction = 0.5
    """Probability that a crop is coded by its first few codebooks only, as many as chance will have it."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the moving average of the weights, which is what is exported; 0 keeps none."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the codec's own products (TF32 units count as float32)."""
    augment: AugmentSection = AugmentSection()
    valid_every: Count = 1000
    """Steps between validations."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Checkpoints kept."""
    log_every: Count = 50
    """Steps between lines of metrics.jsonl; only then are losses looked at."""
    minutes: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """Each start trains for so many minutes at most, then saves and stops as if by a signal."""
    cuda_graph: bool = True
    """On a GPU, replay each step as one graph; without, its kernels are launched one by one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Of PyTorch on the CPU; its own choice if left out."""
    out: Path = Path("runs/${name}")
    """The run directory, relative to where lina is started."""

    @model_validator(mode="after")
    def _crops_can_be_judged(self) -> Self:
        for name, least in SHORTEST_CROPS.items():
            if getattr(self.losses, name) > 0 and self.crop_seconds < least:
                raise ValueError(
                    f"crop_seconds = {self.crop_seconds} is too short for losses.{name}; write {least} or more, or "
                    f"losses.{name}: 0"
                )
        return self


class CodecEvaluateSection(SpecSection):
    utterances: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """Held-out utterances that the exported codec codes and decodes whole."""
    codebooks: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = ()
    """Numbers of codebooks to judge; 1, 2, 4 and so on up to all of them if left out."""
    samples: Annotated[int, Field(ge=0, le=1000)] = 4
    """Of them, so many are kept as audio and shown in the report."""
