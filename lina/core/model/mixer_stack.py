"""Depth around mixers that need no channel mixing: x + mixer(norm(x)), and a norm at the end, as in Mamba."""

from collections.abc import Callable, Iterable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lina.core.model.stack import Layers
from lina.core.protocols import Backbone, takes_starts
from lina.core.state import State


class ResidualMixer(nn.Module):
    """x + mixer(norm(x)); itself a stream with its mixer's state."""

    def __init__(self, mixer: Backbone, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.mixer = mixer
        self.takes_starts = takes_starts(mixer)

    def initial_state(self, batch: int) -> State:
        return self.mixer.initial_state(batch)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        given = {} if starts is None else {"starts": starts}
        mixed, state = self.mixer.parallel_forward(self.norm(x), state, **given)
        return x + mixed, state

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state


class MixerStack(Layers):
    """Mixers with norms and residuals around them. The state is the tuple of the mixers' states."""

    def __init__(self, mixers: Iterable[Backbone], norm: Callable[[], nn.Module]) -> None:
        super().__init__(ResidualMixer(mixer, norm()) for mixer in mixers)
        self.norm_f = norm()

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        x, after = super().parallel_forward(x, state, starts)
        return self.norm_f(x), after

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        x, after = super().step(x, state)
        return self.norm_f(x), after
