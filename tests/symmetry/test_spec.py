"""Specs for other tools: what those tools do with them leaves the outputs of networks unchanged."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import symvi
from symvi.symmetry import Nested, UnitGroup, permutation_spec, universal_spec

LAX = jax.lax


def normal(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def weights(seed=0, **shapes):
    return {name: normal(*shape, seed=seed) for name, shape in shapes.items()}


def mlp(p, x):
    hidden = jnp.tanh(x @ p["w1"] + p["b1"])
    return jnp.tanh(hidden @ p["w2"] + p["b2"]) @ p["w3"] + p["b3"]


MLP_SHAPES = {"w1": (3, 6), "b1": (6,), "w2": (6, 5), "b2": (5,), "w3": (5, 2), "b3": (2,)}


def residual(p, x):
    stream = x @ p["first"]
    for block in "ab":
        stream = stream + jax.nn.relu(stream @ p[f"in_{block}"]) @ p[f"out_{block}"]
    return stream @ p["last"]


RESIDUAL_SHAPES = {
    "first": (3, 6),
    "in_a": (6, 5),
    "out_a": (5, 6),
    "in_b": (6, 4),
    "out_b": (4, 6),
    "last": (6, 2),
}


def conv(x, kernel, stride=1):
    """A convolution with kernels (height, width, in, out), as Flax stores them."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return LAX.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers)


def norm(x, scale, bias):
    """LayerNorm over channels, the norm of Git Re-Basin's ResNet-20."""
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + bias


def resnet(p, x):
    """Two stages: a block on the first trunk, and one with a shortcut to the second."""
    x = jax.nn.relu(norm(conv(x, p["conv"]), p["norm.scale"], p["norm.bias"]))
    h = jax.nn.relu(conv(x, p["easy.1"]))
    x = jax.nn.relu(x + conv(h, p["easy.2"]))
    h = jax.nn.relu(conv(x, p["wide.1"], 2))
    x = jax.nn.relu(conv(x, p["wide.shortcut"], 2) + conv(h, p["wide.2"]))
    return x.mean((1, 2)) @ p["dense"]


RESNET_SHAPES = {
    "conv": (3, 3, 2, 4),
    "norm.scale": (4,),
    "norm.bias": (4,),
    "easy.1": (3, 3, 4, 3),
    "easy.2": (3, 3, 3, 4),
    "wide.1": (3, 3, 4, 5),
    "wide.2": (3, 3, 5, 6),
    "wide.shortcut": (1, 1, 4, 6),
    "dense": (6, 2),
}

# name: function, shapes, one batch of inputs
NETWORKS = {
    "mlp": (mlp, MLP_SHAPES, normal(4, 3)),
    "residual mlp": (residual, RESIDUAL_SHAPES, normal(4, 3)),
    "resnet": (resnet, RESNET_SHAPES, normal(2, 6, 6, 2)),
}


def found(name):
    apply, shapes, x = NETWORKS[name]
    return symvi.find_symmetry(apply, weights(**shapes), x)


# Naive twins of what the tools do, from their papers.


def permuted(spec, perms, params, besides=None):
    """Each axis of each array taken in the order of its permutation, but for one (name, axis)."""
    out = {}
    for name, value in params.items():
        for axis, perm in enumerate(spec.axes_to_perm[name]):
            if perm is not None and (name, axis) != besides:
                value = np.take(np.asarray(value), perms[perm], axis=axis)
        out[name] = value
    return out


def overlap(spec, one, other, perms, name):
    """Entry (i, j): the inner product of all weights of unit i of `one` and unit j of `other`.

    Ainsworth et al. (2022), section 3.2: with all other permutations held, the sum over layers of
    <W_A, P_l W_B P_(l-1)^T> is linear in P_l.
    """
    size = len(perms[name])
    total = np.zeros((size, size))
    for param, axis in spec.perm_to_axes[name]:
        moved = permuted(spec, perms, {param: other[param]}, besides=(param, axis))[param]
        rows = np.moveaxis(one[param], axis, 0).reshape(size, -1)
        total += rows @ np.moveaxis(moved, axis, 0).reshape(size, -1).T
    return total


def matched(spec, one, other, sizes, rounds=10):
    perms = {name: np.arange(size) for name, size in sizes.items()}
    for _ in range(rounds):
        for name in perms:
            _, best = linear_sum_assignment(overlap(spec, one, other, perms, name), maximize=True)
            perms[name] = best
    return perms


def inner(one, other):
    return sum(float((one[name] * other[name]).sum()) for name in one)


