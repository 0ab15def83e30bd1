"""The norm at the end of a stack of layers, the same for all backbones if a spec names one.

By itself a stack ends as its architecture does: in a norm (Mamba) or in the sum of its layers (all others).
"""

from typing import Literal

from torch import nn

from lina.core.errors import SpecError
from lina.core.model.stack import Layers
from lina.core.protocols import Backbone

FinalNorm = Literal["own", "layer", "rms", "none"]
"""``own``: as the architecture has it."""
EPS = 1e-5


def set_final_norm(backbone: Backbone, kind: FinalNorm, d_model: int) -> None:
    """Replace the norm at the end of a stack.

    Raises:
        SpecError: the stack is none of ``Layers``, so that core does not know its end.
    """
    if kind == "own":
        return
    if not isinstance(backbone, Layers):
        raise SpecError(
            f"backbone.final_norm is {kind!r}, but {type(backbone).__name__} is no stack of lina.core.Layers; "
            "write final_norm: own, or derive the stack from Layers"
        )
    norms = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
    backbone.norm_f = norms[kind](d_model, eps=EPS) if kind in norms else None
