"""Networks of Flax and Equinox, Haiku-like functions and a NumPyro module, as users bring them."""

import math

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpyro.contrib.module import random_flax_module

import symvi

IMAGE = (2, 8, 8, 3)


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def log_factorials(*sizes):
    return sum(math.lgamma(size + 1) for size in sizes)


def linen(module, x):
    """The network of a module of Flax's linen; statistics are fixed data."""
    variables = module.init(jax.random.key(0), x)
    others = {name: values for name, values in variables.items() if name != "params"}
    return lambda p, x: module.apply({"params": p, **others}, x), variables["params"]


def of_nnx(module):
    """The network of a module of Flax's nnx, whose statistics and keys stay as they are."""
    module.eval()
    graph, params, others = nnx.split(module, nnx.Param, ...)
    return lambda p, x: nnx.merge(graph, p, others, copy=True)(x), params


def equinox(module, call=lambda module, x: jax.vmap(module)(x)):
    params, fixed = eqx.partition(module, eqx.is_inexact_array)
    return lambda p, x: call(eqx.combine(p, fixed), x), params


# Modules of linen.


class Convolutions(nn.Module):
    """Max and average pooling between convolutions, flattened before the last layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(4, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.avg_pool(nn.gelu(nn.Conv(5, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(2)(x.reshape(len(x), -1))


class Transformer(nn.Module):
    """One layer before the mean over tokens: 8 features, 2 heads, 6 units."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        x = x + nn.Dense(8)(nn.gelu(nn.Dense(6)(nn.LayerNorm()(x))))
        return nn.Dense(2)(nn.RMSNorm()(x).mean(1))


class Recurrent(nn.Module):
    cell: type

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.RNN(self.cell(features=5, param_dtype=float))(x)[:, -1])


class Normalised(nn.Module):
    """A convolution with groups of channels normalised together."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.GroupNorm(num_groups=2)(nn.Conv(6, (3, 3))(x)))
        return nn.Dense(2)(x.mean((1, 2)))


class Batches(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Dense(5)(x))
        return nn.Dense(2)(nn.relu(x))


class Words(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.swish(nn.Dense(6)(nn.Embed(7, 4)(x).mean(1))))


class Separable(nn.Module):
    """A depthwise convolution between two of one pixel, and one transposed."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (1, 1))(x))
        x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=4)(x))
        x = nn.relu(nn.ConvTranspose(3, (2, 2), strides=(2, 2))(nn.Conv(5, (1, 1))(x)))
        return nn.Dense(2)(x.mean((1, 2)))


class Tied(nn.Module):
    """Layers repeated by a scan over their weights, checkpointed, and one layer used twice."""

    @nn.compact
    def __call__(self, x):
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, x, _):
                return x + nn.tanh(nn.remat(nn.Dense)(5)(x)), None

        layers = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = layers()(nn.Dense(5)(x), None)
        again = nn.Dense(5)
        return nn.Dense(2)(nn.tanh(again(nn.tanh(again(x)))))


class Weights(nn.Module):
    """Layers whose weights are normalised."""

    @nn.compact
    def __call__(self, x):
        x = nn.elu(nn.WeightNorm(nn.Dense(5))(x))
        return nn.Dense(2)(nn.PReLU()(nn.LayerNorm()(nn.Dense(4)(x))))


# Modules of nnx.


