"""Compilation of a model's kernels in a process of its own, while the first step is traced.

Triton compiles a kernel when it is first launched, one after the other: a forward and backward pass of GLA has sixteen,
of one to twelve seconds. The process leaves them in Triton's cache on disk, where the training finds them.
"""

import copy
import logging
import pickle
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from lina.core.errors import one_line
from lina.core.model.delay_lm import DelayLM
from lina.core.protocols import takes_starts
from lina.runs.device import mixed_precision
from lina.training.layers import backbones_of, layers_of

FRAMES = 128
"""Long enough for the kernels of long rows, which work in chunks of up to 64 frames."""

log = logging.getLogger("lina")


class KernelWarmUp:
    """The process, for one layer of each kind; none where a layer cannot be pickled, or no process starts."""

    def __init__(
        self, model: DelayLM, device: torch.device, precision: torch.dtype, *, restarts: bool
    ) -> None:
        """``restarts``: rows restart, as those that lie end to end do."""
        self.process: subprocess.Popen[bytes] | None = None
        with tempfile.TemporaryFile() as file:
            try:
                layers = [(copy.deepcopy(layer).to("meta"), width) for layer, width in kinds_of_layers(model)]
                pickle.dump((layers, device, precision, restarts), file)
                file.seek(0)
                command = [sys.executable, "-m", "lina.training.kernel_warm_up"]
                self.process = subprocess.Popen(
                    command, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            except Exception as error:
                log.debug(f"train: kernels are not warmed up: {one_line(error)}")
                return
        # Of a training that fails before its first step, nothing goes on.
        weakref.finalize(self, _end, self.process)

    def finish(self) -> None:
        """End the process; what it has not compiled by now is compiled already, or never used."""
        if self.process is not None:
            _end(self.process)
            self.process = None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def kinds_of_layers(model: DelayLM) -> Iterator[tuple[nn.Module, int]]:
    """One layer for each type and sizes in the backbones, and the width of its input."""
    seen = set()
    for backbone, width in backbones_of(model):
        for layer in layers_of(backbone):
            kind = (type(layer), *(tuple(one.shape) for one in layer.parameters()))
            if kind not in seen:
                seen.add(kind)
                yield layer, width


def warm_up(
    layers: Iterable[tuple[nn.Module, int]], device: torch.device, precision: torch.dtype, restarts: bool
) -> None:
    """A forward and backward pass of each layer, of arbitrary weights, on a few frames."""
    if device.index is not None:
        torch.cuda.set_device(device)
    for layer, width in layers:
        module: Any = layer.to_empty(device=device)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.02)
        for buffer in module.buffers():
            buffer.zero_()
        x = torch.ones(1, FRAMES, width, device=device, requires_grad=True)
        options = {}
        if restarts and takes_starts(module):
            options["starts"] = torch.arange(FRAMES, device=device)[None] % (FRAMES // 2) == 0
        with mixed_precision(device, precision):
            y, _ = module.parallel_forward(x, module.initial_state(1), **options)
        torch.autograd.backward(y.float().sum())


if __name__ == "__main__":
    warm_up(*pickle.load(sys.stdin.buffer))
