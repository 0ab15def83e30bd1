"""Speed and memory of training on a GPU: lina's backbones beside transformers' MusicGen decoder, in one run.

    python -m benchmarks.train --json train.json                 GLA of 232.6 million parameters, and its peers
    python -m benchmarks.train --models small --jobs 5 --json train-small.json   all backbones at the width of gla-60m
    python -m benchmarks.train --models voice --json train.json  the shipped voice's model, in steps per second

Each model is trained by itself in a process of its own, on random codes: lina's by ``Trainer``, as ``lina run`` does,
MusicGen's decoder by forward pass, backward pass and fused AdamW alone; the host waits for the GPU every few steps.
With ``--jobs``, several are started side by side, and timed one after the other, when all of them are warm.
``seconds_to_step_10`` counts from the building of the trainer. Model FLOP utilization is 6 x parameters x
frames per second over the peak of bfloat16 products.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from multiprocessing.managers import SyncManager
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import torch

from benchmarks.decode_models import CODEBOOKS, PLACEHOLDERS, ROOT, TEXT
from benchmarks.decode_peers import HEADS, LAYERS, WIDTH

FRAME_RATE = 75.0
PEAK = 989e12
"""Dense bfloat16 products per second of an H100 or H200, as its datasheet has it."""
LARGE, SMALL = "specs/lina_speech/gla-230m.yaml", "specs/lina_speech/gla-60m.yaml"
VOICE = "specs/voice.yaml"
SHAPES_SECONDS = 60.0
WAIT = 300.0
"""Longest wait, in seconds, for the other models of a group."""
SMALL_BACKBONES = (
    *("gla", "retnet", "rwkv6", "rwkv7", "mamba", "mamba2", "gated_deltanet", "kda", "transformer"),
)


class Turn:
    """Entered by each process of a group once all have come so far, one after the other."""

    def __init__(self, manager: SyncManager, processes: int) -> None:
        self.barrier, self.lock = manager.Barrier(processes), manager.Lock()

    def __enter__(self) -> None:
        with suppress(BrokenBarrierError):  # another process has failed, or is slow
            self.barrier.wait(WAIT)
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def lina(
    turn: AbstractContextManager[Any],
    spec: str,
    plugin: str,
    rows: int,
    frames: int,
    steps: int,
    settings: list[str],
) -> dict[str, Any]:
    """Train ``rows`` utterances of ``frames`` frames per step."""
    from lina.config.loader import load_spec
    from lina.config.resolve import resolve
    from lina.data.training_data import TrainingData
    from lina.runs.build_model import build_lm, count_parameters
    from lina.runs.hooks import Run
    from lina.training.trainer import Trainer

    config = "{n_heads: 4}" if plugin == "gla" else "{}"
    total = 10 + steps
    resolved = resolve(
        load_spec(
            ROOT / spec,
            [
                *PLACEHOLDERS,
                f"backbone.plugin={plugin}",
                f"backbone.config={config}",
                "train.gradient_checkpointing=false",
                f"train.batch_seconds={(rows * frames + 0.5) / FRAME_RATE}",
                *("train.device=cuda", "train.precision=bfloat16", f"train.steps={max(total, 1000)}"),
                *settings,
            ],
        )
    )
    draw = torch.Generator().manual_seed(0)
    count = 4 * rows
    codes = [torch.randint(0, 1024, (frames, len(CODEBOOKS)), generator=draw) for _ in range(count)]
    texts = [torch.randint(2, 200, (TEXT,), generator=draw).tolist() for _ in range(count)]
    names = [str(number) for number in range(count)]
    data = TrainingData(
        codes.__getitem__, [frames] * count, texts, [1] * count, names, range(count), [], FRAME_RATE, "random"
    )
    model = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=256, speakers=1, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        listener = Losses()
        torch.cuda.init()
        began = time.perf_counter()
        trainer = Trainer(Run(Path(scratch), resolved.spec), model, data, listener)
        for _ in range(10):
            trainer.advance()
        trainer.collect()
        start = time.perf_counter() - began
        torch.cuda.reset_peak_memory_stats()
        parameters = count_parameters(model)
        with turn:
            measured = timed(trainer.advance, trainer.collect, steps, rows * frames, parameters)
        start = round(start, 1)
        return {
            "parameters": parameters,
            "seconds_to_step_10": start,
            **measured,
            "losses": listener.each_step,
        }


def voice(turn: AbstractContextManager[Any], steps: int, settings: list[str]) -> dict[str, Any]:
    """Train the shipped voice's model on random utterances as long as sentences are."""
    from benchmarks.captured_training import LETTERS, speech
    from lina.config.loader import load_spec
    from lina.config.resolve import resolve
    from lina.runs.build_model import build_lm, count_parameters
    from lina.runs.hooks import Run
    from lina.training.trainer import Trainer

    resolved = resolve(load_spec(ROOT / VOICE, ["train.device=cuda", "train.precision=bfloat16", *settings]))
    model = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=LETTERS, speakers=1, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        listener = Losses()
        began = time.perf_counter()
        trainer = Trainer(Run(Path(scratch), resolved.spec), model, speech(6000, len(CODEBOOKS)), listener)
        for _ in range(10):
            trainer.advance()
        trainer.collect()
        start, began = time.perf_counter() - began, time.perf_counter()
        # Each shape is captured once; what counts is the speed after that.
        while time.perf_counter() - began < SHAPES_SECONDS:
            trainer.advance()
        with turn:
            speed = steps_per_second(trainer.advance, trainer.collect, steps)
        return {
            "parameters": count_parameters(model),
            "seconds_to_step_10": round(start, 1),
            "steps_per_second": round(speed, 1),
            "peak_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
            "losses": listener.each_step,
        }


