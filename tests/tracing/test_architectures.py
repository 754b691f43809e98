"""Sixty small architectures: the group that is found, the one worked out by hand, and the exact.

A row of the table names the sizes of the groups of the product, and of blocks that move whole. They
follow from the form of the network: a hidden layer of n units counts n, all layers that write to
one trunk count once, a head of d features counts d for queries and keys and d for values, and h
heads are h blocks. Exchanges that only the exact count knows stand in a column of their own.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi

LAX = jax.lax
relu, gelu, silu, sigmoid = jax.nn.relu, jax.nn.gelu, jax.nn.silu, jax.nn.sigmoid
softmax, softplus = jax.nn.softmax, jax.nn.softplus


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def log_factorials(sizes):
    return sum(math.lgamma(size + 1) for size in sizes)


class Case(NamedTuple):
    apply: object
    shapes: dict
    inputs: object
    product: list
    blocks: list = ()
    missing: list = ()


# Parts.


def chain(p, x, *names, act=relu):
    """Layers one after the other, the last without an activation."""
    for name in names[:-1]:
        x = act(x @ p[name])
    return x @ p[names[-1]]


def conv(x, kernel, stride=1, groups=1, dilation=1):
    """A convolution of images (N, C, H, W) with kernels (out, in, height, width)."""
    return LAX.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        rhs_dilation=(dilation, dilation),
        feature_group_count=groups,
    )


def causal(x, kernel, dilation=1):
    """A convolution of series (N, C, T) that looks back only."""
    back = (kernel.shape[2] - 1) * dilation
    return LAX.conv_general_dilated(x, kernel, (1,), [(back, 0)], rhs_dilation=(dilation,))


def pool(x):
    window = (1, 1, 2, 2)
    return LAX.reduce_window(x, -jnp.inf, LAX.max, window, window, "VALID")


def layer_norm(x, axis=-1):
    x = x - x.mean(axis, keepdims=True)
    return x / jnp.sqrt((x**2).mean(axis, keepdims=True) + 1e-5)


def rms_norm(x, scale):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale


def images(x):
    """The mean over pixels."""
    return x.mean((2, 3))


def attention(p, name, x, context=None, heads=2, bias=0.0, turn=lambda z: z):
    """Attention of rows x (T, n) to rows of a context, with weights `name`.q, .k, .v, .o."""
    context = x if context is None else context

    def by_head(rows, part):
        return (rows @ p[f"{name}.{part}"]).reshape(len(rows), heads, -1)

    scores = jnp.einsum("thd,shd->hts", turn(by_head(x, "q")), turn(by_head(context, "k")))
    mixed = jnp.einsum("hts,shd->thd", softmax(scores + bias), by_head(context, "v"))
    return mixed.reshape(len(x), -1) @ p[f"{name}.o"]


def attention_shapes(name, stream, inner, values=None, context=None):
    values, context = values or inner, context or stream
    return {
        f"{name}.q": (stream, inner),
        f"{name}.k": (context, inner),
        f"{name}.v": (context, values),
        f"{name}.o": (values, stream),
    }


def scanned(step, start, rows):
    """The last state of a loop over rows."""
    return LAX.scan(lambda state, row: (step(state, row), None), start, rows)[0]


def lstm(p, name, rows, backwards=False):
    """All hidden states of an LSTM."""

    def step(state, row):
        hidden, cell = state
        gates = row @ p[f"{name}.in"] + hidden @ p[f"{name}.back"]
        i, f, g, o = jnp.split(gates, 4, -1)
        cell = sigmoid(f) * cell + sigmoid(i) * jnp.tanh(g)
        hidden = sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    start = jnp.zeros(len(p[f"{name}.back"]))
    return LAX.scan(step, (start, start), rows, reverse=backwards)[1]


def lstm_shapes(name, width, size):
    return {f"{name}.in": (width, 4 * size), f"{name}.back": (size, 4 * size)}


# Fully connected networks.


def tied_autoencoder(p, x):
    return jnp.tanh(x @ p["w"]) @ p["w"].T


def variational_autoencoder(p, x):
    """The decoded mean of the latent code."""
    return chain(p, chain(p, x, "encode", "mean"), "decode", "last")


def maxout(p, x):
    return (x @ p["w"]).reshape(len(x), 4, 3).max(-1) @ p["o"]


def highway(p, x):
    h = x @ p["in"]
    for layer in "12":
        gate = sigmoid(h @ p[f"gate{layer}"])
        h = gate * jnp.tanh(h @ p[f"new{layer}"]) + (1 - gate) * h
    return h @ p["o"]


def residual(p, x):
    h = x @ p["in"]
    for layer in "12":
        h = h + chain(p, h, f"up{layer}", f"down{layer}")
    return h @ p["o"]


def siamese(p, x):
    one, two = (relu(chain(p, half, "a", "b")) for half in jnp.split(x, 2, 1))
    return jnp.abs(one - two) @ p["o"]


def film(p, x):
    """Features scaled and shifted by what another network makes of the condition."""
    scale, shift = jnp.split(chain(p, x[:, 3:], "c", "d"), 2, -1)
    return relu(scale * (x[:, :3] @ p["a"]) + shift) @ p["o"]


def hypernetwork(p, x):
    weights = chain(p, p["code"], "a", "b").reshape(3, 4)
    return jnp.tanh(x @ weights) @ p["o"]


def experts(p, x):
    """A mixture of experts, whose weights are stacked, with a soft gate."""
    hidden = relu(jnp.einsum("ni,eih->neh", x, p["a"]))
    each = jnp.einsum("neh,eho->neo", hidden, p["b"])
    return (softmax(x @ p["gate"])[:, :, None] * each).sum(1)


def swiglu(p, x):
    return (silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]


def adapter(p, x):
    """A layer with an adapter of low rank beside it."""
    return relu(x @ p["w"] + x @ p["a"] @ p["b"]) @ p["o"]


def factorization_machine(p, x):
    return ((x @ p["v"]) ** 2 - x**2 @ p["v"] ** 2).sum(-1) + x @ p["w"]


def radial(p, x):
    distances = ((x[:, None] - p["centres"]) ** 2).sum(-1)
    return jnp.exp(-distances * p["widths"]) @ p["o"]


def cross_network(p, x):
    """A cross network beside a deep one."""
    crossed = x * (x @ p["cross"]) + x
    return jnp.concatenate([crossed, relu(chain(p, x, "a", "b"))], 1) @ p["o"]


def radiance(p, x):
    """A field of sines, which sees its inputs again half way."""
    h = jnp.sin(jnp.sin(x @ p["a"]) @ p["b"])
    return chain(p, jnp.concatenate([h, x], 1), "c", "d", act=jnp.sin)


def ordinary_differential(p, x):
    """Five steps of Euler's method."""
    h = LAX.fori_loop(0, 5, lambda _, h: h + 0.1 * chain(p, h, "f", "g", act=jnp.tanh), x @ p["in"])
    return h @ p["o"]


