from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lina.core.model.delay_pattern import Skew, SkewState, delay, undelay

FILL = -1


def random_frames(rows: int, frames: int, codebooks: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 1000, (rows, frames, codebooks), generator=generator)


def stepwise(skew: Skew, frames: Tensor) -> tuple[Tensor, SkewState]:
    state, out = skew.initial_state(len(frames)), []
    for frame in frames.unbind(1):
        output, state = skew.step(frame, state)
        out.append(output)
    return torch.stack(out, 1), state


def test_the_pattern_by_hand() -> None:
    frames = torch.tensor([[[1, 10, 100], [2, 20, 200], [3, 30, 300], [4, 40, 400]]])
    skew = delay(3, FILL)
    delayed, state = skew.parallel_forward(frames, skew.initial_state(1))
    assert delayed.tolist() == [[[1, -1, -1], [2, 10, -1], [3, 20, 100], [4, 30, 200]]]
    assert state.history.tolist() == [[[3, 30, 300], [4, 40, 400]]]


@pytest.mark.parametrize("codebooks", range(1, 15))
def test_undelay_after_delay_is_a_lag(codebooks: int) -> None:
    there, back = delay(codebooks, FILL), undelay(codebooks, FILL)
    for time in range(1, 21):
        frames = random_frames(2, time, codebooks)
        tail = torch.full((2, codebooks - 1, codebooks), FILL)
        delayed, _ = there.parallel_forward(torch.cat([frames, tail], 1), there.initial_state(2))
        aligned, _ = back.parallel_forward(delayed, back.initial_state(2))
        assert torch.equal(aligned[:, codebooks - 1 :], frames)
        assert (aligned[:, : codebooks - 1] == FILL).all()


@pytest.mark.parametrize("make", [delay, undelay])
@given(codebooks=st.integers(1, 14), time=st.integers(1, 20), cut=st.integers(0, 20))
def test_step_and_any_split_equal_the_whole(
    make: Callable[[int, int], Skew], codebooks: int, time: int, cut: int
) -> None:
    skew, frames = make(codebooks, FILL), random_frames(3, time, codebooks)
    whole, after = skew.parallel_forward(frames, skew.initial_state(3))
    stepped, state = stepwise(skew, frames)
    assert torch.equal(stepped, whole)
    assert torch.equal(state.history, after.history)
    first, state = skew.parallel_forward(frames[:, :cut], skew.initial_state(3))
    second, state = skew.parallel_forward(frames[:, cut:], state)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(state.history, after.history)


def test_step_leaves_its_state_alone() -> None:
    skew = delay(3, FILL)
    _, state = skew.parallel_forward(random_frames(2, 5, 3), skew.initial_state(2))
    before = state.history.clone()
    skew.step(random_frames(2, 1, 3)[:, 0], state)
    assert torch.equal(state.history, before)


def test_state_has_one_shape() -> None:
    skew = delay(4, FILL)
    shapes = {
        skew.parallel_forward(random_frames(2, time, 4), skew.initial_state(2))[1].history.shape
        for time in (1, 2, 9)
    }
    assert shapes == {torch.Size([2, 3, 4])}
