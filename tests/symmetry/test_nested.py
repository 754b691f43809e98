"""Groups within groups: a left action, of the right order, that leaves attention unchanged."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.symmetry import Nested, Symmetry, UnitGroup

HEADS, FEATURES = 3, 2


def block(head):
    return tuple(head * FEATURES + place for place in range(FEATURES))


def rows(head):
    return tuple((place,) for place in block(head))


def example(families=None, signed=False):
    """Queries and keys share features within a head, values have their own; heads move whole."""
    within = []
    for head in range(HEADS):
        within.append(
            UnitGroup(f"qk{head}", FEATURES, (("q", 1, rows(head)), ("k", 1, rows(head))))
        )
        within.append(UnitGroup(f"v{head}", FEATURES, (("v", 1, rows(head)), ("o", 0, rows(head)))))
    places = tuple(block(head) for head in range(HEADS))
    axes = (("q", 1, places), ("k", 1, places), ("v", 1, places), ("o", 0, places))
    if families is None:
        families = (tuple(f"qk{h}" for h in range(HEADS)), tuple(f"v{h}" for h in range(HEADS)))
    blocks = Symmetry((UnitGroup("heads", HEADS, axes),))
    return Nested(Symmetry(tuple(within), signed), blocks, {"heads": families})


SIGNED = {"unsigned": False, "signed": True, "values signed": ("v0", "v1", "v2")}


def weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"q": (4, 6), "k": (4, 6), "v": (4, 6), "o": (6, 4)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def attention(p, x):
    q, k, v = ((x @ p[n]).reshape(-1, HEADS, FEATURES) for n in "qkv")
    scores = jax.nn.softmax(jnp.einsum("thd,shd->hts", q, k), -1)
    return jnp.einsum("hts,shd->thd", scores, v).reshape(-1, 6) @ p["o"]


def drawn(group, seed):
    return jax.tree.map(lambda a: a[0], group.sample(jax.random.key(seed), 1))


def equal(one, two):
    return all(bool((one[name] == two[name]).all()) for name in one)


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
def test_attention_does_not_change(signed):
    group = example(signed=signed)
    x = np.random.default_rng(1).normal(size=(5, 4))
    assert group.verify(attention, weights(), x, num=20) < 1e-14


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize("seed", range(4))
def test_it_is_a_left_action(seed, signed):
    group, w = example(signed=signed), weights()
    g, h = drawn(group, 2 * seed), drawn(group, 2 * seed + 1)
    assert equal(group.act(group.compose(g, h), w), group.act(g, group.act(h, w)))
    assert equal(group.act(group.inverse(g), group.act(g, w)), w)
    assert equal(group.act(group.identity(), w), w)


def test_batches_compose_one_by_one():
    group, w = example(), weights()
    many, more = group.sample(jax.random.key(0), 5), group.sample(jax.random.key(1), 5)
    act = jax.vmap(group.act, (0, None))
    once = act(group.compose(many, more), w)
    twice = jax.vmap(group.act)(many, act(more, w))
    assert equal(once, twice)


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
def test_aligning_brings_a_copy_back(signed):
    """Random weights and random copies of them: every one is found, by heads and by features."""
    group, w = example(signed=signed), weights()
    copies = jax.vmap(group.act, (0, None))(group.sample(jax.random.key(0), 20), w)
    back = symvi.align(copies, w, group)
    assert all(np.allclose(back[name], w[name]) for name in w)


def test_aligning_never_leads_away():
    group, w = example(), weights()
    draws = jax.vmap(lambda seed: jax.tree.map(lambda a: a + seed, weights(1)))(jnp.arange(3.0))
    before = sum(np.square(draws[n] - w[n]).reshape(3, -1).sum(1) for n in w)
    there = symvi.align(draws, w, group)
    after = sum(np.square(there[n] - w[n]).reshape(3, -1).sum(1) for n in w)
    assert (after <= before + 1e-9).all()
    x = np.random.default_rng(1).normal(size=(5, 4))
    for i in range(3):
        one, two = ({n: v[i] for n, v in some.items()} for some in (draws, there))
        np.testing.assert_allclose(attention(one, x), attention(two, x), atol=1e-10)


def test_the_order_counts_the_different_copies():
    """3! (2!)^3 (2!)^3 = 384, all met by random elements."""
    group, w = example(), weights()
    assert group.order == 384 and group.log_order == pytest.approx(math.log(384))
    copies = jax.vmap(group.act, (0, None))(group.sample(jax.random.key(0), 6000), w)
    flat = np.concatenate([np.asarray(copies[n]).reshape(6000, -1) for n in sorted(copies)], 1)
    assert len(np.unique(flat, axis=0)) == 384


def test_signs_of_units_within_blocks_count():
    """(2^2)^3 for the values only, twice that often for queries and keys too."""
    assert example(signed=SIGNED["values signed"]).order == 384 * 4**3
    assert example(signed=True).order == 384 * 4**6
    assert example(signed=True).flips("v1") and not example(signed=True).flips("heads")


def test_blocks_without_groups_of_their_own_may_share_places():
    """Rows and columns of a grid of units commute."""
    places = tuple((0 + i, 3 + i) for i in range(3))
    product = Symmetry((UnitGroup("places", 3, (("w", 0, places),)),))
    blocks = Symmetry((UnitGroup("groups", 2, (("w", 0, ((0, 1, 2), (3, 4, 5))),)),))
    grid = Nested(product, blocks, {"groups": ()})
    assert grid.order == 12 and "groups: 2 blocks" in repr(grid)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: example((("qk0", "qk2", "qk1"),)), "blocks: expected blocks whose members keep"),
        (lambda: example((("qk0", "qk1"),)), "families: expected one group of the same size"),
        (lambda: example((("qk0", "qk0", "qk1"),)), "families: expected each group in one family"),
        (lambda: example((None,)), "families: expected tuples of names"),
        (lambda: example(3), "families: expected tuples of names"),
        (lambda: example(("qk0", "qk1", "qk2")), "families: expected tuples of names"),
        (
            lambda: example().compose(example().identity(), example().product.identity()),
            "group element: expected",
        ),
        (
            lambda: example().compose(example().identity(), example().sample(jax.random.key(0), 2)),
            "compose: expected elements of one batch shape",
        ),
        (
            lambda: Nested(
                Symmetry(
                    (
                        UnitGroup("g0", 2, (("W", 0, ((0,), (1,))), ("V", 0, ((0,), (1,))))),
                        UnitGroup("g1", 2, (("W", 0, ((2,), (3,))),)),
                    )
                ),
                Symmetry(
                    (
                        UnitGroup(
                            "B",
                            2,
                            (("W", 0, ((0, 1), (2, 3))), ("V", 0, ((0, 1), (2, 3)))),
                        ),
                    )
                ),
                {"B": (("g0", "g1"),)},
            ),
            "families: expected one group of the same size, axes and signs",
        ),
        (lambda: Nested(3, Symmetry(), {}), "product: expected a symvi.Symmetry, got 3"),
        (
            lambda: Nested(Symmetry(), Symmetry((), signed=True), {}),
            "blocks: expected a symvi.Symmetry without signs",
        ),
        (
            lambda: example(signed=("qk0", "v0", "v1", "v2")),
            "families: expected one group of the same size, axes and signs",
        ),
        (lambda: Nested(Symmetry(), Symmetry(), {"a": ()}), r"families: expected the names \[\]"),
        (lambda: example().act(3, weights()), "group element: expected a symvi.symmetry.Element"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