def equilibrium(p, x):
    """A fixed number of steps to the fixed point of one layer."""
    drive = x @ p["in"]
    return LAX.fori_loop(0, 5, lambda _, h: jnp.tanh(h @ p["w"] + drive), drive) @ p["o"]


def memory(p, x):
    """Slots that are read by attention."""
    return softmax(x @ p["query"] @ p["keys"].T) @ p["values"]


CONNECTED = {
    "perceptron": Case(
        lambda p, x: chain(p, x, "a", "b", "c", act=jnp.tanh),
        {"a": (3, 5), "b": (5, 4), "c": (4, 2)},
        normal(2, 3),
        [5, 4],
    ),
    "tied autoencoder": Case(tied_autoencoder, {"w": (3, 4)}, normal(2, 3), [4]),
    "variational autoencoder": Case(
        variational_autoencoder,
        {"encode": (4, 5), "mean": (5, 3), "decode": (3, 6), "last": (6, 4)},
        normal(2, 4),
        [5, 3, 6],
    ),
    "maxout": Case(maxout, {"w": (2, 12), "o": (4, 1)}, normal(2, 2), [3] * 4, [4]),
    "highway": Case(
        highway,
        {"in": (3, 4), "o": (4, 1)} | {f"{n}{i}": (4, 4) for n in ("gate", "new") for i in "12"},
        normal(2, 3),
        [4],  # gates carry the trunk
    ),
    "residual": Case(
        residual,
        {"in": (3, 4), "up1": (4, 5), "down1": (5, 4), "up2": (4, 3), "down2": (3, 4), "o": (4, 2)},
        normal(2, 3),
        [4, 5, 3],
    ),
    "Siamese": Case(siamese, {"a": (2, 5), "b": (5, 4), "o": (4, 1)}, normal(2, 4), [5, 4]),
    "FiLM": Case(
        film,
        {"a": (3, 4), "c": (2, 3), "d": (3, 8), "o": (4, 1)},
        normal(2, 5),
        [4, 3],  # a feature owns its scale and its shift
    ),
    "hypernetwork": Case(
        hypernetwork,
        {"code": (1, 2), "a": (2, 5), "b": (5, 12), "o": (4, 1)},
        normal(2, 3),
        [2, 5, 4],  # the code, the hidden layer that makes weights, the one that they make
    ),
    "mixture of experts": Case(
        experts,
        {"a": (3, 2, 4), "b": (3, 4, 1), "gate": (2, 3)},
        normal(5, 2),
        [3, 4],  # stacked: hidden units share one permutation
    ),
    "SwiGLU": Case(swiglu, {"gate": (3, 5), "up": (3, 5), "down": (5, 2)}, normal(2, 3), [5]),
    "adapter of low rank": Case(
        adapter,
        {"w": (3, 4), "a": (3, 2), "b": (2, 4), "o": (4, 1)},
        normal(2, 3),
        [4, 2],
    ),
    "factorization machine": Case(
        factorization_machine, {"v": (3, 4), "w": (3,)}, normal(2, 3), [4]
    ),
    "radial basis": Case(
        radial,
        {"centres": (5, 3), "widths": (5,), "o": (5, 1)},
        normal(2, 3),
        [5],
    ),
    "deep and cross": Case(
        cross_network,
        {"cross": (3, 1), "a": (3, 5), "b": (5, 4), "o": (7, 1)},
        normal(2, 3),
        [5, 4],
    ),
    "radiance field": Case(
        radiance,
        {"a": (3, 5), "b": (5, 4), "c": (7, 6), "d": (6, 2)},
        normal(2, 3),
        [5, 4, 6],
    ),
    "neural ODE": Case(
        ordinary_differential,
        {"in": (3, 4), "f": (4, 5), "g": (5, 4), "o": (4, 1)},
        normal(2, 3),
        [4, 5],
    ),
    "deep equilibrium": Case(
        equilibrium, {"in": (3, 4), "w": (4, 4), "o": (4, 1)}, normal(2, 3), [4]
    ),
    "memory network": Case(
        memory,
        {"query": (3, 4), "keys": (6, 4), "values": (6, 2)},
        normal(2, 3),
        [4, 6],
    ),
}


