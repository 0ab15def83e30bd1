import numpy as np
import pytest

from lina.evaluation.bootstrap import interval, median_interval


def test_an_interval_covers_its_value_and_is_reproducible() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 200)
    found = interval(values)
    assert found is not None
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(float(values.mean()))
    # The standard error of a mean, twice 1.96 of which are the width.
    assert found.high - found.low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.15)
    assert interval(values) == found


def test_weights_make_a_rate_and_nan_is_left_out() -> None:
    found = interval(np.array([1.0, np.nan, 2.0, 5.0]), np.array([4.0, 100.0, 2.0, np.nan]))
    assert found is not None
    assert found.value == 0.5
    assert (found.low, found.high) == (0.25, 1.0)


@pytest.mark.parametrize(("values", "weights"), [([], []), ([np.nan], [1.0]), ([0.0, 0.0], [0.0, 0.0])])
def test_without_values_there_is_no_interval(values: list[float], weights: list[float]) -> None:
    assert interval(np.array(values), np.array(weights)) is None


def test_resamples_without_weight_are_left_out() -> None:
    """A text of no duration, drawn alone, would divide by zero."""
    found = interval(np.array([0.0, 3.0]), np.array([0.0, 6.0]))
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_median_is_robust_to_an_outlier() -> None:
    found = median_interval(np.array([0.1, 0.2, np.nan, 0.3, 0.2, 60.0]))
    assert found is not None
    assert found.value == 0.2
    assert found.low == 0.1
    assert 0.2 < found.high <= 60.0
    assert median_interval(np.array([np.nan])) is None
    assert median_interval(np.array([])) is None
