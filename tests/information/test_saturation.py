"""How soon InfoNCE is full: log K - E[I_K] <= 0.81 (K - 1) exp(-I_low), with the pairwise I_low."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from symvi import MeanField, Symmetry, UnitGroup, orbit_information

SEPARATIONS = (0.5, 1.0, 2.0, 3.0)


def units_in_a_row(n, separation, signed=False):
    """n units of one weight, `separation` standard deviations apart."""
    loc = separation * (1.0 + jnp.arange(n))[None]
    symmetry = Symmetry((UnitGroup("units", n, (("W1", 1),)),), signed)
    return MeanField({"W1": loc}, {"W1": jnp.ones((1, n))}, symmetry)


def test_the_constant():
    r = np.logspace(-10, 10, 100_001)
    quotient = np.log1p(r) / np.sqrt(r)
    assert 0.80 < quotient.max() < 0.81


@pytest.mark.parametrize("num_permutations", [2, 5, 20])
def test_uniform_permutations_are_dead_long_before_the_information_is_full(num_permutations):
    for separation, signed in itertools.product(SEPARATIONS, (False, True)):
        q = units_in_a_row(5, separation, signed)
        found = orbit_information(
            q, "infonce", jax.random.key(0), num_samples=4000, num_permutations=num_permutations
        )
        low = orbit_information(q, "pairwise").lower.value
        most = 0.81 * (num_permutations - 1) * math.exp(-low)
        left = math.log(num_permutations) - found.value
        assert -1e-9 <= left <= most + 4 * found.std_error


def test_each_step_of_the_proof_by_enumeration():
    """E_w sqrt(r) is the Bhattacharyya coefficient, whose mean over the group is exp(-I_low)."""
    n, separation = 3, 1.0
    q = units_in_a_row(n, separation)
    coefficients = [
        math.exp(-sum((separation * (i - g[i])) ** 2 for i in range(n)) / 8)
        for g in itertools.permutations(range(n))
    ]
    low = orbit_information(q, "pairwise").lower.value
    assert np.mean(coefficients) == pytest.approx(math.exp(-low), rel=1e-12)
    w = np.asarray(q.sample(jax.random.key(1), 200_000)["W1"])[:, 0]
    loc = np.asarray(q.loc["W1"])[0]
    for g, expected in zip(itertools.permutations(range(n)), coefficients, strict=True):
        log_r = (((w - loc) ** 2 - (w[:, list(g)] - loc) ** 2) / 2).sum(1)
        roots = np.exp(log_r / 2)
        error = roots.std() / math.sqrt(len(roots))
        assert abs(roots.mean() - expected) < 5 * error + 1e-12


@pytest.mark.parametrize("num_permutations", [2, 5, 20])
def test_what_is_left_beside_the_identity(num_permutations):
    """log K - E[I_K] - E[log(1 + M)] <= 0.81 (K - 1) (exp(h) - 1) / n!, h = log n! - I_low, with M
    the identities among the uniform permutations. Their part cannot be trained away."""
    n = 4
    repeats = binom(num_permutations - 1, 1 / math.factorial(n)).expect(np.log1p)
    for separation in SEPARATIONS:
        q = units_in_a_row(n, separation)
        found = orbit_information(
            q, "infonce", jax.random.key(0), num_samples=8000, num_permutations=num_permutations
        )
        room = math.lgamma(n + 1) - orbit_information(q, "pairwise").lower.value
        most = 0.81 * (num_permutations - 1) * math.expm1(room) / math.factorial(n)
        left = math.log(num_permutations) - found.value - repeats
        assert left <= most + 4 * found.std_error
