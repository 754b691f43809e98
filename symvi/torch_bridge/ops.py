"""What :func:`symvi.from_torch` understands: each operation as a JAX function and as a label rule.

``OPS[name]`` is a pair. The function takes arrays and PyTorch's own arguments; the rule takes
``(labels, shape of the result, *the same arguments)`` with a :class:`Traced` in place of each
tensor, and returns the result's. Rows of the first axis of whatever depends on the input are data.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symvi.torch_bridge.windows import convolution, largest


class Traced(NamedTuple):
    """A tensor's labels: the cells of each axis, and whether it depends on the input."""

    axes: list
    batched: bool


OPS = {}


def op(rule, *names):
    """Register the decorated JAX function, with its rule, under `names` (its own if none)."""

    def register(function):
        for name in names or (function.__name__,):
            OPS[name] = (function, rule)
        return function

    return register


def expect(holds, what, got, remedy):
    if not holds:
        raise ValueError(f"expected {what}, got {got}; {remedy}")


def tuple_of(value, k) -> tuple:
    return (
        tuple(value)
        if isinstance(value, (tuple, list)) and len(value) == k
        else (value if isinstance(value, int) else value[0],) * k
    )


# Entry by entry: the cells stay, and entries read together go together.


def keep(labels, shape, x, *args, **kwargs):
    return x


def together(labels, shape, *args, **kwargs):
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Traced)]
    axes = []
    for axis in range(-len(shape), 0):
        here = [t.axes[axis] for t in tensors if len(t.axes) >= -axis]
        whole = [cells for cells in here if len(cells) == shape[axis]]
        for cells in here:
            if len(cells) != shape[axis]:
                labels.pin(cells, "stretching one entry over an axis")
        if len(whole) > 1:
            labels.tie(*whole)
        axes.append(whole[0])
    return Traced(axes, any(t.batched for t in tensors))


UNARY = {
    **dict.fromkeys(("identity", "contiguous", "clone"), lambda x: x),
    "detach": jax.lax.stop_gradient,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "selu": jax.nn.selu,
    "softsign": jax.nn.soft_sign,
    "logsigmoid": jax.nn.log_sigmoid,
    "hardswish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: jnp.clip(x + 3, 0, 6) / 6,
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "sin": jnp.sin,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "abs": jnp.abs,
    "neg": jnp.negative,
    "square": jnp.square,
    "erf": jax.scipy.special.erf,
}
for _name, _function in UNARY.items():
    op(keep, _name)(lambda x, inplace=False, function=_function: function(x))

