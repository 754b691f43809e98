"""Bounds of permanents that hold in floating point, against sums in extended precision."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strained_matrices import KINDS, drawn

from symvi.permanents import bethe, certificates, log_permanent, log_permanent_bounds
from symvi.permanents.matchings import without_idle_entries


def log_permanent_in_extended_precision(log_a) -> np.longdouble:
    """Sums over sets of columns, all terms positive, with 64 bits of mantissa."""
    log_a = np.asarray(log_a, np.longdouble)
    n = len(log_a)
    sums = {0: np.longdouble(0)}
    for row in log_a:
        longer = {}
        for taken, value in sums.items():
            for j in range(n):
                if not taken >> j & 1 and row[j] > -np.inf:
                    with_j, term = taken | 1 << j, value + row[j]
                    before = longer.get(with_j, np.longdouble(-np.inf))
                    longer[with_j] = np.logaddexp(before, term)
        sums = longer
    return sums.get(2**n - 1, np.longdouble(-np.inf))


def test_the_reference_is_the_sum_over_permutations():
    for kind in KINDS:
        log_a = drawn(kind, 4, 1)
        terms = [log_a[range(4), g].sum() for g in map(list, permutations(range(4)))]
        expected = float(np.logaddexp.reduce(terms))
        assert float(log_permanent_in_extended_precision(log_a)) == pytest.approx(expected)


SIZES = [(n, "float64") for n in range(1, 13)] + [(n, "float32") for n in (2, 7, 12)]


@pytest.mark.parametrize(("n", "dtype"), SIZES)
def test_the_ends_hold_in_floating_point(n, dtype):
    """Not one end is on the wrong side, not by a single bit; in double precision each is given."""

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.sampled_from(sorted(KINDS)), st.integers(0, 10**6))
    def hold(kind, seed):
        log_a = drawn(kind, n, seed, dtype)
        exact = log_permanent_in_extended_precision(log_a)
        lower, upper = (np.asarray(e) for e in log_permanent_bounds(log_a, max_exact=0))
        assert lower.dtype == upper.dtype == dtype
        assert np.longdouble(lower) <= exact <= np.longdouble(upper)
        if exact > -np.inf and dtype == "float64":
            no_certificate = math.lgamma(n + 1)  # one permutation of n! stands in
            assert upper - lower <= n / 2 * math.log(2) + no_certificate

    hold()


@pytest.mark.parametrize("seed", range(5))
def test_what_the_bethe_value_alone_gets_wrong(seed):
    """On triangular matrices its beliefs are not doubly stochastic, and it may exceed log perm."""
    log_a = drawn("triangular", 10, seed)
    exact = log_a.diagonal().sum()
    lower, upper = log_permanent_bounds(log_a, max_exact=0)
    assert exact - 1e-9 < float(lower) <= exact <= float(upper) < exact + 1e-9
    compiled_lower, compiled_upper = jax.jit(lambda a: log_permanent_bounds(a, max_exact=0))(log_a)
    assert float(compiled_lower) <= exact <= float(compiled_upper)


def test_beliefs_that_are_no_certificate_give_none():
    log_a = drawn("triangular", 6, 0)
    uniform = jnp.where(log_a > -np.inf, -math.log(6), -jnp.inf)
    assert float(certificates.bethe_below(jnp.asarray(log_a), uniform)) == -np.inf
    above = certificates.bethe_above(jnp.asarray(log_a), uniform, jnp.zeros(6))
    assert float(above) >= log_a.diagonal().sum()


@pytest.mark.parametrize("n", [2, 5])
def test_any_beliefs_bound_from_above_and_doubly_stochastic_ones_from_below(n):
    rng = np.random.default_rng(n)
    log_a = jnp.asarray(3 * rng.normal(size=(n, n)))
    exact = float(log_permanent(log_a))
    for _ in range(10):
        log_b = jnp.asarray(rng.normal(size=(n, n)))
        log_b = log_b - jax.nn.logsumexp(log_b, axis=1, keepdims=True)
        v = jnp.asarray(rng.normal(size=n))
        assert float(certificates.entropy_above(log_a, log_b, v)) >= exact
        assert float(certificates.bethe_above(log_a, log_b, v)) >= exact
        shares = rng.dirichlet(np.ones(6))
        mixed = sum(s * np.eye(n)[rng.permutation(n)] for s in shares)  # Birkhoff
        assert float(certificates.bethe_below(log_a, jnp.log(jnp.asarray(mixed)))) <= exact


def test_missing_mass_is_taken_off():
    """The free energy of beliefs that are too large is no bound; what they exceed comes off."""
    log_a = jnp.zeros((4, 4))
    best = bethe(log_a).log_beliefs
    values = [float(certificates.bethe_below(log_a, best + more)) for more in (0.0, 1e-6, 1e-3)]
    assert values[0] > values[1] > values[2]
    assert values[0] == pytest.approx(float(bethe(log_a).value), abs=1e-9)
    inflated = jnp.exp(best + 1e-3)
    free_energy = (-inflated * jnp.log(inflated) + (1 - inflated) * jnp.log1p(-inflated)).sum()
    assert values[2] < float(free_energy)


def test_margins_are_small_in_double_precision():
    log_a = -np.abs(3 * np.random.default_rng(1).normal(size=(128, 128)))
    lower, _ = log_permanent_bounds(log_a)
    assert 0 < float(bethe(log_a).value - lower) < 1e-7
    single, _ = log_permanent_bounds(log_a.astype(np.float32))
    assert float(lower) - 0.5 < float(single) < float(lower) + 1e-3


# zeros


@pytest.mark.parametrize("seed", range(20))
def test_idle_entries_are_those_of_no_permutation(seed):
    n = 5
    log_a = drawn("sparse", n, seed)
    used = np.zeros((n, n), bool)
    for g in map(list, permutations(range(n))):
        if (log_a[range(n), g] > -np.inf).all():
            used[range(n), g] = True
    kept = without_idle_entries(log_a)
    np.testing.assert_array_equal(kept > -np.inf, used)
    np.testing.assert_array_equal(kept[used], log_a[used])


def test_idle_entries_of_a_batch():
    log_a = np.stack([drawn("triangular", 4, 0), drawn("plain", 4, 0), drawn("blocks", 4, 1)])
    before = log_a.copy()
    together = without_idle_entries(log_a[None])
    np.testing.assert_array_equal(log_a, before)
    for one, kept in zip(log_a, together[0], strict=True):
        np.testing.assert_array_equal(kept, without_idle_entries(one))
    assert (together[0, 0] > -np.inf).sum() == 4


def test_one_permutation_stands_in_where_beliefs_give_no_certificate():
    log_a = np.stack([drawn("banded", 8, 163), drawn("plain", 8, 0)])  # the first settles slowly
    compiled = jax.jit(lambda a: log_permanent_bounds(a, max_exact=0))(log_a)
    assert float(compiled[0][0]) == -np.inf
    lower, upper = log_permanent_bounds(log_a, max_exact=0)
    exact = float(log_permanent(log_a[0]))
    best = max(log_a[0][range(8), list(g)].sum() for g in permutations(range(8)))
    assert float(lower[0]) == pytest.approx(best, abs=1e-10)
    assert float(lower[0]) <= exact <= float(upper[0])
    assert float(lower[1]) == pytest.approx(float(compiled[0][1]), abs=1e-9)


def test_the_gradient_is_that_of_the_beliefs():
    log_a = jnp.asarray(np.random.default_rng(2).normal(size=(6, 6)))
    for end in (0, 1):
        slope = jax.grad(lambda a, e=end: log_permanent_bounds(a, max_exact=0)[e])(log_a)
        np.testing.assert_allclose(slope.sum(0), 1, atol=1e-4)
        exact = jax.grad(log_permanent)(log_a)
        assert np.abs(slope - exact).max() < 0.2
