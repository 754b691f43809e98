"""The low-rank Gaussian: exact for a linear model at full rank, between the two at lower ones."""

import jax
import numpy as np
import pytest
from linear_model import regression

import symvi
from symvi.baselines import low_rank_gaussian


@pytest.fixture(scope="module")
def linear():
    return regression()


NET_BNN = symvi.BNN(symvi.MLP([2, 3, 1], "tanh"), symvi.Gaussian())
X = np.random.default_rng(0).normal(size=(12, 2))
Y = X[:, :1] ** 2


def fitted(**options):
    return low_rank_gaussian(NET_BNN, X, Y, rank=2, steps=300, restarts=3, **options)


def mean_field_optimum(exact) -> float:
    """The ELBO of the best independent Gaussian: its precisions are the diagonal of P.

    KL = (log det P^-1 - sum log of its variances) / 2, negated, since the trace terms cancel.
    """
    precision = np.linalg.inv(exact.covariance)
    log_det = np.linalg.slogdet(exact.covariance)[1]
    return exact.log_evidence - 0.5 * (log_det + np.log(np.diag(precision)).sum())


def test_full_rank_recovers_the_posterior(linear):
    bnn, x, y, exact = linear
    q = low_rank_gaussian(bnn, x, y, rank=3, steps=4000, restarts=2, num_samples=16)
    scale = np.sqrt(np.diag(exact.covariance))
    assert np.all(np.abs(np.asarray(q.law.mean) - exact.mean) < 0.1 * scale)
    correlations = (q.law.covariance_matrix - exact.covariance) / np.outer(scale, scale)
    assert np.abs(correlations).max() < 0.1
    assert q.elbo.value == pytest.approx(exact.log_evidence, abs=0.02)
    assert q.elbo.value < exact.log_evidence + 4 * q.elbo.std_error
    assert exact.log_evidence - mean_field_optimum(exact) > 0.1  # which mean field cannot reach


def test_its_order_of_weights_is_the_models():
    """Hardly trained, the means are still the starts of a restart, name by name."""
    q = fitted(learning_rate=1e-9)
    keys = jax.random.split(jax.random.split(jax.random.key(0))[0], 3)
    starts = [NET_BNN.init(jax.random.split(key)[0]) for key in keys]
    gaps = [max(np.abs(q.loc[name] - w[name]).max() for name in w) for w in starts]
    assert min(gaps) < 1e-6
    assert np.allclose(np.sqrt(q.law.variance), 0.05, atol=1e-6)
    # the best of the starts, each a Gaussian of the same scale
    elbos = []
    for w in starts:
        scale = jax.tree.map(lambda a: np.full(a.shape, 0.05), w)
        start = symvi.MeanField(w, scale, NET_BNN.symmetry)
        elbos.append(symvi.elbo(NET_BNN, start, X, Y).value)
    assert np.argmin(gaps) == np.argmax(elbos)


def test_its_elbo_and_density_are_those_of_the_gaussian():
    q = fitted()
    again = symvi.elbo(NET_BNN, q, X, Y, key=jax.random.key(9))
    assert abs(again.value - q.elbo.value) < 4 * np.hypot(again.std_error, q.elbo.std_error)
    draws = q.sample(jax.random.key(0), 7)
    rows = np.asarray(jax.vmap(NET_BNN.ravel)(draws))
    gap = rows - np.asarray(q.law.mean)
    covariance = np.asarray(q.law.covariance_matrix)
    inside = np.einsum("nd,de,ne->n", gap, np.linalg.inv(covariance), gap)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert np.allclose(q.log_prob(draws), -0.5 * (inside + log_det), atol=1e-8)
    assert float(q.entropy()) == pytest.approx(0.5 * (rows.shape[1] + log_det), abs=1e-8)
