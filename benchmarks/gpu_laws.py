"""On a GPU machine: all backbone laws on the GPU, and each fused form against the reference form.

    make gpu-laws              prints a table and writes benchmarks/gpu-laws.json

The JSON holds a fingerprint of the code each backbone's results cover; where that code has changed since, a test fails.
A case that ``kernels: auto`` leaves to the reference form (``"auto": false``) is measured and shown, but need not pass:
there the fused form runs only if the spec forces it. Relative errors are root mean square over root mean square, of
outputs, final state and gradients together with the worst of them named. Limits: 5e-3 for float32 (TF32 units); 2e-2
under bfloat16 autocast, or where a result is ill-conditioned, what autocast itself changes of the reference form's. One
length is compared with restarts of the rows too. Backbones take turns on the visible GPUs.
"""

import argparse
import copy
import itertools
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lina.backbones.fused.flash_linear_attention import VARIANTS
from lina.core.errors import PluginError
from lina.core.laws import run_laws
from lina.core.ops.dispatch import KernelConfig
from lina.core.plugin import BackbonePlugin
from lina.core.registry import load, records
from lina.core.state import named_leaves, tree_map
from lina.runs import code_fingerprint
from lina.runs.code_fingerprint import Definition

ROOT = Path(__file__).resolve().parent.parent
LAWS = "lina.core.laws"
COVERED = (
    "lina.backbones",
    LAWS,
    "lina.core.extreme_gates",
    "lina.core.model.in_place",
    "lina.core.model.stack",
    "lina.core.ops",
    "lina.core.state",
)
BACKBONE_LAWS = (Definition(f"{LAWS}.backbone", "BACKBONE_LAWS"), Definition(f"{LAWS}.law", "LawCase"))
"""The laws of backbones, and how one is run; the laws of other roles change no result here."""
LIMITS = {torch.float32: 5e-3, torch.bfloat16: 2e-2}
FRAMES = (1, 64, 300, 1024)
SIZES = {"d_model": 256, "n_layers": 2}


def fingerprint(name: str) -> str:
    """SHA-256 of the code that the results of a backbone depend on: its class, what that uses, and backbones' laws."""
    record = next(record for record in records("backbone") if record.name == name)
    module, _, attribute = record.value.partition(":")
    roots = [Definition(module, attribute), *BACKBONE_LAWS]
    return code_fingerprint.fingerprint(roots, COVERED)


def plugins() -> Iterator[tuple[str, type[BackbonePlugin]]]:
    for record in records("backbone"):
        if record.distribution == "lina":
            yield record.name, load("backbone", record.name)


def compare(
    plugin: type[BackbonePlugin],
    dtype: torch.dtype,
    gates: str,
    frames: int,
    device: str,
    restarts: bool = False,
) -> dict[str, Any]:
    """The worst relative difference between the fused and the reference form on the same weights and inputs.

    ``restarts``: rows restart at a hundredth of their frames.
    """
    torch.manual_seed(0)
    config: Any = plugin.Config()
    plain: Any = plugin.build(**SIZES, config=config.model_copy(update={"kernels": "reference"}))
    if gates == "extreme":
        plugin.extreme(plain)
    fast: Any = plugin.build(**SIZES, config=config.model_copy(update={"kernels": "fused"}))
    fast.load_state_dict(plain.state_dict())
    for copied, buffer in zip(
        fast.buffers(), plain.buffers(), strict=True
    ):  # of which a state_dict may lack some
        copied.copy_(buffer)
    x = torch.randn(2, frames, SIZES["d_model"], device=device)
    weight = torch.randn_like(x)
    options = {"starts": torch.rand(2, frames, device=device) < 0.01} if restarts else {}

    def result(model: Any, precision: torch.dtype) -> dict[str, torch.Tensor]:
        return outcome(copy.deepcopy(model).to(device), x, weight, precision, options)

    reference = result(plain, dtype)
    exact = reference if dtype == torch.float32 else result(plain, torch.float32)
    fused = result(fast, dtype)
    errors = {name: relative(fused[name], truth) for name, truth in reference.items()}
    rounding = {name: relative(reference[name], truth) for name, truth in exact.items()}
    limits = {name: max(LIMITS[dtype], rounding[name]) for name in errors}
    worst = max(errors, key=lambda name: errors[name] / limits[name])
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gates": gates,
        "frames": frames,
        "restarts": restarts,
        "auto": config.auto_uses_fused_kernels(mixed_precision=dtype != torch.float32),
        "worst": worst,
        "error": errors[worst],
        "limit": limits[worst],
        "passed": errors[worst] <= limits[worst],
    }


