"""The state of the engine's slots: everything that a step reads and writes, as one value, a row per slot."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.generation.attention_window import WindowRules, WindowState, first_place, window_rules
from lina.core.generation.guidance import LanguageModel
from lina.core.generation.repetition import RepetitionRules, repetition_rules
from lina.core.generation.sampling import sampling_rules
from lina.core.generation.sampling_rules import SamplingRules
from lina.core.generation.settings import Repetition
from lina.core.model.cross_attention import pad_memory
from lina.core.model.delay_lm import Conditions, LMState
from lina.core.model.delay_pattern import SkewState, undelay
from lina.core.model.tokens import PAD, START, delayed_columns
from lina.core.state import S, join_rows, take_rows, tree_map
from lina.engine.request import Request

T = TypeVar("T")

POSITIONS = 32
"""Text memories are padded to a multiple of this, doubled as often as needed, so that few shapes ever occur."""


class DecodeState(NamedTuple):
    """S slots. A slot without a stream has length 0; its output is ignored."""

    lm: LMState
    conditions: Conditions
    column: Int[Tensor, "S Q"]
    """The last column, which the next step reads."""
    forced: Int[Tensor, "S Q Q"]
    """The Q columns after the prompt as training has them, for the codebooks that are still in the prompt or ramp."""
    step: Int[Tensor, "S"]
    """Columns made since the prompt."""
    length: Int[Tensor, "S"]
    """Frames at which the stream ends, beyond the prompt."""
    stopped: Bool[Tensor, "S"]
    ended_by_window: Bool[Tensor, "S"]
    undelayed: SkewState
    place: WindowState
    window: WindowRules
    sampling: SamplingRules
    repetition: RepetitionRules
    recent: Int[Tensor, "S K"]
    """The latest tokens of codebook 0, oldest first."""
    key: Int[Tensor, "S"]


@dataclass(frozen=True)
class Features:
    """The parts of a step that some stream needs, and sizes that all fit in; a step is compiled for them."""

    positions: int
    """Text positions of each slot's memory."""
    sampled: bool
    """Some codebook of some stream is sampled."""
    widest: int | None
    """The largest top_k of the sampled streams; None where one leaves everything in."""
    nucleus: bool
    """Some stream has a top_p."""
    windowed: bool
    recent: int
    """Tokens that repetition looks at; 0 if no stream has such a rule."""

    @classmethod
    def of(cls, requests: Iterable[Request], codebooks: int) -> "Features":
        """The smallest that serve all of ``requests``."""
        many = list(requests)
        sampled = [one.sampling for one in many if not one.sampling.is_greedy]
        widest = [one.widest(codebooks) for one in sampled]
        known = [width for width in widest if width is not None]
        return cls(
            positions=_bucket(max(one.conditions.text.mask.shape[-1] for one in many)),
            sampled=bool(sampled),
            widest=max(known) if known and len(known) == len(widest) else None,
            nucleus=any(one.has_top_p for one in sampled),
            windowed=any(one.window is not None for one in many),
            recent=max(0 if (rule := _repetition_of(one)) is None else rule.last for one in many),
        )

    def serve(self, other: "Features") -> bool:
        """Every stream that ``other`` serves is served by this one as well, with the same result."""
        return self.join(other) == self

    def join(self, other: "Features") -> "Features":
        """The smallest features that serve the streams of both."""
        widths = [one.widest for one in (self, other) if one.sampled]
        known = [width for width in widths if width is not None]
        return Features(
            max(self.positions, other.positions),
            self.sampled or other.sampled,
            max(known) if known and len(known) == len(widths) else None,
            self.nucleus or other.nucleus,
            self.windowed or other.windowed,
            max(self.recent, other.recent),
        )


def in_exact_precision(lm: LanguageModel, state: LMState) -> LMState:
    """A state of a language model in the dtypes of its pure forms; fused steps may store memories in fewer bits."""
    return tree_map(lambda leaf, like: leaf.to(like.dtype), state, lm.initial_state(1))


def together(requests: Sequence[Request]) -> list[list[int]]:
    """Group requests, by their indices, for ``first_state``: those that begin alike, without a prompt."""
    groups: dict[Any, list[int]] = {}
    for index, one in enumerate(requests):
        plain = one.state is None and not one.begin and (one.prompt is None or not len(one.prompt))
        key = (one.window, one.conditions.text.mask.shape[1:]) if plain else index
        groups.setdefault(key, []).append(index)
    return list(groups.values())


