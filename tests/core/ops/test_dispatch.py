import logging
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from lina.core.errors import PluginError
from lina.core.ops import dispatch
from lina.core.ops.dispatch import KernelConfig, MixedPrecisionKernelConfig, use_fused_kernel
from lina.core.ops.segments import keep_segments

CPU, GPU = torch.device("cpu"), torch.device("cuda")
AUTO, REFERENCE, FUSED = (
    KernelConfig.model_validate({"kernels": kernels}) for kernels in ("auto", "reference", "fused")
)


@pytest.fixture(autouse=True)
def _empty_log(caplog: pytest.LogCaptureFixture) -> None:
    dispatch.log_once.cache_clear()
    caplog.set_level(logging.INFO, logger="lina")


def none() -> str | None:
    return None


def some() -> str | None:
    return "the kernels are missing; pip install them"


def test_the_machine_decides_and_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    assert all(use_fused_kernel("toy", AUTO, none, GPU) for _ in range(3))
    assert [record.message for record in caplog.records] == ["toy: fused kernels"]


def test_an_obstacle_is_logged_on_an_accelerator_only(caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fused_kernel("toy", AUTO, some, CPU)
    assert not use_fused_kernel("toy", AUTO, none, CPU)
    assert not caplog.records
    assert not any(use_fused_kernel("toy", AUTO, some, GPU) for _ in range(2))
    assert len(caplog.records) == 1
    assert "reference form in PyTorch, since the kernels are missing" in caplog.text


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
def test_reference_never_uses_kernels(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fused_kernel("toy", REFERENCE, none, device)
    assert not caplog.records


def test_fused_kernels_or_an_error() -> None:
    assert use_fused_kernel("toy", FUSED, none, GPU)
    with pytest.raises(PluginError, match=r"toy: config.kernels is 'fused', but the kernels are missing"):
        use_fused_kernel("toy", FUSED, some, GPU)
    with pytest.raises(PluginError, match="but the model is on the CPU"):
        use_fused_kernel("toy", FUSED, none, CPU)


@pytest.mark.parametrize("kernels", ["slow", 1, None, ["plain"]])
def test_other_values_are_refused(kernels: object) -> None:
    with pytest.raises(ValidationError):
        KernelConfig.model_validate({"kernels": kernels})


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("obstacle", [none, some])
def test_kernels_for_mixed_precision_run_there_and_where_they_are_forced(
    mixed: bool,
    obstacle: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: mixed and device == "cuda")
    config = MixedPrecisionKernelConfig()
    assert use_fused_kernel("toy", config, obstacle, GPU) == (mixed and obstacle is none)
    assert ("too inexact for float32" in caplog.text) == (not mixed)
    assert not use_fused_kernel("toy", config, obstacle, CPU)
    assert len(caplog.records) == 1
    forced = config.model_copy(update={"kernels": "fused"})
    if obstacle is none:
        assert use_fused_kernel("toy", forced, obstacle, GPU)
    else:
        with pytest.raises(PluginError, match="the kernels are missing"):
            use_fused_kernel("toy", forced, obstacle, GPU)


def test_a_graph_cannot_read_restarts_unless_they_are_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, kept = torch.zeros(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.bool)
    keep_segments(kept, kept)
    assert use_fused_kernel("toy", AUTO, none, GPU, starts)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert use_fused_kernel("toy", AUTO, none, GPU, kept)
    assert not use_fused_kernel("toy", AUTO, none, GPU, starts)
    assert "train.cuda_graph: false" in caplog.text
    with pytest.raises(PluginError, match="where rows restart"):
        use_fused_kernel("toy", FUSED, none, GPU, starts)
