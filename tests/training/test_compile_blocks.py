"""Layers compiled by the tracer alone: they compute the same, and all layers of a kind share one trace."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch._dynamo import trace_rules

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.training.compile_blocks import compile_blocks, compiles_layers
from tests.runs.test_build_model import build


def gradients(model: DelayLM, x: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    for backbone in (model.encoder, model.decoder):
        x, _ = backbone.parallel_forward(x, backbone.initial_state(len(x)))
    x.square().sum().backward()
    layers = (model.encoder, model.decoder)
    return [x.detach(), *(one.grad for layer in layers for one in layer.parameters() if one.grad is not None)]


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_compiled_layers_compute_the_same_from_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[Any] = []
    constants: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        constants.extend(one for one in inputs if isinstance(one, torch.Tensor) and one.dim() == 0)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    limit, skipped = torch._dynamo.config.recompile_limit, list(trace_rules.SKIP_DIRS)
    plain, compiled = build(), build()
    with compile_blocks(compiled, torch.device("cpu"), torch.float32):
        for frames in (40, 24):
            x = torch.randn(2, frames, 16)
            torch.testing.assert_close(gradients(compiled, x), gradients(plain, x), rtol=1e-4, atol=1e-5)
        assert not constants  # each would be computed on the CPU
        traced = len(graphs)
        assert traced > 0
        gradients(compiled, torch.randn(3, 57, 16))
        assert len(graphs) == traced
        check_copy(compiled)
    assert torch._dynamo.config.recompile_limit == limit
    assert skipped == trace_rules.SKIP_DIRS
    torch._dynamo.reset()


def check_copy(model: DelayLM) -> None:
    """A copy computes with its own weights."""
    copied, x = copy.deepcopy(model), torch.randn(1, 20, 16)
    with torch.no_grad():
        for parameter in copied.encoder.parameters():
            parameter.zero_()
    y, _ = copied.encoder.parallel_forward(x, copied.encoder.initial_state(1))
    torch.testing.assert_close(y, x)


@pytest.mark.parametrize(
    ("setting", "steps", "triton", "expected"),
    [
        ("auto", 999, True, False),
        ("auto", 1000, True, True),
        ("auto", 1000, False, False),
        (True, 1, False, True),
        (False, 1000, True, False),
    ],
)
def test_long_runs_are_compiled_where_triton_is(
    monkeypatch: pytest.MonkeyPatch, setting: Any, steps: int, triton: bool, expected: bool
) -> None:
    monkeypatch.setattr("lina.training.compile_blocks.HAS_TRITON", triton)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    train = TrainSection(steps=steps, compile=setting)
    assert compiles_layers(train, torch.device("cuda")) == expected
    assert not compiles_layers(train, torch.device("cpu"))
