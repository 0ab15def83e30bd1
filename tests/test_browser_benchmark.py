"""benchmarks/browser.py: the page of exported graphs speaks as their Python program does."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks import browser
from lina.speech.default_voice import shipped_voice

RUNTIME = os.environ.get("ONNXRUNTIME_WEB", "")
"""onnxruntime-web's folder ``dist``."""


def test_takes_are_compared(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.array([0, 16384, -16384], "<i2").tobytes())
    one = browser.samples((tmp_path / "one.wav").read_bytes())
    np.testing.assert_array_equal(one, [0, 0.5, -0.5])
    assert browser.compare(one, one, 8000)["difference"] == 0
    assert browser.compare(1.1 * one, one, 8000)["difference"] == pytest.approx(0.1)
    assert browser.compare(one[1:], one, 8000)["difference"] == float("inf")


def test_a_missing_browser_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "BROWSERS", ("no-such-browser",))
    with pytest.raises(RuntimeError, match="no-such-browser is installed; apt-get install chromium"):
        browser.speak_in_browser(tmp_path, tmp_path, [0], 1.0)


@pytest.mark.skipif(
    not RUNTIME or browser.browser() is None,
    reason="needs Chromium, and onnxruntime-web's folder in ONNXRUNTIME_WEB",
)
def test_the_page_speaks(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from lina.speech.graph_export import export_graphs

    export_graphs(shipped_voice(), tmp_path / "graphs")
    arguments = [str(tmp_path / "graphs"), "--runtime", RUNTIME, "--text", "Why?"]
    assert browser.main(arguments) == 0
