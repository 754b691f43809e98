"""Windows as shifted slices: XLA's own operations, and a gradient that a fit can afford."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.torch_bridge.windows import convolution, largest

CASES = {  # inputs, sizes, strides, paddings, dilations
    "whole": ((5, 4), (5, 4), (1, 1), [(0, 0), (0, 0)], (1, 1)),
    "single entries": ((5, 4), (1, 1), (2, 3), [(0, 0), (0, 0)], (1, 1)),
    "strides that leave a rest": ((8, 7), (3, 2), (2, 3), [(0, 0), (0, 0)], (1, 1)),
    "padding on one side": ((6, 5), (2, 3), (1, 2), [(0, 1), (2, 0)], (1, 1)),
    "dilation": ((9, 8), (3, 2), (2, 1), [(1, 1), (0, 0)], (2, 3)),
    "one axis": ((9,), (4,), (3,), [(2, 2)], (2,)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def numbers(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


@cases
def test_convolution_and_its_gradient_are_those_of_xla(case):
    inputs, sizes, strides, pads, dilations = case
    x, weight = numbers(3, 2, *inputs), numbers(4, 2, *sizes)

    def theirs(x, w):
        return jax.lax.conv_general_dilated(x, w, strides, pads, rhs_dilation=dilations)

    def ours(x, w):
        return convolution(x, w, strides, pads, dilations)

    value, pull_back = jax.vjp(ours, x, weight)
    wanted, wanted_back = jax.vjp(theirs, x, weight)
    np.testing.assert_allclose(value, wanted, atol=1e-12)
    along = numbers(*value.shape)
    for slope, of_xla in zip(pull_back(along), wanted_back(along), strict=True):
        np.testing.assert_allclose(slope, of_xla, atol=1e-12)


@cases
def test_the_largest_and_its_gradient_are_those_of_xla(case):
    inputs, sizes, strides, pads, dilations = case
    x = numbers(3, 2, *inputs) - 10  # so that padding with zeros would win

    def theirs(x):
        lead = (1, 1)
        whole = (lead + sizes, lead + strides, [(0, 0), (0, 0), *pads])
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, *whole, window_dilation=lead + dilations
        )

    def ours(x):
        return largest(x, sizes, strides, pads, dilations)

    np.testing.assert_array_equal(ours(x), theirs(x))
    slope = jax.grad(lambda x: ours(x).sum())(x)
    by_hand = np.zeros(x.shape)
    place = {v: i for i, v in np.ndenumerate(np.asarray(x))}
    for value in np.asarray(theirs(x)).ravel():
        by_hand[place[value]] += 1
    np.testing.assert_array_equal(slope, by_hand)


def test_no_draw_convolves_by_an_operation_whose_gradient_xla_runs_in_a_plain_loop():
    """A fit of a convolutional network once took a hundred times as long."""
    torch = pytest.importorskip("torch")
    layers = torch.nn.Conv2d(1, 2, 3), torch.nn.MaxPool2d(2), torch.nn.Flatten()
    net = symvi.from_torch(
        torch.nn.Sequential(*layers, torch.nn.Linear(2, 2)), torch.zeros(2, 1, 4, 4)
    )
    bnn = symvi.BNN(net, symvi.Categorical())
    x, y = numbers(3, 1, 4, 4), np.arange(3) % 2
    draws = jax.vmap(net.init)(jax.random.split(jax.random.key(0), 2))
    slopes = jax.vmap(jax.grad(lambda w: bnn.log_joint(w, x, y)))
    program = jax.jit(slopes).lower(draws).as_text()
    assert "stablehlo.dot_general" in program
    found = re.findall(r"stablehlo\.(?:convolution|reduce_window|select_and_scatter)", program)
    assert found == []
