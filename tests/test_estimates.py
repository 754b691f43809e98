"""Intervals over independent seeds, against scipy."""

import math
import pickle

import numpy as np
import pytest
import scipy.stats

import symvi
from symvi.estimates import from_samples


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


def test_an_estimate_is_the_mean_of_its_draws_with_their_standard_error():
    values = np.random.default_rng(0).normal(size=7)
    found = from_samples(values, "lower")
    assert found == (values.mean(), scipy.stats.sem(values), "lower")
    assert from_samples([2.0], "exact") == (2.0, np.inf, "exact")
    assert symvi.Estimate(np.float32(0.5), np.array(0), "upper") == (0.5, 0.0, "upper")
    assert pickle.loads(pickle.dumps(found)) == found


def test_equal_values_have_an_interval_of_no_width():
    assert symvi.mean_interval([2, 2, 2]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("value", "std_error", "kind", "shown"),
    [
        (-207.01234, 0.0065, "exact", "-207.0123 ± 0.0065 (unbiased)"),
        (0.6926, 0.0996, "lower", "0.69 ± 0.10 (lower)"),  # 0.0996 is 0.10 to two digits
        (-4450.26, 1.24, "approximate", "-4450.3 ± 1.2 (approximate)"),
        (-4450.26, 123.4, "upper", "-4450 ± 123 (upper)"),
        (-0.0001, 0.05, "exact", "0.000 ± 0.050 (unbiased)"),
        (math.log(2), 0.0, "exact", "0.6931 ± 0 (exact)"),  # a closed form
        (6.57925, 3e-16, "exact", "6.579 ± 3e-16 (unbiased)"),  # equal draws: rounding
        (2.0, math.inf, "exact", "2 ± inf (unbiased)"),  # a single draw
    ],
)
def test_an_estimate_shows_the_digits_that_its_error_leaves(value, std_error, kind, shown):
    estimate = symvi.Estimate(value, std_error, kind)
    assert str(estimate) == shown
    bounds = symvi.estimates.Bounds(estimate, estimate)
    ends = shown.partition(" (")[0]
    assert str(bounds) == f"[{ends}, {ends}]"


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.mean_interval([1.0]),
            r"differences: expected at least 2 finite numbers, got shape \(1,\) with 1 finite",
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
        (lambda: symvi.mean_interval("text"), "differences: expected an array of numbers"),
        (lambda: symvi.mean_interval(None), "differences: expected an array of numbers, got None"),
        (lambda: symvi.Estimate("x", 0.0, "exact"), "value: expected a number, got 'x'; pass"),
        (lambda: symvi.Estimate(1.0, None, "exact"), "std_error: expected a number, got None"),
        (lambda: symvi.Estimate(1.0, -0.1, "exact"), "std_error: expected a number >= 0, got -0.1"),
        (lambda: symvi.Estimate(1.0, 0.1, "sure"), "kind: expected one of 'exact', 'lower'"),
        (lambda: from_samples([], "exact"), "values: expected a row of at least 1 number"),
        (lambda: from_samples([1.0, 2.0], "best"), "kind: expected one of 'exact', 'lower'"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