class Losses:
    """Hooks that take down the loss of each step."""

    def __init__(self) -> None:
        self.each_step: list[float] = []

    def step_done(self, *, metrics: dict[str, Any], **rest: Any) -> None:
        self.each_step.append(round(metrics["loss"], 5))

    def __getattr__(self, name: str) -> Any:
        return lambda **rest: []


def musicgen(turn: AbstractContextManager[Any], rows: int, frames: int, steps: int) -> dict[str, Any]:
    """transformers' MusicGen decoder with the same text length, its default attention, in bfloat16 autocast."""
    from transformers import MusicgenDecoderConfig
    from transformers.models.musicgen.modeling_musicgen import MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        vocab_size=1024,
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        ffn_dim=4 * WIDTH,
        num_codebooks=len(CODEBOOKS),
        max_position_embeddings=frames,
        dropout=0.0,
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model: Any = MusicgenForCausalLM(config).train()
        tokens = torch.randint(0, 1024, (rows * len(CODEBOOKS), frames))
        targets = torch.randint(0, 1024, (rows * len(CODEBOOKS) * frames,))
        text = torch.randn(rows, TEXT, WIDTH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    losses = []

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(input_ids=tokens, encoder_hidden_states=text, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, -2), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())

    for _ in range(3):
        step()
    torch.cuda.reset_peak_memory_stats()
    parameters = sum(one.numel() for one in model.parameters())
    with turn:
        measured = timed(step, lambda: losses[-1].item(), steps, rows * frames, parameters)
    return {"parameters": parameters, **measured}


def timed(step: Any, wait: Any, steps: int, frames: int, parameters: int) -> dict[str, Any]:
    """Frames per second, the use of the GPU, and the most memory that was reserved, that of CUDA graphs too."""
    speed = frames * steps_per_second(step, wait, steps)
    return {
        "frames_per_second": round(speed),
        "model_flop_utilization": round(6 * parameters * speed / PEAK, 4),
        "peak_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }


def steps_per_second(step: Any, wait: Any, steps: int) -> float:
    """Of the median of five runs of a fifth of the steps, at whose ends alone the host waits for the GPU."""
    fifth, speeds = max(1, steps // 5), []
    for _ in range(5):
        wait()
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(fifth):
            step()
        wait()
        torch.cuda.synchronize()
        speeds.append(fifth / (time.perf_counter() - began))
    return sorted(speeds)[2]


def subjects(models: str, steps: int, settings: list[str]) -> dict[str, tuple[Any, ...]]:
    """Functions and their arguments by name."""
    if models == "large":
        return {
            "musicgen": (musicgen, 16, 2000, steps),
            "gla": (lina, LARGE, "gla", 16, 2000, steps, settings),
            "transformer": (lina, LARGE, "transformer", 16, 2000, steps, settings),
        }
    if models == "voice":
        return {"voice": (voice, 400, settings)}
    return {name: (lina, SMALL, name, 8, 2000, steps, settings) for name in SMALL_BACKBONES}


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The names in groups of ``size``."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of lina's specs")
    parser.add_argument("--models", choices=("large", "small", "voice"), default="large")
    parser.add_argument("--only", nargs="+", help="these of the models")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, after ten others")
    parser.add_argument("--jobs", type=int, default=1, help="models that are started side by side")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "train: there is no CUDA device\n")
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "models": {},
    }
    context = multiprocessing.get_context("spawn")
    chosen = subjects(arguments.models, arguments.steps, arguments.settings)
    names = [name for name in chosen if not arguments.only or name in arguments.only]
    with context.Manager() as manager:
        for group in batched(names, arguments.jobs):
            turn = Turn(manager, len(group))
            with ProcessPoolExecutor(len(group), context) as pool:
                running = {pool.submit(chosen[name][0], turn, *chosen[name][1:]): name for name in group}
                for done in as_completed(running):
                    name, result = running[done], done.result()
                    found["models"][name] = result
                    brief = {key: value for key, value in result.items() if key != "losses"}
                    print(f"{name:16} {json.dumps(brief)}", flush=True)
                    if arguments.json:
                        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
