"""The exact log permanent: brute force, closed forms, gradient, extremes, and what it refuses."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from symvi import permanents
from symvi.arrays import log_sum_exp
from symvi.permanents import (
    bethe,
    draw_permutation,
    entropy_bound,
    log_permanent,
    log_permanent_bethe,
    log_permanent_bounds,
    sample_permutations,
    sinkhorn,
)
from symvi.permanents import exact as exact_permanent


def brute_force(log_a):
    """perm(A) = sum over permutations g of prod_i A[i, g(i)]."""
    n = len(log_a)
    return np.logaddexp.reduce(
        [sum(log_a[i, g[i]] for i in range(n)) for g in permutations(range(n))]
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 7).flatmap(lambda n: hnp.arrays(float, (n, n), elements=st.floats(-300, 300)))
)
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
        assert slope[i, j] == pytest.approx(
            float(log_permanent(up) - log_permanent(down)) / (2 * step), abs=1e-7
        )


def test_batches_jit_and_vmap():
    log_a = jax.random.normal(jax.random.key(0), (2, 3, 5, 5))
    batched = log_permanent(log_a)
    assert batched.shape == (2, 3)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jax.vmap(log_permanent)))(log_a), batched, rtol=1e-12
    )
    assert float(batched[1, 2]) == pytest.approx(brute_force(np.asarray(log_a[1, 2])), abs=1e-10)


def test_shifts_and_permutations_of_rows():
    log_a = jax.random.normal(jax.random.key(1), (5, 5))
    assert float(log_permanent(log_a.at[2].add(700.0))) == pytest.approx(
        float(log_permanent(log_a)) + 700, abs=1e-9
    )
    assert float(log_permanent(log_a[jnp.array([3, 1, 4, 0, 2])].T)) == pytest.approx(
        float(log_permanent(log_a)), abs=1e-12
    )


def test_log_sum_exp_of_nothing():
    assert log_sum_exp(jnp.full((2, 3), -jnp.inf), axis=1).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("log_a", "match"),
    [
        (
            np.zeros((2, 3)),
            r"log_a: expected square matrices \(..., n, n\), got shape \(2, 3\); pass",
        ),
        (np.zeros(4), r"log_a: expected square matrices .*got shape \(4,\)"),
        (
            np.zeros((17, 17)),
            "log_a: expected n <= 16 .*got n = 17; use log_permanent_bounds, or method='guided'",
        ),
        (np.full((2, 2), np.nan), "log_a: expected log entries below .inf, got NaN or .inf; look"),
        (np.full((2, 2), np.inf), "log_a: expected log entries below .inf, got NaN"),
    ],
)
def test_bad_input(log_a, match):
    with pytest.raises(ValueError, match=match):
        log_permanent(log_a)


# Bethe permanent


def drawn_matrix(kind, n, rng):
    """Matrices of log entries that strain the bounds: rows of -1e4, ties, one dominant permutation,
    constants, wide ranges.
    """
    log_a = rng.normal(size=(n, n)) * rng.choice([0.1, 1.0, 10.0, 100.0])
    if kind == "low rows":
        log_a[rng.integers(n, size=2)] -= 1e4
    if kind == "ties":
        log_a = np.round(log_a)
        log_a[1] = log_a[0]
        log_a[:, 2] = log_a[:, 3]
    if kind == "dominant":
        log_a[np.arange(n), rng.permutation(n)] += 1e3
    if kind == "constant":
        log_a = np.full((n, n), rng.normal() * 100)
    if kind == "blocks":
        log_a[: n // 2, n // 2 :] -= 50.0
        log_a[n // 2 :, : n // 2] -= 50.0
    return log_a


KINDS = ["plain", "low rows", "ties", "dominant", "constant", "blocks"]


def test_bounds_contain_500_exact_values_at_n_16():
    rng = np.random.default_rng(0)
    log_a = jnp.asarray([drawn_matrix(KINDS[i % len(KINDS)], 16, rng) for i in range(500)])
    exact = np.asarray(jax.lax.map(log_permanent, log_a, batch_size=20))
    lower, upper = (np.asarray(v) for v in log_permanent_bounds(log_a, max_exact=0))
    slack = 1e-9 * np.maximum(1, np.abs(exact))
    assert (lower <= exact + slack).all()
    assert (exact <= upper + slack).all()
    assert (upper - lower).max() < 8 * math.log(
        2
    ) + 0.3  # n/2 log 2, and what messages that had not converged leave
    assert (upper - lower).mean() < 2.5  # the entropy bound, 5.5 without it


def test_bounds_are_exact_for_small_matrices():
    log_a = jax.random.normal(jax.random.key(0), (3, 5, 5))
    lower, upper = log_permanent_bounds(log_a)
    np.testing.assert_array_equal(lower, upper)
    np.testing.assert_array_equal(lower, log_permanent(log_a))


@pytest.mark.parametrize("n", [3, 8])
def test_bethe_of_constants_and_of_one_permutation(n):
    # all ones: b = 1/n, F = n^2 [-(1/n) log(1/n) + (1 - 1/n) log(1 - 1/n)] = n log n
    # + n (n - 1) log(1 - 1/n)
    expected = n * math.log(n) + n * (n - 1) * math.log(1 - 1 / n)
    assert float(log_permanent_bethe(jnp.zeros((n, n)))) == pytest.approx(expected, abs=1e-8)
    alone = jnp.where(jnp.eye(n) > 0, 2.0, -1e4)
    assert float(log_permanent_bethe(alone)) == pytest.approx(2.0 * n, abs=1e-8)


def test_bethe_maximises_its_free_energy():
    # F(b) = sum b (log A - log b) + (1 - b) log(1 - b), and no doubly stochastic b does better
    log_a = jnp.asarray(np.random.default_rng(1).normal(size=(5, 5)))
    found = bethe(log_a, tolerance=1e-10, max_iter=2000)

    def energy(b):
        return float((b * (log_a - np.log(b)) + (1 - b) * np.log1p(-b)).sum())

    b = np.exp(np.asarray(found.log_beliefs))
    assert energy(b) == pytest.approx(float(found.value), abs=1e-9)
    rng = np.random.default_rng(2)
    for _ in range(20):
        other = np.asarray(
            jnp.exp(sinkhorn(jnp.asarray(rng.normal(size=(5, 5))), tolerance=1e-12).log_p)
        )
        assert energy(0.9 * b + 0.1 * other) <= float(found.value) + 1e-9
    assert 0 <= float(found.gap) < 1e-6


def test_bethe_gradient_is_the_beliefs_and_near_the_exact_one():
    log_a = jnp.asarray(np.random.default_rng(3).normal(size=(6, 6)))
    options = {"tolerance": 1e-9, "max_iter": 3000}
    slope = np.asarray(jax.grad(lambda a: bethe(a, **options).value)(log_a))
    np.testing.assert_allclose(
        slope, np.exp(np.asarray(bethe(log_a, **options).log_beliefs)), atol=1e-12
    )
    step = 1e-4
    for i, j in ((0, 0), (2, 5), (4, 1), (3, 3)):
        up, down = (float(bethe(log_a.at[i, j].add(s), **options).value) for s in (step, -step))
        assert slope[i, j] == pytest.approx((up - down) / (2 * step), abs=1e-4)
    np.testing.assert_allclose(slope.sum(0), 1, atol=1e-6)
    exact = np.asarray(jax.grad(log_permanent)(log_a))
    assert 0 <= float(log_permanent(log_a) - bethe(log_a, **options).value) <= 3 * math.log(2)
    assert np.abs(slope - exact).max() < 0.1


def test_bethe_says_when_it_has_not_converged():
    log_a = 3 * jax.random.normal(jax.random.key(5), (20, 20))
    with pytest.warns(UserWarning, match="log_permanent_bethe: not converged.*raise max_iter"):
        rough = log_permanent_bethe(log_a, start=jnp.zeros((20, 20)), max_iter=1)
    assert float(rough) <= float(log_permanent_bethe(log_a)) + 1e-6


def test_bethe_refuses_messages_of_another_size():
    with pytest.raises(
        ValueError, match=r"start: expected the shape of log_a, \(4, 4\), got \(3, 3\); pass"
    ):
        bethe(jnp.zeros((4, 4)), start=jnp.zeros((3, 3)))


def test_warm_start_needs_few_rounds():
    log_a = 3 * jax.random.normal(jax.random.key(6), (20, 20))
    near = log_a + 1e-3 * jax.random.normal(jax.random.key(7), (20, 20))
    warm = bethe(near, start=bethe(log_a).messages, max_iter=3)
    assert float(warm.value) == pytest.approx(
        float(bethe(near, tolerance=1e-8, max_iter=2000).value), abs=1e-3
    )


@pytest.mark.parametrize("n", [20, 300])
def test_float32_with_entries_of_ten_thousand(n):
    rng = np.random.default_rng(8)
    wide = rng.uniform(-1e4, 1e4, size=(n, n))
    lower, upper = log_permanent_bounds(jnp.asarray(wide, jnp.float32))
    exact_lower, exact_upper = log_permanent_bounds(jnp.asarray(wide))
    assert np.isfinite([lower, upper]).all() and lower.dtype == jnp.float32
    assert float(lower) == pytest.approx(float(exact_lower), rel=1e-4)
    assert float(upper) == pytest.approx(float(exact_upper), rel=1e-4)
    slope = jax.grad(lambda a: bethe(a).value)(jnp.asarray(wide, jnp.float32))
    np.testing.assert_allclose(slope.sum(1), 1, atol=1e-3)


def test_single_precision_after_double_in_one_process():
    log_a = np.random.default_rng(9).normal(size=(9, 9))
    exact_permanent._levels.cache_clear()
    with jax.enable_x64(True):
        exact = float(jax.jit(log_permanent)(jnp.asarray(log_a)))
    with jax.enable_x64(False):
        single = log_permanent(jnp.asarray(log_a, jnp.float32))
        batch = log_permanent(jnp.asarray([log_a, log_a + 1], jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose([single, *batch], [exact, exact, exact + 9], rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        log_permanent,
        log_permanent_bethe,
        lambda a: log_permanent_bounds(a, max_exact=0)[0],
        lambda a: log_permanent_bounds(a, max_exact=0)[1],
    ],
)
@pytest.mark.parametrize("place", [(1,), (slice(None), 2)])
def test_a_zero_row_or_column_gives_minus_infinity(function, place):
    assert float(function(jnp.zeros((4, 4)).at[place].set(-jnp.inf))) == -np.inf


def test_zeros_off_the_support_do_no_harm():
    log_a = jnp.where(jnp.eye(7) > 0, -jnp.inf, 0.0)  # derangements
    lower, upper = log_permanent_bounds(log_a, max_exact=0)
    exact = math.log(round(math.factorial(7) / math.e))
    assert float(lower) <= exact <= float(upper) <= float(lower) + 3.5 * math.log(2) + 1e-3


def test_bounds_batch_jit_and_vmap():
    log_a = jax.random.normal(jax.random.key(9), (2, 3, 4, 4))
    batched = log_permanent_bounds(log_a, max_exact=0)
    assert batched[0].shape == batched[1].shape == (2, 3)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda a: log_permanent_bounds(a, max_exact=0))))(log_a)
    np.testing.assert_allclose(mapped, batched, rtol=1e-6)


# the upper bound by entropy


def entropy_energy(log_a, b):
    """F(b) = sum b log A - b log b + b psi(b), psi(b) = -1 - b log b / (1 - b), the integral of
    log(b + s (1 - b)).
    """
    return float((b * (log_a - np.log(b)) + b * (-1 - b * np.log(b) / (1 - b))).sum())


def test_the_entropy_of_a_random_permutation_is_bounded_step_by_step():
    # steps 1 to 3 of the module's derivation, with every permutation and every order of the rows
    n, rng = 4, np.random.default_rng(20)
    log_a = 2 * rng.normal(size=(n, n))
    every = np.array(list(permutations(range(n))))
    weight = np.exp(log_a[np.arange(n), every].sum(1))
    p = weight / weight.sum()
    b = np.zeros((n, n))
    for g, share in zip(every, p, strict=True):
        b[np.arange(n), g] += share
    entropy = -(p * np.log(p)).sum()
    assert (b * log_a).sum() + entropy == pytest.approx(math.log(weight.sum()), abs=1e-10)
    guesses = 0.0
    for order in every:
        for g, share in zip(every, p, strict=True):
            for place, i in enumerate(order):
                free = g[order[place:]]
                guesses += share * (np.log(b[i, free].sum()) - np.log(b[i, g[i]])) / len(every)
    by_jensen = entropy_energy(np.zeros((n, n)), b)
    assert entropy <= guesses <= by_jensen
    assert (
        math.log(weight.sum())
        <= entropy_energy(log_a, b)
        <= float(entropy_bound(jnp.asarray(log_a)).value) + 1e-9
    )


@pytest.mark.parametrize("n", [2, 8, 300])
def test_entropy_bound_of_ones(n):
    # b = 1/n: F = n log n + n psi(1/n), about log(n) / 2 above log n!
    expected = n * math.log(n) + n * (-1 + math.log(n) / (n - 1))
    value = float(entropy_bound(jnp.zeros((n, n))).value)
    assert value == pytest.approx(expected, rel=1e-9)
    assert 0 < value - math.lgamma(n + 1) < 0.5 * math.log(n)


def test_entropy_bound_maximises_its_energy():
    log_a = 2 * np.random.default_rng(21).normal(size=(6, 6))
    found = entropy_bound(jnp.asarray(log_a), tolerance=1e-12, max_iter=5000)
    b = np.exp(np.asarray(found.log_beliefs))
    np.testing.assert_allclose(b.sum(1), 1, atol=1e-9)
    assert entropy_energy(log_a, b) == pytest.approx(
        float(found.value), abs=1e-8
    )  # primal and dual meet
    rng = np.random.default_rng(22)
    for _ in range(20):
        other = np.asarray(
            jnp.exp(sinkhorn(jnp.asarray(rng.normal(size=(6, 6))), tolerance=1e-12).log_p)
        )
        assert entropy_energy(log_a, 0.9 * b + 0.1 * other) <= float(found.value) + 1e-9
    assert (
        found.value
        <= sinkhorn(jnp.asarray(log_a)).row.sum() + sinkhorn(jnp.asarray(log_a)).column.sum()
    )


def test_entropy_bound_holds_before_convergence_and_where_it_is_tight():
    rng = np.random.default_rng(23)
    log_a = jnp.asarray([drawn_matrix(KINDS[i % len(KINDS)], 9, rng) for i in range(60)])
    exact = np.asarray(log_permanent(log_a))
    for rounds in (1, 3, 100):
        upper = np.asarray(entropy_bound(log_a, max_iter=rounds).value)
        assert (upper >= exact - 1e-9 * np.maximum(1, np.abs(exact))).all()
    dominant = [i for i in range(60) if KINDS[i % len(KINDS)] == "dominant"]
    np.testing.assert_allclose(upper[dominant], exact[dominant], rtol=1e-9)


def test_entropy_bound_has_its_beliefs_as_gradient_and_starts_warm():
    log_a = jnp.asarray(2 * np.random.default_rng(24).normal(size=(9, 9)))
    options = {"tolerance": 1e-12, "max_iter": 5000}
    slope = np.asarray(jax.grad(lambda a: entropy_bound(a, **options).value)(log_a))
    step = 1e-4
    for i, j in ((0, 0), (2, 5), (4, 1), (3, 3)):
        up, down = (
            float(entropy_bound(log_a.at[i, j].add(s), **options).value) for s in (step, -step)
        )
        assert slope[i, j] == pytest.approx((up - down) / (2 * step), abs=1e-6)
    near = log_a + 1e-3 * jax.random.normal(jax.random.key(7), (9, 9))
    warm = entropy_bound(near, start=entropy_bound(log_a).messages, max_iter=2)
    assert float(warm.value) == pytest.approx(float(entropy_bound(near, **options).value), abs=1e-3)


def test_bounds_of_wide_matrices_are_a_few_nats_apart():
    # 200 units that overlap in part: n/2 log 2 would be 69 nats
    log_a = -np.abs(3 * np.random.default_rng(25).normal(size=(200, 200)))
    np.fill_diagonal(log_a, 0.0)
    lower, upper = log_permanent_bounds(jnp.asarray(log_a))
    assert 0 < float(upper - lower) < 10


# Sinkhorn


def test_sinkhorn_scales_and_bounds():
    log_a = 5 * jax.random.normal(jax.random.key(10), (8, 8))
    found = sinkhorn(log_a, tolerance=1e-9, max_iter=5000)
    p = np.exp(np.asarray(found.log_p))
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-8)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-8)
    np.testing.assert_allclose(found.log_p + found.row[:, None] + found.column, log_a, atol=1e-9)
    upper = float(found.row.sum() + found.column.sum())  # n!/n^n X <= perm(A) <= X
    exact = float(log_permanent(log_a))
    assert upper + math.lgamma(9) - 8 * math.log(8) <= exact <= upper


# permutations drawn with importance weights


def test_sampled_permutations_have_the_probability_they_state():
    log_a = jnp.asarray(np.random.default_rng(11).normal(size=(4, 4)))
    log_p = sinkhorn(log_a).log_p
    every = jnp.array(list(permutations(range(4))))
    log_r = jax.vmap(lambda g: draw_permutation(jax.random.key(0), log_p, g)[1])(every)
    assert float(jnp.exp(log_r).sum()) == pytest.approx(1, abs=1e-10)
    drawn, stated = sample_permutations(jax.random.key(1), log_a, 20_000)
    assert (np.sort(np.asarray(drawn), axis=1) == np.arange(4)).all()
    place = (np.asarray(drawn)[:, None, :] == np.asarray(every)).all(-1).argmax(1)
    np.testing.assert_allclose(np.asarray(stated), np.asarray(log_r)[place], atol=1e-10)
    counts = np.bincount(place, minlength=24)
    assert scipy.stats.chisquare(counts, np.exp(np.asarray(log_r)) * 20_000).pvalue > 0.001


@pytest.mark.parametrize("n", [5, 12])
def test_importance_weights_have_the_permanent_as_mean(n):
    log_a = 2 * jax.random.normal(jax.random.key(12), (n, n))
    perms, log_r = sample_permutations(jax.random.key(13), log_a, 4000)
    weights = np.exp(
        np.asarray(log_a)[np.arange(n), np.asarray(perms)].sum(1)
        - np.asarray(log_r)
        - float(log_permanent(log_a))
    )
    assert abs(weights.mean() - 1) < 4 * weights.std() / math.sqrt(4000)


@pytest.mark.parametrize(
    "function",
    [
        log_permanent_bethe,
        log_permanent_bounds,
        sinkhorn,
        lambda a: sample_permutations(jax.random.key(0), a, 2),
    ],
)
@pytest.mark.parametrize(
    ("log_a", "match"),
    [
        (np.zeros((2, 3)), "expected square matrices .*rows by columns"),
        (np.full((3, 3), np.nan), "got NaN or .inf; look for diverged"),
    ],
)
def test_every_permanent_refuses_bad_matrices(function, log_a, match):
    with pytest.raises(ValueError, match=match):
        function(log_a)


def test_sampler_refuses_a_batch_and_no_draws():
    with pytest.raises(ValueError, match=r"one matrix.*use jax.vmap for a batch"):
        sample_permutations(jax.random.key(0), np.zeros((2, 3, 3)), 4)
    with pytest.raises(ValueError, match="num: expected a whole number >= 1, got 0"):
        sample_permutations(jax.random.key(0), np.zeros((3, 3)), 0)


def test_public_names_of_the_contract():
    assert {
        "log_permanent",
        "log_permanent_bethe",
        "log_permanent_bounds",
        "sample_permutations",
    } <= set(vars(permanents))
