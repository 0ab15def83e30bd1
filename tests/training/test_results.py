"""Wrong results of plugins of training: one line with plugin, distribution and mistake, at the first step."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lina.config.training_choices import hook_choices
from lina.core.errors import PluginError
from lina.core.registry import find
from lina.core.training.loss_inputs import LossResult
from lina.runs.hook_manager import build_manager
from lina.training.objective import Objective
from lina.training.results import check_loss, check_schedule
from lina.training.trainer import train
from tests.cli.conftest import Lina, lina
from tests.core.toy_model import toy_lm
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import hooks_of, ready, small, write_spec
from tests.training.test_shape_buckets import CODEBOOKS, part

__all__ = ["lina"]

PACKAGE = """
    import torch
    from lina import hookimpl
    from lina.core import LossPlugin, OptimizerPlugin, PluginConfig, SchedulePlugin

    class LossConfig(PluginConfig):
        returns: str = "3"

    class Loss(LossPlugin):
        Config = LossConfig
        @classmethod
        def build(cls, *, config):
            return lambda hidden: eval(config.returns)
        @classmethod
        def example(cls): return {"config": cls.Config()}

    class NoLoss(LossPlugin):
        @classmethod
        def build(cls, *, config): return None
        @classmethod
        def example(cls): return {"config": cls.Config()}

    class Rate(SchedulePlugin):
        Config = LossConfig
        @classmethod
        def build(cls, *, steps, warmup, floor, config):
            return None if config.returns == "None" else lambda step: eval(config.returns)
        @classmethod
        def example(cls): return {"config": cls.Config()}

    class Optimizer(OptimizerPlugin):
        Config = LossConfig
        @classmethod
        def build(cls, *, parameters, lr, betas, weight_decay, config): return eval(config.returns)
        @classmethod
        def example(cls): return {"config": cls.Config()}

    class Metrics:
        class Config(PluginConfig):
            returns: str = "{}"
            first: int = 1
        def __init__(self, config): self.config = config
        @hookimpl
        def step_metrics(self, step): return eval(self.config.returns) if step >= self.config.first else {"a": 1}