# Convolutional networks.


def lenet(p, x):
    x = pool(jnp.tanh(conv(x, p["k1"])))
    x = pool(jnp.tanh(conv(x, p["k2"])))
    return chain(p, x.reshape(len(x), -1), "a", "b", "c", act=jnp.tanh)


def vgg(p, x):
    """Convolutions with a scale for each channel, as of a norm at prediction."""
    for layer in "123":
        x = relu(conv(x, p[f"k{layer}"]) * p[f"scale{layer}"][:, None, None])
        x = pool(x) if layer != "1" else x
    return chain(p, x.reshape(len(x), -1), "a", "b")


def resnet(p, x):
    x = relu(conv(x, p["stem"]))
    x = relu(x + conv(relu(conv(x, p["same1"])), p["same2"]))
    inner = relu(conv(x, p["wide1"], 2))
    x = relu(conv(x, p["shortcut"], 2) + conv(inner, p["wide2"]))
    return images(x) @ p["o"]


def padded_resnet(p, x):
    """The shortcut of the first ResNets: every other pixel, and channels of zeros."""
    x = relu(conv(x, p["stem"]))
    inner = relu(conv(x, p["wide1"], 2))
    shortcut = jnp.pad(x[:, :, ::2, ::2], ((0, 0), (1, 1), (0, 0), (0, 0)))
    x = relu(shortcut + conv(inner, p["wide2"]))
    return images(x) @ p["o"]


def bottleneck(p, x):
    x = relu(conv(x, p["stem"]))
    h = relu(conv(relu(conv(x, p["in"])), p["mid"]))
    return images(relu(x + conv(h, p["out"]))) @ p["o"]


def preactivation(p, x):
    x = conv(x, p["stem"])
    for layer in "12":
        h = relu(layer_norm(x, 1))
        h = relu(layer_norm(conv(h, p[f"in{layer}"]), 1))
        x = x + conv(h, p[f"out{layer}"])
    return images(relu(x)) @ p["o"]


def resnext(p, x):
    x = relu(conv(x, p["stem"]))
    h = relu(conv(relu(conv(x, p["in"])), p["mid"], groups=2))
    return images(relu(x + conv(h, p["out"]))) @ p["o"]


def densenet(p, x):
    x = conv(x, p["stem"])
    for layer in "12":
        x = jnp.concatenate([x, conv(relu(x), p[f"k{layer}"])], 1)
    return images(x) @ p["o"]


def inception(p, x):
    x = relu(conv(x, p["stem"]))
    window = (1, 1, 3, 3)
    pooled = LAX.reduce_window(x, -jnp.inf, LAX.max, window, (1, 1, 1, 1), "SAME")
    branches = [
        conv(x, p["one"]),
        conv(relu(conv(x, p["three.reduce"])), p["three"]),
        conv(pooled, p["pool"]),
    ]
    return images(relu(jnp.concatenate(branches, 1))) @ p["o"]


def squeezenet(p, x):
    x = relu(conv(x, p["stem"]))
    x = relu(conv(x, p["squeeze"]))
    x = jnp.concatenate([relu(conv(x, p["one"])), relu(conv(x, p["three"]))], 1)
    return images(conv(x, p["last"]))


def mobilenet(p, x):
    x = relu(conv(x, p["stem"]))
    x = relu(conv(relu(conv(x, p["depth1"], groups=4)), p["point1"]))
    x = relu(conv(x, p["depth2"], groups=6))
    return images(x) @ p["o"]


def inverted_residual(p, x):
    x = conv(x, p["stem"])
    h = relu(conv(x, p["expand"]))
    h = relu(conv(h, p["depth"], groups=6))
    return images(x + conv(h, p["project"])) @ p["o"]


def squeezed(p, x):
    """Channels scaled by what two layers make of their means."""
    return x * sigmoid(chain(p, images(x), "squeeze", "excite"))[:, :, None, None]


