"""Mean field: densities against naive sums, samples against densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from gaussians import NETS, naive_log_q, posterior

import symvi
from symvi.posteriors import log_unit_densities


def test_mean_field_equals_scipy():
    q = posterior(NETS["plain"])
    w = q.sample(jax.random.key(5), 3)
    expected = [naive_log_q(q, jax.tree.map(lambda a, i=i: a[i], w)) for i in range(3)]
    np.testing.assert_allclose(q.log_prob(w), expected, rtol=1e-12)
    entropy = sum(
        scipy.stats.norm.entropy(np.asarray(q.loc[k]), np.asarray(q.scale[k])).sum() for k in q.loc
    )
    assert float(q.entropy()) == pytest.approx(entropy, rel=1e-12)


def test_mean_field_samples_fit_their_density():
    q = posterior(NETS["plain"])
    w = q.sample(jax.random.key(0), 4000)
    z = (w["W1"] - q.loc["W1"]) / q.scale["W1"]
    assert min(scipy.stats.kstest(np.asarray(z[:, 0, i]), "norm").pvalue for i in range(4)) > 1e-3


def test_unit_densities_are_the_permanents_entries():
    """A_ij = q_i(u_j), and (q_i(u_j) + q_i(-u_j)) / 2 with signs."""
    q = posterior(NETS["signed"])
    w = jax.tree.map(lambda a: a[0], q.sample(jax.random.key(0), 1))
    loc, scale, u = (np.asarray(q.symmetry.units(p)) for p in (q.loc, q.scale, w))
    density = np.array(
        [
            [
                (
                    np.prod(scipy.stats.norm.pdf(u[j], loc[i], scale[i]))
                    + np.prod(scipy.stats.norm.pdf(-u[j], loc[i], scale[i]))
                )
                / 2
                for j in range(3)
            ]
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(np.exp(log_unit_densities(q, w)), density, rtol=1e-11)


TWO = symvi.MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
Q_TWO = symvi.MeanField(
    {"W1": jnp.array([[0.5, -1.0]])}, {"W1": jnp.array([[0.4, 0.8]])}, TWO.symmetry
)


def test_a_gradient_with_respect_to_q_is_a_mean_field():
    """Rebuilding the pytree does not check the scale: here d log q / d scale = -1 / scale at the
    mean.
    """
    gradient = jax.grad(lambda q: q.log_prob(q.loc))(Q_TWO)
    np.testing.assert_allclose(gradient.scale["W1"], -1 / Q_TWO.scale["W1"], rtol=1e-12)
    assert [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Q_TWO)
    ] == [".loc['W1']", ".scale['W1']"]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W1": jnp.ones(3)}),
            "scale: expected names and shapes of loc .*pass one scale",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W2": jnp.ones(2)}),
            "scale: expected names and shapes of loc",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W1": jnp.array([1.0, 0.0])}),
            r"scale\['W1'\]: expected positive finite numbers, got down to 0, up to 1; pass",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W1": jnp.array([1.0, -2.0])}),
            r"scale\['W1'\]: expected positive finite numbers, got down to -2, up to 1",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W1": jnp.array([1.0, jnp.inf])}),
            r"scale\['W1'\]: expected positive finite numbers, got down to 1, up to inf",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.ones(2)}, {"W1": jnp.array([1.0, jnp.nan])}),
            r"scale\['W1'\]: expected positive finite numbers, got down to nan",
        ),
        (
            lambda: symvi.MeanField({"W1": jnp.array([0.0, jnp.nan])}, {"W1": jnp.ones(2)}),
            r"loc\['W1'\]: expected finite numbers, got NaN or infinity; pass",
        ),
        (
            lambda: Q_TWO.sample(jax.random.key(0), 0),
            "num: expected a whole number >= 1, got 0; pass",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("posterior", [symvi.MeanField, symvi.UnitNormal])
def test_a_symmetry_that_does_not_fit_the_weights_is_refused(posterior):
    """Three units under the symmetry of ten gave a certified I of 15.1 nats, where log 3! = 1.79 is
    the most.
    """
    loc = symvi.MLP([1, 3, 1]).init(jax.random.key(0))
    scale = jax.tree.map(jnp.ones_like, loc)
    with pytest.raises(
        ValueError,
        match=r"expected size 10 along axis 1 for the units 'hidden1', got .*; pass weights and",
    ):
        posterior(loc, scale, symvi.MLP([1, 10, 1]).symmetry)


def test_unit_vectors_of_another_network_are_refused():
    loc = symvi.MLP([1, 3, 1]).init(jax.random.key(0))
    symmetry = symvi.MLP([1, 10, 1]).symmetry
    for call in (
        symmetry.units,
        symmetry.own_units,
        lambda w: symmetry.with_own_units(w, jnp.zeros((10, 3))),
    ):
        with pytest.raises(ValueError, match="expected size 10 along axis"):
            call(loc)
