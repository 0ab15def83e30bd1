"""The fuzzer's driver: crashes and hangs of a reader's process are figures, not the end of the run."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import fuzz


@pytest.fixture
def reader_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that stands for the reader's process."""
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(fuzz, "FINDINGS", tmp_path)
    monkeypatch.setattr(fuzz, "SLOWEST", 0.1)
    return script


@pytest.mark.parametrize(
    ("body", "figures", "crash"),
    [
        ("echo '{\"inputs\": 7}'", {"inputs": 7}, None),
        ("echo '{\"inputs\": 7}'; echo 'ALARM: working' >&2; exit 70", {"inputs": 7}, "ALARM: working"),
        ("echo '{\"inputs\": 7}'; exec sleep 60", {"inputs": 7}, "no end"),
        ("kill -SEGV $$", {"inputs": 0}, ""),
    ],
)
def test_the_last_figures_of_a_process_count_however_it_ends(
    reader_process: Path, body: str, figures: dict[str, int], crash: str | None
) -> None:
    reader_process.write_text(f"#!/bin/sh\n{body}\n")
    reader_process.chmod(0o755)
    found = fuzz.fuzz_apart("wav", 0.5)
    assert ("crash" in found) == (crash is not None)
    assert (crash or "") in found.pop("crash", "")
    assert found == figures


def test_runs_are_kept_by_their_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fuzz.json"
    monkeypatch.setattr(fuzz, "fuzz_apart", lambda reader, seconds: {"inputs": round(seconds)})
    for label in ("before", "after"):
        monkeypatch.setattr(
            "sys.argv", ["fuzz", "wav", "ogg", "--minutes", "2", "--json", str(file), "--label", label]
        )
        with pytest.raises(SystemExit) as ended:
            fuzz.main()
        assert not ended.value.code
    runs = json.loads(file.read_text())
    assert runs.keys() == {"before", "after"}
    assert all(run["readers"] == {"wav": {"inputs": 60}, "ogg": {"inputs": 60}} for run in runs.values())
