"""Distance of each operator's reference form from its floor, forward and backward pass, on one thread of a CPU.

    python -m benchmarks.reference_forms --json benchmarks/reference-forms.json

The floor of an operator is the larger of two times: its recurrence's multiplications and additions at the speed of a
matrix product measured beside it, and its arguments and results moved once at the speed of a measured copy; each three
times for both passes. Times are the process's own, the fastest of several, so other work disturbs them less.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from lina.core.ops.causal_conv import causal_convolution
from lina.core.ops.delta_rule import delta_rule, gated_delta_rule
from lina.core.ops.gated_linear_attention import gated_linear_attention
from lina.core.ops.rwkv6_attention import rwkv6_attention
from lina.core.ops.scalar_decay_attention import scalar_decay_attention
from lina.core.ops.selective_scan import selective_scan

ROWS, HEADS, CHANNELS, STATE, TAPS = 4, 4, 64, 16, 4
PASSES = 3
"""A backward pass costs two forward passes."""


class Case(NamedTuple):
    """An operator with arguments of T frames, and the operations of its recurrence per frame of a row."""

    operator: Callable[..., tuple[Tensor, Tensor]]
    arguments: tuple[Any, ...]
    operations: int


def cases(frames: int) -> dict[str, Case]:
    """All operators at one size: rows of heads, with keys and values of as many channels."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    def heads() -> Tensor:
        return random(ROWS, frames, HEADS, CHANNELS)

    width, matrix = HEADS * CHANNELS, HEADS * CHANNELS**2
    memory = random(ROWS, HEADS, CHANNELS, CHANNELS)
    gate, one_gate = logsigmoid(heads()), logsigmoid(random(ROWS, frames, HEADS))
    unit, beta = normalize(heads(), dim=-1), torch.sigmoid(random(ROWS, frames, HEADS))
    flow = random(ROWS, frames, width)
    rate = torch.nn.functional.softplus(random(ROWS, frames, width))
    read, written = (random(ROWS, frames, STATE) for _ in range(2))
    return {
        "gated_linear_attention": Case(
            gated_linear_attention, (heads(), heads(), heads(), gate, memory, 1.0), 5 * matrix
        ),
        "scalar_decay_attention": Case(
            scalar_decay_attention, (heads(), heads(), heads(), one_gate, memory, 1.0), 5 * matrix
        ),
        "rwkv6_attention": Case(
            rwkv6_attention,
            (heads(), heads(), heads(), gate, random(HEADS, CHANNELS), memory),
            5 * matrix,
        ),
        "delta_rule": Case(
            delta_rule, (heads(), heads(), heads(), -unit, unit * 0.5, 0.5 * gate, memory, 1.0), 9 * matrix
        ),
        "gated_delta_rule": Case(
            gated_delta_rule, (unit, unit, heads(), beta, gate, memory, 1.0), 7 * matrix
        ),
        "selective_scan": Case(
            selective_scan,
            (
                flow,
                rate,
                -random(width, STATE).exp(),
                read,
                written,
                random(width),
                random(ROWS, width, STATE),
            ),
            7 * width * STATE,
        ),
        "causal_convolution": Case(
            causal_convolution,
            (flow, random(width, 1, TAPS), random(width), random(ROWS, TAPS - 1, width)),
            2 * TAPS * width,
        ),
    }


def seconds(case: Case, repeats: int) -> float:
    """Processor time of a forward and a backward pass, the least of ``repeats``."""
    tensors = [one for one in case.arguments if isinstance(one, Tensor)]
    for one in tensors:
        one.requires_grad_()
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        out, final = case.operator(*case.arguments)
        torch.autograd.grad(out.sum() + final.sum(), tensors)
        best = min(best, time.process_time() - began)
    return best


def speeds(repeats: int) -> tuple[float, float]:
    """Operations per second of a matrix product, and bytes per second of a copy."""
    side, count = 512, 1 << 24
    a, b = torch.randn(side, side), torch.randn(side, side)
    source, target = torch.ones(count), torch.empty(count)
    product = min(_processor_time(lambda: torch.mm(a, b)) for _ in range(10 * repeats))
    copy = min(_processor_time(lambda: target.copy_(source)) for _ in range(repeats))
    return 2 * side**3 / product, 8 * count / copy


def _processor_time(function: Callable[[], Any]) -> float:
    began = time.process_time()
    function()
    return max(time.process_time() - began, 1e-9)


def floor(case: Case, frames: int, operations: float, moved: float) -> float:
    """Seconds below which no form of the recurrence can be."""
    with torch.no_grad():
        results = case.operator(*case.arguments)
    size = sum(4 * one.numel() for one in (*case.arguments, *results) if isinstance(one, Tensor))
    return PASSES * max(case.operations * ROWS * frames / operations, size / moved)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    operations, moved = speeds(arguments.repeats)
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "product_gflops": round(operations / 1e9, 1),
        "copy_gb_per_s": round(moved / 1e9, 1),
        "frames": ROWS * arguments.frames,
        "operators": {},
    }
    for name, case in cases(arguments.frames).items():
        least, taken = floor(case, arguments.frames, operations, moved), seconds(case, arguments.repeats)
        speed = ROWS * arguments.frames / taken
        found["operators"][name] = {"frames_per_second": round(speed), "times_floor": round(taken / least, 1)}
        print(f"{name:24} {speed:12,.0f} frames/s  {taken / least:6.1f} times its floor", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
