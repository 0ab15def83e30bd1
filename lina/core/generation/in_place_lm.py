"""The language model's step in place: the same sums as ``DelayLM.step``, with backbones that advance static buffers."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.core.generation.guidance import Guided, LanguageModel, pair_rows, unpair_rows
from lina.core.model.cross_attention import AttentionState, CrossAttention, PositionCrossAttention, TextMemory
from lina.core.model.delay_lm import Conditions, DelayLM, LMState
from lina.core.model.in_place import InPlaceStep, in_place_step
from lina.core.ops.small_linear import is_small, small_linear


class InPlaceLM(nn.Module):
    """Called as ``DelayLM.step`` or ``Guided.step`` is; the state returned is the one passed in, advanced."""

    def __init__(self, lm: LanguageModel) -> None:
        super().__init__()
        self.scale = lm.scale if isinstance(lm, Guided) else None
        model = lm.lm if isinstance(lm, Guided) else lm
        self.enter, self.leave = _Enter(model), _Leave(model, self.scale)
        self.encoder, self.decoder = in_place_step(model.encoder), in_place_step(model.decoder)
        attention: Any = model.cross_att
        by_position = isinstance(attention, PositionCrossAttention)
        self.attend: Any = _AttendByPosition(attention) if by_position else _Attend(attention)

    def forward(
        self, tokens: Int[Tensor, "B Q"], state: LMState, conditions: Conditions
    ) -> tuple[Float[Tensor, "B Q V"], LMState, Float[Tensor, "B J"]]:
        rows, own = state, conditions
        if self.scale is not None:
            tokens, rows, own = tokens.repeat_interleave(2, 0), unpair_rows(state), unpair_rows(conditions)
        y = self.encoder(self.enter(tokens, own.speaker), rows.encoder)
        y, weights = self.attend(y, rows.attention, own.text)
        logits = self.leave(self.decoder(y, rows.decoder))
        return logits, state, weights if self.scale is None else pair_rows(weights)[:, 0]

    def stored(self, state: LMState, dtype: torch.dtype) -> LMState:
        """The state with the memories of fused steps converted to ``dtype``."""
        return LMState(
            self.encoder.stored(state.encoder, dtype),
            self.attend.stored(state.attention, dtype),
            self.decoder.stored(state.decoder, dtype),
        )

    def regions(self) -> Iterator[nn.Module]:
        """The parts that a compiler is given one by one."""
        yield from (self.enter, self.leave)
        for step in (self.encoder, self.decoder, self.attend):
            yield from _regions(step)


def _regions(step: nn.Module) -> Iterator[nn.Module]:
    if getattr(step, "compiles_alone", True):
        yield step
        return
    for child in step.children():
        yield from (
            region
            for part in (child if isinstance(child, nn.ModuleList) else [child])
            for region in _regions(part)
        )


class _Enter(nn.Module):
    def __init__(self, lm: DelayLM) -> None:
        super().__init__()
        self.embed, self.offsets = lm.rvq_embed, cast(Tensor, lm.token_offsets)

    def forward(self, tokens: Int[Tensor, "B Q"], speaker: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        embedded: Tensor = self.embed(tokens + self.offsets).sum(-2)
        return embedded + speaker


class _Leave(nn.Module):
    def __init__(self, lm: DelayLM, scale: float | None) -> None:
        super().__init__()
        self.lm, self.scale = lm, scale

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B Q V"]:
        logits = self._logits(x)
        if self.scale is None:
            return logits
        conditional, unconditional = pair_rows(logits).unbind(1)
        return torch.where(conditional.isneginf(), conditional, unconditional.lerp(conditional, self.scale))

    def _logits(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B Q V"]:
        head, norm = self.lm.logits_head, self.lm.head_norm
        if not is_small(x, head.in_features):
            return self.lm.logits(norm(x))
        own = (norm.weight, norm.bias, norm.eps) if isinstance(norm, nn.LayerNorm) else ()
        return self.lm.by_codebook(small_linear(x, head.weight, None, *own))


class _Attend(InPlaceStep):
    """Add the text that is read; return the attention as well."""

    def __init__(self, attention: CrossAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, y: Tensor, state: AttentionState, memory: TextMemory) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        read, after, weights = self.attention.step(y, state, memory)
        state.time.copy_(after.time)
        return y + read, weights


class _AttendByPosition(InPlaceStep):
    compiles_alone = False

    def __init__(self, attention: PositionCrossAttention) -> None:
        super().__init__()
        self.locate, self.read = _Locate(attention), _Read(attention)
        self.position = in_place_step(attention.pos_net)

    def forward(self, y: Tensor, state: AttentionState, memory: TextMemory) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        where = self.position(self.locate(y, state, memory), state.position)
        out: tuple[Tensor, Tensor] = self.read(y, where, memory)
        return out

    def stored(self, state: Any, dtype: torch.dtype) -> Any:
        return state._replace(position=self.position.stored(state.position, dtype))


class _Locate(nn.Module):
    def __init__(self, attention: PositionCrossAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, y: Tensor, state: AttentionState, memory: TextMemory) -> Tensor:
        where: Tensor = self.attention.locate(y, state, memory)
        state.time.add_(1)
        return where


class _Read(nn.Module):
    def __init__(self, attention: PositionCrossAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, y: Tensor, where: Tensor, memory: TextMemory) -> tuple[Tensor, Tensor]:
        read, weights = self.attention.read(where, memory)
        return y + read.to(y.dtype), weights
