"""Comparison of a converted model with outputs of lina-speech, tensor by tensor.

EXPECTED is a safetensors file: ``text`` [B, J] ids without padding, ``codes`` [B, Q, T], and any of ``delayed``
[B, T + Q + 1, Q], ``logits`` [B, T + Q, Q, V] for inputs ``delayed[:, :-1]``, ``attention`` [B, M, T + Q, J] (both maps
of position-aware attention, or one per head of the plain one), ``greedy`` [Q, N] (N steps of greedy generation for
``text[0]``). Where it has ``tokens`` [Q, K], its logits [B, T + Q, Q, K] are of those tokens only.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.errors import CheckpointError, FileError
from lina.core.files.tensor_file import read_safetensors
from lina.core.model.cross_attention import PositionCrossAttention
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.tokens import START, delayed_columns

LIMIT = 1e-4
COMPARED = ("delayed", "logits", "attention", "greedy")
AXES = {"text": 2, "codes": 3, "tokens": 2, "delayed": 3, "logits": 4, "attention": 4, "greedy": 2}


class Difference(NamedTuple):
    name: str
    """Of the tensor, and of the form (parallel or step by step) where both compute it."""
    largest: float
    """Absolute; NaN if either side has NaN."""

    @property
    def small(self) -> bool:
        return self.largest <= LIMIT


def read_expected(path: Path) -> dict[str, Tensor]:
    """Read the expected outputs.

    Raises:
        CheckpointError: The file cannot be read, or holds nothing to compare.
    """
    try:
        expected = read_safetensors(path)
    except FileError as error:
        raise CheckpointError(f"--verify {path}: cannot be read as safetensors ({error.reason})") from None
    except OSError as error:
        raise CheckpointError(f"--verify {path}: cannot be read as safetensors ({error.strerror})") from None
    missing = [name for name in ("text", "codes") if name not in expected]
    if missing or not any(name in expected for name in COMPARED):
        raise CheckpointError(
            f"--verify {path}: has {', '.join(sorted(expected))}; needed are text, codes "
            f"and at least one of {', '.join(COMPARED)}"
        )
    for name, axes in AXES.items():
        if name in expected and (expected[name].dim() != axes or not expected[name].numel()):
            raise CheckpointError(
                f"--verify {path}: {name} is {list(expected[name].shape)}; needed are {axes} axes, none of them empty"
            )
    for name in ("text", "codes", "tokens"):
        if name in expected and expected[name].dtype != torch.int64:
            raise CheckpointError(f"--verify {path}: {name} are {expected[name].dtype}; needed are int64")
    return expected


@torch.no_grad()
def differences(model: DelayLM, expected: Mapping[str, Tensor]) -> list[Difference]:
    """Return the largest difference of each tensor, in the order of ``COMPARED``.

    Raises:
        CheckpointError: The file is of a model of other sizes.
    """
    model.eval()
    text, codes = expected["text"], expected["codes"].transpose(1, 2)
    sizes, ids = model.codebook_sizes, model.txt_embed.num_embeddings
    fits = codes.shape[2] == len(sizes) and len(codes) == len(text) and _within(text, ids)
    fits = fits and _within(codes, min(sizes)) and _within(expected.get("tokens", text[:0]), model.vocab)
    if not fits or ("tokens" in expected and len(expected["tokens"]) != len(sizes)):
        raise CheckpointError(
            f"--verify: codes {list(expected['codes'].shape)} up to {int(codes.max())} or text {list(text.shape)} with "
            f"ids up to {int(text.max())} are of another model: this one has {len(sizes)} codebooks of {min(sizes)} "
            f"codes, {ids} text ids"
        )
    columns = delayed_columns(codes, torch.full((len(codes),), codes.shape[1]))
    inputs, conditions = columns[:, :-1], _conditions(model, text)
    found: list[Difference] = []

    def compare(name: str, computed: Callable[[], Tensor], form: str = "") -> None:
        if name in expected:
            found.append(_difference(f"{name}{form}", computed(), expected[name]))

    def kept(logits: Tensor) -> Tensor:
        if "tokens" not in expected:
            return logits
        return logits.gather(-1, expected["tokens"].expand(*logits.shape[:2], -1, -1))

    compare("delayed", lambda: columns)
    state = model.initial_state(len(inputs))
    compare("logits", lambda: kept(model.parallel_forward(inputs, state, conditions)[0]), ", in parallel")
    compare("attention", lambda: model.attention_maps(inputs, state, conditions), ", in parallel")
    if "logits" in expected or "attention" in expected:
        logits, maps = _step_by_step(model, inputs, conditions)
        compare("logits", lambda: kept(logits), ", step by step")
        compare("attention", lambda: maps, ", step by step")
    compare("greedy", lambda: _greedy(model, text[:1], expected["greedy"].shape[1]))
    return found


def _within(ids: Tensor, count: int) -> bool:
    return bool(((ids >= 0) & (ids < count)).all())


def _conditions(model: DelayLM, text: Int[Tensor, "B J"]) -> Conditions:
    return model.conditions(text, torch.ones_like(text, dtype=torch.bool))


def _step_by_step(
    model: DelayLM, inputs: Int[Tensor, "B S Q"], conditions: Conditions
) -> tuple[Float[Tensor, "B S Q V"], Float[Tensor, "B M S J"]]:
    state = model.initial_state(len(inputs))
    own = 1 if isinstance(model.cross_att, PositionCrossAttention) else 0
    logits, maps = [], []
    for column in inputs.unbind(1):
        seen = model.attention_maps(column[:, None], state, conditions)[:, :, 0]
        step_logits, state, seen[:, own] = model.step(column, state, conditions)
        logits.append(step_logits)
        maps.append(seen)
    return torch.stack(logits, 1), torch.stack(maps, 2)


def _greedy(model: DelayLM, text: Int[Tensor, "1 J"], steps: int) -> Int[Tensor, "Q N"]:
    """Decode greedily, feeding back every column, also in the ramp and the tail of the delay pattern."""
    conditions, state = _conditions(model, text), model.initial_state(1)
    column = torch.full((1, len(model.codebook_sizes)), START)
    columns = []
    for _ in range(steps):
        logits, state, _ = model.step(column, state, conditions)
        column = logits.argmax(-1)
        columns.append(column)
    return torch.cat(columns).T


def _difference(name: str, found: Tensor, expected: Tensor) -> Difference:
    if found.shape != expected.shape:
        raise CheckpointError(
            f"--verify: {name} is {list(expected.shape)} there, but {list(found.shape)} here; it is of another model"
        )
    return Difference(
        name, float((found.double() - expected.double()).abs().max()) if expected.numel() else 0.0
    )
