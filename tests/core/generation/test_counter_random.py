import pytest
import torch

from lina.core.generation.counter_random import DRAWS, GOLDEN, draw_keys, gumbel, mix
from lina.core.generation.stream_key import stream_key

KEYS = torch.tensor([stream_key(seed, place) for seed in range(40) for place in range(25)])


def test_the_bits_are_those_of_splitmix() -> None:
    """The first outputs for seed 1234567, as Java's SplittableRandom and Vigna's splitmix64.c give them."""
    outputs = mix(1234567 + GOLDEN * torch.arange(1, 4))
    assert [value % 2**64 for value in outputs.tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_keys_are_mixed_as_draws_are() -> None:
    seeds = torch.tensor([0, 1, 2**31, 2**62])
    for place in (0, 7, 2**20):
        keys = mix(mix(seeds) + torch.tensor([place + 1]) * GOLDEN)
        assert [stream_key(seed, place) for seed in seeds.tolist()] == keys.tolist()


def test_a_draw_is_a_function_of_key_frame_and_number() -> None:
    frames = torch.arange(len(KEYS))
    together = draw_keys(KEYS, frames, 5)
    for row in (0, 7, 999):
        alone = draw_keys(KEYS[row : row + 1], frames[row : row + 1], 5)
        assert torch.equal(alone[0], together[row])
    assert torch.equal(draw_keys(KEYS, frames, 3), together[:, :3])


def uniform(keys: torch.Tensor, frames: torch.Tensor, draws: int) -> torch.Tensor:
    """The noise of token 0 of each draw, by the distribution function of Gumbel."""
    keys = draw_keys(keys, frames, draws)
    return torch.exp(-torch.exp(-gumbel(keys, torch.zeros_like(keys)[..., None])[..., 0]))


def test_draws_are_uniform_and_differ() -> None:
    draws = uniform(KEYS, torch.zeros_like(KEYS), 5)
    assert draws.dtype == torch.float64
    assert len(draws.unique()) == draws.numel()
    assert 0 <= float(draws.min()) < 0.01
    assert 0.99 < float(draws.max()) < 1
    counts = torch.histc(draws.float(), 20, 0, 1)
    statistic = float(((counts - 250) ** 2 / 250).sum())
    assert statistic < 52.4, "the 1 - 1e-5 quantile of chi-square with 19 degrees of freedom"


@pytest.mark.parametrize("apart", ["keys", "frames", "draws", "tokens"])
def test_neighbors_are_not_correlated(apart: str) -> None:
    frames = torch.arange(1001)
    if apart == "keys":
        draws = uniform(KEYS, torch.zeros_like(KEYS), 1)[:, 0]
    elif apart == "frames":
        draws = uniform(KEYS[:1].expand(1001), frames, 1)[:, 0]
    elif apart == "draws":
        draws = uniform(KEYS[:1], frames[:1], 1000)[0]
    else:
        draws = torch.exp(-torch.exp(-gumbel(KEYS[0], torch.arange(1000))))
    pair = torch.stack([draws[:-1], draws[1:]])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.15


def test_noise_is_a_function_of_draw_and_token() -> None:
    keys = draw_keys(KEYS[:3], torch.arange(3), 2)
    tokens = torch.tensor([5, 0, 900]).expand(3, 2, -1)
    together = gumbel(keys, torch.arange(1000).expand(3, 2, -1))
    assert torch.equal(gumbel(keys, tokens), together.gather(-1, tokens))
    assert together.dtype == torch.float64
    assert together.isfinite().all()


def test_places_make_streams_of_their_own() -> None:
    assert stream_key(5) == stream_key(5)
    keys = {
        stream_key(seed, *places) for seed in (0, 1, 2**63 - 1) for places in ((), (0,), (1,), (0, 1), (1, 0))
    }
    assert len(keys) == 15
    assert len(set(KEYS.tolist())) == len(KEYS)
    assert DRAWS > 64 + 1, "codebooks, and the second draw of the first"
