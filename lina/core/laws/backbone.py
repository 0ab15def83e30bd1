"""The laws of backbones."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lina.core.laws.compare import Tensors, require_as_good, require_equal
from lina.core.laws.law import NotApplicable, Violation
from lina.core.laws.long_lengths import long_lengths
from lina.core.laws.mixed_precision import mixed_precision
from lina.core.laws.running import Form, projection, with_gradients, yardsticks
from lina.core.laws.stream import (
    ROWS,
    SEED,
    Frame,
    Frames,
    Stream,
    clone,
    float_leaves,
    fold,
    output_and_state,
    parallel,
    seeded,
    seeded_build,
)
from lina.core.laws.stream_laws import stream_law, stream_laws
from lina.core.plugin import BackbonePlugin
from lina.core.protocols import takes_starts
from lina.core.state import State, named_leaves, tree_map, where_rows


class BackboneStream(Stream):
    frames = 80
    long_frames = 2_048
    differentiable = True

    def build(self) -> Any:
        backbone = seeded_build(self.plugin)
        if self.conditions.gates == "extreme" and issubclass(self.plugin, BackbonePlugin):
            with seeded():  # a plugin that draws random numbers draws the same for the truth
                self.plugin.extreme(backbone)
        return backbone

    def part(self, owner: Any) -> Any:
        return owner

    def random_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        width = int(self.plugin.example()["d_model"])
        x = torch.randn(batch, frames, width, generator=generator, dtype=torch.float64)
        return x.to(device=self.device, dtype=self.dtype)

    def strange_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        return 1_000 * self.random_frames(batch, frames, generator)

    def parallel(self, x: Frames, state: State) -> tuple[Frames, State]:
        return output_and_state(self.module.parallel_forward(x, state), "parallel_forward")

    def step(self, x: Frame, state: State) -> tuple[Frame, State]:
        return output_and_state(self.module.step(x, state), "step")

    def hint(self) -> str:
        own = issubclass(self.plugin, BackbonePlugin) and "extreme" in _overrides(self.plugin)
        if self.conditions.gates == "ordinary" or own:
            return ""
        return (
            " (gates saturated by the default `extreme`, matrices times 100 and vectors spread; if only that is too "
            "much for your architecture, give the mixer a method `extreme` that saturates its gates alone)"
        )


def initial_state_is_a_parameter(stream: Stream) -> None:
    """Gradients reach an initial state that is a parameter, and are right by finite differences."""
    precise = stream.truth()
    x = precise.input()
    start = clone(precise.module.initial_state(1))
    generator = stream.generator(9)

    def noise(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf)

    start = tree_map(lambda leaf: leaf + 0.3 * noise(leaf) if leaf.is_floating_point() else leaf, start)
    directions = {name: noise(leaf) for name, leaf in float_leaves(start).items()}
    for form_name, form, frames in (("parallel_forward", parallel, x), ("step", fold, x[:, :8])):
        tuned = tree_map(lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), start)
        parameters = float_leaves(tuned)
        loss = _loss(precise, form, frames, tuned)
        gradients = dict(
            zip(
                parameters,
                torch.autograd.grad(loss, list(parameters.values()), allow_unused=True),
                strict=True,
            )
        )
        for name, direction in directions.items():
            gradient = gradients[name]
            reached = 0.0 if gradient is None else float((gradient * direction).sum())
            _require_slope(precise, form, frames, start, name, direction, reached, form_name)


def _require_slope(
    stream: Stream,
    form: Form,
    x: Frames,
    start: State,
    name: str,
    direction: Tensor,
    reached: float,
    form_name: str,
) -> None:
    distance = 1e-5
    ahead, behind = (_moved(start, name, sign * distance * direction) for sign in (1, -1))
    with torch.no_grad():
        rise = float(_loss(stream, form, x, ahead) - _loss(stream, form, x, behind))
    slope = rise / (2 * distance)
    if not abs(slope - reached) <= 1e-4 * (1 + abs(slope)):
        raise Violation(
            f"{form_name}: gradient with respect to initial state {name}, along a random direction: expected "
            f"{slope:.6g} by finite differences, found {reached:.6g}"
        )


def _moved(state: State, name: str, by: Tensor) -> State:
    chosen = named_leaves(state)[name]
    moved: State = tree_map(lambda leaf: leaf + by if leaf is chosen else leaf, state)
    return moved


def _loss(stream: Stream, form: Form, x: Frames, tuned: State) -> Tensor:
    def all_rows(leaf: Tensor) -> Tensor:
        rows = leaf.expand(ROWS, *leaf.shape[1:])
        return rows if leaf.is_floating_point() else rows.clone()

    y, final = form(stream, x, tree_map(all_rows, tuned))
    return projection(stream, y, final)


def starts_restart_rows(stream: Stream) -> None:
    """If parallel_forward takes ``starts``, it equals separate calls from initial states there, gradients too."""
    if not takes_starts(stream.module):
        raise NotApplicable("parallel_forward takes no starts, so its utterances are not packed end to end")
    x, state = stream.input(), stream.random_state()
    starts = torch.zeros(x.shape[:2], dtype=torch.bool)
    for row, frames in enumerate(([0, 33], [5, 16, 17], [64])):
        starts[row, frames] = True
    starts = starts.to(stream.device)

    def packed(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
        return output_and_state(
            stream.module.parallel_forward(x, state, starts=starts), "parallel_forward with starts"
        )

    def separate(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
        return _restarted(stream, x, state, starts)

    truth, apart = yardsticks(stream, with_gradients, separate, x, state)
    found = with_gradients(stream, packed, x, state)
    # Short calls may be more exact than long ones, which the kernels of a GPU compute in another way.
    whole_truth, whole = yardsticks(stream, with_gradients, parallel, x, state)
    for group, tensors in truth.items():
        label = f"with starts, against separate calls: {group}"
        uncut = whole[group], whole_truth[group]
        require_as_good(label, found[group], apart[group], tensors, stream.dtype, uncut)


def _restarted(stream: Stream, x: Frames, state: State, starts: Tensor) -> tuple[Frames, State]:
    """Separate calls: a new one wherever any row restarts."""
    cuts = starts.any(dim=0).nonzero().flatten().tolist()
    edges = sorted({0, *cuts, x.shape[1]})
    fresh, outputs = stream.module.initial_state(x.shape[0]), []
    for begin, end in pairwise(edges):
        state = where_rows(starts[:, begin], fresh, state)
        y, state = stream.parallel(x[:, begin:end], clone(state))
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def weights_follow_the_seed(stream: Stream) -> None:
    """Random weights come from torch's generator alone: the same seed gives the same ones, another seed others."""
    first, again = (_parameters(seeded_build(stream.plugin)) for _ in range(2))
    if not any(leaf.dim() > 1 for leaf in first.values()):
        raise NotApplicable("no parameter is a matrix")
    require_equal("weights, built twice after torch.manual_seed with the same seed:", again, first)
    other = _parameters(seeded_build(stream.plugin, SEED + 1))
    if all(torch.equal(leaf, other[name]) for name, leaf in first.items()):
        raise Violation(
            f"all {len(first)} parameters are the same under two seeds: draw them by torch's global generator, "
            "which lina seeds from the spec"
        )


def _parameters(backbone: Any) -> Tensors:
    return {name: leaf.detach() for name, leaf in backbone.named_parameters()}


def _overrides(plugin: type[Any]) -> set[str]:
    """Methods that a plugin class has of its own."""
    bases = plugin.__mro__[: plugin.__mro__.index(BackbonePlugin)]
    return {name for base in bases for name in vars(base)}


_STREAM_LAWS = stream_laws(BackboneStream, extreme=True)
_BOTH = (torch.float32, torch.float64)
BACKBONE_LAWS = [
    stream_law(weights_follow_the_seed, BackboneStream, (torch.float32,)),
    *_STREAM_LAWS[:-2],
    stream_law(long_lengths, BackboneStream, (torch.float32,)),
    stream_law(mixed_precision, BackboneStream, (torch.float32,)),
    stream_law(initial_state_is_a_parameter, BackboneStream, (torch.float64,)),
    stream_law(starts_restart_rows, BackboneStream, _BOTH, ("ordinary", "extreme")),
    *_STREAM_LAWS[-2:],
]
