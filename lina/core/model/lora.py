"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank * B A, where only A and B are trained.

It is a parametrization of the weight, not a layer of its own: whatever reads ``module.weight`` (a fused kernel, a
reference operator, a dtype check) reads the adapted one, so it works for every backbone. Each access computes it, which
is negligible for a batch of audio but not for a single frame, so synthesis uses merged weights.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from lina.core.errors import SpecError, did_you_mean

MARK = ".parametrizations.weight."
"""PyTorch's name for the parts of a parametrized weight."""


class LowRank(nn.Module):
    """Low-rank addend of a weight. B (``up``) starts at zero (section 4.1)."""

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
        # Half precision would lose the small addends.
        with torch.autocast(weight.device.type, enabled=False):
            return _sum(weight, self.down, self.up, self.scale)  # type: ignore[arg-type]


def choose_targets(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Find the linear layers whose name a pattern matches, in full or at its end: ``q_proj``, ``decoder.*``.

    Heads are left out: they are small, and they change with the codec.

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
    """Add low-rank matrices to the linear layers ``targets``; their initialization depends on ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    for name in targets:
        module = model.get_submodule(name)
        assert isinstance(module.weight, Tensor)
        register_parametrization(module, "weight", LowRank(module.weight.data, rank, alpha, generator))


def train_only(model: nn.Module, names: Iterable[str]) -> None:
    """Freeze all parameters but those of these names and the low-rank matrices."""
    kept = set(names)
    for name, parameter in model.named_parameters():
        trains = name in kept or (MARK in name and not name.endswith(f"{MARK}original"))
        parameter.requires_grad_(parameter.requires_grad and trains)


def is_adapted(names: Iterable[str]) -> bool:
    """Check the names of a state dict for low-rank matrices."""
    return any(MARK in name for name in names)


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge a state dict: each sum in place of its parts, under the names of a model without adaptation.

    Raises:
        KeyError, ValueError: a part is missing, or its shape is not that of its layer.
    """
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
    # Before the product, which of foreign matrices may have any size.
    if weight.shape != (up.shape[0], down.shape[-1]) or up.shape[1:] != down.shape[:1] or scale.numel() != 1:
        raise ValueError(f"{list(up.shape)} times {list(down.shape)} is added to {list(weight.shape)}")
    return weight + scale * (up @ down)


def _linear(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module
