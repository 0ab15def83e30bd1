"""Text encoder over the whole text in both directions, so it is a condition and not a stream.

Pre-norm self-attention blocks with rotary positions, without output projection, as in lina-speech.
"""

from collections.abc import Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lina.core.model.stack import SwiGLU
from lina.core.ops.rotary import apply_rotary


class SelfAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)

    def forward(self, x: Float[Tensor, "B J D"], mask: Bool[Tensor, "B J"]) -> Float[Tensor, "B J D"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).unbind(2)
        positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        q, k, v = (t.transpose(1, 2) for t in (apply_rotary(q, positions), apply_rotary(k, positions), v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return out.transpose(1, 2).flatten(2)


class TextBlock(nn.Module):
    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.tmix = SelfAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.cmix = SwiGLU(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B J D"], mask: Bool[Tensor, "B J"]) -> Float[Tensor, "B J D"]:
        x = x + self.tmix(self.norm1(x), mask)
        out: Tensor = self.dropout(x + self.cmix(self.norm2(x)))
        return out


class TextEncoder(nn.Module):
    """Text embeddings to text encodings [B, J, D]; positions where the mask is false are never read."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.sa = nn.ModuleList(TextBlock(d_model, n_heads, dropout) for _ in range(n_layers))

    def forward(self, x: Float[Tensor, "B J D"], mask: Bool[Tensor, "B J"]) -> Float[Tensor, "B J D"]:
        for block in self.sa:
            x = block(x, mask)
        return x


def pad_texts(
    texts: Sequence[Sequence[int]], multiple: int = 1
) -> tuple[Int[Tensor, "B J"], Bool[Tensor, "B J"]]:
    """Pad ids to a common length (a multiple of ``multiple``); returns them and the mask of valid positions."""
    lengths = [len(text) for text in texts]
    longest = max(1, *lengths)
    longest += -longest % multiple
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    ids[mask] = torch.tensor([*chain.from_iterable(texts)], dtype=torch.int64)
    return ids, mask
