"""GPU memory and speed of training each model of specs/lina_speech, and the check against a card of 10 GB.

    python -m benchmarks.memory --json benchmarks/memory.json            all of them, a table as they come
    python -m benchmarks.memory --json benchmarks/memory.json --only gla-60m

Each runs lina's own training steps (forward, backward, AdamW, bfloat16 matrix products) on 8 rows of 2,000 frames of
random codes, with and without gradient checkpointing. The first two steps are not measured, for kernels try their
variants in them. Then memory is capped at what a card of 10 GiB leaves to PyTorch (0.5 GiB less: CUDA's context and
kernels), and another step shows whether that is enough. With --json, results of earlier calls are kept.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_lm, count_parameters
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run, hookimpl
from lina.training.trainer import train

ROOT = Path(__file__).resolve().parent.parent
SPECS = ("gla-60m", "gla-130m", "gla-230m", "mamba-60m", "rwkv6-60m")
NAMED = ("data.config.path=none", "codec.config.weights=none", "tokenizer.config.file=none")
"""Required settings of the specs, which random codes do not need."""
WARM, MEASURED = 2, 4
"""Steps; the one after runs under the cap."""
GIB = 2**30
CAP = 9.5 * GIB
CODEBOOKS, TOKENS = (1024,) * 4, 300
"""Of the audio; text ids a row, which are what 26 seconds of speech are written with."""


class Enough(Exception):
    """All that is to be known is known; no checkpoint has to be written."""


class Watch:
    """Hook plugin that measures between the steps."""

    def __init__(self, cuda: bool) -> None:
        self.cuda = cuda
        self.paces: list[float] = []
        self.peak: float | None = None
        """GiB that tensors took; ``reserved`` is with what the allocator held beside them."""
        self.reserved: float | None = None
        self.fits: bool | None = None

    @hookimpl
    def step_done(self, step: int, metrics: dict[str, Any]) -> None:
        if step <= WARM:
            self._forget_peak()
        elif step <= MEASURED:
            self.paces.append(metrics["frames/s"])
        else:
            self.fits = self.cuda or None
            raise Enough
        if step == MEASURED and not self.cuda:
            raise Enough
        if step == MEASURED:
            self.peak = torch.cuda.max_memory_allocated() / GIB
            self.reserved = torch.cuda.max_memory_reserved() / GIB
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, CAP / total))

    def _forget_peak(self) -> None:
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def measure(resolved: ResolvedSpec, rows: int, frames: int, vocabulary: int, device: str) -> dict[str, Any]:
    """Train a few steps. ``error`` says what went wrong, if anything but memory under the cap."""
    watch = Watch(device == "cuda")
    manager = build_manager(())
    manager.register(watch)
    model = build_lm(
        resolved, codebook_sizes=CODEBOOKS, vocab_size=vocabulary, speakers=0, seed=resolved.spec.seed
    )
    found: dict[str, Any] = {"parameters": count_parameters(model)}
    try:
        with tempfile.TemporaryDirectory() as folder, uncapped(device), contextlib.suppress(Enough):
            train(
                Run(Path(folder), resolved.spec), model, random_data(rows, frames, vocabulary), manager.hook
            )
    except torch.OutOfMemoryError as error:
        if watch.peak is None:
            found["error"] = first_line(error)
        else:
            watch.fits = False
    except Exception as error:  # a kernel that does not compile must not cost the other models their turn
        found["error"] = f"{type(error).__name__}: {first_line(error)}"
    if watch.peak is not None and watch.reserved is not None:
        found |= {"peak_gib": round(watch.peak, 3), "reserved_gib": round(watch.reserved, 3)}
    if watch.paces:
        found["frames_per_second"] = round(sum(watch.paces) / len(watch.paces), 1)
    return found | {"fits_10_gb": watch.fits}


def random_data(rows: int, frames: int, vocabulary: int) -> TrainingData:
    codes = torch.randint(0, min(CODEBOOKS), (rows, frames, len(CODEBOOKS)), generator=torch.manual_seed(0))
    texts = torch.randint(3, vocabulary, (rows, TOKENS)).tolist()
    return TrainingData(
        codes=lambda index: codes[index],
        lengths=[frames] * rows,
        texts=texts,
        speakers=[0] * rows,
        ids=[str(row) for row in range(rows)],
        train=range(rows),
        valid=(),
        frame_rate=75.0,
        identity="random",
    )


@contextlib.contextmanager
def uncapped(device: str) -> Iterator[None]:
    """Afterwards the cap is lifted and the memory given back."""
    try:
        yield
    finally:
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(1.0)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here, beside those that are there")
    parser.add_argument("--only", choices=SPECS, action="append", help="this one (may be repeated)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: for trying it out")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("settings", nargs="*", help="key=value, for every spec")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "memory needs a CUDA device; none is visible to PyTorch (--device cpu tries it out)",
            file=sys.stderr,
        )
        return 2
    results = (
        json.loads(options.json.read_text())["results"] if options.json and options.json.exists() else {}
    )
    print(f"{'':11}{'checkpointing':15}{'parameters':>13}{'peak GiB':>10}{'frames/s':>10}  fits 10 GB")
    for name in options.only or SPECS:
        for checkpointing in (False, True):
            settings = [
                f"train.gradient_checkpointing={str(checkpointing).lower()}",
                f"train.batch_seconds={options.rows * options.frames / 75 + 0.01}",
                f"train.device={options.device}",
                *options.settings,
            ]
            spec = load_spec(ROOT / f"specs/lina_speech/{name}.yaml", [*NAMED, *settings])
            vocabulary = 180 if name == "rwkv6-60m" else 256
            found = measure(resolve(spec), options.rows, options.frames, vocabulary, options.device)
            results.setdefault(name, {})["checkpointing" if checkpointing else "plain"] = found
            print(row(name, checkpointing, found), flush=True)
            if options.json:
                about = record(options.device, options.rows, options.frames)
                options.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    return 0


def row(name: str, checkpointing: bool, found: dict[str, Any]) -> str:
    def shown(key: str, form: str) -> str:
        return format(found[key], form) if key in found else "-"

    fits = {True: "yes", False: "no", None: "-"}[found["fits_10_gb"]]
    return (
        f"{name:11}{'yes' if checkpointing else 'no':15}{found['parameters']:>13,}{shown('peak_gib', '.2f'):>10}"
        f"{shown('frames_per_second', ',.0f'):>10}  {fits} {found.get('error', '')}"
    ).rstrip()


def record(device: str, rows: int, frames: int) -> dict[str, Any]:
    versions = {}
    for package in ("torch", "triton", "fla-core", "flash-linear-attention", "mamba-ssm"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    # A machine that got the files without their history is told the commit.
    commit_in_environment = os.environ.get("LINA_COMMIT")
    git = ["git", "rev-parse", "HEAD"]
    commit = (
        commit_in_environment or subprocess.run(git, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit or None,
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor(),
        "python": platform.python_version(),
        "versions": versions,
        "rows": rows,
        "frames": frames,
        "cap_gib": CAP / GIB,
    }


if __name__ == "__main__":
    sys.exit(main())
