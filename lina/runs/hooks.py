"""What is told to everyone: pluggy hooks. Progress bars, TensorBoard and the report are such plugins themselves.

Choosing one of many by name is the registry's business, not this one's. A plugin of the entry-point group
``lina.hooks`` is a class (made without arguments, once a process) whose methods carry ``@hookimpl``; it implements
what it wants and takes only the arguments that it uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from lina.config.spec import Spec

hookspec = pluggy.HookspecMarker("lina")
hookimpl = pluggy.HookimplMarker("lina")


@dataclass(frozen=True)
class Run:
    """A run as the hooks see it: where it lives and what was asked. All else is in its files (docs/training.md).

    A run that trains a codec has a spec of ``lina.config.codec_spec`` instead.
    """

    directory: Path
    spec: "Spec"


@dataclass(frozen=True)
class Sample:
    """Speech that a run has made, in ``samples/`` of its directory. Paths are relative to the run directory."""

    id: str
    kind: str
    """``train`` (a training sentence said back), ``valid``, ``unseen`` or ``spec`` (a text of the spec)."""
    text: str
    audio: Path
    sample_rate: int
    reference: Path | None = None
    """The recording itself, where there is one."""
    resynthesis: Path | None = None
    """The recording through the codec and back: the best that any model on this codec can do."""
    attention: Path | None = None
    """safetensors: ``attention`` float32 [T, J] over text positions, and the text's ids ``text`` int64 [J]."""
    text_labels: tuple[str, ...] = ()
    """A printable label for each of the J text positions."""
    stopped: bool = True
    """False: the model did not end by itself and was cut at the limit."""


@dataclass(frozen=True)
class Section:
    """A part of the report: its title and a fragment of HTML (self-contained; no outside links)."""

    title: str
    html: str


class Hooks:
    """The hook specifications."""

    @hookspec
    def run_started(self, run: Run) -> None:
        """The spec is valid and the directory is ours; nothing has been done yet."""

    @hookspec
    def stage_started(self, run: Run, stage: str, total: int | None, done: int) -> None:
        """``stage`` is data, train, evaluate, synthesize or report (of a codec: data, train, export, evaluate, report);
        ``done`` of ``total`` were finished before.
        """

    @hookspec
    def stage_progress(self, run: Run, stage: str, done: int, info: Mapping[str, float]) -> None:
        """``done`` units are finished; ``info`` has numbers worth a glance, such as ``frames/s`` and ``loss``."""

    @hookspec
    def stage_finished(self, run: Run, stage: str, seconds: float) -> None:
        """The stage is done; ``seconds`` is 0.0 where a finished stage was left as it was."""

    @hookspec
    def step_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """An optimiser step: loss, accuracy (a list, one a codebook), lr, grad_norm, frames/s.

        Of a codec's training only those that are logged; ``loss`` is the mel distance, and its other parts are there.
        """

    @hookspec
    def evaluation_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """A pass over the validation set: loss, accuracy."""

    @hookspec
    def sample_made(self, run: Run, step: int, sample: Sample) -> None:
        """Speech was written."""

    @hookspec
    def checkpoint_written(self, run: Run, step: int, path: Path) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def run_finished(self, run: Run) -> None:
        """All stages are done."""

    @hookspec
    def report_sections(self, run: Run) -> list[Section]:  # type: ignore[empty-body]
        """Further sections for report.html."""

    @hookspec
    def write_report(self, run: Run, sections: list[Section]) -> Path:  # type: ignore[empty-body]
        """Stage report: write a report from the run's files and what ``report_sections`` gave; its path."""

    @hookspec
    def cli_commands(self) -> list[Any]:  # type: ignore[empty-body]
        """Further ``click`` commands for ``lina``."""

    @hookspec
    def optimizers(self) -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
        """Optimisers by name: ``factory(parameters, lr=, betas=, weight_decay=)`` gives a ``torch.optim.Optimizer``."""

    @hookspec
    def losses(self) -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
        """Losses by name: ``loss(logits, targets, loss_mask)``; see ``lina.training.losses``."""
