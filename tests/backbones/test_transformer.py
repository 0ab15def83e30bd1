import pytest
import torch
from torch import Tensor

from lina.backbones.transformer import Transformer, TransformerConfig, WindowAttention
from lina.core.errors import SpecError
from lina.core.ops.rotary import apply_rotary

WINDOW = 5


def attention(window: int = WINDOW) -> WindowAttention:
    torch.manual_seed(0)
    return WindowAttention(16, TransformerConfig(n_heads=2, window=window))


def direct(layer: WindowAttention, x: Tensor) -> Tensor:
    """The whole attention matrix at once: frame t sees frames t - W + 1 .. t."""
    frames = x.shape[1]
    q, k, v = layer.qkv(x).unflatten(-1, (3, 2, 8)).unbind(2)
    positions = torch.arange(frames).expand(x.shape[0], -1)
    q, k = apply_rotary(q, positions), apply_rotary(k, positions)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / 8**0.5
    lag = torch.arange(frames)[:, None] - torch.arange(frames)
    weights = scores.masked_fill((lag < 0) | (lag >= layer.window), -torch.inf).softmax(-1)
    return layer.out(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("frames", [1, 4, 5, 6, 10, 23])
@torch.no_grad()
def test_blocks_equal_the_whole_matrix(frames: int) -> None:
    layer, x = attention(), torch.randn(2, frames, 16)
    out, state = layer.parallel_forward(x, layer.initial_state(2))
    torch.testing.assert_close(out, direct(layer, x), atol=1e-5, rtol=1e-5)
    assert state.position.tolist() == [frames, frames]


@pytest.mark.parametrize("window", [1, 3, 5, 50])
@torch.no_grad()
def test_the_ring_goes_round(window: int) -> None:
    layer, x = attention(window), torch.randn(2, 23, 16)
    expected, state = direct(layer, x), layer.initial_state(2)
    for t, frame in enumerate(x.unbind(1)):
        out, state = layer.step(frame, state)
        torch.testing.assert_close(out, expected[:, t], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_may_join_at_different_times() -> None:
    layer, x = attention(), torch.randn(1, 20, 16)
    states = [layer.parallel_forward(x[:, :start], layer.initial_state(1))[1] for start in (3, 11)]
    joined = type(states[0])(*(torch.cat(pair) for pair in zip(*states, strict=True)))
    frame = torch.randn(1, 16).expand(2, -1)
    out, after = layer.step(frame, joined)
    assert after.position.tolist() == [4, 12]
    for row, state in enumerate(states):
        torch.testing.assert_close(out[row : row + 1], layer.step(frame[:1], state)[0], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_under_autocast_step_and_whole_agree() -> None:
    """The attention itself is float32 in both faces; only the projections are bfloat16."""
    layer, x = attention(), torch.randn(2, 12, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, _ = layer.parallel_forward(x, layer.initial_state(2))
        state, steps = layer.initial_state(2), []
        for frame in x.unbind(1):
            out, state = layer.step(frame, state)
            steps.append(out)
    difference = (torch.stack(steps, 1) - whole).float().abs().max()
    assert difference <= 2**-8 * whole.float().abs().max(), "one rounding of the output, no more"


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SpecError, match="d_model = 16 is not a multiple of n_heads = 3"):
        Transformer.build(d_model=16, n_layers=1, config=TransformerConfig(n_heads=3))
