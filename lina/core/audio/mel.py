"""Mel spectrograms, for plots and mel-based metrics."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

DECIBEL_FLOOR = -80.0


def hz_to_mel(hz: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The mel scale as in the HTK Book (Young et al., "Filterbank Analysis"): 2595 log10(1 + f / 700)."""
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def mel_to_hz(mel: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The inverse of ``hz_to_mel``."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_corners(sample_rate: int, n_mels: int) -> Float[Tensor, " corners"]:
    """Hz, float64, n_mels + 2 points equally far apart in mel from 0 to half the rate.

    Filter m rises from corner m to its peak at corner m + 1 and falls to corner m + 2.
    """
    top = hz_to_mel(torch.tensor(sample_rate / 2, dtype=torch.float64))
    return mel_to_hz(torch.linspace(0.0, 1.0, n_mels + 2, dtype=torch.float64) * top)


def mel_filters(sample_rate: int, fft: int, n_mels: int) -> Float[Tensor, "mels bins"]:
    """Triangles of height 1 over the fft // 2 + 1 frequencies of a real Fourier transform."""
    corners = mel_corners(sample_rate, n_mels)
    frequencies = torch.linspace(0.0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (frequencies - left) / (peak - left)
    falling = (right - frequencies) / (right - peak)
    return torch.minimum(rising, falling).clamp_min(0.0).float()


def mel_spectrogram(
    audio: Float[Tensor, "*batch samples"], *, sample_rate: int, window: int, hop: int, n_mels: int
) -> Float[Tensor, "*batch mels frames"]:
    """Power in each mel band; frames = 1 + samples // hop, frame t centered on sample t * hop (zeros outside).

    ``window`` (Hann) and ``hop`` are in samples, ``sample_rate`` in Hz. The Fourier transform is long
    enough for the narrowest filter, so that no band is empty.

    Raises:
        ValueError: a size is not positive.
    """
    if min(sample_rate, window, hop, n_mels) < 1:
        raise ValueError(
            f"sample_rate {sample_rate}, window {window}, hop {hop} and n_mels {n_mels} must be positive"
        )
    narrowest = float(mel_corners(sample_rate, n_mels)[1])
    fft = 2 ** math.ceil(math.log2(max(window, sample_rate / narrowest)))
    frames = torch.stft(
        audio.reshape(-1, audio.shape[-1]),
        n_fft=fft,
        hop_length=hop,
        win_length=window,
        window=torch.hann_window(window, device=audio.device, dtype=audio.dtype),
        pad_mode="constant",
        return_complex=True,
    )
    filters = mel_filters(sample_rate, fft, n_mels).to(audio)
    mel = filters @ frames.abs().square()
    return mel.reshape(*audio.shape[:-1], n_mels, mel.shape[-1])


def decibels(power: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """dB below the largest value, not less than -80; silence is -80 throughout."""
    peak = power.max().clamp_min(torch.finfo(power.dtype).tiny)
    floor = 10.0 ** (DECIBEL_FLOOR / 10)
    return 10.0 * torch.log10((power / peak).clamp_min(floor))
