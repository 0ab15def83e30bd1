"""Associative recall and parity in miniature: the tasks that a backbone's recurrence can learn.

    python -m benchmarks.recall --only gla mamba --task recall --rates 0.003 --seeds 0
    python -m benchmarks.recall --device cuda --jobs 12 --json benchmarks/recall.json
    python -m benchmarks.recall --task parity --only kda kda+allow_neg_eigval --frames 24 --steps 400 --rows 32

*Recall* (multi-query associative recall, Arora et al. 2023, "Zoology", arXiv 2312.04927): pairs of a key and a value,
then keys drawn from them; at each of these the value is to be predicted. Chance is one in the number of pairs. *Parity*
(Grazzi et al. 2024, arXiv 2411.12537): the parity of all bits so far; chance is 1/2. The last quarter is counted, of
sequences as long as in training and twice as long, which a memory whose sign cannot change does not solve.

Each backbone has 2 layers of width 64 and 4,096 floats of recurrent state per layer (the transformer a window over the
whole sequence), an embedding and a linear head. AdamW with warm-up and a cosine schedule; every step draws new
sequences, and accuracy is that of 256 others. The table shows the best learning rate by the mean over seeds, and its
worst seed. All rates and seeds of a backbone and task are trained side by side, on a GPU as CUDA graphs on streams of
their own. Results that the file of ``--json`` has are kept.
"""

import argparse
import json
import math
import multiprocessing
import platform
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmarks.recall_tasks import KEYS, Batch, Task
from lina.core.registry import load
from lina.core.state import named_leaves

WIDTH, LAYERS = 64, 2
TEST_ROWS = 256

TASKS = ("recall", "parity")

CONFIGS: dict[str, dict[str, Any]] = {
    "gla": {"n_heads": 2},
    "gla+short_conv": {"n_heads": 2, "short_conv": 4},
    "retnet": {"n_heads": 2},
    "retnet+short_conv": {"n_heads": 2, "short_conv": 4},
    "gated_deltanet": {"n_heads": 2},
    "gated_deltanet+a_max": {"n_heads": 2, "a_min": 0.01, "a_max": 0.3},
    "gated_deltanet+allow_neg_eigval": {"n_heads": 2, "allow_neg_eigval": True},
    "kda": {"n_heads": 1},
    "kda+allow_neg_eigval": {"n_heads": 1, "allow_neg_eigval": True},
    "rwkv6": {"n_heads": 1},
    "rwkv7": {"n_heads": 1},
    "rwkv7+removal_scale": {"n_heads": 1, "removal_scale": 1.5},
    "mamba": {"d_state": 32},
    "mamba+d_state_16": {"d_state": 16},
    "mamba+a_min": {"d_state": 32, "a_min": 0.1},
    "mamba2": {"d_state": 32},
    "transformer": {"window": 128},
}
"""Backbone, or backbone+option -> the configuration, which gives 4,096 floats of state per layer, but for the
transformer's window and mamba+d_state_16, which has half of that."""