class Attention(nnx.Module):
    """A layer of attention with a residual stream, on tokens that are embedded."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.table = nnx.Embed(7, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(num_heads=4, in_features=8, decode=False, rngs=rngs)
        self.last = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        x = self.table(x)
        return self.last((x + self.attention(self.norm(x))).mean(1))


class Images(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Conv(3, 6, (3, 3), rngs=rngs)
        self.batch = nnx.BatchNorm(6, rngs=rngs)
        self.second = nnx.Conv(6, 4, (3, 3), strides=2, feature_group_count=2, rngs=rngs)
        self.last = nnx.Linear(4, 2, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.batch(self.first(x))), (2, 2))
        return self.last(self.drop(nnx.relu(self.second(x)).mean((1, 2))))


class Steps(nnx.Module):
    def __init__(self, cell):
        rngs = nnx.Rngs(0)
        self.layers = nnx.RNN(cell(3, 5, param_dtype=float, rngs=rngs))
        self.last = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(self.layers(x)[:, -1])


# Modules of Equinox.

KEYS = jax.random.split(jax.random.key(0), 8)


class Loop(eqx.Module):
    cell: eqx.Module
    last: eqx.nn.Linear

    def __call__(self, rows):
        def step(state, row):
            return self.cell(row, state), None

        pair = isinstance(self.cell, eqx.nn.LSTMCell)
        start = (jnp.zeros(5),) * 2 if pair else jnp.zeros(5)
        state, _ = jax.lax.scan(step, start, rows)
        return self.last(state[0] if pair else state)


class Layer(eqx.Module):
    first: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    last: eqx.nn.Linear

    def __call__(self, rows):
        x = jax.vmap(self.first)(rows)
        x = x + self.attention(x, x, x)
        return self.last(jax.vmap(self.norm)(x).mean(0))


def pictures():
    return eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 6, 3, key=KEYS[0]),
            eqx.nn.GroupNorm(2, 6),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Conv2d(6, 6, 2, groups=6, key=KEYS[1]),
            eqx.nn.MaxPool2d(2),
            eqx.nn.AdaptiveAvgPool2d(1),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(6, 2, key=KEYS[2]),
        ]
    )


# Functions.


def haiku_like(p, x):
    """Nested dicts of weights by the names of layers, as Haiku's transform hands them over."""

    def linear(name, x):
        return x @ p[name]["w"] + p[name]["b"]

    x = jax.nn.relu(linear("mlp/~/linear_0", x))
    x = x + jax.nn.relu(linear("mlp/~/linear_1", x))
    return linear("mlp/~/linear_2", x)


HAIKU = {
    "mlp/~/linear_0": {"w": normal(3, 5), "b": normal(5)},
    "mlp/~/linear_1": {"w": normal(5, 5), "b": normal(5)},
    "mlp/~/linear_2": {"w": normal(5, 2), "b": normal(2)},
}


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(6)(x)))


def of_numpyro(module, x):
    """The network of a NumPyro model, with weights as its trace draws them."""
    from numpyro import distributions as dist
    from numpyro import handlers

    def model():
        prior = dist.Normal(0, 1)
        return random_flax_module("net", module, prior, input_shape=x.shape)

    sites = handlers.trace(handlers.seed(model, 0)).get_trace()
    drawn = {name: site["value"] for name, site in sites.items() if name.startswith("net/")}

    def apply(p, x):
        with handlers.block(), handlers.seed(rng_seed=0), handlers.substitute(data=p):
            return model()(x)

    return apply, drawn


ROWS, SERIES, TOKENS = normal(4, 3), normal(2, 4, 3), np.array([[0, 3, 1], [6, 6, 2]])
IMAGES = normal(*IMAGE)
PLAIN = nn.Sequential([nn.Dense(6), nn.tanh, nn.Dense(5), nn.relu, nn.Dense(2)])

