"""All backbones at 15 million parameters on the same speech for equal seconds, on one GPU.

    lina run kathleen.yaml train.steps=1              codes and phonemes of a corpus, as specs/voice.yaml has them
    python -m benchmarks.equal_seconds tokens runs/kathleen --out kathleen.safetensors
    python -m benchmarks.equal_seconds train kathleen.safetensors --json equal_seconds.json

The model is that of specs/voice.yaml with as many layers as come nearest to 15 million parameters, trained as there,
in CUDA graphs. Each is built in a process of its own, all at once, and trained until its graphs are captured; then
they go back to their initial weights and take turns on the idle GPU, each for the same seconds of training steps, with
a warm-up of the rate over a tenth of them and a cosine after it. The loss is that of held-out utterances, at the end.
``NAME+OPTION`` is a backbone with initial values as its authors have them.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.equal_seconds_data import FRAME_RATE, pack_tokens, training_data
from lina.backbones.fused.flash_linear_attention import VARIANTS
from lina.training.gradient_spikes import NormStatistics

PARAMETERS = 15e6
HEADS = {"n_heads": 5}
CONFIGS: dict[str, dict[str, Any]] = {
    "gla": {**HEADS, "expand_v": 1.0},
    "retnet": HEADS,
    "gated_deltanet": HEADS,
    "kda": HEADS,
    "rwkv6": HEADS,
    "rwkv7": HEADS,
    "mamba": {},
    "mamba2": {},
    "transformer": HEADS,
    "gated_deltanet+a_min": {**HEADS, "a_min": 0.0},
    "rwkv6+norm_init": {**HEADS, "norm_init": "depth"},
    "rwkv7+norm_init": {**HEADS, "norm_init": "depth"},
}
"""Backbone, or backbone+option -> its configuration at width 320."""
WARM_STEPS = 80
"""Enough for all shapes of 78 minutes of speech, in batches of 200 seconds."""
BATCH_SECONDS = 200
SPEC = Path(__file__).resolve().parent.parent / "specs" / "voice.yaml"
SETTINGS = (
    "codec.config.codebooks=4",
    "tokenizer.plugin=bytes",  # texts are ids already
    "conditions.speaker=false",
    "train.ema=0",
    "train.compile=false",  # which takes longer than the training
    f"train.batch_seconds={BATCH_SECONDS}",
    "train.log_every=1000000",
)


def build(name: str, layers: int, rate: float, device: str) -> Any:
    """The resolved spec of one model."""
    from lina.config.loader import load_spec
    from lina.config.resolve import resolve

    settings = [
        *SETTINGS,
        f"backbone.plugin={name.partition('+')[0]}",
        f"backbone.config={json.dumps(CONFIGS[name])}",
        f"backbone.n_layers={layers}",
        f"train.lr={rate}",
        f"train.device={device}",
        f"train.precision={'bfloat16' if device == 'cuda' else 'float32'}",
    ]
    return resolve(load_spec(SPEC, settings))


def layers_of(name: str, sizes: tuple[int, ...], vocabulary: int) -> int:
    """Layers of each half with which the model comes nearest to ``PARAMETERS``."""
    from lina.runs.build_model import build_lm, count_parameters

    def parameters(layers: int) -> int:
        resolved = build(name, layers, 1e-3, "cpu")
        with torch.device("meta"):
            return count_parameters(
                build_lm(resolved, codebook_sizes=sizes, vocab_size=vocabulary, speakers=0, seed=0)
            )

    second, third = parameters(2), parameters(3)
    return max(1, 2 + round((PARAMETERS - second) / (third - second)))


class Losses:
    """Hooks that take down losses: of each step, and the last one of held-out utterances."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.valid = math.nan

    def step_done(self, *, metrics: dict[str, Any], **rest: Any) -> None:
        self.steps.append(metrics["loss"])

    def evaluation_done(self, *, metrics: dict[str, Any], **rest: Any) -> None:
        self.valid = metrics["loss"]

    def __getattr__(self, name: str) -> Any:
        return lambda **rest: []


def timed_schedule(seconds: float) -> Callable[[int], float]:
    """Share of the learning rate by the time since the first call: warm-up over a tenth, then a cosine to 0."""
    began: list[float] = []

    def schedule(step: int) -> float:
        if not began:
            began.append(time.perf_counter())
        done = min(1.0, (time.perf_counter() - began[0]) / seconds)
        return min(0.02 + done / 0.1, 0.5 + 0.5 * math.cos(math.pi * done))

    return schedule


def train(
    name: str, tokens: Path, seconds: float, rate: float, device: str, warm_steps: int, pipe: Connection
) -> None:
    """Build and warm up, wait for the turn, train, and send the result."""
    try:
        pipe.send(_train(name, tokens, seconds, rate, device, warm_steps, pipe))
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        pipe.send({"backbone": name, "error": f"{type(error).__name__}: {lines[-1][:200]}"})


