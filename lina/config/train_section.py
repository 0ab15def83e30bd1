"""Section ``train`` of a spec of job speech."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lina.config.patience import Patience
from lina.config.sections import Count, Fraction, NamedChoice, SpecSection

FIXED_BATCH_SECONDS = 60.0
"""Seconds of a micro-batch where nothing else is known."""


class TrainSection(SpecSection):
    steps: Count = 800
    """Optimizer steps."""
    batch_seconds: Literal["auto"] | Annotated[float, Field(gt=0.0, le=1e6)] = FIXED_BATCH_SECONDS
    """Audio per micro-batch, padding included; ``auto``: as much as fits on the GPU; 60 on a CPU."""
    consecutive: Annotated[int, Field(ge=1, le=64)] = 1
    """Utterances of one speaker packed per row; from 2 on the model learns to continue with another text."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Micro-batches per optimizer step (gradient accumulation)."""
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    """Ranks on this machine that share the micro-batches of a step, each on a GPU of its own."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """``ddp``: each rank has all weights; ``fsdp``: a shard of weights, gradients and moments, for large models."""
    restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Times that ``gpus`` ranks start again by themselves after one of them has died or hung."""
    patience: Patience = Patience()
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """Peak learning rate."""
    min_lr: Fraction = 0.1
    """End of the schedule, as a fraction of ``lr``; ``constant`` has no end."""
    warmup: Annotated[int, Field(ge=0, le=1_000_000_000)] = 50
    """Steps of linear warmup to ``lr``."""
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.1
    """Weight decay of layers' weight matrices; no other parameters decay."""
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (
        0.9,
        0.99,
    )
    """Decay rates of the optimizer's two moments."""
    clip: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    """Gradient clipping: largest norm."""
    max_spike: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """A step is not applied if its gradient norm exceeds the mean of the last by more than so many deviations."""
    optimizer: NamedChoice = "adamw"
    """``adamw``, ``muon``, or one of a plugin; with options: ``{muon: {momentum: 0.9}}``."""
    schedule: NamedChoice = "cosine"
    """``constant``, ``linear``, ``cosine``, ``wsd``, or one of a plugin; with options: ``{wsd: {decay: 0.1}}``."""
    loss: NamedChoice = "cross_entropy"
    """``cross_entropy``, or one of a plugin; with options: ``{cross_entropy: {z_loss: 1.0e-4}}``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products; ``auto``: bfloat16 where the hardware supports it."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the exponential moving average of the weights, lower in the first steps; 0 keeps none."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout before each half of the backbone."""
    guided_attention: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Weight of the guided attention loss, which draws attention to the diagonal."""
    valid_every: Count = 200
    """Steps between validations."""
    checkpoint_every: Count = 200
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Number of checkpoints to keep."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""
    cuda_graph: Literal["auto"] | bool = "auto"
    """On a GPU: give micro-batches a few shapes and replay each as a CUDA graph; ``auto``: in runs of at least 1,000
    steps by lina's own plugins, where that costs little padding or the model is small."""
    compile: Literal["auto"] | bool = "auto"
    """On a GPU: compile layers, in about a minute at the first start; ``auto``: in runs of at least 1,000 steps."""
    gradient_checkpointing: bool = False
    """Less memory for more time: recompute layers in the backward pass."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU if there is one."""
    minutes: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """Longest training time per start in minutes; then the run saves and stops as on a signal."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU threads of PyTorch; its own default if left out."""
    out: Path = Path("runs/${name}")
    """Run directory, relative to the working directory."""

    @model_validator(mode="after")
    def _gpus_share_a_step_evenly(self) -> Self:
        if self.accumulate % self.gpus:
            least = -(-self.accumulate // self.gpus) * self.gpus
            raise ValueError(
                f"accumulate ({self.accumulate}) is not a multiple of gpus ({self.gpus}), which share the "
                f"micro-batches of a step; set accumulate: {least}, or change gpus"
            )
        return self

    @model_validator(mode="after")
    def _shards_have_limits(self) -> Self:
        if self.parallel == "fsdp" and self.cuda_graph is True:
            raise ValueError(
                "parallel: fsdp gathers weights as it goes, which no CUDA graph can; set cuda_graph: false"
            )
        if self.parallel == "fsdp" and self.optimizer != "adamw":
            raise ValueError(
                f"parallel: fsdp updates shards, which only optimizer: adamw can, not {self.optimizer}"
            )
        return self

    @property
    def fixed_batch_seconds(self) -> float:
        """``batch_seconds`` as a number; training has replaced ``auto`` before its first step."""
        return FIXED_BATCH_SECONDS if self.batch_seconds == "auto" else self.batch_seconds
