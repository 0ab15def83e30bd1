import subprocess
import sys
from pathlib import Path

import pytest

from lina.evaluation import process_memory
from lina.evaluation.process_memory import peak_mib, resident_mib

CHILD = (
    "import lina.core.model.delay_lm; from lina.evaluation.process_memory import peak_mib; print(peak_mib())"
)
PARENT = f"""
import subprocess, sys
held = b"x" * (800 << 20)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True, close_fds=False)
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="proc(5) is Linux's")


@on_linux
def test_a_child_does_not_count_the_memory_of_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True)
    assert 10 < float(done.stdout) < 700


@on_linux
def test_resident_memory_is_at_most_the_peak() -> None:
    resident, peak = resident_mib(), peak_mib()
    assert resident is not None
    assert peak is not None
    assert 10 < resident <= peak


@pytest.mark.parametrize("status", [None, "Name:\tpython\nVmHWMs:\t1 kB\n"])
def test_without_the_field_getrusage_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    pytest.importorskip("resource")
    file = tmp_path / "status"
    if status is not None:
        file.write_text(status)
    monkeypatch.setattr(process_memory, "Path", lambda _: file)
    assert resident_mib() is None
    peak = peak_mib()
    assert peak is not None
    assert peak > 2
