import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
import torch
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from lina.report.events import _records, logged_values
from lina.report.figure import attention_figure
from lina.report.tensorboard import TensorBoard
from lina.runs.files import read_samples
from lina.runs.hooks import Run
from tests.report.fake_run import fake_spec, make_run

METRICS = {"loss": 2.0, "accuracy": [0.5, 0.25], "lr": 1e-3, "grad_norm": 1.0, "frames/s": 100.0}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), samples=1, steps=1)


def events(run: Run) -> dict[tuple[str, int], list[Any]]:
    """Values by tag and step over all files in order; a purge of TensorBoard's is carried out."""
    found: dict[tuple[str, int], list[Any]] = {}
    for path in sorted((run.directory / "tensorboard").iterdir()):
        for record in _records(path.read_bytes()):
            event = Event.FromString(record)
            if event.HasField("session_log"):
                found = {key: values for key, values in found.items() if key[1] < event.step}
            for value in event.summary.value:
                found.setdefault((value.tag, event.step), []).append(value)
    return found


def test_scalars_of_training_and_validation(tmp_path: Path) -> None:
    board, run = TensorBoard(), Run(tmp_path, fake_spec("a"))
    board.step_done(run, 1, METRICS)
    board.evaluation_done(run, 1, {"loss": 3.0, "accuracy": (0.5,), "note": "no number"})
    board.run_finished(run)
    values = {key: [value.simple_value for value in found] for key, found in events(run).items()}
    assert values == {
        ("train/loss", 1): [2.0],
        ("train/accuracy", 1): [0.375],
        ("train_accuracy/codebook_01", 1): [0.5],
        ("train_accuracy/codebook_02", 1): [0.25],
        ("train/lr", 1): [pytest.approx(1e-3)],
        ("train/grad_norm", 1): [1.0],
        ("train/frames_per_s", 1): [100.0],
        ("valid/loss", 1): [3.0],
        ("valid/accuracy", 1): [0.5],
        ("valid_accuracy/codebook_01", 1): [0.5],
    }


def train(run: Run, steps: Iterable[int], loss: float) -> TensorBoard:
    """A process of its own: steps with a validation every second one."""
    board = TensorBoard()
    for step in steps:
        board.step_done(run, step, {"loss": loss})
        if step % 2 == 0:
            board.evaluation_done(run, step, {"loss": loss})
    return board


def test_a_resumed_run_shows_every_step_once_with_the_later_value(tmp_path: Path) -> None:
    run = Run(tmp_path, fake_spec("a"))
    train(run, range(1, 6), loss=1.0).run_finished(run)
    train(run, range(3, 8), loss=2.0).run_finished(run)
    shown = {
        step: [v.simple_value for v in found] for (tag, step), found in events(run).items() if "train" in tag
    }
    assert shown == {1: [1.0], 2: [1.0], **{step: [2.0] for step in range(3, 8)}}
    shown = {
        step: [v.simple_value for v in found] for (tag, step), found in events(run).items() if "valid" in tag
    }
    assert shown == {2: [1.0], 4: [2.0], 6: [2.0]}
    assert logged_values(tmp_path / "tensorboard") == set(events(run))


def test_a_run_that_goes_on_where_it_stopped_hides_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, fake_spec("a"))
    train(run, range(1, 3), loss=1.0).run_finished(run)
    train(run, range(3, 5), loss=2.0).run_finished(run)
    assert {step for tag, step in events(run) if tag == "train/loss"} == {1, 2, 3, 4}


def test_a_record_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path, fake_spec("a"))
    train(run, [1, 2], loss=1.0).run_finished(run)
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert logged_values(tmp_path / "tensorboard") == {("train/loss", 1), ("train/loss", 2)}


def test_audio_and_attention_of_a_sample_are_logged_once(finished_run: Run) -> None:
    (record,) = read_samples(finished_run.directory)
    for _ in range(2):
        board = TensorBoard()
        board.sample_made(finished_run, 7, record)
        board.checkpoint_written(finished_run)
        board.run_finished(finished_run)
    found = events(finished_run)
    assert set(found) == {("train/vm-000", 7), ("train_attention/vm-000", 7)}
    (audio_value,), (seen,) = found["train/vm-000", 7], found["train_attention/vm-000", 7]
    audio, rate = soundfile.read(io.BytesIO(audio_value.audio.encoded_audio_string))
    stored, _ = soundfile.read(finished_run.directory / record.audio)
    assert rate == 8000
    assert numpy.abs(audio - stored).max() < 1e-4
    picture = Image.open(io.BytesIO(seen.image.encoded_image_string))
    assert numpy.asarray(picture.convert("L")).std() > 5


def test_a_sample_does_not_hide_what_was_trained(finished_run: Run, tmp_path: Path) -> None:
    run = replace(finished_run, directory=tmp_path)
    train(run, range(1, 8), loss=1.0).run_finished(run)
    (record,) = read_samples(finished_run.directory)
    board = TensorBoard()
    assert record.attention is not None
    here = finished_run.directory.absolute()
    sample = record.model_copy(update={"audio": here / record.audio, "attention": here / record.attention})
    board.sample_made(run, 7, sample)
    board.run_finished(run)
    assert {step for tag, step in events(run) if tag == "train/loss"} == set(range(1, 8))
    assert ("train/vm-000", 7) in events(run)


def test_finishing_a_run_that_logged_nothing_makes_no_file(tmp_path: Path) -> None:
    TensorBoard().run_finished(Run(tmp_path, fake_spec("a")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [("$x", "<b>", "\x00", ""), tuple("héß漢"), ("one",), ()])
def test_any_label_can_be_drawn(labels: tuple[str, ...]) -> None:
    picture = attention_figure(torch.eye(4), labels, frames_per_second=50.0)
    assert picture.dtype == numpy.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_matplotlib_is_left_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    attention_figure(torch.eye(3), (), None)
    assert dict(matplotlib.rcParams) == before
