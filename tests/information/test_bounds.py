"""Bounds of the orbit information that do not saturate: guided, pairwise, Bethe."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symvi import (
    BNN,
    MLP,
    Bounds,
    Gaussian,
    MeanField,
    Symmetry,
    UnitGroup,
    UnitNormal,
    elbo,
    fit,
    orbit_information,
)
from symvi.information import (
    METHODS,
    pairwise_bounds,
    pairwise_objective,
    pointwise_exact,
    pointwise_guided,
)

DRAWS = 200


def units(n, d, signed=False, full=False, separation=1.0, seed=0):
    """n independent Gaussian units of d weights, their means `separation` apart on average."""
    rng = np.random.default_rng(seed)
    group = Symmetry((UnitGroup("units", n, (("u", 0),)),), signed)
    loc = {"u": jnp.asarray(separation * rng.normal(size=(n, d)) / math.sqrt(2 * d))}
    scale = {"u": jnp.asarray(np.exp(0.5 * rng.normal(size=(n, d))))}
    if not full:
        return MeanField(loc, scale, group)
    return UnitNormal(
        loc,
        scale,
        group,
        {"units": jnp.tril(jnp.asarray(rng.normal(size=(n, d, d)) / math.sqrt(d)), -1)},
    )


def brackets(q, key, num_permutations=20):
    """The exact value lies between every pair of bounds, within 3 standard errors."""
    exact = orbit_information(q, "exact", key, num_samples=DRAWS)
    guided = orbit_information(
        q, "guided", key, num_samples=DRAWS, num_permutations=num_permutations
    )
    pairwise = orbit_information(q, "pairwise")
    lower, upper = [guided.lower, pairwise.lower], [guided.upper, pairwise.upper]
    if len(q.symmetry.groups) == 1:
        upper.append(orbit_information(q, "bethe", key, num_samples=DRAWS))
    for bound in lower:
        assert bound.kind == "lower"
        assert bound.value <= exact.value + 3 * math.hypot(bound.std_error, exact.std_error) + 1e-6
    for bound in upper:
        assert bound.kind == "upper"
        assert exact.value <= bound.value + 3 * math.hypot(bound.std_error, exact.std_error) + 1e-6
    assert -1e-9 <= pairwise.lower.value <= pairwise.upper.value <= q.symmetry.log_order + 1e-9
    return exact, guided, pairwise


# one shape a row, since each compiles; hypothesis draws the separation and the seed
@pytest.mark.parametrize(
    ("n", "d", "signed", "full"),
    [
        (2, 1, False, False),
        (5, 3, False, False),
        (10, 20, False, False),
        (3, 1, True, False),
        (7, 3, True, False),
        (4, 20, True, False),
        (10, 3, False, True),
        (4, 3, True, True),
    ],
)
def test_exact_lies_between_all_bounds(n, d, signed, full):
    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(st.floats(0, 6), st.integers(0, 10**6))
    def check(separation, seed):
        brackets(units(n, d, signed, full, separation, seed), jax.random.key(seed))

    check()


@pytest.mark.parametrize(
    ("widths", "signed", "full"),
    [
        ([2, 3, 3, 1], False, False),
        ([1, 2, 2, 2, 1], False, False),
        ([1, 2, 2, 1], True, False),
        ([1, 3, 2, 1], False, True),
        ([1, 2, 2, 1], True, True),
    ],
)
def test_deep_nets_against_enumeration(widths, signed, full):
    net = MLP(widths, "tanh", signed=signed)
    for seed, scale in enumerate((1.5, 0.6, 0.2)):
        rng = np.random.default_rng(seed)
        loc = {k: jnp.asarray(rng.normal(size=s)) for k, s in net.shapes.items()}
        lower = {
            g.name: jnp.tril(
                jnp.asarray(
                    0.5
                    * rng.normal(size=(g.size, *2 * net.symmetry.own_units(loc, g.name).shape[1:]))
                ),
                -1,
            )
            for g in net.symmetry.groups
        }
        q = MeanField(loc, {k: jnp.full(v.shape, scale) for k, v in loc.items()}, net.symmetry)
        exact, guided, _ = brackets(
            UnitNormal(q.loc, q.scale, q.symmetry, lower) if full else q,
            jax.random.key(seed),
            num_permutations=60,
        )
        assert guided.upper.value - guided.lower.value < 0.3
        if scale == 0.2:
            assert exact.value > 0.9 * net.symmetry.log_order


def test_chain_bound_exceeds_the_last_layer_alone_and_subgroups_stay_below():
    net = MLP([2, 3, 3, 1], "tanh")
    loc = {
        k: jnp.asarray(0.7 * np.random.default_rng(3).normal(size=s)) for k, s in net.shapes.items()
    }
    q = MeanField(loc, {k: jnp.full(v.shape, 0.5) for k, v in loc.items()}, net.symmetry)
    chain = orbit_information(q, "pairwise").lower.value
    for group in net.symmetry.groups:
        alone = MeanField(q.loc, q.scale, Symmetry((group,)))  # a subgroup: a lower bound too
        assert (
            orbit_information(alone, "pairwise").lower.value
            < orbit_information(q, key=jax.random.key(0), num_samples=DRAWS).value
        )
    own = Symmetry((net.symmetry.groups[1],))
    assert orbit_information(MeanField(q.loc, q.scale, own), "pairwise").lower.value < chain


def identical(n, d, p, signed=False):
    """p of n units are prior-like and identical, the others far apart."""
    rng = np.random.default_rng(0)
    loc, scale = 3 * rng.normal(size=(n, d)), np.full((n, d), 0.3)
    loc[:p], scale[:p] = 0.0, 1.0
    return MeanField(
        {"u": jnp.asarray(loc)},
        {"u": jnp.asarray(scale)},
        Symmetry((UnitGroup("units", n, (("u", 0),)),), signed),
    )


@pytest.mark.parametrize(
    ("n", "p", "num_permutations", "width"), [(30, 17, 50, 0.3), (60, 30, 500, 1.5)]
)
def test_guided_interval_contains_identical_units(n, p, num_permutations, width):
    q = identical(n, 75, p)
    expected = math.lgamma(n + 1) - math.lgamma(p + 1)  # I = log n! - log p!
    found = orbit_information(q, "guided", num_samples=20, num_permutations=num_permutations)
    assert isinstance(found, Bounds)
    assert (
        found.lower.value - 3 * found.lower.std_error - 1e-3
        <= expected
        <= found.upper.value + 3 * found.upper.std_error + 1e-3
    )
    assert found.upper.value - found.lower.value <= width
    pairwise = orbit_information(q, "pairwise")
    assert pairwise.lower.value <= expected <= pairwise.upper.value
    assert orbit_information(q, "infonce", num_samples=20).value == pytest.approx(
        math.log(20), abs=1e-3
    )


def test_all_equal_and_all_separated():
    same = MeanField(
        {"u": jnp.ones((20, 3))},
        {"u": jnp.ones((20, 3))},
        Symmetry((UnitGroup("units", 20, (("u", 0),)),)),
    )
    found = orbit_information(same, "guided", num_samples=5)
    assert found.lower.value == pytest.approx(0, abs=1e-9) and found.upper.value == pytest.approx(
        0, abs=1e-9
    )
    assert orbit_information(same, "pairwise").lower.value == 0
    apart = identical(20, 75, 1, signed=True)
    found, pairwise = (
        orbit_information(apart, "guided", num_samples=5),
        orbit_information(apart, "pairwise"),
    )
    # 19 units are told apart with their signs; at 0 the pruned one's sign means nothing
    expected = math.lgamma(21) + 19 * math.log(2)
    for value in (*(b.value for b in found), pairwise.lower.value):
        assert value == pytest.approx(expected, abs=0.02)


def test_guided_with_one_permutation_is_still_two_bounds():
    q = units(4, 3, separation=2.0)
    brackets(q, jax.random.key(0), num_permutations=1)


DEEP_SIGNED = MLP([1, 2, 2, 1], "tanh", signed=True)


@pytest.mark.parametrize("num_permutations", [1, 5])
@pytest.mark.parametrize("deep", [False, True])
def test_the_upper_bound_estimates_the_density_without_bias(num_permutations, deep):
    # the balance heuristic: the mean of sum_k v r / (K r + [g = e]) is q_G(w)
    q = units(3, 2, separation=1.0)
    if deep:
        loc = DEEP_SIGNED.init(jax.random.key(3))
        q = MeanField(
            loc, jax.tree.map(lambda a: jnp.full(a.shape, 0.7), loc), DEEP_SIGNED.symmetry
        )
    w = {k: v[0] for k, v in q.sample(jax.random.key(0), 1).items()}
    keys = jax.random.split(jax.random.key(1), 4000)
    values = np.asarray(
        jax.jit(jax.vmap(lambda k: pointwise_guided(q, w, k, num_permutations)[1]))(keys)
    )
    ratios = np.exp(float(pointwise_exact(q, w)) - values)  # estimates of q_G(w), over q_G(w)
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / math.sqrt(4000) + 1e-12
    assert values.max() <= q.symmetry.log_order + math.log(num_permutations + 1) + 1e-9


@pytest.mark.parametrize("n", [6, 12])
def test_objective_is_the_pairwise_lower_bound(n):
    q = units(n, 3, separation=3.0)
    value, messages = pairwise_objective(q)
    certified = float(pairwise_bounds(q)[0])
    if n <= 8:
        assert messages == {"units": ()}  # an exact permanent has no messages to start from
        assert float(value) == pytest.approx(certified, abs=1e-9)
    else:
        assert (
            certified - 1 <= float(value) <= certified
        )  # the exact permanent is certified here, an upper bound of it is trained with
        again, _ = pairwise_objective(q, messages, 2)
        assert float(again) == pytest.approx(float(value), abs=1e-4)
    slope = jax.grad(lambda q: pairwise_objective(q)[0])(q).loc["u"]
    step = 1e-5 * jax.random.normal(jax.random.key(0), slope.shape)
    up, down = (
        pairwise_objective(
            MeanField({"u": q.loc["u"] + s * step}, q.scale, q.symmetry), max_iter=2000
        )[0]
        for s in (1, -1)
    )
    assert float((slope * step).sum()) == pytest.approx(float(up - down) / 2, rel=1e-2, abs=1e-9)


# the fit

X = np.linspace(-1, 1, 12)[:, None]
Y = np.sin(2 * X)
NET = BNN(MLP([1, 9, 1], "tanh"), Gaussian(0.3))
QUICK = {
    "steps": 60,
    "restarts": 2,
    "num_samples": 4,
    "num_permutations": 4,
    "initial_scale": 0.4,
    "learning_rate": 0.02,
    "progress": False,
}


@pytest.mark.parametrize(
    ("symmetrize", "kind"), [("guided", "lower"), ("pairwise", "lower"), ("bethe", "upper")]
)
def test_training_with_a_bound_raises_it(symmetrize, kind):
    plain, bound = (
        fit(NET, X, Y, symmetrize=s, **QUICK, monitor_every=20) for s in (None, symmetrize)
    )
    assert [e.kind for e in bound.elbos] == [kind] * 2
    assert (bound.losses[:, -10:].mean(1) < bound.losses[:, :10].mean(1) - 1).all()
    assert (
        bound.monitor.lower[-1] > plain.monitor.lower[-1]
    ).all()  # the same starts and draws, and a pull apart
    assert bound.posterior.base in bound.posteriors


def test_monitor_records_certified_bounds_and_changes_nothing():
    bare, seen = (fit(NET, X, Y, **QUICK, monitor_every=m) for m in (None, 20))
    assert bare.monitor is None
    np.testing.assert_allclose(bare.losses, seen.losses, rtol=1e-9)
    m = seen.monitor
    assert m.steps.tolist() == [20, 40, 60]
    assert m.elbo.shape == m.lower.shape == m.upper.shape == (3, 2)
    assert (m.lower <= m.upper).all() and (m.upper <= m.log_order + 1e-9).all()
    assert m.log_order == NET.symmetry.log_order
    for r, q in enumerate(seen.posteriors):
        np.testing.assert_allclose((m.lower[-1, r], m.upper[-1, r]), pairwise_bounds(q), rtol=1e-6)
        again = elbo(NET, q, X, Y, num_samples=2000)
        assert abs(m.elbo[-1, r] - again.value) < 5 * again.std_error * math.sqrt(1 + 2000 / 100)


def test_unit_covariance_starts_as_mean_field_and_does_better():
    plain, unit = (
        fit(NET, X, Y, **{**QUICK, "steps": 600}, covariance=c) for c in ("diagonal", "unit")
    )
    np.testing.assert_allclose(plain.losses[:, 0], unit.losses[:, 0], rtol=1e-12)
    assert isinstance(unit.posterior, UnitNormal)
    assert np.mean([e.value for e in unit.elbos]) > np.mean([e.value for e in plain.elbos])
    assert unit.predict(X, num=7).shape == (7, 12, 1)


def test_two_layers_train_with_their_bounds():
    deep = BNN(MLP([1, 3, 9, 1], "tanh"), Gaussian(0.3))
    for symmetrize in ("pairwise", "guided"):
        assert fit(deep, X, Y, symmetrize=symmetrize, **QUICK).kept == (0, 1)


DEEP = BNN(MLP([1, 3, 3, 1], "tanh"), Gaussian(0.3))
DEEP_LOC = DEEP.init(jax.random.key(0))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: orbit_information(units(3, 2), "best"),
            f"method: expected one of {', '.join(map(repr, METHODS))}, got 'best'",
        ),
        (
            lambda: orbit_information(units(3, 2), "guided", num_permutations=0),
            "num_permutations: expected a whole number >= 1, got 0",
        ),
        (
            lambda: orbit_information(units(17, 2), "exact"),
            r"method: expected one hidden layer of n <= 16 .*; use method='pairwise'",
        ),
        (
            lambda: orbit_information(
                MeanField(DEEP_LOC, jax.tree.map(jnp.ones_like, DEEP_LOC), DEEP.symmetry), "bethe"
            ),
            "method: expected one hidden layer for 'bethe' .*use method='pairwise'",
        ),
        (
            lambda: fit(DEEP, X, Y, symmetrize="bethe", **QUICK),
            "symmetrize: expected one hidden layer for 'bethe' .*got 2 unit groups; use",
        ),
        (
            lambda: fit(NET, X, Y, symmetrize="best", **QUICK),
            "symmetrize: expected one of None, 'exact'",
        ),
        (
            lambda: fit(NET, X, Y, covariance="full", **QUICK),
            "covariance: expected one of 'diagonal', 'unit', got 'full'",
        ),
        (
            lambda: fit(NET, X, Y, monitor_every=7, **QUICK),
            "monitor_every: expected a divisor of steps = 60, got 7; pass for example 3",
        ),
        (
            lambda: fit(NET, X, Y, monitor_every=0, **QUICK),
            "monitor_every: expected a whole number >= 1, got 0",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
