"""The law of mixed precision: bfloat16 autocast over float32 weights, and bfloat16 weights."""

import warnings

import torch

from lina.core.laws.compare import require_near
from lina.core.laws.law import Conditions, Violation, in_brief
from lina.core.laws.running import Form, Outcome, with_gradients
from lina.core.laws.stream import Frames, Stream, float_leaves, fold, parallel
from lina.core.laws.stream_laws import require_layout, state_layout
from lina.core.state import State

NEAR = {"outputs": 0.1, "final state": 0.1}
"""Relative error allowed to bfloat16, whose unit is 0.4 %; elsewhere, for gradients, ``NEAR_GRADIENTS``."""
NEAR_GRADIENTS = 0.2
STEPS = 8

REMEDY = (
    "run the recurrence in the dtype of the state, x.to(state.memory.dtype), with autocast off around it, and convert "
    "the result back"
)


def mixed_precision(stream: Stream) -> None:
    """Under bfloat16 autocast and with bfloat16 weights, both forms and gradients are near; states keep dtypes."""
    lowered = type(stream)(stream.plugin, Conditions(torch.bfloat16, device=stream.device))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, about norms whose gains have another dtype
        _require_near_results("under bfloat16 autocast", stream, True)
        _require_near_results("with bfloat16 weights", lowered, False)


def _require_near_results(where: str, stream: Stream, autocast: bool) -> None:
    x, state = stream.input(), stream.random_state()
    expected = state_layout(float_leaves(stream.module.initial_state(x.shape[0])))
    for name, form, frames in (("parallel_forward", parallel, x), ("step", fold, x[:, :STEPS])):
        truth = with_gradients(stream.truth(), form, frames, state)
        found = _outcome(f"{where}, {name}", stream, _mixed(form, autocast, expected), frames, state)
        for group, tensors in truth.items():
            limit = NEAR.get(group, NEAR_GRADIENTS)
            require_near(f"{where}, {name}: {group}", found[group], tensors, limit)


def _mixed(form: Form, autocast: bool, layout: dict[str, tuple[tuple[int, ...], torch.dtype, str]]) -> Form:
    def run(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
        with torch.autocast(torch.device(stream.device).type, torch.bfloat16, enabled=autocast):
            y, final = form(stream, x, state)
        require_layout("the final state", float_leaves(final), layout)
        return y, final

    return run


def _outcome(label: str, stream: Stream, form: Form, x: Frames, state: State) -> Outcome:
    try:
        return with_gradients(stream, form, x, state)
    except Violation as violation:
        raise Violation(f"{label}: {violation}; {REMEDY}") from None
    except Exception as error:
        raise Violation(f"{label}: {in_brief(error)}; {REMEDY}") from error
