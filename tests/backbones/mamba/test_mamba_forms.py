"""Fused forms of the selective scan, as far as a machine without a GPU can try them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.fused import selective_scan as fused_scan
from lina.backbones.fused import selective_scan_mamba_ssm
from lina.backbones.mamba import mamba
from lina.backbones.mamba.mamba import MambaConfig, MambaMixer
from lina.core.ops.selective_scan import selective_scan
from tests.core.ops.recurrence import assert_near, with_gradients
from tests.core.ops.test_selective_scan import inputs, loop

ROOT = Path(__file__).parents[3]


def as_mamba_ssm_does(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor) -> Tensor:
    """mamba-ssm's contract: channels before frames, float32, from an empty state, and only the outputs."""
    assert {t.dtype for t in (u, delta, a, b, c, skip)} == {torch.float32}
    memory = torch.zeros(u.shape[0], *a.shape)
    u, delta, b, c = (tensor.transpose(1, 2) for tensor in (u, delta, b, c))
    y, _ = loop(u, delta, a, b, c, skip, memory)
    return y.transpose(1, 2)


@pytest.fixture
def mamba_ssm(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mamba_ssm.ops.selective_scan_interface"
    interface: Any = ModuleType(name)
    interface.selective_scan_fn = as_mamba_ssm_does
    for part in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setitem(sys.modules, name, interface)


@pytest.mark.parametrize("frames", [1, 20])
def test_mamba_ssm_takes_and_returns_a_state(mamba_ssm: None, frames: int) -> None:
    tensors = inputs(frames)
    found = with_gradients(
        lambda *arguments: selective_scan_mamba_ssm.selective_scan(*arguments[:7]), tensors
    )
    assert_near(found, with_gradients(loop, [tensor.double() for tensor in tensors]), 2e-6)


def test_a_state_for_mamba_ssm_is_not_forgotten_at_extreme_rates(mamba_ssm: None) -> None:
    tensors = inputs(5)
    tensors[1], tensors[2] = torch.full_like(tensors[1], 1e-6), torch.full_like(tensors[2], -1e4)
    _, final = selective_scan_mamba_ssm.selective_scan(*tensors)
    torch.testing.assert_close(final, loop(*tensors)[1])


@pytest.mark.parametrize(("form", "restarts"), [("triton", False), ("triton", True), ("mamba-ssm", True)])
def test_which_form_is_taken(monkeypatch: pytest.MonkeyPatch, form: str, restarts: bool) -> None:
    """Fused kernels get restarts only if they support them; mamba-ssm's does not."""
    taken: list[str] = []
    chosen: dict[str, Any] = {"triton": fused_scan, "mamba-ssm": selective_scan_mamba_ssm}
    for name, one in chosen.items():

        def scan(*arguments: Any, name: str = name, **options: Any) -> tuple[Tensor, Tensor]:
            taken.append(name)
            return selective_scan(*arguments, **options)

        monkeypatch.setattr(one, "selective_scan", scan)
    monkeypatch.setattr(mamba, "use_fused_kernel", lambda *_: True)
    torch.manual_seed(0)
    fast, plain = (MambaMixer(8, MambaConfig(fast_form=name)) for name in (form, "triton"))  # type: ignore[arg-type]
    plain.load_state_dict(fast.state_dict())
    x, state = torch.randn(1, 6, 8), fast.initial_state(1)
    starts = torch.arange(6)[None] == 3 if restarts else None
    found = fast.parallel_forward(x, state, starts)
    assert taken == ["triton" if restarts else form]
    assert fast.double().parallel_forward(x.double(), fast.initial_state(1))[0].dtype == torch.float64
    assert len(taken) == 1, "no kernel computes in float64"
    monkeypatch.setattr(mamba, "use_fused_kernel", lambda *_: False)
    torch.testing.assert_close(found, plain.parallel_forward(x, state, starts))


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="no Triton: it comes with PyTorch for CUDA",
)
def test_the_kernels_in_tritons_interpreter() -> None:
    """In a process of its own, since Triton reads TRITON_INTERPRET when it is imported."""
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    command = [sys.executable, "-m", "tests.backbones.mamba.interpret_mamba"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["agrees"] * 4
