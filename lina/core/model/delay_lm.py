"""The delay-pattern language model: backbone, text cross-attention, backbone, and one head per codebook.

It is itself a stream over delayed columns of tokens (``lina.core.model.tokens``), under conditions. It knows embeddings
and backbones; never a codec, a file or a string.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lina.core.model.cross_attention import AttentionState, CrossAttention, TextMemory
from lina.core.model.text_blocks import TextSwaps
from lina.core.model.text_encoder import TextEncoder
from lina.core.model.tokens import MARKS, teacher_forcing
from lina.core.protocols import Backbone
from lina.core.state import State


class Conditions(NamedTuple):
    """Inputs of synthesis besides audio; computed once per utterance, read-only."""

    text: TextMemory
    speaker: Float[Tensor, "B D"]


class Heads(NamedTuple):
    """Output layers of all codebooks, which read the hidden states."""

    weight: Float[Tensor, "W D"]
    """The entries of each codebook, one codebook after the other."""
    sizes: tuple[int, ...]
    """Entries of each codebook, marks included."""
    offsets: Int[Tensor, "Q"]
    """First entry of each codebook."""


class LMState(NamedTuple):
    """State of the model between steps."""

    encoder: State
    attention: AttentionState
    decoder: State


def next_text(state: LMState, fresh: LMState) -> LMState:
    """State for continuing a stream with another text, read from its beginning; all else stays."""
    return state._replace(attention=fresh.attention)


class DelayLM(nn.Module):
    """P(next column | columns so far, conditions) for every codebook at once.

    Logits are [..., Q, V] with V the largest codebook plus its marks; entries beyond a smaller codebook are
    -inf.
    """

    marks = MARKS
    """Entries of each codebook before its codes."""

    def __init__(
        self,
        *,
        codebook_sizes: tuple[int, ...],
        vocab_size: int,
        d_model: int,
        encoder: Backbone,
        decoder: Backbone,
        attention: CrossAttention,
        text_encoder: TextEncoder,
        speakers: int = 0,
        drops_text: bool = False,
        head_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.codebook_sizes = codebook_sizes
        # As Python numbers: on the meta device no tensor can be read.
        sizes = [size + MARKS for size in codebook_sizes]
        starts = [sum(sizes[:q]) for q in range(len(sizes))]
        self.head_sizes = tuple(sizes)
        self.vocab = max(sizes)
        self.uniform = len(set(sizes)) == 1
        self.register_buffer("token_offsets", torch.tensor(starts), persistent=False)
        columns = [
            start + column if column < size else sum(sizes)
            for start, size in zip(starts, sizes, strict=True)
            for column in range(self.vocab)
        ]
        self.register_buffer("logit_columns", torch.tensor(columns), persistent=False)

        self.txt_embed = nn.Embedding(vocab_size, d_model)
        self.txt_encoder = text_encoder
        self.rvq_embed = nn.Embedding(sum(sizes), d_model)
        self.encoder: Any = encoder
        self.cross_att = attention
        self.decoder: Any = decoder
        self.head_norm = nn.LayerNorm(d_model) if head_norm else nn.Identity()
        self.logits_head = nn.Linear(d_model, sum(sizes), bias=False)
        self.speaker_embed = nn.Embedding(speakers + 1, d_model) if speakers else None
        """Row 0 is no speaker: none known, or dropped in training."""
        self.no_text = nn.Parameter(torch.randn(d_model) * 0.02) if drops_text else None
        """Stands for a dropped text."""
        self.dropout = nn.Dropout(dropout)
        # Of unit size, so that a token outweighs the mixture of its neighbors.
        nn.init.normal_(self.txt_embed.weight)
        nn.init.normal_(self.rvq_embed.weight, std=len(codebook_sizes) ** -0.5)
        nn.init.normal_(self.logits_head.weight, std=0.02)

    def conditions(
        self,
        text: Int[Tensor, "B J"],
        mask: Bool[Tensor, "B J"],
        speaker: Int[Tensor, "B"] | None = None,
        without_text: Bool[Tensor, "B"] | None = None,
    ) -> Conditions:
        """Encode texts (ids, valid where the mask is true) and speakers (0 or None: no speaker).

        ``without_text``: rows whose text is dropped. Needs a model built with ``drops_text``.
        """
        encoded = self.txt_encoder(self.txt_embed(text), mask)
        if without_text is not None:
            if self.no_text is None:
                raise ValueError(
                    "this model was not trained to speak without text (conditions.drop_text was 0)"
                )
            nothing = self.no_text.expand_as(encoded)
            encoded = torch.where(without_text[:, None, None], nothing.to(encoded.dtype), encoded)
            first = torch.arange(mask.shape[1], device=mask.device) == 0
            mask = torch.where(without_text[:, None], first, mask)
        voice = encoded.new_zeros(encoded.shape[0], encoded.shape[2])
        if self.speaker_embed is not None:
            who = (
                torch.zeros(len(text), dtype=torch.int64, device=text.device) if speaker is None else speaker
            )
            voice = self.speaker_embed(who)
        return Conditions(self.cross_att.remember(encoded, mask), voice)

    def forward(
        self,
        codes: Int[Tensor, "B T Q"],
        text: Int[Tensor, "B J"],
        text_mask: Bool[Tensor, "B J"] | None = None,
        speaker: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T Q V"]:
        """Logits of every code, given the codes before it in the delay pattern and the whole text.

        Entry ``marks`` + c of the last axis is code c (``lina.core.model.tokens``), so the loss is
        ``cross_entropy(logits.flatten(0, 2), codes.flatten() + model.marks)``. The final state is discarded.

        Args:
            codes: of utterances of equal length; pad shorter ones, and leave their padding out of the loss.
            text: ids of the tokenizer; ``text_mask`` is true where they are valid, by default everywhere.
            speaker: numbers from 1 on; 0, or None, is no speaker.
        """
        frames = codes.shape[1]
        columns = teacher_forcing(codes, codes.new_full((len(codes),), frames, dtype=torch.int64))
        mask = torch.ones_like(text, dtype=torch.bool) if text_mask is None else text_mask
        conditions = self.conditions(text, mask, speaker)
        logits, _, _ = self.parallel_forward(columns.inputs, self.initial_state(len(codes)), conditions)
        # Codebook q of frame t is predicted at step t + q.
        return torch.stack([logits[:, q : q + frames, q] for q in range(logits.shape[2])], dim=2)

    def initial_state(self, batch: int) -> LMState:
        return LMState(
            self.encoder.initial_state(batch),
            self.cross_att.initial_state(batch),
            self.decoder.initial_state(batch),
        )

    def parallel_forward(
        self,
        tokens: Int[Tensor, "B S Q"],
        state: LMState,
        conditions: Conditions,
        starts: Bool[Tensor, "B S"] | None = None,
        texts: TextSwaps | None = None,
    ) -> tuple[Float[Tensor, "B S Q V"], LMState, Float[Tensor, "B S J"]]:
        """Logits of the next column at every step, the final state, and the attention over the text.

        Packed rows (``lina.training.packing``) hold several streams end to end, and streams several texts.
        ``starts``: first steps of streams, where the backbones' states restart; only if the backbones take it.
        ``texts``: the conditions of each step, which are then counted over all rows; where they are swapped,
        ``next_text`` comes before the step.
        """
        hidden, state, weights = self.hidden_states(tokens, state, conditions, starts, texts)
        return self.logits(hidden), state, weights

    def hidden_states(
        self,
        tokens: Int[Tensor, "B S Q"],
        state: LMState,
        conditions: Conditions,
        starts: Bool[Tensor, "B S"] | None = None,
        texts: TextSwaps | None = None,
    ) -> tuple[Float[Tensor, "B S D"], LMState, Float[Tensor, "B S J"]]:
        """``parallel_forward`` up to the heads, which a loss may apply in pieces (``heads``)."""
        speaker = conditions.speaker
        x = self._embed(tokens)
        x = x + (speaker[:, None] if texts is None else nn.functional.embedding(texts.text, speaker))
        options = {} if starts is None else {"starts": starts}
        y, encoder = self.encoder.parallel_forward(self.dropout(x), state.encoder, **options)
        read, attention, weights = self.cross_att.parallel_forward(y, state.attention, conditions.text, texts)
        out, decoder = self.decoder.parallel_forward(self.dropout(y + read), state.decoder, **options)
        return self.head_norm(out), LMState(encoder, attention, decoder), weights

    def step(
        self, tokens: Int[Tensor, "B Q"], state: LMState, conditions: Conditions
    ) -> tuple[Float[Tensor, "B Q V"], LMState, Float[Tensor, "B J"]]:
        """One column."""
        x = self._embed(tokens) + conditions.speaker
        y, encoder = self.encoder.step(self.dropout(x), state.encoder)
        read, attention, weights = self.cross_att.step(y, state.attention, conditions.text)
        out, decoder = self.decoder.step(self.dropout(y + read), state.decoder)
        return self.logits(self.head_norm(out)), LMState(encoder, attention, decoder), weights

    def attention_maps(
        self, tokens: Int[Tensor, "B S Q"], state: LMState, conditions: Conditions
    ) -> Float[Tensor, "B M S J"]:
        """All M attentions over the text in ``parallel_forward``: one per head, or PACA's two."""
        x = self._embed(tokens) + conditions.speaker[:, None]
        y, _ = self.encoder.parallel_forward(self.dropout(x), state.encoder)
        return self.cross_att.maps(y, state.attention, conditions.text)

    def _embed(self, tokens: Int[Tensor, "*B Q"]) -> Float[Tensor, "*B D"]:
        return self.rvq_embed(tokens + self.token_offsets).sum(-2)  # type: ignore[operator, no-any-return]

    @property
    def heads(self) -> Heads:
        return Heads(self.logits_head.weight, self.head_sizes, self.token_offsets)  # type: ignore[arg-type]

    def logits(self, hidden: Float[Tensor, "*B D"]) -> Float[Tensor, "*B Q V"]:
        """The heads, over hidden states."""
        logits = self.logits_head(hidden)
        return self.by_codebook(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def by_codebook(self, logits: Float[Tensor, "*B N"]) -> Float[Tensor, "*B Q V"]:
        """The outputs of all heads, side by side, with -inf where a codebook has no such entry."""
        if not self.uniform:
            padded = nn.functional.pad(logits, (0, 1), value=-torch.inf)
            logits = padded.index_select(-1, self.logit_columns)  # type: ignore[arg-type]
        split: Tensor = logits.unflatten(-1, (len(self.codebook_sizes), self.vocab))
        return split
