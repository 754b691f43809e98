"""The forward pass against a naive loop, and what a network refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import symvi

NAIVE = {
    "relu": lambda a: np.maximum(a, 0),
    "tanh": np.tanh,
    "erf": scipy.special.erf,
    "sin": np.sin,
    "gelu": lambda a: 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))),
}


@pytest.mark.parametrize("activation", NAIVE)
@pytest.mark.parametrize("widths", [[2, 3, 2], [1, 2, 4, 1]])
def test_forward_equals_a_naive_loop(activation, widths):
    net = symvi.MLP(widths, activation)
    w = {k: np.asarray(v) for k, v in net.init(jax.random.key(0)).items()}
    x = np.random.default_rng(0).normal(size=(5, widths[0]))
    for row, out in zip(x, np.asarray(net.apply(w, x)), strict=True):
        hidden = row
        for layer in range(1, len(widths)):
            hidden = np.array(
                [
                    sum(hidden[i] * w[f"W{layer}"][i, j] for i in range(len(hidden)))
                    + w[f"b{layer}"][j]
                    for j in range(widths[layer])
                ]
            )
            hidden = NAIVE[activation](hidden) if layer < len(widths) - 1 else hidden
        np.testing.assert_allclose(out, hidden, rtol=1e-12)


def test_fixed_output_is_the_papers_two_weight_network():
    net = symvi.MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
    assert dict(net.shapes) == {"W1": (1, 2)}
    x = np.linspace(-2, 2, 9)[:, None]
    expected = np.maximum(0.3 * x, 0) + np.maximum(-0.7 * x, 0)
    np.testing.assert_allclose(net.apply({"W1": jnp.array([[0.3, -0.7]])}, x), expected, rtol=1e-14)


def test_the_repr_is_stored_in_files_and_stays():
    net = symvi.MLP(np.array([1, 2, 1]), "tanh", fixed_output=None, signed=np.bool_(True))
    assert repr(net) == (
        "MLP(widths=(1, 2, 1), activation='tanh', bias=True, fixed_output=None, signed=True)"
    )
    assert net.symmetry is net.symmetry
    assert hash(net) == hash(symvi.MLP([1, 2, 1], "tanh", signed=True))


def test_lists_and_old_keys_are_good_values():
    net = symvi.MLP([1, 2, 1], bias=False)
    w = {"W1": [[1.0, -1.0]], "W2": [[2.0], [3]]}
    np.testing.assert_array_equal(net.apply(w, [[1], [-2]]), [[2.0], [6.0]])
    old, new = net.init(jax.random.PRNGKey(3)), net.init(jax.random.key(3))
    assert all((old[k] == new[k]).all() for k in new)


def test_shapes_and_init_agree():
    net = symvi.MLP([2, 3, 4, 1], bias=False)
    w = net.init(jax.random.key(0))
    assert {k: v.shape for k, v in w.items()} == dict(net.shapes)
    assert list(net.shapes) == sorted(net.shapes)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.MLP([1, 1]),
            r"widths: expected at least three whole numbers.*got \[1, 1\]; pass one list",
        ),
        (lambda: symvi.MLP([1, 0, 1]), r"widths: expected .*got \[1, 0, 1\]"),
        (lambda: symvi.MLP([1, 2.5, 1]), "widths: expected at least three whole numbers"),
        (lambda: symvi.MLP(3), "widths: expected at least three whole numbers .*got 3"),
        (lambda: symvi.MLP("151"), "widths: expected at least three whole numbers .*got '151'"),
        (lambda: symvi.MLP([1, True, 1]), "widths: expected at least three whole numbers"),
        (lambda: symvi.MLP([1, 2, 1], bias="no"), "bias: expected True or False, got 'no'; pass"),
        (lambda: symvi.MLP([1, 2, 1], signed=1), "signed: expected True or False, got 1; pass"),
        (
            lambda: symvi.MLP([1, 2, 1], fixed_output=np.nan),
            "fixed_output: expected a finite number or None, got nan; pass for example",
        ),
        (
            lambda: symvi.MLP([1, 2, 1], fixed_output="1"),
            "fixed_output: expected a finite number or None, got '1'",
        ),
        (lambda: symvi.MLP([1, 2, 1], ["relu"]), r"activation: expected one of .*got \['relu'\]"),
        (lambda: symvi.MLP([1, 2, 1]).init(0), "key: expected one JAX key, got 0; pass for"),
        (lambda: symvi.MLP([1, 2, 1]).init(None), "key: expected one JAX key, got None; pass for"),
        (
            lambda: symvi.MLP([1, 2, 1]).apply([jnp.ones((1, 2))], jnp.ones((3, 1))),
            "params: expected a dict of named arrays, got .*; pass a dict",
        ),
        (
            lambda: symvi.MLP([1, 2, 1]).apply({}, [["a"]]),
            "x: expected an array of numbers, got .*; pass an array of numbers",
        ),
        (
            lambda: symvi.MLP([1, 2, 1], "swish"),
            "activation: expected one of 'relu', .*got 'swish'; choose",
        ),
        (
            lambda: symvi.MLP([1, 2, 1], "relu", signed=True),
            "signed: expected an odd activation .*got 'relu'.*use signed=False",
        ),
        (
            lambda: symvi.MLP([1, 2, 1], "tanh", signed=True, fixed_output=1.0),
            "signed: expected a learned output layer, got fixed_output.*use signed=False",
        ),
        (
            lambda: symvi.MLP([1, 2, 2], fixed_output=1.0),
            "fixed_output: expected one output, got widths .*end widths with 1",
        ),
        (
            lambda: symvi.MLP([2, 2, 1]).apply(
                symvi.MLP([2, 2, 1]).init(jax.random.key(0)), jnp.ones((3, 1))
            ),
            r"x: expected shape \(N, 2\), got \(3, 1\); reshape",
        ),
        (
            lambda: symvi.MLP([2, 2, 1], bias=False).apply(
                {"W1": jnp.ones((2, 2))}, jnp.ones((3, 2))
            ),
            r"params\['W2'\]: expected shape \(2, 1\), got no such parameter; pass weights",
        ),
        (
            lambda: symvi.MLP([1, 2, 1]).apply(
                symvi.MLP([1, 3, 1]).init(jax.random.key(0)), jnp.ones((3, 1))
            ),
            r"params\['W1'\]: expected shape \(1, 2\), got \(1, 3\); pass weights",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
