from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lina.core.errors import CheckpointError
from lina.runs import files
from lina.runs.records import (
    CodecInfo,
    DataSummary,
    Evaluation,
    EvaluationGroup,
    MachineInfo,
    ModelInfo,
    PluginInfo,
    RunInfo,
    Sample,
)

INFO = RunInfo(
    lina="0.1.0",
    started="2026-01-02T03:04:05+00:00",
    machine=MachineInfo(cpu="a processor", cores=2),
    versions={"torch": "2.9.0"},
    plugins=(PluginInfo(role="backbone", name="gla", distribution="lina", version="0.1.0"),),
    model=ModelInfo.model_validate({"parameters": 12, "backbone": 8, "heads": 2}),
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
SAMPLE = Sample(
    id="a",
    kind="train",
    text="hé",
    audio=Path("samples/a.wav"),
    sample_rate=8000,
    text_labels=("h", "é"),
    transcript="hey",
    error_rate=1.0,
)


@pytest.mark.parametrize(
    ("write", "read", "value"),
    [
        (files.write_run_info, files.read_run_info, INFO),
        (files.write_data_summary, files.read_data_summary, SUMMARY),
        (files.write_evaluation, files.read_evaluation, EVALUATION),
        (files.write_samples, files.read_samples, [SAMPLE]),
    ],
)
def test_written_metrics_are_read_back(
    tmp_path: Path, write: Callable[[Path, Any], None], read: Callable[[Path], Any], value: Any
) -> None:
    assert not read(tmp_path)
    write(tmp_path, value)
    assert read(tmp_path) == value
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    ("file", "content", "read", "message"),
    [
        ("run.json", "{", files.read_run_info, "run.json"),
        ("run.json", '{"started": "x"}', files.read_run_info, "lina: is missing"),
        ("evaluation.json", '{"recognizer": "r", "groops": []}', files.read_evaluation, "groops"),
        ("data/summary.json", '{"utterances": "many"}', files.read_data_summary, "utterances"),
        ("samples/index.json", '[{"id": "a"}]', files.read_samples, "0.kind"),
        ("init.json", '{"source": "runs/first"}', files.read_init, "trained: is missing"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, file: str, content: str, read: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
