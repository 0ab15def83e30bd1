"""Results of the ``rwkv`` package (Apache-2.0) for a model: logits and states, at once and token by token.

It runs as a program of its own: importing that package changes settings of PyTorch for the whole process.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def ask(model: dict[str, Tensor], tokens: Tensor, folder: Path, *, generation: int) -> dict[str, Tensor]:
    """Of RWKV-``generation`` (6 or 7): ``logits`` and ``stepped_logits`` [T, V], ``state.0`` and on: 3 a layer."""
    torch.save(model, folder / "model.pth")
    settings = {"RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": "1" if generation == 7 else "0"}
    done = subprocess.run(
        [sys.executable, __file__, str(folder), *(str(token) for token in tokens.tolist())],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "found.safetensors")


def main(folder: Path, tokens: list[int]) -> None:
    from rwkv.model import RWKV

    # RWKV-7's loader adds the suffix whether it is there or not, RWKV-6's if it is not.
    oracle = RWKV(model=str(folder / "model"), strategy="cpu fp32")
    at_once, state = oracle.forward(tokens, None, full_output=True)
    found = {"logits": at_once} | {f"state.{i}": leaf for i, leaf in enumerate(state)}
    stepped, state = [], None
    for token in tokens:
        logits, state = oracle.forward([token], state)
        stepped.append(logits)
    found["stepped_logits"] = torch.stack(stepped)
    save_file({name: leaf.clone().contiguous() for name, leaf in found.items()}, folder / "found.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(token) for token in sys.argv[2:]])
