"""Speed and equality of training with and without ``train.cuda_graph``: a spec's model on random speech.

    python -m benchmarks.captured_training specs/voice.yaml --steps 200 --json captured.json

Needs a GPU. Both trainings see the same batches from the same weights, without dropout; their losses are compared step
by step, and the speed of the second half of the steps, when all shapes have been seen, is given.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.errors import LinaError
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_lm
from lina.runs.hooks import Run
from lina.training.trainer import Trainer

FRAME_RATE, CODEBOOKS, LETTERS = 25.0, (1024,) * 8, 90
SECONDS = 3.0
"""Median of the utterances, which are spread as recordings of sentences are: by a factor of 1.7 either way."""


def speech(count: int, codebooks: int = len(CODEBOOKS)) -> TrainingData:
    """Random utterances of random letters, one to two frames a letter."""
    draw = torch.Generator().manual_seed(0)
    spread = (torch.randn(count, generator=draw) * math.log(1.7)).exp()
    lengths = (spread * SECONDS * FRAME_RATE).clamp(15, 500).long().tolist()
    codes = [torch.randint(0, 1024, (frames, codebooks), generator=draw) for frames in lengths]
    texts = [torch.randint(2, LETTERS, (max(1, frames // 2),), generator=draw).tolist() for frames in lengths]
    everything = range(count)
    names = [str(number) for number in everything]
    return TrainingData(
        codes.__getitem__, lengths, texts, [1] * count, names, everything, [], FRAME_RATE, "random"
    )


def train(resolved: ResolvedSpec, data: TrainingData, directory: Path) -> tuple[list[float], list[float]]:
    """The loss and the frames a second of each step."""
    losses: list[float] = []
    speeds: list[float] = []

    class Listener:
        def step_done(self, *, metrics: dict[str, Any], **rest: Any) -> None:
            losses.append(metrics["loss"])
            speeds.append(metrics["frames/s"])

        def __getattr__(self, name: str) -> Any:
            return lambda **rest: []

    spec = resolved.spec
    model = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=LETTERS, speakers=1, seed=spec.seed)
    directory.mkdir()
    trainer = Trainer(Run(directory, spec), model, data, Listener())
    for _ in range(spec.train.steps):
        trainer.advance()
    trainer.collect()
    return losses, speeds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "captured_training: there is no CUDA device\n")
    fixed = [f"train.steps={arguments.steps}", "train.dropout=0", "text.dropout=0", "train.device=cuda"]
    found: dict[str, Any] = {"steps": arguments.steps, "gpu": torch.cuda.get_device_name()}
    losses = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, graph in (("eager", "false"), ("captured", "true")):
            try:
                settings = [*arguments.settings, *fixed, f"train.cuda_graph={graph}"]
                resolved = resolve(load_spec(arguments.spec, settings))
                losses[name], speeds = train(resolved, speech(6000), Path(scratch) / name)
            except LinaError as error:
                parser.exit(2, f"captured_training: {error}\n")
            late = sorted(speeds[len(speeds) // 2 :])
            found[name] = {"frames_per_second": late[len(late) // 2], "loss": losses[name][-1]}
            print(f"{name:10} {late[len(late) // 2]:10.0f} frames/s  loss {losses[name][-1]:.4f}", flush=True)
    apart = [abs(a - b) / a for a, b in zip(losses["eager"], losses["captured"], strict=True)]
    found["largest_difference"], found["first_difference"] = max(apart), apart[0]
    print(f"losses differ by {max(apart):.1e} of themselves at most, {apart[0]:.1e} at the first step")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