class Model(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        plugin: Any = load("backbone", name.partition("+")[0])
        self.embedding = nn.Embedding(2 * KEYS, WIDTH)
        self.backbone: Any = plugin.build(
            d_model=WIDTH, n_layers=LAYERS, config=plugin.Config(**CONFIGS[name])
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 2 * KEYS)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        y, _ = self.backbone.parallel_forward(
            self.embedding(tokens), self.backbone.initial_state(len(tokens))
        )
        logits: Tensor = self.head(self.norm(y))
        return logits

    def state_floats(self) -> int:
        """Floats of the recurrent memories of one layer, without the tails of short convolutions and token shifts."""
        leaves = named_leaves(self.backbone.initial_state(1)).items()
        kept = [leaf for name, leaf in leaves if name.rpartition(".")[2] in ("memory", "keys", "values")]
        return sum(leaf.numel() for leaf in kept) // LAYERS


@dataclass(frozen=True)
class Trial:
    """Settings of one training."""

    backbone: str
    task: Task
    rate: float
    seed: int
    steps: int
    rows: int

    def key(self) -> dict[str, Any]:
        settings = asdict(self)
        task = settings.pop("task")
        return settings | {"task": task["name"], "pairs": task["pairs"], "frames": task["frames"]}


class Member:
    """One model of a group that is trained step by step, and its step as a CUDA graph on a stream of its own."""

    EAGER = 3
    """Steps before the graph is captured: kernels are compiled and buffers of the optimizer are made in them."""

    def __init__(self, trial: Trial, data: Batch, device: str) -> None:
        torch.manual_seed(trial.seed)
        self.trial, self.data = trial, data
        self.model = Model(trial.backbone).to(device)
        named = list(self.model.named_parameters())
        matrices = [p for name, p in named if name.endswith("weight") and p.dim() > 1]
        others = [p for name, p in named if not (name.endswith("weight") and p.dim() > 1)]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream() if device.startswith("cuda") else None
        self.rate = torch.zeros((), device=device)
        rate: Any = self.rate if self.stream else 0.0
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), capturable=bool(self.stream))
        self.tokens, self.targets = (torch.zeros_like(one[0], dtype=torch.int64) for one in data)
        self.loss = torch.zeros((), device=device)

    def advance(self, step: int) -> None:
        """Take a step, or have it begin on the GPU."""
        with torch.cuda.stream(self.stream):  # no stream: nothing
            self._set_rate(step)
            self.tokens.copy_(self.data[0][step])
            self.targets.copy_(self.data[1][step])
            if self.stream is None or step < self.EAGER:
                self._update()
                return
            if self.graph is None:
                self.stream.synchronize()
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph, stream=self.stream):
                    self._update()
            self.graph.replay()

    def _set_rate(self, step: int) -> None:
        steps = self.trial.steps
        warmup = max(1, steps // 10)
        rate = self.trial.rate * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        if self.stream is None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        else:
            self.rate.fill_(rate)

    def _update(self) -> None:
        logits = self.model(self.tokens).flatten(0, 1)
        loss = F.cross_entropy(logits, self.targets.flatten(), ignore_index=-100)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.loss.copy_(loss.detach())

    def result(self, device: str) -> dict[str, Any]:
        task, longer = self.trial.task, {}
        if task.name == "parity":
            double = replace(task, frames=2 * task.frames)
            longer = {"accuracy_at_twice": round(accuracy(self.model, double, device), 4)}
        return self.trial.key() | {
            "accuracy": round(accuracy(self.model, task, device), 4),
            **longer,
            "loss": round(self.loss.item(), 4),
            "state_floats": self.model.state_floats(),
            "parameters": sum(p.numel() for p in self.model.backbone.parameters()),
        }


def drawn(task: Task, seed: int, steps: int, rows: int, device: str) -> Batch:
    """Tokens and targets [steps, rows, frames] of a whole training, in 16 bits."""
    generator = torch.Generator().manual_seed(seed)
    batches = [[one.short() for one in task.draw(rows, generator)] for _ in range(steps)]
    tokens, targets = zip(*batches, strict=True)
    return torch.stack(tokens).to(device), torch.stack(targets).to(device)


def train(trials: list[Trial], device: str) -> list[dict[str, Any]]:
    """Train models of one backbone on one task side by side, and return their settings and accuracies."""
    torch.set_num_threads(1)
    began, first = time.perf_counter(), trials[0]
    data = {
        seed: drawn(first.task, seed, first.steps, first.rows, device)
        for seed in {trial.seed for trial in trials}
    }
    members = [Member(trial, data[trial.seed], device) for trial in trials]
    for step in range(first.steps):
        for member in members:
            member.advance(step)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    seconds = {"seconds": round(time.perf_counter() - began), "trained_together": len(trials)}
    return [member.result(device) | seconds for member in members]


@torch.no_grad()
def accuracy(model: Model, task: Task, device: str) -> float:
    tokens, targets = task.draw(TEST_ROWS, torch.Generator().manual_seed(10**6))
    right = model(tokens.to(device)).argmax(-1).cpu() == targets
    if task.name == "parity":
        return float(right[:, -(task.frames // 4) :].double().mean())
    return float(right[targets >= 0].double().mean())


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: of each backbone, number of steps and task the best rate, mean and worst accuracy over its seeds."""
    by_rate = defaultdict(list)
    for one in results:
        by_rate[one["backbone"], one["steps"], one["task"], one["rate"]].append(one)
    heads = ["backbone", "state per layer", "steps", "recall (worst seed)", "rate"]
    heads += ["parity (worst seed)", "at twice the length", "rate"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    order = list(CONFIGS)
    rows = {(one["backbone"], one["steps"]) for one in results}
    for name, steps in sorted(rows, key=lambda row: (order.index(row[0]), row[1])):
        state = next(one["state_floats"] for one in results if one["backbone"] == name)
        cells = [name, f"{state:,}", f"{steps:,}"]
        for task in TASKS:
            own = name, steps, task
            found = {rate: trials for (*key, rate), trials in by_rate.items() if tuple(key) == own}
            keys = ["accuracy", "accuracy_at_twice"] if task == "parity" else ["accuracy"]
            if not found:
                cells += [""] * (len(keys) + 1)
                continue
            best = max(found, key=lambda rate: sum(one["accuracy"] for one in found[rate]) / len(found[rate]))
            cells += [*(_mean_and_worst(found[best], key) for key in keys), f"{best:g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_and_worst(trials: list[dict[str, Any]], key: str) -> str:
    seeds = [one[key] for one in trials if key in one]
    return f"{sum(seeds) / len(seeds):.2f} ({min(seeds):.2f})" if seeds else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CONFIGS, default=list(CONFIGS), help="these backbones")
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--pairs", type=int, default=16, help="of keys and values, in recall")
    parser.add_argument("--frames", type=int, default=128, help="of a sequence")
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=64, help="of a batch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each for a backbone and task")
    parser.add_argument("--json", type=Path, help="write the results here, and skip those that it has")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        results = json.loads(options.json.read_text())["results"]
    tasks = [Task(name, options.pairs, options.frames) for name in options.task]
    trials = [
        Trial(name, task, rate, seed, options.steps, options.rows)
        for task in tasks
        for name in options.only
        for seed in options.seeds
        for rate in options.rates
    ]
    todo = [trial for trial in trials if not any(trial.key().items() <= one.items() for one in results)]
    groups = defaultdict(list)
    for trial in todo:
        groups[trial.backbone, trial.task.name].append(trial)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, max_tasks_per_child=1) as pool:
        running = {pool.submit(train, group, options.device): name for name, group in groups.items()}
        for done in as_completed(running):
            if error := done.exception():
                print(f"{running[done]} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
            results += done.result()
            for one in done.result():
                print(json.dumps(one), flush=True)
            if options.json:
                write(options.json, results, options.device)
    print(table(results))


def write(path: Path, results: list[dict[str, Any]], device: str) -> None:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": name or platform.machine(),
        "torch": torch.__version__,
    }
    path.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
