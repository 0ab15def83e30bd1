"""The committed GPU results cover the code as it is: run ``make gpu-laws`` on a GPU machine after changing it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import gpu_laws
from lina.core.ops.dispatch import KernelConfig
from lina.core.registry import records
from lina.runs import code_fingerprint

ROOT = Path(__file__).parents[1]


def test_default_forms_have_current_results() -> None:
    """A fused form that has not passed, as it is now and in that precision, has to be forced."""
    results = json.loads((ROOT / "benchmarks/gpu-laws.json").read_text())["backbones"]
    assert set(results) == {name for name, _ in gpu_laws.plugins()}
    forms = {name: getattr(plugin.Config(), "kernels", None) for name, plugin in gpu_laws.plugins()}
    by_default = {name: results[name] for name, kernels in forms.items() if kernels != "reference"}
    assert {"gla", "mamba", "transformer"} <= set(by_default)
    for name, result in by_default.items():
        assert result["covered_sha256"] == gpu_laws.fingerprint(name), (
            f"run `make gpu-laws` on a GPU machine and commit it: {name} has changed"
        )
        assert result["laws"] > 20
        assert len(result["fast_against_plain"]) == (20 if forms[name] else 0)
        assert gpu_laws.is_well(result)
        for form in result["fast_against_plain"]:
            mixed = form["dtype"] == "bfloat16"
            config = dict(gpu_laws.plugins())[name].Config
            assert issubclass(config, KernelConfig)
            assert form["auto"] == config.auto_uses_fused_kernels(mixed)


def test_a_fingerprint_covers_the_code_of_its_backbone() -> None:
    """Each backbone reaches its own operator, the stack and the laws, and no other backbone's."""
    modules = {}
    for name in ("gla", "mamba", "transformer"):
        record = next(record for record in records("backbone") if record.name == name)
        root = code_fingerprint.Definition(*record.value.split(":"))
        roots = [root, *gpu_laws.BACKBONE_LAWS]
        modules[name] = {one.module for one in code_fingerprint.reachable(roots, gpu_laws.COVERED)}
    assert len({gpu_laws.fingerprint(name) for name in modules}) == 3
    assert "lina.core.ops.gated_linear_attention" in modules["gla"]
    assert "lina.core.ops.selective_scan" in modules["mamba"]
    assert "lina.core.ops.gated_linear_attention" not in modules["mamba"]
    assert "lina.core.ops.selective_scan" not in modules["gla"]
    for reached in modules.values():
        assert {"lina.core.model.stack", "lina.core.laws.backbone", "lina.core.laws.stream_laws"} <= reached
        assert not reached & {"lina.core.laws.codec", "lina.core.laws.tokenizer", "lina.core.laws.training"}


def test_the_comparison_finds_a_wrong_fused_form(monkeypatch: pytest.MonkeyPatch) -> None:
    from lina.backbones import gla
    from lina.backbones.fused import gated_linear_attention as fused_gla
    from lina.core.ops.gated_linear_attention import gated_linear_attention

    plugin = dict(gpu_laws.plugins())["gla"]
    monkeypatch.setattr(gla, "use_fused_kernel", lambda name, config, *rest: config.kernels == "fused")
    monkeypatch.setattr(fused_gla, "gated_linear_attention", gated_linear_attention)
    assert gpu_laws.compare(plugin, torch.float32, "ordinary", 20, "cpu")["passed"]

    def wrong(*arguments: Any) -> tuple[Tensor, Tensor]:
        q, k, v, log_decay, memory, *rest = arguments
        return gated_linear_attention(q, k, v, log_decay, 0.9 * memory, *rest)

    monkeypatch.setattr(fused_gla, "gated_linear_attention", wrong)
    assert not gpu_laws.compare(plugin, torch.float32, "ordinary", 20, "cpu")["passed"]

    def runs_on(*arguments: Any) -> tuple[Tensor, Tensor]:
        return gated_linear_attention(*arguments[:-1])

    monkeypatch.setattr(fused_gla, "gated_linear_attention", runs_on)
    assert gpu_laws.compare(plugin, torch.float32, "ordinary", 20, "cpu")["passed"]
    assert not gpu_laws.compare(plugin, torch.float32, "ordinary", 400, "cpu", restarts=True)["passed"]


