from pathlib import Path

import pytest

from lina.core.errors import CheckpointError
from lina.speech.default_voice import shipped_voice


def test_the_last_complete_voice_by_name_is_the_default(tmp_path: Path) -> None:
    for name in ("english-1", "english-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").touch()
    (tmp_path / "english-3").mkdir()
    assert shipped_voice(tmp_path) == tmp_path / "english-2"


def test_a_missing_voice_is_reported_in_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=r"^this installation of lina ships no voice; .*$"):
            shipped_voice(folder)
