"""Units that own several indices of an axis, or a part of it: action, unit vectors, densities."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.information import log_symmetrized
from symvi.symmetry import Axis, Element, swap
from symvi.symmetry.axis import are_apart


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Every test here compiles something small and runs it once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


W = jnp.array
SKIP = symvi.Symmetry(
    (symvi.UnitGroup("a", 3, (("A", 0), ("C", 1, ((1,), (3,), (2,))))),)
)  # C reads [input, hidden], hidden in another order
BLOCKS = symvi.Symmetry(
    (
        symvi.UnitGroup("a", 2, (("A", 0), ("C", 1, ((0, 1, 2), (3, 4, 5))))),
        symvi.UnitGroup("c", 3, (("C", 0), ("D", 1))),
    )
)
PARTS = symvi.Symmetry(
    (
        symvi.UnitGroup("c", 2, (("C", 0), ("D", 1))),
        symvi.UnitGroup("a", 2, (("A", 0), ("C", 1, ((1,), (2,))))),
        symvi.UnitGroup("b", 2, (("B", 0), ("C", 1, ((3,), (4,))))),
    )
)
TWICE = symvi.Symmetry((symvi.UnitGroup("w", 3, (("A", 0), ("W", 0), ("W", 1), ("C", 1))),))
SHAPES = {
    "skip": (SKIP, {"A": (3, 1), "C": (2, 5), "free": (2,)}),
    "blocks": (BLOCKS, {"A": (2, 2), "C": (3, 6), "D": (1, 3)}),
    "parts": (PARTS, {"A": (2, 1), "B": (2, 1), "C": (2, 6), "D": (1, 2)}),
    "twice": (TWICE, {"A": (3, 1), "W": (3, 3), "C": (1, 3)}),
}


def weights(shapes, seed=0):
    return {
        name: jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), shape)
        for i, (name, shape) in enumerate(shapes.items())
    }


def posterior(name, signed=False):
    group, shapes = SHAPES[name]
    return symvi.MeanField(
        weights(shapes),
        jax.tree.map(lambda v: 0.2 + jnp.exp(0.3 * v), weights(shapes, 1)),
        symvi.Symmetry(group.groups, signed),
    )


def element(group, seed):
    return jax.tree.map(lambda a: a[0], group.sample(jax.random.key(seed), 1))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_left_action(name, signed):
    group, w = symvi.Symmetry(SHAPES[name][0].groups, signed), weights(SHAPES[name][1])
    g, h = element(group, 1), element(group, 2)
    for a, b in (
        (group.act(group.compose(g, h), w), group.act(g, group.act(h, w))),
        (group.act(group.inverse(g), group.act(g, w)), w),
        (group.act(group.identity(), w), w),
    ):
        assert all((a[k] == b[k]).all() for k in w)


def test_a_unit_takes_its_places_along():
    moved = SKIP.act(
        Element({"a": W([2, 0, 1])}, {}),
        {"A": W([[1.0], [2.0], [3.0]]), "C": W([[0.0, 10.0, 30.0, 20.0, 9.0]])},
    )
    np.testing.assert_array_equal(moved["A"][:, 0], [2.0, 3.0, 1.0])
    np.testing.assert_array_equal(moved["C"], [[0.0, 20.0, 10.0, 30.0, 9.0]])
    flat = symvi.Symmetry((BLOCKS.groups[0],)).act(
        Element({"a": W([1, 0])}, {}),
        {"A": W([[1.0, 1.0], [2.0, 2.0]]), "C": jnp.arange(6.0)[None]},
    )
    np.testing.assert_array_equal(flat["C"], [[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]])


def test_signs_of_a_weight_on_both_axes():
    """s_i W_ij s_j, moved to g(i), g(j)."""
    group = symvi.Symmetry(TWICE.groups, True)
    w, perm, sign = weights(SHAPES["twice"][1])["W"], np.array([2, 0, 1]), np.array([1, -1, -1])
    moved = group.act(
        Element({"w": W(perm)}, {"w": W(sign)}),
        {"A": jnp.ones((3, 1)), "W": w, "C": jnp.ones((1, 3))},
    )["W"]
    np.testing.assert_array_equal(moved[perm[:, None], perm], sign[:, None] * w * sign)


@pytest.mark.parametrize("name", ["skip", "blocks", "parts"])
def test_own_units_and_rest_hold_every_weight_once(name):
    group, shapes = SHAPES[name]
    sizes = np.cumsum([0] + [int(np.prod(s)) for s in shapes.values()])
    numbers = {
        k: jnp.arange(a, b).reshape(s)
        for (k, s), a, b in zip(shapes.items(), sizes, sizes[1:], strict=False)
    }
    pieces = [group.own_units(numbers, g.name) for g in group.groups] + list(
        group.rest(numbers).values()
    )
    assert sorted(np.concatenate([np.ravel(p) for p in pieces])) == list(range(sizes[-1]))
    back = {k: jnp.zeros(s, int) for k, s in shapes.items()}
    for g in group.groups:
        back = group.with_own_units(back, group.own_units(numbers, g.name), g.name)
        units = group.units(group.act(swap(group, 0, 1, g.name), numbers), g.name)
        np.testing.assert_array_equal(units[:2], group.units(numbers, g.name)[jnp.array([1, 0])])
    unmoved = np.concatenate([np.ravel(v) for v in group.rest(numbers).values()] or [[]])
    assert all(np.isin(numbers[k], unmoved)[back[k] != numbers[k]].all() for k in back)


STRIDED = symvi.Symmetry((symvi.UnitGroup("s", 2, (("A", 0), ("C", 1, ((0, 3), (4, 1))))),))
STRIDED_SHAPES = {"A": (2, 1), "C": (2, 6)}


def test_units_that_own_several_places_outright():
    """No other group moves C: a unit owns all entries at its k = 2 places."""
    w = weights(STRIDED_SHAPES)
    units = STRIDED.own_units(w)
    expected = [[w["A"][0, 0], *w["C"][:, 0], *w["C"][:, 3]]]
    expected += [[w["A"][1, 0], *w["C"][:, 4], *w["C"][:, 1]]]
    np.testing.assert_array_equal(units, np.array(expected))
    back = STRIDED.with_own_units(jax.tree.map(jnp.zeros_like, w), units)
    unmoved = jax.tree.map(jnp.zeros_like, w) | {"C": w["C"].at[:, W([2, 5])].set(0.0)}
    np.testing.assert_array_equal(back["C"], unmoved["C"])
    np.testing.assert_array_equal(back["A"], w["A"])
    again = STRIDED.with_own_units(w, units)
    assert all((again[k] == w[k]).all() for k in w)


def test_unit_normal_samples_units_that_own_several_places():
    """The covariance of the draws' units is S (1 + N)(1 + N)^T S."""
    loc, scale = weights(STRIDED_SHAPES), {k: jnp.full(s, 0.5) for k, s in STRIDED_SHAPES.items()}
    lower = jnp.tril(0.5 * jnp.ones((2, 5, 5)), -1)
    q = symvi.UnitNormal(loc, scale, STRIDED, {"s": lower})
    draws = q.sample(jax.random.key(0), 20_000)
    units = np.asarray(jax.vmap(STRIDED.own_units)(draws))
    factor = 0.5 * (np.eye(5) + np.asarray(lower))
    for i in range(2):
        covariance = np.cov(units[:, i], rowvar=False)
        np.testing.assert_allclose(covariance, factor[i] @ factor[i].T, atol=0.06)
    np.testing.assert_allclose(np.std(draws["C"][:, :, 2], axis=0), 0.5, rtol=0.05)


