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
from symvi.symmetry import Element, swap
from symvi.symmetry.axis import permuted

X = np.linspace(-1, 1, 6).reshape(3, 2)
NETS = {
    "plain": symvi.MLP([2, 4, 1], "relu"),
    "signed": symvi.MLP([2, 4, 1], "tanh", signed=True),
    "deep": symvi.MLP([1, 3, 4, 2], "gelu"),
    "deep signed": symvi.MLP([1, 3, 2, 1], "erf", signed=True),
    "fixed output": symvi.MLP([3, 4, 1], "relu", bias=False, fixed_output=1.0),
    "first layer signed": symvi.find_symmetry(
        lambda p, x: jax.nn.relu(jnp.tanh(x @ p["a"]) @ p["b"]) @ p["c"],
        {"a": np.ones((2, 3)), "b": np.ones((3, 2)), "c": np.ones((2, 1))},
        X,
        signed=True,
    ),
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
    g = Element({"hidden1": jnp.array([2, 0, 1])}, {"hidden1": jnp.array([1, -1, 1])})
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
    "net",
    [
        symvi.MLP([1, 3, 1], "tanh", signed=True),
        symvi.MLP([1, 2, 3, 1], "relu"),
        NETS["first layer signed"],
    ],
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


def test_signs_of_some_groups():
    """2^3 3! for the units of tanh, 2! for those of ReLU."""
    group = NETS["first layer signed"].symmetry
    assert group.signed == ("a",) and group.order == 48 * 2
    assert group.flips("a") and not group.flips("b")
    assert set(group.identity().signs) == {"a"} == set(group.sample(jax.random.key(0), 2).signs)
    assert repr(group) == "Symmetry(a: 3 units with signs, b: 2 units)"
    renamed = group.rename("net.")
    assert renamed.signed == ("net.a",)
    other = symvi.Symmetry((UNITS,), True)
    assert (renamed + other).signed == ("net.a", UNITS.name)
    assert symvi.Symmetry(group.groups, ("b", "a")).signed is True
    assert symvi.Symmetry(group.groups, ()).signed is False


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
    moved = group.units(group.act(swap(group, 0, 2), w))
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
            lambda g, w: g.act(Element({"hidden1": jnp.arange(3)}, {}), w),
            r"group element: expected a permutation of shape \(4,\).*got \(3,\); draw one",
        ),
        (
            lambda g, w: g.act(Element({}, {}), w),
            r"group element: expected a permutation .*got none",
        ),
        (
            lambda g, w: g.act(Element({"hidden1": jnp.array([0, 0, 1, 2])}, {}), w),
            r"expected each of 0..3 once for 'hidden1', got \[0, 0, 1, 2\]; pass a permutation",
        ),
        (
            lambda g, w: symvi.Symmetry(g.groups, True).act(g.identity(), w),
            r"expected signs for \['hidden1'\], got none; take elements from this signed group",
        ),
        (
            lambda g, w: g.act(symvi.Symmetry(g.groups, True).identity(), w),
            r"expected no signs, got \['hidden1'\]; take elements from this unsigned group",
        ),
        (
            lambda g, w: g.act({"hidden1": jnp.arange(4)}, w),
            r"group element: expected a symvi.symmetry.Element, got .*; draw one with sample",
        ),
        (
            lambda g, w: g.act(g.sample(jax.random.key(0), 2), w),
            r"group element: expected one element, got a batch of shape \(2,\); index it, or use",
        ),
        (
            lambda g, w: g.act(symvi.MLP([1, 4, 2, 1]).symmetry.identity(), w),
            r"group element: expected the names \['hidden1'\], got \['hidden1', 'hidden2'\]; take",
        ),
        (
            lambda g, w: g.compose(g.identity(), symvi.MLP([1, 3, 1]).symmetry.identity()),
            r"expected a permutation of shape \(4,\) for 'hidden1', got \(3,\); draw one",
        ),
        (
            lambda g, w: g.compose(g.sample(jax.random.key(0), 2), g.identity()),
            r"compose: expected elements of one batch shape, got \(2,\) and \(\); use jax.vmap",
        ),
        (
            lambda g, w: g.inverse(symvi.MLP([1, 3, 1]).symmetry.identity()),
            r"expected a permutation of shape \(4,\) for 'hidden1', got \(3,\); draw one",
        ),
        (
            lambda g, w: g.act(g.identity(), {"W1": w["W1"]}),
            r"params\['b1'\]: expected size 4 along axis 0 for the units .hidden1., "
            "got no such parameter; pass weights",
        ),
        (
            lambda g, w: g.act(g.identity(), {**w, "b1": jnp.ones(3)}),
            r"params\['b1'\]: expected size 4 along axis 0 for the units .hidden1., got \(3,\)",
        ),
        (
            lambda g, w: g.act(g.identity(), {**w, "b1": ["a"] * 4}),
            r"params\['b1'\]: expected an array of numbers, got .*; ",
        ),
        (
            lambda g, w: g.units(list(w.values())),
            r"params: expected a dict of named arrays, got .*; pass a dict, as net.init",
        ),
        (
            lambda g, w: g.with_own_units(w, jnp.ones((4, 3))),
            r"units: expected shape \(4, 4\), got an array of .*; change what own_units returns",
        ),
        (lambda g, w: g.rest(None), r"params: expected a dict of named arrays, got None; pass"),
        (
            lambda g, w: g.sample(jax.random.key(0), 0),
            "num: expected a whole number >= 1, got 0; pass",
        ),
        (lambda g, w: g.sample(3, 1), "key: expected one JAX key, got 3; pass for example"),
        (lambda g, w: g.sample(None, 1), "key: expected one JAX key, got None; pass for example"),
        (
            lambda g, w: g.group("hidden9"),
            r"group: expected one of \['hidden1'\], got 'hidden9'; name one",
        ),
        (lambda g, w: g.group(["hidden1"]), r"group: expected one of .*, got \['hidden1'\]; name"),
        (lambda g, w: swap(g, 0, 4), r"swap: expected two units in 0..3, got 4; count units"),
        (lambda g, w: swap(g, 0.0, 1), r"swap: expected two units in 0..3, got 0.0; count units"),
        (
            lambda g, w: symvi.MLP([1, 9, 1]).symmetry.elements(),
            r"elements: expected a group of at most 100000 elements, got log .*use sample",
        ),
        (lambda g, w: g.verify(None, w, X), r"apply: expected a function \(params, x\), got None"),
        (
            lambda g, w: g.verify(lambda w, x: jnp.nan * x, w, X),
            r"apply\(params, x\): expected finite outputs, got NaN or infinity; look for diverged",
        ),
        (
            lambda g, w: g.verify(NETS["plain"].apply, w, X, tolerance=0),
            "tolerance: expected a positive finite number, got 0; pass",
        ),
        (
            lambda g, w: g.verify(NETS["plain"].apply, w, X, num=0),
            "num: expected a whole number >= 1, got 0; pass",
        ),
        (lambda g, w: g.rename(3), "prefix: expected a text, got 3; pass for example"),
        (
            lambda g, w: g + g,
            r"groups: expected groups of different names, got \['hidden1', 'hidden1'\]; name them",
        ),
        (
            lambda g, w: symvi.Symmetry(g.groups, ("hidden1", "hidden7")),
            r"signed: expected True, False or a tuple of names of \['hidden1'\], got",
        ),
        (
            lambda g, w: symvi.Symmetry(g.groups, 1),
            "signed: expected True, False or a tuple of names of",
        ),
    ],
)
def test_bad_input(call, match):
    net = NETS["plain"]
    with pytest.raises(ValueError, match=match):
        call(net.symmetry, net.init(jax.random.key(0)))


