"""The formulas of book/reproduce/width_collapse.py: each against a closed form, draws or a twin."""

import itertools
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import symvi

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "book" / "reproduce"))
import width_collapse as wide

RESULTS = Path(wide.__file__).parents[1] / "results" / "width_collapse.json"
RULE = wide.product_rule(20, 3)
BOTH_SIGNS = (-1, 1)


@pytest.fixture(autouse=True)
def _doubles():
    with jax.enable_x64(True):
        yield


def kinds(counts, seed=1):
    """Kinds of units with these numbers of units."""
    numbers = np.random.default_rng(seed)
    loc = 0.9 * numbers.normal(size=(len(counts), 3))
    scale = numbers.uniform(0.6, 1.1, size=(len(counts), 3))
    share = np.array(counts) / sum(counts)
    return wide.Kinds(jnp.asarray(loc), jnp.asarray(scale), jnp.asarray(share))


def as_theta(some, counts):
    """Mean field with `counts` units of each kind, in the form that `posterior` takes."""
    rows = np.repeat(np.arange(len(counts)), counts)
    loc, log_scale = np.asarray(some.loc)[rows], np.log(np.asarray(some.scale))[rows]
    return tuple(
        {"W1": jnp.asarray(part[:, :2].T), "W2": jnp.asarray(part[:, 2:])}
        for part in (loc, log_scale)
    )


def test_kernel_of_erf_is_the_arcsine_kernel():
    """The closed form of Williams (1997), with prior variances 1."""
    inner = wide.X @ wide.X.T
    norms = 1 + 2 * np.diag(inner)
    closed = 2 / np.pi * np.arcsin(2 * inner / np.sqrt(np.outer(norms, norms)))
    np.testing.assert_allclose(wide.kernel(wide.X, scipy.special.erf), closed, atol=2e-6)


def test_gaussian_process_is_one():
    """Its evidence is a normal density; its ELBOs are a fit less a divergence of Gaussians."""
    y, covariance = wide.targets(0), wide.kernel(wide.X)
    found = wide.gaussian_process(y, covariance)
    noisy = covariance + wide.SIGMA**2 * np.eye(12)
    law = scipy.stats.multivariate_normal(np.zeros(12), noisy)
    assert found.log_evidence == pytest.approx(law.logpdf(y), abs=1e-9)

    def value(mean, spread):
        """The ELBO of N(mean, spread) over functions at the data."""
        ratio = np.linalg.solve(covariance, spread)
        square = mean @ np.linalg.solve(covariance, mean)
        divergence = 0.5 * (np.trace(ratio) + square - 12 - np.linalg.slogdet(ratio)[1])
        return float(wide.expected_fit(y, mean, np.diag(spread))) - divergence

    narrow = covariance - covariance @ np.linalg.solve(noisy, covariance)
    assert value(np.zeros(12), covariance) == pytest.approx(found.prior_elbo, abs=1e-6)
    assert value(found.mean, covariance) == pytest.approx(found.shifted_elbo, abs=1e-6)
    assert value(np.zeros(12), narrow) == pytest.approx(found.no_mean_elbo, abs=1e-6)
    assert value(found.mean, narrow) == pytest.approx(found.log_evidence, abs=1e-6)
    for step in (-0.05, 0.05):
        assert value((1 + step) * found.mean, covariance) < found.shifted_elbo


def test_regressions_are_linear_models():
    """Given incoming weights: a Gaussian law of y, and the posterior of the outgoing weights."""
    w1 = np.random.default_rng(3).normal(size=(2, 2, 5))
    ys = np.stack([wide.targets(0), wide.targets(11)], axis=1)
    log_z, mean = wide.regressions(w1, ys)
    for k, s in itertools.product(range(2), range(2)):
        hidden = np.tanh(wide.X @ w1[k])
        law = hidden @ hidden.T / 5 + wide.SIGMA**2 * np.eye(12)
        density = scipy.stats.multivariate_normal(np.zeros(12), law).logpdf(ys[:, s])
        assert log_z[k, s] == pytest.approx(density, abs=1e-9)
        precision = 5 * np.eye(5) + hidden.T @ hidden / wide.SIGMA**2
        outgoing = np.linalg.solve(precision, hidden.T @ ys[:, s]) / wide.SIGMA**2
        np.testing.assert_allclose(mean[k, :, s], hidden @ outgoing, atol=1e-9)


def test_elbo_agrees_with_draws():
    theta, y = wide.start(5, seed=2), wide.targets(2)
    net = symvi.MLP([2, 5, 1], "tanh", bias=False)
    bnn = symvi.BNN(net, symvi.Gaussian(wide.SIGMA), prior_scale={"W1": 1.0, "W2": 5**-0.5})
    drawn = symvi.elbo(bnn, wide.posterior(theta), wide.X, y[:, None], num_samples=20_000)
    assert abs(float(wide.elbo(theta, y)) - drawn.value) < 4 * drawn.std_error + 0.01


def test_kinds_are_mean_field():
    """Moments and price of units of a few kinds are those of the same units one by one."""
    counts = (3, 1, 2)
    some = kinds(counts)
    theta = as_theta(some, counts)
    for of_kinds, one_by_one in zip(
        wide.moments_of_kinds(some, 6), wide.moments(wide.posterior(theta)), strict=True
    ):
        np.testing.assert_allclose(of_kinds, one_by_one, rtol=1e-10)