def squeeze_and_excite(p, x):
    return images(squeezed(p, relu(conv(x, p["stem"])))) @ p["o"]


def efficientnet(p, x):
    x = conv(x, p["stem"])
    h = silu(conv(silu(conv(x, p["expand"])), p["depth"], groups=6))
    return images(x + conv(squeezed(p, h), p["project"])) @ p["o"]


def shuffled(x, groups):
    n, channels, height, width = x.shape
    parts = x.reshape(n, groups, channels // groups, height, width)
    return jnp.swapaxes(parts, 1, 2).reshape(x.shape)


def shufflenet(p, x):
    x = relu(conv(x, p["stem"]))
    x = shuffled(relu(conv(x, p["first"], groups=2)), 2)
    x = conv(x, p["depth"], groups=4)
    return images(relu(conv(x, p["second"], groups=2))) @ p["o"]


def convnext(p, x):
    x = conv(x, p["stem"], 2)
    h = layer_norm(conv(x, p["depth"], groups=4), 1)
    h = conv(gelu(conv(h, p["up"])), p["down"])
    return images(x + h * p["scale"][:, None, None]) @ p["o"]


def u_net(p, x):
    skip = relu(conv(x, p["down1"]))
    low = relu(conv(pool(skip), p["down2"]))
    up = jnp.repeat(jnp.repeat(low, 2, 2), 2, 3)
    return conv(relu(conv(jnp.concatenate([skip, up], 1), p["up1"])), p["last"])


def pyramid(p, x):
    """Dilated convolutions side by side."""
    x = relu(conv(x, p["stem"]))
    sides = [relu(conv(x, p[f"rate{rate}"], dilation=rate)) for rate in (1, 2)]
    return conv(jnp.concatenate(sides, 1), p["last"])


def convolutional_autoencoder(p, x):
    h = relu(conv(relu(conv(x, p["k1"], 2)), p["k2"], 2))
    numbers = ("NCHW", "IOHW", "NCHW")
    for name in ("t1", "t2"):
        h = LAX.conv_transpose(h, p[name], (2, 2), "SAME", dimension_numbers=numbers)
        h = relu(h) if name == "t1" else h
    return h


def wavenet(p, x):
    trunk, skips = causal(x, p["stem"]), 0.0
    for layer, dilation in (("1", 1), ("2", 2)):
        two = causal(trunk, p[f"both{layer}"], dilation)
        signal, gate = jnp.split(two, 2, 1)
        gated = jnp.tanh(signal) * sigmoid(gate)
        trunk = trunk + causal(gated, p[f"trunk{layer}"])
        skips = skips + causal(gated, p[f"skip{layer}"])
    return causal(relu(skips), p["o"])


IMAGE = normal(1, 2, 8, 8)
CONVOLUTIONAL = {
    "LeNet": Case(
        lenet,
        {"k1": (3, 2, 3, 3), "k2": (4, 3, 3, 3), "a": (16, 6), "b": (6, 5), "c": (5, 2)},
        IMAGE,
        [3, 4, 6, 5],
    ),
    "VGG": Case(
        vgg,
        {
            "k1": (4, 2, 3, 3),
            "k2": (5, 4, 3, 3),
            "k3": (3, 5, 3, 3),
            "scale1": (4,),
            "scale2": (5,),
            "scale3": (3,),
            "a": (12, 6),
            "b": (6, 2),
        },
        IMAGE,
        [4, 5, 3, 6],
    ),
    "ResNet": Case(
        resnet,
        {
            "stem": (4, 2, 3, 3),
            "same1": (3, 4, 3, 3),
            "same2": (4, 3, 3, 3),
            "wide1": (5, 4, 3, 3),
            "wide2": (6, 5, 3, 3),
            "shortcut": (6, 4, 1, 1),
            "o": (6, 2),
        },
        IMAGE,
        [4, 3, 5, 6],  # two trunks, a block on each
    ),
    "ResNet with padded skips": Case(
        padded_resnet,
        {"stem": (4, 2, 3, 3), "wide1": (5, 4, 3, 3), "wide2": (6, 5, 3, 3), "o": (6, 2)},
        IMAGE,
        [4, 5, 2],  # the trunk goes on; the two channels of zeros
    ),
    "ResNet, bottleneck": Case(
        bottleneck,
        {
            "stem": (5, 2, 3, 3),
            "in": (3, 5, 1, 1),
            "mid": (4, 3, 3, 3),
            "out": (5, 4, 1, 1),
            "o": (5, 2),
        },
        IMAGE,
        [5, 3, 4],
    ),
    "ResNet, activation first": Case(
        preactivation,
        {
            "stem": (4, 2, 3, 3),
            "in1": (3, 4, 3, 3),
            "out1": (4, 3, 3, 3),
            "in2": (5, 4, 3, 3),
            "out2": (4, 5, 3, 3),
            "o": (4, 2),
        },
        IMAGE,
        [4, 3, 5],
    ),
    "ResNeXt": Case(
        resnext,
        {
            "stem": (4, 2, 3, 3),
            "in": (6, 4, 1, 1),
            "mid": (6, 3, 3, 3),
            "out": (4, 6, 1, 1),
            "o": (4, 2),
        },
        IMAGE,
        [4, 3, 3, 3],  # trunk; inputs of both groups together; outputs of each
        [2],
    ),
    "DenseNet": Case(
        densenet,
        {"stem": (4, 2, 3, 3), "k1": (3, 4, 3, 3), "k2": (2, 7, 3, 3), "o": (9, 2)},
        IMAGE,
        [4, 3, 2],
    ),
    "Inception": Case(
        inception,
        {
            "stem": (4, 2, 3, 3),
            "one": (3, 4, 1, 1),
            "three.reduce": (2, 4, 1, 1),
            "three": (5, 2, 3, 3),
            "pool": (2, 4, 1, 1),
            "o": (10, 2),
        },
        IMAGE,
        [4, 3, 2, 5, 2],
    ),
    "SqueezeNet": Case(
        squeezenet,
        {
            "stem": (5, 2, 3, 3),
            "squeeze": (3, 5, 1, 1),
            "one": (4, 3, 1, 1),
            "three": (2, 3, 3, 3),
            "last": (2, 6, 1, 1),
        },
        IMAGE,
        [5, 3, 4, 2],
    ),
    "MobileNet": Case(
        mobilenet,
        {
            "stem": (4, 2, 3, 3),
            "depth1": (4, 1, 3, 3),
            "point1": (6, 4, 1, 1),
            "depth2": (6, 1, 3, 3),
            "o": (6, 2),
        },
        IMAGE,
        [4, 6],  # depthwise: in and out are one
    ),
    "inverted residual": Case(
        inverted_residual,
        {
            "stem": (4, 2, 3, 3),
            "expand": (6, 4, 1, 1),
            "depth": (6, 1, 3, 3),
            "project": (4, 6, 1, 1),
            "o": (4, 2),
        },
        IMAGE,
        [4, 6],
    ),
    "squeeze and excite": Case(
        squeeze_and_excite,
        {"stem": (4, 2, 3, 3), "squeeze": (4, 3), "excite": (3, 4), "o": (4, 2)},
        IMAGE,
        [4, 3],
    ),
    "EfficientNet": Case(
        efficientnet,
        {
            "stem": (4, 2, 3, 3),
            "expand": (6, 4, 1, 1),
            "depth": (6, 1, 3, 3),
            "squeeze": (6, 3),
            "excite": (3, 6),
            "project": (4, 6, 1, 1),
            "o": (4, 2),
        },
        IMAGE,
        [4, 6, 3],
    ),
    "ShuffleNet": Case(
        shufflenet,
        {
            "stem": (4, 2, 3, 3),
            "first": (4, 2, 1, 1),
            "depth": (4, 1, 3, 3),
            "second": (4, 2, 1, 1),
            "o": (4, 2),
        },
        IMAGE,
        [2, 2, 2],  # inputs of both groups of the first together; outputs of each of the second
        [2],  # the groups of the second
        [2],  # those of the first are the places within the second
    ),
    "ConvNeXt": Case(
        convnext,
        {
            "stem": (4, 2, 2, 2),
            "depth": (4, 1, 3, 3),
            "up": (6, 4, 1, 1),
            "down": (4, 6, 1, 1),
            "scale": (4,),
            "o": (4, 2),
        },
        IMAGE,
        [4, 6],
    ),
    "U-Net": Case(
        u_net,
        {"down1": (3, 2, 3, 3), "down2": (4, 3, 3, 3), "up1": (5, 7, 3, 3), "last": (2, 5, 1, 1)},
        IMAGE,
        [3, 4, 5],
    ),
    "pyramid of dilations": Case(
        pyramid,
        {"stem": (4, 2, 3, 3), "rate1": (3, 4, 3, 3), "rate2": (2, 4, 3, 3), "last": (2, 5, 1, 1)},
        IMAGE,
        [4, 3, 2],
    ),
    "convolutional autoencoder": Case(
        convolutional_autoencoder,
        {"k1": (3, 2, 3, 3), "k2": (4, 3, 3, 3), "t1": (4, 5, 2, 2), "t2": (5, 2, 2, 2)},
        IMAGE,
        [3, 4, 5],
    ),
    "WaveNet": Case(
        wavenet,
        {"stem": (4, 2, 2), "o": (1, 5, 1)}
        | {f"both{i}": (6, 4, 2) for i in "12"}
        | {f"trunk{i}": (4, 3, 1) for i in "12"}
        | {f"skip{i}": (5, 3, 1) for i in "12"},
        normal(1, 2, 9),
        [4, 3, 3, 5],  # trunk, a gated unit of each layer, skips
    ),
}


# Sequences.


def recurrent(p, rows):
    step = lambda h, row: jnp.tanh(row @ p["in"] + h @ p["w"])  # noqa: E731
    return scanned(step, jnp.zeros(5), rows) @ p["o"]


def gated(p, rows):
    def step(h, row):
        new, keep = jnp.split(sigmoid(row @ p["in"] + h @ p["gates"]), 2)
        update = jnp.tanh(row @ p["in2"] + (new * h) @ p["w"])
        return keep * h + (1 - keep) * update

    return scanned(step, jnp.zeros(5), rows) @ p["o"]


def both_ways(p, rows):
    ways = [lstm(p, "on", rows)[-1], lstm(p, "back", rows, backwards=True)[0]]
    return jnp.concatenate(ways) @ p["o"]


def sequence_to_sequence(p, rows):
    """A decoder of three steps that looks at all states of the encoder."""
    states = lstm(p, "encode", rows)

    def step(s, _):
        scores = jnp.tanh(states @ p["look"] + s @ p["ask"]) @ p["score"]
        return jnp.tanh(s @ p["w"] + softmax(scores) @ states @ p["read"])

    return LAX.fori_loop(0, 3, lambda i, s: step(s, i), jnp.zeros(5)) @ p["o"]


def selective_scan(p, rows):
    """Mamba's recurrence: each of four channels has a state of three, in and out by the row."""
    u = silu(rows @ p["in"])

    def step(state, row):
        rate = softplus(row @ p["rate"])[:, None]
        state = jnp.exp(-rate * jnp.exp(p["decay"])) * state
        state = state + rate * row[:, None] * (row @ p["write"])
        return state, state @ (row @ p["read"])

    _, out = LAX.scan(step, jnp.zeros((4, 3)), u)
    return (out * silu(rows @ p["gate"])).mean(0) @ p["o"]


def state_space(p, rows):
    """A linear state with one decay for each entry."""
    state = scanned(lambda h, row: sigmoid(p["decay"]) * h + row @ p["in"], jnp.zeros(6), rows)
    return chain(p, state, "a", "o")


def feed_forward(p, name, x):
    return gelu(x @ p[f"{name}.up"]) @ p[f"{name}.down"]


def feed_forward_shapes(name, stream, hidden):
    return {f"{name}.up": (stream, hidden), f"{name}.down": (hidden, stream)}


def vision_transformer(p, x):
    """Patches with positions and a class token, one layer with norms first."""
    patches = x.reshape(4, -1) @ p["patch"]
    h = jnp.concatenate([p["token"], patches]) + p["positions"]
    h = h + attention(p, "heads", layer_norm(h))
    h = h + feed_forward(p, "mlp", layer_norm(h))
    return layer_norm(h)[0] @ p["o"]


def windows(p, x):
    """Attention within windows of two rows, moved by one, with a bias for each head."""
    h = x @ p["in"]
    for shift in (0, 1):
        parts = jnp.split(jnp.roll(h, shift, 0), 2)
        mixed = [attention(p, f"heads{shift}", part, bias=p[f"bias{shift}"]) for part in parts]
        h = h + jnp.roll(jnp.concatenate(mixed), -shift, 0)
    return h.mean(0) @ p["o"]


def mixer(p, x):
    h = x @ p["in"]
    h = h + (gelu(layer_norm(h).T @ p["rows.up"]) @ p["rows.down"]).T
    h = h + feed_forward(p, "mlp", layer_norm(h))
    return h.mean(0) @ p["o"]


def gated_mlp(p, x):
    h = x @ p["in"]
    u, v = jnp.split(gelu(h @ p["up"]), 2, -1)
    h = h + (u * (p["rows"] @ layer_norm(v))) @ p["down"]
    return h.mean(0) @ p["o"]


def language_model(p, tokens):
    """Tokens embedded and read out by one table, each looking back only."""
    h = p["table"][tokens] + p["positions"]
    mask = jnp.where(jnp.tri(len(tokens)) > 0, 0.0, -jnp.inf)
    h = h + attention(p, "heads", layer_norm(h), bias=mask)
    h = h + feed_forward(p, "mlp", layer_norm(h))
    return layer_norm(h) @ p["table"].T


def encoder(p, tokens):
    """Norms with scales after each sum, and a layer on the first row."""
    h = p["table"][tokens] + p["positions"]
    h = layer_norm(h + attention(p, "heads", h)) * p["scale1"]
    h = layer_norm(h + feed_forward(p, "mlp", h)) * p["scale2"]
    return chain(p, h[0], "pool", "o", act=jnp.tanh)


def encoder_decoder(p, x):
    """Two streams, the second looks at the first."""
    h = x[0] @ p["encode"]
    h = h + feed_forward(p, "mlp", h)
    s = x[1] @ p["decode"]
    s = s + attention(p, "cross", s, h, heads=1)
    return s @ p["o"]


def turned(z):
    """Rotary positions: pairs of features turned by angles, one for each pair of a head."""
    rows, _, size = z.shape
    rates = 0.5 ** jnp.arange(size // 2)
    angles = (jnp.arange(rows)[:, None] * rates)[:, None]
    one, two = jnp.split(z, 2, -1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([one * cos - two * sin, two * cos + one * sin], -1)


def llama(p, x):
    h = x @ p["in"]
    h = h + attention(p, "heads", rms_norm(h, p["scale1"]), turn=turned)
    normed = rms_norm(h, p["scale2"])
    h = h + (silu(normed @ p["gate"]) * (normed @ p["up"])) @ p["down"]
    return h @ p["o"]


def perceiver(p, x):
    """Learned latent rows look at the inputs, and their mean is read out."""
    h = p["latents"] + attention(p, "cross", p["latents"], x, heads=1)
    h = h + feed_forward(p, "mlp", h)
    return h.mean(0) @ p["o"]


SERIES, ROWS, TOKENS = normal(4, 3), normal(4, 5), np.array([0, 3, 1, 6])
SEQUENCES = {
    "recurrent": Case(recurrent, {"in": (3, 5), "w": (5, 5), "o": (5, 1)}, SERIES, [5]),
    "LSTM": Case(
        lambda p, rows: lstm(p, "l", rows)[-1] @ p["o"],
        lstm_shapes("l", 3, 5) | {"o": (5, 1)},
        SERIES,
        [5],
    ),
    "GRU": Case(
        gated,
        {"in": (3, 10), "gates": (5, 10), "in2": (3, 5), "w": (5, 5), "o": (5, 1)},
        SERIES,
        [5],
    ),
    "LSTM, both ways": Case(
        both_ways,
        lstm_shapes("on", 3, 5) | lstm_shapes("back", 3, 4) | {"o": (9, 1)},
        SERIES,
        [5, 4],
    ),
    "LSTM, stacked": Case(
        lambda p, rows: lstm(p, "second", lstm(p, "first", rows))[-1] @ p["o"],
        lstm_shapes("first", 3, 5) | lstm_shapes("second", 5, 4) | {"o": (4, 1)},
        SERIES,
        [5, 4],
    ),
    "sequence to sequence": Case(
        sequence_to_sequence,
        lstm_shapes("encode", 3, 4)
        | {
            "look": (4, 6),
            "ask": (5, 6),
            "score": (6,),
            "w": (5, 5),
            "read": (4, 5),
            "o": (5, 1),
        },
        SERIES,
        [4, 6, 5],  # encoder, attention, decoder
    ),
    "selective scan": Case(
        selective_scan,
        {
            "in": (3, 4),
            "rate": (4, 4),
            "decay": (4, 3),
            "write": (4, 3),
            "read": (4, 3),
            "gate": (3, 4),
            "o": (4, 1),
        },
        SERIES,
        [4, 3],  # channels; entries of their states
    ),
    "state space": Case(
        state_space,
        {"decay": (6,), "in": (3, 6), "a": (6, 4), "o": (4, 1)},
        SERIES,
        [6, 4],
    ),
    "vision transformer": Case(
        vision_transformer,
        {"patch": (5, 8), "token": (1, 8), "positions": (5, 8), "o": (8, 2)}
        | attention_shapes("heads", 8, 6)
        | feed_forward_shapes("mlp", 8, 5),
        ROWS,
        [8, 5, *[3] * 4],
        [2],
    ),
    "shifted windows": Case(
        windows,
        {"in": (5, 6), "bias0": (2, 2, 2), "bias1": (2, 2, 2), "o": (6, 1)}
        | attention_shapes("heads0", 6, 6)
        | attention_shapes("heads1", 6, 6),
        ROWS,
        [6, *[3] * 8],
        [2, 2],  # a bias moves with its head
    ),
    "MLP-Mixer": Case(
        mixer,
        {"in": (5, 6), "rows.up": (4, 3), "rows.down": (3, 4), "o": (6, 1)}
        | feed_forward_shapes("mlp", 6, 5),
        ROWS,
        [6, 3, 5],
    ),
    "gated MLP": Case(
        gated_mlp,
        {"in": (5, 6), "up": (6, 8), "rows": (4, 4), "down": (4, 6), "o": (6, 1)},
        ROWS,
        [6, 4],
    ),
    "language model": Case(
        language_model,
        {"table": (7, 6), "positions": (4, 6)}
        | attention_shapes("heads", 6, 6)
        | feed_forward_shapes("mlp", 6, 5),
        TOKENS,
        [6, 5, *[3] * 4],
        [2],
    ),
    "encoder of tokens": Case(
        encoder,
        {"table": (7, 6), "positions": (4, 6), "scale1": (6,), "scale2": (6,)}
        | {"pool": (6, 4), "o": (4, 2)}
        | attention_shapes("heads", 6, 6)
        | feed_forward_shapes("mlp", 6, 5),
        TOKENS,
        [6, 5, 4, *[3] * 4],
        [2],
    ),
    "encoder and decoder": Case(
        encoder_decoder,
        {"encode": (3, 5), "decode": (3, 6), "o": (6, 2)}
        | feed_forward_shapes("mlp", 5, 4)
        | attention_shapes("cross", 6, 3, 4, context=5),
        normal(2, 4, 3),
        [5, 6, 4, 3, 4],
    ),
    "rotary positions, SwiGLU": Case(
        llama,
        {"in": (5, 6), "scale1": (6,), "scale2": (6,), "o": (6, 2)}
        | {"gate": (6, 5), "up": (6, 5), "down": (5, 6)}
        | attention_shapes("heads", 6, 8),
        ROWS,
        [6, 5, 4, 4],  # each pair of query features has an angle of its own
        [2],
    ),
    "Perceiver": Case(
        perceiver,
        {"latents": (3, 6), "o": (6, 1)}
        | attention_shapes("cross", 6, 4, 5, context=5)
        | feed_forward_shapes("mlp", 6, 2),
        ROWS,
        [3, 6, 4, 5, 2],  # latent rows may be exchanged as well
    ),
}


# Sets and graphs.

EDGES = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1.0]])


