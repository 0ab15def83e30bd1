"""Codec losses against values computed by hand, and the receptive field of the discriminators."""

import math
from typing import Any

import pytest
import torch

from lina.codec_training.discriminators import Discriminators
from lina.codec_training.losses import (
    MelDistance,
    adversarial_loss,
    discriminator_loss,
    feature_distance,
    spectral_distance,
)
from lina.config.codec_spec import DiscriminatorsSection

RATE = 8000


def noise(rows: int = 2, samples: int = 4000, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def test_mel_distance_of_a_gain_is_its_logarithm() -> None:
    mel, audio = MelDistance(RATE), noise()
    assert float(mel(audio, mel.spectra(audio))) == 0
    # Each of the seven resolutions differs by log10(2) wherever it is above the floor.
    assert math.isclose(float(mel(2 * audio, mel.spectra(audio))), 7 * math.log10(2), rel_tol=1e-3)


def test_silence_has_a_finite_gradient() -> None:
    mel = MelDistance(RATE)
    silent = torch.zeros(1, 4000, requires_grad=True)
    mel(silent, mel.spectra(noise(1))).backward()
    assert silent.grad is not None
    assert bool(silent.grad.isfinite().all())


def test_no_mel_band_is_empty() -> None:
    mel = MelDistance(24_000)
    assert all(bool((spectrum > -5).all()) for spectrum in mel.spectra(noise(1, 8000)))


def test_spectral_distance_of_a_gain_is_its_logarithm() -> None:
    audio = noise()
    assert float(spectral_distance(audio, audio)) == 0
    assert math.isclose(float(spectral_distance(10 * audio, audio)), 1.0, rel_tol=1e-3)


def test_adversarial_losses_by_hand() -> None:
    real, fake = [torch.tensor([2.0, 0.5])], [torch.tensor([-2.0, 0.5])]
    assert float(discriminator_loss(real, fake, "hinge")) == 0.25 + 0.75
    assert float(discriminator_loss(real, fake, "least_squares")) == 0.625 + 2.125
    assert float(adversarial_loss(fake, "hinge")) == 0.75
    assert float(adversarial_loss(fake, "least_squares")) == (9 + 0.25) / 2
    assert float(adversarial_loss(fake * 2, "hinge")) == 1.5


def test_feature_distance_is_relative_to_real_features() -> None:
    real, fake = [[torch.tensor([2.0, -2.0]), torch.ones(2)]], [[torch.tensor([1.0, -2.0]), torch.ones(2)]]
    assert float(feature_distance(real, fake)) == 0.25
    bigger = [[10 * layer for layer in one] for one in real], [[10 * layer for layer in one] for one in fake]
    assert float(feature_distance(*bigger)) == 0.25


@pytest.mark.parametrize(
    "section", [{}, {"periods": (2, 3)}, {"windows": (), "periods": (5,), "period_channels": 3}]
)
def test_discriminators_cover_all_of_the_audio(section: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = DiscriminatorsSection(**({"windows": (256, 64), "channels": 4} | section))  # type: ignore[arg-type]
    discriminators, audio = Discriminators(settings), noise(2, 2000).requires_grad_()
    outputs = discriminators(discriminators.views(audio))
    assert len(outputs.logits) == len(outputs.features) == len(settings.windows) + len(settings.periods)
    for logit in outputs.logits:
        (gradient,) = torch.autograd.grad(logit[0].sum(), audio, retain_graph=True)
        assert bool((gradient[0].unfold(0, 500, 500).abs().sum(1) > 0).all())
        assert float(gradient[1].abs().max()) == 0, "rows are independent"
    first, rest = outputs.split(1)
    assert torch.equal(torch.cat([first.logits[0], rest.logits[0]]), outputs.logits[0])
    widths = [layer.shape[1] for layer in outputs.features[-1]]
    assert widths == ([3, 6, 12, 24, 24] if "period_channels" in section else widths)


def test_soft_and_loud_bands_look_alike_to_discriminators() -> None:
    discriminators = Discriminators(DiscriminatorsSection(windows=(256,), periods=(2,), channels=4))
    time = torch.arange(4000) / RATE
    both = 0.5 * torch.sin(2 * torch.pi * 500 * time) + 0.005 * torch.sin(2 * torch.pi * 3000 * time)
    spectra, folded = discriminators.views(both[None])
    magnitude = spectra.square().sum(1).sqrt()[0, 20]
    loud, soft = (float(magnitude[round(hz * 256 / RATE)]) for hz in (500, 3000))
    assert math.isclose(loud / soft, 100**0.3, rel_tol=0.02)
    assert 0.5 < float(folded.std()) < 3


def test_layers_of_discriminators_keep_the_scale_of_their_inputs() -> None:
    torch.manual_seed(0)
    discriminators = Discriminators(DiscriminatorsSection(windows=(256,), periods=(2,), channels=16))
    outputs = discriminators(discriminators.views(noise(2, 8000)))
    scales = [float(layer.detach().square().mean().sqrt()) for one in outputs.features for layer in one]
    assert all(0.05 < scale < 5 for scale in scales), scales


def test_discriminators_learn_to_discriminate() -> None:
    torch.manual_seed(0)
    discriminators = Discriminators(DiscriminatorsSection(windows=(256,), channels=4))
    optimizer = torch.optim.Adam(discriminators.parameters(), 1e-2)
    tone = torch.sin(torch.arange(2000) * 0.3).expand(2, -1) * 0.1
    losses = []
    for step in range(30):
        on_real, on_fake = discriminators(
            discriminators.views(torch.cat([tone, noise(2, 2000, step)]))
        ).split(2)
        loss = discriminator_loss(on_real.logits, on_fake.logits, "hinge")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
