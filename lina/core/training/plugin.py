"""Base classes of plugins that a spec's ``train`` section names: losses, optimizers and learning-rate schedules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lina.core.plugin import Plugin

if TYPE_CHECKING:  # contracts need no torch
    import torch
    from torch import nn


class ParameterGroups(NamedTuple):
    """The trained parameters of a model, in three groups."""

    matrices: list[nn.Parameter]
    """Weight matrices of layers: tensors named ``weight`` with two axes or more, axes of size one aside."""
    tables: list[nn.Parameter]
    """Embeddings and the heads that predict codes."""
    others: list[nn.Parameter]
    """Biases, gains, rates and all else, which no optimizer should decay."""


class Optimizes(Protocol):
    """The part of ``torch.optim.Optimizer`` that training uses."""

    param_groups: list[dict[str, Any]]
    state: Any

    def step(self) -> None: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class OptimizerPlugin(Plugin):
    """Plugin of an optimizer, by its name in ``train.optimizer``."""

    @classmethod
    @abstractmethod
    def build(
        cls,
        *,
        parameters: ParameterGroups,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        config: Any,
    ) -> torch.optim.Optimizer:
        """Build the optimizer. Each step takes its learning rate from ``param_groups[...]["lr"]``, set by the trainer.

        ``state`` holds tensors and numbers per parameter, and nothing else: checkpoints store those.

        Raises:
            SpecError, PluginError: the configuration does not fit, or PyTorch lacks a part; with the remedy.
        """


class Schedule(Protocol):
    """Learning rate over a training run."""

    def __call__(self, step: int) -> float:
        """Learning rate of ``step`` (from 1), as a fraction of ``train.lr``; a function of the step alone."""
        ...


class LossPlugin(Plugin):
    """Plugin of a training loss, by its name in ``train.loss``."""

    @classmethod
    @abstractmethod
    def build(cls, *, config: Any) -> Callable[..., Any]:
        """Build the loss: a function whose parameters name the tensors of a micro-batch that it reads.

        It returns a scalar tensor, a mean over the targets under ``loss_mask``. B rows, S steps, D channels, Q
        codebooks of up to V entries, J positions of the text:

        - ``hidden`` [B, S, D], inputs of the heads; ``heads``, their weight, sizes and offsets;
        - ``logits`` [B, S, Q, V] float32, which are computed only for a loss that reads them;
        - ``targets`` int64 and ``loss_mask`` bool [B, S, Q];
        - ``attention`` [B, S, J] over the text, ``progress`` [B, S] in the utterance, ``memory``, the encoded text;
        - ``auxiliary``, auxiliary losses of the backbone by name; they are added to a loss that does not read them;
        - ``model``.

        Raises:
            SpecError: the configuration does not fit.
        """


class SchedulePlugin(Plugin):
    """Plugin of a learning-rate schedule, by its name in ``train.schedule``."""

    @classmethod
    @abstractmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        """Build the schedule of a run of ``steps`` steps.

        Args:
            warmup: ``train.warmup``, the steps of linear warm-up.
            floor: ``train.min_lr``, the learning rate of the last step as a fraction of ``train.lr``.

        Raises:
            SpecError: the configuration does not fit the run.
        """
