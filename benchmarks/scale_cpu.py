"""Ranks on a CPU, by gloo: 1, 2, 4 and 8 of them train alike, and runs whose ranks are killed or stopped resume."""

import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults_runs import ROOT, SMALL, weights
from benchmarks.scale import on_ranks
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.pipeline.speech_job import run_spec
from lina.runs.hook_manager import build_manager
from lina.runs.metrics import read_metrics
from lina.training.trainer import Trainer

ROUNDING = 1e-6
"""Bound of the mean difference of a tensor's numbers, which a step exceeds ten thousand times."""


def train(out: str, steps: int, silence: float) -> None:
    """Entry point of a rank: run the small spec; write its utterances of each step to the ledger of this rank."""
    torch.set_num_threads(1)
    advance, rank = Trainer.advance, os.environ["RANK"]
    (Path(out) / "pids").mkdir(parents=True, exist_ok=True)
    (Path(out) / "pids" / rank).write_text(str(os.getpid()))

    def recorded(trainer: Trainer, stopping: Callable[[], bool] = lambda: False) -> bool:
        step = trainer.step + 1
        numbers = trainer.micro_batches.numbers(step)
        own = {
            number: [trainer.data.ids[i] for row in numbers[number] for i in row]
            for number in trainer.micro_batches.own
        }
        stopped = advance(trainer, stopping)
        with (Path(out) / f"ledger-{rank}.jsonl").open("a") as file:
            file.write(json.dumps([step, own]) + "\n")
        return stopped

    Trainer.advance = recorded  # type: ignore[method-assign, assignment]
    overrides = (
        *SMALL,
        *("train.accumulate=8", f"train.steps={steps}", f"train.out={out}", "train.device=cpu"),
        *("train.precision=float32", f"train.patience.silence={silence}", "data.workers=1"),
    )
    run_spec(resolve(load_spec(ROOT / "specs" / "first.yaml", overrides)), build_manager(()).hook)


def ledger(out: Path) -> dict[str, list[str]]:
    """Utterances by step and micro-batch, on whatever rank: of a step that was repeated, those of the last time."""
    found: dict[str, list[str]] = {}
    for file in sorted(out.glob("ledger-*.jsonl")):
        for line in file.read_text().split("\n")[:-1]:
            step, own = json.loads(line)
            found |= {f"{step}/{number}": ids for number, ids in own.items()}
    return found


def equal_ranks(steps: int = 20) -> dict[str, Any]:
    """Ledgers, losses and weights on 1, 2, 4 and 8 ranks."""
    with tempfile.TemporaryDirectory() as folder:
        out = {ranks: Path(folder) / f"on{ranks}" for ranks in (1, 2, 4, 8)}
        for ranks, directory in out.items():
            on_ranks(ranks, train, str(directory), steps, 60.0, start="fork")
        one, runs = out[1], []
        expected, losses = weights(one), [line.loss for line in read_metrics(one)]
        for ranks, directory in out.items():
            found = weights(directory)
            apart = {
                name: float((value.double() - found[name].double()).abs().mean())
                for name, value in expected.items()
            }
            other = [line.loss for line in read_metrics(directory)]
            runs.append(
                {
                    "ranks": ranks,
                    "same_ledger": ledger(directory) == ledger(one),
                    "micro_batches": len(ledger(directory)),
                    "loss_difference": max(abs(a - b) / abs(b) for a, b in zip(other, losses, strict=True)),
                    "tensors": len(apart),
                    "tensors_above_bound": {name: value for name, value in apart.items() if value > ROUNDING},
                    "largest_difference": max(apart.values()),
                }
            )
    return {"steps": steps, "bound": ROUNDING, "runs": runs}


def interrupt(kills: int, stops: int, seed: int, ranks: int = 2, steps: int = 240) -> dict[str, Any]:
    """Kill and stop ranks of one run at random, which the launcher starts again, and compare it with a whole one."""
    draw, signals = random.Random(seed), [signal.SIGKILL] * kills + [signal.SIGSTOP] * stops
    draw.shuffle(signals)
    with tempfile.TemporaryDirectory() as folder:
        whole, out = Path(folder) / "whole", Path(folder) / "run"
        began = time.perf_counter()
        on_ranks(ranks, train, str(whole), steps, 60.0, start="fork")
        duration = time.perf_counter() - began
        sent: list[str] = []
        ended = threading.Event()

        def interrupt_ranks() -> None:
            for number in signals:
                rank = draw.randrange(ranks)
                before = _newest(out)
                # Each start gets at least one step, or the run would never end.
                while not ended.wait(0.05) and _newest(out) == before:
                    pass
                if ended.wait(draw.uniform(0.0, 1.0)):
                    return
                pid = int((out / "pids" / str(rank)).read_text())
                os.kill(pid, number)
                sent.append(f"{signal.Signals(number).name} to rank {rank} after step {_newest(out)}")
                while not ended.wait(0.05) and pid == int((out / "pids" / str(rank)).read_text() or 0):
                    pass

        thread = threading.Thread(target=interrupt_ranks, daemon=True)
        thread.start()
        on_ranks(ranks, train, str(out), steps, 3.0, start="fork", restarts=len(signals))
        ended.set()
        thread.join()
        expected, found = weights(whole), weights(out)
        return {
            "ranks": ranks,
            "steps": steps,
            "killed": sum("KILL" in one for one in sent),
            "stopped": sum("STOP" in one for one in sent),
            "same_ledger": ledger(out) == ledger(whole),
            "same_weights": all(value.equal(found[name]) for name, value in expected.items()),
            "same_losses": [line.loss for line in read_metrics(out)]
            == [line.loss for line in read_metrics(whole)],
            "seconds_whole": round(duration, 1),
            "seconds": round(time.perf_counter() - began - duration, 1),
            "sent": sent,
        }


def _newest(out: Path) -> str:
    return max((one.name for one in (out / "checkpoints").glob("step-*")), default="")
