"""Hook plugin that logs a run to Weights & Biases (``lina[wandb]``), if its spec names it."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig
from lina.report.scalars import numbers
from lina.runs.hooks import Run, hookimpl
from lina.runs.records import Sample

ID_FILE = Path("wandb-id.txt")


class WandbConfig(PluginConfig):
    project: str
    """Project to log to."""
    entity: str | None = None
    """Team or user; your own if left out."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """`offline` writes to `wandb/` of the run directory, for `wandb sync`."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""


class WeightsAndBiases:
    """One run of Weights & Biases per run directory; a resumed run goes on in it."""

    Config = WandbConfig

    def __init__(self, config: WandbConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise PluginError(f"needs wandb ({error}); pip install 'lina[wandb]'") from error
        self.config, self.wandb = config, wandb
        self.log: Any = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        path = run.directory / ID_FILE
        if not path.exists():
            path.write_text(secrets.token_hex(6))
        self.log = self.wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            mode=self.config.mode,
            tags=list(self.config.tags),
            dir=str(run.directory),
            id=path.read_text().strip(),
            resume="allow",
            name=run.spec.name,
            config=run.spec.model_dump(mode="json"),
        )

    @hookimpl
    def step_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        if step % run.spec.train.log_every == 0 or step == 1:
            self.log.log(numbers("train", metrics), step=step)

    @hookimpl
    def evaluation_done(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.log.log(numbers("valid", metrics), step=step)

    @hookimpl
    def sample_made(self, run: Run, step: int, sample: Sample) -> None:
        audio = self.wandb.Audio(str(run.directory / sample.audio), caption=sample.text)
        self.log.log({f"{sample.kind}/{sample.id}": audio}, step=step)

    @hookimpl
    def run_finished(self) -> None:
        self.log.finish()
