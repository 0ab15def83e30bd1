"""PESQ and STOI losses against reference implementations of both metrics."""

from pathlib import Path

import pytest
import torch

from lina.codec_training.pesq_loss import PESQLoss
from lina.codec_training.stoi_loss import STOILoss

RATE = 16_000
NOISES = (30, 20, 10, 0)
"""SNR in dB."""
PESQ_RAW = (1.876, 0.679, -0.478, -0.925)
"""Raw wide-band PESQ (before the mapping to MOS) of the same pairs by pesq 0.0.4 (PyPI)."""
STOI = (0.997, 0.973, 0.874, 0.737)
"""STOI of the same pairs by pystoi 0.4.1."""

Loss = type[PESQLoss] | type[STOILoss]
BOTH = pytest.mark.parametrize("kind", [PESQLoss, STOILoss])


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    g722 = pytest.importorskip("G722")
    sample = Path(__file__).parents[2] / "data/asterisk-sample/conf-roll-callcomplete.g722"
    decoded = g722.G722(16_000, 64_000).decode(sample.read_bytes())
    return torch.tensor(decoded, dtype=torch.float32)[None] / 32_768


def noisy(audio: torch.Tensor, decibel: float) -> torch.Tensor:
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    return audio + noise * audio.square().mean().sqrt() * 10 ** (-decibel / 20)


def test_pesq_loss_correlates_with_pesq(speech: torch.Tensor) -> None:
    loss = PESQLoss(RATE)
    ours = torch.tensor([float(loss(noisy(speech, snr), speech)) for snr in NOISES])
    theirs = 4.5 - torch.tensor(PESQ_RAW)
    assert float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]) > 0.98
    assert abs(float(ours[0] - theirs[0])) < 0.5, "close to the score itself in the range of codecs"


def test_stoi_loss_equals_stoi(speech: torch.Tensor) -> None:
    loss = STOILoss(RATE)
    ours = torch.tensor([1 - float(loss(noisy(speech, snr), speech)) for snr in NOISES])
    assert torch.allclose(ours, torch.tensor(STOI), atol=0.02)


@BOTH
@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_identical_audio_has_no_loss(kind: Loss, rate: int) -> None:
    audio = 0.1 * torch.randn(2, rate, generator=torch.Generator().manual_seed(0))
    loss = kind(rate)
    assert float(loss(audio, audio)) < 0.02
    assert float(loss(audio.flip(0), audio)) > 0.1


@BOTH
def test_level_is_compensated(kind: Loss, speech: torch.Tensor) -> None:
    loss = kind(RATE)
    assert float(loss(0.5 * speech, speech)) < 0.02


def test_whistle_is_not_compensated(speech: torch.Tensor) -> None:
    loss = PESQLoss(RATE)
    tone = torch.sin(torch.arange(speech.shape[1]) * (2 * torch.pi * 3300 / RATE))
    whistle = speech + tone * speech.square().mean().sqrt()
    assert float(loss(whistle, speech)) > 2.0


def test_added_components_disturb_more_than_missing_ones(speech: torch.Tensor) -> None:
    loss, noise = PESQLoss(RATE), noisy(speech, 15)
    assert float(loss(noise, speech)) > float(loss(speech, noise))


@BOTH
@pytest.mark.parametrize("silent", ["decoded", "real", "both"])
def test_silence_has_a_finite_gradient(kind: Loss, silent: str) -> None:
    audio = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros_like(audio)
    decoded = (nothing if silent in ("decoded", "both") else audio).clone().requires_grad_()
    kind(RATE)(decoded, nothing if silent in ("real", "both") else audio).backward()
    assert decoded.grad is not None
    assert bool(decoded.grad.isfinite().all())


@BOTH
def test_gradient_descent_reduces_the_loss(kind: Loss) -> None:
    generator = torch.Generator().manual_seed(0)
    envelope = torch.rand(1, 40, generator=generator).repeat_interleave(RATE // 40, dim=1)
    real = envelope * torch.randn(1, RATE, generator=generator)
    loss = kind(RATE)
    decoded = (real + 0.3 * torch.randn(1, RATE, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([decoded], lr=0.01)
    before = float(loss(decoded, real).detach())
    for _ in range(20):
        optimizer.zero_grad()
        loss(decoded, real).backward()
        optimizer.step()
    assert float(loss(decoded, real).detach()) < 0.8 * before
