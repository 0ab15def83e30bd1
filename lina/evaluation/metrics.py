"""Judges of speech that need a package of their own: naturalness (DNSMOS) and the speaker's voice. All at 16 kHz."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

RATE = 16_000
"""Hz of the audio that judges want."""
DNSMOS_SECONDS = 9.01
DNSMOS_OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""The polynomial from the network's raw overall score to DNSMOS P.835 OVRL, as its authors give it."""

Naturalness = Callable[[Float[Tensor, "samples"]], float]
SpeakerEncoder = Callable[[Float[Tensor, "samples"]], NDArray[np.float32]]
"""Audio -> a vector of length 1 that tells voices apart; the cosine of two is how alike they are."""


def dnsmos(every: int = 1) -> Naturalness:
    """DNSMOS P.835 (Reddy et al. 2022, arXiv 2110.01763), overall, 1 to 5; the network of the package speechmos.

    Args:
        every: seconds from one window of 9.01 s to the next; its authors take 1.

    Raises:
        ImportError: onnxruntime or speechmos is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = _folder("speechmos") / "dnsmos_models/sig_bak_ovr.onnx"
    session = onnxruntime.InferenceSession(str(model), options)

    def judge(audio: Float[Tensor, "samples"]) -> float:
        """Mean over windows; shorter audio is doubled until it is long enough."""
        samples, window = audio.clamp(-1.0, 1.0).numpy(), int(DNSMOS_SECONDS * RATE)
        if not len(samples):
            return float("nan")
        samples = np.tile(samples, 2 ** max(0, int(np.ceil(np.log2(window / len(samples))))))
        starts = range(0, max(1, len(samples) - window + 1), every * RATE)
        scores = [session.run(None, {"input_1": samples[None, at : at + window]})[0][0][2] for at in starts]
        return float(np.mean(np.polyval(DNSMOS_OVERALL, scores)))

    return judge


def can_tell_speakers() -> bool:
    """Whether the package of ``speaker_encoder`` is installed; it is not imported."""
    return importlib.util.find_spec("resemblyzer") is not None


def speaker_encoder() -> SpeakerEncoder:
    """Resemblyzer's encoder (generalised end-to-end loss, Wan et al. 2018, arXiv 1710.10467).

    Raises:
        ImportError: Resemblyzer, or what it needs, is not installed.
    """
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(audio: Float[Tensor, "samples"]) -> NDArray[np.float32]:
        samples = audio.numpy().astype(np.float32)
        # As the encoder was trained: at one loudness, and without long silences unless there is nothing else.
        voiced = preprocess_wav(samples, source_sr=RATE)
        embedding: NDArray[np.float32] = encoder.embed_utterance(voiced if len(voiced) else samples)
        return embedding

    return embed


def similarity(one: NDArray[np.float32], references: list[NDArray[np.float32]]) -> float | None:
    """Cosine of an embedding and the mean of several; None without any."""
    if not references:
        return None
    mean = torch.from_numpy(np.mean(references, axis=0))
    return float(torch.nn.functional.cosine_similarity(torch.from_numpy(one), mean, dim=0))


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"No module named {package!r}")
    return Path(found.origin).parent
