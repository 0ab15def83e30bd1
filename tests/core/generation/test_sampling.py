from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.sampling import sample, sampling_rules
from lina.core.generation.sampling_rules import SamplingRules
from lina.core.generation.settings import ALL, Sampling

LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.5, 0.0, 1.4])
DRAWS = 20_000


def rules_of(sampling: Sampling, codebooks: int, rows: int = 1) -> SamplingRules:
    return SamplingRules(*(rule.expand(rows, -1) for rule in sampling_rules(sampling, codebooks)))


def some_keys(*shape: int, seed: int = 4) -> Tensor:
    return torch.randint(-(2**62), 2**62, shape, generator=torch.Generator().manual_seed(seed))


def shares(sampling: Sampling, logits: Tensor = LOGITS, allowed: Tensor | None = None) -> Tensor:
    """Frequencies of the tokens drawn: one row of many codebooks stands for many draws."""
    size = len(logits)
    allowed = torch.ones(size, dtype=torch.bool) if allowed is None else allowed
    drawn = sample(
        logits.expand(1, DRAWS, -1),
        allowed.expand(DRAWS, -1),
        sampling_rules(sampling, DRAWS),
        some_keys(1, DRAWS),
    )
    return torch.bincount(drawn[0], minlength=size) / DRAWS


def assert_drawn_from(drawn: Tensor, probabilities: Tensor) -> None:
    """Pearson's statistic below the 1 - 1e-4 quantile of chi-square with 5 degrees of freedom; zeros exactly."""
    possible = probabilities > 0
    assert not drawn[~possible].any()
    statistic = ((drawn - probabilities)[possible] ** 2 / probabilities[possible]).sum() * DRAWS
    assert float(statistic) < 25.7


