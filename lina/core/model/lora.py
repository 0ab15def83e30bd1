"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank * B A, where only A and B are trained.

It is a parametrisation of the weight, not a layer of its own: whatever reads ``module.weight`` (a fused kernel, a
plain operator, a dtype check) reads the adapted one, so it works for every backbone. The price is that each reading
computes it, next to nothing beside a batch of audio but much beside a single frame, so models speak merged.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from lina.core.errors import SpecError, did_you_mean

MARK = ".parametrizations.weight."
"""How PyTorch names the parts of a parametrised weight."""


class LowRank(nn.Module):
    """What is added to a weight. B (``up``) begins at zero, so that nothing is added at first (section 4.1)."""

    def __init__(
        self, weight: Float[Tensor, "out in"], rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        down = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        self.register_buffer("scale", torch.tensor(alpha / rank).to(weight))

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        # The sum is of small and large numbers: half precision would lose the small ones.
        with torch.autocast(weight.device.type, enabled=False):
            return _sum(weight, self.down, self.up, self.scale)  # type: ignore[arg-type]


def choose_targets(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Names of the linear layers that a pattern matches, whole or at their end: ``q_proj``, ``decoder.*``.

    The heads are not among them: they are small, and what changes with the codec.

    Raises:
        SpecError: a pattern matches none.
    """
    linear = [name for name, module in _linear(model) if name != "logits_head"]
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in linear if fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")}
        if not found:
            known = {name.rpartition(".")[2] for name in linear} - {""}
            short = {name for name in known if not name.isdecimal()}
            raise SpecError(
                f"init.lora.targets: no linear layer is named {pattern!r}{did_you_mean(pattern, short)}"
            )
        chosen |= found
    return [name for name in linear if name in chosen]


def adapt(model: nn.Module, targets: Iterable[str], *, rank: int, alpha: float, seed: int) -> None:
    """Add low-rank matrices to the linear layers ``targets``; the first ones are a function of ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    for name in targets:
        module = model.get_submodule(name)
        assert isinstance(module.weight, Tensor)
        register_parametrization(module, "weight", LowRank(module.weight.data, rank, alpha, generator))


def train_only(model: nn.Module, names: Iterable[str]) -> None:
    """Of what is trained now, keep the parameters of these names and the low-rank matrices."""
    kept = set(names)
    for name, parameter in model.named_parameters():
        trains = name in kept or (MARK in name and not name.endswith(f"{MARK}original"))
        parameter.requires_grad_(parameter.requires_grad and trains)


def is_adapted(names: Iterable[str]) -> bool:
    """Whether a state dict of these names has low-rank matrices."""
    return any(MARK in name for name in names)


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with each sum in place of its parts, under the names of a model that was never adapted."""
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, mark, part = name.partition(MARK)
        if not mark:
            whole[name] = value
        elif part == "original":
            added = (tensors[f"{layer}{MARK}0.{key}"] for key in ("down", "up", "scale"))
            whole[f"{layer}.weight"] = _sum(value, *added)
    return whole


def _sum(
    weight: Float[Tensor, "out in"],
    down: Float[Tensor, "rank in"],
    up: Float[Tensor, "out rank"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, "out in"]:
    return weight + scale * (up @ down)


def _linear(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module