@pytest.mark.parametrize("name", NETWORKS)
def test_permuting_by_the_spec_leaves_the_outputs_unchanged(name):
    apply, shapes, x = NETWORKS[name]
    net, rng = found(name), np.random.default_rng(1)
    spec, params = permutation_spec(net.symmetry, net.params), weights(**shapes)
    perms = {group.name: rng.permutation(group.size) for group in net.symmetry.groups}
    moved = permuted(spec, perms, params)
    assert any((moved[name] != params[name]).any() for name in params)
    np.testing.assert_allclose(apply(moved, x), apply(params, x), rtol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_spec_moves_what_our_elements_move(name):
    """weights[perm] with perm = argsort of the places."""
    net = found(name)
    spec = permutation_spec(net.symmetry, net.params)
    g = jax.tree.map(lambda leaf: leaf[0], net.symmetry.sample(jax.random.key(3), 1))
    perms = {name: np.argsort(places) for name, places in g.perms.items()}
    ours, theirs = net.symmetry.act(g, net.params), permuted(spec, perms, net.params)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_weight_matching_on_the_spec_is_a_gain_and_keeps_the_function(name):
    apply, shapes, x = NETWORKS[name]
    net = found(name)
    spec = permutation_spec(net.symmetry, net.params)
    sizes = {group.name: group.size for group in net.symmetry.groups}
    one, other = weights(**shapes), weights(seed=100, **shapes)
    perms = matched(spec, one, other, sizes)
    near = permuted(spec, perms, other)
    assert inner(one, near) > inner(one, other)
    np.testing.assert_allclose(apply(near, x), apply(other, x), rtol=1e-10)
    name = next(iter(sizes))  # the sum over layers is that of the whole, for one permutation
    still = {name: np.arange(size) for name, size in sizes.items()}
    exchanged = np.arange(sizes[name])
    exchanged[:2] = [1, 0]
    gain = inner(one, permuted(spec, still | {name: exchanged}, other)) - inner(one, other)
    table = overlap(spec, one, other, still, name)
    by_table = table[0, 1] + table[1, 0] - table[0, 0] - table[1, 1]
    assert gain == pytest.approx(by_table, abs=1e-9)


def test_both_tables_of_the_spec_agree_and_hold_every_parameter():
    net = found("mlp")
    spec = permutation_spec(net.symmetry, net.params)
    (first, second) = spec.perm_to_axes
    assert spec.perm_to_axes == {
        first: [("w1", 1), ("b1", 0), ("w2", 0)],
        second: [("w2", 1), ("b2", 0), ("w3", 0)],
    }
    assert spec.axes_to_perm == {
        "b1": (first,),
        "b2": (second,),
        "b3": (None,),
        "w1": (None, first),
        "w2": (first, second),
        "w3": (second, None),
    }


def test_a_trunk_has_one_permutation():
    net = found("resnet")
    spec = permutation_spec(net.symmetry, net.params)
    rows = spec.axes_to_perm
    assert rows["easy.2"] == (None, None, rows["easy.1"][3], rows["conv"][3])
    assert rows["wide.shortcut"] == (None, None, rows["conv"][3], rows["wide.2"][3])
    assert len(spec.perm_to_axes) == 4


# Universal neural functionals.


def moved_along(numbers, params, perms):
    """Each axis taken in the order of the permutation of its number."""
    out = {}
    for name, value in params.items():
        for axis, number in enumerate(numbers[name]):
            if number in perms:
                value = np.take(value, perms[number], axis=axis)
        out[name] = value
    return out


@pytest.mark.parametrize("name", NETWORKS)
def test_moving_axes_of_one_number_leaves_the_outputs_unchanged(name):
    apply, shapes, x = NETWORKS[name]
    net, rng = found(name), np.random.default_rng(2)
    params = weights(**shapes)
    numbers = universal_spec(net.symmetry, params)
    assert all(len(numbers[name]) == value.ndim for name, value in params.items())
    perms = {k: rng.permutation(g.size) for k, g in enumerate(net.symmetry.groups)}
    np.testing.assert_allclose(
        apply(moved_along(numbers, params, perms), x), apply(params, x), rtol=1e-10
    )
    used = [number for row in numbers.values() for number in row]
    still = [number for number in used if number >= len(perms)]
    assert sorted(set(used)) == list(range(max(used) + 1))
    assert len(set(still)) == len(still)  # axes that stay have a number each


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(128)(x))
        return nn.Dense(10)(x)


