"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): orthogonalized momentum for weight matrices.

Matrices of layers are trained by ``torch.optim.Muon``, all else by AdamW. The update is scaled to the size of AdamW's
(Liu et al. 2025, arXiv 2502.16982), so that ``train.lr`` and ``train.weight_decay`` mean the same as with AdamW.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig
from lina.core.training.plugin import OptimizerPlugin, ParameterGroups
from lina.training.optimizer import adamw, example_parameters


class Chained(torch.optim.Optimizer):
    """Optimizers of different parameters as one, which share its groups and its state."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = tuple(optimizers)
        super().__init__([group for one in self.optimizers for group in one.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for one in self.optimizers:
            one.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for one in self.optimizers:
            one.state = self.state
            one.param_groups = [next(groups) for _ in one.param_groups]


class MuonConfig(PluginConfig):
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95
    """Decay rate of the momentum of the matrices; `train.betas` are those of all else."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 5
    """Newton-Schulz iterations of the orthogonalization."""


class Muon(OptimizerPlugin):
    Config = MuonConfig

    @classmethod
    def build(
        cls,
        *,
        parameters: ParameterGroups,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        config: MuonConfig,
    ) -> torch.optim.Optimizer:
        """``torch.optim.Muon`` for matrices of exactly two axes, AdamW for all else.

        Raises:
            PluginError: this PyTorch has no Muon.
        """
        if not hasattr(torch.optim, "Muon"):
            raise PluginError(
                f"train.optimizer: muon needs torch.optim.Muon of PyTorch 2.9, and this is {torch.__version__}; "
                "upgrade torch, or set optimizer: adamw"
            )
        flat = [one for one in parameters.matrices if one.dim() == 2]
        rest = [one for one in parameters.matrices if one.dim() != 2]
        muon = torch.optim.Muon(
            flat,
            lr=lr,
            weight_decay=weight_decay,
            momentum=config.momentum,
            nesterov=config.nesterov,
            ns_steps=config.iterations,
            adjust_lr_fn="match_rms_adamw",
        )
        others = parameters._replace(matrices=rest)
        return Chained([muon, adamw(others, lr=lr, betas=betas, weight_decay=weight_decay)])

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**example_parameters(), "config": cls.Config()}
