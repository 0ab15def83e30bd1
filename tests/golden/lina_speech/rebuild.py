"""Lina-speech's golden checkpoints and what its own code computed from them, out of the small files beside this one.

The checkpoints hold random weights: what PyTorch drew from the seed in ``SEEDS``, plus noise drawn from seed 7. So a
file says where in the stream of random numbers a tensor was drawn instead of holding it; the stream is the Mersenne
Twister's, which NumPy keeps as it is for good. ``trim.py`` made the files and compared what comes out here with the
originals.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).parent
SEEDS = {"gla": 3981533324, "mamba": 3278786596, "rwkv6": 1863997982}
NOISE_SEED = 7
LENGTH = 1_600_000
"""Draws that suffice for the largest checkpoint."""


def stream(seed: int) -> np.ndarray:
    """PyTorch's uniform random numbers of a seed, 24 bits each."""
    drawn = np.random.RandomState(seed).randint(0, 2**32, LENGTH, dtype=np.uint32)
    return (drawn & 0xFFFFFF) / 2**24


def normals(uniform: np.ndarray, count: int) -> np.ndarray:
    """``count`` normal numbers as PyTorch makes them: Box-Muller in blocks of 16, the last block drawn anew."""
    blocks = uniform[: count // 16 * 16].reshape(-1, 2, 8)
    if count % 16:
        blocks = np.concatenate([blocks, uniform[count : count + 16].reshape(1, 2, 8)])
    radius, angle = np.sqrt(-2 * np.log1p(-blocks[:, 0])), 2 * math.pi * blocks[:, 1]
    values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
    return np.concatenate([values[: count - 16], values[-16:]]) if count % 16 else values


def noise(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Return the noise added to each random tensor of a checkpoint, in its order."""
    uniform, found = stream(NOISE_SEED), {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        found[name] = noise_size(name, shape) * normals(uniform, count).reshape(shape)
        uniform = uniform[count + 16 * bool(count % 16) :]
    return found


def noise_size(name: str, shape: list[int]) -> float:
    if name == "rvq_embed.weight":
        return 0.025
    return 0.05 if len(shape) > 1 else 0.02


def has_noise(name: str) -> bool:
    return not name.endswith(("rotary.freqs", "A_log"))


def base(uniform: np.ndarray, kind: str, offset: int, size: float, shape: list[int]) -> np.ndarray:
    """A tensor as it was drawn: uniform in -size .. size, or normal."""
    count = math.prod(shape)
    drawn = uniform[offset : offset + count + 16]
    values = 2 * drawn[:count] - 1 if kind == "uniform" else normals(drawn, count)
    return size * values.reshape(shape)


def checkpoint(name: str) -> dict[str, Tensor]:
    """The tensors of NAME.pt, by lina-speech's names and in its order."""
    kept, metadata = _read(name, "model.")
    drawn, order = json.loads(metadata["drawn"]), json.loads(metadata["order"])
    shapes = {key: drawn[key][3] if key in drawn else list(kept[key].shape) for key in order}
    added = noise({key: shape for key, shape in shapes.items() if has_noise(key)})
    uniform, found = stream(SEEDS[name]), {}
    for key in order:
        if key in kept:
            found[key] = kept[key]
            continue
        value = base(uniform, *drawn[key])
        if key == "txt_embed.weight":  # the row of the padding
            value[0] = 0
        found[key] = torch.from_numpy(value + added[key]).float()
    return found


def expected(name: str) -> dict[str, Tensor]:
    """The tensors of NAME.expected.safetensors; of the logits only those of ``tokens`` [Q, K]."""
    return _read(name, "expected.")[0]


def _read(name: str, prefix: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (it is no dictionary)
        return {key.removeprefix(prefix): file.get_tensor(key) for key in names}, file.metadata()
