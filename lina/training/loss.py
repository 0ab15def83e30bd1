"""The training objective over delayed columns: what is counted, and nothing else."""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOT_COUNTED = -100


def cross_entropy(
    logits: Float[Tensor, "B S Q V"], targets: Int[Tensor, "B S Q"], counted: Bool[Tensor, "B S Q"]
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood, in nats, of the counted targets over all codebooks."""
    # Left out by their targets, not by picking the others, for whose number a GPU would have to be waited for.
    wanted = targets.masked_fill(~counted, NOT_COUNTED)
    return F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), ignore_index=NOT_COUNTED)


def accuracy(
    logits: Float[Tensor, "B S Q V"], targets: Int[Tensor, "B S Q"], counted: Bool[Tensor, "B S Q"]
) -> tuple[Int[Tensor, "Q"], Int[Tensor, "Q"]]:
    """How many counted targets of each codebook are the likeliest token, and how many are counted."""
    right = (logits.detach().argmax(-1) == targets) & counted
    return right.sum((0, 1)), counted.sum((0, 1))


LOSSES = {"cross_entropy": cross_entropy}
"""By name, as in ``train.loss`` of a spec; hooks may add more."""
