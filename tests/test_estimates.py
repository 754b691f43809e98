"""Intervals over independent seeds, against scipy."""

import numpy as np
import pytest
import scipy.stats

import symvi


@pytest.mark.parametrize("num", [2, 10])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_mean_interval_equals_scipy(num, level):
    values = np.random.default_rng(num).normal(0.3, 2.0, num)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(level)
    found = symvi.mean_interval(values, level)
    assert isinstance(found, symvi.estimates.Interval) and found.mean == pytest.approx(
        values.mean(), rel=1e-12
    )
    np.testing.assert_allclose(found[1:], (expected.low, expected.high), rtol=1e-12)


def test_equal_values_have_an_interval_of_no_width():
    assert symvi.mean_interval([2, 2, 2]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.mean_interval([1.0]),
            r"differences: expected at least 2 finite numbers, got shape \(1,\) with 1 finite; pass one",
        ),
        (
            lambda: symvi.mean_interval([1.0, np.nan, 2.0]),
            r"differences: expected at least 2 finite numbers, got shape \(3,\) with 2 finite",
        ),
        (
            lambda: symvi.mean_interval(np.ones((3, 2))),
            r"differences: expected at least 2 finite numbers, got shape \(3, 2\)",
        ),
        (
            lambda: symvi.mean_interval([1.0, 2.0], level=95),
            "level: expected a number between 0 and 1, got 95; pass",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
