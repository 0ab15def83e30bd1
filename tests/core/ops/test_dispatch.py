import logging
from collections.abc import Callable

import pytest
import torch

from lina.core.errors import PluginError
from lina.core.ops import dispatch
from lina.core.ops.dispatch import FastFormConfig, MixedPrecisionFormConfig, use_fast

CPU, GPU = torch.device("cpu"), torch.device("cuda")
AUTO, PLAIN, FAST = (
    FastFormConfig.model_validate({"kernels": kernels}) for kernels in ("auto", "plain", "fast")
)


@pytest.fixture(autouse=True)
def _nothing_was_said(caplog: pytest.LogCaptureFixture) -> None:
    dispatch.say_once.cache_clear()
    caplog.set_level(logging.INFO, logger="lina")


def none() -> str | None:
    return None


def some() -> str | None:
    return "the kernels are missing; pip install them"


def test_the_machine_decides_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    assert all(use_fast("toy", AUTO, none, GPU) for _ in range(3))
    assert [record.message for record in caplog.records] == ["toy: fast kernels"]


def test_an_obstacle_is_said_on_an_accelerator_only(caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fast("toy", AUTO, some, CPU)
    assert not use_fast("toy", AUTO, none, CPU)
    assert not caplog.records
    assert not any(use_fast("toy", AUTO, some, GPU) for _ in range(2))
    assert len(caplog.records) == 1
    assert "plain PyTorch form, since the kernels are missing" in caplog.text


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
def test_plain_is_plain(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fast("toy", PLAIN, none, device)
    assert not caplog.records


def test_fast_or_an_error() -> None:
    assert use_fast("toy", FAST, none, GPU)
    with pytest.raises(PluginError, match=r"toy: config.kernels is 'fast', but the kernels are missing"):
        use_fast("toy", FAST, some, GPU)
    with pytest.raises(PluginError, match="but the model is on the CPU"):
        use_fast("toy", FAST, none, CPU)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("obstacle", [none, some])
def test_a_form_for_mixed_precision_is_taken_there_and_where_it_is_asked_for(
    mixed: bool,
    obstacle: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: mixed and device == "cuda")
    config = MixedPrecisionFormConfig()
    assert use_fast("toy", config, obstacle, GPU) == (mixed and obstacle is none)
    assert ("too inexact for float32" in caplog.text) == (not mixed)
    assert not use_fast("toy", config, obstacle, CPU)
    assert len(caplog.records) == 1
    asked = config.model_copy(update={"kernels": "fast"})
    if obstacle is none:
        assert use_fast("toy", asked, obstacle, GPU)
    else:
        with pytest.raises(PluginError, match="the kernels are missing"):
            use_fast("toy", asked, obstacle, GPU)