def exact(temperature: float, kept: list[int]) -> Tensor:
    mask = torch.zeros(len(LOGITS), dtype=torch.bool)
    mask[kept] = True
    return (LOGITS.double() / temperature).masked_fill(~mask, -torch.inf).softmax(-1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature(temperature: float) -> None:
    drawn = shares(Sampling(temperature=temperature))
    assert_drawn_from(drawn, exact(temperature, [0, 1, 2, 3, 4, 5]))
    wrong = ((drawn - exact(temperature * 1.2, [0, 1, 2, 3, 4, 5])) ** 2).sum() * DRAWS
    assert float(wrong) > 5, "the bound can tell a wrong temperature"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_top_k_keeps_the_same_tokens_at_any_temperature(temperature: float) -> None:
    assert_drawn_from(shares(Sampling(temperature=temperature, top_k=3)), exact(temperature, [0, 3, 5]))


def test_top_k_of_one_is_greedy_and_of_many_is_none() -> None:
    assert shares(Sampling(temperature=5.0, top_k=1)).tolist() == [1, 0, 0, 0, 0, 0]
    assert torch.equal(shares(Sampling(1.0, top_k=1000)), shares(Sampling(1.0)))


def test_the_likeliest_alone_are_drawn_from_as_all_in_order_are() -> None:
    generator = torch.Generator().manual_seed(3)
    sampling = Sampling(temperature=0.8, top_k=[20, 5, 50], top_p=0.9)
    assert sampling.widest(3) == 50
    allowed, rules = torch.rand(1, 3, 200, generator=generator) < 0.5, rules_of(sampling, 3, 2)
    for seed in range(40):
        logits = torch.randn(2, 3, 200, generator=generator) * 3
        drawn = [sample(logits, allowed, rules, some_keys(2, 3, seed=seed), width) for width in (50, None)]
        assert torch.equal(*drawn)
    assert Sampling(1.0, top_k=[3, None]).widest(2) is None


def test_without_top_p_the_mass_is_not_summed() -> None:
    logits = torch.randn(1, 50, 200, generator=torch.Generator().manual_seed(3)) * 3
    allowed, rules = torch.ones(50, 200, dtype=torch.bool), sampling_rules(Sampling(1.0, top_k=20), 50)
    with_sums, without = (
        sample(logits, allowed, rules, some_keys(1, 50), nucleus=nucleus) for nucleus in (True, False)
    )
    assert torch.equal(with_sums, without)


def test_rows_have_rules_of_their_own() -> None:
    rules = SamplingRules(
        *(
            torch.cat(pair)
            for pair in zip(
                sampling_rules(Sampling(1.0, top_k=2), 200), sampling_rules(Sampling(), 200), strict=True
            )
        )
    )
    drawn = sample(
        LOGITS.expand(2, 200, -1), torch.ones(200, 6, dtype=torch.bool), rules, some_keys(2, 200), 6
    )
    assert drawn[0].unique().tolist() == [0, 3]
    assert drawn[1].unique().tolist() == [0]


def test_top_p_keeps_the_fewest_that_hold_it() -> None:
    """At temperature 1: 0.39, 0.23, 0.21, ...: two hold 0.62, three hold 0.83."""
    assert_drawn_from(shares(Sampling(1.0, top_p=0.3)), exact(1.0, [0]))
    assert_drawn_from(shares(Sampling(1.0, top_p=0.6)), exact(1.0, [0, 3]))
    assert_drawn_from(shares(Sampling(1.0, top_p=0.7)), exact(1.0, [0, 3, 5]))
    assert torch.equal(shares(Sampling(1.0, top_p=1.0)), shares(Sampling(1.0)))


def test_temperature_acts_before_top_p() -> None:
    """0.7 holds one token at temperature 0.25 (0.80) and five of them at 100."""
    assert_drawn_from(shares(Sampling(0.25, top_p=0.7)), exact(0.25, [0]))
    assert_drawn_from(shares(Sampling(100.0, top_p=0.7)), exact(100.0, [0, 2, 3, 4, 5]))


def test_top_p_is_of_what_top_k_left() -> None:
    """Of the three likeliest the first two hold 0.75."""
    assert_drawn_from(shares(Sampling(1.0, top_k=3, top_p=0.7)), exact(1.0, [0, 3]))


def test_only_allowed_tokens_are_drawn() -> None:
    allowed = torch.tensor([False, True, True, False, True, True])
    assert_drawn_from(shares(Sampling(1.0), allowed=allowed), exact(1.0, [1, 2, 4, 5]))
    assert shares(Sampling(), allowed=allowed).tolist() == [0, 0, 0, 0, 0, 1]
    assert_drawn_from(shares(Sampling(1.0, top_k=2), allowed=allowed), exact(1.0, [2, 5]))


def test_absent_tokens_are_never_drawn() -> None:
    logits = LOGITS.clone()
    logits[[0, 3]] = -torch.inf
    assert_drawn_from(shares(Sampling(100.0), logits), exact(100.0, [1, 2, 4, 5]))


def test_each_codebook_by_its_own_rules() -> None:
    sampling = Sampling(temperature=[0.0, 1.0, 1.0], top_k=[None, 2, None], top_p=[None, None, 0.3])
    drawn = sample(
        LOGITS.expand(200, 3, -1),
        torch.ones(3, 6, dtype=torch.bool),
        rules_of(sampling, 3, 200),
        some_keys(200, 3),
    )
    assert drawn[:, 0].unique().tolist() == [0], "greedy beside sampled ones"
    assert drawn[:, 1].unique().tolist() == [0, 3]
    assert drawn[:, 2].unique().tolist() == [0]


def test_greedy_takes_the_first_of_equals() -> None:
    drawn = sample(
        torch.zeros(50, 2, 6),
        torch.ones(2, 6, dtype=torch.bool),
        rules_of(Sampling([0.0, 1.0]), 2, 50),
        some_keys(50, 2),
    )
    assert drawn[:, 0].unique().tolist() == [0]
    assert len(drawn[:, 1].unique()) == 6


def test_greedy_decoding_needs_no_random_number() -> None:
    logits = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(0))
    allowed, rules = torch.ones(2, 6, dtype=torch.bool), rules_of(Sampling(), 2, 5)
    drawn = sample(logits, allowed, rules, some_keys(5, 2))
    assert torch.equal(sample(logits, allowed, rules, None), drawn)
    assert torch.equal(drawn, logits.argmax(-1))


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"temperature": [1.0, 1.0]}, "temperature has 2 values, but the codec has 3 codebooks"),
        ({"top_k": [1, 2, 3, 4]}, "top_k has 4 values"),
        ({"top_p": ()}, "top_p has 0 values"),
        ({"temperature": -0.1}, "temperature = -0.1 is not a number in 0.0 .. 100.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": [0.0, 1.0, 101.0]}, "temperature = 101.0"),
        ({"temperature": "hot"}, "temperature = 'hot' is not a number"),
        ({"top_k": 0}, "top_k = 0 is not an integer in 1"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_k": 2.5}, "top_k = 2.5 is not an integer"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.1}, "top_p = 1.1"),
        ({"top_p": [0.5, None, 2.0]}, "top_p = 2.0"),
    ],
)
def test_wrong_rules_are_refused(sampling: dict[str, Any], message: str) -> None:
    with pytest.raises(LinaError, match=message) as error:
        sampling_rules(Sampling(**sampling), 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("temperature", "greedy"), [(0.0, True), ([0.0, 0], True), (0.1, False), ([0.0, 0.1], False)]
)
def test_greedy_is_known_before_the_codebooks_are(temperature: Any, greedy: bool) -> None:
    assert Sampling(temperature).is_greedy == greedy


def test_integers_are_numbers() -> None:
    rules = sampling_rules(Sampling(temperature=1, top_k=3, top_p=1), 2)
    assert rules.temperature.tolist() == [[1.0, 1.0]]
    assert rules.top_k.tolist() == [[3, 3]]
    assert sampling_rules(Sampling(), 2).top_k.tolist() == [[ALL, ALL]]
    assert {leaf.device.type for leaf in sampling_rules(Sampling(), 2, "meta")} == {"meta"}


@pytest.mark.parametrize(
    ("top_p", "has"), [(None, False), (1.0, False), (0.9, True), ([None, 1.0], False), ([None, 0.5], True)]
)
def test_top_p_is_known_before_the_codebooks_are(top_p: Any, has: bool) -> None:
    assert Sampling(1.0, top_p=top_p).has_top_p == has


def test_rounding_changes_few_draws() -> None:
    """In units of the rounding: the largest two sums are as close as that less than once per draw.

    A draw by cumulative sums over 100 tokens changes 16 times as often.
    """
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(1, DRAWS, 100, generator=generator) * 2
    rounding = 1e-4
    others = logits + torch.randn(logits.shape, generator=generator) * rounding
    allowed, rules = torch.ones(DRAWS, 100, dtype=torch.bool), sampling_rules(Sampling(1.0), DRAWS)
    keys = some_keys(1, DRAWS)
    different = float((sample(logits, allowed, rules, keys) != sample(others, allowed, rules, keys)).sum())
    assert different < 2 * rounding * DRAWS
