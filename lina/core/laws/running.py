"""Run a stream in one of its forms, with or without gradients, for the laws to compare."""

from collections.abc import Callable

import torch
from torch import Tensor

from lina.core.laws.compare import Tensors, require_finite
from lina.core.laws.stream import Frames, Stream, clone, float_leaves
from lina.core.state import State, named_leaves

Form = Callable[[Stream, Frames, State], tuple[Frames, State]]
Outcome = dict[str, Tensors]
"""Groups of tensors: outputs, final state and perhaps gradients."""
Runner = Callable[[Stream, Form, Frames, State], Outcome]


def yardsticks(stream: Stream, run: Runner, form: Form, x: Frames, state: State) -> tuple[Outcome, Outcome]:
    """Results of the truth, whose outputs must be finite, and of the stream in its own dtype."""
    truth = run(stream.truth(), form, x, state)
    require_finite("the float64 form: outputs", truth["outputs"])
    return truth, run(stream, form, x, state)


def forward(stream: Stream, form: Form, x: Frames, state: State) -> Outcome:
    with torch.no_grad():
        y, final = form(stream, input_for(stream, x), stream.own_state(state))
    return {"outputs": {"y": y}, "final state": named_leaves(final)}


def with_gradients(stream: Stream, form: Form, x: Frames, state: State) -> Outcome:
    """Gradients are those of a random projection of outputs and final state."""
    sources: dict[str, Tensors] = {
        "gradient of input": {"x": input_for(stream, x).requires_grad_()},
        "gradient of parameter": stream.parameters(),
        "gradient of initial state": {},
    }
    start = stream.own_state(state)
    for name, leaf in float_leaves(start).items():
        sources["gradient of initial state"][name] = leaf.requires_grad_()
    y, final = form(stream, sources["gradient of input"]["x"], clone(start))
    inputs = {f"{group} {name}": leaf for group, tensors in sources.items() for name, leaf in tensors.items()}
    gradients = torch.autograd.grad(
        projection(stream, y, final), list(inputs.values()), materialize_grads=True
    )
    found = dict(zip(inputs, gradients, strict=True))
    outcome = {"outputs": {"y": y.detach()}, "final state": _detached(final)}
    for group, tensors in sources.items():
        outcome[group] = {name: found[f"{group} {name}"] for name in tensors}
    return outcome


def projection(stream: Stream, y: Tensor, final: State) -> Tensor:
    """A fixed random weighting of outputs and of the final state's floats."""
    generator = stream.generator(7)
    total = torch.zeros((), dtype=torch.float64, device=y.device)
    for leaf in (y, *float_leaves(final).values()):
        weights = torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.device)
        total = total + (leaf.double() * weights).sum()
    return total


def input_for(stream: Stream, x: Frames) -> Frames:
    return (x.to(stream.dtype) if x.is_floating_point() else x).clone()


def _detached(state: State) -> Tensors:
    return {name: leaf.detach() for name, leaf in named_leaves(state).items()}
