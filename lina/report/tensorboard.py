"""Scalars, audio and attention plots for TensorBoard, as they happen, in ``tensorboard/`` of a run."""

import math
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from lina.runs.files import read_data_summary
from lina.runs.hooks import Run, Sample, hookimpl

_file_number = count()


class TensorBoard:
    """A resumed run goes on in the same directory and shows no step twice.

    What a killed run logged beyond its last checkpoint is hidden when training resumes (``purge_step``); what
    belongs to a finished step, such as a sample, is not written again.
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
        # Imported here because the hooks are made for every command.
        from lina.report.events import written

        self.directory = directory
        self.before = written(directory)
        self.training = False
        self.writer = self._open(None)

    def _open(self, purge_step: int | None) -> Any:
        from tensorboardX import SummaryWriter

        # Two writers of one second would overwrite each other's file without a number of their own.
        suffix = f".{os.getpid()}.{next(_file_number):04d}"
        return SummaryWriter(
            str(self.directory), purge_step=purge_step, flush_secs=10, filename_suffix=suffix
        )

    def train_from(self, step: int) -> None:
        """Hide what an earlier process logged at ``step`` and later, once."""
        if not self.training and any(earlier >= step for _, earlier in self.before):
            self.writer.close()
            self.writer = self._open(step)
            self.before = {(tag, earlier) for tag, earlier in self.before if earlier < step}
        self.training = True

    def is_new(self, tag: str, step: int) -> bool:
        return (tag, step) not in self.before

    def scalars(self, split: str, step: int, metrics: Mapping[str, Any]) -> None:
        """Numbers under ``split/name``; lists as their mean there and one by one under ``split_name/``."""
        for name, value in metrics.items():
            tag = name.replace("/", "_per_")
            if isinstance(value, (list, tuple)):
                if value:
                    self._scalar(f"{split}/{tag}", math.fsum(value) / len(value), step)
                for number, part in enumerate(value, start=1):
                    self._scalar(f"{split}_{tag}/codebook_{number:02d}", part, step)
            elif isinstance(value, (int, float)):
                self._scalar(f"{split}/{tag}", value, step)

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self.is_new(tag, step):
            self.writer.add_scalar(tag, float(value), step)

    def sample(self, run: Run, step: int, sample: Sample) -> None:
        import soundfile
        from safetensors.torch import load_file

        from lina.report.figure import attention_figure

        heard = f"{sample.kind}/{sample.id}"
        if self.is_new(heard, step):
            audio, rate = soundfile.read(run.directory / sample.audio, dtype="float32", always_2d=True)
            self.writer.add_audio(heard, audio[:, :2].clip(-1.0, 1.0), step, sample_rate=rate)
        seen = f"{sample.kind}_attention/{sample.id}"
        if sample.attention and self.is_new(seen, step):
            weights = load_file(run.directory / sample.attention)["attention"]
            data = read_data_summary(run.directory)
            rate = data.codec.sample_rate / data.codec.hop if data and data.codec else None
            picture = attention_figure(weights, sample.text_labels, rate)
            self.writer.add_image(seen, picture, step, dataformats="HWC")