AXES = [Axis("w", 1), Axis("w", 1, ((2,), (0,), (1,))), Axis("w", 1, ((0, 2), (3, 1)))]


@pytest.mark.parametrize("axis", AXES, ids=["whole", "in another order", "two places a unit"])
def test_rows_put_and_move_say_the_same(axis):
    value = jnp.arange(24.0).reshape(2, 4, 3)[:, : 3 if axis.whole else 4]
    size = 3 if axis.whole else len(axis.places)
    rows, back = axis.rows(value), np.roll(np.arange(size), 1)
    np.testing.assert_array_equal(axis.rows(np.asarray(value)), rows)
    np.testing.assert_array_equal(axis.put(value, rows), value)
    np.testing.assert_array_equal(axis.move(value, jnp.array(back)), axis.put(value, rows[back]))
    marked = np.zeros(value.shape, bool)
    axis.mark(marked, True)
    assert sorted(value[marked]) == sorted(np.ravel(rows))
    for i, indices in enumerate(axis.indices(size)):
        np.testing.assert_array_equal(np.moveaxis(value[:, indices], 1, 0).ravel(), rows[i])


@pytest.mark.parametrize("axis", AXES, ids=["whole", "in another order", "two places a unit"])
def test_an_axis_says_what_does_not_fit(axis):
    size = 3 if axis.whole else len(axis.places)
    least = 3 if axis.whole else 1 + max(map(max, axis.places))
    assert axis.misfit((9, least), size) is None
    assert axis.misfit((9, least - 1), size) == f"size {'' if axis.whole else '>= '}{least}"
    assert axis.misfit((9,), size) is not None
    assert (axis.misfit((9, least + 1), size) is None) == (not axis.whole)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_symmetrized_density_is_the_mean_over_the_group(name, signed):
    q = posterior(name, signed)
    w = weights(SHAPES[name][1], 5)
    copies = jax.vmap(lambda g: q.log_prob(q.symmetry.act(g, w)))(q.symmetry.elements())
    assert float(log_symmetrized(q, w)) == pytest.approx(
        np.logaddexp.reduce(copies) - np.log(len(copies)), rel=1e-12
    )