def outcome(
    model: Any, x: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype, options: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def noise(leaf: torch.Tensor) -> torch.Tensor:
        random = torch.randn(leaf.shape, generator=generator).to(leaf.device, leaf.dtype)
        return random.requires_grad_() if leaf.is_floating_point() else leaf

    state = tree_map(noise, model.initial_state(len(x)))
    inputs = x.clone().requires_grad_()
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y, final = model.parallel_forward(inputs, state, **options)
    objective = (y.float() * weight).sum() + sum(
        leaf.float().sum() for leaf in named_leaves(final).values() if leaf.is_floating_point()
    )
    objective.backward()
    found = {"output": y, "gradient of input": inputs.grad}
    found |= {f"state {name}": leaf for name, leaf in named_leaves(final).items()}
    found |= {
        f"gradient of state {name}": leaf.grad
        for name, leaf in named_leaves(state).items()
        if leaf.requires_grad
    }
    found |= {f"gradient of {name}": value.grad for name, value in model.named_parameters()}
    return {name: value.detach().double().cpu() for name, value in found.items() if value is not None}


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    size = float(truth.square().mean().sqrt())
    difference = float((found - truth).square().mean().sqrt())
    return difference / max(size, 1e-6) if size or difference else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--device", default="cuda", help="cuda: all visible GPUs in turn; cuda:1: that one")
    parser.add_argument("--only", nargs="+", help="these backbones; the JSON keeps what it had of the others")
    parser.add_argument("--jobs", type=int, default=4, help="backbones at once, a process each")
    arguments = parser.parse_args()
    devices = visible(arguments.device)
    if not devices:
        count = torch.cuda.device_count()
        print(
            f"gpu-laws: {arguments.device} is not there; PyTorch sees {count} CUDA devices", file=sys.stderr
        )
        return 2
    names = [name for name, _ in plugins() if not arguments.only or name in arguments.only]
    context = multiprocessing.get_context("spawn")
    found: dict[str, Any] = {}
    # Most of the time goes into compiling and trying kernels, which processes do side by side.
    with ProcessPoolExecutor(arguments.jobs, context, max_tasks_per_child=1) as pool:
        turns = zip(names, itertools.cycle(devices))
        running = {pool.submit(examine, name, device): name for name, device in turns}
        for done in as_completed(running):
            found[running[done]] = done.result()
            _tell(running[done], done.result())
            if arguments.json:
                _write(arguments.json, found, devices[0])
    return 0 if all(map(is_well, found.values())) else 1


def visible(device: str) -> list[str]:
    """The devices that ``device`` means; none if it is not there."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device == "cuda":
        return cuda
    return [device] if device in cuda or not device.startswith("cuda") else []


def examine(name: str, device: str) -> dict[str, Any]:
    """The laws of one backbone, and its fused form against its reference form where this machine can run it.

    In a process of its own: kernels run on the process's device, whatever device their tensors are on.
    """
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
        device = "cuda"
    began, plugin = time.perf_counter(), dict(plugins())[name]
    laws = run_laws(plugin, device=device)
    broken = [{"case": result.case, "detail": result.detail} for result in laws if result.failed]
    found: dict[str, Any] = {"covered_sha256": fingerprint(name), "laws": len(laws), "broken": broken}
    found["fast_against_plain"] = []
    try:
        if issubclass(plugin.Config, KernelConfig):
            for dtype, gates in itertools.product(LIMITS, ("ordinary", "extreme")):
                for frames, restarts in [*((frames, False) for frames in FRAMES), (FRAMES[-1], True)]:
                    one = compare(plugin, dtype, gates, frames, device, restarts)
                    found["fast_against_plain"].append(one)
    except PluginError as error:
        found["obstacle"] = str(error)
    except Exception as error:
        broken.append({"case": "fused form", "detail": f"{type(error).__name__}: {error}"})
    return found | {"seconds": round(time.perf_counter() - began)}


def is_well(one: dict[str, Any]) -> bool:
    """Laws pass, and fused forms are right wherever ``kernels: auto`` takes them."""
    return not one["broken"] and all(
        form["passed"] for form in one["fast_against_plain"] if _by_default(form)
    )


def _by_default(form: dict[str, Any]) -> bool:
    by_default: bool = form.get("auto", True)  # results of earlier versions do not say it
    return by_default


def _tell(name: str, one: dict[str, Any]) -> None:
    kept = f"laws {one['laws'] - len(one['broken'])}/{one['laws']}"
    print(f"{name:16} {kept}  {_in_brief(one)}  {one['seconds']} s", flush=True)
    for law in one["broken"]:
        print(f"  FAILED {law['case']}: {law['detail']}")
    for form in one["fast_against_plain"]:
        if not form["passed"]:
            print(f"  BEYOND {'' if _by_default(form) else '(asked for only) '}{form}")


def _write(path: Path, found: dict[str, Any], device: str) -> None:
    """Merge new results with those of the same code and kind of device in the file."""
    about = record(device)
    before = json.loads(path.read_text()) if path.exists() else {}
    same = all(before.get(key) == about[key] for key in ("device", "versions", "kernel_variants"))
    backbones = dict(sorted(((before["backbones"] if same else {}) | found).items()))
    passed = all(map(is_well, backbones.values()))
    path.write_text(json.dumps(about | {"passed": passed, "backbones": backbones}, indent=1) + "\n")


def _in_brief(one: dict[str, Any]) -> str:
    forms = one["fast_against_plain"]
    if not forms:
        return one.get("obstacle", "no fused form")  # type: ignore[no-any-return]
    parts = []
    for by_default, label in ((True, "fused against reference"), (False, "asked for only")):
        if some := [form for form in forms if _by_default(form) == by_default]:
            worst, within = max(form["error"] for form in some), sum(form["passed"] for form in some)
            parts.append(f"{label}: worst {worst:.1e}, {within}/{len(some)} within limits")
    return "; ".join(parts)


def record(device: str) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("torch", "triton", "fla-core", "mamba-ssm"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    # A machine that got the files without their history is told the commit.
    git = ["git", "rev-parse", "HEAD"]
    given_commit = os.environ.get("LINA_COMMIT")
    commit = given_commit or subprocess.run(git, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit or None,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor(),
        "python": platform.python_version(),
        "versions": versions,
        "kernel_variants": os.environ.get(VARIANTS, "all"),
    }


if __name__ == "__main__":
    sys.exit(main())
