"""Signs and scales of units, read from the program, against the outputs of the changed network."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_architectures import ARCHITECTURES
from test_random_graphs import over_random_networks

import symvi
from symvi.tracing import beside, factors, found

ROWS = jnp.asarray(np.random.default_rng(5).normal(size=(3, 3)))
MOST_PLACES = 8


def units_of(apply, shapes, x=ROWS):
    """The groups, where the first unit of each stands, and its units for signs and scales."""
    kept = []

    def listen(choice, program, inputs, its_shapes, signed):
        kept.append((choice.symmetry, program, inputs, its_shapes))
        return choice

    known, found.with_factors = found.with_factors, listen
    try:
        with jax.enable_x64(True):
            found.label(apply, shapes, x)
    finally:
        found.with_factors = known
    product, program, inputs, shapes = kept[0]
    places = [beside._places(group) for group in product.groups]
    if not places:
        return []
    pair = [factors.factors(program, inputs, shapes, places, signs) for signs in (True, False)]
    return list(zip(product.groups, places, *pair, strict=True))


def multiplied(params, places, by):
    """The weights with those at place j multiplied by ``by[j]``."""
    out = dict(params)
    for (name, axis, index), factor in zip(places, by, strict=True):
        value = np.moveaxis(np.array(out[name]), axis, 0)
        value[index] *= factor
        out[name] = jnp.asarray(np.moveaxis(value, 0, axis))
    return out


def solutions_of_signs(unit):
    for exponents in itertools.product((0, 1), repeat=unit.num_places):
        if not (unit.asked @ exponents % 2).any():
            yield np.array(exponents)


def solutions_of_scales(unit):
    """A basis."""
    if len(unit.asked) == 0:
        return np.eye(unit.num_places)
    _, sizes, rows = np.linalg.svd(unit.asked)
    return rows[np.sum(sizes > 1e-9) :]


def change(run, params, other):
    one, two = np.asarray(run(params)), np.asarray(run(other))
    return np.abs(one - two).max() / max(1.0, np.abs(one).max())


def checked(apply, shapes, x=ROWS) -> tuple:
    """How many changes of sign were found, and how many there are; all found ones are true."""
    rng = np.random.default_rng(3)
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    run = jax.jit(lambda named: apply(named, x))
    seen = there = 0
    for _, places, signs, scales in units_of(apply, shapes, x):
        assert 2**signs.freedom == sum(1 for _ in solutions_of_signs(signs)) or len(places) > 12
        for exponents in solutions_of_scales(scales):
            assert change(run, params, multiplied(params, places, 1.3**exponents)) < 1e-9
        if len(places) > MOST_PLACES:
            continue
        listed = {tuple(exponents) for exponents in solutions_of_signs(signs)}
        for exponents in itertools.product((0, 1), repeat=len(places)):
            same = change(run, params, multiplied(params, places, (-1.0) ** np.array(exponents)))
            assert same < 1e-9 or exponents not in listed
            there += same < 1e-9
            seen += exponents in listed
    return seen, there


def test_what_is_found_in_random_networks_is_true_and_nearly_all():
    """Of all changes of sign that leave the outputs."""
    total = np.zeros(2, int)

    @over_random_networks
    def count(net):
        total[:] += checked(net.apply, net.shapes)

    count()
    assert total[0] >= 0.9 * total[1] > 50


# What each network's groups can do besides changing places: sign, sign in part, scale.


def scaled_by(norm):
    """Two layers with a scale for each feature after `norm`."""
    return lambda p, x: norm(x @ p["a"]) * p["g"] @ p["c"]


def mean_square(h):
    return h / jnp.sqrt(jnp.mean(h**2, -1, keepdims=True))


def recurrent(p, x):
    def step(h, row):
        return jnp.tanh(row[None] @ p["a"] + h @ p["b"]), None

    return jax.lax.scan(step, jnp.zeros((1, 4)), x)[0] @ p["c"]


def counted(p, x):
    """A loop that adds a number from its third step on: the counter is known in none."""
    late = jnp.array([0.0, 0.0, 0.5])

    def step(i, h):
        return jnp.tanh(h) + late[i]

    return jax.lax.fori_loop(0, 3, step, x @ p["a"]) @ p["c"]


def gated(p, x):
    h = jnp.zeros((len(x), 4))
    for _ in range(2):
        h = jax.nn.sigmoid(x @ p["z"]) * jnp.tanh(x @ p["a"] + h @ p["b"])
    return h @ p["c"]


def attention(p, x):
    q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
    return jax.nn.softmax(q @ k.T, -1) @ v @ p["o"]


def image(p, x):
    h = jax.lax.conv_general_dilated(x[:, None], p["a"], (1,), "SAME")
    h = jax.lax.conv_general_dilated(jnp.tanh(h), p["b"], (1,), "SAME", feature_group_count=4)
    h = jax.lax.reduce_window(jax.nn.relu(h), -jnp.inf, jax.lax.max, (1, 1, 3), (1, 1, 3), "VALID")
    return h.reshape(len(x), -1) @ p["c"]


def chain(function):
    return lambda p, x: function(x @ p["a"] + p["d"]) @ p["c"]


WEIGHTS = {"a": (3, 4), "c": (4, 2), "d": (4,)}
NO_BIAS = {"a": (3, 4), "c": (4, 2)}
ODD = {
    "tanh": jnp.tanh,
    "erf": jax.lax.erf,
    "sin": jnp.sin,
    "arctan": jnp.arctan,
    "hard tanh": lambda h: jax.lax.clamp(-1.0, h, 1.0),
    "soft sign": jax.nn.soft_sign,
    "h |h| in a branch": lambda h: jax.lax.cond(True, lambda k: k * jnp.abs(k), lambda k: k, h),
    "a loop": lambda h: jax.lax.fori_loop(0, 3, lambda _, k: jnp.sin(k), h),
}
NEITHER = {
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "sigmoid": jax.nn.sigmoid,
    "relu6": jax.nn.relu6,
    "tanh, shifted": lambda h: jnp.tanh(h + 0.1),
    "softmax": jax.nn.softmax,
}
HOMOGENEOUS = {
    "relu": jax.nn.relu,
    "leaky relu": jax.nn.leaky_relu,
    "squared relu": lambda h: jax.nn.relu(h) ** 2,
}
BOTH = {"nothing": lambda h: h, "half": lambda h: h / 2}
CASES = {
    **{name: (chain(f), WEIGHTS, {"a"}, set(), set()) for name, f in ODD.items()},
    **{name: (chain(f), WEIGHTS, set(), set(), set()) for name, f in NEITHER.items()},
    **{name: (chain(f), WEIGHTS, set(), set(), {"a"}) for name, f in HOMOGENEOUS.items()},
    **{name: (chain(f), WEIGHTS, {"a"}, set(), {"a"}) for name, f in BOTH.items()},
    "h |h|": (chain(lambda h: h * abs(h)), WEIGHTS, {"a"}, set(), {"a"}),
    "cube": (chain(lambda h: h**3), WEIGHTS, {"a"}, set(), {"a"}),
    "product of three": (chain(lambda h: h * h * h), WEIGHTS, {"a"}, set(), {"a"}),
    "even: cosine": (chain(jnp.cos), WEIGHTS, set(), {"a"}, set()),
    "even: absolute value": (chain(jnp.abs), WEIGHTS, set(), {"a"}, {"a"}),
    "scale of features": (
        scaled_by(jnp.tanh),
        NO_BIAS | {"g": (4,)},
        set(),
        {"a"},
        {"a"},
    ),
    "mean square": (scaled_by(mean_square), NO_BIAS | {"g": (4,)}, set(), {"a"}, {"a"}),
    "a loop over data": (recurrent, NO_BIAS | {"b": (4, 4)}, {"a"}, set(), set()),
    "a loop with a counter": (counted, NO_BIAS, set(), set(), set()),
    "gates": (gated, NO_BIAS | {"b": (4, 4), "z": (3, 4)}, set(), {"z"}, set()),
    "attention": (
        attention,
        {"q": (3, 4), "k": (3, 4), "v": (3, 4), "o": (4, 2)},
        {"q", "v"},
        set(),
        {"q", "v"},
    ),
    "images": (
        image,
        {"a": (4, 1, 2), "b": (4, 1, 2), "c": (4, 2)},
        set(),
        {"a"},
        {"a"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_units_can_do_besides(name):
    apply, shapes, flips, partly, scaled = CASES[name]
    seen = units_of(apply, shapes)
    assert {group.name for group, _, signs, _ in seen if signs.flips} == flips
    assert {g.name for g, _, signs, _ in seen if signs.freedom > signs.flips} == partly
    assert {group.name for group, _, _, scales in seen if scales.freedom} == scaled
    found_all, there = checked(apply, shapes)
    assert found_all == there


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2]])
def test_signed_groups_are_derived(name):
    apply, shapes, flips, *_ = CASES[name]
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    plain = symvi.find_symmetry(apply, weights, ROWS)
    signed = symvi.find_symmetry(apply, weights, ROWS, signed=True)
    assert signed.symmetry.groups == plain.symmetry.groups and not plain.symmetry.signed
    assert {group.name for group in signed.symmetry.groups if signed.symmetry.flips(group.name)}
    more = math.log(2) * sum(signed.symmetry.group(name).size for name in flips)
    assert signed.symmetry.log_order == pytest.approx(plain.symmetry.log_order + more)
    assert signed.symmetry.verify(signed.apply, signed.init(jax.random.key(0)), ROWS) < 1e-10
    (note,) = [note for note in plain.notes if "change sign" in note]
    assert f"{more:.4g} nats: signed=True" in note
    assert not any("signed=True" in note for note in signed.notes)


@pytest.mark.parametrize("activation", ["tanh", "erf", "sin"])
def test_as_declared(activation):
    """The group of symvi's own networks, found without being told."""
    declared = symvi.MLP([3, 5, 4, 2], activation, signed=True)
    weights = declared.init(jax.random.key(0))
    derived = symvi.find_symmetry(declared.apply, weights, ROWS, signed=True)
    assert derived.symmetry.signed is True and derived.notes == ()
    axes = [sorted(group.axes) for group in derived.symmetry.groups]
    assert axes == [sorted(group.axes) for group in declared.symmetry.groups]
    assert derived.symmetry.order == declared.symmetry.order


