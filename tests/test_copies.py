"""The nearest copy of a network, against enumeration of the whole group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi import MLP, Symmetry, UnitGroup
from symvi.copies import nearest_copy


def norm(params):
    return float(np.sqrt(sum(np.sum(np.square(value)) for value in params.values())))


def apart(a, b):
    return norm({name: np.asarray(a[name] - b[name]) for name in a})


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_equals_the_minimum_over_the_group(signed, size):
    net = MLP([2, size, 1], "tanh", signed=signed)
    for seed in range(3):
        w = net.init(jax.random.key(seed))
        moved = jax.vmap(lambda g, w=w, net=net: net.symmetry.act(g, w))(net.symmetry.elements())
        distances = np.sqrt(
            sum(np.square(moved[k] - w[k]).reshape(net.symmetry.order, -1).sum(1) for k in w)
        )
        distance, g = nearest_copy(net.symmetry, w)
        assert distance == pytest.approx(distances[1:].min(), rel=1e-12)
        assert apart(w, net.symmetry.act(g, w)) == pytest.approx(distance, rel=1e-12)


def test_signs_matter_when_a_unit_is_nearly_off():
    net = MLP([1, 3, 1], "tanh", signed=True)
    w = {
        "W1": jnp.array([[2.0, 0.01, -3.0]]),
        "b1": jnp.zeros(3),
        "W2": jnp.array([[1.0], [0.0], [2.0]]),
        "b2": jnp.zeros(1),
    }
    distance, g = nearest_copy(net.symmetry, w)
    assert distance == pytest.approx(0.02)
    assert list(g.perms["hidden1"]) == [0, 1, 2] and list(g.signs["hidden1"]) == [1, -1, 1]


def test_a_single_unit_can_only_flip():
    net = MLP([1, 1, 1], "tanh", signed=True)
    w = net.init(jax.random.key(0))
    assert nearest_copy(net.symmetry, w)[0] == pytest.approx(
        2 * np.linalg.norm(net.symmetry.units(w))
    )


@pytest.mark.parametrize("layer", ["hidden1", "hidden2"])
def test_one_layer_of_two(layer):
    net = MLP([2, 3, 4, 1], "relu")
    w = net.init(jax.random.key(1))
    distance, g = nearest_copy(net.symmetry, w, layer)
    units = np.asarray(net.symmetry.units(w, layer))
    pairs = [np.linalg.norm(units[i] - units[j]) for i in range(len(units)) for j in range(i)]
    assert distance == pytest.approx(np.sqrt(2) * min(pairs), rel=1e-12)
    assert apart(w, net.symmetry.act(g, w)) == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_transposition_bound_is_reached_by_a_regular_simplex(size):
    net = MLP([size, size, 1], "relu", bias=False)
    w = {"W1": jnp.eye(size) - 1 / size, "W2": jnp.zeros((size, 1))}
    assert nearest_copy(net.symmetry, w)[0] == pytest.approx(
        2 * norm(w) / np.sqrt(size - 1), rel=1e-12
    )


def test_bad_input():
    net = MLP([1, 1, 1], "relu")
    with pytest.raises(ValueError, match="at least two units, got 1"):
        nearest_copy(net.symmetry, net.init(jax.random.key(0)))
    two = MLP([1, 2, 2, 1], "relu")
    w = two.init(jax.random.key(0))
    with pytest.raises(ValueError, match="expected one of"):
        nearest_copy(two.symmetry, w)
    with pytest.raises(ValueError, match="expected finite weights"):
        nearest_copy(two.symmetry, {**w, "b1": jnp.array([0.0, jnp.nan])}, "hidden1")
    with pytest.raises(ValueError, match=r"symmetry: expected a symvi.Symmetry, got .*; pass net"):
        nearest_copy(two, w)
    shared = Symmetry((UnitGroup("h", 2, (("W", 0), ("W", 1))),))
    with pytest.raises(ValueError, match=r"group 'h': .* got 'W' on two axes.*symmetry.elements"):
        nearest_copy(shared, {"W": jnp.eye(2)})