def test_both_forms_have_the_same_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention's decays, which the extreme gates change, are in no state_dict."""
    from lina.backbones import retnet
    from lina.backbones.fused import scalar_decay_attention as fused_scalar_decay
    from lina.core.ops.scalar_decay_attention import scalar_decay_attention

    monkeypatch.setattr(retnet, "use_fused_kernel", lambda name, config, *rest: config.kernels == "fused")
    monkeypatch.setattr(fused_scalar_decay, "scalar_decay_attention", scalar_decay_attention)
    found = gpu_laws.compare(dict(gpu_laws.plugins())["retnet"], torch.float32, "extreme", 20, "cpu")
    assert found["error"] == 0


@pytest.mark.parametrize(
    ("name", "dtype", "by_default"),
    [
        ("rwkv7", "float32", False),
        ("rwkv7", "bfloat16", True),
        ("kda", "float32", False),
        ("gla", "float32", True),
    ],
)
def test_the_choice_of_auto_is_recorded(
    monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, by_default: bool
) -> None:
    from lina.backbones import gla
    from lina.backbones.delta import gated_delta
    from lina.backbones.rwkv import rwkv7_mixing

    for module in (gated_delta, gla, rwkv7_mixing):
        monkeypatch.setattr(module, "use_fused_kernel", lambda *_: False)
    found = gpu_laws.compare(dict(gpu_laws.plugins())[name], getattr(torch, dtype), "ordinary", 2, "cpu")
    assert found["auto"] is by_default


@pytest.mark.parametrize("by_default", [True, False])
def test_a_failure_counts_where_the_fused_form_is_the_default(by_default: bool) -> None:
    passed = {"auto": True, "error": 1e-4, "passed": True}
    failed = {"auto": by_default, "error": 6e-3, "passed": False}
    one = {"broken": [], "fast_against_plain": [passed, failed]}
    assert gpu_laws.is_well(one) is not by_default
    assert ("asked for only: worst 6.0e-03, 0/1 within limits" in gpu_laws._in_brief(one)) is not by_default
    assert not gpu_laws.is_well(one | {"broken": ["a law"]})


@pytest.mark.parametrize(
    ("requests", "meant"),
    [
        ("cuda", ["cuda:0", "cuda:1"]),
        ("cuda:1", ["cuda:1"]),
        ("cuda:2", []),
        ("cuda:", []),
        ("cpu", ["cpu"]),
    ],
)
def test_all_visible_gpus_take_turns(
    monkeypatch: pytest.MonkeyPatch, requests: str, meant: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert gpu_laws.visible(requests) == meant


def test_a_missing_gpu_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("sys.argv", ["gpu_laws.py", "--device", "cuda:1"])
    assert gpu_laws.main() == 2
    assert capsys.readouterr().err == "gpu-laws: cuda:1 is not there; PyTorch sees 1 CUDA devices\n"


def test_results_of_the_same_machine_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "laws.json"
    well: dict[str, Any] = {"broken": [], "fast_against_plain": []}
    gpu_laws._write(file, {"gla": well}, "cpu")
    gpu_laws._write(file, {"mamba": well | {"broken": ["a law"]}}, "cpu")
    both = json.loads(file.read_text())
    assert list(both["backbones"]) == ["gla", "mamba"]
    assert not both["passed"]
    file.write_text(json.dumps(both | {"kernel_variants": "seven"}))
    gpu_laws._write(file, {"mamba": well}, "cpu")
    assert list(json.loads(file.read_text())["backbones"]) == ["mamba"]
