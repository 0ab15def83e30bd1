"""On a machine with a GPU and nvcc: builds mamba-ssm's selective scan and compares it with lina's other forms.

    python -m benchmarks.mamba_extension mamba_ssm-2.3.2.post1.tar.gz --json benchmarks/mamba-ssm.json

The source distribution's kernels are compiled unmodified. What is cut is the choice among them: float32, B and C that
vary, no z and no softplus inside, which is all that lina asks for; the rest would raise an error. That takes a minute
instead of many. With ``--folder`` the package stays there, for PYTHONPATH.

The scan itself and lina's reference form are compared with the reference form in float64; models with
``fast_form: mamba-ssm`` with reference ones, as ``gpu_laws.py`` does; and a step of four layers of width 512 is timed
for both fused forms.
"""

import argparse
import copy
import itertools
import json
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_laws import FRAMES, LIMITS, SIZES, outcome, relative
from lina.core.errors import LinaError

SCAN = "csrc/selective_scan"
SOURCES = ("selective_scan.cpp", "selective_scan_fwd_fp32.cu", "selective_scan_bwd_fp32_real.cu")
ONLY = """
#include <c10/util/Exception.h>
#define ONLY_SWITCH(VALUE, COND, CONST_NAME, ...)                                    \\
    [&] {                                                                            \\
        TORCH_CHECK((COND) == VALUE, #COND " is cut from this build");               \\
        constexpr bool CONST_NAME = VALUE;                                           \\
        return __VA_ARGS__();                                                        \\
    }()
"""
SWITCHES = {
    "params.is_variable_B": "true",
    "params.is_variable_C": "true",
    "params.z_ptr != nullptr": "false",
    "params.delta_softplus": "false",
}
"""Of the kernels' choices at run time, the one value of each that is built."""
TYPES = {
    "DISPATCH_ITYPE_FLOAT_AND_HALF_AND_BF16": "input_t",
    "DISPATCH_WTYPE_FLOAT_AND_COMPLEX": "weight_t",
}
COMPLEX_FORWARD = (
    "template void selective_scan_fwd_cuda<float, complex_t>(SSMParamsBase &params, cudaStream_t stream);"
)
OPERATOR_FRAMES = (1, 64, 300, 1024, 2100)
LEAVES = ("u", "delta", "a", "b", "c", "skip", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sdist", type=Path, help="mamba-ssm's source distribution, a .tar.gz")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--folder", type=Path, help="build here, and leave it; a temporary folder otherwise")
    options = parser.parse_args()
    try:
        if not torch.cuda.is_available():
            raise LinaError("there is no CUDA device; run this on a GPU machine")
        with tempfile.TemporaryDirectory(prefix="lina-mamba-ssm-") as temporary:
            folder = options.folder or Path(temporary)
            build(unpacked(options.sdist, Path(temporary) / "source"), folder)
            sys.path.insert(0, str(folder))
            report: dict[str, Any] = {}
            for report in compared(options.sdist):
                if options.json:
                    options.json.write_text(json.dumps(report, indent=1) + "\n")
    except LinaError as error:
        print(f"mamba-ssm: error: {error}", file=sys.stderr)
        return 2
    return 0 if report["passed"] else 1


def unpacked(sdist: Path, folder: Path) -> Path:
    """The top folder of a source distribution.

    Raises:
        LinaError: it is not there, or not one of mamba-ssm.
    """
    try:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise LinaError(
            f"{sdist}: cannot be unpacked ({error}); get it by "
            "pip download --no-deps --no-binary :all: --no-build-isolation mamba-ssm"
        ) from None
    top = next(folder.iterdir())
    if not (top / SCAN).is_dir():
        raise LinaError(f"{sdist}: has no {SCAN}; give a source distribution of mamba-ssm")
    return top


def cut(scan: Path) -> None:
    """Leave the kernels alone and one choice of each switch among them.

    Raises:
        LinaError: the sources are not as those of mamba-ssm 2.3.2.
    """
    forward, backward = (scan / f"selective_scan_{way}_kernel.cuh" for way in ("fwd", "bwd"))
    for path in (forward, backward):
        for condition, value in SWITCHES.items():
            if path == backward or condition != "params.delta_softplus":
                _replace(path, f"BOOL_SWITCH({condition}", f"ONLY_SWITCH({value}, {condition}")
    _replace(scan / "selective_scan_fwd_fp32.cu", COMPLEX_FORWARD, "")
    switches = scan / "static_switch.h"
    switches.write_text(switches.read_text() + ONLY)
    interface = scan / "selective_scan.cpp"
    text = interface.read_text()
    for macro, alias in TYPES.items():
        only = (
            f"#define {macro}(TYPE, NAME, ...) \\\n"
            '    TORCH_CHECK(TYPE == at::ScalarType::Float, NAME " is built for float32"); \\\n'
            f"    {{ using {alias} = float; __VA_ARGS__(); }}\n\n"
        )
        body = re.search(rf"#define {macro}\(.*?\n    \}}\n", text, flags=re.DOTALL)
        if body is None:
            raise LinaError(f"{interface.name}: has no {macro}; lina knows the sources of mamba-ssm 2.3.2")
        text = text[: body.start()] + only + text[body.end() :]
    interface.write_text(text)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise LinaError(f"{path.name}: has no {old!r}; lina knows the sources of mamba-ssm 2.3.2")
    path.write_text(text.replace(old, new))


def build(source: Path, folder: Path) -> None:
    """The extension and the Python modules around it, importable from ``folder``."""
    from torch.utils.cpp_extension import load

    cut(source / SCAN)
    work = source / "build-lina"
    work.mkdir()
    halves = [
        f"{kind}_{of}" for kind in ("HALF", "BFLOAT16", "BFLOAT162") for of in ("OPERATORS", "CONVERSIONS")
    ]
    load(
        name="selective_scan_cuda",
        sources=[str(source / SCAN / name) for name in SOURCES],
        extra_include_paths=[str(source / SCAN)],
        extra_cflags=["-O3"],
        extra_cuda_cflags=["-O3", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda"]
        + [f"-U__CUDA_NO_{name}__" for name in halves],
        build_directory=str(work),
    )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(work / "selective_scan_cuda.so", folder)
    package = folder / "mamba_ssm"
    shutil.copytree(source / "mamba_ssm", package, dirs_exist_ok=True)
    # What the package imports by itself wants transformers and more; lina asks for the scan alone.
    (package / "__init__.py").write_text("")


def compared(sdist: Path) -> Iterator[dict[str, Any]]:
    """The report, again and again as it grows."""
    import triton

    from lina.backbones.fused import selective_scan_mamba_ssm

    if obstacle := selective_scan_mamba_ssm.obstacle():
        raise LinaError(obstacle)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "mamba-ssm": f"{sdist.name.removesuffix('.tar.gz').rpartition('-')[2]} (float32 kernels alone)",
        "model": [],
        "operator": [],
        "seconds": {},
        "passed": False,
    }
    for extreme, frames in itertools.product((False, True), OPERATOR_FRAMES):
        rates, found = "extreme" if extreme else "ordinary", operator_errors(frames, extreme)
        report["operator"].append({"frames": frames, "rates": rates, "against float64": found})
        print("operator", rates, frames, {form: max(errors.values()) for form, errors in found.items()})
        yield report
    for dtype, gates, frames in itertools.product(LIMITS, ("ordinary", "extreme"), FRAMES):
        report["model"].append(model_errors(dtype, gates, frames))
        print("model", report["model"][-1])
        yield report
    report["seconds"] = {form: seconds(form) for form in ("triton", "mamba-ssm")}
    report["passed"] = all(one["passed"] for one in report["model"])
    print("seconds a step of 8 x 1,024 frames:", report["seconds"])
    yield report


def operator_errors(frames: int, extreme: bool, device: str = "cuda") -> dict[str, dict[str, float]]:
    """Relative errors of the scan's results and gradients in float32, by form."""
    from lina.backbones.fused import selective_scan_mamba_ssm
    from lina.core.ops.selective_scan import selective_scan

    generator = torch.Generator().manual_seed(frames)
    rows, channels, state = 2, 96, 16

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    step = torch.nn.functional.softplus(random(rows, frames, channels) - 2)
    rate = -torch.rand(channels, state, generator=generator) * 15 - 1
    if extreme:
        rate = -torch.logspace(-2, 3, state).expand(channels, -1)
    through = [random(rows, frames, width) for width in (channels, state, state)]
    tensors = [through[0], step, rate, *through[1:], random(channels), random(rows, channels, state)]

    def run(scan: Callable[..., Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
        leaves = [tensor.to(device, dtype).requires_grad_() for tensor in tensors]
        results = scan(*leaves)
        weights = torch.Generator().manual_seed(9)
        objective = sum(
            (one * torch.randn(one.shape, generator=weights, dtype=torch.float64).to(one)).sum()
            for one in results
        )
        gradients = torch.autograd.grad(objective, leaves)
        names = ("output", "final state", *(f"gradient of {name}" for name in LEAVES))
        every = (*results, *gradients)
        return {name: one.detach().double().cpu() for name, one in zip(names, every, strict=True)}

    truth = run(selective_scan, torch.float64)
    forms = {"mamba-ssm": selective_scan_mamba_ssm.selective_scan, "plain": selective_scan}
    found = {form: run(scan, torch.float32) for form, scan in forms.items()}
    return {form: {name: relative(got[name], truth[name]) for name in truth} for form, got in found.items()}


def model_errors(dtype: torch.dtype, gates: str, frames: int, device: str = "cuda") -> dict[str, Any]:
    from lina.backbones.mamba.mamba import Mamba, MambaConfig

    torch.manual_seed(0)
    plain = Mamba.build(**SIZES, config=MambaConfig(kernels="reference"))
    if gates == "extreme":
        Mamba.extreme(plain)
    fast = Mamba.build(**SIZES, config=MambaConfig(kernels="fused", fast_form="mamba-ssm"))
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(2, frames, SIZES["d_model"], device=device)
    weight = torch.randn_like(x)
    truth, got = (outcome(copy.deepcopy(model).to(device), x, weight, dtype, {}) for model in (plain, fast))
    errors = {name: relative(got[name], truth[name]) for name in truth}
    worst = max(errors, key=lambda name: errors[name])
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gates": gates,
        "frames": frames,
        "worst": worst,
        "error": errors[worst],
        "limit": LIMITS[dtype],
        "passed": errors[worst] <= LIMITS[dtype],
    }


def seconds(form: str) -> float:
    """Of one forward and backward pass in float32, after three that are not counted."""
    from lina.backbones.mamba.mamba import Mamba, MambaConfig

    config = MambaConfig.model_validate({"kernels": "fused", "fast_form": form})
    model: Any = Mamba.build(d_model=512, n_layers=4, config=config).to("cuda")
    x = torch.randn(8, 1024, 512, device="cuda")
    began = 0.0
    for turn in range(6):
        if turn == 3:
            torch.cuda.synchronize()
            began = time.perf_counter()
        y, _ = model.parallel_forward(x, model.initial_state(8))
        y.square().mean().backward()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / 3


if __name__ == "__main__":
    sys.exit(main())
