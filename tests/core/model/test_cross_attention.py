import torch

from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention, sinusoids
from lina.core.state import leaves
from tests.core.toy_backbone import DiagonalDecay


def test_sinusoids_by_formula() -> None:
    table = sinusoids(5, 6, torch.zeros(1, dtype=torch.float64))
    for position in range(5):
        for e in range(3):
            angle = torch.tensor(position * 10000.0 ** (-2 * e / 6), dtype=torch.float64)
            torch.testing.assert_close(table[position, e], angle.sin())
            torch.testing.assert_close(table[position, 3 + e], angle.cos())


def test_sinusoids_are_float32_at_least() -> None:
    assert sinusoids(3, 4, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32


def test_plain_attention_by_hand() -> None:
    """One head, no rotary positions: softmax of scaled products of the normalised projections."""
    torch.manual_seed(0)
    attention = CrossAttention(6, 1, rotary=False)
    text, x = torch.randn(1, 4, 6), torch.randn(1, 3, 6)
    mask = torch.tensor([[True, True, True, False]])
    out, state, weights = attention.parallel_forward(
        x, attention.initial_state(1), attention.remember(text, mask)
    )
    q, k, v = (
        norm(projection(inputs))[0]
        for norm, projection, inputs in (
            (attention.ln_q, attention.q, x),
            (attention.ln_k, attention.k, text[:, :3]),
            (attention.ln_v, attention.v, text[:, :3]),
        )
    )
    expected = (q @ k.T / 6**0.5).softmax(-1)
    torch.testing.assert_close(weights[0, :, :3], expected)
    assert not weights[..., 3].any()
    torch.testing.assert_close(out[0], expected @ v)
    assert state.time.tolist() == [3]


def test_rows_at_different_times_turn_their_queries_differently() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, rotary=True)
    memory = attention.remember(torch.randn(1, 4, 8).expand(2, -1, -1), torch.ones(2, 4, dtype=torch.bool))
    x = torch.randn(1, 8).expand(2, -1)
    state = attention.initial_state(2)._replace(time=torch.tensor([0, 9]))
    _, after, weights = attention.step(x, state, memory)
    assert after.time.tolist() == [1, 10]
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)


def test_step_computes_nothing_of_the_text_again() -> None:
    """Only queries are projected, and no positions are made: all else was remembered."""
    torch.manual_seed(0)
    attention = PositionCrossAttention(8, DiagonalDecay(6), 6, rotary=False)
    memory = attention.remember(torch.randn(1, 4, 8), torch.ones(1, 4, dtype=torch.bool))
    assert memory.positions.shape == (1, 4, 6)
    attention.k = attention.v = attention.ln_k = attention.ln_v = None  # type: ignore[assignment]
    state = attention.initial_state(1)
    with torch.autograd.profiler.profile() as profile:
        attention.step(torch.randn(1, 8), state, memory)
    names = {event.name for event in profile.function_events}
    assert "aten::softmax" in names
    assert not names & {"aten::sin", "aten::pow"}


def test_the_position_network_is_part_of_the_state() -> None:
    attention = PositionCrossAttention(8, DiagonalDecay(6), 6, rotary=False)
    assert len(leaves(attention.initial_state(2))) == 4
    assert len(leaves(CrossAttention(8, 2, rotary=False).initial_state(2))) == 1


def test_maps_are_every_attention_on_the_way() -> None:
    torch.manual_seed(0)
    mask, text, x = torch.ones(1, 4, dtype=torch.bool), torch.randn(1, 4, 8), torch.randn(1, 3, 8)
    plain, aware = (
        CrossAttention(8, 2, rotary=True),
        PositionCrossAttention(8, DiagonalDecay(6), 6, rotary=True),
    )
    for attention, own in ((plain, 0), (aware, 1)):
        state, memory = attention.initial_state(1), attention.remember(text, mask)
        maps = attention.maps(x, state, memory)
        assert maps.shape == (1, 2, 3, 4)
        torch.testing.assert_close(maps.sum(-1), torch.ones(1, 2, 3))
        assert torch.equal(maps[:, own], attention.parallel_forward(x, state, memory)[2])
        assert not torch.allclose(maps[:, own], maps[:, 1 - own])


def test_fewer_channels_may_be_turned() -> None:
    torch.manual_seed(0)
    text, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    still, half, two = (
        CrossAttention(8, 1, rotary, channels)
        for rotary, channels in ((False, None), (True, None), (True, 2))
    )
    for other in (half, two):
        other.load_state_dict(still.state_dict())
    keys, turned, turned_less = (one.remember(text, mask).keys for one in (still, half, two))
    assert torch.equal(turned[..., 4:], keys[..., 4:])
    assert not torch.allclose(turned[:, 1:, 2:4], keys[:, 1:, 2:4])
    assert torch.equal(turned_less[..., 2:], keys[..., 2:])
    torch.testing.assert_close(turned_less[..., :2], turned[..., :2])
