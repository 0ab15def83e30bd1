import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lina.evaluation import metrics
from lina.evaluation.stand_in import stand_in


def test_a_missing_module_is_there_inside_the_context_only() -> None:
    missing = ModuleType("not_installed_anywhere")
    with stand_in(missing):
        assert importlib.import_module(missing.__name__) is missing
    assert missing.__name__ not in sys.modules


def test_a_module_that_is_installed_stays() -> None:
    with stand_in(ModuleType("json")):
        assert hasattr(importlib.import_module("json"), "loads")
    assert "json" in sys.modules


def test_resemblyzer_needs_no_pkg_resources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Resemblyzer imports webrtcvad, whose release looks up its own version there."""
    (tmp_path / "resemblyzer.py").write_text(
        "import pkg_resources\n"
        "VERSION = pkg_resources.get_distribution('numpy').version\n"
        "preprocess_wav = lambda samples, source_sr: samples\n"
        "class VoiceEncoder:\n"
        "    def __init__(self, device, verbose): pass\n"
        "    def embed_utterance(self, samples): return samples[:1]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "resemblyzer", raising=False)
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "pkg_resources" else find(name)
    )
    metrics.speaker_encoder()
    assert sys.modules["resemblyzer"].__dict__["VERSION"]
    assert "pkg_resources" not in sys.modules
    monkeypatch.delitem(sys.modules, "resemblyzer")
