"""What MeanField and UnitNormal take and refuse, and the Gaussians of their units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi

NET = symvi.MLP([1, 2, 3, 1])
LOC = NET.init(jax.random.key(0))
ONES = jax.tree.map(jnp.ones_like, LOC)
Q = symvi.MeanField(LOC, ONES, NET.symmetry)
LOWER = {"hidden1": jnp.full((2, 2, 2), 0.5), "hidden2": jnp.full((3, 4, 4), 0.5)}
FULL = symvi.UnitNormal(LOC, ONES, NET.symmetry, LOWER)
A = {"a": np.zeros(2)}
B = {"a": np.ones(2)}


def test_whole_numbers_and_lists_become_floats():
    q = symvi.MeanField({"a": [0, 1]}, {"a": np.array([1, 2])})
    assert q.loc["a"].dtype == q.scale["a"].dtype == jnp.float64
    assert q.sample(jax.random.key(0), np.int64(3))["a"].shape == (3, 2)


@pytest.mark.parametrize("q", [Q, FULL])
def test_unit_gaussians_are_the_own_weights(q):
    own = q.unit_gaussians("hidden2")
    np.testing.assert_array_equal(own.loc, NET.symmetry.own_units(LOC, "hidden2"))
    np.testing.assert_array_equal(own.scale, 1.0)
    if q is FULL:
        np.testing.assert_array_equal(own.lower, np.tril(LOWER["hidden2"], -1))
    else:
        assert own.lower is None


def test_all_weights_of_a_unit_are_independent_units_unless_the_next_layer_owns_some():
    every = Q.joint_unit_gaussians("hidden1")
    np.testing.assert_array_equal(every.loc, NET.symmetry.units(LOC, "hidden1"))
    assert every.loc.shape[1] > Q.unit_gaussians("hidden1").loc.shape[1]
    assert FULL.joint_unit_gaussians("hidden1") is None
    last = FULL.joint_unit_gaussians("hidden2")
    np.testing.assert_array_equal(last.lower, FULL.unit_gaussians("hidden2").lower)


def lower_of(value):
    return lambda: symvi.UnitNormal(LOC, ONES, NET.symmetry, value)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: symvi.MeanField({}, {}), "loc: expected a dict of named arrays, got {}; pass"),
        (lambda: symvi.MeanField(None, None), "loc: expected a dict of named arrays, got None"),
        (lambda: symvi.MeanField({"a": "x"}, B), "loc.'a'.: expected an array of numbers"),
        (lambda: symvi.MeanField(A, {"a": None}), "scale.'a'.: expected an array of numbers"),
        (lambda: symvi.MeanField({"a": 1j * jnp.ones(2)}, B), "loc.'a'.: expected an array of num"),
        (lambda: symvi.MeanField(A, B, symvi.Symmetry), "symmetry: expected a Symmetry, got"),
        (lambda: symvi.MeanField(A, B, None), "symmetry: expected a Symmetry, got None"),
        (lambda: Q.sample(0, 3), "key: expected one JAX key, got 0"),
        (lambda: Q.sample(None, 3), "key: expected one JAX key, got None"),
        (lambda: Q.sample(jax.random.key(0), 2.5), "num: expected a whole number >= 1, got 2.5"),
        (lambda: Q.log_prob({}), "params: expected a dict of the names"),
        (lambda: Q.log_prob(jnp.zeros(3)), "params: expected a dict of the names"),
        (lambda: Q.log_prob({**LOC, "more": 1.0}), "params: expected a dict of the names"),
        (lambda: Q.log_prob({**LOC, "W1": jnp.zeros((1, 1))}), "params.'W1'.: expected shape"),
        (lambda: FULL.log_prob({**LOC, "b1": jnp.zeros((5, 2))}), "expected shape .*batch axes"),
        (lambda: Q.unit_log_density(jnp.zeros((2, 1)), "hidden1"), r"unit vectors of shape \(m, 2"),
        (lambda: FULL.unit_log_density(jnp.zeros(2), "hidden1"), r"unit vectors of shape \(m, 2"),
        (lower_of(3), "lower: expected a dict from unit groups to arrays, got 3"),
        (lower_of({"other": jnp.zeros((2, 2, 2))}), "group: expected one of"),
        (lower_of({"hidden1": jnp.zeros((2, 2))}), r"lower.'hidden1'.: expected shape \(2, 2, 2\)"),
        (lower_of({"hidden1": jnp.full((2, 2, 2), jnp.nan)}), "lower.'hidden1'.: expected finite"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
