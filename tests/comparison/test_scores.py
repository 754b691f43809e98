"""Scores of drawn predictions: against closed forms and by enumerating pairs."""

import numpy as np
import pytest
import scipy.stats

from symvi.comparison import coverage, crps

RNG = np.random.default_rng(0)


def test_crps_is_the_mean_over_pairs():
    draws, y = RNG.normal(size=(7, 5, 1)), RNG.normal(size=(5, 1))
    expected = []
    for x, target in zip(draws[..., 0].T, y[:, 0], strict=True):
        between = [abs(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
        expected.append(np.abs(x - target).mean() - np.mean(between) / 2)
    found = crps(draws, y)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.std_error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(5), abs=1e-12)


def test_crps_of_a_normal_prediction():
    """s (z (2 F(z) - 1) + 2 f(z) - 1 / sqrt(pi)), with z = (y - m) / s."""
    normal, y = scipy.stats.norm, np.array([-1.0, 0.5, 4.0])
    z = (y - 1) / 2
    closed = 2 * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi))
    draws = 1 + 2 * RNG.normal(size=(200_000, 3))
    assert crps(draws, y).value == pytest.approx(closed.mean(), abs=0.01)


def test_crps_of_a_prediction_without_spread_is_its_absolute_error():
    assert crps(np.full((4, 2), 3.0), [1.0, 4.0]).value == 1.5


def test_crps_does_not_depend_on_how_many_draws_are_taken():
    """Pairs of one draw with itself would make 2 draws look worse than 1000."""
    draws, y = RNG.normal(size=(2, 100_000)), RNG.normal(size=100_000)
    assert crps(draws, y).value == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)


def test_coverage_counts_what_is_inside():
    draws = np.linspace(0, 1, 101)[:, None] * np.ones(4)
    found = coverage(draws, [0.05, 0.04, 0.5, 0.96], level=0.9)  # the interval is [0.05, 0.95]
    assert found.value == 0.5
    assert found.std_error == pytest.approx(np.std([1, 0, 1, 0], ddof=1) / 2)


def test_coverage_of_a_calibrated_prediction():
    draws, y = RNG.normal(size=(4000, 4000)), RNG.normal(size=4000)
    for level in (0.5, 0.9):
        found = coverage(draws, y, level)
        assert abs(found.value - level) < 5 * found.std_error


def test_one_row_says_nothing_of_the_spread():
    assert crps([[0.0], [1.0]], [0.0]).std_error == np.inf


@pytest.mark.parametrize("score", [crps, coverage])
@pytest.mark.parametrize(
    ("predicted", "y", "message"),
    [
        (np.ones((1, 3)), np.ones(3), "predicted: expected at least 2 draws of each y"),
        (np.ones((2, 3)), np.ones(4), r"predicted: expected shape \(num, 4\), .*got \(2, 3\)"),
        (np.ones((2, 3, 1)), np.ones(3), "predicted: expected shape .*put draws on the first axis"),
        (np.ones((2, 0)), np.ones(0), "predicted: expected at least 2 draws of each y"),
        (np.ones((2, 1)), [np.nan], "y: expected finite numbers"),
        (np.full((2, 1), np.inf), [1.0], "predicted: expected finite numbers"),
        ("draws", [1.0], "predicted: expected"),
    ],
)
def test_what_cannot_be_scored(score, predicted, y, message):
    with pytest.raises(ValueError, match=message):
        score(predicted, y)


def test_a_level_is_a_share():
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1"):
        coverage(np.ones((2, 1)), [1.0], level=90)
