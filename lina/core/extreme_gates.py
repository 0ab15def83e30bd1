"""Saturate the gates of a backbone, for the laws: log-decays from about -1e-4 to -1e4 per step.

A part with a method ``extreme()`` sets its own gates; stacks hand the request on to their mixers. Of all other modules
the matrices are scaled by 100, and vectors, where gates of one value per channel or head live, are spread by logarithms
from 1e-4 to 1e4; gains of norms stay.
"""

import math

import torch
from torch import nn

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def saturate(module: nn.Module) -> None:
    """Saturate the gates of ``module`` in place; see the head of this file."""
    own = getattr(module, "extreme", None)
    if callable(own):
        own()
        return
    if isinstance(module, NORMS):
        return
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            if parameter.dim() >= 2:
                parameter.mul_(100.0)
            elif parameter.numel() > 1:
                ends = 4 * math.log(10)
                spread = torch.linspace(-ends, ends, parameter.numel())[torch.randperm(parameter.numel())]
                parameter.add_(spread.to(parameter))
    for part in module.children():
        saturate(part)
