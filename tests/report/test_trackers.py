"""Weights & Biases and MLflow, with stand-ins for their packages."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.config.training_choices import hook_choices
from lina.core.errors import PluginError
from lina.pipeline.speech_job import run_spec
from lina.runs.hook_manager import build_manager
from tests.pipeline.small_run import write_spec

TEXTS = 'synthesize={texts: ["one two"], max_seconds: 0.2}'


def run(folder: Path, *overrides: str) -> None:
    settings = (*overrides, "train.steps=2", "data.valid=0.3", TEXTS, f"train.out={folder / 'run'}")
    spec = load_spec(write_spec(folder), settings)
    run_spec(resolve(spec), build_manager((), hook_choices(spec)).hook)


class Recorder:
    """Any object with any method; notes the calls."""

    def __init__(self, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]], **results: Any) -> None:
        self._calls, self._results = calls, results

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._calls.append((name, arguments, options))
            return self._results.get(name)

        return call


def test_wandb_gets_metrics_and_samples_and_goes_on_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    package: Any = ModuleType("wandb")
    package.init = Recorder(calls, init=Recorder(calls)).init
    package.Audio = lambda path, caption: (Path(path).name, caption)
    monkeypatch.setitem(sys.modules, "wandb", package)
    run(tmp_path, "hooks.wandb={project: mine, mode: offline}")
    run(tmp_path, "hooks.wandb={project: mine, mode: offline}")
    starts = [options for name, _, options in calls if name == "init"]
    assert [one["project"] for one in starts] == ["mine", "mine"]
    assert starts[0]["id"] == starts[1]["id"]
    assert starts[0]["resume"] == "allow"
    logged = [(sorted(arguments[0]), options["step"]) for name, arguments, options in calls if name == "log"]
    assert any("train/loss" in names and step == 1 for names, step in logged)
    assert any("valid/loss" in names and step == 2 for names, step in logged)
    assert any(names == ["spec/01"] for names, _ in logged)
    assert [name for name, _, _ in calls].count("finish") == 2


def test_mlflow_gets_metrics_parameters_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    created = SimpleNamespace(info=SimpleNamespace(run_id="abc"))
    client = Recorder(calls, create_experiment="7", create_run=created)
    package: Any = ModuleType("mlflow")
    package.MlflowClient = lambda uri: client
    monkeypatch.setitem(sys.modules, "mlflow", package)
    run(tmp_path, "hooks.mlflow.experiment=mine")
    run(tmp_path, "hooks.mlflow.experiment=mine")
    named = [name for name, _, _ in calls]
    assert named.count("create_run") == 1
    assert named.count("set_terminated") == 2
    assert ("update_run", ("abc",), {"status": "RUNNING"}) in calls
    parameters = {arguments[1]: arguments[2] for name, arguments, _ in calls if name == "log_param"}
    assert parameters["backbone.plugin"] == "gla"
    metrics = {(arguments[1], options["step"]) for name, arguments, options in calls if name == "log_metric"}
    assert {("train/loss", 1), ("train/loss", 2), ("valid/loss", 2)} <= metrics
    assert named.count("log_artifact") == 1


@pytest.mark.parametrize(("name", "options"), [("wandb", "{project: x}"), ("mlflow", "{experiment: x}")])
def test_a_missing_package_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match=rf"needs {name} .*pip install 'lina\[{name}\]'") as refused:
        run(tmp_path, f"hooks.{name}={options}")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
