"""Hooks that a spec names: built with their options, on that run alone, beside the model, its batches and metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.config.training_choices import hook_choices
from lina.core.errors import PluginError, SpecError
from lina.pipeline.speech_job import run_spec
from lina.runs.files import read_run_info
from lina.runs.hook_manager import build_manager
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import write_spec

HOOKS = """
    import torch
    from lina import hookimpl
    from lina.core import PluginConfig
    class Watch:
        class Config(PluginConfig):
            scale: float = 1.0
        def __init__(self, config): self.scale = config.scale
        @hookimpl
        def step_metrics(self, run, step, model, batches):
            gradients = [one.grad for one in model.decoder.parameters()]
            assert all(one is not None for one in gradients) and model.training
            return {"texts": self.scale * sum(len(one.text) for one in batches), "step_twice": torch.tensor(2 * step)}
    class Takes:
        class Config(PluginConfig): pass
        def __init__(self, config): pass
        @hookimpl
        def step_metrics(self, step): return {"loss": 1.0} if step == 2 else {"infinite": float("inf")}
    class Everywhere:
        @hookimpl
        def run_started(self): pass
"""


@pytest.fixture(autouse=True)
def installed(distributions: FakeDistributions) -> None:
    names = {
        "watch": "named_hooks:Watch",
        "takes": "named_hooks:Takes",
        "everywhere": "named_hooks:Everywhere",
    }
    distributions.install("lina-named", {"lina.hooks": names}, named_hooks=HOOKS)


def metrics_of(folder: Path, *overrides: str, out: str = "run") -> list[dict[str, Any]]:
    settings = (*overrides, "train.steps=3", "train.accumulate=2", f"train.out={folder / out}")
    spec = load_spec(write_spec(folder), settings)
    run_spec(resolve(spec), build_manager((), hook_choices(spec)).hook)
    return [json.loads(line) for line in (folder / out / "metrics.jsonl").read_text().splitlines()]


def test_a_hook_sees_model_and_batches_and_adds_metrics_to_the_runs_that_name_it(tmp_path: Path) -> None:
    named = metrics_of(tmp_path, "hooks.watch.scale=0.5")
    assert [(line["step"], line["step_twice"]) for line in named] == [(1, 2.0), (2, 4.0), (3, 6.0)]
    assert all(line["texts"] > 0 and line["texts"] % 0.5 == 0 for line in named)
    info = read_run_info(tmp_path / "run")
    assert info is not None
    assert {one.name for one in info.plugins if one.role in ("hook", "optimizer", "schedule", "loss")} == {
        "watch",
        "adamw",
        "cosine",
        "cross_entropy",
    }
    other = metrics_of(tmp_path, out="other")
    assert not any("texts" in line for line in other)
    assert [line["loss"] for line in other] == [line["loss"] for line in named]


def test_a_metric_of_ours_cannot_be_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = metrics_of(tmp_path, "hooks={takes: null}")
    assert all(line["loss"] != 1.0 and "infinite" not in line for line in lines)
    assert "step_metrics returned 'loss', which is a metric of lina's own" in caplog.text


@pytest.mark.parametrize(
    ("hooks", "error", "reason"),
    [
        ("{wach: {}}", PluginError, "hooks.wach: no hook named 'wach' is installed; did you mean 'watch'"),
        ("{watch: {scal: 1}}", SpecError, "hooks.watch.scal: unknown key; did you mean 'scale'"),
        ("{everywhere: {}}", PluginError, "acts on every run and takes no options; leave it out here"),
        ("{wandb: {projct: x}}", SpecError, "hooks.wandb.projct: unknown key; did you mean 'project'"),
        ("{wandb: {}}", SpecError, "hooks.wandb.project: is missing; add it"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, hooks: str, error: type[Exception], reason: str) -> None:
    spec = load_spec(write_spec(tmp_path), (f"hooks={hooks}",))
    with pytest.raises(error, match=reason) as refused:
        hook_choices(spec)
    assert "\n" not in str(refused.value)


def test_hooks_come_and_go_between_two_starts_of_a_run(tmp_path: Path) -> None:
    metrics_of(tmp_path)
    assert len(metrics_of(tmp_path, "hooks.watch.scale=2.0")) == 3


def test_options_of_one_choice_do_not_outlive_another(tmp_path: Path) -> None:
    path = write_spec(tmp_path)
    path.write_text(path.read_text().replace("train: {", "train: {schedule: {wsd: {decay: 0.5}}, "))
    assert load_spec(path).train.schedule == {"wsd": {"decay": 0.5}}
    assert load_spec(path, ["train.schedule=linear"]).train.schedule == "linear"
    assert load_spec(path, ["train.schedule.wsd.shape=linear"]).train.schedule == {
        "wsd": {"decay": 0.5, "shape": "linear"}
    }
    assert load_spec(path, ["train.schedule={cosine: {}}"]).train.schedule == {"cosine": {}}
