"""Adapter from plugins of all roles to streams: frames [B, T, ...] in, frames [B, T, ...] out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from lina.core.laws.law import Conditions, Violation
from lina.core.plugin import Plugin
from lina.core.state import State, named_leaves, tree_map, where_rows

SEED = 20_011
ROWS = 3
Frames = Shaped[Tensor, "B T ..."]
Frame = Shaped[Tensor, "B ..."]


@contextmanager
def seeded(seed: int = SEED, device: str = "cpu") -> Iterator[None]:
    """Fix the random numbers inside; restore the random state afterwards."""
    cuda = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


def seeded_build(plugin: Any, seed: int = SEED) -> Any:
    """``plugin.build(**plugin.example())`` with the same weights each time; the random state is restored."""
    with seeded(seed):
        return plugin.build(**plugin.example())


class Stream(ABC):
    """One direction of a plugin's object, built from ``plugin.example()`` with the same weights each time."""

    frames: int
    """Frames of an input in the laws."""
    long_frames: int
    """Frames of the longest input."""
    differentiable: bool

    def __init__(self, plugin: type[Plugin], conditions: Conditions, precise: bool = False) -> None:
        self.plugin, self.conditions, self.precise = plugin, conditions, precise
        self.dtype = torch.float64 if precise else conditions.dtype
        self.device = conditions.device
        self.owner = self.build()
        if isinstance(self.owner, nn.Module):
            # Rounded to the dtype under test first: the truth has the same weights, not better ones.
            self.owner = self.owner.to(device=self.device, dtype=conditions.dtype).to(self.dtype).eval()
        else:
            # Without weights to cast there is one precision, and the parallel form is its own truth.
            self.dtype = torch.float32
        self.module = self.part(self.owner)

    def build(self) -> Any:
        return seeded_build(self.plugin)

    @abstractmethod
    def part(self, owner: Any) -> Any:
        """The object with the two forms."""

    @abstractmethod
    def random_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        """Ordinary input."""

    @abstractmethod
    def strange_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        """Valid input unlike ``random_frames``, to replace the future with."""

    @abstractmethod
    def parallel(self, x: Frames, state: State) -> tuple[Frames, State]: ...

    @abstractmethod
    def step(self, x: Frame, state: State) -> tuple[Frame, State]: ...

    def flush(self, state: State) -> Frames:
        """Pending frames of a stream with latency; other streams have none."""
        raise NotImplementedError

    def hint(self) -> str:
        """Remark on the conditions, to be appended to a violation."""
        return ""

    @contextmanager
    def training(self) -> Iterator[None]:
        """Training mode, with the same random numbers each time: dropout draws the same masks for the same shapes."""
        self.owner.train()
        try:
            with seeded(device=self.device):
                yield
        finally:
            self.owner.eval()

    def rebuilt(self) -> Self:
        """Another object with the same weights, before any call."""
        return type(self)(self.plugin, self.conditions)

    def truth(self) -> Self:
        """The same weights in float64."""
        return type(self)(self.plugin, self.conditions, precise=True)

    def generator(self, seed: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(SEED + seed)

    def input(self, frames: int | None = None, seed: int = 1, batch: int = ROWS) -> Frames:
        return self.random_frames(batch, frames or self.frames, self.generator(seed))

    def random_state(self, batch: int = ROWS) -> State:
        """A valid non-initial state: rows of different ages, floats with noise.

        Positions, flags and the ages of ring buffers stay as the stream itself produced them.
        """
        with torch.no_grad():
            state = self.module.initial_state(batch)
            aged = state
            for row in range(batch):
                warm_up = self.input(7 + 6 * row, seed=100 + row, batch=batch)
                _, state = self.parallel(warm_up, clone(state))
                rows = torch.arange(batch, device=self.device) >= row
                aged = where_rows(rows, state, aged)
            generator = self.generator(3)
            return tree_map(lambda leaf: _disturb(leaf, generator), aged)

    def own_state(self, state: State) -> State:
        """A copy of a state for this stream: in float64 for the truth, else as it is."""
        return clone(as_dtype(state, self.dtype) if self.precise else state)

    def parameters(self) -> dict[str, Tensor]:
        return dict(self.owner.named_parameters()) if isinstance(self.owner, nn.Module) else {}

    def weights(self) -> dict[str, Tensor]:
        """Copies of parameters and buffers."""
        buffers = dict(self.owner.named_buffers()) if isinstance(self.owner, nn.Module) else {}
        return {name: leaf.detach().clone() for name, leaf in (self.parameters() | buffers).items()}


def clone(state: State) -> State:
    """Copy before every call, so that an impure stream fails the law of purity only."""
    require_tensors(state)
    copied: State = tree_map(lambda leaf: leaf.clone(), state)
    return copied


def require_tensors(state: State) -> None:
    for name, leaf in named_leaves(state).items():
        if not isinstance(leaf, Tensor):
            raise Violation(f"state {name}: expected a tensor, found {type(leaf).__name__}")
        if leaf.is_complex():
            raise Violation(
                f"state {name} is {leaf.dtype}: states are real (files, gradients and the engine hold real tensors); "
                "keep torch.view_as_real of it in the state and take torch.view_as_complex of that inside"
            )


def output_and_state(result: Any, form: str) -> tuple[Any, State]:
    """The two parts of a form's result."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)):
        found = f"a tuple of {len(result)}" if type(result) is tuple else type(result).__name__
        raise Violation(f"{form}: expected a tuple of a tensor and a state, found {found}")
    return result


def as_dtype(state: State, dtype: torch.dtype) -> State:
    cast: State = tree_map(lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf, state)
    return cast


def float_leaves(state: State) -> dict[str, Tensor]:
    return {name: leaf for name, leaf in named_leaves(state).items() if leaf.is_floating_point()}


def fold(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
    """``step`` over time."""
    outputs = []
    for t in range(x.shape[1]):
        y, state = stream.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def parallel(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
    return stream.parallel(x, state)


def in_pieces(sizes: list[int]) -> Callable[[Stream, Frames, State], tuple[Frames, State]]:
    """``parallel_forward`` over consecutive pieces of these lengths."""

    def run(stream: Stream, x: Frames, state: State) -> tuple[Frames, State]:
        outputs = []
        begin = 0
        for size in sizes:
            y, state = stream.parallel(x[:, begin : begin + size], state)
            outputs.append(y)
            begin += size
        return torch.cat(outputs, dim=1), state

    return run


def _disturb(leaf: Tensor, generator: torch.Generator) -> Tensor:
    if not leaf.is_floating_point() or leaf.numel() == 0:
        return leaf.clone()
    finite = leaf.double().nan_to_num(0.0, 0.0, 0.0)
    size = max(float(finite.square().mean().sqrt()), 0.1)

    def noise() -> Tensor:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.device)

    disturbed = leaf.double() * (1 + 0.3 * noise()) + 0.1 * size * noise()
    return torch.where(leaf.isfinite(), disturbed, leaf.double()).to(leaf.dtype)