UNITS = symvi.UnitGroup("a", 2, (("W", 0),))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: symvi.Symmetry((UNITS, UNITS)),
            r"groups: expected groups of different names, got \['a', 'a'\]; name them apart",
        ),
        (
            lambda: symvi.Symmetry((UNITS, symvi.UnitGroup("b", 3, (("W", 0),)))),
            r"groups: expected units of 'a' and 'b' at indices of their own, got the same ones on "
            "axis 0 of 'W'; correct the axes",
        ),
        (
            lambda: symvi.Symmetry(
                (
                    symvi.UnitGroup("a", 2, (("W", 0, ((0,), (1,))),)),
                    symvi.UnitGroup("b", 2, (("W", 0, ((2,), (1,))),)),
                )
            ),
            "got the same ones on axis 0 of 'W'",
        ),
        (lambda: symvi.Symmetry(UNITS), r"groups: expected a tuple of UnitGroups, got UnitGroup"),
        (lambda: symvi.Symmetry(("a",)), r"groups: expected a tuple of UnitGroups, got 'a'; pass"),
        (lambda: symvi.Symmetry((UNITS,), "yes"), "signed: expected True, False or a tuple of"),
        (lambda: symvi.UnitGroup(3, 2, (("W", 0),)), "name: expected a text, got 3; pass"),
        (
            lambda: symvi.UnitGroup("a", 0, (("W", 0),)),
            "size of group 'a': expected a whole number >= 1, got 0",
        ),
        (
            lambda: symvi.UnitGroup("a", 2.0, (("W", 0),)),
            "size of group 'a': expected a whole number >= 1, got 2.0",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, ()),
            r"axes of group 'a': expected at least one \(parameter, axis\), got \(\); pass",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, ("W", 0)),
            r"axes of group 'a': expected entries \(parameter, axis\) or .*, got 'W'; pass",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, (("W", -1),)),
            "group 'a': axis of 'W': expected an int >= 0, got -1; count axes from 0",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, ((0, "W"),)),
            "group 'a': axes: expected a parameter's name first, got 0; pass for example",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, (("W", 0), ("W", 0))),
            "group 'a': expected each axis of a parameter once, got axis 0 of 'W' twice; list all",
        ),
        (
            lambda: Element({"a": [0, 0]}),
            r"group element: expected each of 0..1 once for 'a', got \[0, 0\]; pass a permutation",
        ),
        (
            lambda: Element({"a": [0.0, 1.0]}),
            r"group element: expected whole numbers \(..., n\) for 'a', got float64 of shape",
        ),
        (
            lambda: Element([[0, 1]]),
            r"group element: expected a dict of arrays by group, got \[\[0, 1\]\]; pass",
        ),
        (
            lambda: Element({"a": "01"}),
            r"group element, perms\['a'\]: expected an array of numbers, got",
        ),
        (
            lambda: Element({"a": [0, 1, 2]}, {"a": [3, 0, 1]}),
            r"group element: expected signs \+1 or -1 for 'a', got \[3, 0, 1\]; pass 1 or -1",
        ),
        (
            lambda: Element({"a": [0, 1, 2]}, {"a": [1, 1]}),
            r"group element: expected signs of shape \(3,\) for 'a', .*got \(2,\); pass one sign",
        ),
        (
            lambda: Element({"a": [0, 1]}, {"b": [1, 1]}),
            "group element: expected signs of shape None for 'b'",
        ),
    ],
)
def test_what_is_no_group_is_refused_when_it_is_made(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_numbers_of_numpy_are_numbers():
    group = symvi.UnitGroup("a", np.int64(2), [["W", np.int32(0), np.array([[0], [2]])]])
    assert group == symvi.UnitGroup("a", 2, (("W", 0, ((0,), (2,))),))
    assert hash(symvi.Symmetry([group])) == hash(symvi.Symmetry((group,)))
    assert symvi.MLP(np.array([1, 3, 1])) == symvi.MLP([1, 3, 1])
    g = Element({"a": np.array([1, 0])}, {"a": np.array([1.0, -1.0])})
    assert isinstance(g.perms["a"], jax.Array)


def test_verify_measures_the_change_relative_to_the_outputs():
    """Outputs of size 1e9 change by 1e-7 in rounding; a wrong group is as wrong at any size."""
    net, x = NETS["plain"], jax.random.normal(jax.random.key(2), (7, 2))
    w = net.init(jax.random.key(1))

    def large(params, x):
        return 1e9 * net.apply(params, x)

    assert net.symmetry.verify(large, w, x) < 1e-12
    wrong = symvi.Symmetry((symvi.UnitGroup("hidden1", 4, (("W1", 1),)),))
    changes = [wrong.verify(apply, w, x, tolerance=1e3) for apply in (net.apply, large)]
    size = float(jnp.abs(net.apply(w, x)).max())
    assert changes[0] * max(1.0, size) == pytest.approx(changes[1] * size, rel=1e-9)


def test_renamed_groups_of_two_networks_act_on_one_dict():
    mean, noise = NETS["plain"], symvi.MLP([2, 3, 1], "relu")
    both = mean.symmetry.rename("mean.") + noise.symmetry.rename("noise.")
    assert [g.name for g in both.groups] == ["mean.hidden1", "noise.hidden1"]
    assert both.order == mean.symmetry.order * noise.symmetry.order
    parts = {"mean.": mean.init(jax.random.key(0)), "noise.": noise.init(jax.random.key(1))}
    params = {prefix + k: v for prefix, w in parts.items() for k, v in w.items()}

    def apply(w, x):
        split = {p: {k: w[p + k] for k in own} for p, own in parts.items()}
        return mean.apply(split["mean."], x) + jnp.exp(noise.apply(split["noise."], x))

    assert both.verify(apply, params, X) < 1e-12
    moved = both.act(swap(both, 0, 1, "noise.hidden1"), params)
    assert {k for k in params if (moved[k] != params[k]).any()} == {
        "noise.W1",
        "noise.b1",
        "noise.W2",
    }
    assert symvi.Symmetry() + mean.symmetry == mean.symmetry
    with pytest.raises(ValueError, match=r"other: expected a symvi.Symmetry, got .*; add the sym"):
        both + mean


def test_a_repr_that_fits_a_line():
    assert repr(NETS["deep signed"].symmetry) == (
        "Symmetry(hidden1: 3 units, hidden2: 2 units, signed)"
    )
    assert repr(symvi.Symmetry()) == "Symmetry(no units)"


@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_through_a_permutation_is_that_of_take(axis):
    """Taking by the inverse is the transpose; jnp.take's own transpose scatters."""
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
