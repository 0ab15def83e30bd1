"""Blocks of steps: the outputs of a few steps of all slots, on their way from the device to the host."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lina.engine.step import StepOutput

RING = 16
"""The most steps that a block has."""


class HostBlock:
    """The outputs of K steps of S slots on the CPU: codes [K, S, Q], attention [K, S, J] and flags [K, F, S].

    In NumPy, which takes a slot's part out in a fraction of PyTorch's time; there are hundreds of slots.
    """

    def __init__(self, codes: Tensor, attention: Tensor, flags: Tensor) -> None:
        self.codes: npt.NDArray[np.int64] = codes.numpy()
        self.attention: npt.NDArray[np.float32] = attention.numpy()
        self.flags: npt.NDArray[np.bool_] = flags.numpy()
        self.steps = len(self.codes)
        counts: Any = self.flags.sum(0).T.tolist()
        self.counts: list[list[int]] = counts
        """For each slot, the steps at which each flag is set."""


class Block:
    """The outputs of K steps, as the steps left them."""

    def __init__(self, outputs: Sequence[StepOutput]) -> None:
        self._outputs = outputs

    def wait(self) -> HostBlock:
        """The outputs on the CPU; waits until they are there."""
        if len(self._outputs) == 1:
            codes, attention, flags = (leaf.cpu()[None] for leaf in self._outputs[0])
        else:
            codes, attention, flags = (torch.stack(leaf).cpu() for leaf in zip(*self._outputs, strict=True))
        return HostBlock(codes, attention.float(), flags)
