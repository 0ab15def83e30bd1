"""Hook plugin that logs scalars, audio and attention plots to ``tensorboard/`` of a run."""

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from lina.report.scalars import numbers
from lina.runs.files import read_data_summary
from lina.runs.hooks import Run, hookimpl
from lina.runs.records import Sample

_file_number = count()


class TensorBoard:
    """Logs a resumed run to the same directory, with no step twice.

    Values that a killed run logged after its last checkpoint are hidden when training resumes (``purge_step``);
    values of finished steps, such as samples, are not written again.
    """

    def __init__(self) -> None:
        self._logs: dict[Path, _Log] = {}

    @hookimpl
    def step_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        log = self._log(run)
        log.train_from(step)
        log.scalars("train", step, metrics)

    @hookimpl
    def evaluation_done(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        self._log(run).scalars("valid", step, metrics)

    @hookimpl
    def sample_made(self, run: Run, step: int, sample: Sample) -> None:
        self._log(run).sample(run, step, sample)

    @hookimpl
    def checkpoint_written(self, run: Run) -> None:
        if run.directory in self._logs:
            self._logs[run.directory].writer.flush()

    @hookimpl
    def run_finished(self, run: Run) -> None:
        log = self._logs.pop(run.directory, None)
        if log:
            log.writer.close()

    def _log(self, run: Run) -> "_Log":
        if run.directory not in self._logs:
            self._logs[run.directory] = _Log(run.directory / "tensorboard")
        return self._logs[run.directory]


class _Log:
    """The event files of one run in this process."""

    def __init__(self, directory: Path) -> None:
        # Imported here because the hooks are registered for every command.
        from lina.report.events import logged_values

        self.directory = directory
        self.before = logged_values(directory)
        self.training = False
        self.writer = self._open(None)

    def _open(self, purge_step: int | None) -> Any:
        from tensorboardX import SummaryWriter

        # Without a number, two writers opened within a second would overwrite each other's file.
        suffix = f".{os.getpid()}.{next(_file_number):04d}"
        return SummaryWriter(
            str(self.directory), purge_step=purge_step, flush_secs=10, filename_suffix=suffix
        )

    def train_from(self, step: int) -> None:
        """Hide values of earlier processes at ``step`` and later, once."""
        if not self.training and any(earlier >= step for _, earlier in self.before):
            self.writer.close()
            self.writer = self._open(step)
            self.before = {(tag, earlier) for tag, earlier in self.before if earlier < step}
        self.training = True

    def is_new(self, tag: str, step: int) -> bool:
        return (tag, step) not in self.before

    def scalars(self, split: str, step: int, metrics: Mapping[str, Any]) -> None:
        """Log the metrics of a step that no earlier process has logged."""
        for tag, value in numbers(split, metrics).items():
            if self.is_new(tag, step):
                self.writer.add_scalar(tag, value, step)

    def sample(self, run: Run, step: int, sample: Sample) -> None:
        import soundfile

        from lina.core.files.tensor_file import read_safetensors
        from lina.report.figure import attention_figure

        audio_tag = f"{sample.kind}/{sample.id}"
        if self.is_new(audio_tag, step):
            audio, rate = soundfile.read(run.directory / sample.audio, dtype="float32", always_2d=True)
            self.writer.add_audio(audio_tag, audio[:, :2].clip(-1.0, 1.0), step, sample_rate=rate)
        attention_tag = f"{sample.kind}_attention/{sample.id}"
        if sample.attention and self.is_new(attention_tag, step):
            weights = read_safetensors(run.directory / sample.attention)["attention"]
            data = read_data_summary(run.directory)
            rate = data.codec.sample_rate / data.codec.hop if data and data.codec else None
            picture = attention_figure(weights, sample.text_labels, rate)
            self.writer.add_image(attention_tag, picture, step, dataformats="HWC")
