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


STEPS = 8
"""Steps of a captured graph: a state that they replace is copied into its buffer once for all of them."""


def frames_per_second(step: Callable[[], Any], rows: int, steps: int = 16, frames: int = 1) -> float:
    """Of ``step``, which makes ``frames`` frames of ``rows`` streams."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return steps * rows * frames / (time.perf_counter() - began)


def capture(steps: Callable[[], None]) -> Callable[[], None]:
    """A CUDA graph of ``steps``."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        steps()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        steps()
    return graph.replay


@torch.inference_mode()
def musicgen(rows: int, cached: int, graph: bool = False) -> float:
    """transformers' MusicGen decoder in bfloat16, with a cache of ``cached`` frames.

    As it is, with its default cache, which grows; or as a CUDA graph whose cache has static buffers of ``cached``
    frames, the last of which every step writes. The graph has its position at hand, a little in its favor.
    """
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
        out = model(input_ids=tokens, encoder_hidden_states=text, use_cache=True, **{name: cache})
        tokens.copy_(draw(out.logits.view(rows, CODEBOOKS, -1)).view(-1, 1))

    if not graph:
        return frames_per_second(step, rows)
    for buffers in cache.self_attention_cache.layers:
        _fix(buffers)
    embed = model.model.decoder.embed_positions
    position = embed(tokens.view(rows, CODEBOOKS, 1), cached)
    embed.forward = lambda *_, **__: position
    step()  # text is read into the cache once

    def steps() -> None:
        for _ in range(STEPS):
            step()

    return frames_per_second(capture(steps), rows, frames=STEPS)


def _fix(layer: Any) -> None:
    """Let a layer of a cache write its last frame, and stay as long as it is."""
    frames = layer.keys.shape[-2]

    def update(keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        layer.keys[:, :, -1:].copy_(keys)
        layer.values[:, :, -1:].copy_(values)
        return layer.keys, layer.values

    layer.update = update
    layer.get_mask_sizes = lambda *_, **__: (frames, 0)


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


class _States(list[dict[str, Any]]):
    """The states of fla's layers, by their numbers."""

    def update(self, layer_idx: int, **state: Any) -> dict[str, Any]:
        while len(self) <= layer_idx:
            self.append({})
        self[layer_idx] = state
        return state


@torch.inference_mode()
def fla_gla(rows: int, graph: bool = False) -> float:
    """flash-linear-attention's GLA layers of the same sizes in bfloat16, without text: in a plain loop, or captured."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        blocks = nn.ModuleList(_FlaBlock(layer) for layer in range(LAYERS)).eval().bfloat16()
        embed = nn.Embedding(CODEBOOKS * 1027, WIDTH).bfloat16()
        head = nn.Linear(WIDTH, CODEBOOKS * 1027, bias=False).bfloat16()
        offsets = torch.arange(CODEBOOKS) * 1027
    states = _States()
    tokens = torch.zeros(rows, CODEBOOKS, dtype=torch.int64, device="cuda")

    def step() -> None:
        x = embed(tokens + offsets).sum(1)[:, None]
        for block in blocks:
            x = block(x, states)
        tokens.copy_(draw(head(x[:, 0]).view(rows, CODEBOOKS, -1)))

    step()
    if not graph:
        return frames_per_second(step, rows)
    buffers = [state["recurrent_state"].clone() for state in states]

    def steps() -> None:
        for state, buffer in zip(states, buffers, strict=True):
            state["recurrent_state"] = buffer
        for _ in range(STEPS):
            step()
        for state, buffer in zip(states, buffers, strict=True):
            buffer.copy_(state["recurrent_state"])

    return frames_per_second(capture(steps), rows, frames=STEPS)