@torch.inference_mode()
def first_state(lm: LanguageModel, requests: Sequence[Request], features: Features) -> DecodeState:
    """The state of rows that have read their prompts and are about to make their first frames.

    ``requests``: one, or several that ``together`` has in one group.
    """
    first, rows, codebooks = requests[0], len(requests), len(lm.codebook_sizes)
    conditions = _conditions(requests)
    device = conditions.speaker.device
    prompt = first.prompt
    if prompt is None:
        prompt = torch.zeros(0, codebooks, dtype=torch.int64)
    frames = len(prompt)
    columns = delayed_columns(prompt[None], torch.tensor([frames])).to(device)
    state = lm.initial_state(rows) if first.state is None else first.state
    attention = torch.zeros(rows, conditions.text.mask.shape[-1], device=device)
    if frames:
        _, state, weights = lm.parallel_forward(columns[:, :frames], state, conditions)
        attention = weights[:, -1].float()
    conditions = conditions._replace(text=pad_memory(conditions.text, features.positions))
    window = tree_map(
        lambda leaf: leaf.expand(rows, *leaf.shape[1:]),
        window_rules(first.window, conditions.text.mask, first.begin),
    )
    forced = columns[:, frames : frames + codebooks].expand(rows, -1, -1)
    no = torch.zeros(rows, dtype=torch.bool, device=device)
    zero = torch.zeros(rows, dtype=torch.int64, device=device)
    numbers = torch.tensor([[one.max_frames, one.key] for one in requests]).to(device)
    return DecodeState(
        lm=state,
        conditions=conditions,
        column=forced[:, 0],
        forced=forced,
        step=zero,
        length=numbers[:, 0],
        stopped=no,
        ended_by_window=no,
        undelayed=undelay(codebooks, START, device).initial_state(rows),
        place=first_place(attention, zero + first.begin, window),
        window=window,
        sampling=_joined(
            [one.sampling for one in requests], lambda one: sampling_rules(one, codebooks), device
        ),
        repetition=_joined([_repetition_of(one) for one in requests], repetition_rules, device),
        recent=torch.full((rows, features.recent), PAD, device=device),
        key=numbers[:, 1],
    )


def _conditions(requests: Sequence[Request]) -> Conditions:
    """Those of all requests; texts that were encoded together are taken out together."""
    first = requests[0].conditions
    if all(one.conditions is first for one in requests):
        if len(requests) == len(first.speaker) == 1:
            return first
        return take_rows(first, torch.tensor([one.row for one in requests]))
    return join_rows([take_rows(one.conditions, torch.tensor([one.row])) for one in requests])


def _joined(values: Sequence[T], rules: Callable[[T], S], device: torch.device) -> S:
    """The rules of each value, which often is the same."""
    if all(one is values[0] for one in values):
        return tree_map(lambda leaf: leaf.to(device).expand(len(values), *leaf.shape[1:]), rules(values[0]))
    return tree_map(lambda leaf: leaf.to(device), join_rows([rules(one) for one in values]))


def empty_slots(row: DecodeState, slots: int) -> DecodeState:
    """Slots without a stream, of the shapes of ``row``; as tensors that may be written to outside of inference mode."""
    with torch.inference_mode(False):
        state: DecodeState = tree_map(
            lambda leaf: torch.zeros(slots, *leaf.shape[1:], dtype=leaf.dtype, device=leaf.device), row
        )
        state.conditions.text.mask[..., 0] = True  # a softmax over nothing is NaN
    return state


@torch.inference_mode(False)
def fit(state: DecodeState, features: Features) -> DecodeState:
    """The same slots in the sizes of ``features``, which are at least as large."""
    state = tree_map(torch.clone, state)  # which may be of inference mode
    missing = features.positions - state.conditions.text.mask.shape[-1]
    text = pad_memory(state.conditions.text, features.positions)
    return state._replace(
        conditions=state.conditions._replace(text=text),
        window=state.window._replace(always=F.pad(state.window.always, (0, missing))),
        recent=F.pad(state.recent, (features.recent - state.recent.shape[1], 0), value=PAD),
    )


def _repetition_of(request: Request) -> Repetition | None:
    """Greedy tokens are never drawn again."""
    temperature = request.sampling.temperature
    first = temperature if isinstance(temperature, int | float) else temperature[0]
    return request.repetition if first else None


def _bucket(positions: int) -> int:
    bucket = POSITIONS
    while bucket < positions:
        bucket *= 2
    return bucket
