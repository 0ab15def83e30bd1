"""Section ``train`` of a spec: how a speech model is trained."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lina.config.sections import Count, Fraction, PluginName, SpecSection


class TrainSection(SpecSection):
    steps: Count = 800
    """Optimiser steps."""
    batch_seconds: Annotated[float, Field(gt=0.0, le=1e6)] = 60.0
    """Audio in a batch, padding included."""
    consecutive: Annotated[int, Field(ge=1, le=64)] = 1
    """Utterances of one speaker end to end in a row; from 2 on the model learns to go on to another text."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Batches whose gradients make one step."""
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes on this machine that share the batches of a step, each on a GPU of its own."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """The highest learning rate."""
    min_lr: Fraction = 0.1
    """Where the cosine ends, as a fraction of ``lr``."""
    warmup: Annotated[int, Field(ge=0, le=1_000_000_000)] = 50
    """Steps over which the learning rate rises to ``lr``."""
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.1
    """Of layers' weight matrices; nothing else decays."""
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (
        0.9,
        0.99,
    )
    """Decays of the optimiser's two moments."""
    clip: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    """Largest norm of the gradient."""
    optimizer: PluginName = "adamw"
    """``adamw``, or what a hook plugin offers."""
    loss: PluginName = "cross_entropy"
    """``cross_entropy``, or what a hook plugin offers."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products; ``auto``: bfloat16 where the machine multiplies it in hardware."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the moving average of the weights, less in the first steps; 0 keeps none."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before each half of the backbone."""
    guided_attention: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Weight of a loss that draws attention over the text to the diagonal."""
    valid_every: Count = 200
    """Steps between validations."""
    checkpoint_every: Count = 200
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Checkpoints kept."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""
    cuda_graph: bool = False
    """On a GPU: batches are padded to a few shapes, whose steps are captured and replayed; for small models."""
    gradient_checkpointing: bool = False
    """Less memory for more time: layers are computed again in the backward pass."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Of PyTorch on the CPU; its own choice if left out."""
    out: Path = Path("runs/${name}")
    """The run directory, relative to where lina is started."""

    @model_validator(mode="after")
    def _a_graph_is_a_whole_step(self) -> Self:
        if self.cuda_graph and self.accumulate > self.gpus:
            raise ValueError(
                f"cuda_graph replays whole steps, of one batch a GPU; {self._one_batch_a_gpu()} and give "
                "batch_seconds more"
            )
        return self

    @model_validator(mode="after")
    def _gpus_share_a_step_evenly(self) -> Self:
        if self.accumulate % self.gpus:
            raise ValueError(
                f"accumulate ({self.accumulate}) is not a multiple of gpus ({self.gpus}), which share the batches "
                f"of a step; say accumulate: {-(-self.accumulate // self.gpus) * self.gpus}, or other gpus"
            )
        return self

    def _one_batch_a_gpu(self) -> str:
        if self.gpus == 1:
            return f"leave out accumulate ({self.accumulate})"
        return f"say accumulate: {self.gpus} instead of {self.accumulate}"
