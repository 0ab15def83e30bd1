"""Spec of a converted checkpoint: sizes, and the codec, text, sampling and training settings of lina-speech."""

import re
from pathlib import Path
from typing import Any

from lina.config.source_map import Origin, SpecSource
from lina.config.spec import Spec
from lina.config.validation import validate
from lina.convert.lina_speech.sizes import CheckpointSizes

CODEC_WEIGHTS = "encodec_24khz-d7cc33bc.th"
"""Released EnCodec weights, expected in the run by default."""


def tokenizer_file(sizes: CheckpointSizes) -> str:
    """Return the file name of the vocabulary in the run, as lina-speech names it."""
    return f"bpe{sizes.vocabulary}.json"


def spec_of(sizes: CheckpointSizes, source: Path, out: Path, codec_weights: Path | None) -> Spec:
    """Build the spec of the run ``out``; paths are relative to it, except ``codec_weights``.

    Raises:
        SpecError: The sizes are inconsistent; the message begins with ``source``.
    """
    encodec: dict[str, Any] = {
        "variant": "24khz",
        "codebooks": sizes.codebooks,
        "weights": str(codec_weights.resolve()) if codec_weights else CODEC_WEIGHTS,
    }
    if sizes.codebook_size != 1024:
        encodec["codebook_size"] = sizes.codebook_size
    text: dict[str, Any] = {
        "layers": sizes.text_layers,
        "heads": sizes.text_heads,
        "attention": sizes.attention,
        "heads_cross": sizes.heads_cross,
        "rotary": sizes.rotary_channels is not None,
        "rotary_channels": sizes.rotary_channels,
    }
    if sizes.position_dim is not None:
        text |= {"position_dim": sizes.position_dim, "position_layers": sizes.position_layers}
    tree = {
        "lina": 1,
        "name": out.name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", out.name) else "lina-speech",
        "backbone": {
            "plugin": sizes.backbone,
            "d_model": sizes.d_model,
            "n_layers": sizes.n_layers,
            "head_norm": False,
            "config": sizes.config,
        },
        "codec": {"plugin": "encodec", "config": encodec},
        "tokenizer": {"plugin": "bpe", "config": {"file": tokenizer_file(sizes)}},
        "text": text,
        "data": {"source": "folder", "config": {"path": "recordings"}},
        "train": {"lr": 5e-4, "warmup": 500, "betas": [0.9, 0.999], "out": str(out)},
        # As in lina-speech: top-100 sampling of the first codebook, the others greedy.
        "synthesize": {"temperature": [1.0] + [0.0] * (sizes.codebooks - 1), "top_k": 100},
    }
    origin = Origin((SpecSource(str(source), out, tree),))
    return validate(Spec, tree, origin).with_origin(origin)
