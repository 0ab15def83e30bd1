"""Pluggy hook specifications: events that plugins can observe. Progress bars, TensorBoard and the report are plugins.

Plugins that are chosen by name are in ``lina.core.registry`` instead. A plugin of the entry-point group ``lina.hooks``
is a class whose methods carry ``@hookimpl``; it implements the hooks that it needs and takes only the arguments that it
uses. Without a ``Config`` it acts on every run, instantiated without arguments once per process; with one (a
``PluginConfig``) it acts only on runs whose spec names it in ``hooks``, and is instantiated with ``config``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from lina.runs.records import Sample

if TYPE_CHECKING:
    from lina.config.spec import Spec
    from lina.core.model.delay_lm import DelayLM

hookspec = pluggy.HookspecMarker("lina")
hookimpl = pluggy.HookimplMarker("lina")


@dataclass(frozen=True)
class Run:
    """Directory and spec of a run; everything else is in its files (docs/training.md).

    A run that trains a codec has a ``lina.config.codec_spec.CodecSpec`` instead.
    """

    directory: Path
    spec: "Spec"


@dataclass(frozen=True)
class Section:
    """A section of the report: title and HTML fragment (self-contained; no external links)."""

    title: str
    html: str


class Hooks:
    """The hook specifications."""

    @hookspec
    def run_started(self, run: Run) -> None:
        """The spec is valid and the directory is locked; nothing has been computed yet."""

    @hookspec
    def stage_started(self, run: Run, stage: str, total: int | None, done: int) -> None:
        """``stage`` is data, train, evaluate, synthesize or report (of a codec: data, train, export, evaluate, report);
        ``done`` of ``total`` units were finished before.
        """

    @hookspec
    def stage_progress(self, run: Run, stage: str, done: int, info: Mapping[str, float]) -> None:
        """``done`` units are finished; ``info`` holds numbers to display, such as ``frames/s`` and ``loss``."""

    @hookspec
    def stage_finished(self, run: Run, stage: str, seconds: float) -> None:
        """The stage is finished; ``seconds`` is 0.0 if it was up to date."""

    @hookspec
    def step_metrics(  # type: ignore[empty-body]
        self, run: Run, step: int, model: "DelayLM", batches: Sequence[Any]
    ) -> Mapping[str, float]:
        """Additional metrics of a step of job speech, for ``step_done`` and, where the step is logged, metrics.jsonl.

        Called in the main process after the backward pass: parameters hold the gradients of the whole step, not clipped
        yet. ``batches`` are the micro-batches of this process (``lina.training.objective``), on the CPU. Nothing here
        may be changed.
        """

    @hookspec
    def step_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """Metrics of one optimizer step: loss, accuracy (a list, one per codebook), lr, grad_norm, frames/s.

        On a GPU it comes while the backward pass of the next step is running, and before that step's update. In codec
        training only logged steps are reported; ``loss`` is the mel distance, beside the other losses.
        """

    @hookspec
    def evaluation_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """Metrics of a pass over the validation set: loss, accuracy."""

    @hookspec
    def sample_made(self, run: Run, step: int, sample: Sample) -> None:
        """A sample was written to ``samples/``."""

    @hookspec
    def checkpoint_written(self, run: Run, step: int, path: Path) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def run_finished(self, run: Run) -> None:
        """All stages are finished."""

    @hookspec
    def report_sections(self, run: Run) -> list[Section]:  # type: ignore[empty-body]
        """Additional sections of report.html."""

    @hookspec
    def write_report(self, run: Run, sections: list[Section]) -> Path:  # type: ignore[empty-body]
        """Write a report from the run's files and ``sections``, and return its path."""

    @hookspec
    def cli_commands(self) -> list[Any]:  # type: ignore[empty-body]
        """Additional ``click`` commands of ``lina``."""