"""
NAMES = {"losses": "Loss", "schedules": "Rate", "optimizers": "Optimizer", "hooks": "Metrics"}


@pytest.fixture(autouse=True)
def installed(distributions: FakeDistributions) -> None:
    groups = {f"lina.{group}": {"wrong": f"wrong_results:{name}"} for group, name in NAMES.items()}
    groups["lina.losses"]["none"] = "wrong_results:NoLoss"
    distributions.install("lina-wrong", groups, wrong_results=PACKAGE)


WRONG = [
    ("train.loss.wrong.returns='3'", "loss:wrong", "returned an int; it must return a scalar tensor"),
    ("train.loss.wrong.returns='None'", "loss:wrong", "returned None; it must return a scalar tensor"),
    (
        "train.loss.wrong.returns='hidden.sum(0)'",
        "loss:wrong",
        "returned a tensor [S, 16] of torch.float32; it",
    ),
    (
        "train.loss.wrong.returns='hidden.sum().long()'",
        "loss:wrong",
        "returned a tensor [] of torch.int64; it",
    ),
    ("train.loss.wrong.returns='hidden.detach().sum()'", "loss:wrong", "returned a loss without a gradient"),
    ("train.loss=none", "loss:none", "build returned None; it must return a function of tensors"),
    (
        "train.schedule.wrong.returns='\"x\"'",
        "schedule:wrong",
        "returned a str for step 1; it must return a num",
    ),
    ("train.schedule.wrong.returns='torch.ones(())'", "schedule:wrong", "returned a Tensor for step 1"),
    ("train.schedule.wrong.returns='float(\"nan\")'", "schedule:wrong", "returned nan for step 1"),
    ("train.schedule.wrong.returns='-1.0'", "schedule:wrong", "returned -1.0 for step 1"),
    (
        "train.schedule.wrong.returns='None'",
        "schedule:wrong",
        "build returned None; it must return a function",
    ),
    (
        "train.optimizer.wrong.returns='None'",
        "optimizer:wrong",
        "build returned None; it must return a torch.opt",
    ),
    (
        "train.optimizer.wrong.returns='[1]'",
        "optimizer:wrong",
        "build returned a list; it must return a torch",
    ),
    (
        "train.optimizer.wrong.returns='torch.optim.SGD'",
        "optimizer:wrong",
        "build returned the class SGD; it",
    ),
    ("hooks.wrong.returns='[1]'", "hook:wrong", "step_metrics returned a list; it must return a mapping"),
    ("hooks.wrong.returns='[]'", "hook:wrong", "step_metrics returned a list; it must return a mapping"),
    ('hooks.wrong.returns=\'{"norm": "x"}\'', "hook:wrong", "step_metrics returned a str as 'norm'; values"),
    (
        "hooks.wrong.returns='{\"norm\": None}'",
        "hook:wrong",
        "step_metrics returned a NoneType as 'norm'; va",
    ),
    (
        "hooks.wrong.returns='{\"a\": torch.ones(2)}'",
        "hook:wrong",
        "returned a Tensor [2] as 'a'; values must",
    ),
    (
        "hooks.wrong.returns='{3: 1.0}'",
        "hook:wrong",
        "step_metrics returned the name 3; names of metrics are",
    ),
    (
        "hooks.wrong.returns='{\"loss\": 1.0}'",
        "hook:wrong",
        "returned 'loss', which is a metric of lina's own",
    ),
]


@pytest.mark.parametrize(("setting", "plugin", "mistake"), WRONG, ids=[setting for setting, _, _ in WRONG])
def test_a_wrong_result_is_one_line(tmp_path: Path, setting: str, plugin: str, mistake: str) -> None:
    resolved = small(tmp_path, setting, "train.steps=2")
    hooks = build_manager((), hook_choices(resolved.spec)).hook
    with pytest.raises(PluginError) as refused:
        train(*ready(resolved, hooks), hooks)
    line = str(refused.value)
    assert line.startswith(f"{plugin} (lina-wrong 1.0, wrong_results:")
    shown = mistake.partition("[S,")
    assert all(part in line for part in (shown[0], shown[2]))
    assert "\n" not in line


def test_the_command_ends_with_exit_code_2(lina: Lina, tmp_path: Path) -> None:
    done = lina("run", str(write_spec(tmp_path)), "train.loss=wrong", f"train.out={tmp_path / 'run'}")
    assert done.code == 2
    assert "lina: error: loss:wrong (lina-wrong 1.0, wrong_results:Loss) returned an int" in done.err
    assert "Traceback" not in done.err


def test_a_later_wrong_result_of_a_hook_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolved = small(tmp_path, "hooks.wrong={returns: '[1]', first: 2}", "train.steps=3")
    hooks = build_manager((), hook_choices(resolved.spec)).hook
    last = train(*ready(resolved, hooks), hooks)
    assert last is not None
    assert last.step == 3
    assert "failed in step_metrics and is disabled from here on" in caplog.text


def test_right_results_pass() -> None:
    check_loss(torch.ones(()), "loss", 3)
    check_loss(LossResult(torch.ones(()), torch.ones(3, dtype=torch.int64)), "loss", 3)
    with pytest.raises(PluginError, match=r"returned a tensor \[2\] as n_correct; it must be a tensor \[3\]"):
        check_loss(LossResult(torch.ones(()), torch.ones(2)), "loss", 3)


def test_a_schedule_is_checked_at_each_step(distributions: FakeDistributions) -> None:
    rate = check_schedule(
        lambda step: 1 / (2 - step) if step != 2 else float("inf"), find("schedule", "wrong")
    )
    assert rate(1) == 1.0
    with pytest.raises(PluginError, match="returned inf for step 2"):
        rate(2)


def test_a_loss_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []

    def count(result: object, plugin: str, codebooks: int) -> None:
        checks.append(plugin)

    def loss(hidden: Tensor) -> Tensor:
        return hidden.square().mean()

    monkeypatch.setattr("lina.training.objective.check_loss", count)
    objective = Objective(
        toy_lm(sizes=(4,) * CODEBOOKS).train(), loss, torch.device("cpu"), guided=False, plugin="mine"
    )
    for _ in range(3):
        objective(part([[7, 5], [9]]), 20, torch.float32)
    assert checks == ["mine"]


def test_a_loss_without_a_gradient_may_leave_it_to_guided_attention(tmp_path: Path) -> None:
    resolved = small(
        tmp_path, "train.loss.wrong.returns='hidden.detach().sum() * 0'", "train.guided_attention=1.0"
    )
    hooks = hooks_of()
    assert train(*ready(resolved, hooks), hooks) is not None
