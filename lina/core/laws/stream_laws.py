"""Laws of every stream of tensors: backbones, and both directions of streaming codecs."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from lina.core.laws.causality import causality
from lina.core.laws.compare import Tensors, require_as_good, require_equal, require_finite
from lina.core.laws.law import Conditions, Gates, Law, NotApplicable, Violation
from lina.core.laws.op_count import constant_cost
from lina.core.laws.running import Form, forward, with_gradients, yardsticks
from lina.core.laws.stream import (
    Stream,
    clone,
    fold,
    in_pieces,
    parallel,
    require_tensors,
)
from lina.core.plugin import Plugin
from lina.core.state import State, load_state, named_leaves, save_state, take_rows, tree_map

StreamTest = Callable[[Stream], None]


def step_equals_parallel(stream: Stream) -> None:
    """Folding step over time gives what parallel_forward gives: outputs, final state, gradients."""
    x, state = stream.input(), stream.random_state()
    run = with_gradients if stream.differentiable else forward
    truth, whole = yardsticks(stream, run, parallel, x, state)
    found = run(stream, fold, x, state)
    for group, tensors in truth.items():
        if group != "final state":
            require_finite(f"the float64 parallel form: {group}", tensors)
        require_as_good(f"folding step: {group}", found[group], whole[group], tensors, stream.dtype)


def chunks_compose(stream: Stream) -> None:
    """Any split of the time axis gives the same outputs and final state."""
    x, state = stream.input(), stream.random_state()
    truth, whole = yardsticks(stream, forward, parallel, x, state)
    total = x.shape[1]
    for sizes in ([1, total - 1], [total - 1, 1], [total // 2, total - total // 2], _uneven(total)):
        found = forward(stream, in_pieces(sizes), x, state)
        for group, tensors in truth.items():
            label = f"parallel_forward in pieces of {sizes} frames: {group}"
            require_as_good(label, found[group], whole[group], tensors, stream.dtype)


def step_is_pure(stream: Stream) -> None:
    """step and parallel_forward change nothing: arguments, earlier results, weights, buffers, the random state."""
    x, initial = stream.input(), stream.random_state()
    calls: dict[str, Callable[[Tensor, State], tuple[Tensor, State]]] = {
        "step": lambda frames, state: stream.step(frames[:, 0], state),
        "parallel_forward": stream.parallel,
    }
    weights = stream.weights()
    with torch.no_grad():
        for name, call in calls.items():
            state, frames = clone(initial), x.clone()
            random = torch.get_rng_state()
            first = call(frames, state)
            if not torch.equal(random, torch.get_rng_state()):
                torch.set_rng_state(random)
                raise Violation(f"{name}: changes torch's random state, outside of training")
            kept = _result(clone(first))
            _require_untouched(f"{name}: its input state", state, initial)
            require_equal(f"{name}: its input", {"x": frames}, {"x": x})
            again = call(frames, state)
            require_equal(f"{name}, called twice from the same state", _result(again), kept)
            call(stream.input(seed=2), again[1])
            require_equal(f"{name}: its result, after a later call", _result(first), kept)
        require_equal("weights and buffers, after calls", stream.weights(), weights)
        if stream.differentiable:
            found = []
            for _ in range(2):
                with stream.training():
                    found.append(_result(stream.parallel(x.clone(), clone(initial))))
            label = "parallel_forward in training mode, called twice with the same random numbers"
            require_equal(label, found[1], found[0])
            require_equal("weights and buffers, after calls in training mode", stream.weights(), weights)


def state_is_fixed(stream: Stream) -> None:
    """State leaves are [B, ...] tensors of fixed shapes and dtypes; as many frames out as in."""
    x = stream.input()
    batch = x.shape[0]
    with torch.no_grad():
        initial = stream.module.initial_state(batch)
        expected = state_layout(initial)
        for name, (shape, dtype, device) in expected.items():
            if not shape or shape[0] != batch:
                raise Violation(f"state {name}: expected {batch} rows first, found shape {list(shape)}")
            if torch.device(device).type != torch.device(stream.device).type:
                raise Violation(f"state {name}: expected on {stream.device}, found on {device}")
            if dtype == torch.float64 and stream.dtype != torch.float64:
                raise Violation(
                    f"state {name}: float64 under {stream.dtype} weights; create it as at most "
                    "torch.promote_types(weight.dtype, torch.float32), half the memory and the time of a step"
                )
        y, state = stream.parallel(x, clone(initial))
        require_layout("after parallel_forward", state, expected)
        like = x.shape if stream.differentiable else x.shape[:2]
        if y.shape[: len(like)] != like or y.dim() < 3:
            raise Violation(f"outputs: expected shape {list(like)}, found {list(y.shape)}")
        if stream.differentiable and y.dtype != x.dtype:
            raise Violation(f"outputs: expected {x.dtype} as the input, found {y.dtype}")
        for t in range(20):
            y_t, state = stream.step(x[:, t], state)
            require_layout(f"after {t + 1} steps", state, expected)
            if (y_t.shape, y_t.dtype) != (y[:, t].shape, y.dtype):
                raise Violation(
                    f"output of step: expected {list(y[:, t].shape)} {y.dtype} as from parallel_forward, "
                    f"found {list(y_t.shape)} {y_t.dtype}"
                )
        _, state = stream.parallel(x[:, :1], state)
        require_layout("after parallel_forward over one frame", state, expected)


BATCHES = ((0,), (8,), (1, 2), (3, 4, 5), (4, 5, 6, 7, 8))
"""Rows of a batch of nine, to be run as batches of 1, 2, 3 and 5."""


def rows_are_independent(stream: Stream) -> None:
    """NaN in one row leaves the others equal bit for bit, in training mode too; batches of 1, 2, 3, 5 and 9 agree."""
    x, state = stream.input(), stream.random_state()
    modes: list[tuple[str, Form, bool]] = [("parallel_forward", parallel, False), ("step", fold, False)]
    if stream.differentiable:
        modes.append(("parallel_forward in training mode", parallel, True))
    others = torch.tensor([row for row in range(x.shape[0]) if row != 1], device=x.device)
    poisoned_x, poisoned_state = _poisoned(x), tree_map(_poisoned, state)
    for name, form, training in modes:
        frames = slice(0, 8) if form is fold else slice(None)
        with stream.training() if training else nullcontext():
            clean = forward(stream, form, x[:, frames], state)
        with stream.training() if training else nullcontext():
            poisoned = forward(stream, form, poisoned_x[:, frames], poisoned_state)
        for group, tensors in clean.items():
            found = {leaf: poisoned[group][leaf].index_select(0, others) for leaf in tensors}
            expected = {leaf: tensor.index_select(0, others) for leaf, tensor in tensors.items()}
            require_equal(f"{name}, other rows while row 1 is NaN: {group}", found, expected)
    _require_same_in_any_batch(stream)


def _require_same_in_any_batch(stream: Stream) -> None:
    rows = 1 + max(max(batch) for batch in BATCHES)
    x, state = stream.input(batch=rows), stream.random_state(rows)
    for name, form in (("parallel_forward", parallel), ("step", fold)):
        frames = slice(0, 8) if form is fold else slice(0, 40)
        truth, whole = yardsticks(stream, forward, form, x[:, frames], state)
        for batch in BATCHES:
            index = torch.tensor(batch, device=x.device)
            found = forward(stream, form, x[index][:, frames], take_rows(state, index))
            for group in truth:
                near, true = (
                    {leaf: tensor[index] for leaf, tensor in outcome[group].items()}
                    for outcome in (whole, truth)
                )
                label = f"{name}, rows {list(batch)} of a batch of {rows} in a batch of their own: {group}"
                require_as_good(label, found[group], near, true, stream.dtype)


def state_follows_the_module(stream: Stream) -> None:
    """initial_state is on the module's device (checked on meta), and no tensor of the module stays behind."""
    if not isinstance(stream.owner, nn.Module):
        raise NotApplicable("the plugin's object is no nn.Module")
    for path, part in stream.owner.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                raise Violation(
                    f"{type(part).__name__}{f' ({path})' if path else ''}: its tensor {name!r} follows the module "
                    "to no device and no dtype; use register_buffer(name, tensor, persistent=False)"
                )
    moved = stream.rebuilt()
    moved.owner.to("meta")
    state = moved.part(moved.owner).initial_state(2)
    require_tensors(state)
    for name, leaf in named_leaves(state).items():
        if leaf.device.type != "meta":
            raise Violation(
                f"state {name}: expected on the module's device, here meta, found on {leaf.device}; create it with "
                "device=weight.device, or by weight.new_zeros"
            )


