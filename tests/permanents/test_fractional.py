"""The upper bound by fractional belief propagation, against the permanent and its own maximum."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from strained_matrices import KINDS, drawn

from symvi.permanents import (
    bethe,
    entropy_bound,
    fractional_bound,
    log_permanent,
    log_permanent_bounds,
    sinkhorn,
)

SETTLED = {"tolerance": 1e-12, "max_iter": 5000}


def naive_energy(log_a, b):
    """sum b log A - b log b + 1/2 (1 - b) log(1 - b); Chertkov and Yedidia (2013), gamma = -1/2."""

    def x_log_x(x):
        return x * np.log(np.where(x > 0, x, 1.0))

    return float((b * log_a - x_log_x(b) + 0.5 * x_log_x(1 - b)).sum())


def naive_maximum(log_a):
    """The largest energy over mixtures of permutation matrices, which are all doubly stochastic
    ones, by a general-purpose optimiser."""
    n = len(log_a)
    matrices = np.array([np.eye(n)[list(g)] for g in permutations(range(n))])

    def loss(scores):
        return -naive_energy(log_a, np.tensordot(scipy.special.softmax(scores), matrices, 1))

    return -scipy.optimize.minimize(loss, np.zeros(len(matrices)), tol=1e-10).fun


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_is_the_largest_energy(n, spread):
    log_a = spread * np.random.default_rng(n).normal(size=(n, n))
    found = fractional_bound(log_a, **SETTLED)
    assert float(found.value) == pytest.approx(naive_maximum(log_a), abs=1e-5)
    b = np.exp(np.asarray(found.log_beliefs))
    np.testing.assert_allclose(b.sum(0), 1, atol=1e-9)
    np.testing.assert_allclose(b.sum(1), 1, atol=1e-12)
    assert naive_energy(log_a, b) == pytest.approx(float(found.value), abs=1e-8)


@pytest.mark.parametrize(("spread", "error"), [(1.0, 1e-9), (3.0, 1e-4)])
@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_is_exact_for_blocks_of_two(blocks, spread, error):
    """In steep blocks, which hold beliefs near 0, scaling is slow: it has not settled."""
    rng = np.random.default_rng(blocks)
    log_a = np.full((2 * blocks, 2 * blocks), -np.inf)
    for block in range(blocks):
        at = slice(2 * block, 2 * block + 2)
        log_a[at, at] = rng.normal(size=(2, 2)) * spread
    exact = float(log_permanent(log_a))
    assert float(fractional_bound(log_a, **SETTLED).value) == pytest.approx(exact, abs=error)
    assert float(entropy_bound(log_a, **SETTLED).value) > exact + 1e-3


@pytest.mark.parametrize("n", [2, 8, 300])
def test_of_ones(n):
    """b = 1/n: F = n log n + n (n - 1) / 2 log(1 - 1/n), about n/2 above log n!."""
    expected = n * math.log(n) + n * (n - 1) / 2 * math.log(1 - 1 / n)
    value = float(fractional_bound(jnp.zeros((n, n))).value)
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rounds", [1, 3, 100])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_holds_before_convergence(kind, rounds):
    for n in (1, 2, 5, 9):
        for seed in range(4):
            log_a = drawn(kind, n, seed)
            exact, found = float(log_permanent(log_a)), fractional_bound(log_a, max_iter=rounds)
            assert float(found.value) >= exact - 1e-9 * max(1.0, abs(exact))


def test_is_halfway_between_two_bounds():
    """The energy is the mean of those of Bethe and Sinkhorn: so is the bound, at most."""
    rng = np.random.default_rng(3)
    log_a = np.stack([t * rng.normal(size=(9, 9)) for t in (0.1, 1.0, 3.0, 10.0)])
    low = np.asarray(bethe(log_a, tolerance=1e-10, max_iter=5000).value)
    high = np.asarray(fractional_bound(log_a, **SETTLED).value)
    scaled = sinkhorn(log_a, tolerance=1e-10, max_iter=5000)
    highest = np.asarray(scaled.row.sum(-1) + scaled.column.sum(-1))
    assert (low < high).all() and (high <= (low + highest) / 2 + 1e-6).all()


def test_nearly_separate_units_are_seen_closer_than_by_entropy():
    log_a = np.full((12, 12), -5.0)
    np.fill_diagonal(log_a, 0.0)
    exact = float(log_permanent(log_a))
    by_fractions = float(fractional_bound(log_a).value) - exact
    by_entropy = float(entropy_bound(log_a).value) - exact
    assert 0 < by_fractions < by_entropy / 5


def test_has_its_beliefs_as_gradient():
    log_a = jnp.asarray(2 * np.random.default_rng(24).normal(size=(7, 7)))

    def value(a):
        return fractional_bound(a, **SETTLED).value

    slope = np.asarray(jax.grad(value)(log_a))
    step = 1e-4
    for i, j in ((0, 0), (2, 5), (4, 1), (3, 3)):
        up, down = (float(value(log_a.at[i, j].add(s))) for s in (step, -step))
        assert slope[i, j] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_leading_axes_and_precision():
    log_a = np.random.default_rng(5).normal(size=(2, 3, 4, 4)).astype(np.float32)
    found = fractional_bound(log_a)
    assert found.value.shape == (2, 3) and found.value.dtype == np.float32
    assert found.log_beliefs.shape == log_a.shape and found.prices.shape == (2, 3, 4)
    alone = fractional_bound(log_a[1, 2]).value
    assert float(found.value[1, 2]) == pytest.approx(float(alone), abs=1e-5)


def test_a_permanent_of_zero():
    log_a = np.zeros((3, 3))
    log_a[1] = -np.inf
    assert float(fractional_bound(log_a).value) == -np.inf


def test_the_certified_interval_takes_the_nearest_of_three():
    near = np.full((20, 20), -6.0)
    np.fill_diagonal(near, 0.0)
    for log_a, best in ((near, fractional_bound), (np.zeros((20, 20)), entropy_bound)):
        lower, upper = (float(end) for end in log_permanent_bounds(log_a))
        nearest = float(best(log_a).value)
        assert upper == pytest.approx(nearest, abs=1e-8) and lower < upper
        slope = jax.grad(lambda a: log_permanent_bounds(a)[1])(jnp.asarray(log_a))
        np.testing.assert_allclose(slope, np.exp(best(log_a).log_beliefs), atol=1e-9)
