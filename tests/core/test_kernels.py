import logging

import pytest

from lina.core import kernels
from lina.core.errors import PluginError
from lina.core.kernels import use_fast


@pytest.fixture(autouse=True)
def _nothing_was_said(caplog: pytest.LogCaptureFixture) -> None:
    kernels.say_once.cache_clear()
    caplog.set_level(logging.INFO, logger="lina")


def none() -> str | None:
    return None


def some() -> str | None:
    return "the kernels are missing; pip install them"


def test_the_machine_decides_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    assert all(use_fast("toy", "auto", none, on_accelerator=True) for _ in range(3))
    assert [record.message for record in caplog.records] == ["toy: fast kernels"]


def test_an_obstacle_is_said_on_an_accelerator_only(caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fast("toy", "auto", some, on_accelerator=False)
    assert not use_fast("toy", "auto", none, on_accelerator=False)
    assert not caplog.records
    assert not any(use_fast("toy", "auto", some, on_accelerator=True) for _ in range(2))
    assert len(caplog.records) == 1
    assert "plain PyTorch form, since the kernels are missing" in caplog.text


@pytest.mark.parametrize("on_accelerator", [False, True])
def test_plain_is_plain(on_accelerator: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert not use_fast("toy", "plain", none, on_accelerator)
    assert not caplog.records


def test_fast_or_an_error() -> None:
    assert use_fast("toy", "fast", none, on_accelerator=True)
    with pytest.raises(PluginError, match=r"toy: config.kernels is 'fast', but the kernels are missing"):
        use_fast("toy", "fast", some, on_accelerator=True)
    with pytest.raises(PluginError, match="but the model is on the CPU"):
        use_fast("toy", "fast", none, on_accelerator=False)
