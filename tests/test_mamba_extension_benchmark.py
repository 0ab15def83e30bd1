"""benchmarks/mamba_extension.py without a GPU: unpacking, cutting, comparing."""

import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import mamba_extension
from lina.backbones.fused import selective_scan_mamba_ssm
from lina.backbones.mamba import mamba
from lina.core.errors import LinaError
from lina.core.ops.selective_scan import selective_scan


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Sources with the places that are cut, and no more."""
    switches = "\n".join(
        f"BOOL_SWITCH({condition}, kName, [&] {{ }});" for condition in mamba_extension.SWITCHES
    )
    macros = "\n".join(
        f"#define {macro}(TYPE, NAME, ...) \\\n    if (TYPE) {{ \\\n    }} else {{ \\\n    }}\n\nrest();"
        for macro in mamba_extension.TYPES
    )
    files = {
        "selective_scan_fwd_kernel.cuh": switches,
        "selective_scan_bwd_kernel.cuh": switches,
        "selective_scan_fwd_fp32.cu": f"float;\n{mamba_extension.COMPLEX_FORWARD}\n",
        "static_switch.h": "#pragma once\n",
        "selective_scan.cpp": macros,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_one_choice_of_each_switch_is_left(scan: Path) -> None:
    mamba_extension.cut(scan)
    backward = (scan / "selective_scan_bwd_kernel.cuh").read_text()
    assert " BOOL_SWITCH" not in f" {backward}".replace("\n", " ")
    assert "ONLY_SWITCH(false, params.delta_softplus, kName" in backward
    forward = (scan / "selective_scan_fwd_kernel.cuh").read_text()
    assert "ONLY_SWITCH(true, params.is_variable_B, kName" in forward
    assert "BOOL_SWITCH(params.delta_softplus" in forward
    assert (scan / "selective_scan_fwd_fp32.cu").read_text() == "float;\n\n"
    assert "#define ONLY_SWITCH" in (scan / "static_switch.h").read_text()
    interface = (scan / "selective_scan.cpp").read_text()
    assert "using input_t = float" in interface
    assert "using weight_t = float" in interface
    assert interface.count("rest();") == 2


@pytest.mark.parametrize("name", ["selective_scan_fwd_kernel.cuh", "selective_scan.cpp"])
def test_other_sources_are_refused(scan: Path, name: str) -> None:
    (scan / name).write_text("of another version\n")
    with pytest.raises(LinaError, match=rf"{name}: has no .*mamba-ssm 2\.3\.2"):
        mamba_extension.cut(scan)


def test_files_other_than_source_distributions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LinaError, match=r"none\.tar\.gz: cannot be unpacked"):
        mamba_extension.unpacked(tmp_path / "none.tar.gz", tmp_path / "source")
    (tmp_path / "other").mkdir()
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "other", "other")
    with pytest.raises(LinaError, match="has no csrc/selective_scan"):
        mamba_extension.unpacked(tmp_path / "other.tar.gz", tmp_path / "source")


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["mamba_extension.py", "any.tar.gz"])
    assert mamba_extension.main() == 2
    assert capsys.readouterr().err.startswith("mamba-ssm: error: there is no CUDA device")


@pytest.mark.parametrize("extreme", [False, True])
def test_a_wrong_scan_is_found(monkeypatch: pytest.MonkeyPatch, extreme: bool) -> None:
    monkeypatch.setattr(selective_scan_mamba_ssm, "selective_scan", selective_scan)
    errors = mamba_extension.operator_errors(5, extreme, "cpu")
    assert errors["mamba-ssm"] == errors["plain"]
    assert max(errors["plain"].values()) < 1e-5

    def wrong(*inputs: Any) -> Any:
        y, final = selective_scan(*inputs)
        return y, 0.9 * final

    monkeypatch.setattr(selective_scan_mamba_ssm, "selective_scan", wrong)
    errors = mamba_extension.operator_errors(5, extreme, "cpu")
    assert errors["mamba-ssm"]["final state"] == pytest.approx(0.1, rel=1e-3)
    monkeypatch.setattr(mamba, "use_fused_kernel", lambda name, config, *_: config.kernels == "fused")
    found = mamba_extension.model_errors(torch.float32, "extreme" if extreme else "ordinary", 5, "cpu")
    assert not found["passed"]
    monkeypatch.setattr(selective_scan_mamba_ssm, "selective_scan", selective_scan)
    assert mamba_extension.model_errors(torch.float32, "ordinary", 5, "cpu")["passed"]
