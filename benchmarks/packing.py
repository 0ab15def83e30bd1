"""Speed of training with rows end to end against padded rows, on a GPU, for utterances as long as sentences are.

    python -m benchmarks.packing --json packing.json

GLA of 232.6 million parameters on random codes: utterances of a log-normal spread, in the batches that
``train.batch_seconds`` makes of them, alone and three to a group (``train.consecutive``), for both attentions to the
text. Counted are frames of speech per second, without padding.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.decode_models import CODEBOOKS
from benchmarks.length import Step, language_model, micro_batch
from lina.backbones.fused.flash_linear_attention import VARIANTS
from lina.data.packing_plan import RowPlan
from lina.training.shape_buckets import columns_of

BUDGET = 32_000
"""Frames per batch, padding included."""
MEDIAN, SPREAD, SHORTEST, LONGEST = 500, 0.5, 75, 1990
"""Frames of the utterances; the spread is that of the logarithm."""


def batches(consecutive: int, count: int, budget: int = BUDGET) -> list[list[list[int]]]:
    """Frames per utterance, per group, of the first ``count`` batches of a corpus of 6,000 utterances."""
    draw = torch.Generator().manual_seed(0)
    lengths = (torch.randn(6000, generator=draw) * SPREAD).exp().mul(MEDIAN).clamp(SHORTEST, LONGEST)
    frames = lengths.long().tolist()
    plan = RowPlan(frames, [0] * len(frames), consecutive, budget, 0)
    return [[[frames[i] for i in group] for group in plan.rows(position)] for position in range(count)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of lina's specs")
    parser.add_argument("--attention", nargs="+", default=["plain", "position"])
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--budget", type=int, default=BUDGET, help="frames per batch, padding included")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "packing: there is no CUDA device\n")
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "kernel_variants": os.environ.get(VARIANTS),
        "results": [],
    }
    for attention in arguments.attention:
        step = Step(language_model("gla", [*arguments.settings, f"text.attention={attention}"]), device)
        for consecutive in (1, 3):
            planned = batches(consecutive, arguments.batches, arguments.budget)
            record: dict[str, Any] = {"attention": attention, "consecutive": consecutive}
            record["padding"] = round(1 - sum(map(_frames, planned)) / sum(map(_padded, planned)), 4)
            for name in ("padded", "end_to_end"):
                losses, speed = _measure(step, planned, name == "end_to_end")
                record |= {name: round(speed), f"loss_{name}": losses}
            print(json.dumps(record), flush=True)
            found["results"].append(record)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        del step
    return 0


def _measure(step: Step, planned: list[list[list[int]]], end_to_end: bool) -> tuple[list[float], float]:
    """Losses without updates of the weights, and frames per second."""
    step.optimizer.param_groups[0]["lr"] = step.optimizer.param_groups[0]["weight_decay"] = 0.0
    inputs = [micro_batch(groups, end_to_end) for groups in planned]
    step(inputs[0])
    began = time.perf_counter()
    losses = [round(step(one), 4) for one in inputs]
    return losses, sum(map(_frames, planned)) / (time.perf_counter() - began)


def _frames(groups: list[list[int]]) -> int:
    return sum(frames for group in groups for frames in group)


def _padded(groups: list[list[int]]) -> int:
    batch = micro_batch(groups, end_to_end=False)
    return len(batch.rows) * (columns_of(batch) - len(CODEBOOKS))


if __name__ == "__main__":
    sys.exit(main())
