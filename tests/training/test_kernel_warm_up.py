"""Kernels are warmed up with a layer of each kind, in another process, and training does not see it."""

import copy
import gc
import sys
from typing import Any

import pytest
import torch

from lina.training.kernel_warm_up import FRAMES, KernelWarmUp, kinds_of_layers, warm_up
from tests.core.toy_model import toy_lm
from tests.runs.test_build_model import build

CPU = torch.device("cpu")


def test_each_kind_of_layer_runs_once_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = build()
    kinds = list(kinds_of_layers(lm))
    assert 1 <= len(kinds) < len(lm.encoder.layers) + len(lm.decoder.layers) + 1
    layers = [(copy.deepcopy(layer).to("meta"), width) for layer, width in kinds]
    calls: list[Any] = []
    kind: Any = type(kinds[0][0])
    original = kind.parallel_forward

    def recorded(layer: Any, x: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        calls.append((layer, x, options))
        return original(layer, x, *arguments, **options)

    monkeypatch.setattr(kind, "parallel_forward", recorded)
    warm_up(layers, CPU, torch.bfloat16, restarts=True)
    assert len(calls) == len(kinds)
    for layer, x, options in calls:
        assert x.grad is not None
        assert all(one.grad is not None for one in layer.parameters())
        assert options["starts"].nonzero()[:, 1].tolist() == [0, FRAMES // 2]


def test_it_runs_in_a_process_of_its_own() -> None:
    lm = build().train()
    numbers = torch.random.get_rng_state()
    warming = KernelWarmUp(lm, CPU, torch.float32, restarts=True)
    assert warming.process is not None
    assert warming.process.wait(timeout=60) == 0
    warming.finish()
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert all(one.grad is None and not one.is_meta for one in lm.parameters())
    assert lm.encoder.training


def test_it_ends_with_the_first_step() -> None:
    warming = KernelWarmUp(build(), CPU, torch.float32, restarts=False)
    process = warming.process
    warming.finish()
    assert process is not None
    assert process.poll() is not None


def test_it_ends_with_a_training_that_fails_before_its_first_step() -> None:
    warming = KernelWarmUp(build(), CPU, torch.float32, restarts=False)
    process = warming.process
    del warming
    gc.collect()
    assert process is not None
    assert process.poll() is not None


def test_where_no_process_starts_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert KernelWarmUp(build(), CPU, torch.float32, restarts=False).process is None


def test_a_layer_that_cannot_be_pickled_is_left_to_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    lm = build()
    lm.encoder.layers[0].local = lambda: None
    with caplog.at_level("DEBUG", logger="lina"):
        warming = KernelWarmUp(lm, CPU, torch.float32, restarts=False)
    assert warming.process is None
    assert any("are not warmed up: " in message and "\n" not in message for message in caplog.messages)
    warming.finish()


def test_the_position_network_has_layers_of_its_own_width() -> None:
    assert [width for _, width in kinds_of_layers(toy_lm())] == [16, 8]