def _train(
    name: str, tokens: Path, seconds: float, rate: float, device: str, warm_steps: int, pipe: Connection
) -> dict[str, Any]:
    from lina.core.state import state_bytes
    from lina.runs.build_model import build_lm, count_parameters
    from lina.runs.hooks import Run
    from lina.training.trainer import Trainer

    torch.set_num_threads(2)
    data, sizes, vocabulary = training_data(tokens)
    layers = layers_of(name, sizes, vocabulary)
    resolved = build(name, layers, rate, device)

    with tempfile.TemporaryDirectory() as scratch:
        lm = build_lm(resolved, codebook_sizes=sizes, vocab_size=vocabulary, speakers=0, seed=0)
        initial = {key: value.clone() for key, value in lm.state_dict().items()}
        trainer: Any = Trainer(Run(Path(scratch), resolved.spec), lm, data, Losses())
        for _ in range(warm_steps):
            trainer.advance()
        trainer.validate()
        losses = Losses()
        start_again(trainer, initial, losses)
        trainer.schedule = timed_schedule(seconds)
        pipe.send("ready")
        pipe.recv()
        _finish(device)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            trainer.advance()
        trainer.collect()
        spent = time.perf_counter() - began
        trainer.validate()
    model, last = trainer.model, losses.steps[-10:]
    return {
        "backbone": name,
        "loss": round(losses.valid, 4),
        "train_loss": round(sum(last) / len(last), 4),
        "steps": trainer.step,
        "seconds": round(spent, 2),
        "frames_per_second": round(trainer.step * BATCH_SECONDS * FRAME_RATE / spent),
        "parameters": count_parameters(model),
        "layers": layers,
        "state_bytes": state_bytes(model.initial_state(1)),
        "rate": rate,
        "curve": [round(loss, 3) for loss in losses.steps],
    }


def start_again(trainer: Any, initial: dict[str, torch.Tensor], hooks: Losses) -> None:
    """Put weights, moments and the step back in place: captured graphs keep their addresses."""
    trainer.model.load_state_dict(initial)
    for state in trainer.optimizer.state.values():
        for value in state.values():
            value.zero_()
    trainer.norms, trainer.step, trainer.hooks = NormStatistics(), 0, hooks


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def table(results: list[dict[str, Any]]) -> str:
    """Markdown, by loss."""
    lines = [
        "| backbone | layers | parameters | steps | frames/s in training | state per stream | loss, held out |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    ranked = sorted(results, key=lambda one: one.get("loss", math.inf))
    for one in ranked:
        if "error" in one:
            lines.append(f"| {one['backbone']} | {one['error']} |  |  |  |  |  |")
            continue
        lines.append(
            f"| {one['backbone']} | 2 x {one['layers']} | {one['parameters'] / 1e6:.1f} M | {one['steps']:,} | "
            f"{one['frames_per_second']:,} | {one['state_bytes'] / 1e3:,.0f} kB | {one['loss']:.3f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("tokens", help="make the file of tokens of a run's corpus")
    pack.add_argument("run", type=Path)
    pack.add_argument("--out", type=Path, required=True)
    run = commands.add_parser("train", help="train all backbones in turn")
    run.add_argument("tokens", type=Path)
    run.add_argument("--seconds", type=float, default=7.5, help="of training, each")
    run.add_argument("--rate", type=float, default=2e-3, help="learning rate, as specs/voice.yaml has it")
    run.add_argument("--only", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    run.add_argument("--together", type=int, default=6, help="processes at once; each takes about 12 GB")
    run.add_argument("--warm", type=float, default=120.0, help="seconds in which all have to be warm")
    run.add_argument("--warm-steps", type=int, default=WARM_STEPS)
    run.add_argument("--limit", type=float, default=1e6, help="seconds after which no further one begins")
    run.add_argument("--device", default="cuda")
    run.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "tokens":
        pack_tokens(arguments.run, arguments.out)
        return 0
    compare(arguments)
    return 0


def compare(arguments: argparse.Namespace) -> None:
    """Train all, so many processes at once as fit in the GPU's memory, and print the table."""
    began, names = time.perf_counter(), list(arguments.only)
    results: list[dict[str, Any]] = []
    for first in range(0, len(names), arguments.together):
        for answer in take_turns(names[first : first + arguments.together], arguments, began):
            results.append(answer)
            brief = {key: value for key, value in answer.items() if key != "curve"}
            print(f"{time.perf_counter() - began:.0f} s: {json.dumps(brief)}", flush=True)
            if arguments.json:
                _write(arguments, results)
    print(table(results))


def take_turns(names: Sequence[str], arguments: argparse.Namespace, began: float) -> Iterator[dict[str, Any]]:
    """Start a process for each, wait until all are warm, and give each its turn."""
    started, context = time.perf_counter(), multiprocessing.get_context("spawn")
    waiting = []
    for name in names:
        ours, theirs = context.Pipe()
        settings = (name, arguments.tokens, arguments.seconds, arguments.rate, arguments.device)
        process = context.Process(target=train, args=(*settings, arguments.warm_steps, theirs), daemon=True)
        process.start()
        waiting.append((name, process, ours))
    late = set()
    for name, process, pipe in waiting:
        if pipe.poll(max(0.0, arguments.warm - (time.perf_counter() - started))):
            print(f"{name}: warm after {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        else:
            process.kill()  # its compiling would disturb the others
            late.add(name)
    for name, process, pipe in waiting:
        if name in late:
            yield {"backbone": name, "error": f"not warm after {arguments.warm:g} s"}
        elif time.perf_counter() - began > arguments.limit:
            process.kill()
            yield {"backbone": name, "error": f"left out: {arguments.limit:g} s are over"}
        else:
            answer = pipe.recv()
            if answer == "ready":
                pipe.send("go")
                answer = pipe.recv()
            process.join(5)
            yield answer


def _write(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU",
        "torch": torch.__version__,
        "kernel_variants": os.environ.get(VARIANTS),
        "seconds": arguments.seconds,
        "rate": arguments.rate,
        "tokens": arguments.tokens.name,
    }
    arguments.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