def test_notes_name_scales_and_signs():
    apply, shapes, *_ = CASES["relu"]
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    net = symvi.find_symmetry(apply, weights, ROWS)
    assert net.notes == ("besides, units of 'a' can be scaled, which is no permutation",)
    apply, shapes, *_ = CASES["gates"]
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    net = symvi.find_symmetry(apply, weights, ROWS, signed=True)
    assert net.notes == ("besides, units of 'z' can change sign with a part of their weights",)


def test_a_wrong_rule_is_caught(monkeypatch):
    """Were exp taken for odd, verification would say so."""
    monkeypatch.setitem(factors.RULES, "exp", factors.RULES["neg"])
    weights = {"a": np.ones((3, 4)), "c": np.ones((4, 2))}
    with pytest.raises(ValueError, match="verify: expected outputs unchanged"):
        symvi.find_symmetry(lambda p, x: jnp.exp(x @ p["a"]) @ p["c"], weights, ROWS, signed=True)


def test_bad_input():
    weights = {"a": np.ones((3, 4)), "c": np.ones((4, 2))}
    with pytest.raises(ValueError, match="signed: expected True or False, got 'yes'"):
        symvi.find_symmetry(lambda p, x: x @ p["a"] @ p["c"], weights, ROWS, signed="yes")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_found_in_architectures_is_true(name):
    """Sums of solutions, as many as there are, for signs and for scales."""
    case, rng = ARCHITECTURES[name], np.random.default_rng(6)
    params = {key: jnp.asarray(rng.normal(size=shape)) for key, shape in case.shapes.items()}
    run = jax.jit(lambda named: jnp.ravel(jax.tree.leaves(case.apply(named, case.inputs))[0]))
    for _, places, signs, scales in units_of(case.apply, case.shapes, case.inputs):
        basis = solutions_of_scales(scales)
        assert len(basis) == scales.freedom
        if len(basis):
            exponents = rng.normal(size=len(basis)) @ basis
            assert change(run, params, multiplied(params, places, 1.2**exponents)) < 1e-9
        if signs.flips:
            assert change(run, params, multiplied(params, places, [-1.0] * len(places))) < 1e-9


def test_exact_counts_are_of_permutations():
    apply, shapes, *_ = CASES["tanh"]
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    net = symvi.find_symmetry(apply, weights, ROWS, signed=True, exact=True)
    assert net.exact_log_order == pytest.approx(math.log(24))
    assert net.symmetry.order == 24 * 2**4 and "all permutations" in repr(net)
    assert net.notes == ()
