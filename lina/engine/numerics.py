"""The precisions that a model is decoded in."""

import contextlib
import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lina.core.generation.guidance import Guided, LanguageModel
from lina.core.model.delay_lm import Conditions


@dataclass(frozen=True)
class Numerics:
    """float32 throughout by default, in which every backend is compared."""

    weights: torch.dtype = torch.float32
    """Of the matrices of linear layers, and of products with them; bfloat16 halves the bytes read per step."""
    memory: torch.dtype = torch.float32
    """Storage of the states of fused steps (memories of linear attention); their sums are in float32 regardless."""

    @property
    def reduced(self) -> bool:
        return torch.bfloat16 in (self.weights, self.memory)

    def context(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """The context that all of the model's work is done in."""
        if self.weights == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.weights, cache_enabled=False)

    def prepare(self, lm: LanguageModel) -> LanguageModel:
        """The model with its matrices in ``weights``: a copy, unless they are."""
        if self.weights == torch.float32:
            return lm
        if isinstance(lm, Guided):
            return Guided(self.prepare(lm.lm), lm.scale)  # type: ignore[arg-type]
        lm = copy.deepcopy(lm)
        for module in lm.modules():
            if isinstance(module, nn.Linear):
                module.to(self.weights)
        return lm

    def prepare_conditions(self, conditions: Conditions) -> Conditions:
        """The text as products will read it."""
        text = conditions.text
        keys, values, positions = (part.to(self.weights) for part in (text.keys, text.values, text.positions))
        return conditions._replace(text=text._replace(keys=keys, values=values, positions=positions))