def deep_sets(p, x):
    return chain(p, relu(chain(p, x, "a", "b")).sum(0), "c", "d")


def pooling_by_attention(p, x):
    """Seeds that look at a set through two heads, and the mean over them."""
    h = p["seeds"] + attention(p, "heads", p["seeds"], relu(x @ p["in"]))
    return h.mean(0) @ p["o"]


def neural_process(p, x):
    """Pairs are encoded and averaged; a target is decoded beside the mean."""
    context, target = x[:-1], x[-1, :1]
    code = relu(chain(p, context, "a", "b")).mean(0)
    return chain(p, jnp.concatenate([code, target]), "c", "d")


def graph_convolution(p, x):
    h = relu(EDGES @ x @ p["a"])
    return relu(EDGES @ h @ p["b"]).mean(0) @ p["o"]


def graph_attention(p, x):
    """Two heads side by side, with additive scores along edges."""
    h = (x @ p["w"]).reshape(4, 2, 3)
    source = (h * p["source"].reshape(2, 3)).sum(-1)
    target = (h * p["target"].reshape(2, 3)).sum(-1)
    scores = jax.nn.leaky_relu(source[:, None] + target[None])
    scores = jnp.where(EDGES[:, :, None] > 0, scores, -jnp.inf)
    mixed = jnp.einsum("ijh,jhd->ihd", softmax(scores, 1), h)
    return relu(mixed.reshape(4, 6)).mean(0) @ p["o"]


