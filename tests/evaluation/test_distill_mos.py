import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from lina.evaluation import distill_mos


class Loudness(torch.nn.Module):
    """Stand-in for the network: the shape of its input and output is that of distillmos 0.9.1."""

    def forward(self, audio: Tensor) -> Tensor:
        return 1 + 4 * audio.abs().mean(dim=1, keepdim=True)


def test_loading_needs_no_torchaudio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = ModuleType("distillmos")

    def network() -> Loudness:
        assert "torchaudio" in sys.modules
        print("weights loaded")
        return Loudness()

    package.__dict__["ConvTransformerSQAModel"] = network
    monkeypatch.setitem(sys.modules, "distillmos", package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    score = distill_mos.load()
    assert "torchaudio" not in sys.modules, "an empty module stays behind"
    assert capsys.readouterr().out == ""
    assert score(torch.full((16,), 0.5)) == pytest.approx(3.0)
    assert torch.tensor(score(torch.zeros(0))).isnan()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distillmos", None)
    with pytest.raises(ImportError, match="distillmos"):
        distill_mos.load()


def test_noise_has_a_low_score() -> None:
    """The network itself, where it is installed (it is no part of any extra: see ``distill_mos.INSTALL``)."""
    pytest.importorskip("distillmos", reason=distill_mos.INSTALL, exc_type=ImportError)
    score = distill_mos.load()
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(32_000, generator=generator)
    assert 1.0 <= score(noise) <= 2.5
