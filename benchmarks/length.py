"""Speed of training by length on a GPU: linear attention against full attention, at equal frames per step.

    python -m benchmarks.length --json length.json
    python -m benchmarks.length --compile --lengths 16000 64000

Both are lina's language model at the width of GLA of 232.6 million parameters, with the same embeddings, text encoder,
attention to the text, heads and fused loss; one has GLA as its backbone, the other causal attention over all frames by
PyTorch's flash attention, of rotary positions. A step is forward pass, backward pass and fused AdamW in bfloat16
autocast over 64,000 frames: streams of so many frames as a length says, each of utterances of 500 frames with a text
of their own. GLA reads all streams end to end in one row, full attention each in a row of its own; nothing is padded.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.decode_models import CODEBOOKS, PLACEHOLDERS, ROOT
from lina.backbones.fused.flash_linear_attention import VARIANTS
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.model.delay_lm import DelayLM
from lina.core.model.stack import ResidualStack
from lina.core.ops.rotary import apply_rotary
from lina.runs.build_model import build_lm, count_parameters
from lina.training.backward import ALIGNMENT
from lina.training.losses import fused_cross_entropy
from lina.training.objective import MicroBatch, Objective
from lina.training.packing import row_starts
from lina.training.shape_buckets import columns_of

SPEC = "specs/lina_speech/gla-230m.yaml"
FRAMES, UTTERANCE, TEXT = 64_000, 500, 60
LENGTHS = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
HEADS = 16


class FullAttention(nn.Module):
    """Causal attention over all frames of a row, for training: its step keeps no keys, and sees its own frame alone."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: tuple[()]
    ) -> tuple[Float[Tensor, "B T D"], tuple[()]]:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(2)
        positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        q, k = (apply_rotary(part, positions).to(v.dtype) for part in (q, k))
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION if x.is_cuda else SDPBackend.MATH):
            mixed = nn.functional.scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
            )
        return self.out(mixed.transpose(1, 2).flatten(2)), state

    def step(self, x: Float[Tensor, "B D"], state: tuple[()]) -> tuple[Float[Tensor, "B D"], tuple[()]]:
        y, state = self.parallel_forward(x[:, None], state)
        return y[:, 0], state


def language_model(name: str, settings: Sequence[str] = ()) -> DelayLM:
    """The model with backbone ``gla`` or ``attention``, on the CPU."""
    fixed = ["text.attention=plain", "text.dropout=0", "train.gradient_checkpointing=false", *settings]
    resolved = resolve(load_spec(ROOT / SPEC, [*PLACEHOLDERS, *fixed]))
    model = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=256, speakers=1, seed=0)
    if name == "attention":
        width, layers = resolved.spec.backbone.d_model, resolved.spec.backbone.n_layers
        torch.manual_seed(0)
        for half in ("encoder", "decoder"):
            mixers: list[Any] = [FullAttention(width) for _ in range(layers)]
            setattr(model, half, ResidualStack(mixers, width))
    return model


def micro_batch(groups: Sequence[Sequence[int]], end_to_end: bool) -> MicroBatch:
    """Random utterances of so many frames, in groups; a row is a group, or all of them."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.tensor([frames for group in groups for frames in group])
    count, sizes = len(lengths), torch.tensor([len(group) for group in groups])
    first = sizes.cumsum(0) - sizes
    rows = torch.full((len(groups), int(sizes.max())), -1)
    for row, (begin, size) in enumerate(zip(first, sizes, strict=True)):
        rows[row, :size] = torch.arange(int(begin), int(begin + size))
    return MicroBatch(
        codes=torch.randint(0, 1024, (count, int(lengths.max()), len(CODEBOOKS)), generator=draw),
        lengths=lengths,
        text=torch.randint(2, 200, (count, TEXT), generator=draw),
        text_mask=torch.ones(count, TEXT, dtype=torch.bool),
        speaker=torch.ones(count, dtype=torch.int64),
        without_text=torch.zeros(count, dtype=torch.bool),
        without_speaker=torch.zeros(count, dtype=torch.bool),
        prompts=torch.zeros(count, dtype=torch.int64),
        rows=torch.arange(count)[None] if end_to_end else rows,
        groups=first.repeat_interleave(sizes),
    )


class Step:
    """Training steps of a model on one micro-batch."""

    def __init__(self, model: DelayLM, device: torch.device, compiled: bool = False) -> None:
        self.model, self.device = model.to(device).train(), device
        if compiled:
            from lina.training.compile_blocks import compile_blocks

            compile_blocks(model, device, torch.bfloat16)
        self.objective = Objective(model, fused_cross_entropy, device, guided=False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def __call__(self, batch: MicroBatch) -> float:
        """The loss of a step."""
        codebooks = batch.codes.shape[2]
        starts = row_starts(batch.lengths, batch.rows, batch.groups, codebooks, self.device, ALIGNMENT)
        steps = columns_of(batch) if starts is None else starts.utterances.shape[1]
        measured = self.objective(batch.to(self.device), steps, torch.bfloat16, starts)
        torch.autograd.backward(measured.loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(measured.loss.detach())

    def frames_per_second(self, batch: MicroBatch, steps: int, frames: int) -> float:
        """Of the median of ``steps`` steps of ``frames`` frames, after one that is not timed."""
        self(batch)
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            self(batch)
            seconds.append(time.perf_counter() - began)
        return frames / sorted(seconds)[len(seconds) // 2]


def crossover(lengths: Sequence[int], ratios: Sequence[float]) -> float | None:
    """The length from which on linear attention is faster, between two measured ones on logarithmic scales."""
    if ratios[-1] < 1:
        return None
    found: float = lengths[0]
    for (low, below), (high, above) in pairwise(zip(lengths, ratios, strict=True)):
        if below < 1 <= above:
            share = math.log(1 / below) / math.log(above / below)
            found = low * (high / low) ** share
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of lina's specs")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="frames per stream")
    parser.add_argument("--frames", type=int, default=FRAMES, help="frames per step")
    parser.add_argument("--steps", type=int, default=3, help="timed steps per length")
    parser.add_argument("--compile", action="store_true", help="compile layers, as runs of 1,000 steps do")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "length: there is no CUDA device\n")
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "kernel_variants": os.environ.get(VARIANTS),
        "compiled": arguments.compile,
        "frames_per_step": arguments.frames,
        "parameters": {},
        "frames_per_second": {},
    }
    for name in ("gla", "attention"):
        model = language_model(name, arguments.settings)
        found["parameters"][name] = count_parameters(model)
        step, speeds = Step(model, device, arguments.compile), {}
        for length in arguments.lengths:
            utterances = [UTTERANCE - len(CODEBOOKS)] * (length // UTTERANCE)
            batch = micro_batch([utterances] * (arguments.frames // length), end_to_end=name == "gla")
            speeds[length] = round(step.frames_per_second(batch, arguments.steps, arguments.frames))
            print(f"{name:10} {length:7,} frames: {speeds[length]:9,} frames/s", flush=True)
            found["frames_per_second"][name] = speeds
            _write(arguments.json, found)
        del step, model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    gla, attention = (found["frames_per_second"][name] for name in ("gla", "attention"))
    ratios = [gla[length] / attention[length] for length in arguments.lengths]
    found["ratio"] = {
        length: round(ratio, 2) for length, ratio in zip(arguments.lengths, ratios, strict=True)
    }
    found["crossover_frames"] = crossover(arguments.lengths, ratios)
    print(f"gla / attention: {found['ratio']}; crossover at {found['crossover_frames']} frames")
    _write(arguments.json, found)
    return 0


def _write(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
