"""Closed forms between Gaussian units, and the posterior with full covariance inside a unit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from symvi import MLP, MeanField, Symmetrized, UnitNormal
from symvi.information.overlaps import (
    MAX_ENTRIES,
    covariances,
    divergences,
    log_bhattacharyya,
    overlap_matrices,
)

RNG = np.random.default_rng(0)
LOC, SCALE = (
    jnp.asarray(RNG.normal(size=(3, 2))),
    jnp.asarray(np.exp(0.3 * RNG.normal(size=(3, 2)))),
)
LOWER = jnp.tril(jnp.asarray(RNG.normal(size=(3, 2, 2))), -1)


@pytest.mark.parametrize("lower", [None, LOWER])
@pytest.mark.parametrize("sign", [1, -1])
def test_overlaps_against_quadrature_over_the_plane(lower, sign):
    cov = np.asarray(covariances(SCALE, jnp.zeros((3, 2, 2)) if lower is None else lower))
    line = np.linspace(-14, 14, 400)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    area = (line[1] - line[0]) ** 2
    one = [scipy.stats.multivariate_normal(LOC[i], cov[i]) for i in range(3)]
    two = [scipy.stats.multivariate_normal(sign * LOC[i], cov[i]) for i in range(3)]
    bc, kl = log_bhattacharyya(LOC, SCALE, lower, sign), divergences(LOC, SCALE, lower, sign)
    for i in range(3):
        for j in range(3):
            log_i, log_j = one[i].logpdf(grid), two[j].logpdf(grid)
            assert float(bc[i, j]) == pytest.approx(
                math.log(np.exp(0.5 * (log_i + log_j)).sum() * area), abs=1e-4
            )
            assert float(kl[i, j]) == pytest.approx(
                (np.exp(log_i) * (log_i - log_j)).sum() * area, abs=1e-3
            )


def test_row_by_row_agrees_with_all_at_once(monkeypatch):
    def both():
        return log_bhattacharyya(LOC, SCALE, LOWER), jax.grad(
            lambda m: log_bhattacharyya(m, SCALE, LOWER).sum()
        )(LOC)

    before = both()
    assert LOC.size < MAX_ENTRIES
    monkeypatch.setattr("symvi.information.overlaps.MAX_ENTRIES", 1)
    after = both()
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    np.testing.assert_allclose(after[1], before[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_gradient_of_log_bc_is_that_of_its_formula(sign):
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))

    def formula(loc, scale):
        # log BC = sum of log(2 s t / (s^2 + t^2)) / 2 - (m - sign l)^2 / (s^2 + t^2) / 4
        variance = scale[:, None] ** 2 + scale**2
        return (
            0.5 * jnp.log(2 * scale[:, None] * scale / variance)
            - 0.25 * (loc[:, None] - sign * loc) ** 2 / variance
        ).sum(-1)

    np.testing.assert_allclose(
        log_bhattacharyya(LOC, SCALE, sign=sign), formula(LOC, SCALE), rtol=1e-12
    )
    mine = jax.grad(lambda m, s: (weights * log_bhattacharyya(m, s, sign=sign)).sum(), (0, 1))(
        LOC, SCALE
    )
    theirs = jax.grad(lambda m, s: (weights * formula(m, s)).sum(), (0, 1))(LOC, SCALE)
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_signed_matrices_average_both_signs():
    bc, like = overlap_matrices(LOC, SCALE, LOWER, signed=True)
    np.testing.assert_allclose(
        jnp.exp(bc),
        (
            jnp.exp(log_bhattacharyya(LOC, SCALE, LOWER))
            + jnp.exp(log_bhattacharyya(LOC, SCALE, LOWER, -1))
        )
        / 2,
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        jnp.exp(like),
        (jnp.exp(-divergences(LOC, SCALE, LOWER)) + jnp.exp(-divergences(LOC, SCALE, LOWER, -1)))
        / 2,
        rtol=1e-10,
    )


def unit_normal(widths, signed=False, strength=0.8):
    net, rng = MLP(widths, "tanh", signed=signed), np.random.default_rng(1)
    loc = {k: jnp.asarray(rng.normal(size=s)) for k, s in net.shapes.items()}
    scale = {k: jnp.asarray(np.exp(0.3 * rng.normal(size=s))) for k, s in net.shapes.items()}
    lower = {}
    for g in net.symmetry.groups:
        n, d = net.symmetry.own_units(loc, g.name).shape
        lower[g.name] = jnp.tril(jnp.asarray(strength * rng.normal(size=(n, d, d))), -1)
    return UnitNormal(loc, scale, net.symmetry, lower)


@pytest.mark.parametrize("widths", [[2, 3, 1], [1, 3, 2, 1]])
def test_unit_normal_density_against_scipy(widths):
    q = unit_normal(widths)
    w = {k: v[0] for k, v in q.sample(jax.random.key(0), 1).items()}
    rest = q.symmetry.rest(w)
    expected = sum(scipy.stats.norm(q.loc[k], q.scale[k]).logpdf(v).sum() for k, v in rest.items())
    for g in q.symmetry.groups:
        loc, scale, units = (q.symmetry.own_units(p, g.name) for p in (q.loc, q.scale, w))
        cov = covariances(scale, q.unit_gaussians(g.name).lower)
        for i in range(g.size):
            expected += scipy.stats.multivariate_normal(loc[i], cov[i]).logpdf(units[i])
            assert float(q.unit_log_density(units, g.name)[i, 1]) == pytest.approx(
                scipy.stats.multivariate_normal(loc[i], cov[i]).logpdf(units[1]), rel=1e-9
            )
    assert float(q.log_prob(w)) == pytest.approx(expected, rel=1e-9)


def test_unit_normal_samples_entropy_and_batches():
    q = unit_normal([1, 3, 1])
    w = q.sample(jax.random.key(2), 40_000)
    log_prob = np.asarray(q.log_prob(w))
    assert log_prob.shape == (40_000,)
    assert abs(log_prob.mean() + float(q.entropy())) < 4 * log_prob.std() / 200
    units = np.asarray(jax.vmap(q.symmetry.own_units)(w))
    expected = covariances(q.symmetry.own_units(q.scale), q.unit_gaussians().lower)
    for i in range(3):
        np.testing.assert_allclose(
            np.cov(units[:, i].T), expected[i], atol=0.06 * np.abs(expected[i]).max()
        )


def test_without_correlation_it_is_mean_field():
    q = unit_normal([1, 3, 2, 1], strength=0.0)
    plain = MeanField(q.loc, q.scale, q.symmetry)
    bare = UnitNormal(q.loc, q.scale, q.symmetry)
    w = plain.sample(jax.random.key(3), 5)
    for other in (q, bare):
        np.testing.assert_allclose(other.log_prob(w), plain.log_prob(w), rtol=1e-12)
        np.testing.assert_allclose(other.sample(jax.random.key(3), 5)["W2"], w["W2"], rtol=1e-12)
    assert float(q.entropy()) == float(plain.entropy())


@pytest.mark.parametrize(
    ("widths", "signed"), [([1, 3, 1], False), ([1, 3, 1], True), ([1, 3, 2, 1], False)]
)
def test_symmetrized_unit_normal_against_enumeration(widths, signed):
    q = unit_normal(widths, signed)
    w = {k: v[0] for k, v in q.sample(jax.random.key(4), 1).items()}
    copies = jax.vmap(lambda g: q.log_prob(q.symmetry.act(g, w)))(q.symmetry.elements())
    expected = np.logaddexp.reduce(np.asarray(copies)) - q.symmetry.log_order
    assert float(Symmetrized(q).log_prob(w)) == pytest.approx(expected, rel=1e-9)


def test_own_units_partition_the_weights():
    q = unit_normal([2, 3, 2, 1])
    owned = sum(q.symmetry.own_units(q.loc, g.name).size for g in q.symmetry.groups)
    assert owned + sum(v.size for v in q.symmetry.rest(q.loc).values()) == sum(
        v.size for v in q.loc.values()
    )
    params = q.loc
    for g in q.symmetry.groups:
        params = q.symmetry.with_own_units(params, q.symmetry.own_units(q.scale, g.name), g.name)
    for name in params:
        np.testing.assert_array_equal(
            params[name], q.loc[name] if name in q.symmetry.rest(q.loc) else q.scale[name]
        )


def test_unit_normal_refuses_factors_of_the_wrong_shape():
    q = unit_normal([1, 3, 1])
    with pytest.raises(
        ValueError,
        match=r"lower\['hidden1'\]: expected shape \(3, 3, 3\), got \(3, 2, 2\); pass one",
    ):
        UnitNormal(q.loc, q.scale, q.symmetry, {"hidden1": jnp.zeros((3, 2, 2))})
