"""Quality of decoded speech: PESQ, STOI, ViSQOL, DNSMOS, Distill-MOS, mel distance, lag. All at 16 kHz.

Measures whose package is not installed are left out, with a line that names the package.
"""

import os
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lina.core.audio.mel import mel_spectrogram
from lina.evaluation.distill_mos import INSTALL as DISTILL_MOS_INSTALL
from lina.evaluation.metrics import AUDIO_METRICS, AudioMetric

RATE = 16_000
Samples = NDArray[np.float32]
INSTALL = "pip install 'lina[bench]'"
Judge = Callable[[Samples, Samples], float | None]
"""Reference and decoded audio, of one length -> a number; None if the measure is not defined."""

RANGE = 80.0
"""dB below the loudest band of the reference; softer bands count as silence."""
MOST_LAG = 0.05
"""Largest lag searched for, in seconds."""


def judges(quick: bool = False) -> tuple[dict[str, Judge], list[str]]:
    """Load the available measures by name; return a line for each missing one, too."""
    makers: dict[str, Callable[[], Judge]] = {"pesq": _pesq, "stoi": _stoi, "visqol": _visqol}
    if not quick:
        makers |= {name: partial(_without_reference, name) for name in AUDIO_METRICS}
    loaded: dict[str, Judge] = {}
    complaints = []
    for name, make in makers.items():
        try:
            loaded[name] = make()
        except ImportError as error:
            install = DISTILL_MOS_INSTALL if name == "distill_mos" else INSTALL
            complaints.append(f"{name} is left out: {error}; {install}")
    return loaded | {"mel": mel_distance, "lag": lag}, complaints


def fitted(audio: Samples, samples: int) -> Samples:
    """Trim or zero-pad ``audio`` to ``samples`` samples, clipped to [-1, 1]."""
    kept = np.clip(audio[:samples], -1.0, 1.0).astype(np.float32)
    return np.pad(kept, (0, samples - len(kept)))


def mel_distance(reference: Samples, decoded: Samples) -> float:
    """Mean distance in dB over 80 mel bands, windows of 64 ms each 16 ms; no level is adjusted."""
    spectra = [
        mel_spectrogram(torch.from_numpy(audio), sample_rate=RATE, window=1024, hop=256, n_mels=80)
        for audio in (reference, decoded)
    ]
    floor = float(spectra[0].max().clamp_min(1e-12)) * 10 ** (-RANGE / 10)
    levels = [10.0 * torch.log10(spectrum.clamp_min(floor)) for spectrum in spectra]
    return float((levels[0] - levels[1]).abs().mean())


def lag(reference: Samples, decoded: Samples) -> float:
    """Milliseconds by which ``decoded`` comes late: where envelopes correlate most, up to 50 ms.

    Waveforms are not compared: vocoders synthesize their own phases.
    """
    most = round(MOST_LAG * RATE)
    size = 2 ** int(np.ceil(np.log2(len(reference) + most)))
    before, after = (np.fft.rfft(_envelope(audio), size) for audio in (reference, decoded))
    product = after * np.conj(before)
    correlation = np.fft.irfft(product, size)
    around = np.concatenate([correlation[-most:], correlation[: most + 1]])
    return float(np.argmax(around) - most) / RATE * 1000.0


def _envelope(audio: Samples) -> Samples:
    """Rate of change of the loudness, smoothed over 20 ms, without its offset."""
    smooth = np.convolve(np.abs(audio), np.hanning(RATE // 50 + 1), "same")[: len(audio)]
    return np.asarray(np.diff(smooth, prepend=smooth[:1]), dtype=np.float32)


def _pesq() -> Judge:
    """PESQ wide band (ITU-T P.862.2)."""
    import pesq  # noqa: F401 (torchmetrics reports its absence only when it is called)
    from torchmetrics.functional.audio import perceptual_evaluation_speech_quality

    def judge(reference: Samples, decoded: Samples) -> float | None:
        try:
            return float(
                perceptual_evaluation_speech_quality(_tensor(decoded), _tensor(reference), RATE, "wb")
            )
        except RuntimeError:  # too short, or no speech found
            return None

    return judge


def _stoi() -> Judge:
    """STOI (Taal et al. 2011)."""
    import pystoi  # noqa: F401 (as above)
    from torchmetrics.functional.audio import short_time_objective_intelligibility

    def judge(reference: Samples, decoded: Samples) -> float | None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(short_time_objective_intelligibility(_tensor(decoded), _tensor(reference), RATE))
            except RuntimeWarning:  # too short
                return None

    return judge


def _tensor(audio: Samples) -> Tensor:
    return torch.from_numpy(audio)


def _visqol() -> Judge:
    """ViSQOL v3 for speech (Chinen et al. 2020, arXiv 2004.09584), 1 to 5, with its deep-lattice mapping.

    Compiled by numba, eight times as fast as without; one thread, as each process of the benchmark has one core.
    """
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # read when numba is imported
    import ai_edge_litert.interpreter  # noqa: F401 (the package would fall back to another mapping)
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return lambda reference, decoded: float(api.measure_from_arrays(reference, decoded, RATE).moslqo)


def _without_reference(name: str) -> Judge:
    score: AudioMetric = AUDIO_METRICS[name].load()
    return lambda _reference, decoded: score(_tensor(decoded))
