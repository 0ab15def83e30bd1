"""Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598; for codec language models as in MusicGen, arXiv
2306.05284): the model runs with its text and without it, and the difference is scaled.

``Guided`` is a stream like the model it wraps. Each of its B rows is a pair of rows of the model, with the text and
without, that read the same tokens in one batch of 2 B.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.model.delay_lm import Conditions, DelayLM, LMState
from lina.core.state import S, tree_map

Face = Callable[[Tensor, LMState, Conditions], tuple[Tensor, LMState, Tensor]]


class Guided:
    """Logits are those without text + ``scale`` * (those with it - those without).

    Scale 1 is the model itself (callers take it as it is), 0 the model without text. State and conditions have the
    shapes [B, 2, ...]: with the text first.
    """

    def __init__(self, lm: DelayLM, scale: float) -> None:
        if lm.no_text is None:
            raise LinaError(
                f"guidance = {scale}, but this model was trained with its text always there; "
                "say guidance 1, or train with conditions.drop_text: 0.1"
            )
        self.lm, self.scale = lm, scale
        self.codebook_sizes, self.vocab = lm.codebook_sizes, lm.vocab

    def conditions(
        self, text: Int[Tensor, "B J"], mask: Bool[Tensor, "B J"], speaker: Int[Tensor, "B"] | None = None
    ) -> Conditions:
        """As ``DelayLM.conditions``. Both rows get the speaker."""
        without = torch.ones(len(text), dtype=torch.bool, device=text.device)
        with_text = self.lm.conditions(text, mask, speaker)
        return tree_map(
            lambda *both: torch.stack(both, 1), with_text, self.lm.conditions(text, mask, speaker, without)
        )

    def initial_state(self, batch: int) -> LMState:
        return pair_rows(self.lm.initial_state(2 * batch))

    def parallel_forward(
        self, tokens: Int[Tensor, "B S Q"], state: LMState, conditions: Conditions
    ) -> tuple[Float[Tensor, "B S Q V"], LMState, Float[Tensor, "B S J"]]:
        """As ``DelayLM.parallel_forward``; the attention is that with the text."""
        return self._both(self.lm.parallel_forward, tokens, state, conditions)

    def step(
        self, tokens: Int[Tensor, "B Q"], state: LMState, conditions: Conditions
    ) -> tuple[Float[Tensor, "B Q V"], LMState, Float[Tensor, "B J"]]:
        """As ``DelayLM.step``; the attention is that with the text."""
        return self._both(self.lm.step, tokens, state, conditions)

    def _both(
        self, face: Face, tokens: Tensor, state: LMState, conditions: Conditions
    ) -> tuple[Tensor, LMState, Tensor]:
        twice = tokens.repeat_interleave(2, 0)
        logits, after, attention = face(twice, unpair_rows(state), unpair_rows(conditions))
        conditional, unconditional = pair_rows(logits).unbind(1)
        guided = unconditional.lerp(conditional, self.scale)
        # Entries that a smaller codebook does not have are -inf in both, and the difference of infinities is NaN.
        return (
            torch.where(conditional.isneginf(), conditional, guided),
            pair_rows(after),
            pair_rows(attention)[:, 0],
        )


LanguageModel = DelayLM | Guided


def pair_rows(rows: S) -> S:
    """[2 B, ...] as [B, 2, ...], without copying."""
    return tree_map(lambda leaf: leaf.unflatten(0, (-1, 2)), rows)


def unpair_rows(pairs: S) -> S:
    return tree_map(lambda leaf: leaf.flatten(0, 1), pairs)