@pytest.mark.parametrize("name", ["skip", "blocks", "parts"])
def test_bounds_hold_the_exact_information(name):
    q = posterior(name)
    exact = symvi.orbit_information(q, num_samples=4000)
    for method in ("pairwise", "guided"):
        lower, upper = symvi.orbit_information(q, method, num_samples=1000, num_permutations=8)
        assert (
            lower.value - 4 * (lower.std_error + exact.std_error)
            <= exact.value
            <= upper.value + 4 * (upper.std_error + exact.std_error)
        )


def test_unit_covariances_keep_weights_moved_in_part():
    for name in ("skip", "blocks", "parts"):
        q = posterior(name)
        plain = symvi.UnitNormal(q.loc, q.scale, q.symmetry)
        w = weights(SHAPES[name][1], 7)
        assert float(plain.log_prob(w)) == pytest.approx(float(q.log_prob(w)), rel=1e-12)
        lower = {
            g.name: jnp.tril(
                jnp.ones((g.size, *2 * q.symmetry.own_units(q.loc, g.name).shape[1:])), -1
            )
            for g in q.symmetry.groups
        }
        mixed = symvi.UnitNormal(q.loc, q.scale, q.symmetry, lower)
        draws = mixed.sample(jax.random.key(0), 4000)
        assert float(-mixed.log_prob(draws).mean()) == pytest.approx(float(q.entropy()), abs=0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.symmetry.units(q.loc),
        lambda q: q.symmetry.own_units(q.loc),
        lambda q: q.symmetry.with_own_units(q.loc, jnp.ones((3, 1))),
        lambda q: symvi.orbit_information(q, "guided"),
        lambda q: symvi.orbit_information(q, "pairwise"),
        lambda q: symvi.orbit_information(q, "bethe"),
        lambda q: symvi.UnitNormal(q.loc, q.scale, q.symmetry, {"w": jnp.zeros((3, 2, 2))}),
    ],
)
def test_units_of_a_weight_moved_on_both_axes_are_refused(call):
    with pytest.raises(
        ValueError,
        match=r"group 'w': expected each parameter on one axis.*got 'W' on two axes.*"
        "use method or symmetrize 'infonce'",
    ):
        call(posterior("twice"))


def test_infonce_and_exact_work_for_a_weight_moved_on_both_axes():
    q = posterior("twice")
    exact, infonce = symvi.orbit_information(q), symvi.orbit_information(q, "infonce")
    assert 0 < infonce.value - 3 * infonce.std_error < exact.value < q.symmetry.log_order


def test_prior_must_be_equal_over_places():
    class Net:
        widths, symmetry, shapes = (1, 2), SKIP, SHAPES["skip"][1]
        init = apply = None

    scale = dict.fromkeys(Net.shapes, 1.0)
    symvi.BNN(Net(), symvi.Gaussian(0.1), {**scale, "C": np.array([5.0, 1.0, 1.0, 1.0, 7.0])})
    with pytest.raises(ValueError, match=r"prior_scale\['C'\]: expected a prior invariant"):
        symvi.BNN(Net(), symvi.Gaussian(0.1), {**scale, "C": np.array([5.0, 1.0, 2.0, 1.0, 7.0])})


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.UnitGroup("a", 2, (("C", 0, ((0,),)),)),
            "group 'a': expected places of 'C' as 2 rows, got 1 rows; list the indices",
        ),
        (
            lambda: symvi.UnitGroup("a", 2, (("C", 0, ((0, 1), (2,))),)),
            "group 'a': places of 'C': expected rows of equal length, no index twice, got .*; list",
        ),
        (lambda: symvi.UnitGroup("a", 2, (("C", 0, ((0,), (0,))),)), "no index twice"),
        (lambda: Axis("C", 0, 3), "places of 'C': expected rows of equal length, .*, got 3; list"),
        (lambda: Axis("C", 0, ((-1,),)), "places of 'C': expected rows of equal length"),
        (lambda: Axis("C", 0, ()), "places of 'C': expected rows of equal length"),
        (
            lambda: SKIP.act(SKIP.identity(), {"A": jnp.ones((3, 1)), "C": jnp.ones((2, 3))}),
            r"params\['C'\]: expected size >= 4 along axis 1 for the units 'a', "
            r"got \(2, 3\); pass weights",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_axes_are_apart_as_pairs_say():
    """One pass over all indices is what `meets` says of each pair."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(200):
        num, size = rng.integers(1, 4), int(rng.integers(1, 3))
        entries = []
        for _ in range(num):
            rows = rng.choice(12, size=(2, size), replace=False).tolist()
            entries.append(Axis("w", 0, tuple(map(tuple, rows))))
        if rng.random() < 0.1:
            entries.append(Axis("w", 0))
        apart = not any(a.meets(b) for a, b in combinations(entries, 2))
        assert are_apart(entries) == apart
        verdicts.add((len(entries), apart))
    assert {(1, True), (2, True), (2, False), (3, True), (3, False)} <= verdicts
