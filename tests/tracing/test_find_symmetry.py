"""find_symmetry: true symmetries of functions of JAX, and as many as the exact group has."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.tracing.cells import Cells
from symvi.tracing.groups import Family, units
from symvi.tracing.reading import RULES, Traced, blocks_of, read
from symvi.tracing.verify import verify

LAX = jax.lax


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def log_factorials(*sizes):
    return sum(math.lgamma(size + 1) for size in sizes)


def mlp(p, x):
    hidden = jnp.tanh(x @ p["w1"] + p["b1"])
    return jnp.tanh(hidden @ p["w2"] + p["b2"]) @ p["w3"]


def convolutions(p, x):
    h = jax.nn.relu(LAX.conv(x, p["k"], (1, 1), "SAME"))
    window = (1, 1, 2, 2)
    h = LAX.reduce_window(h, -jnp.inf, LAX.max, window, window, "VALID")
    return h.reshape(len(h), -1) @ p["w"]


def attention(p, x):
    """One layer of four heads with four features each, on a stream of sixteen."""
    stream = x @ p["in"]
    q, k, v = jnp.moveaxis((stream @ p["qkv"]).reshape(-1, 3, 4, 4), 1, 0)
    weights = jax.nn.softmax(jnp.einsum("thd,shd->hts", q, k), -1)
    heads = jnp.einsum("hts,shd->thd", weights, v)
    return (stream + heads.reshape(-1, 16) @ p["o"]) @ p["out"]


def lstm(p, x):
    def step(carry, row):
        hidden, cell = carry
        i, f, g, o = jnp.split(row @ p["wi"] + hidden @ p["wh"] + p["b"], 4, -1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    start = jnp.zeros(len(p["wh"]))
    return LAX.scan(step, (start, start), x)[0][0] @ p["out"]


def group_norm(p, x):
    blocks = (x @ p["w"]).reshape(-1, 3, 4)
    blocks = blocks - blocks.mean(-1, keepdims=True)
    blocks = blocks / jnp.sqrt((blocks**2).mean(-1, keepdims=True) + 1e-5)
    return jax.nn.relu(blocks.reshape(-1, 12) * p["s"]) @ p["o"]


def grouped(p, x):
    h = LAX.conv(x, p["k1"], (1, 1), "SAME")
    h = LAX.conv_general_dilated(h, p["k2"], (1, 1), "SAME", feature_group_count=2)
    return h.mean((2, 3)) @ p["o"]


def depthwise(p, x):
    h = LAX.conv(x, p["k1"], (1, 1), "SAME")
    h = LAX.conv_general_dilated(h, p["k2"], (1, 1), "SAME", feature_group_count=4)
    return h.mean((2, 3)) @ p["o"]


def rotary(p, x):
    """A rotation of pairs of features, the two halves of a head."""
    h = (x @ p["w"]).reshape(-1, 2, 6)
    one, two = jnp.split(h, 2, -1)
    angle = jnp.arange(len(x))[:, None, None] * 0.1
    turned = jnp.concatenate(
        [one * jnp.cos(angle) - two * jnp.sin(angle), two * jnp.cos(angle) + one * jnp.sin(angle)],
        -1,
    )
    return jnp.einsum("thd,shd->hts", turned, turned).sum((0, 2))


def embedding(p, x):
    tokens = jnp.array([[0, 2, 1], [3, 3, 0]])
    return (jax.nn.relu(p["table"][tokens].mean(1) + x @ p["w"])) @ p["o"]


def glu(p, x):
    a, b = jnp.split(x @ p["w"] + p["b"], 2, -1)
    return (a * jax.nn.sigmoid(b)) @ p["o"]


def maxout(p, x):
    return (x @ p["w"]).reshape(-1, 4, 3).max(-1) @ p["o"]


def shared(p, x):
    h = jnp.tanh(x @ p["a"])
    for _ in range(3):
        h = jnp.tanh(h @ p["w"])
    return h @ p["c"]


def loop(p, x):
    h = LAX.fori_loop(0, 3, lambda _, h: jnp.tanh(h @ p["w"] + h), x @ p["a"])
    return LAX.cond(x.sum() > 0, lambda h: h, lambda h: -h, h) @ p["c"]


def first_two(p, x):
    h = jax.nn.relu(x @ p["a"])
    return h[:, :2] @ p["c"] + h[:, 2:] @ p["d"]


def flipped(p, x):
    h = x @ p["w"]
    return (h + h[:, ::-1]) @ p["o"]


IMAGE = (1, 2, 6, 6)
# name: function, shapes of parameters and input, log |G| as it is found, and the exact one
ZOO = {
    "mlp": (
        mlp,
        {"w1": (3, 8), "b1": (8,), "w2": (8, 8), "b2": (8,), "w3": (8, 2)},
        (2, 3),
        log_factorials(8, 8),
        log_factorials(8, 8),
    ),
    "convolutions": (
        convolutions,
        {"k": (4, 2, 3, 3), "w": (36, 2)},
        IMAGE,
        log_factorials(4),
        log_factorials(4),
    ),
    "attention": (
        attention,
        {"in": (5, 16), "qkv": (16, 48), "o": (16, 16), "out": (16, 2)},
        (6, 5),
        log_factorials(16, *[4] * 8),
        log_factorials(16, *[4] * 8, 4),
    ),
    "lstm": (
        lstm,
        {"wi": (3, 28), "wh": (7, 28), "b": (28,), "out": (7, 2)},
        (5, 3),
        log_factorials(7),
        log_factorials(7),
    ),
    "group norm": (
        group_norm,
        {"w": (3, 12), "s": (12,), "o": (12, 2)},
        (2, 3),
        log_factorials(4, 4, 4),
        log_factorials(4, 4, 4, 3),
    ),
    "grouped convolution": (
        grouped,
        {"k1": (6, 2, 1, 1), "k2": (8, 3, 3, 3), "o": (8, 2)},
        IMAGE,
        log_factorials(4, 4, 3),
        log_factorials(4, 4, 3, 2),
    ),
    "depthwise convolution": (
        depthwise,
        {"k1": (4, 2, 1, 1), "k2": (4, 1, 3, 3), "o": (4, 2)},
        IMAGE,
        log_factorials(4),
        log_factorials(4),
    ),
    "rotary": (rotary, {"w": (3, 12)}, (4, 3), log_factorials(3, 3), log_factorials(3, 3, 2)),
    "embedding": (
        embedding,
        {"table": (4, 5), "w": (3, 5), "o": (5, 1)},
        (2, 3),
        log_factorials(5),
        log_factorials(5),
    ),
    "gated linear unit": (
        glu,
        {"w": (3, 8), "b": (8,), "o": (4, 1)},
        (2, 3),
        log_factorials(4),
        log_factorials(4),
    ),
    "maxout": (
        maxout,
        {"w": (2, 12), "o": (4, 1)},
        (2, 2),
        log_factorials(3, 3, 3, 3),
        log_factorials(3, 3, 3, 3, 4),
    ),
    "shared layer": (
        shared,
        {"a": (3, 4), "w": (4, 4), "c": (4, 1)},
        (2, 3),
        log_factorials(4),
        log_factorials(4),
    ),
    "loop and branch": (
        loop,
        {"a": (3, 4), "w": (4, 4), "c": (4, 1)},
        (2, 3),
        log_factorials(4),
        log_factorials(4),
    ),
    "slices": (
        first_two,
        {"a": (3, 5), "c": (2, 1), "d": (3, 1)},
        (2, 3),
        log_factorials(2, 3),
        log_factorials(2, 3),
    ),
    "features and their mirror image": (
        flipped,
        {"w": (3, 4), "o": (4, 1)},
        (2, 3),
        0.0,
        math.log(8),
    ),
    "sorted": (
        lambda p, x: jnp.sort(x @ p["w"], -1) @ p["o"],
        {"w": (3, 4), "o": (4, 1)},
        (2, 3),
        log_factorials(4),
        log_factorials(4),
    ),
    "in order": (
        lambda p, x: jnp.cumsum(x @ p["w"], -1) @ p["o"],
        {"w": (3, 4), "o": (4, 1)},
        (2, 3),
        0.0,
        0.0,
    ),
}


def weights(shapes):
    return {name: normal(*shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ZOO)
def test_the_group_and_the_exact_one(name):
    apply, shapes, size, log_order, exact = ZOO[name]
    found = symvi.find_symmetry(apply, weights(shapes), normal(*size), exact=True)
    assert found.symmetry.log_order == pytest.approx(log_order, abs=1e-9), found.notes
    assert found.exact_log_order == pytest.approx(exact, abs=1e-9)
    change = found.nested.verify(found.apply, weights(shapes), normal(*size), num=20)
    assert change < 1e-12
    if name != "features and their mirror image":
        assert found.nested.log_order == pytest.approx(exact, abs=1e-9)
    if exact > log_order:
        assert found.notes


def labelled(apply, shapes, size):
    cells = Cells()
    program = jax.make_jaxpr(apply)(weights(shapes), normal(*size))
    inputs = [Traced(cells.parameter(name, shapes[name])) for name in sorted(shapes)]
    outputs = read(cells, program, [*inputs, Traced(cells.pinned(size))])
    for value in outputs:
        for block in blocks_of(cells, value):
            cells.pin(block.cells)
    return cells


def test_blocks_that_can_be_exchanged_whole_are_found_and_noted():
    """Heads and their features: 4! (4! 4!)^4 elements for each stream of 16."""
    apply, shapes, size, *_ = ZOO["attention"]
    roots, _ = units(labelled(apply, shapes, size))
    sizes = sorted(len(one.roots) for one in Family(labelled(apply, shapes, size), roots).alike)
    assert sizes == [4] * 9 + [16]
    found = symvi.find_symmetry(apply, weights(shapes), normal(*size))
    assert found.notes[0] == (
        "4 blocks of 'qkv' can be exchanged whole too, 3.178 nats that only the nested group holds"
    )
    assert all(note.startswith("besides, ") for note in found.notes[1:])
    assert [len(family) for family in found.nested.families["qkv blocks"]] == [4, 4]


def test_any_tree_of_arrays():
    def apply(params, x):
        (first, second), scale = params["layers"], params["scale"]
        return jax.nn.relu(x["rows"] @ first["w"] + first["b"]) @ second["w"] * scale

    params = {
        "layers": [{"w": normal(3, 4), "b": np.zeros(4)}, {"w": normal(4, 2)}],
        "scale": np.float32(2.0),
        "steps": np.array([1, 2]),
    }
    found = symvi.find_symmetry(apply, params, {"rows": normal(2, 3)})
    (group,) = found.symmetry.groups
    assert group.axes == (("layers.0.w", 1), ("layers.0.b", 0), ("layers.1.w", 0))
    assert found.shapes == {
        "layers.0.b": (4,),
        "layers.0.w": (3, 4),
        "layers.1.w": (4, 2),
        "scale": (),
    }
    named = found.flatten(params)
    back = found.unflatten(named)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert all(map(np.array_equal, jax.tree.leaves(back), jax.tree.leaves(params)))
    (note,) = found.notes
    assert "'layers.0' can be scaled" in note and repr(found).startswith("Found(25 weights")


def test_it_is_a_network_for_a_model():
    apply, shapes, size, *_ = ZOO["mlp"]
    found = symvi.find_symmetry(apply, weights(shapes), normal(*size))
    bnn = symvi.BNN(found, symvi.Gaussian(0.5))
    x, y = normal(6, 3), normal(6, 2)
    fit = symvi.fit(bnn, x, y, symmetrize="pairwise", steps=10, restarts=2, progress=False)
    lower, upper = symvi.orbit_information(fit.posterior, "pairwise")
    assert 0 < lower.value <= upper.value + 1e-9 <= found.symmetry.log_order + 1e-8
    assert fit.predict(x, num=3).shape == (3, 6, 2)


def test_notes_say_which_operation_keeps_units_in_place():
    found = symvi.find_symmetry(ZOO["in order"][0], weights(ZOO["in order"][1]), normal(2, 3))
    (note,) = found.notes
    assert note.startswith("cumsum at test_find_symmetry.py:")
    assert note.endswith("reading an axis in order pins 4 entries")


def test_fixed_data_keeps_apart_what_differs():
    """Constants of a function, a mask of two values and one of all values."""
    shapes = {"w": (3, 5), "o": (5, 1)}
    mask = jnp.array([1.0, 2, 2, 1, 2])

    def two_values(p, x):
        return (jax.nn.relu(x @ p["w"]) * mask) @ p["o"]

    def mixed(p, x):
        return (jax.nn.relu(x @ p["w"]) @ jnp.eye(5)) @ p["o"]

    found = symvi.find_symmetry(two_values, weights(shapes), normal(2, 3))
    assert sorted(g.size for g in found.symmetry.groups) == [2, 3]
    assert symvi.find_symmetry(mixed, weights(shapes), normal(2, 3)).symmetry.groups == ()


def test_a_wrong_rule_is_caught_by_the_verification(monkeypatch):
    apply, shapes, *_ = ZOO["in order"]
    monkeypatch.setitem(RULES, "cumsum", lambda cells, equation, blocks, shapes: blocks[0])
    with pytest.raises(ValueError, match="verify: expected outputs unchanged to 1e-10"):
        symvi.find_symmetry(apply, weights(shapes), normal(2, 3))


def test_an_operation_without_a_rule_pins_what_it_touches():
    def apply(p, x):
        h = x @ p["w"]
        return jax.scipy.linalg.solve(h.T @ h + jnp.eye(4), jnp.tanh(h).T @ jnp.tanh(x @ p["v"]))

    found = symvi.find_symmetry(apply, weights({"w": (3, 4), "v": (3, 2)}), normal(5, 3))
    assert found.symmetry.groups == ()
    assert any("an operation that is not analysed pins" in note for note in found.notes)


def test_many_small_groups_weigh_more_than_their_blocks():
    """Three pairs, (2!)^3 = 8, against 3! exchanges of whole pairs."""

    def apply(p, x):
        blocks = (x @ p["w"]).reshape(-1, 3, 2)
        blocks = blocks / jnp.sqrt((blocks**2).mean(-1, keepdims=True) + 1.0)
        return blocks.reshape(-1, 6) @ p["o"]

    found = symvi.find_symmetry(apply, weights({"w": (3, 6), "o": (6, 1)}), normal(2, 3))
    assert found.symmetry.order == 8 and found.nested.order == 48


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_false_group_of_few_units_is_refused(size):
    """One unit of `size` must stay; elements that move every unit and that exchange two find it."""
    axes = (("w", 0),)
    false = symvi.Symmetry((symvi.UnitGroup("g", size, axes),))
    factors = np.r_[2.0, np.ones(size - 1)]
    for seed in range(50):
        with pytest.raises(ValueError, match="verify: expected outputs unchanged"):
            verify(false, lambda w: w["w"] @ factors, {"w": normal(size)}, seed)


def test_zeros_as_inputs_do_not_blind_the_verification(monkeypatch):
    apply, shapes, *_ = ZOO["in order"]
    monkeypatch.setitem(RULES, "cumsum", lambda cells, equation, blocks, shapes: blocks[0])
    with pytest.raises(ValueError, match="verify: expected outputs unchanged"):
        symvi.find_symmetry(apply, weights(shapes), np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_inputs_of_any_type(dtype):
    """A convolution is strict about types: weights are read in float64, and inputs with them."""
    apply, shapes, size, log_order, _ = ZOO["convolutions"]
    found = symvi.find_symmetry(apply, weights(shapes), jnp.ones(size, dtype))
    assert found.symmetry.log_order == pytest.approx(log_order)


def test_a_cast_within_a_network_is_verified_to_its_rounding():
    def apply(p, x):
        return jax.nn.softmax((x @ p["w"]).astype(jnp.float32)).astype(x.dtype) @ p["o"]

    shapes = {"w": (3, 4), "o": (4, 1)}
    found = symvi.find_symmetry(apply, weights(shapes), normal(2, 3))
    assert found.symmetry.order == 24


def test_two_leaves_of_one_name_are_refused():
    params = {"a": {"b": normal(3, 3)}, "a.b": normal(3, 3)}
    with pytest.raises(
        ValueError, match=r"params: expected leaves of different names, got \['a.b'"
    ):
        symvi.find_symmetry(lambda p, x: x @ p["a"]["b"] @ p["a.b"], params, normal(2, 3))


def test_a_loop_in_float32_is_refused_with_the_way_out():
    def apply(p, x):
        start = jnp.zeros(4, jnp.float32)
        step = lambda h, row: (jnp.tanh(row @ p["w"] + h), None)  # noqa: E731
        return LAX.scan(step, start, x)[0] @ p["o"]

    with pytest.raises(ValueError, match="apply: expected a function that"):
        symvi.find_symmetry(apply, weights({"w": (3, 4), "o": (4, 1)}), normal(5, 3))
