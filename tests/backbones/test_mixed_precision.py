"""Every backbone under bfloat16 autocast: matrix products in bfloat16, the recurrence and its state in float32."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.registry import load, records
from lina.core.state import leaves

NAMES = [record.name for record in records("backbone") if record.distribution == "lina"]


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_near_float32_at_once_and_step_by_step(name: str) -> None:
    torch.manual_seed(0)
    plugin = load("backbone", name)
    stack: Any = plugin.build(d_model=32, n_layers=2, config=plugin.example()["config"])
    for (
        parameter
    ) in stack.parameters():  # what begins at zero (RWKV's output) would hide what comes before it
        if parameter.dim() == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(2, 100, 32)
    expected, _ = stack.parallel_forward(x, stack.initial_state(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, state = stack.parallel_forward(x, stack.initial_state(2))
        out.float().square().mean().backward()
        stepped, steps = stack.initial_state(2), []
        for frame in x.unbind(1):
            output, stepped = stack.step(frame, stepped)
            steps.append(output)
    assert {leaf.dtype for leaf in leaves(state) if leaf.is_floating_point()} == {torch.float32}

    def error(got: Tensor) -> float:
        return float((got.float() - expected).detach().norm() / expected.detach().norm())

    assert 1e-6 < error(out) < 2e-2, "bfloat16 was in use, and near"
    assert error(torch.stack(steps, 1)) < 2e-2
    gradients = [parameter.grad for parameter in stack.parameters()]
    assert all(one is not None and bool(one.isfinite().all()) for one in gradients)