def signed_log_ratio(some, kind, u):
    """log of the mean of a kind's two mirror images over the prior, by scipy."""
    law = scipy.stats.norm(np.asarray(some.loc)[kind], np.asarray(some.scale)[kind])
    logs = [law.logpdf(sign * u).sum(-1) for sign in BOTH_SIGNS]
    return np.logaddexp(*logs) - math.log(2) - scipy.stats.norm.logpdf(u).sum(-1)


def drawn_divergence(some, counts, draws=100_000):
    """KL(q_G || p) by draws, every order of the units written out: its mean and standard error."""
    numbers = np.random.default_rng(5)
    kind = np.repeat(np.arange(len(counts)), counts)
    noise = numbers.normal(size=(draws, len(kind), 3))
    u = np.asarray(some.loc)[kind] + np.asarray(some.scale)[kind] * noise
    u = u * numbers.choice(BOTH_SIGNS, size=(draws, len(kind), 1))
    logs = np.stack([signed_log_ratio(some, k, u) for k in range(len(counts))], axis=-1)
    orders = sorted(set(itertools.permutations(kind)))
    terms = np.stack([logs[:, np.arange(len(kind)), order].sum(1) for order in orders])
    values = scipy.special.logsumexp(terms, axis=0) - math.log(len(orders))
    return values.mean(), values.std() / math.sqrt(draws)


@pytest.mark.parametrize("counts", [(2, 2), (3, 1), (1, 1, 1)])
def test_the_price_has_two_parts(counts):
    """KL(q_G || p) is n KL(average unit || p_1) and something between 0 and the bound."""
    some, n = kinds(counts), sum(counts)
    divergence, overlaps = wide.divergence_and_overlaps(some, RULE)
    value, error = drawn_divergence(some, counts)
    rest = value - n * float(divergence)
    assert rest > -4 * error
    assert rest < float(wide.dependence_bound(overlaps, some.share)) + 4 * error


def test_units_of_one_kind_do_not_depend_on_each_other():
    """With signs alone q_G is a product: nothing is lost, and the price is that of one unit."""
    some = kinds((4,))
    divergence, overlaps = wide.divergence_and_overlaps(some, RULE)
    assert float(wide.dependence_bound(overlaps, some.share)) == pytest.approx(0, abs=1e-9)
    value, error = drawn_divergence(some, (4,))
    assert abs(value - 4 * float(divergence)) < 4 * error


def test_overlaps_have_the_eigenvalues_of_all_pairs():
    """Of A_ij = integral of q_i q_j / (n r), whose permanent the bound stands above."""
    counts = (3, 2, 1)
    some, n = kinds(counts), sum(counts)
    _, overlaps = wide.divergence_and_overlaps(some, RULE)
    share = np.asarray(some.share)
    per_pair = np.asarray(overlaps) / np.sqrt(np.outer(share, share)) / n
    kind = np.repeat(np.arange(3), counts)
    every = per_pair[np.ix_(kind, kind)]
    found, expected = np.linalg.eigvalsh(every), np.linalg.eigvalsh(overlaps)
    np.testing.assert_allclose(found[-3:], expected, atol=1e-10)
    np.testing.assert_allclose(found[:-3], 0, atol=1e-10)
    np.testing.assert_allclose(every.sum(0), 1, atol=1e-5)
    log_permanent = float(symvi.permanents.log_permanent(jnp.log(n * every)))
    chi_square_and_one = log_permanent - math.lgamma(n + 1)
    assert 0 < chi_square_and_one < float(wide.dependence_bound(overlaps, some.share))


def test_certified_elbo_is_below_what_guided_permutations_allow():
    counts = (3, 2)
    some, y = kinds(counts), wide.targets(4)
    q = wide.posterior(as_theta(some, counts))
    certified = float(wide.certified_elbo(some, 5, y, RULE))
    _, above = symvi.orbit_information(q, "guided", jax.random.key(0), num_samples=2000)
    limit = float(wide.elbo(as_theta(some, counts), y)) + above.value
    assert certified < limit + 4 * above.std_error


def test_whole_units_are_all_units():
    some = wide.whole_units(kinds((0.4, 0.5999, 1e-4)), 64)
    counts = np.asarray(some.share) * 64
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert counts.sum() == pytest.approx(64)
    assert len(counts) == len(some.loc) == 2


def test_data_sets_are_by_their_rule():
    assert np.array_equal(wide.targets(3), wide.targets(3))
    assert len({tuple(wide.targets(seed)) for seed in wide.SEEDS}) == 20
    amplitude, frequency, phase = 0.9, 1.7, 2.0

    class Rigged:
        """The random numbers of a known sine without noise."""

        def __init__(self):
            self.left = iter((amplitude, frequency, phase))

        def uniform(self, low, high):
            number = next(self.left)
            assert low <= number <= high
            return number

        def normal(self, size):
            return np.zeros(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Rigged())
        np.testing.assert_allclose(
            wide.targets(0), amplitude * np.sin(frequency * wide.INPUTS + phase)
        )


def test_results_are_those_of_the_script():
    """The cells that it asks for, and the limits of the data sets of its rule."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert [row["cell"] for row in stored["cells"]] == wide.cells()
    covariance = wide.kernel(wide.X)
    for seed, row in zip(wide.SEEDS, stored["limit"], strict=True):
        exact = wide.gaussian_process(wide.targets(seed), covariance)
        np.testing.assert_allclose(row["y"], wide.targets(seed), atol=1e-4)
        assert row["log_evidence"] == pytest.approx(exact.log_evidence, abs=0.01)
        assert row["shifted_elbo"] == pytest.approx(exact.shifted_elbo, abs=0.01)
