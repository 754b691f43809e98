"""The group: axioms, orders, the action, and invariance of network, prior and posterior."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import symvi
from symvi.symmetry import permuted

NETS = {
    "plain": symvi.MLP([2, 4, 1], "relu"),
    "signed": symvi.MLP([2, 4, 1], "tanh", signed=True),
    "deep": symvi.MLP([1, 3, 4, 2], "gelu"),
    "deep signed": symvi.MLP([1, 3, 2, 1], "erf", signed=True),
    "fixed output": symvi.MLP([3, 4, 1], "relu", bias=False, fixed_output=1.0),
}


def element(group, seed):
    return jax.tree.map(lambda a: a[0], group.sample(jax.random.key(seed), 1))


def same(a, b, tolerance=0.0):
    return all(
        jnp.abs(x - y).max() <= tolerance
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seeds=st.tuples(*[st.integers(0, 10_000)] * 3))
def test_group_axioms_and_left_action(name, seeds):
    net = NETS[name]
    group = net.symmetry
    g, h, k = (element(group, s) for s in seeds)
    w = net.init(jax.random.key(seeds[0]))
    assert same(group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)))
    assert same(group.compose(g, group.identity()), g)
    assert same(group.compose(group.identity(), g), g)
    assert same(group.compose(g, group.inverse(g)), group.identity())
    assert same(group.compose(group.inverse(g), g), group.identity())
    assert same(group.act(group.compose(g, h), w), group.act(g, group.act(h, w)))
    assert same(group.act(group.inverse(g), group.act(g, w)), w)
    assert same(group.act(group.identity(), w), w)


def test_unit_i_stands_at_place_g_i():
    group = symvi.MLP([1, 3, 1], "tanh", signed=True).symmetry
    w = {
        "W1": jnp.array([[1.0, 2.0, 3.0]]),
        "b1": jnp.array([10.0, 20.0, 30.0]),
        "W2": jnp.array([[4.0], [5.0], [6.0]]),
        "b2": jnp.array([7.0]),
    }
    g = symvi.Element({"hidden1": jnp.array([2, 0, 1])}, {"hidden1": jnp.array([1, -1, 1])})
    moved = group.act(g, w)
    np.testing.assert_array_equal(moved["W1"], [[-2.0, 3.0, 1.0]])
    np.testing.assert_array_equal(moved["b1"], [-20.0, 30.0, 10.0])
    np.testing.assert_array_equal(moved["W2"][:, 0], [-5.0, 6.0, 4.0])
    np.testing.assert_array_equal(moved["b2"], [7.0])


@pytest.mark.parametrize("name", NETS)
def test_definition_2_1_and_proposition_2_2(name):
    """f, the prior and the posterior are unchanged by the group (Gelberg et al. 2024)."""
    net = NETS[name]
    w = net.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (7, net.widths[0]))
    y = jax.random.normal(jax.random.key(3), (7, net.widths[-1]))
    assert net.symmetry.verify(net.apply, w, x) < 1e-12
    bnn = symvi.BNN(net, symvi.Gaussian(0.5))
    for seed in range(5):
        moved = net.symmetry.act(element(net.symmetry, seed), w)
        assert float(bnn.log_prior(moved)) == pytest.approx(float(bnn.log_prior(w)), abs=1e-11)
        assert float(bnn.log_joint(moved, x, y)) == pytest.approx(
            float(bnn.log_joint(w, x, y)), rel=1e-12
        )


def test_orders():
    assert symvi.MLP([1, 3, 1], "tanh", signed=True).symmetry.order == 48
    assert symvi.MLP([1, 3, 1], "tanh").symmetry.order == 6
    assert symvi.MLP([1, 3, 4, 1], "relu").symmetry.order == 6 * 24
    for net in NETS.values():
        assert net.symmetry.log_order == pytest.approx(math.log(net.symmetry.order), abs=1e-10)


@pytest.mark.parametrize(
    "net", [symvi.MLP([1, 3, 1], "tanh", signed=True), symvi.MLP([1, 2, 3, 1], "relu")]
)
def test_elements_are_all_and_distinct(net):
    group = net.symmetry
    every = group.elements()
    w = net.init(jax.random.key(0))
    copies = np.concatenate(
        [
            np.asarray(v).reshape(group.order, -1)
            for v in jax.vmap(lambda g: group.act(g, w))(every).values()
        ],
        axis=1,
    )
    assert len(np.unique(copies.round(12), axis=0)) == group.order
    assert same(jax.tree.map(lambda a: a[0], every), group.identity())


def test_samples_are_uniform():
    group = symvi.MLP([1, 3, 1], "tanh", signed=True).symmetry
    g = group.sample(jax.random.key(0), 9600)
    code = np.asarray(g.perms["hidden1"]) @ [9, 3, 1] * 8 + (
        np.asarray(g.signs["hidden1"]) > 0
    ) @ np.array([4, 2, 1])
    counts = np.unique(code, return_counts=True)[1]
    assert len(counts) == 48
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_units_rest_and_swap():
    net = symvi.MLP([2, 3, 1], "relu")
    group, w = net.symmetry, net.init(jax.random.key(0))
    units = group.units(w)
    assert units.shape == (3, 2 + 1 + 1)
    assert sorted(group.rest(w)) == ["b2"]
    moved = group.units(group.act(symvi.swap(group, 0, 2), w))
    np.testing.assert_array_equal(moved, units[jnp.array([2, 1, 0])])
    two = symvi.MLP([1, 2, 2, 1], "relu").symmetry
    assert two.group("hidden2").size == 2


def test_a_wrong_group_is_refused():
    net = symvi.MLP([1, 3, 1], "relu")
    wrong = symvi.Symmetry((symvi.UnitGroup("hidden1", 3, (("W1", 1),)),))
    w, x = net.init(jax.random.key(0)), jnp.ones((4, 1))
    with pytest.raises(
        ValueError, match=r"verify: expected outputs unchanged to 1e-10, got .*correct its axes"
    ):
        wrong.verify(net.apply, w, x)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda g, w: g.act(symvi.Element({"hidden1": jnp.arange(3)}, {}), w),
            r"group element: expected a permutation of shape \(4,\).*got \(3,\); draw one",
        ),
        (
            lambda g, w: g.act(symvi.Element({}, {}), w),
            r"group element: expected a permutation .*got none",
        ),
        (
            lambda g, w: g.act(symvi.Element({"hidden1": jnp.array([0, 0, 1, 2])}, {}), w),
            r"expected each of 0..3 once for 'hidden1', got \[0, 0, 1, 2\]; pass a permutation",
        ),
        (
            lambda g, w: symvi.Symmetry(g.groups, True).act(g.identity(), w),
            r"expected signs of shape \(4,\).*take elements from this signed group",
        ),
        (
            lambda g, w: g.act(g.identity(), {"W1": w["W1"]}),
            r"params\['b1'\]: expected size 4 along axis 0 for the units .hidden1., got no such parameter; pass weights",
        ),
        (
            lambda g, w: g.act(g.identity(), {**w, "b1": jnp.ones(3)}),
            r"params\['b1'\]: expected size 4 along axis 0 for the units .hidden1., got \(3,\)",
        ),
        (
            lambda g, w: g.sample(jax.random.key(0), 0),
            "num: expected a whole number >= 1, got 0; pass",
        ),
        (
            lambda g, w: g.group("hidden9"),
            r"group: expected one of \['hidden1'\], got 'hidden9'; name one",
        ),
        (lambda g, w: symvi.swap(g, 0, 4), r"swap: expected two units in 0..3, got 0 and 4; count"),
        (
            lambda g, w: symvi.swap(g, 0.0, 1),
            r"swap: expected two units in 0..3, got 0.0 and 1; count",
        ),
        (
            lambda g, w: symvi.MLP([1, 9, 1]).symmetry.elements(),
            r"elements: expected a group of at most 100000 elements, got log .*use sample",
        ),
    ],
)
def test_bad_input(call, match):
    net = NETS["plain"]
    with pytest.raises(ValueError, match=match):
        call(net.symmetry, net.init(jax.random.key(0)))


@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_through_a_permutation_is_that_of_take(axis):
    """The transpose of taking by a permutation is taking by its inverse; jnp.take's own transpose scatters."""
    value, weight = jax.random.normal(jax.random.key(0), (2, 3, 3))
    sources = jax.vmap(lambda k: jax.random.permutation(k, 3))(
        jax.random.split(jax.random.key(1), 5)
    )
    found, expected = (
        jax.vmap(
            jax.grad(lambda v, source, take=take: (weight * take(v, source, axis) ** 2).sum()),
            (None, 0),
        )(value, sources)
        for take in (permuted, jnp.take)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)
