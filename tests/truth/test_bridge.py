"""Bridge sampling: against a naive iteration, a closed form, quadrature and tempered SMC."""

import jax
import numpy as np
import pytest
import scipy.stats
from linear_model import exact_draws, many_weights
from scipy.special import logsumexp

from symvi import BNN, MLP, Gaussian, grid_posterior, log_evidence
from symvi.data import absolute
from symvi.truth import bridge_evidence
from symvi.truth.bridge import _unit_normal, _whole_normal, bridge, shared

TWO = BNN(MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0), Gaussian(1.0))
SMALL = BNN(MLP([1, 3, 1], "tanh", signed=True), Gaussian(0.3))
X = np.linspace(-1, 1, 7)[:, None]
Y = np.sin(3 * X)


def iterated(of_posterior, of_proposal, steps=2000):
    """Meng and Wong's iteration (1996, equation 4.1), term by term; s_1 = s_2 = 1/2."""
    shift = np.median(of_posterior)
    first, second = np.exp(of_posterior - shift), np.exp(of_proposal - shift)
    r = 1.0
    for _ in range(steps):
        above = np.mean(second / (0.5 * second + 0.5 * r))
        below = np.mean(1 / (0.5 * first + 0.5 * r))
        r = above / below
    return shift + np.log(r)


@pytest.mark.parametrize("apart", [0.0, 0.5, 2.0])
def test_the_root_is_where_the_iteration_ends(apart):
    """f = 7 N(w; apart, 1), q = N(w; 0, 1), so that l is linear in w."""
    rng = np.random.default_rng(0)

    def log_ratio(w):
        return np.log(7) + apart * w - apart**2 / 2

    ours = log_ratio(apart + rng.normal(size=4000))
    theirs = log_ratio(rng.normal(size=4000))
    found = bridge(ours, theirs)
    assert found == pytest.approx(iterated(ours, theirs), abs=1e-8)
    common = 4000 * (1 if apart == 0 else overlap(apart))
    assert shared(theirs, found) == pytest.approx(common, rel=0.03)
    # its variance by step 2 of the derivation
    assert abs(found - np.log(7)) <= 4 * np.sqrt(2 / common - 2 / 4000)


def overlap(apart):
    """H = int 2 p q / (p + q) of two standard normals, by a sum."""
    w = np.linspace(-9, 11, 20001)
    p, q = scipy.stats.norm.pdf(w, apart), scipy.stats.norm.pdf(w)
    return float((2 * p * q / (p + q)).sum() * (w[1] - w[0]))


@pytest.mark.parametrize(("weights", "num"), [(4, 3), (4, 40), (60, 20)])
def test_conjugate_models(weights, num):
    bnn, x, y, exact = many_weights(weights, num)
    found = bridge_evidence(bnn, exact_draws(exact), x, y)
    assert found.kind == "approximate" and 0 < found.std_error < 0.03
    assert abs(found.value - exact.log_evidence) < 4 * found.std_error + 1e-3


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_two_weights_whose_copies_overlap(noise):
    """Where the noise is large the two copies are one: log |G| added would be wrong."""
    data = absolute(0.1)
    bnn = BNN(TWO.net, Gaussian(noise))
    grid = grid_posterior(bnn, data.x, data.y)
    rng = np.random.default_rng(1)
    cells = rng.choice(grid.log_mass.size, 4000, p=np.exp(grid.log_mass).ravel())
    first, second = np.unravel_index(cells, grid.log_mass.shape)
    w = np.stack([grid.nodes[first], grid.nodes[second]], axis=-1).reshape(8, 500, 1, 2)
    # the posterior has two copies, whether the draws have been in both or in one
    for draws in (w, np.sort(w, axis=-1)):
        found = bridge_evidence(bnn, {"W1": draws}, data.x, data.y)
        assert found.std_error < 0.03
        assert abs(found.value - grid.log_evidence) < 4 * found.std_error


@pytest.fixture(scope="module")
def small():
    """The evidence of a 1-3-1 tanh network by tempered SMC, and its particles: 48 copies."""
    return log_evidence(SMALL, X, Y, particles=1000, repeats=8)


def test_a_network_against_tempered_smc(small):
    assert small.decided
    found = bridge_evidence(SMALL, small.particles, X, Y)
    assert found.std_error < 0.15
    assert abs(found.value - small.value) < 4 * np.hypot(found.std_error, small.std_error)


def test_the_permanent_gives_the_same_evidence(small, monkeypatch):
    """The density of a larger group is a permanent; the estimate does not know."""
    monkeypatch.setattr("symvi.truth.bridge.MAX_LISTED", 1)
    found = bridge_evidence(SMALL, small.particles, X, Y)
    assert found.std_error < 0.2
    assert abs(found.value - small.value) < 4 * np.hypot(found.std_error, small.std_error)


def relabelled(draws, key):
    """Each draw ``(chains, num, *shape)`` moved by an element of its own."""
    chains, num = draws["W1"].shape[:2]
    rows = {k: v.reshape(-1, *v.shape[2:]) for k, v in draws.items()}
    moved = jax.vmap(SMALL.symmetry.act)(SMALL.symmetry.sample(key, chains * num), rows)
    return {k: np.asarray(v).reshape(draws[k].shape) for k, v in moved.items()}


