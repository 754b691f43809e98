"""The exact log permanent: brute force, closed forms, gradient, extremes, and what it refuses."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from symvi.permanents import log_permanent, log_sum_exp


def brute_force(log_a):
    """perm(A) = sum over permutations g of prod_i A[i, g(i)]."""
    n = len(log_a)
    return np.logaddexp.reduce([sum(log_a[i, g[i]] for i in range(n)) for g in permutations(range(n))])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 7).flatmap(lambda n: hnp.arrays(float, (n, n), elements=st.floats(-300, 300))))
def test_equals_brute_force(log_a):
    assert float(log_permanent(log_a)) == pytest.approx(brute_force(log_a), abs=1e-10, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
def test_all_ones_is_n_factorial(n):
    assert float(log_permanent(jnp.zeros((n, n)))) == pytest.approx(math.lgamma(n + 1), abs=1e-10)


def test_the_largest_size_works():
    assert float(log_permanent(jnp.zeros((16, 16)))) == pytest.approx(math.lgamma(17), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_ones_without_the_diagonal_count_derangements(n):
    subfactorial = round(math.factorial(n) / math.e)
    log_a = jnp.where(jnp.eye(n) > 0, -jnp.inf, 0.0)
    assert float(log_permanent(log_a)) == pytest.approx(math.log(subfactorial), abs=1e-10)


def test_a_zero_row_gives_minus_infinity_and_a_finite_gradient():
    log_a = jnp.zeros((4, 4)).at[1].set(-jnp.inf)
    value, slope = jax.value_and_grad(lambda a: log_permanent(a))(log_a)
    assert value == -jnp.inf
    assert not np.isnan(slope).any()


def test_gradient_is_a_doubly_stochastic_matrix_of_probabilities():
    log_a = 3 * jax.random.normal(jax.random.key(0), (6, 6))
    slope = np.asarray(jax.grad(log_permanent)(log_a))
    np.testing.assert_allclose(slope.sum(0), 1, atol=1e-12)
    np.testing.assert_allclose(slope.sum(1), 1, atol=1e-12)
    step = 1e-6
    for i, j in ((0, 0), (2, 5), (4, 1)):
        up, down = log_a.at[i, j].add(step), log_a.at[i, j].add(-step)
        assert slope[i, j] == pytest.approx(float(log_permanent(up) - log_permanent(down)) / (2 * step), abs=1e-7)


def test_batches_jit_and_vmap():
    log_a = jax.random.normal(jax.random.key(0), (2, 3, 5, 5))
    batched = log_permanent(log_a)
    assert batched.shape == (2, 3)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(log_permanent)))(log_a), batched, rtol=1e-12)
    assert float(batched[1, 2]) == pytest.approx(brute_force(np.asarray(log_a[1, 2])), abs=1e-10)


def test_shifts_and_permutations_of_rows():
    log_a = jax.random.normal(jax.random.key(1), (5, 5))
    assert float(log_permanent(log_a.at[2].add(700.0))) == pytest.approx(float(log_permanent(log_a)) + 700, abs=1e-9)
    assert float(log_permanent(log_a[jnp.array([3, 1, 4, 0, 2])].T)) == pytest.approx(float(log_permanent(log_a)), abs=1e-12)


def test_log_sum_exp_of_nothing():
    assert log_sum_exp(jnp.full((2, 3), -jnp.inf), axis=1).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("log_a", "match"),
    [
        (np.zeros((2, 3)), r"log_a: expected square matrices \(..., n, n\), got shape \(2, 3\); pass"),
        (np.zeros(4), r"log_a: expected square matrices .*got shape \(4,\)"),
        (np.zeros((17, 17)), "log_a: expected n <= 16 .*got n = 17; use fewer units or method='infonce'"),
        (np.full((2, 2), np.nan), "log_a: expected log entries below .inf, got NaN or .inf; look"),
        (np.full((2, 2), np.inf), "log_a: expected log entries below .inf, got NaN"),
    ],
)
def test_bad_input(log_a, match):
    with pytest.raises(ValueError, match=match):
        log_permanent(log_a)
