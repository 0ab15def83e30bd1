"""Several ranks beside one: throughput on GPUs, equality and resumption on CPUs.

    python -m benchmarks.scale gpus --json benchmarks/scale.json     GLA of 230 million by DDP, of 1 billion by FSDP2
    python -m benchmarks.scale gpu --json benchmarks/scale.json      one GPU: both models, and two ranks that share it
    python -m benchmarks.scale ranks --json benchmarks/scale.json    1 to 8 CPU ranks: ledgers, losses, weights
    python -m benchmarks.scale kills --kills 20 --stops 5 --json benchmarks/scale.json

Ranks are started by torch's elastic launcher. ``kills`` sends SIGKILL or SIGSTOP to a rank drawn at random, at random
moments; the launcher starts all ranks again, and the run must equal one that nothing has interrupted. Parts that are
not run are kept in the file.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

WARMUP, STEPS = 4, 8


def on_ranks(
    ranks: int, function: Callable[..., Any], *arguments: Any, start: str = "spawn", restarts: int = 0
) -> Any:
    """Result of ``function(*arguments)`` on rank 0."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=restarts,
        start_method=start,
        # Seconds that torch's launcher gives a stopped rank before it kills it; 30 where it cannot be told.
        **({"shutdown_timeout": 5} if "shutdown_timeout" in LaunchConfig.__dataclass_fields__ else {}),  # type: ignore[arg-type]
    )
    return elastic_launch(config, function)(*arguments)[0]


def on_gpus(steps: int) -> dict[str, Any]:
    """Throughput of one GPU and two, for both models, and the losses of a run that resumes."""
    from benchmarks.scale_gpu import resumed, throughput

    # Baselines of both models at once, each on a GPU of its own.
    with ThreadPoolExecutor(2) as pool:
        jobs = [("gla-230m", "0"), ("gla-1b", "1")]
        alone = list(pool.map(lambda job: _alone(job[0], job[1], steps), jobs))
    rows = [
        *alone,
        on_ranks(2, throughput, "gla-230m", 4, "ddp", WARMUP, steps),
        on_ranks(2, throughput, "gla-1b", 4, "fsdp", WARMUP, steps),
    ]
    with tempfile.TemporaryDirectory() as folder:
        whole = on_ranks(1, resumed, f"{folder}/whole", 12, "ddp")
        parts = [
            on_ranks(ranks, resumed, f"{folder}/parts", until, parallel)
            for ranks, until, parallel in ((2, 4, "ddp"), (1, 8, "ddp"), (2, 12, "fsdp"))
        ]
    return {
        "throughput": rows,
        "resumed": {"whole": whole["losses"], "two_one_two": parts[-1]["losses"]},
        "gpu": torch.cuda.get_device_name(),
        "kernel_variants": os.environ.get("LINA_KERNEL_VARIANTS", ""),
    }


def on_one_gpu(steps: int) -> dict[str, Any]:
    """Throughput of both models on one GPU, and two ranks that share it: losses, not speed."""
    from benchmarks.scale_gpu import resumed, sharing

    rows = [_alone(model, "0", steps) for model in ("gla-230m", "gla-1b")]
    print(json.dumps(rows), flush=True)
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        losses["1"] = on_ranks(1, resumed, f"{folder}/whole", 6, "ddp")["losses"]
        for parallel in ("ddp", "fsdp"):
            try:
                losses[f"2 {parallel}"] = on_ranks(2, sharing, f"{folder}/{parallel}", 6, parallel)["losses"]
            except ChildFailedError as error:
                losses[f"2 {parallel}"] = str(error)[-2000:]
    return {
        "throughput": rows,
        "shared": losses,
        "gpu": torch.cuda.get_device_name(),
        "kernel_variants": os.environ.get("LINA_KERNEL_VARIANTS", ""),
    }


def _alone(model: str, device: str, steps: int) -> dict[str, Any]:
    import subprocess

    code = (
        "import json; from benchmarks.scale_gpu import throughput; "
        f"print('RESULT', json.dumps(throughput({model!r}, 4, 'ddp', {WARMUP}, {steps})))"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(found[0].removeprefix("RESULT "))
    return result


def table(results: dict[str, Any]) -> list[str]:
    """The results as lines of Markdown."""
    lines = []
    if gpus := results.get("gpus") or results.get("gpu"):
        lines += [
            "| model | parameters | ranks | frames/s | of one GPU | peak GiB per GPU | losses differ by |"
        ]
        lines += ["|---|---:|---|---:|---:|---:|---:|"]
        alone = {row["model"]: row for row in gpus["throughput"] if row["ranks"] == 1}
        for row in gpus["throughput"]:
            one = alone[row["model"]]
            ratio = row["frames_per_second"] / one["frames_per_second"]
            apart = max(abs(a - b) / b for a, b in zip(row["losses"], one["losses"], strict=True))
            ranks = f"{row['ranks']} {row['parallel']}".strip()
            size = f"{row['parameters']:,} | {ranks} | {row['frames_per_second']:,}"
            lines.append(f"| {row['model']} | {size} | {ratio:.2f} | {row['peak_gib']} | {apart:.1e} |")
    for row in results.get("ranks", {}).get("runs", []):
        lines.append(f"ranks {row}")
    if kills := results.get("kills"):
        lines.append(f"kills {kills}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("gpus", "gpu", "ranks", "kills"))
    parser.add_argument("--json", type=Path, help="add the results to this file")
    parser.add_argument("--steps", type=int, default=STEPS, help="timed steps, of gpus")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.part == "gpus":
        found = on_gpus(options.steps)
    elif options.part == "gpu":
        found = on_one_gpu(options.steps)
    else:
        from benchmarks.scale_cpu import equal_ranks, interrupt

        found = (
            equal_ranks()
            if options.part == "ranks"
            else interrupt(options.kills, options.stops, options.seed)
        )
    found |= {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
    }
    results = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    results[options.part] = found
    print("\n".join(table(results)))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
