"""Find the fastest configuration of flash-linear-attention's kernels on this GPU, and write them where lina looks.

    python -m benchmarks.tune_kernels                       all backbones at widths 512 and 1024
    python -m benchmarks.tune_kernels --backbones gla --widths 1024 --out found.json

Each backbone is trained for a step of 16,000 frames, rows end to end as in training, in bfloat16. Compiling the
variants takes most of the time, on all cores.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from lina.backbones.fused.flash_linear_attention import VARIANTS, configurations_file, versions
from lina.core.process.kernel_configurations import Known, describe, kernel_name, write_configurations
from lina.core.registry import load

BACKBONES = ("gla", "retnet", "rwkv6", "rwkv7", "mamba2", "gated_deltanet", "kda")
FRAMES, UTTERANCE = 16_000, 500


def train_a_step(plugin: str, width: int) -> None:
    """Forward and backward pass of a layer with fused kernels, so that every kernel is tuned."""
    backbone: Any = load("backbone", plugin)
    torch.manual_seed(0)
    config = backbone.Config().model_copy(update={"kernels": "fused"})
    model = backbone.build(d_model=width, n_layers=1, config=config).cuda()
    x = torch.randn(1, FRAMES, width, device="cuda", requires_grad=True)
    starts = torch.arange(FRAMES, device="cuda")[None] % UTTERANCE == 0
    with torch.autocast("cuda", torch.bfloat16):
        y, _ = model.parallel_forward(x, model.initial_state(1), starts=starts)
    y.float().square().mean().backward()
    torch.cuda.synchronize()


def restrict(variants: int) -> None:
    """Try up to ``variants`` of each kernel, drawn at random, and the smallest: others may need too much memory."""
    from triton.runtime.autotuner import Autotuner

    every = Autotuner.prune_configs

    def some(self: Any, kwargs: Any) -> Any:
        configs = list(every(self, kwargs))
        chosen = random.Random(0).sample(configs, min(variants, len(configs)))
        smallest = min(configs, key=lambda one: (sum(one.kwargs.values()), one.num_stages, one.num_warps))
        return [smallest, *(one for one in chosen if one is not smallest)]

    Autotuner.prune_configs = some


def tuners() -> Iterator[Any]:
    """All tuned kernels of fla."""
    from triton.runtime.autotuner import Autotuner

    seen = set()
    for module in [one for name, one in sys.modules.items() if name.startswith("fla.")]:
        for kernel in vars(module).values():
            while kernel is not None and not isinstance(kernel, Autotuner):
                kernel = getattr(kernel, "fn", None) if hasattr(kernel, "run") else None
            if kernel is not None and id(kernel) not in seen:
                seen.add(id(kernel))
                yield kernel


def best(plugin: str, width: int, variants: int) -> dict[str, list[Known]]:
    """Time all variants; the fastest of each kernel and key."""
    restrict(variants)
    train_a_step(plugin, width)
    found: dict[str, list[Known]] = {}
    for tuner in tuners():
        for key, config in tuner.cache.items():
            found.setdefault(kernel_name(tuner), []).append(Known(key, describe(config)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--widths", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--variants", type=int, default=10_000, help="tried of each kernel, drawn at random")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "tune_kernels: there is no CUDA device\n")
    os.environ[VARIANTS] = "all"
    file = arguments.out or configurations_file()
    context = multiprocessing.get_context("spawn")
    for plugin, width in itertools.product(arguments.backbones, arguments.widths):
        began = time.perf_counter()
        with ProcessPoolExecutor(1, context) as alone:
            found = alone.submit(best, plugin, width, arguments.variants).result()
        write_configurations(file, versions(), found)
        print(f"{plugin} {width}: {len(found)} kernels, {time.perf_counter() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
