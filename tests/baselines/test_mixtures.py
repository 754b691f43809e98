"""Mixtures against closed forms: members far apart, members that are the same."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from linear_model import regression
from scipy.special import logsumexp

import symvi
from symvi.baselines import JointNormal, elbo_weights, mixture
from symvi.information import Pairwise

NET = symvi.MLP([1, 3, 1], "tanh")
BNN = symvi.BNN(NET, symvi.Gaussian(0.3))
X = np.linspace(-1, 1, 10)[:, None]
Y = X**2
KEY = jax.random.key(0)


def gaussian(seed, scale=0.1, shift=0.0) -> symvi.MeanField:
    loc = {name: value + shift for name, value in NET.init(jax.random.key(seed)).items()}
    return symvi.MeanField(loc, {k: jnp.full_like(v, scale) for k, v in loc.items()}, NET.symmetry)


def relabelled(q) -> symvi.MeanField:
    """A copy of q with its units in another order: its ELBO is that of q."""
    (element,) = [jax.tree.map(lambda a: a[1], q.symmetry.elements())]
    act = q.symmetry.act
    return symvi.MeanField(act(element, q.loc), act(element, q.scale), q.symmetry)


def test_two_copies_apart_add_log_two():
    q = gaussian(0, scale=0.02)
    both = mixture([q, relabelled(q)])
    single = symvi.elbo(BNN, q, X, Y, num_samples=4000)
    found = symvi.elbo(BNN, both, X, Y, num_samples=4000)
    error = 4 * np.hypot(single.std_error, found.std_error)
    assert found.value == pytest.approx(single.value + np.log(2), abs=error)
    assert error < np.log(2) / 2
    assert found.kind == "exact"


def test_all_copies_are_the_symmetrized_posterior():
    q = gaussian(0, scale=0.5)  # copies that overlap
    copies = []
    for index in range(q.symmetry.order):
        element = jax.tree.map(lambda a, index=index: a[index], q.symmetry.elements())
        act = q.symmetry.act
        copies.append(symvi.MeanField(act(element, q.loc), act(element, q.scale), q.symmetry))
    draws = q.sample(KEY, 20)
    wanted = symvi.Symmetrized(q).log_prob(draws)
    assert np.allclose(mixture(copies).log_prob(draws), wanted, atol=1e-10)


def test_members_that_are_the_same_add_nothing():
    q = gaussian(0)
    single = symvi.elbo(BNN, q, X, Y, num_samples=4000)
    found = symvi.elbo(BNN, mixture([q, q]), X, Y, num_samples=4000)
    assert abs(found.value - single.value) < 4 * np.hypot(single.std_error, found.std_error)
    draws = q.sample(KEY, 5)
    assert np.allclose(mixture([q, q, q]).log_prob(draws), q.log_prob(draws), atol=1e-12)


def test_softmax_weights_are_the_best_for_members_apart():
    """There the ELBO is log sum_k exp L_k."""
    members = [gaussian(0, 0.02), gaussian(0, 0.021, shift=3.0)]
    levels = [-3.0, -4.5]
    weights = np.asarray(elbo_weights(levels))
    assert np.allclose(weights, np.exp(levels) / np.exp(levels).sum(), atol=1e-15)
    elbos = [symvi.elbo(BNN, q, X, Y, num_samples=4000) for q in members]
    mixed = mixture(members, elbo_weights(elbos))
    found = symvi.elbo(BNN, mixed, X, Y, num_samples=4000)
    error = 4 * np.hypot(found.std_error, max(e.std_error for e in elbos))
    assert found.value == pytest.approx(logsumexp([e.value for e in elbos]), abs=error)


def test_log_prob_is_logsumexp_by_hand():
    members = [gaussian(0), symvi.Symmetrized(gaussian(1)), gaussian(2, 0.3)]
    weights = np.array([1.0, 2.0, 5.0])
    mixed = mixture(members, weights)
    draws = {name: np.asarray(value) for name, value in members[1].sample(KEY, 3).items()}
    by_hand = [
        logsumexp(
            [float(q.log_prob(w)) + np.log(a / 8) for q, a in zip(members, weights, strict=True)]
        )
        for w in ({name: value[i] for name, value in draws.items()} for i in range(3))
    ]
    assert np.allclose(mixed.log_prob(draws), by_hand, atol=1e-12)
    assert np.allclose(jax.jit(lambda q, w: q.log_prob(w))(mixed, draws), by_hand, atol=1e-12)


def test_draws_come_from_members_by_their_weights():
    members = [gaussian(0, 0.01), gaussian(0, 0.03, shift=5.0)]
    draws = mixture(members, [1.0, 3.0]).sample(KEY, 8000)
    moved = np.asarray(draws["W1"]) - np.asarray(members[0].loc["W1"])
    second = moved[:, 0, 0] > 2.5
    assert second.mean() == pytest.approx(0.75, abs=0.02)
    assert moved[~second].std() == pytest.approx(0.01, rel=0.05)
    assert (moved[second] - 5.0).std() == pytest.approx(0.03, rel=0.05)
    assert np.all((moved > 2.5).all(axis=(1, 2)) == second)  # all weights from one member


def test_the_stratified_elbo_is_the_plain_one():
    mixed = mixture([gaussian(0, 0.3), gaussian(1, 0.2)], [0.3, 0.7])
    found = symvi.elbo(BNN, mixed, X, Y, num_samples=4000)
    draws = mixed.sample(jax.random.key(5), 4000)
    values = symvi.draws.log_joints(BNN, draws, X, Y) - np.asarray(mixed.log_prob(draws))
    error = np.hypot(found.std_error, values.std() / np.sqrt(4000))
    assert abs(found.value - values.mean()) < 4 * error


def test_one_that_covers_the_truth_has_the_evidence():
    """Halves of an exact posterior are the exact posterior: no noise, the log evidence."""
    bnn, x, y, exact = regression()
    plain = JointNormal(bnn, dist.MultivariateNormal(exact.mean, exact.covariance))
    found = symvi.elbo(bnn, mixture([plain, plain]), x, y, num_samples=10)
    assert found.value == pytest.approx(exact.log_evidence, abs=1e-9)


def test_a_fit_is_a_member_and_compare_takes_the_mixture():
    q = gaussian(0)
    fit = SimpleNamespace(posterior=q)
    mixed = mixture([fit, gaussian(1)])
    assert mixed.members[0] is q
    table = symvi.compare(BNN, {"mixture": mixed}, X, Y, X, Y, num=100).table
    assert {"ELBO", "k-hat", "RMSE", "LOO"} <= set(table.quantity)
    row = table[table.quantity == "ELBO"].iloc[0]
    again = symvi.elbo(BNN, mixed, X, Y, key=jax.random.key(1))
    assert abs(row.value - again.value) < 4 * np.hypot(row.std_error, again.std_error)


def test_what_is_no_density_is_refused():
    bounded = symvi.Symmetrized(gaussian(0), method=Pairwise())
    with pytest.raises(ValueError, match=r"posteriors\[0\]: expected a normalised density"):
        mixture([bounded])
    with pytest.raises(ValueError, match="symmetrize: expected None beside"):
        symvi.elbo(BNN, mixture([gaussian(0)]), X, Y, symmetrize="exact")
