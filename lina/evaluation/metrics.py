"""Scores of single clips: transcript, DNSMOS, Distill-MOS and speaker similarity.

A metric whose package is not installed is left out, with a remark. All but the recognizer take 16 kHz audio.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lina.core.protocols import Recognizer
from lina.evaluation import distill_mos
from lina.evaluation.error_rates import count_errors
from lina.evaluation.records import RECORDINGS, ClipRecord
from lina.evaluation.stand_in import stand_in

RATE = 16_000
"""Sample rate of the metrics and of the speaker encoder, in Hz."""
DNSMOS_SECONDS = 9.01
DNSMOS_OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""Polynomial from the network's raw overall score to DNSMOS P.835 OVRL, published by its authors."""

T = TypeVar("T")
AudioMetric = Callable[[Float[Tensor, "samples"]], float]
"""Score of audio at ``RATE``; NaN where it cannot be scored."""
SpeakerEncoder = Callable[[Float[Tensor, "samples"]], NDArray[np.float32]]
"""Audio -> speaker embedding of norm 1; the cosine of two embeddings is their similarity."""


@dataclass(frozen=True)
class Scorer:
    """The recognizer of an evaluation, None if left out, and its metrics, by their fields in ``ClipRecord``."""

    recognizer: Recognizer | None
    metrics: Mapping[str, AudioMetric]

    def score(self, folder: Path, clip: ClipRecord) -> ClipRecord:
        """Return the clip with transcript and metrics; ``with_errors`` adds the errors of the transcript."""
        path = folder / clip.audio
        scores: dict[str, Any] = {}
        if self.recognizer is not None:
            scores = {
                "transcript": self.recognizer.transcribe(read_mono(path, self.recognizer.sample_rate)),
                "language": self.recognizer.language,
            }
        for name, metric in self.metrics.items():
            score = metric(read_mono(path, RATE))
            scores[name] = None if np.isnan(score) else score
        return clip.model_copy(update=scores)


def with_errors(clip: ClipRecord) -> ClipRecord:
    """Return the clip with the errors of its transcript, if it has one.

    They are counted from the stored transcript each time, and so always by the current normalization.
    """
    if clip.transcript is None:
        return clip
    return clip.model_copy(update=count_errors(clip.text, clip.transcript, clip.language)._asdict())


def with_similarity(
    folder: Path, clips: Sequence[ClipRecord], speakers: Mapping[str, str | None], encode: SpeakerEncoder
) -> list[ClipRecord]:
    """Add each clip's similarity to its speaker's recordings of the other texts; ``speakers`` by text id.

    The recording of the same text is left out: it would be similar by content and room, not by voice.
    """
    embeddings: dict[tuple[str, str], NDArray[np.float32]] = {}
    for clip in clips:
        audio = read_mono(folder / clip.audio, RATE)
        if len(audio):
            embeddings[clip.key] = encode(audio)
    recordings = [clip for clip in clips if clip.system == RECORDINGS and clip.key in embeddings]

    def with_own(clip: ClipRecord) -> ClipRecord:
        if clip.key not in embeddings:
            return clip
        same = [one for one in recordings if one.id != clip.id and speakers[one.id] == speakers[clip.id]]
        cosine = similarity(embeddings[clip.key], [embeddings[one.key] for one in same])
        return clip.model_copy(update={"similarity": cosine})

    return [with_own(clip) for clip in clips]


def dnsmos(every: int = 1) -> AudioMetric:
    """DNSMOS P.835 (Reddy et al. 2022, arXiv 2110.01763), overall, 1 to 5; the network of the package speechmos.

    Args:
        every: Hop between windows of 9.01 s, in seconds; its authors use 1.

    Raises:
        ImportError: onnxruntime or speechmos is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = _package_folder("speechmos") / "dnsmos_models/sig_bak_ovr.onnx"
    session = onnxruntime.InferenceSession(str(model), options)

    def score(audio: Float[Tensor, "samples"]) -> float:
        """Mean over windows; shorter audio is repeated until it fills one."""
        samples, window = audio.clamp(-1.0, 1.0).numpy(), int(DNSMOS_SECONDS * RATE)
        if not len(samples):
            return float("nan")
        samples = np.tile(samples, 2 ** max(0, int(np.ceil(np.log2(window / len(samples))))))
        starts = range(0, max(1, len(samples) - window + 1), every * RATE)
        raw = [session.run(None, {"input_1": samples[None, at : at + window]})[0][0][2] for at in starts]
        return float(np.mean(np.polyval(DNSMOS_OVERALL, raw)))

    return score


class AudioMetricInfo(NamedTuple):
    title: str
    load: Callable[[], AudioMetric]
    """Raises ImportError if a package is missing."""
    install: str
    """The command that installs it."""


AUDIO_METRICS = {
    "dnsmos": AudioMetricInfo("DNSMOS", dnsmos, "pip install 'lina[eval]'"),
    "distill_mos": AudioMetricInfo("Distill-MOS", distill_mos.load, distill_mos.INSTALL),
}
"""Metrics of single clips, by their fields in ``ClipRecord`` and their names in ``summary.MEASURES``."""


def load_audio_metrics(remarks: list[str]) -> dict[str, AudioMetric]:
    """The metrics whose packages are installed; the others are named in ``remarks``."""
    loaded = {
        name: load_optional(info.title, info.load, info.install, remarks)
        for name, info in AUDIO_METRICS.items()
    }
    return {name: metric for name, metric in loaded.items() if metric is not None}


def has_speaker_encoder() -> bool:
    """Return whether the package of ``speaker_encoder`` is installed, without importing it."""
    return importlib.util.find_spec("resemblyzer") is not None


def speaker_encoder() -> SpeakerEncoder:
    """Resemblyzer's encoder (generalized end-to-end loss, Wan et al. 2018, arXiv 1710.10467).

    Raises:
        ImportError: Resemblyzer or one of its dependencies is not installed.
    """
    # webrtcvad asks pkg_resources, which setuptools 82 removed, for its own version.
    resources = ModuleType("pkg_resources")
    resources.__dict__["get_distribution"] = importlib.metadata.distribution
    with stand_in(resources):
        from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(audio: Float[Tensor, "samples"]) -> NDArray[np.float32]:
        samples = audio.numpy().astype(np.float32)
        # As in its training: normalized loudness, long silences removed unless nothing else is left.
        trimmed = preprocess_wav(samples, source_sr=RATE)
        embedding: NDArray[np.float32] = encoder.embed_utterance(trimmed if len(trimmed) else samples)
        return embedding

    return embed


def similarity(embedding: NDArray[np.float32], references: list[NDArray[np.float32]]) -> float | None:
    """Cosine of an embedding and the mean of several; None without any."""
    if not references:
        return None
    mean = torch.from_numpy(np.mean(references, axis=0))
    return float(torch.nn.functional.cosine_similarity(torch.from_numpy(embedding), mean, dim=0))


def load_optional(name: str, load: Callable[[], T], install: str, remarks: list[str]) -> T | None:
    """Return ``load()``, or None and a remark if a package is missing."""
    try:
        return load()
    except ImportError as error:
        remarks.append(f"{name} is left out: {error}; {install}")
        return None


def read_mono(path: Path, sample_rate: int) -> Float[Tensor, "samples"]:
    """Read audio that lina wrote, mixed down and resampled; unlike in a corpus, silence is allowed."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(soxr.resample(audio.mean(axis=1), rate, sample_rate))


def _package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"No module named {package!r}")
    return Path(found.origin).parent