def state_survives_file(stream: Stream) -> None:
    """A saved state, read by another object with the same weights, continues the stream."""
    x, state = stream.input(), stream.random_state()
    other = stream.rebuilt()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "state.safetensors"
        save_state(path, state)
        loaded = load_state(path, like=other.module.initial_state(x.shape[0]))
    _require_untouched("state read from its file", loaded, state)
    expected = forward(stream, parallel, x, state)
    found = forward(other, parallel, x, loaded)
    truth = forward(stream.truth(), parallel, x, state)
    for group, tensors in truth.items():
        label = f"continued from a file: {group}"
        require_as_good(label, found[group], expected[group], tensors, stream.dtype)


def stream_law(
    test: StreamTest,
    open_stream: type[Stream],
    dtypes: tuple[torch.dtype, ...],
    gates: tuple[Gates, ...] = ("ordinary",),
    prefix: str = "",
) -> Law:
    """Law of one kind of stream; its statement is the first line of the test's docstring."""

    def check(plugin: type[Plugin], conditions: Conditions) -> None:
        stream = open_stream(plugin, conditions)
        try:
            test(stream)
        except Violation as violation:
            raise Violation(f"{violation}{stream.hint()}") from None

    statement = (test.__doc__ or "").splitlines()[0]
    return Law(prefix + test.__name__, statement, check, dtypes, gates)


