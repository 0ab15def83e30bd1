"""Laws of every stream of tensors: backbones, and both directions of streaming codecs."""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from lina.core.laws.compare import Tensors, require_as_good, require_equal, require_finite
from lina.core.laws.law import Conditions, Gates, Law, Violation
from lina.core.laws.op_count import cost
from lina.core.laws.running import forward, input_for, with_gradients, yardsticks
from lina.core.laws.stream import (
    Frames,
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
    """step and parallel_forward change neither their arguments nor results of earlier calls."""
    x, initial = stream.input(), stream.random_state()
    calls: dict[str, Callable[[Tensor, State], tuple[Tensor, State]]] = {
        "step": lambda frames, state: stream.step(frames[:, 0], state),
        "parallel_forward": stream.parallel,
    }
    with torch.no_grad():
        for name, call in calls.items():
            state, frames = clone(initial), x.clone()
            first = call(frames, state)
            kept = _result(clone(first))
            _require_untouched(f"{name}: its input state", state, initial)
            require_equal(f"{name}: its input", {"x": frames}, {"x": x})
            again = call(frames, state)
            require_equal(f"{name}, called twice from the same state", _result(again), kept)
            call(stream.input(seed=2), again[1])
            require_equal(f"{name}: its result, after a later call", _result(first), kept)


def state_is_fixed(stream: Stream) -> None:
    """State leaves are [B, ...] tensors of fixed shapes and dtypes; as many frames out as in."""
    x = stream.input()
    batch = x.shape[0]
    with torch.no_grad():
        initial = stream.module.initial_state(batch)
        expected = _layout(initial)
        for name, (shape, _, device) in expected.items():
            if not shape or shape[0] != batch:
                raise Violation(f"state {name}: expected {batch} rows first, found shape {list(shape)}")
            if torch.device(device).type != torch.device(stream.device).type:
                raise Violation(f"state {name}: expected on {stream.device}, found on {device}")
        y, state = stream.parallel(x, clone(initial))
        _require_layout("after parallel_forward", state, expected)
        if y.shape[:2] != x.shape[:2]:
            raise Violation(
                f"outputs: expected {list(x.shape[:2])} rows and frames, found {list(y.shape[:2])}"
            )
        for t in range(20):
            y_t, state = stream.step(x[:, t], state)
            _require_layout(f"after {t + 1} steps", state, expected)
            if (y_t.shape, y_t.dtype) != (y[:, t].shape, y.dtype):
                raise Violation(
                    f"output of step: expected {list(y[:, t].shape)} {y.dtype} as from parallel_forward, "
                    f"found {list(y_t.shape)} {y_t.dtype}"
                )
        _, state = stream.parallel(x[:, :1], state)
        _require_layout("after parallel_forward over one frame", state, expected)


def causality(stream: Stream) -> None:
    """A change of the future, or a gradient from the past, does not cross the present."""
    x, state = stream.input(), stream.random_state()
    truth, whole = yardsticks(stream, forward, parallel, x, state)
    total = x.shape[1]
    for cut in sorted({1, total // 4, total // 2 + 1, total - 1}):
        future = stream.strange_frames(x.shape[0], total - cut, stream.generator(5))
        changed = torch.cat([x[:, :cut], future], dim=1)
        found = forward(stream, parallel, changed, state)
        past, whole_past, true_past = (
            {"y": outcome["outputs"]["y"][:, :cut]} for outcome in (found, whole, truth)
        )
        label = f"outputs before frame {cut}, after a change from that frame on:"
        require_as_good(label, past, whole_past, true_past, stream.dtype)
        if stream.differentiable:
            _require_no_gradient_from_past(stream, x, state, cut)


def rows_are_independent(stream: Stream) -> None:
    """NaN in one row leaves the others equal bit for bit; a row alone gives the same as in a batch."""
    x, state = stream.input(), stream.random_state()
    others = torch.tensor([row for row in range(x.shape[0]) if row != 1], device=x.device)
    poisoned_x, poisoned_state = _poisoned(x), tree_map(_poisoned, state)
    for name, form in (("parallel_forward", parallel), ("step", fold)):
        frames = slice(0, 8) if form is fold else slice(None)
        clean = forward(stream, form, x[:, frames], state)
        poisoned = forward(stream, form, poisoned_x[:, frames], poisoned_state)
        for group, tensors in clean.items():
            found = {leaf: poisoned[group][leaf].index_select(0, others) for leaf in tensors}
            expected = {leaf: tensor.index_select(0, others) for leaf, tensor in tensors.items()}
            require_equal(f"{name}, other rows while row 1 is NaN: {group}", found, expected)
    for name, form in (("parallel_forward", parallel), ("step", fold)):
        frames = slice(0, 8) if form is fold else slice(None)
        truth, whole = yardsticks(stream, forward, form, x[:, frames], state)
        for row in range(x.shape[0]):
            one_state = take_rows(state, torch.tensor([row], device=x.device))
            alone = forward(stream, form, x[row : row + 1, frames], one_state)
            for group in truth:
                near, true = (
                    {leaf: tensor[row : row + 1] for leaf, tensor in outcome[group].items()}
                    for outcome in (whole, truth)
                )
                label = f"{name}, row {row} alone: {group}"
                require_as_good(label, alone[group], near, true, stream.dtype)


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


def constant_cost(stream: Stream) -> None:
    """Step 1,000 costs what step 10 costs; parallel_forward is linear in time and no loop over frames.

    Counted are calls issued from Python and numbers written. Over 1,024 frames both are at most 20 times
    those over 64. No loop over frames: of the stretches of 49 to 64 frames at most 4 issue more calls than
    the stretch one frame shorter.
    """
    x = stream.input(1_024, batch=1)
    with torch.no_grad():
        state = stream.module.initial_state(1)
        _, state_at_10 = stream.parallel(x[:, :9], clone(state))
        _, state_at_1000 = stream.parallel(x[:, :999], clone(state))
    at_10 = cost(lambda: stream.step(x[:, 9], state_at_10))
    at_1000 = cost(lambda: stream.step(x[:, 999], state_at_1000))
    if at_10 != at_1000:
        raise Violation(f"step 1,000 must cost what step 10 costs: expected {at_10}, found {at_1000}")

    def over(frames: int) -> tuple[int, int]:
        spent = cost(lambda: stream.parallel(x[:, :frames], clone(state)))
        return spent.operations, spent.numbers

    for what, short, long in zip(("operations", "numbers"), over(64), over(1_024), strict=True):
        if long > 20 * short:
            raise Violation(
                f"parallel_forward over 1,024 frames takes {long:,} {what}, over 64 frames {short:,}: "
                f"expected at most 20 times as many, found {long / short:.0f} times"
            )
    operations = [over(frames)[0] for frames in range(48, 65)]
    growths = sum(more > fewer for fewer, more in pairwise(operations))
    if growths > 4:
        raise Violation(
            f"parallel_forward is a loop over frames: from 48 to 64 frames its operations grow from "
            f"{operations[0]} to {operations[-1]}, with {growths} frames of 16; expected at most 4"
        )


def stream_law(
    test: StreamTest,
    open_stream: type[Stream],
    dtypes: tuple[torch.dtype, ...],
    gates: tuple[Gates, ...] = ("ordinary",),
    prefix: str = "",
) -> Law:
    """Law of one kind of stream; its statement is the first line of the test's docstring."""

    def check(plugin: type[Plugin], conditions: Conditions) -> None:
        test(open_stream(plugin, conditions))

    statement = (test.__doc__ or "").splitlines()[0]
    return Law(prefix + test.__name__, statement, check, dtypes, gates)


def stream_laws(open_stream: type[Stream], prefix: str = "", extreme: bool = False) -> list[Law]:
    """Laws of this module. One dtype where the law does not depend on it."""
    gates: tuple[Gates, ...] = ("ordinary", "extreme") if extreme else ("ordinary",)
    both, one = (torch.float32, torch.float64), (torch.float32,)
    return [
        stream_law(step_equals_parallel, open_stream, both, gates, prefix),
        stream_law(chunks_compose, open_stream, both, gates, prefix),
        stream_law(step_is_pure, open_stream, one, prefix=prefix),
        stream_law(state_is_fixed, open_stream, both, prefix=prefix),
        stream_law(causality, open_stream, both, gates, prefix),
        stream_law(rows_are_independent, open_stream, both, gates, prefix),
        stream_law(state_survives_file, open_stream, one, prefix=prefix),
        stream_law(constant_cost, open_stream, one, prefix=prefix),
    ]


def _require_no_gradient_from_past(stream: Stream, x: Frames, state: State, cut: int) -> None:
    source = input_for(stream, x).requires_grad_()
    y, _ = stream.parallel(source, stream.own_state(state))
    past = y[:, :cut].double()
    weights = torch.randn(past.shape, generator=stream.generator(8), dtype=torch.float64).to(past.device)
    (gradient,) = torch.autograd.grad((past * weights).sum(), [source])
    nothing = torch.zeros_like(gradient)
    exact = torch.cat([gradient[:, :cut], nothing[:, cut:]], dim=1)
    label = f"gradient of the outputs before frame {cut} with respect to all input:"
    require_as_good(label, {"x": gradient}, {"x": exact}, {"x": exact.double()}, stream.dtype)


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


def _layout(state: State) -> dict[str, tuple[tuple[int, ...], torch.dtype, str]]:
    require_tensors(state)
    return {
        name: (tuple(leaf.shape), leaf.dtype, str(leaf.device)) for name, leaf in named_leaves(state).items()
    }


def _require_layout(
    when: str, state: State, expected: dict[str, tuple[tuple[int, ...], torch.dtype, str]]
) -> None:
    found = _layout(state)
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
