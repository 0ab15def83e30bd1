from pathlib import Path
from typing import Any

import pytest

from benchmarks import cpu, cpu_installed
from benchmarks.cpu_voice import measure, texts


def test_onnxruntime_speaks_the_codes_of_eager() -> None:
    """A small sample; the benchmark compares 250 texts."""
    found = cpu.same_tokens(3)
    assert found == {"texts": 3, "same": 1.0, "different": []}


def test_texts_are_lines_of_the_benchmarks() -> None:
    assert len(texts(250)) == 250
    assert texts(2) == texts(250)[:2]
    assert all(text.strip() for text in texts(250))


def test_the_voice_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.cpu_voice.texts", lambda count: ["Yes.", "No."][:count])
    found = measure("onnx", 2)
    assert found["times_real_time"] > 0
    assert found["first_audio_ms"] > 0
    assert found["peak_mb"] > 50


def test_a_cold_start_has_its_first_audio_before_its_end() -> None:
    found = cpu.cold_say()
    assert 0 < found["first_audio_s"] <= found["total_s"]


def test_rows_of_the_voice_compare_with_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([20.0, 16.0] * 3)
    monkeypatch.setattr(cpu, "_child", lambda *_: {"times_real_time": next(rates)})
    monkeypatch.setattr(cpu, "cold_say", lambda: {"first_audio_s": 0.5, "total_s": 1.0})
    rows = list(cpu.voice_rows(1))
    assert [row["name"] for row in rows[:3]] == [
        f"lina.load(), {one}" for one in ("auto", "onnx-int8", "eager")
    ]
    assert rows[0]["busy_over_idle"] == 1.25


def test_the_table_has_a_row_per_model_and_a_column_per_backend() -> None:
    facts: dict[str, Any] = {"part": "backbones", "name": "gla", "parameters": 15e6, "state_bytes": 655_360}
    rows = [
        {**facts, "backend": backend, "frames_per_second": rate}
        for backend, rate in zip(cpu.BACKENDS, (300.4, 800.0, 2000.0), strict=True)
    ]
    rows.append(
        {"part": "voice", "name": "lina.load(), auto", "times_real_time": 20.5, "first_audio_ms": 18.0}
    )
    lines = cpu.table({"cores": 2, "load": 0.1, "date": "2026-11-30", "rows": rows}).splitlines()
    assert "- lina.load(), auto: times_real_time 20.5, first_audio_ms 18" in lines
    assert lines[-1] == "| gla | 15.0 M | 655,360 | 300 | 800 | 2000 |"


def test_installed_sizes_are_those_of_files_without_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {
        "METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 2.0\n",
        "RECORD": "one/a.py,,\none/__pycache__/a.cpython-311.pyc,,\ngone.py,,\n",
    }

    def install(wheel: Path, target: Path) -> None:
        for name, size in {"one/a.py": 700, "one/__pycache__/a.cpython-311.pyc": 500, "bin/one": 30}.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(b"x" * size)
        (target / "one-2.0.dist-info").mkdir()
        for name, text in facts.items():
            (target / "one-2.0.dist-info" / name).write_text(text)

    monkeypatch.setattr(cpu_installed, "build_wheel", lambda folder: folder / "one.whl")
    monkeypatch.setattr(cpu_installed, "install", install)
    monkeypatch.setattr(cpu_installed, "install_for", lambda *arguments: install(*arguments[2:]))
    own, *others = cpu_installed.installed_rows()
    size = 700 + 30 + sum(map(len, facts.values()))
    assert own["megabytes"] * 1e6 == pytest.approx(size)
    assert own["megabytes_with_bytecode"] * 1e6 == pytest.approx(size + 500)
    assert own["packages"] == {"one 2.0": 700 / 1e6}
    assert own["within_limit"]
    assert own["disk_mebibytes"] * 2**20 >= 4 * 4096
    assert len(others) == len(cpu_installed.PLACES)
    monkeypatch.setattr(cpu_installed, "LIMIT", 700)
    assert not next(cpu_installed.installed_rows())["within_limit"]


def test_without_a_package_index_the_rest_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(cpu, "PARTS", ("voice", "installed"))
    monkeypatch.setattr(cpu, "voice_rows", lambda texts: iter([{"part": "voice", "name": "own", "x": 1.0}]))
    monkeypatch.setattr(
        cpu_installed, "build_wheel", lambda folder: tmp_path / "lina_voice-1.0-py3-none-any.whl"
    )
    assert cpu.main([]) == 0
    assert cpu.main(["--parts", "voice", "installed"]) == 1
    done = capsys.readouterr()
    assert "- own: x 1\n" in done.out
    assert done.err.startswith("benchmarks.cpu: pip ")
    assert done.err.count("\n") == 1