def test_it_does_not_matter_in_which_copies_draws_are(small):
    """The half that gives the estimate is relabelled at random, and not a digit changes."""
    draws = {k: v[:, :200] for k, v in small.particles.items()}
    moved = relabelled(draws, jax.random.key(4))
    both = {k: np.concatenate([draws[k][:, :100], moved[k][:, 100:]], axis=1) for k in draws}
    assert np.abs(both["W1"] - draws["W1"]).max() > 0.1
    one, other = (bridge_evidence(SMALL, d, X, Y) for d in (draws, both))
    assert other.value == pytest.approx(one.value, abs=1e-8)
    assert other.std_error == pytest.approx(one.std_error, abs=1e-8)


def some_rows(num=40, seed=0):
    """Draws ``(num, *shape)`` of the weights of SMALL, correlated."""
    rng = np.random.default_rng(seed)
    d = sum(int(np.prod(shape)) for shape in SMALL.shapes.values())
    vectors = rng.normal(size=(num, d)) @ rng.normal(size=(d, d)) + 1
    return {k: np.asarray(v) for k, v in jax.vmap(SMALL.unravel)(vectors).items()}


def test_the_density_of_a_whole_normal_by_enumeration():
    rows = some_rows()
    found = _whole_normal(SMALL, rows)
    vectors = np.asarray(jax.vmap(SMALL.ravel)(rows))
    normal = scipy.stats.multivariate_normal(vectors.mean(axis=0), np.cov(vectors, rowvar=False))
    elements = SMALL.symmetry.elements()
    for index, log_density in enumerate(np.asarray(found.log_prob(rows))[:3]):
        w = {k: v[index] for k, v in rows.items()}
        copies = jax.vmap(lambda g, w=w: SMALL.ravel(SMALL.symmetry.act(g, w)))(elements)
        assert len(copies) == 48
        wanted = logsumexp(normal.logpdf(np.asarray(copies))) - np.log(48)
        assert log_density == pytest.approx(wanted, abs=1e-9)


def test_a_normal_of_independent_units_has_their_covariances():
    rows = some_rows()
    base = _unit_normal(SMALL.symmetry, rows).base
    units = np.asarray(jax.vmap(SMALL.symmetry.own_units)(rows))
    blocks = [
        scipy.stats.multivariate_normal(units[:, i].mean(0), np.cov(units[:, i], rowvar=False))
        for i in range(3)
    ]
    rest = scipy.stats.norm(rows["b2"].mean(0), rows["b2"].std(0, ddof=1))
    wanted = sum(b.logpdf(units[:, i]) for i, b in enumerate(blocks))
    wanted = wanted + rest.logpdf(rows["b2"]).sum(axis=1)
    assert np.allclose(base.log_prob(rows), wanted, atol=1e-9)


def test_a_normal_that_lies_elsewhere_is_spoken_of():
    """As where chains leave one part of the posterior for another."""
    bnn, x, y, exact = many_weights(4, 40)
    draws = exact_draws(exact)
    draws["W1"][:, :250] += 1.0
    said = r"bridge_evidence: expected at least 100 draws .*, got \d+\.\d of 2000.*log_evidence"
    with pytest.warns(UserWarning, match=said) as caught:
        bridge_evidence(bnn, draws, x, y)
    assert caught[0].filename == __file__


def test_a_seed_repeats():
    bnn, x, y, exact = many_weights(4, 40)
    draws = exact_draws(exact)
    one, two, other = (bridge_evidence(bnn, draws, x, y, seed=s) for s in (0, 0, 1))
    assert one == two != other


def normal_draws(bnn, chains=2, num=200):
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=(chains, num, *shape)) for k, shape in bnn.shapes.items()}


@pytest.mark.parametrize("widths", [[1, 17, 1], [1, 5, 5, 1]])
def test_a_group_too_large_is_refused(widths):
    bnn = BNN(MLP(widths, "tanh", signed=True), Gaussian(0.3))
    said = r"bnn: expected \|G\| <= 5000, or one hidden .*, got .* nats\); use symvi.log_evidence"
    with pytest.raises(ValueError, match=said):
        bridge_evidence(bnn, normal_draws(bnn), X, Y)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (
            normal_draws(SMALL, chains=1),
            "drawn: expected at least 2 chains of 4 .* got 1 of",
        ),
        (normal_draws(SMALL, num=19), "40 draws of 10 weights, got 2 of 19; draw longer"),
        ({k: v[0] for k, v in normal_draws(SMALL).items()}, "at least 2 chains"),
        (
            {**normal_draws(SMALL), "b2": np.ones((2, 200, 1))},
            "drawn: expected draws whose covariance has full rank, got a singular one",
        ),
    ],
)
def test_bad_draws(draws, message):
    with pytest.raises(ValueError, match=message):
        bridge_evidence(SMALL, draws, X, Y)