def message_passing(p, x):
    """Messages from pairs of nodes, summed along edges, and a state that they update."""
    h = x @ p["in"]
    messages = relu((h @ p["from"])[:, None] + (h @ p["to"])[None])
    summed = (EDGES[:, :, None] * messages).sum(1)
    h = jnp.tanh(h @ p["keep"] + summed @ p["new"])
    return h.mean(0) @ p["o"]


NODES = normal(4, 3)
SETS = {
    "deep sets": Case(
        deep_sets, {"a": (3, 5), "b": (5, 4), "c": (4, 6), "d": (6, 1)}, NODES, [5, 4, 6]
    ),
    "set transformer": Case(
        pooling_by_attention,
        {"seeds": (2, 4), "in": (3, 5), "o": (4, 1)} | attention_shapes("heads", 4, 6, context=5),
        NODES,
        [2, 4, 5, *[3] * 4],  # seeds, their features, the set's, and within heads
        [2],
    ),
    "neural process": Case(
        neural_process, {"a": (3, 5), "b": (5, 4), "c": (5, 6), "d": (6, 1)}, NODES, [5, 4, 6]
    ),
    "graph convolution": Case(
        graph_convolution, {"a": (3, 5), "b": (5, 4), "o": (4, 1)}, NODES, [5, 4]
    ),
    "graph attention": Case(
        graph_attention,
        {"w": (3, 6), "source": (6,), "target": (6,), "o": (6, 1)},
        NODES,
        [3, 3],
        [2],
    ),
    "message passing": Case(
        message_passing,
        {"in": (3, 4), "from": (4, 5), "to": (4, 5), "keep": (4, 4), "new": (5, 4), "o": (4, 1)},
        NODES,
        [4, 5, 4],  # states before, messages, states after
    ),
}

ARCHITECTURES = CONNECTED | CONVOLUTIONAL | SEQUENCES | SETS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_group_is_the_one_worked_out_by_hand(name):
    case = ARCHITECTURES[name]
    params = {key: normal(*shape) for key, shape in case.shapes.items()}
    found = symvi.find_symmetry(case.apply, params, case.inputs, exact=True)
    sizes = sorted(group.size for group in found.symmetry.groups)
    assert sizes == sorted(case.product), found.notes
    by_hand = log_factorials(case.product) + log_factorials(case.blocks)
    assert found.nested.log_order == pytest.approx(by_hand, abs=1e-9), found.notes
    missing = log_factorials(case.missing)
    assert found.exact_log_order == pytest.approx(by_hand + missing, abs=1e-9)
    assert any("counted exactly" in note for note in found.notes) == bool(case.missing)


def test_there_are_many():
    assert len(ARCHITECTURES) >= 60
