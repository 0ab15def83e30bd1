"""Losses of two versions of lina on equal data: the difference beside the scatter over seeds.

    git worktree add ../before eaf3689
    python -m benchmarks.same_losses ../before --json same_losses.json

Each version trains the voice's model on a GPU (or a smaller one, by KEY=VALUE) for ``--steps`` steps from each seed, in
a process of its own. The codes are a noisy function of the text, so the loss falls only as attention learns to read it.
Compared are means over the last tenth of the steps; they agree if they differ by no more than seeds of one version do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
TRAIN = """
import json, sys, tempfile, torch
from pathlib import Path
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_lm
from lina.runs.hooks import Run
from lina.training.trainer import Trainer

spec, seed, steps, *settings = sys.argv[1:]
draw = torch.Generator().manual_seed(0)
texts = [torch.randint(2, 90, (int(n),), generator=draw) for n in torch.randint(15, 60, (600,), generator=draw)]
book = torch.randint(0, 64, (90, 4), generator=draw)
codes = []
for text in texts:
    said = book[text].repeat_interleave(2, 0)
    noise = torch.randint(0, 64, said.shape, generator=draw)
    codes.append(torch.where(torch.rand(said.shape, generator=draw) < 0.2, noise, said))
count = len(texts)
data = TrainingData(codes.__getitem__, [len(one) for one in codes], [one.tolist() for one in texts], [1] * count,
                    [str(n) for n in range(count)], range(count), [], 25.0, "reading")
resolved = resolve(load_spec(Path(spec), [*settings, f"seed={seed}", f"train.steps={steps}"]))
model = build_lm(resolved, codebook_sizes=(64,) * 4, vocab_size=90, speakers=1, seed=int(seed))
losses, speeds = [], []
class Listener:
    def step_done(self, *, metrics, **rest):
        losses.append(metrics["loss"]); speeds.append(metrics["frames/s"])
    def __getattr__(self, name): return lambda **rest: []
with tempfile.TemporaryDirectory() as scratch:
    trainer = Trainer(Run(Path(scratch), resolved.spec), model, data, Listener())
    for _ in range(int(steps)): trainer.advance()
    getattr(trainer, "collect", lambda: None)()
print(json.dumps({"losses": losses, "frames_per_second": sorted(speeds)[len(speeds) // 2]}))
"""


def trained(checkout: Path, spec: Path, seed: int, steps: int, settings: list[str]) -> dict[str, Any]:
    """Losses of each step and the median speed, by the code in ``checkout``."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])
    }
    command = [sys.executable, "-c", TRAIN, str(spec), str(seed), str(steps), *settings]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"same_losses: {checkout} failed:\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def end_of(losses: list[float]) -> float:
    """Mean over the last tenth."""
    return statistics.fmean(losses[-max(1, len(losses) // 10) :])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of the other version")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of lina's specs, for both")
    parser.add_argument("--spec", type=Path, default=ROOT / "specs" / "voice.yaml")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, which share the machine")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    checkouts = {"before": arguments.before.resolve(), "now": ROOT}
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "steps": arguments.steps,
        "settings": arguments.settings,
        "runs": {name: {} for name in checkouts},
    }
    ends: dict[str, list[float]] = {name: [] for name in checkouts}
    pairs = [(seed, name) for seed in arguments.seeds for name in checkouts]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = pool.map(
            lambda pair: trained(
                checkouts[pair[1]], arguments.spec, pair[0], arguments.steps, arguments.settings
            ),
            pairs,
        )
        for (seed, name), run in zip(pairs, runs, strict=True):
            ends[name].append(end_of(run["losses"]))
            found["runs"][name][seed] = run | {"losses": [round(loss, 4) for loss in run["losses"]]}
            print(
                f"{name:7} seed {seed}: {ends[name][-1]:.4f} at the end, {run['frames_per_second']:,.0f} frames/s",
                flush=True,
            )
    difference = statistics.fmean(ends["now"]) - statistics.fmean(ends["before"])
    scatter = max(max(one) - min(one) for one in ends.values())
    found |= {
        "ends": ends,
        "difference": difference,
        "scatter": scatter,
        "agree": abs(difference) <= scatter,
    }
    print(f"difference of means {difference:+.4f}, scatter over seeds {scatter:.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found) + "\n")
    return 0 if found["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
