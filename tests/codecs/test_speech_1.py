"""The weights that come with lina: whole and in streams, on speech of a voice that they were not trained on."""

from pathlib import Path

import pytest
import torch

from lina.codec_training.stoi_loss import STOILoss
from lina.codecs.lina import LinaCodec, LinaCodecConfig
from lina.codecs.lina.plugin import RELEASES, StreamingLina
from lina.core.audio.codec import decode, encode
from lina.core.audio.read import read_audio

SAMPLES = Path(__file__).parents[2] / "data/asterisk-sample"


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    pytest.importorskip("G722")
    names = ("conf-roll-callcomplete", "confbridge-pin-bad")
    audio = torch.cat([read_audio(SAMPLES / f"{name}.g722", 24_000) for name in names], dim=1)
    return audio[None, :, : audio.shape[1] // 960 * 960]


def codec(codebooks: int | None = None) -> StreamingLina:
    return LinaCodec.build(config=LinaCodecConfig(codebooks=codebooks))


def test_they_fit_a_repository_and_have_a_card() -> None:
    assert (RELEASES / "speech-1.safetensors").stat().st_size <= 8_000_000
    assert "Apache-2.0" in (RELEASES / "speech-1.md").read_text()


def test_they_are_the_default_of_a_spec() -> None:
    built = codec()
    assert (built.sample_rate, built.hop, built.codebook_sizes) == (24_000, 960, (1024,) * 8)
    assert codec(4).codebook_sizes == (1024,) * 4


def test_more_codebooks_are_more_intelligible(speech: torch.Tensor) -> None:
    loss = STOILoss(24_000)
    distances = []
    for codebooks in (1, 2, 4, 8):
        built = codec(codebooks)
        decoded = decode(built, encode(built, speech))
        distances.append(float(loss(decoded[:, 0], speech[:, 0])))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.12


def test_frame_by_frame_is_the_whole(speech: torch.Tensor) -> None:
    built = codec()
    codes = encode(built, speech)
    whole = decode(built, codes)
    state, output = built.decoder.initial_state(1), []
    for frame in codes.unbind(1):
        audio, state = built.decoder.step(frame, state)
        output.append(audio)
    assert torch.allclose(torch.cat(output, dim=-1), whole, atol=1e-4)


@pytest.mark.parametrize("kind", ["silence", "full scale", "direct current", "noise", "clipped"])
def test_nothing_blows_up(kind: str, speech: torch.Tensor) -> None:
    samples = 25 * 960
    time = torch.arange(samples)
    audio = {
        "silence": torch.zeros(samples),
        "full scale": torch.sin(time * 0.05),
        "direct current": torch.ones(samples),
        "noise": torch.randn(samples, generator=torch.Generator().manual_seed(0)).clamp(-1, 1),
        "clipped": (speech[0, 0, :samples] * 100).clamp(-1, 1),
    }[kind]
    built = codec()
    decoded = decode(built, encode(built, audio[None, None]))
    assert bool(decoded.isfinite().all())
    assert float(decoded.square().mean().sqrt()) <= 2 * float(audio.square().mean().sqrt()) + 1e-3