op(keep, "gelu")(lambda x, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh"))
op(keep, "elu")(lambda x, alpha=1.0, inplace=False: jax.nn.elu(x, alpha))
op(keep, "celu")(lambda x, alpha=1.0, inplace=False: jax.nn.celu(x, alpha))
op(keep, "leaky_relu")(
    lambda x, negative_slope=0.01, inplace=False: jnp.where(x >= 0, x, negative_slope * x)
)
op(keep, "hardtanh")(
    lambda x, min_val=-1.0, max_val=1.0, inplace=False: jnp.clip(x, min_val, max_val)
)
op(keep, "clamp")(lambda x, min=None, max=None: jnp.clip(x, min, max))
op(keep, "softplus")(
    lambda x, beta=1.0, threshold=20.0: jnp.where(
        x * beta > threshold, x, jax.nn.softplus(x * beta) / beta
    )
)
op(keep, "softmax")(lambda x, dim, _stacklevel=3, dtype=None: jax.nn.softmax(x, dim))
op(keep, "log_softmax")(lambda x, dim, _stacklevel=3, dtype=None: jax.nn.log_softmax(x, dim))
op(together, "add")(lambda x, other, alpha=1: x + (other if alpha == 1 else alpha * other))
op(together, "sub")(lambda x, other, alpha=1: x - (other if alpha == 1 else alpha * other))
op(together, "mul")(lambda x, other: x * other)
op(together, "div")(lambda x, other: x / other)
op(together, "pow")(lambda x, exponent: x**exponent)
op(together, "maximum")(jnp.maximum)
op(together, "minimum")(jnp.minimum)
op(together, "floordiv")(lambda x, other: x // other)


@op(keep)
def dropout(x, p=0.5, training=True, inplace=False):
    expect(
        not training,
        "dropout that is off in eval mode",
        "training=True",
        "pass training=self.training",
    )
    return x


# Layers.


def linear_rule(labels, shape, x, weight, bias=None):
    out, into = weight.axes
    labels.tie(x.axes[-1], into)
    if bias is not None:
        labels.tie(out, bias.axes[0])
    return Traced([*x.axes[:-1], out], x.batched)


@op(linear_rule)
def linear(x, weight, bias=None):
    return x @ weight.T if bias is None else x @ weight.T + bias


def matmul_rule(labels, shape, x, other):
    expect(
        not other.batched and len(other.axes) <= 2,
        "a matrix or vector of weights on the right",
        "two tensors that depend on the input",
        "features times features, as in attention, is not analysed",
    )
    labels.tie(x.axes[-1], other.axes[0])
    return Traced([*x.axes[:-1], *other.axes[1:]], x.batched)


op(matmul_rule, "matmul", "mm")(lambda x, other: x @ other)


def conv_rule(labels, shape, x, weight, bias=None, *args, **kwargs):
    k = len(weight.axes) - 2
    expect(
        len(x.axes) == k + 2,
        f"an input of shape (N, channels, *{k} sizes)",
        f"{len(x.axes)} axes",
        "add the axis of data",
    )
    labels.tie(x.axes[1], weight.axes[1])
    for cells in x.axes[2:]:
        labels.pin(cells, "a convolution along features")
    for cells in weight.axes[2:]:
        labels.pin(cells)
    if bias is not None:
        labels.tie(weight.axes[0], bias.axes[0])
    return Traced(
        [x.axes[0], weight.axes[0], *(labels.fresh(n, pinned=True) for n in shape[2:])], x.batched
    )


@op(conv_rule, "conv1d", "conv2d")
def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    expect(groups == 1, "groups = 1", f"groups = {groups}", "a grouped convolution is not analysed")
    expect(padding_mode == "zeros", "padding_mode = 'zeros'", repr(padding_mode), "pad by zeros")
    k = weight.ndim - 2
    dilation = tuple_of(dilation, k)
    if padding == "same":
        spare = [d * (n - 1) for d, n in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(s // 2, s - s // 2) for s in spare]
    else:
        pads = [(p, p) for p in tuple_of(0 if padding == "valid" else padding, k)]
    x, weight = (a.astype(jnp.result_type(x, weight)) for a in (x, weight))
    out = convolution(x, weight, tuple_of(stride, k), pads, dilation)
    return out if bias is None else out + bias.reshape(-1, *[1] * k)


def batch_norm_rule(labels, shape, x, *args, **kwargs):
    labels.tie(x.axes[1], *(a.axes[0] for a in (*args, *kwargs.values()) if isinstance(a, Traced)))
    return x


@op(batch_norm_rule)
def batch_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    expect(
        not training and running_mean is not None,
        "running statistics",
        "statistics of the batch",
        "use track_running_stats=True and eval mode",
    )
    wide = partial(jnp.reshape, shape=(-1, *[1] * (x.ndim - 2)))
    out = (x - wide(running_mean)) / jnp.sqrt(wide(running_var) + eps)
    out = out if weight is None else out * wide(weight)
    return out if bias is None else out + wide(bias)


def layer_norm_rule(labels, shape, x, normalized_shape, weight=None, bias=None, eps=1e-5):
    for axis in range(-len(normalized_shape), 0):
        labels.tie(x.axes[axis], *(w.axes[axis] for w in (weight, bias) if w is not None))
    return x


@op(layer_norm_rule)
def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(-len(normalized_shape), 0))
    out = (x - x.mean(axes, keepdims=True)) / jnp.sqrt(x.var(axes, keepdims=True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


# Pools: the last k axes are positions.


def positions_rule(k, labels, shape, x, *args, **kwargs):
    for cells in x.axes[-k:]:
        labels.pin(cells, "pooling along features")
    return Traced(
        [*x.axes[:-k], *(labels.fresh(n, pinned=True) for n in shape[len(shape) - k :])], x.batched
    )


def _windows(k, kernel_size, stride, padding, dilation=1) -> tuple:
    """Sizes, strides, paddings and dilations of windows over the last k axes."""
    size = tuple_of(kernel_size, k)
    step = size if stride is None or stride == () else tuple_of(stride, k)
    return size, step, [(p, p) for p in tuple_of(padding, k)], tuple_of(dilation, k)


def _window_sum(x, k, kernel_size, stride, padding):
    size, step, pads, _ = _windows(k, kernel_size, stride, padding)
    lead = x.ndim - k
    ones, nothing = (1,) * lead, [(0, 0)] * lead
    whole = (ones + size, ones + step, nothing + pads)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, *whole)


def _max_pool(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, k
):
    expect(
        not ceil_mode and not return_indices,
        "ceil_mode = return_indices = False",
        "True",
        "turn them off",
    )
    return largest(x, *_windows(k, kernel_size, stride, padding, dilation))


def _avg_pool(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    k,
):
    expect(
        not ceil_mode and divisor_override is None,
        "ceil_mode = False and no divisor_override",
        "another setting",
        "turn them off",
    )
    total = _window_sum(x, k, kernel_size, stride, padding)
    if count_include_pad:
        return total / math.prod(tuple_of(kernel_size, k))
    return total / _window_sum(jnp.ones_like(x), k, kernel_size, stride, padding)


def _adaptive_avg_pool(x, output_size, *, k):
    for axis, size in zip(range(-k, 0), tuple_of(output_size, k), strict=True):
        n = x.shape[axis]
        size = n if size is None else size
        mean = np.zeros((n, size))
        for i in range(size):
            where = slice(i * n // size, -(-(i + 1) * n // size))
            mean[where, i] = 1 / (where.stop - where.start)
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(mean, x.dtype), -1, axis)
    return x


for _k in (1, 2):
    for _function in (_max_pool, _avg_pool, _adaptive_avg_pool):
        op(partial(positions_rule, _k), f"{_function.__name__[1:]}{_k}d")(partial(_function, k=_k))


def pin_rule(labels, shape, *args, **kwargs):
    """For an operation that is not analysed: all that it touches stays in place."""
    for value in jax.tree.leaves((args, kwargs), is_leaf=lambda v: isinstance(v, Traced)):
        for cells in value.axes if isinstance(value, Traced) else ():
            labels.pin(cells, "an operation that is not analysed")
    return Traced([labels.fresh(n, pinned=True) for n in shape], True)


ALIASES = {
    "iadd": "add",
    "isub": "sub",
    "imul": "mul",
    "itruediv": "div",
    "truediv": "div",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "absolute": "abs",
    "negative": "neg",
    "swapaxes": "transpose",
    "clip": "clamp",
    "special_erf": "erf",
}

# Layer classes: operation, tensors and settings that it takes from the module by name.
_CONV = (("weight", "bias"), ("stride", "padding", "dilation", "groups", "padding_mode"))
_NORM = (("running_mean", "running_var", "weight", "bias"), ("eps",))
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_PLAIN = (
    *("ReLU", "ReLU6", "Tanh", "Sigmoid", "SiLU", "Mish", "SELU", "Softsign", "LogSigmoid"),
    *("Hardswish", "Hardsigmoid", "Tanhshrink"),
)
_OFF = ("Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout")  # in eval mode
MODULES = {
    "Linear": ("linear", ("weight", "bias"), ()),
    "Conv1d": ("conv1d", *_CONV),
    "Conv2d": ("conv2d", *_CONV),
    "BatchNorm1d": ("batch_norm", *_NORM),
    "BatchNorm2d": ("batch_norm", *_NORM),
    "LayerNorm": ("layer_norm", ("weight", "bias"), ("normalized_shape", "eps")),
    **{f"MaxPool{k}d": (f"max_pool{k}d", (), _MAX) for k in (1, 2)},
    "AvgPool1d": ("avg_pool1d", (), _AVERAGE),
    "AvgPool2d": ("avg_pool2d", (), (*_AVERAGE, "divisor_override")),
    **{f"AdaptiveAvgPool{k}d": (f"adaptive_avg_pool{k}d", (), ("output_size",)) for k in (1, 2)},
    "Flatten": ("flatten", (), ("start_dim", "end_dim")),
    "Unflatten": ("unflatten", (), ("dim", "unflattened_size")),
    **{name: ("identity", (), ()) for name in _OFF},
    **{name: (name.lower(), (), ()) for name in _PLAIN},
    "GELU": ("gelu", (), ("approximate",)),
    "ELU": ("elu", (), ("alpha",)),
    "CELU": ("celu", (), ("alpha",)),
    "LeakyReLU": ("leaky_relu", (), ("negative_slope",)),
    "Hardtanh": ("hardtanh", (), ("min_val", "max_val")),
    "Softplus": ("softplus", (), ("beta", "threshold")),
    "Softmax": ("softmax", (), ("dim",)),
    "LogSoftmax": ("log_softmax", (), ("dim",)),
}