def test_the_example_of_the_tool():
    """Its example.py: inputs 0, hidden units 1 and outputs 2 of an MLP of Flax may all permute."""
    module, x = Small(), normal(3, 64)
    params = module.init(jax.random.key(0), x)
    net = symvi.find_symmetry(module.apply, params, x)
    first, second = (f"params.Dense_{layer}" for layer in (0, 1))
    inputs = UnitGroup("inputs", 64, ((f"{first}.kernel", 0),))
    outputs = UnitGroup("outputs", 10, ((f"{second}.kernel", 1), (f"{second}.bias", 0)))
    ends = symvi.Symmetry((inputs,)), symvi.Symmetry((outputs,))
    spec = universal_spec(ends[0] + net.symmetry + ends[1], params)
    layers = {"Dense_0": {"kernel": (0, 1), "bias": (1,)}}
    layers["Dense_1"] = {"kernel": (1, 2), "bias": (2,)}
    assert spec == {"params": layers}
    alone = universal_spec(net.symmetry, params)["params"]
    assert alone["Dense_0"] == {"kernel": (1, 0), "bias": (0,)}
    assert len({alone["Dense_1"]["kernel"][1], alone["Dense_1"]["bias"][0], 0, 1}) == 4


# What the tools cannot say.


BOTH = (permutation_spec, universal_spec)


@pytest.mark.parametrize("export", BOTH)
def test_units_on_parts_of_an_axis_are_refused_by_name_or_left_out(export):
    """Features before a flatten: a unit owns a column for each row."""

    def apply(p, x):
        h = jax.nn.relu(x @ p["a"])
        return jnp.tanh(h.reshape(len(x), -1) @ p["w"]) @ p["o"]

    params = weights(a=(3, 4), w=(20, 6), o=(6, 2))
    net = symvi.find_symmetry(apply, params, normal(2, 5, 3))
    assert [group.size for group in net.symmetry.groups] == [4, 6]
    remedy = r"leave them out by leave_out=\('a',\), for a subgroup"
    with pytest.raises(ValueError, match=f"symmetry: expected groups that move .* 'a' .*{remedy}"):
        export(net.symmetry, params)
    left = export(net.symmetry, params, leave_out=("a",))
    rows = left.axes_to_perm if export is permutation_spec else left
    assert rows["w"][1] == rows["o"][0]
    assert rows["a"][1] not in (rows["w"][1], rows["w"][0]) or rows["a"][1] is None


@pytest.mark.parametrize("export", BOTH)
def test_signs_and_blocks_are_refused(export):
    net = symvi.MLP([3, 4, 2], "tanh", signed=True)
    params = net.init(jax.random.key(0))
    with pytest.raises(ValueError, match="symmetry: expected a group without signs"):
        export(net.symmetry, params)
    product = symvi.Symmetry(net.symmetry.groups)
    export(product, params)
    blocks = symvi.Symmetry((UnitGroup("halves", 2, (("W1", 1, ((0, 1), (2, 3))),)),))
    nested = Nested(symvi.Symmetry(), blocks, {"halves": ()})
    with pytest.raises(ValueError, match=r"symmetry: expected a symvi.Symmetry, got Nested"):
        export(nested, params)


def test_a_layer_used_twice_is_for_universal_functionals_alone():
    def apply(p, x):
        h = jnp.tanh(x @ p["a"])
        return jnp.tanh(h @ p["w"]) @ p["w"] @ p["c"]

    params = weights(a=(3, 4), w=(4, 4), c=(4, 1))
    net = symvi.find_symmetry(apply, params, normal(2, 3))
    with pytest.raises(
        ValueError, match=r"move no parameter on two axes .*, got 'a' on two; leave"
    ):
        permutation_spec(net.symmetry, params)
    assert permutation_spec(net.symmetry, params, leave_out=("a",)).perm_to_axes == {}
    assert universal_spec(net.symmetry, params)["w"] == (0, 0)


@pytest.mark.parametrize("export", BOTH)
@pytest.mark.parametrize("names", ["w1", ("nobody",), None, 3, (1,)])
def test_names_to_leave_out_are_those_of_groups(export, names):
    net = found("mlp")
    with pytest.raises(ValueError, match="leave_out: expected a tuple of names in"):
        export(net.symmetry, net.params, leave_out=names)


@pytest.mark.parametrize("export", BOTH)
def test_parameters_have_to_fit(export):
    net = found("mlp")
    with pytest.raises(ValueError, match="along axis 0 for the units"):
        export(net.symmetry, net.params | {"w2": normal(7, 5)})
    with pytest.raises(ValueError, match="no such parameter"):
        export(net.symmetry, {"w1": normal(3, 6)})
    with pytest.raises(ValueError, match=r"symmetry: expected a symvi.Symmetry, got 3"):
        export(3, net.params)
