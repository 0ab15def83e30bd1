import math

import pytest
import torch
from torch import Tensor

from lina.core.audio.mel import decibels, hz_to_mel, mel_corners, mel_filters, mel_spectrogram, mel_to_hz


def tone(hz: float, rate: int, seconds: float = 0.5) -> Tensor:
    return torch.sin(2 * math.pi * hz * torch.arange(int(rate * seconds)) / rate)


def test_scale_has_1000_mel_near_1000_hz_and_is_inverted() -> None:
    assert hz_to_mel(torch.tensor(1000.0)).item() == pytest.approx(1000.0, abs=0.1)
    hz = torch.tensor([0.0, 40.0, 700.0, 24000.0], dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz)), hz)


def test_filters_peak_at_their_corner_and_cover_every_inner_frequency() -> None:
    filters = mel_filters(16000, 2048, 20)
    peaks = filters.argmax(dim=1) * 16000 / 2048
    torch.testing.assert_close(peaks, mel_corners(16000, 20)[1:-1].float(), atol=16000 / 2048, rtol=0)
    inner = torch.linspace(0, 8000, 1025) >= mel_corners(16000, 20)[1].item()
    assert (filters.sum(dim=0)[inner][:-1] > 0).all()


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_a_tone_is_loudest_in_the_band_around_it(rate: int) -> None:
    mel = mel_spectrogram(tone(1000.0, rate), sample_rate=rate, window=rate // 32, hop=rate // 100, n_mels=80)
    corners = mel_corners(rate, 80)
    band = int(mel.mean(dim=1).argmax())
    assert corners[band] < 1000.0 < corners[band + 2]


def test_no_band_is_empty_even_for_a_short_window() -> None:
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    mel = mel_spectrogram(noise, sample_rate=8000, window=64, hop=80, n_mels=80)
    assert mel.shape == (80, 101)
    assert (mel.sum(dim=1) > 0).all()


def test_batch_is_row_by_row() -> None:
    audio = torch.stack([tone(300.0, 8000), tone(2000.0, 8000)])[None]
    sizes = {"sample_rate": 8000, "window": 256, "hop": 80, "n_mels": 40}
    mel = mel_spectrogram(audio, **sizes)
    assert mel.shape == (1, 2, 40, 51)
    torch.testing.assert_close(mel[0, 1], mel_spectrogram(audio[0, 1], **sizes))


def test_audio_shorter_than_a_window_is_padded() -> None:
    assert mel_spectrogram(torch.ones(3), sample_rate=8000, window=256, hop=80, n_mels=8).shape == (8, 1)


def test_decibels_are_relative_to_the_peak_and_silence_is_the_floor() -> None:
    torch.testing.assert_close(
        decibels(torch.tensor([4.0, 0.4, 0.0])), torch.tensor([0.0, -10.0, -80.0]), atol=1e-5, rtol=0
    )
    assert (decibels(torch.zeros(3)) == -80.0).all()


@pytest.mark.parametrize("name", ["sample_rate", "window", "hop", "n_mels"])
def test_a_size_of_zero_is_named(name: str) -> None:
    sizes = {"sample_rate": 8000, "window": 256, "hop": 80, "n_mels": 8, name: 0}
    with pytest.raises(ValueError, match=f"{name} 0"):
        mel_spectrogram(torch.ones(100), **sizes)
