"""Optimizer step: equal in the eager and the captured form, and skipped where something is not finite."""

import copy
import math

import pytest
import torch

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.training.cuda_graph import CapturedFunction
from lina.training.optimizer import MovingAverage, adamw, parameter_groups
from lina.training.optimizer_step import OptimizerStep
from tests.core.toy_model import toy_lm
from tests.training.test_objective import Brings, Waits

SPEC = TrainSection(steps=10, clip=0.5, ema=0.9)


def updates(lm: DelayLM, on_device: bool) -> OptimizerStep:
    optimizer = adamw(parameter_groups(lm), lr=1.0, betas=(0.9, 0.99), weight_decay=0.1)
    update = OptimizerStep(SPEC, lm, optimizer, MovingAverage(lm, SPEC.ema), torch.device("cpu"))
    assert update.captured is None  # there is no graph without a GPU
    if on_device:
        for group in optimizer.param_groups:
            group["capturable"] = False  # of a GPU's steps alone; the rest of the form is the GPU's
        update.captured = CapturedFunction(update._on_device, (), None)
    return update


def gradients(lm: DelayLM, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in lm.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def test_both_forms_make_the_same_weights_and_averages() -> None:
    lm = toy_lm()
    results = []
    for on_device in (False, True):
        model = copy.deepcopy(lm)
        update = updates(model, on_device)
        norms = []
        for step in range(1, 6):
            gradients(model, step)
            norms.append(float(update(torch.tensor(1.0), 0.01 * step, step)))
            update.finish(step, applied=True)
        assert update.average is not None
        results.append((norms, dict(model.named_parameters()), update.average.average))
    (norms, weights, averages), (others, other_weights, other_averages) = results
    assert norms == pytest.approx(others, rel=1e-6)
    for name, value in lm.named_parameters():
        assert not torch.equal(weights[name], value)
        torch.testing.assert_close(other_weights[name], weights[name], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(other_averages[name], averages[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("broken", ["loss", "gradient", "spike"])
def test_a_step_that_is_not_finite_changes_nothing(on_device: bool, broken: str) -> None:
    lm = toy_lm()
    update = updates(lm, on_device)
    gradients(lm, 0)
    update(torch.tensor(1.0), 0.01, 1)
    update.finish(1, applied=True)
    assert update.average is not None
    before = copy.deepcopy((dict(lm.named_parameters()), update.average.average))
    moments = copy.deepcopy(list(update.optimizer.state.values()))
    gradients(lm, 1)
    if broken == "gradient":
        first = next(lm.parameters()).grad
        assert first is not None
        first.view(-1)[0] = math.inf
    largest = 1e-3 if broken == "spike" else math.inf
    norm = update(torch.tensor(math.nan if broken == "loss" else 1.0), 0.01, 2, largest)
    update.finish(2, applied=False)
    assert bool(norm.isfinite()) == (broken != "gradient")
    for name, value in lm.named_parameters():
        assert torch.equal(value, before[0][name])
        assert torch.equal(update.average.average[name], before[1][name])
    for values, earlier in zip(update.optimizer.state.values(), moments, strict=True):
        assert {key: value.tolist() for key, value in values.items()} == {
            key: value.tolist() for key, value in earlier.items()
        }


def test_the_form_of_a_gpu_neither_waits_for_it_nor_brings_it_anything() -> None:
    lm = toy_lm()
    update = updates(lm, on_device=True)
    gradients(lm, 0)
    numbers = [torch.tensor(one) for one in (1.0, 0.01, 0.1, math.inf)]
    with Waits() as waits, Brings() as brings:
        update._on_device(*numbers)
    assert waits.seen == []
    assert brings.seen == []
