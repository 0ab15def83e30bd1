"""Hook plugin that logs a run to MLflow (``lina[mlflow]``), if its spec names it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lina.config.spec import flat_values
from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig
from lina.report.scalars import numbers
from lina.runs.hooks import Run, hookimpl
from lina.runs.records import Sample

ID_FILE = Path("mlflow-id.txt")
LONGEST = 500
"""Characters of a parameter's value that every store of MLflow takes."""


class MLflowConfig(PluginConfig):
    experiment: str
    """Experiment to log to; created if there is none of this name."""
    uri: str | None = None
    """Tracking server or database, such as `sqlite:///mlflow.db`; MLflow's own default if left out."""


class MLflow:
    """One run of MLflow per run directory; a resumed run goes on in it."""

    Config = MLflowConfig

    def __init__(self, config: MLflowConfig) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise PluginError(f"needs mlflow ({error}); pip install 'lina[mlflow]'") from error
        self.config, self.client = config, MlflowClient(config.uri)
        self.id = ""

    @hookimpl
    def run_started(self, run: Run) -> None:
        path = run.directory / ID_FILE
        if path.exists():
            self.id = path.read_text().strip()
            self.client.update_run(self.id, status="RUNNING")
            return
        name = self.config.experiment
        found = self.client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self.client.create_experiment(name)
        self.id = self.client.create_run(experiment, run_name=run.spec.name).info.run_id
        path.write_text(self.id)
        for key, value in flat_values(run.spec).items():
            self.client.log_param(self.id, key, str(value)[:LONGEST])

    @hookimpl
    def step_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        if step % run.spec.train.log_every == 0 or step == 1:
            self._log("train", step, metrics)

    @hookimpl
    def evaluation_done(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._log("valid", step, metrics)

    @hookimpl
    def sample_made(self, run: Run, sample: Sample) -> None:
        self.client.log_artifact(self.id, str(run.directory / sample.audio), sample.kind)

    @hookimpl
    def run_finished(self) -> None:
        self.client.set_terminated(self.id)

    def _log(self, split: str, step: int, metrics: Mapping[str, Any]) -> None:
        for name, value in numbers(split, metrics).items():
            self.client.log_metric(self.id, name, value, step=step)