# name: the network and its weights, inputs, sizes of the groups
ZOO = {
    "linen, dense": (lambda: linen(PLAIN, ROWS), ROWS, [6, 5]),
    "linen, convolutions": (lambda: linen(Convolutions(), IMAGES), IMAGES, [4, 5]),
    "linen, transformer": (
        lambda: linen(Transformer(), SERIES),
        SERIES,
        [8, 6, 2, 4, 4],
    ),
    "linen, LSTM": (lambda: linen(Recurrent(nn.LSTMCell), SERIES), SERIES, [5]),
    "linen, GRU": (lambda: linen(Recurrent(nn.GRUCell), SERIES), SERIES, [5]),
    "linen, group norm": (lambda: linen(Normalised(), IMAGES), IMAGES, [3, 3]),
    "linen, batch norm": (lambda: linen(Batches(), ROWS), ROWS, [5]),
    "linen, embedding": (lambda: linen(Words(), TOKENS), TOKENS, [4, 6]),
    "linen, separable convolutions": (
        lambda: linen(Separable(), IMAGES),
        IMAGES,
        [4, 5, 3],
    ),
    "linen, scan over layers": (lambda: linen(Tied(), ROWS), ROWS, [5]),
    "linen, weight norm": (lambda: linen(Weights(), ROWS), ROWS, [5, 4]),
    "nnx, dense": (
        lambda: of_nnx(
            nnx.Sequential(
                nnx.Linear(3, 6, rngs=nnx.Rngs(0)),
                nnx.RMSNorm(6, rngs=nnx.Rngs(0)),
                nnx.swish,
                nnx.LinearGeneral(6, (2, 2), rngs=nnx.Rngs(0)),
            )
        ),
        ROWS,
        [6],
    ),
    "nnx, attention": (lambda: of_nnx(Attention()), TOKENS, [8, 4, 2, 2]),
    "nnx, convolutions": (lambda: of_nnx(Images()), IMAGES, [3, 2, 2]),
    "nnx, LSTM": (lambda: of_nnx(Steps(nnx.LSTMCell)), SERIES, [5]),
    "nnx, GRU": (lambda: of_nnx(Steps(nnx.GRUCell)), SERIES, [5]),
    "Equinox, dense": (
        lambda: equinox(eqx.nn.MLP(3, 2, 6, 2, key=KEYS[0])),
        ROWS,
        [6, 6],
    ),
    "Equinox, convolutions": (
        lambda: equinox(pictures()),
        IMAGES.transpose(0, 3, 1, 2),
        [3, 3],
    ),
    "Equinox, LSTM": (
        lambda: equinox(Loop(eqx.nn.LSTMCell(3, 5, key=KEYS[0]), eqx.nn.Linear(5, 2, key=KEYS[1]))),
        SERIES,
        [5],
    ),
    "Equinox, GRU": (
        lambda: equinox(Loop(eqx.nn.GRUCell(3, 5, key=KEYS[0]), eqx.nn.Linear(5, 2, key=KEYS[1]))),
        SERIES,
        [5],
    ),
    "Equinox, attention": (
        lambda: equinox(
            Layer(
                eqx.nn.Linear(3, 8, key=KEYS[0]),
                eqx.nn.MultiheadAttention(2, 8, key=KEYS[1]),
                eqx.nn.LayerNorm(8),
                eqx.nn.Linear(8, 2, key=KEYS[2]),
            )
        ),
        SERIES,
        [8, *[4] * 4],
    ),
    "Equinox, embedding": (
        lambda: equinox(
            eqx.nn.Sequential(
                [eqx.nn.Embedding(7, 6, key=KEYS[0]), eqx.nn.Linear(6, 2, key=KEYS[1])]
            ),
            lambda module, x: jax.vmap(jax.vmap(module))(x),
        ),
        TOKENS,
        [6],
    ),
    "as Haiku hands it over": (lambda: (haiku_like, HAIKU), ROWS, [5]),
    "a module of NumPyro": (lambda: of_numpyro(Small(), ROWS), ROWS, [6]),
}


@pytest.mark.parametrize("name", ZOO)
def test_the_group(name):
    made, x, sizes = ZOO[name]
    apply, params = made()
    found = symvi.find_symmetry(apply, params, x)
    order = found.symmetry.log_order
    assert order == pytest.approx(log_factorials(*sizes), abs=1e-9), found.notes
    back = found.unflatten(found.flatten(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)


def test_statistics_of_batch_norm_keep_apart_what_differs():
    """Running statistics are fixed data: with different values, units stay where they are."""
    module = Batches()
    variables = module.init(jax.random.key(0), ROWS)
    statistics = {"mean": jnp.array([0.0, 0, 1, 1, 1]), "var": jnp.ones(5)}
    others = {"batch_stats": {"BatchNorm_0": statistics}}
    found = symvi.find_symmetry(
        lambda p, x: module.apply({"params": p, **others}, x), variables["params"], ROWS
    )
    assert sorted(group.size for group in found.symmetry.groups) == [2, 3]
