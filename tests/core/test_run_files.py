import math
from pathlib import Path

import pytest

from lina.core import run_files
from lina.core.errors import CheckpointError
from lina.core.hooks import Sample
from lina.core.run_files import (
    CodecInfo,
    DataSummary,
    Evaluation,
    EvaluationGroup,
    MachineInfo,
    MetricsRecord,
    ModelInfo,
    PluginInfo,
    RunInfo,
    SampleRecord,
)

INFO = RunInfo(
    lina="0.1.0",
    started="2026-01-02T03:04:05+00:00",
    machine=MachineInfo(cpu="a processor", cores=2),
    versions={"torch": "2.9.0"},
    plugins=(PluginInfo(role="backbone", name="gla", distribution="lina", version="0.1.0"),),
    model=ModelInfo(parameters=12, backbone=8, heads=2),
)
SUMMARY = DataSummary(
    utterances=30,
    valid=2,
    seconds=118.5,
    rejects=1,
    codec=CodecInfo(name="codec2", sample_rate=8000, hop=160, codebook_sizes=(2, 2, 128)),
)
EVALUATION = Evaluation(
    recognizer="tiny.en",
    groups=(EvaluationGroup(name="recordings", sentences=3, word_error_rate=0.1, character_error_rate=0.05),),
)
RECORD = SampleRecord.of(
    Sample(
        id="a", kind="train", text="hé", audio=Path("samples/a.wav"), sample_rate=8000, text_labels=("h", "é")
    ),
    transcript="hey",
    error_rate=1.0,
)


@pytest.mark.parametrize(
    ("write", "read", "value"),
    [
        (run_files.write_run_info, run_files.read_run_info, INFO),
        (run_files.write_data_summary, run_files.read_data_summary, SUMMARY),
        (run_files.write_evaluation, run_files.read_evaluation, EVALUATION),
        (run_files.write_samples, run_files.read_samples, [RECORD]),
    ],
)
def test_what_is_written_is_read_back(tmp_path, write, read, value):
    assert not read(tmp_path)
    write(tmp_path, value)
    assert read(tmp_path) == value
    assert not list(tmp_path.rglob(".*"))


def test_a_sample_survives_its_record():
    assert SampleRecord.of(RECORD.sample(), transcript="hey", error_rate=1.0) == RECORD


def metric(step, split="train", loss=1.0, **more):
    return MetricsRecord.model_validate({"step": step, "split": split, "loss": loss, **more})


def test_metrics_keep_their_names_on_disk_and_foreign_fields(tmp_path):
    record = metric(1, accuracy=[0.5, 0.25], lr=0.1, **{"frames/s": 100.0, "tokens/s": 3.0})
    run_files.append_metrics(tmp_path, record)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert '"frames/s":100.0' in line
    assert '"tokens/s":3.0' in line
    assert run_files.read_metrics(tmp_path) == [record]


def test_a_loss_that_is_not_a_number_survives(tmp_path):
    run_files.append_metrics(tmp_path, metric(1, loss=math.nan))
    run_files.append_metrics(tmp_path, metric(2, loss=math.inf))
    first, second = run_files.read_metrics(tmp_path)
    assert math.isnan(first.loss)
    assert second.loss == math.inf


def test_the_later_of_two_records_of_a_step_counts(tmp_path):
    for record in (metric(1), metric(2, loss=5.0), metric(2, "valid"), metric(2, loss=4.0)):
        run_files.append_metrics(tmp_path, record)
    assert run_files.read_metrics(tmp_path) == [metric(1), metric(2, loss=4.0), metric(2, "valid")]


def test_a_line_cut_by_a_kill_is_forgotten_and_rewind_makes_the_file_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        run_files.append_metrics(tmp_path, metric(step))
    path.write_text(path.read_text() + '{"step": 4, "spl')
    assert [record.step for record in run_files.read_metrics(tmp_path)] == [1, 2, 3]
    run_files.rewind_metrics(tmp_path, 2)
    run_files.append_metrics(tmp_path, metric(3, loss=9.0))
    assert run_files.read_metrics(tmp_path) == [metric(1), metric(2), metric(3, loss=9.0)]


def test_rewinding_a_young_run_makes_no_file(tmp_path):
    run_files.rewind_metrics(tmp_path, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "content", "read", "told"),
    [
        ("run.json", "{", run_files.read_run_info, "run.json"),
        ("run.json", '{"started": "x"}', run_files.read_run_info, "lina: Field required"),
        ("evaluation.json", '{"recognizer": "r", "groops": []}', run_files.read_evaluation, "groops"),
        ("data/summary.json", '{"utterances": "many"}', run_files.read_data_summary, "utterances"),
        ("samples/index.json", '[{"id": "a"}]', run_files.read_samples, "0.kind"),
        ("init.json", '{"source": "runs/first"}', run_files.read_init, "trained: Field required"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, file, content, read, told):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b'{"step": 1, "split": "x", "loss": 1}\n', "line 2: split:"),
        (b"\n\n", "line 2: "),
        (b"\xff\xfe\n", "line 2: "),
        (bytes(40) + b"\n{}\n[1]\n", "line 2: "),
    ],
)
def test_damaged_lines_of_metrics_are_told_of_and_stop_nothing(tmp_path, caplog, damage, told):
    path = tmp_path / "metrics.jsonl"
    run_files.append_metrics(tmp_path, metric(1))
    path.write_bytes(path.read_bytes() + damage)
    run_files.append_metrics(tmp_path, metric(2))
    before = path.read_bytes()
    assert run_files.read_metrics(tmp_path) == [metric(1), metric(2)]
    [warning] = caplog.messages
    assert warning.startswith(f"{path}: {told}")
    assert path.read_bytes() == before
    run_files.rewind_metrics(tmp_path, 1)
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == before
    caplog.clear()
    assert run_files.read_metrics(tmp_path) == [metric(1)]
    assert not caplog.messages
