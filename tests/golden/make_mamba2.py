"""Make tests/golden/mamba2.safetensors: what transformers' Mamba-2 computes, in its plain PyTorch form.

Needs transformers (Apache-2.0), an oracle only: `pip install --no-deps transformers tokenizers huggingface-hub`.

    python tests/golden/make_mamba2.py
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Mamba2Config, Mamba2Model

HERE = Path(__file__).parent
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "expand": 2,
    "head_dim": 8,
    "num_heads": 4,
    "n_groups": 2,
}
ROWS, FRAMES = 2, 45


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def main() -> None:
    torch.manual_seed(0)
    config = Mamba2Config(
        **SIZES, state_size=6, conv_kernel=4, chunk_size=16, vocab_size=2, eos_token_id=None
    )
    model = Mamba2Model(config).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # ones and zeros would hide a missing one
    x = torch.randn(ROWS, FRAMES, config.hidden_size)
    frames = x.clone().requires_grad_()
    result = model(inputs_embeds=frames, use_cache=True)
    y, weights = result.last_hidden_state, torch.randn(ROWS, FRAMES, config.hidden_size)
    (y * weights).sum().backward()

    golden: dict[str, Tensor] = {"x": x, "y": y.detach(), "weights": weights, "gradient/x": gradient(frames)}
    for name, parameter in model.named_parameters():
        if not name.startswith("embeddings"):
            golden[f"parameter/{name}"] = parameter.detach()
            golden[f"gradient/{name}"] = gradient(parameter)
    for layer in range(config.num_hidden_layers):
        # Theirs is [B, C, W] with the frame itself, and [B, H, V, K].
        tail = result.cache_params.get_conv_state(layer, state_idx=0)
        memory = result.cache_params.get_recurrent_state(layer, state_idx=0)
        golden[f"state/{layer}.tail"] = tail[..., 1:].transpose(1, 2).detach()
        golden[f"state/{layer}.memory"] = memory.transpose(2, 3).detach()
    save_file({name: tensor.contiguous() for name, tensor in golden.items()}, HERE / "mamba2.safetensors")


if __name__ == "__main__":
    main()
