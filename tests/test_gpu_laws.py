"""The committed GPU results cover the code as it is: run ``make gpu-laws`` on a GPU machine after changing it."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_laws", ROOT / "benchmarks/gpu_laws.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_results_are_of_this_code(script: ModuleType) -> None:
    results = json.loads((ROOT / "benchmarks/gpu-laws.json").read_text())
    assert results["covered_sha256"] == script.fingerprint(), (
        "run `make gpu-laws` on a GPU machine and commit it"
    )
    assert results["passed"]
    assert set(results["backbones"]) == {name for name, _ in script.plugins()}
    for backbone in results["backbones"].values():
        assert backbone["laws"] > 20
        assert not backbone["broken"]


def test_the_comparison_finds_a_wrong_fast_form(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from lina.backbones import gla, gla_fast

    plugin = dict(script.plugins())["gla"]
    monkeypatch.setattr(gla, "use_fast", lambda name, wanted, *rest: wanted == "fast")
    monkeypatch.setattr(gla_fast, "gated_linear_attention", gla.gated_linear_attention)
    assert script.compare(plugin, torch.float32, "ordinary", 20, "cpu")["passed"]

    def wrong(q, k, v, log_decay, memory, scale):  # type: ignore[no-untyped-def]
        return gla.gated_linear_attention(q, k, v, log_decay, 0.9 * memory, scale)

    monkeypatch.setattr(gla_fast, "gated_linear_attention", wrong)
    assert not script.compare(plugin, torch.float32, "ordinary", 20, "cpu")["passed"]
