"""Distill-MOS, a predictor of the quality of speech (Stahl & Gamper 2025, arXiv 2502.05356; package distillmos).

Unlike DNSMOS, which was trained to judge noise suppression, it hears the artifacts of a neural codec's decoder.
"""

import contextlib
import io
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from lina.evaluation.stand_in import stand_in

INSTALL = "pip install --no-deps distillmos xls-r-sqa"
"""Without dependencies: the packages name torchaudio, librosa and transformers, which inference does not need."""


def load() -> "DistillMos":
    """Load the network of the package distillmos.

    Raises:
        ImportError: distillmos or xls-r-sqa is not installed.
    """
    # It calls torchaudio for reading files only.
    with stand_in(ModuleType("torchaudio")), contextlib.redirect_stdout(io.StringIO()):
        import distillmos

        return DistillMos(distillmos.ConvTransformerSQAModel().eval())


class DistillMos:
    """Quality of audio at 16 kHz, 1 to 5; the mean over windows of 7.68 s with hops of at most 1 s."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __call__(self, audio: Float[Tensor, "samples"]) -> float:
        """NaN without samples; shorter audio is padded with silence, as by the authors."""
        if not len(audio):
            return float("nan")
        with torch.inference_mode():
            return float(self.model(audio[None]))