def stream_laws(open_stream: type[Stream], prefix: str = "", extreme: bool = False) -> list[Law]:
    """Laws of this module, causes before consequences. One dtype where the law does not depend on it."""
    gates: tuple[Gates, ...] = ("ordinary", "extreme") if extreme else ("ordinary",)
    both, one = (torch.float32, torch.float64), (torch.float32,)
    return [
        stream_law(state_is_fixed, open_stream, both, prefix=prefix),
        stream_law(state_follows_the_module, open_stream, one, prefix=prefix),
        stream_law(step_is_pure, open_stream, one, prefix=prefix),
        stream_law(rows_are_independent, open_stream, both, gates, prefix),
        stream_law(causality, open_stream, both, gates, prefix),
        stream_law(chunks_compose, open_stream, both, gates, prefix),
        stream_law(step_equals_parallel, open_stream, both, gates, prefix),
        stream_law(state_survives_file, open_stream, one, prefix=prefix),
        stream_law(constant_cost, open_stream, one, prefix=prefix),
    ]


def _result(result: tuple[Tensor, State]) -> Tensors:
    y, state = result
    return {"output": y, **{f"state {name}": leaf for name, leaf in named_leaves(state).items()}}


def _uneven(total: int) -> list[int]:
    sizes = [1, 2, 3, 16, 1, 17]
    while sum(sizes) >= total:
        sizes.pop()
    return [*sizes, total - sum(sizes)]


def _poisoned(leaf: Tensor) -> Tensor:
    leaf = leaf.clone()
    if leaf.is_floating_point():
        leaf[1] = float("nan")
    return leaf


def state_layout(state: State) -> dict[str, tuple[tuple[int, ...], torch.dtype, str]]:
    require_tensors(state)
    return {
        name: (tuple(leaf.shape), leaf.dtype, str(leaf.device)) for name, leaf in named_leaves(state).items()
    }


def require_layout(
    when: str, state: State, expected: dict[str, tuple[tuple[int, ...], torch.dtype, str]]
) -> None:
    found = state_layout(state)
    if found.keys() != expected.keys():
        raise Violation(f"{when}: expected state leaves {sorted(expected)}, found {sorted(found)}")
    for name, layout in expected.items():
        if found[name] != layout:
            raise Violation(
                f"{when}: state {name}: expected {list(layout[0])} {layout[1]} on {layout[2]}, found "
                f"{list(found[name][0])} {found[name][1]} on {found[name][2]}"
            )


def _require_untouched(what: str, state: State, before: State) -> None:
    require_equal(what, named_leaves(state), named_leaves(before))
