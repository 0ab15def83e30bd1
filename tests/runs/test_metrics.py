import math
from pathlib import Path
from typing import Any

import pytest

from lina.runs.metrics import append_metrics, read_metrics, rewind_metrics
from lina.runs.records import MetricsRecord


def metric(step: int, split: str = "train", loss: float = 1.0, **more: Any) -> MetricsRecord:
    return MetricsRecord.model_validate({"step": step, "split": split, "loss": loss, **more})


def test_metrics_keep_their_names_on_disk_and_foreign_fields(tmp_path: Path) -> None:
    foreign: dict[str, Any] = {"frames/s": 100.0, "tokens/s": 3.0}
    record = metric(1, accuracy=[0.5, 0.25], lr=0.1, **foreign)
    append_metrics(tmp_path, record)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert '"frames/s":100.0' in line
    assert '"tokens/s":3.0' in line
    assert read_metrics(tmp_path) == [record]


def test_a_loss_that_is_not_a_number_survives(tmp_path: Path) -> None:
    append_metrics(tmp_path, metric(1, loss=math.nan))
    append_metrics(tmp_path, metric(2, loss=math.inf))
    first, second = read_metrics(tmp_path)
    assert math.isnan(first.loss)
    assert second.loss == math.inf


def test_the_later_of_two_records_of_a_step_counts(tmp_path: Path) -> None:
    for record in (metric(1), metric(2, loss=5.0), metric(2, "valid"), metric(2, loss=4.0)):
        append_metrics(tmp_path, record)
    assert read_metrics(tmp_path) == [metric(1), metric(2, loss=4.0), metric(2, "valid")]


def test_a_line_cut_by_a_kill_is_forgotten_and_rewind_makes_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        append_metrics(tmp_path, metric(step))
    path.write_text(path.read_text() + '{"step": 4, "spl')
    assert [record.step for record in read_metrics(tmp_path)] == [1, 2, 3]
    rewind_metrics(tmp_path, 2)
    append_metrics(tmp_path, metric(3, loss=9.0))
    assert read_metrics(tmp_path) == [metric(1), metric(2), metric(3, loss=9.0)]


def test_rewinding_a_young_run_makes_no_file(tmp_path: Path) -> None:
    rewind_metrics(tmp_path, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b'{"step": 1, "split": "x", "loss": 1}\n', "line 2: split:"),
        (b"\n\n", "line 2: "),
        (b"\xff\xfe\n", "line 2: "),
        (bytes(40) + b"\n{}\n[1]\n", "line 2: "),
    ],
)
def test_damaged_lines_of_metrics_are_reported_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes, message: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    append_metrics(tmp_path, metric(1))
    path.write_bytes(path.read_bytes() + damage)
    append_metrics(tmp_path, metric(2))
    before = path.read_bytes()
    assert read_metrics(tmp_path) == [metric(1), metric(2)]
    [warning] = caplog.messages
    assert warning.startswith(f"{path}: {message}")
    assert path.read_bytes() == before
    rewind_metrics(tmp_path, 1)
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == before
    caplog.clear()
    assert read_metrics(tmp_path) == [metric(1)]
    assert not caplog.messages
