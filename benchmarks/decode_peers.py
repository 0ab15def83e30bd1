"""Peers of benchmarks/decode.py: loops that others offer, with sampling, on the same GPU."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

LAYERS, WIDTH, HEADS, CODEBOOKS, TEXT = 12, 1024, 16, 4, 96


def draw(logits: Tensor) -> Tensor:
    """Codebook 0 among its 100 likeliest codes, the others the likeliest. Logits [B, Q, V]."""
    ordered, order = logits[:, 0].float().topk(100, -1)
    first = order.gather(-1, torch.multinomial(ordered.softmax(-1), 1))
    return torch.cat([first, logits[:, 1:].argmax(-1)], 1)


def frames_per_second(step: Callable[[], Any], rows: int, steps: int = 16) -> float:
    """Of ``step``, which makes a frame of ``rows`` streams."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return steps * rows / (time.perf_counter() - began)


@torch.inference_mode()
def musicgen(rows: int, cached: int) -> float:
    """transformers' MusicGen decoder in bfloat16, with its default cache holding ``cached`` frames."""
    from transformers import MusicgenDecoderConfig
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache
    from transformers.models.musicgen.modeling_musicgen import MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        vocab_size=1024,
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        ffn_dim=4 * WIDTH,
        num_codebooks=CODEBOOKS,
        max_position_embeddings=max(4096, cached + 64),
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model: Any = MusicgenForCausalLM(config)
        model = model.eval().bfloat16()
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for layer in range(LAYERS):
        shape = (rows, HEADS, cached, WIDTH // HEADS)
        keys, values = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        cache.self_attention_cache.update(keys, values, layer)
    text = torch.randn(rows, TEXT, WIDTH, device="cuda", dtype=torch.bfloat16)
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    tokens = torch.zeros(rows * CODEBOOKS, 1, dtype=torch.int64, device="cuda")

    def step() -> None:
        nonlocal tokens
        out = model(input_ids=tokens, encoder_hidden_states=text, use_cache=True, **{name: cache})
        tokens = draw(out.logits.view(rows, CODEBOOKS, -1)).view(-1, 1)

    return frames_per_second(step, rows)


class _FlaBlock(nn.Module):
    def __init__(self, layer: int) -> None:
        super().__init__()
        from fla.layers import GatedLinearAttention

        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixer = GatedLinearAttention(
            mode="fused_recurrent",
            hidden_size=WIDTH,
            expand_k=1.0,
            expand_v=2.0,
            num_heads=4,
            layer_idx=layer,
        )
        self.enter, self.leave = nn.Linear(WIDTH, 2 * 1408), nn.Linear(1408, WIDTH)

    def forward(self, x: Tensor, cache: Any) -> Tensor:
        x = x + self.mixer(self.norm1(x), past_key_values=cache, use_cache=True)[0]
        gate, value = self.enter(self.norm2(x)).chunk(2, -1)
        return x + self.leave(nn.functional.silu(gate) * value)  # type: ignore[no-any-return]


@torch.inference_mode()
def fla_gla(rows: int) -> float:
    """flash-linear-attention's GLA layers of the same sizes in bfloat16, without any text, in a plain loop."""
    from fla.models.utils import Cache

    torch.manual_seed(0)
    with torch.device("cuda"):
        blocks = nn.ModuleList(_FlaBlock(layer) for layer in range(LAYERS)).eval().bfloat16()
        embed = nn.Embedding(CODEBOOKS * 1027, WIDTH).bfloat16()
        head = nn.Linear(WIDTH, CODEBOOKS * 1027, bias=False).bfloat16()
        offsets = torch.arange(CODEBOOKS) * 1027
    cache: Any = Cache()
    tokens = torch.zeros(rows, CODEBOOKS, dtype=torch.int64, device="cuda")

    def step() -> None:
        nonlocal tokens, cache
        x = embed(tokens + offsets).sum(1)[:, None]
        for block in blocks:
            x = block(x, cache)
        tokens = draw(head(x[:, 0]).view(rows, CODEBOOKS, -1))

    return frames_per_second(step, rows)
