import sys
from collections.abc import Iterator

import pytest
import torch

from lina.backbones.flash_linear_attention import obstacle


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    obstacle.cache_clear()
    yield
    obstacle.cache_clear()


def test_no_gpu_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert obstacle() == "there is no CUDA device"


def test_no_package_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "fla.ops", None)
    assert "pip install 'lina[fla]'" in (obstacle() or "")
