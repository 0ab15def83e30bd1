"""Makes gla, mamba and rwkv6.safetensors: small copies of the golden files that lina-speech's own code computed.

    python -m tests.golden.lina_speech.trim FOLDER

FOLDER holds NAME.pt (checkpoints of random weights in lina-speech's format) and NAME.expected.safetensors. Tensors that
are found in the stream of random numbers are not stored (rebuild.py says how); of the logits 48 tokens a codebook are
kept, the greedy ones among them. The seeds were found from the weights themselves: the Mersenne Twister is linear, so
20,000 known bits of its output give its state, which can be turned back to its beginning.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.golden.lina_speech.rebuild import FOLDER, SEEDS, base, checkpoint, has_noise, noise, stream

KEPT = 48
CLOSE = 5e-6
"""Logarithms and sines of PyTorch's own are not NumPy's to the last bit."""
STORED_BELOW = 400
"""Numbers; smaller tensors are stored as they are."""


def find(value: np.ndarray, uniform: np.ndarray) -> tuple[str, int, float] | None:
    """Find kind, offset and size of a tensor in the stream of random numbers."""
    if np.abs(value).max() < 1e-6:
        return "uniform", 0, 0.0
    for kind in ("uniform", "normal"):
        first = value[1:] if kind == "normal" and not value[0].any() else value
        skipped = value.size - first.size
        size = float(np.abs(first).max() if kind == "uniform" else np.round(first.std(), 1))
        drawn = _drawn(first.ravel()[:64] / size, kind)
        places = np.arange(len(uniform) - value.size - 16)
        for step, number in enumerate(drawn):
            places = places[np.abs(uniform[places + step] - number) < 5e-3]
        for place in places - skipped:
            found = base(uniform, kind, int(place), 1.0, list(value.shape)).ravel()[skipped:]
            size = float(found @ first.ravel() / (found @ found)) if kind == "uniform" else size
            if np.abs(size * found - first.ravel()).max() < CLOSE:
                return kind, int(place), size
    return None


def _drawn(values: np.ndarray, kind: str) -> np.ndarray:
    """The numbers in 0 .. 1 of which ``base`` makes these."""
    if kind == "uniform":
        return (values + 1) / 2
    cosine, sine = np.moveaxis(values.reshape(-1, 2, 8), 1, 0)
    radius = -np.expm1(-(cosine**2 + sine**2) / 2)
    return np.stack([radius, np.arctan2(sine, cosine) / (2 * np.pi) % 1], axis=1).ravel()


def trim(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    weights = torch.load(folder / f"{name}.pt", weights_only=True)["model"]
    expected = load_file(folder / f"{name}.expected.safetensors")
    added = noise({key: list(value.shape) for key, value in weights.items() if has_noise(key)})
    uniform, drawn, kept = stream(SEEDS[name]), {}, {}
    for key, value in weights.items():
        large = key in added and value.numel() >= STORED_BELOW
        place = None
        if large:
            clean = value.double().numpy() - added[key]
            if key == "txt_embed.weight":
                clean[0] = 0
            place = find(clean, uniform)
        if place is None:
            kept[f"model.{key}"] = value
        else:
            drawn[key] = [*place, list(value.shape)]
    tokens = _tokens(expected, len(expected["codes"][0]))
    expected["logits"] = expected["logits"].gather(-1, tokens.expand(*expected["logits"].shape[:2], -1, -1))
    kept |= {f"expected.{key}": value for key, value in (expected | {"tokens": tokens}).items()}
    tensors = {key: value.contiguous() for key, value in kept.items()}
    return tensors, {"drawn": json.dumps(drawn), "order": json.dumps(list(weights))}


def _tokens(expected: dict[str, Tensor], codebooks: int) -> Tensor:
    spread = torch.linspace(0, expected["logits"].shape[-1] - 1, KEPT).long()
    rows = []
    for codebook in range(codebooks):
        greedy = expected["greedy"][codebook].unique() if "greedy" in expected else spread[:0]
        rows.append(torch.cat([greedy, spread[~torch.isin(spread, greedy)]])[:KEPT].sort().values)
    return torch.stack(rows)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    for name in SEEDS:
        tensors, metadata = trim(source, name)
        save_file(tensors, FOLDER / f"{name}.safetensors", metadata)
        original, again = torch.load(source / f"{name}.pt", weights_only=True)["model"], checkpoint(name)
        assert list(original) == list(again)
        apart = max(float((original[key] - again[key]).abs().max()) for key in original)
        assert apart < CLOSE, (name, apart)
        stored = [key for key in tensors if key.startswith("model.") and tensors[key].numel() >= STORED_BELOW]
        size = (FOLDER / f"{name}.safetensors").stat().st_size
        print(f"{name}: {size} bytes, weights within {apart:.1e}, stored whole: {stored}")
