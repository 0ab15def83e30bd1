"""All installed backbones on the same spec, data and number of steps: one table, and JSON for machines.

    python -m benchmarks.backbones --device cpu --steps 30
    python -m benchmarks.backbones --device cuda --steps 360 --json benchmarks/backbones-cuda.json
    python -m benchmarks.backbones --only NAME NAME -- train.batch_seconds=15 backbone.d_model=512

The data is real and goes through lina's own stages: the spec's corpus, codec and tokenizer, encoded once. Every
backbone gets the spec's width, its own default configuration (the spec's, if the spec names it), and as many layers as
come nearest to the size of the spec's own backbone. Each trains for ``--steps`` steps in a process of its own, then is
stepped as in speaking, 1 and 16 streams at once. A failure or a timeout is a row that says so, and exit code 1.

Frames/s in training is the median of steps after the first, padding not counted. In decoding it is greedy steps of
the whole model, in float32. The state is that of one stream of the whole model. Peak memory is what PyTorch allocated
on the GPU in training; on a CPU it is the whole process. The validation loss is in nats a code.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.backbone_run import ROWS, backbone_parameters
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import LinaError
from lina.core.registry import find, records
from lina.data.prepare import prepare
from lina.runs.device import choose_device, choose_precision
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("spec", "overrides", "device", "precision", "steps", "reference")
"""Settings that all rows of one table share."""


def main() -> int:
    options = arguments()
    try:
        results = benchmark(options)
    except LinaError as error:
        print(f"backbones: error: {error}", file=sys.stderr)
        return 2
    print(table(results))
    return 1 if any("error" in row for row in results["backbones"].values()) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the spec, as for lina run")
    parser.add_argument("--spec", type=Path, default=ROOT / "specs/first.yaml")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each (default 100)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these backbones instead of all installed")
    parser.add_argument(
        "--timeout", type=float, default=600.0, help="seconds for each backbone (default 600)"
    )
    parser.add_argument("--decode-seconds", type=float, default=2.0, help="of each decoding (default 2)")
    parser.add_argument("--json", type=Path, help="write here; rows of the same settings that are there stay")
    return parser.parse_args()


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is asked; what is known is written after each backbone.

    Raises:
        LinaError: the spec, a name, or the file to add to is wrong.
    """
    overrides = [
        "data.valid=0.2",  # the spec may hold nothing back
        *options.overrides,
        f"train.steps={options.steps}",
        f"train.valid_every={options.steps}",
        f"train.checkpoint_every={options.steps}",
        f"train.device={options.device}",
        "train.keep=1",
    ]
    resolved = resolve(load_spec(options.spec, overrides))
    device = choose_device(options.device)
    names = options.only or sorted({record.name for record in records("backbone") if record.allowed})
    for name in names:
        find("backbone", name)
    size = backbone_parameters(resolved, resolved.spec.backbone.n_layers)
    reference = resolved.spec.backbone
    results = {
        "spec": _shown(options.spec),
        "overrides": options.overrides,
        "device": options.device,
        "steps": options.steps,
        "precision": str(choose_precision(resolved.spec.train.precision, device)).removeprefix("torch."),
        "reference": f"{reference.plugin}, {reference.n_layers} layers of width {reference.d_model}, twice",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": os.environ.get("LINA_COMMIT") or _commit(),
        "backbones": {},
    }
    if options.json and options.json.exists():
        results["backbones"] = _earlier(options.json, results)
    with tempfile.TemporaryDirectory(prefix="lina-backbones-") as folder:
        work = Path(folder)
        (work / "data").mkdir()
        prepare(Run(work / "data", resolved.spec), resolved, build_manager(()).hook)
        for name in names:
            began = time.perf_counter()
            own = [*overrides, f"backbone.plugin={name}"] if name != reference.plugin else overrides
            row = measure_apart(options, own, work, size, name)
            results["backbones"][name] = row
            outcome = f"failed: {row['error']}" if "error" in row else "done"
            print(f"{name}: {outcome} ({time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def measure_apart(
    options: argparse.Namespace, overrides: list[str], work: Path, size: int, name: str
) -> dict[str, Any]:
    """One backbone in a process of its own, so that memory is its own and a crash is one row."""
    out = work / f"{name}.json"
    command = [sys.executable, "-m", "benchmarks.backbone_run", f"--work={work}", f"--out={out}"]
    command += [f"--parameters={size}", f"--decode-seconds={options.decode_seconds}"]
    command += ["--", str(options.spec), *overrides]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stderr=complaints, stdout=complaints, start_new_session=True)
        try:
            process.wait(options.timeout)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {options.timeout:g} s"}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if out.exists():
            row: dict[str, Any] = json.loads(out.read_text())
            return row
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    return {"error": f"exit code {process.returncode}: {lines[-1] if lines else 'nothing was said'}"}


def table(results: dict[str, Any]) -> str:
    """Markdown, the best validation loss first."""
    lines = [
        f"{results['spec']} on {results['device']}, {results['steps']} steps each, in {results['precision']}; "
        f"sizes near {results['reference']}.",
        "",
        "| backbone | layers | parameters | kernels | training, frames/s | "
        + " | ".join(f"decoding × {rows}, frames/s" for rows in ROWS)
        + " | state, KiB | peak, MiB | validation loss |",
        "|---|" + "---:|" * 2 + "---|" + "---:|" * (4 + len(ROWS)),
    ]
    rows = results["backbones"]
    for name in sorted(rows, key=lambda name: (rows[name].get("validation_loss") or float("inf"), name)):
        row = rows[name]
        if "error" in row:
            lines.append(f"| {name} | {row['error']} |" + " |" * (7 + len(ROWS)))
            continue
        loss = row["validation_loss"]
        cells = [
            f"2 × {row['n_layers']}",
            f"{row['parameters'] / 1e6:.2f} M",
            "fast" if any("fused kernels" in line for line in row["log"]) else "plain",
            f"{row['training_frames_per_second']:,.0f}",
            *(f"{pace:,.0f}" for pace in row["decode_frames_per_second"].values()),
            f"{row['state_bytes'] / 1024:,.0f}",
            f"{row['peak_memory_bytes'] / 2**20:,.0f}",
            "none held" if loss is None else f"{loss:.3f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _earlier(path: Path, now: dict[str, Any]) -> dict[str, Any]:
    try:
        before = json.loads(path.read_text())
        rows: dict[str, Any] = before["backbones"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LinaError(f"{path}: is no result of this benchmark; choose another --json") from None
    for key in KEPT:
        if before.get(key) != now[key]:
            raise LinaError(
                f"{path}: was made with {key} {before.get(key)!r}, not {now[key]!r}; "
                "delete it, or choose another --json"
            )
    return rows


def _shown(path: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT) if resolved.is_relative_to(ROOT) else path.name)


def _commit() -> str | None:
    selection = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return selection.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
