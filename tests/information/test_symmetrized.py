"""The symmetrized posterior: densities against naive sums, samples against densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from gaussians import NETS, naive_log_q, posterior
from hypothesis import given, settings
from hypothesis import strategies as st

import symvi


def naive_log_q_sym(q, w):
    """q_G(w) = (1/|G|) sum over g of q(g^-1 w) (Gelberg et al. 2024, equation 4)."""
    group = q.symmetry
    every = group.elements()
    terms = []
    for i in range(group.order):
        g = jax.tree.map(lambda a, i=i: a[i], every)
        terms.append(naive_log_q(q, group.act(group.inverse(g), w)))
    return np.logaddexp.reduce(terms) - np.log(group.order)


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), spread=st.floats(0.0, 4.0))
def test_symmetrized_density_equals_equation_4_and_is_invariant(name, seed, spread):
    q = posterior(NETS[name], seed, spread)
    q_sym = symvi.Symmetrized(q)
    w = jax.tree.map(lambda a: a[0], q.sample(jax.random.key(seed + 2), 1))
    value = float(q_sym.log_prob(w))
    assert value == pytest.approx(naive_log_q_sym(q, w), rel=1e-11)
    for element in range(3):
        g = jax.tree.map(lambda a, e=element: a[e], q.symmetry.sample(jax.random.key(seed), 3))
        assert float(q_sym.log_prob(q.symmetry.act(g, w))) == pytest.approx(value, rel=1e-12)


TWO = symvi.MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
Q_TWO = symvi.MeanField(
    {"W1": jnp.array([[0.5, -1.0]])}, {"W1": jnp.array([[0.4, 0.8]])}, TWO.symmetry
)


def test_density_integrates_to_one():
    side = np.linspace(-7, 7, 281)
    w = jnp.stack(jnp.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 1, 2)
    mass = np.exp(symvi.Symmetrized(Q_TWO).log_prob({"W1": w})).sum() * (side[1] - side[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-8)


def test_samples_fit_their_density():
    """Each weight of q_G is an even mixture of two Gaussians; the pair is checked by counts."""
    w = np.asarray(symvi.Symmetrized(Q_TWO).sample(jax.random.key(0), 8000)["W1"])[:, 0, :]

    def cdf(v):
        return (scipy.stats.norm.cdf(v, 0.5, 0.4) + scipy.stats.norm.cdf(v, -1.0, 0.8)) / 2

    assert min(scipy.stats.kstest(w[:, i], cdf).pvalue for i in (0, 1)) > 1e-3
    inside = ((w[:, 0] > 0) & (w[:, 1] < 0)).sum()
    a, b = (
        scipy.stats.norm.sf(0, 0.5, 0.4) * scipy.stats.norm.cdf(0, -1.0, 0.8),
        scipy.stats.norm.cdf(0, 0.5, 0.4) * scipy.stats.norm.sf(0, -1.0, 0.8),
    )
    assert scipy.stats.binomtest(int(inside), 8000, (a + b) / 2).pvalue > 1e-3


@pytest.mark.parametrize("name", ["plain", "signed", "deep"])
def test_mean_and_variance_match_samples(name):
    q_sym = symvi.Symmetrized(posterior(NETS[name], spread=2.0))
    draws = np.asarray(q_sym.sample(jax.random.key(0), (20_000,)))
    spread = draws.std(0) / np.sqrt(len(draws))
    assert np.abs((draws.mean(0) - np.asarray(q_sym.mean)) / spread).max() < 4.5
    np.testing.assert_allclose(draws.var(0), q_sym.variance, rtol=0.1)


def test_entropy_is_h_plus_information():
    q = posterior(NETS["signed"], spread=2.0)
    total = symvi.Symmetrized(q).entropy(jax.random.key(0), 4000)
    information = symvi.orbit_information(q, key=jax.random.key(1), num_samples=4000)
    gap = total.value - float(q.entropy()) - information.value
    assert abs(gap) < 4 * np.hypot(total.std_error, information.std_error)


@pytest.mark.parametrize("name", NETS)
def test_numpyro_contract(name):
    q = posterior(NETS[name])
    q_sym = symvi.Symmetrized(q)
    size = sum(v.size for v in q.loc.values())
    assert (q_sym.event_shape, q_sym.batch_shape, q_sym.event_dim) == ((size,), (), 1)
    assert q_sym.has_rsample
    flat = q_sym.sample(jax.random.key(0), (3, 2))
    assert flat.shape == (3, 2, size)
    assert q_sym.sample(jax.random.key(0)).shape == (size,)
    assert q_sym.log_prob(flat).shape == (3, 2)
    named = q_sym.sample(jax.random.key(0), 4)
    assert {k: v.shape for k, v in named.items()} == {k: (4, *v.shape) for k, v in q.loc.items()}
    np.testing.assert_allclose(
        q_sym.log_prob(named),
        q_sym.log_prob(jnp.concatenate([named[k].reshape(4, -1) for k in sorted(named)], axis=1)),
        rtol=1e-12,
    )
    assert q_sym.expand_by((5,)).sample(jax.random.key(0)).shape == (5, size)


def test_pytree_jit_vmap_and_gradient():
    q = posterior(NETS["signed"])
    q_sym = symvi.Symmetrized(q)
    leaves, tree = jax.tree.flatten(q_sym)
    assert len(leaves) == 8
    again = jax.tree.unflatten(tree, leaves)
    value = q_sym.sample(jax.random.key(0))
    assert float(again.log_prob(value)) == float(q_sym.log_prob(value))
    assert float(jax.jit(lambda d, v: d.log_prob(v))(q_sym, value)) == pytest.approx(
        float(q_sym.log_prob(value)), rel=1e-12
    )
    shifts = jnp.array([0.0, 0.3])
    moved = jax.vmap(
        lambda s: symvi.Symmetrized(
            symvi.MeanField(jax.tree.map(lambda m: m + s, q.loc), q.scale, q.symmetry)
        ).log_prob(value)
    )(shifts)
    assert float(moved[0]) == pytest.approx(float(q_sym.log_prob(value)), rel=1e-12)

    def density(shift):
        return symvi.Symmetrized(
            symvi.MeanField(jax.tree.map(lambda m: m + shift, q.loc), q.scale, q.symmetry)
        ).log_prob(value)

    assert float(jax.grad(density)(0.1)) == pytest.approx(
        float(density(0.1 + 1e-6) - density(0.1 - 1e-6)) / 2e-6, rel=1e-6
    )


@pytest.mark.parametrize("signed", [False, True])
def test_trivial_group_leaves_the_base(signed):
    q = posterior(NETS["plain"])
    base = symvi.MeanField(q.loc, q.scale, symvi.Symmetry((), signed))
    q_sym = symvi.Symmetrized(base)
    named = q_sym.sample(jax.random.key(0), 5)
    assert {k: v.shape for k, v in named.items()} == {k: (5, *v.shape) for k, v in q.loc.items()}
    np.testing.assert_allclose(q_sym.log_prob(named), base.log_prob(named), rtol=1e-12)
    assert q_sym.sample(jax.random.key(0), (3, 2)).shape == (3, 2, 13)
    flat = [jnp.concatenate([side[k].ravel() for k in sorted(side)]) for side in (q.loc, q.scale)]
    np.testing.assert_allclose(q_sym.mean, flat[0], rtol=1e-12)
    np.testing.assert_allclose(q_sym.variance, flat[1] ** 2, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_no_samples(shape):
    assert symvi.Symmetrized(Q_TWO).sample(jax.random.key(0), shape).shape == (*shape, 2)


def test_flat_order_can_be_chosen():
    q = posterior(NETS["plain"])
    order = tuple(reversed(sorted(q.loc)))
    named = q.sample(jax.random.key(0), 1)
    flat = jnp.concatenate([named[k].reshape(1, -1) for k in order], axis=1)
    assert float(symvi.Symmetrized(q, order).log_prob(flat)[0]) == pytest.approx(
        float(symvi.Symmetrized(q).log_prob(named)[0]), rel=1e-12
    )


WIDE = posterior(symvi.MLP([1, 17, 1]))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.Symmetrized(Q_TWO).sample(jax.random.key(0), -1),
            "num: expected a whole number >= 1, got -1",
        ),
        (
            lambda: symvi.Symmetrized(Q_TWO, ("b1",)),
            r"order: expected the names \['W1'\], got \('b1',\); name each",
        ),
        (
            lambda: symvi.Symmetrized(Q_TWO, ("W1", "W1")),
            r"order: expected the names \['W1'\], got \('W1', 'W1'\); name each",
        ),
        (
            lambda: symvi.Symmetrized(Q_TWO).log_prob(jnp.zeros(3)),
            r"value: expected 2 weights on the last axis, got shape \(3,\); pass flat",
        ),
        (
            lambda: symvi.Symmetrized(Q_TWO).log_prob(jnp.zeros((3, 1))),
            r"value: expected 2 weights on the last axis, got shape \(3, 1\); pass flat",
        ),
        (
            lambda: symvi.Symmetrized(WIDE).log_prob(WIDE.loc),
            r"method: expected one hidden layer of n <= 16 .*got widths \[17\].*'pairwise'",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# methods other than the exact sum


KEYLESS = {"pairwise": symvi.MLP([1, 20, 1], "relu"), "bethe": symvi.MLP([1, 20, 1], "relu")}


@pytest.mark.parametrize("method", KEYLESS)
def test_a_bound_stands_for_the_density_at_any_width(method):
    """E_q[log q - log d] over draws is the method's bound of I, and those draws are the base's."""
    q = posterior(KEYLESS[method])
    bounded = symvi.Symmetrized(q, method=method)
    w = bounded.sample(jax.random.key(0), 50)
    base = q.sample(jax.random.split(jax.random.key(0))[0], 50)
    np.testing.assert_array_equal(w["W1"], base["W1"])
    gain = np.asarray(q.log_prob(w) - bounded.log_prob(w))
    found = symvi.orbit_information(q, method, jax.random.key(0), num_samples=50)
    found = found.lower if method == "pairwise" else found
    assert gain.mean() == pytest.approx(found.value, abs=1e-9)
    assert bounded.entropy(jax.random.key(1), 50).kind == found.kind
    assert f"log |G| = 42.34, method='{method}'" in repr(bounded)


def test_elbo_takes_the_method_of_a_symmetrized_posterior():
    net = symvi.MLP([1, 20, 1], "relu")
    q, bnn = posterior(net), symvi.BNN(net, symvi.Gaussian(0.3))
    x = np.linspace(-1, 1, 4)[:, None]
    found = symvi.elbo(bnn, symvi.Symmetrized(q, method="pairwise"), x, x, num_samples=5)
    assert found == symvi.elbo(bnn, q, x, x, symmetrize="pairwise", num_samples=5)
    assert found.kind == "lower"


@pytest.mark.parametrize("method", ["infonce", "guided", symvi.information.Guided(3), None])
def test_methods_with_random_numbers_are_refused(method):
    with pytest.raises(ValueError, match=r"method: expected .*(pass|choose)"):
        symvi.Symmetrized(Q_TWO, method=method)


def test_its_repr_is_short():
    text = repr(symvi.Symmetrized(Q_TWO))
    assert text == "Symmetrized(MeanField of 2 weights, log |G| = 0.6931, method='exact')"


def test_moments_of_posteriors_made_by_vmap():
    """One distribution for each shift; draws and densities need one at a time, and say so."""

    def shifted(shift):
        loc = jax.tree.map(lambda m: m + shift, Q_TWO.loc)
        return symvi.Symmetrized(symvi.MeanField(loc, Q_TWO.scale, Q_TWO.symmetry))

    shifts = jnp.array([0.0, 1.0, 2.0])
    many = jax.vmap(shifted)(shifts)
    one = symvi.Symmetrized(Q_TWO)
    np.testing.assert_allclose(many.mean, one.mean + shifts[:, None], rtol=1e-12)
    np.testing.assert_allclose(many.variance, jnp.tile(one.variance, (3, 1)), rtol=1e-12)
    for call in (lambda: many.sample(jax.random.key(0)), lambda: many.log_prob(jnp.zeros(2))):
        with pytest.raises(
            ValueError, match=r"expected one distribution, got a batch of shape \(3,\)"
        ):
            call()
    inside = jax.vmap(lambda q: q.log_prob(jnp.zeros(2)))(many)
    assert float(inside[0]) == pytest.approx(float(one.log_prob(jnp.zeros(2))), rel=1e-12)


def test_the_variance_counts_covariance_inside_units():
    """Weight k of a unit has variance scale_k^2 (1 + sum of N_kj^2); it was scale_k^2."""
    net = symvi.MLP([2, 2, 1], "tanh")
    loc = net.init(jax.random.key(0))
    lower = jnp.tril(jax.random.normal(jax.random.key(1), (2, 4, 4)), -1)
    scale = jax.tree.map(jnp.ones_like, loc)
    q = symvi.UnitNormal(loc, scale, net.symmetry, {"hidden1": lower})
    draws = symvi.Symmetrized(q).sample(jax.random.key(0), (40_000,))
    np.testing.assert_allclose(np.var(draws, axis=0), symvi.Symmetrized(q).variance, rtol=0.05)
    assert float(symvi.Symmetrized(q).variance.max()) > 1.3
