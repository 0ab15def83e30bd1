"""Models of benchmarks/decode.py: lina's by their specs, with random weights, and the requests they decode."""

from pathlib import Path
from typing import Any

import torch

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.generation.guidance import LanguageModel
from lina.core.generation.settings import NEVER, Sampling, Window
from lina.core.model.delay_lm import DelayLM
from lina.engine.request import Request
from lina.runs.build_model import build_lm

ROOT = Path(__file__).resolve().parent.parent
CODEBOOKS = (1024,) * 4
TEXT = 96
"""Text positions of each stream."""
PLACEHOLDERS = (
    "data.config.path=none",
    "codec.plugin=lina",
    "codec.config={codebooks: 4}",
    "tokenizer={plugin: bytes}",
)
"""Values for the keys that the specs of lina-speech leave open; a decoding step does not look at them."""
ENDLESS = Window(ahead=NEVER, back=NEVER, pace=0.0, stop_within=0)
"""Never arrives at the end of its text, so that no stream stops while it is timed; all of the window is computed."""


def spec_model(spec: str, *overrides: str, device: str = "cuda") -> DelayLM:
    """The model of a spec, with random weights."""
    resolved = resolve(load_spec(ROOT / spec, [*PLACEHOLDERS, *overrides]))
    lm = build_lm(resolved, codebook_sizes=CODEBOOKS, vocab_size=256, speakers=1, seed=0)
    return lm.eval().requires_grad_(False).to(device)


def request(lm: LanguageModel, number: int, max_frames: int = 10**9, **options: Any) -> Request:
    """An endless stream with a text of its own, sampled as lina-speech did: codebook 0 among the 100 likeliest."""
    device = next(iter(lm.parameters())).device  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(number)
    vocabulary = int(lm.txt_embed.num_embeddings)  # type: ignore[union-attr]
    text = torch.randint(1, vocabulary, (1, TEXT), generator=generator).to(device)
    with torch.inference_mode():
        conditions = lm.conditions(text, torch.ones_like(text, dtype=torch.bool))
    sampling = Sampling([1.0, 0.0, 0.0, 0.0], top_k=100)
    return Request(conditions, sampling, max_frames, key=number, window=ENDLESS, **options)
