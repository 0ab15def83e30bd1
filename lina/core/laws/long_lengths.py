"""The law of long lengths: results that the other laws compare over few frames hold over many.

A fold over 2,048 frames would take long. So the time axis is cut into stretches, which are the rows of one batch: the
states before them come from ``parallel_forward`` in pieces, ``step`` is folded over all stretches at once, and each
must end in the state with which the next one began. By induction that is the fold over the whole.
"""

import torch

from lina.core.laws.compare import Tensors, require_as_good
from lina.core.laws.running import Outcome, forward, with_gradients, yardsticks
from lina.core.laws.stream import Frames, Stream, clone, fold, in_pieces, parallel
from lina.core.state import State, join_rows, named_leaves, tree_map

STRETCHES = 16


def long_lengths(stream: Stream) -> None:
    """Over up to 2,048 frames, pieces and step give the outputs, states and gradients of one parallel_forward."""
    total = stream.long_frames
    x, state = stream.input(total, batch=1), _first_row(stream.random_state())
    run = with_gradients if stream.differentiable else forward
    truth, whole = yardsticks(stream, run, parallel, x, state)
    size = total // STRETCHES - 1
    sizes = [size] * STRETCHES + [total - STRETCHES * size]
    found = run(stream, in_pieces(sizes), x, state)
    for group, tensors in truth.items():
        label = f"{total:,} frames in pieces of {size}: {group}"
        require_as_good(label, found[group], whole[group], tensors, stream.dtype)
    _require_steps(stream, x, state, size, whole, truth)
    for frames in (total // 6 - 10, total // 2 + 7):
        part = forward(stream, parallel, x[:, :frames], state)["outputs"]
        expected, near = ({"y": outcome["outputs"]["y"][:, :frames]} for outcome in (truth, whole))
        label = f"the first {frames:,} of {total:,} frames alone: outputs"
        require_as_good(label, part, near, expected, stream.dtype)


def _require_steps(
    stream: Stream, x: Frames, state: State, size: int, whole: Outcome, truth: Outcome
) -> None:
    """Fold step over all stretches at once, as the rows of a batch."""
    before, exact = (_states(one, x, state, size) for one in (stream, stream.truth()))
    cut = torch.cat([x[:, size * row : size * (row + 1)] for row in range(STRETCHES)])
    with torch.no_grad():
        y, after = fold(stream, cut, join_rows([clone(one) for one in before[:-1]]))
    outputs: dict[str, Tensors] = {"found": {"y": y.flatten(0, 1)[None]}}
    for name, outcome in (("whole", whole), ("truth", truth)):
        outputs[name] = {"y": outcome["outputs"]["y"][:, : size * STRETCHES]}
    label = f"step, folded over stretches of {size} of {x.shape[1]:,} frames: outputs"
    require_as_good(label, outputs["found"], outputs["whole"], outputs["truth"], stream.dtype)
    after_pieces, after_truth = (named_leaves(join_rows(states[1:])) for states in (before, exact))
    label = f"step, folded over stretches of {size} frames: states at their ends (rows are stretches)"
    require_as_good(label, named_leaves(after), after_pieces, after_truth, stream.dtype)


def _states(stream: Stream, x: Frames, state: State, size: int) -> list[State]:
    """States before each stretch, and after the last."""
    states = [stream.own_state(state)]
    with torch.no_grad():
        for row in range(STRETCHES):
            piece = x[:, size * row : size * (row + 1)]
            piece = piece.to(stream.dtype) if piece.is_floating_point() else piece
            states.append(stream.parallel(piece, clone(states[-1]))[1])
    return states


def _first_row(state: State) -> State:
    first: State = tree_map(lambda leaf: leaf[:1].clone(), state)
    return first
