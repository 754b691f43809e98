"""The subadditive bounds against quadrature, enumeration and their closed-form ends."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from symvi import MLP, MeanField, Symmetry, UnitGroup, UnitNormal
from symvi.information import (
    Pairwise,
    Subadditive,
    Tightest,
    orbit_information,
    pairwise_bounds,
    subadditive_bounds,
)
from symvi.information.overlaps import covariances
from symvi.information.subadditive import (
    WIDEST,
    average_unit,
    divergence_and_products,
    divergence_from_reference,
    log_products,
    widened,
)
from symvi.posteriors.elimination import inverse_of_positive
from symvi.posteriors.mean_field import UnitGaussians

RNG = np.random.default_rng(0)


def units(n, d, full, spread=0.7, seed=0):
    """Gaussian units that overlap in part."""
    rng = np.random.default_rng(seed)
    loc = jnp.asarray(spread * rng.normal(size=(n, d)))
    scale = jnp.asarray(0.5 * np.exp(0.3 * rng.normal(size=(n, d))))
    lower = jnp.tril(jnp.asarray(0.6 * rng.normal(size=(n, d, d))), -1) if full else None
    return UnitGaussians(loc, scale, lower)


def matrices(given):
    """The covariance matrix of each unit."""
    if given.lower is None:
        return np.stack([np.diag(s**2) for s in np.asarray(given.scale)])
    return np.asarray(covariances(given.scale, given.lower))


def as_matrix(cov):
    return np.diag(cov) if np.ndim(cov) == 1 else np.asarray(cov)


def test_inverse_by_elimination():
    root = RNG.normal(size=(4, 5, 5))
    positive = root @ root.swapaxes(1, 2) + 0.1 * np.eye(5)
    found = inverse_of_positive(jnp.asarray(positive))
    np.testing.assert_allclose(found, np.linalg.inv(positive), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_the_reference_has_the_moments_of_the_average_unit(full, signed):
    given = units(4, 3, full)
    reference = average_unit(given, signed)
    loc, cov = np.asarray(given.loc), matrices(given)
    mean = 0 * loc[0] if signed else loc.mean(0)
    second = cov.mean(0) + np.einsum("ni,nj->ij", loc, loc) / 4 - np.outer(mean, mean)
    np.testing.assert_allclose(reference.mean, mean, atol=1e-14)
    found = as_matrix(reference.cov)
    wanted = second if full else np.diag(np.diag(second))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("full", [False, True])
def test_divergence_and_products_against_quadrature_over_the_plane(full):
    """sum_i KL(q_i || m), and B_ij = integral of q_i(u) q_j(sign u) / m(u)."""
    given = units(3, 2, full)
    reference = widened(given, average_unit(given))
    line = np.linspace(-11, 11, 600)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    area = (line[1] - line[0]) ** 2
    log_m = scipy.stats.multivariate_normal(reference.mean, as_matrix(reference.cov)).logpdf(grid)
    densities = [
        scipy.stats.multivariate_normal(loc, cov)
        for loc, cov in zip(np.asarray(given.loc), matrices(given), strict=True)
    ]
    logs = [density.logpdf(grid) for density in densities]
    total = sum((np.exp(log_q) * (log_q - log_m)).sum() * area for log_q in logs)
    assert float(divergence_from_reference(given, reference)) == pytest.approx(total, rel=1e-6)
    for sign in (1, -1):
        found = log_products(given, reference, sign)
        for i, j in itertools.product(range(3), repeat=2):
            other = densities[j].logpdf(sign * grid)
            wanted = math.log(np.exp(logs[i] + other - log_m).sum() * area)
            assert float(found[i, j]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("full", [False, True])
def test_the_reference_is_wide_enough_for_one_wide_unit_among_narrow_ones(full):
    given = units(12, 3, full)
    given = given._replace(scale=given.scale.at[0].mul(20.0))
    average = average_unit(given)
    reference = widened(given, average)
    ratios = np.linalg.eigvals(np.linalg.inv(as_matrix(reference.cov)) @ matrices(given)).real
    assert ratios.max() <= WIDEST + 1e-9
    assert np.isfinite(np.asarray(log_products(given, reference))).all()
    not_wide = np.linalg.eigvals(np.linalg.inv(as_matrix(average.cov)) @ matrices(given)).real
    assert not_wide.max() > 2  # there B would be infinite


def layer(given, signed=False):
    n = len(given.loc)
    symmetry = Symmetry((UnitGroup("units", n, (("W", 1),)),), signed)
    loc, scale = {"W": given.loc.T}, {"W": given.scale.T}
    if given.lower is None:
        return MeanField(loc, scale, symmetry)
    return UnitNormal(loc, scale, symmetry, {"units": given.lower})


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("signed", [False, True])
def test_the_lower_bound_is_its_sum_over_permutations(n, signed):
    """sum_i KL(q_i || m) - log of the mean over g of prod_i B_i,g(i), one by one."""
    given = units(n, 2, False, spread=0.3)
    divergence, log_b = divergence_and_products(given, signed)
    b = np.exp(np.asarray(log_b))
    rows = range(n)
    products = [math.prod(b[i, g[i]] for i in rows) for g in itertools.permutations(rows)]
    found, _ = subadditive_bounds(layer(given, signed))
    wanted = max(float(divergence) - math.log(np.mean(products)), 0.0)
    assert float(found) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


NETS = {
    "one layer": MLP([1, 4, 1], "relu"),
    "signed": MLP([1, 3, 1], "tanh", signed=True),
    "deep": MLP([1, 3, 2, 1], "tanh"),
    "deep signed": MLP([1, 2, 2, 1], "tanh", signed=True),
}


def posterior(net, full, spread, seed=0):
    rng = np.random.default_rng(seed)
    loc = {name: jnp.asarray(spread * rng.normal(size=s)) for name, s in net.shapes.items()}
    scale = {
        name: jnp.asarray(0.4 * np.exp(0.5 * rng.normal(size=s))) for name, s in net.shapes.items()
    }
    if not full:
        return MeanField(loc, scale, net.symmetry)
    lower = {}
    for group in net.symmetry.groups:
        n, d = net.symmetry.own_units(loc, group.name).shape
        lower[group.name] = jnp.tril(jnp.asarray(0.8 * rng.normal(size=(n, d, d))), -1)
    return UnitNormal(loc, scale, net.symmetry, lower)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("spread", [0.1, 0.4, 1.5])
def test_the_exact_value_is_between_the_bounds(name, full, spread):
    """I itself is estimated by draws: 4 standard errors of slack."""
    q = posterior(NETS[name], full, spread)
    lower, upper = map(float, subadditive_bounds(q))
    exact = orbit_information(q, "exact", num_samples=2000)
    slack = 4 * exact.std_error + 1e-9
    assert 0 <= lower <= exact.value + slack
    assert exact.value - slack <= upper <= q.symmetry.log_order + 1e-9


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("n", [3, 20])
def test_equal_units_have_no_information_by_either_bound(full, n):
    """All units equal the reference: both ends are 0."""
    one = units(1, 3, full)
    given = jax.tree.map(lambda a: jnp.repeat(a, n, axis=0), one)
    lower, upper = subadditive_bounds(layer(given))
    assert float(upper) == pytest.approx(0, abs=1e-9)
    assert float(lower) == pytest.approx(0, abs=1e-9)


def test_where_many_units_overlap_it_beats_the_pairwise_bounds_on_both_sides():
    """128 units with means from N(0, 1) and standard deviations from 0.3 to 1."""
    rng = np.random.default_rng(0)
    loc = jnp.asarray(rng.normal(size=(128, 3)))
    scale = jnp.asarray(rng.uniform(0.3, 1, size=(128, 3)))
    q = layer(UnitGaussians(loc, scale))
    found, pairs = subadditive_bounds(q), pairwise_bounds(q)
    assert float(found[0]) > 1.2 * float(pairs[0])
    assert float(found[1]) < 0.7 * float(pairs[1])
    assert float(found[1] - found[0]) < 0.15 * float(found[0])
    guided = orbit_information(q, "guided", num_samples=20)
    assert float(found[0]) < guided.upper.value + 4 * guided.upper.std_error
    assert float(found[1]) > guided.lower.value - 4 * guided.lower.std_error


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("spread", [0.1, 1.5])
def test_the_tightest_takes_the_better_end_of_every_layer(name, spread):
    q = posterior(NETS[name], False, spread)
    groups = q.symmetry.groups
    ends = [
        [method.layer_bounds(q, group) for group in groups] for method in (Pairwise, Subadditive)
    ]
    lower = sum(max(float(a[0]), float(b[0])) for a, b in zip(*ends, strict=True))
    upper = sum(min(float(a[1]), float(b[1])) for a, b in zip(*ends, strict=True))
    found = orbit_information(q, "tightest")
    assert found.lower.value == pytest.approx(lower, rel=1e-12)
    assert found.upper.value == pytest.approx(upper, rel=1e-12)
    assert (found.lower.kind, found.upper.kind) == ("lower", "upper")
    trained, _ = Tightest().closed_form(q, Tightest().start(q))
    assert float(trained) <= found.upper.value + 1e-9


def test_single_precision_of_units_that_stand_apart():
    """The diagonal of B is a ratio of huge numbers there; no digits are lost."""
    loc = jnp.array([[10.0, -3.0], [20.0, 4.0], [30.0, 0.5], [40.0, 9.0]])
    given = UnitGaussians(loc, jnp.full(loc.shape, 0.01))
    single = jax.tree.map(lambda a: a.astype(jnp.float32), given)
    divergence, log_b = divergence_and_products(given, False)
    divergence_32, log_b_32 = divergence_and_products(single, False)
    assert log_b_32.dtype == jnp.float32
    assert float(divergence_32) == pytest.approx(float(divergence), rel=1e-5)
    np.testing.assert_allclose(jnp.diagonal(log_b_32), jnp.diagonal(log_b), rtol=1e-5)


def test_single_precision_of_one_wide_unit_among_many():
    """Its variance is hundreds of times the reference's; the 16th power of that would overflow."""
    given = units(600, 2, True)
    given = given._replace(scale=given.scale.at[0].mul(1e4))
    single = jax.tree.map(lambda a: a.astype(jnp.float32), given)
    found = widened(single, average_unit(single)).cov
    wanted = widened(given, average_unit(given)).cov
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
