"""PyTorch's core operations (core ATen) in JAX: what ``torch.export`` reduces a module to.

``OPERATIONS`` maps an operation's name without its overload, as ``"aten.convolution"``, to a JAX
function with ATen's own order and names of arguments; dtypes are NumPy's, and arguments about
memory are gone. Operations with several results return a tuple, whose entries may be functions
without arguments: they are called only where a result is used, so that a maximum brings no unused
argmax along. Operations that create tensors (full, arange, ...) are absent: they depend on no
input, and PyTorch itself computes them at export.

Reference: the schemas in PyTorch's ``native_functions.yaml`` and the texts of ``torch.nn``.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from symvi.torch_bridge.windows import convolution as shifted_convolution
from symvi.torch_bridge.windows import largest

OPERATIONS = {}
COPIES = 100_000  # numbers of a datum that a convolution may copy to be quick for many draws


def operation(*names):
    """Register the decorated function under ``"aten." + name`` for each of `names`."""

    def register(function):
        for name in names or (function.__name__,):
            OPERATIONS[f"aten.{name}"] = function
        return function

    return register


def expect(holds, what, got, remedy):
    if not holds:
        raise ValueError(f"expected {what}, got {got}; {remedy}")


# Entry by entry.


def whole(exponent):
    """2.0 as 2: a whole power is a product."""
    is_whole = isinstance(exponent, float) and exponent.is_integer()
    return int(exponent) if is_whole else exponent


def divide(x, other, *, rounding_mode=None):
    if rounding_mode is None:
        return x / other
    if rounding_mode == "floor":
        return jnp.floor_divide(x, other)
    return jnp.trunc(x / other).astype(jnp.result_type(x, other))


def elu(x, alpha=1, scale=1, input_scale=1):
    negative = scale * alpha * jnp.expm1(input_scale * jnp.minimum(x, 0))
    return jnp.where(x > 0, scale * x, negative)


def rrelu(x, noise, lower=0.125, upper=1 / 3, training=False, generator=None):
    expect(not training, "RReLU in eval mode", "training=True", "pass training=self.training")
    return jnp.where(x >= 0, x, (lower + upper) / 2 * x), lambda: noise


ELEMENTWISE = {
    "abs": jnp.abs,
    "acos": jnp.arccos,
    "acosh": jnp.arccosh,
    "add": lambda x, other, *, alpha=1: x + (other if alpha == 1 else alpha * other),
    "asin": jnp.arcsin,
    "asinh": jnp.arcsinh,
    "atan": jnp.arctan,
    "atan2": jnp.arctan2,
    "atanh": jnp.arctanh,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_not": jnp.bitwise_not,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
    "ceil": jnp.ceil,
    "clamp": lambda x, min=None, max=None: jnp.clip(x, min, max),
    "copysign": jnp.copysign,
    "cos": jnp.cos,
    "cosh": jnp.cosh,
    "digamma": jax.scipy.special.digamma,
    "div": divide,
    "elu": elu,
    "eq": lambda x, other: x == other,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "erfinv": jax.scipy.special.erfinv,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "fill": lambda x, value: jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape),
    "floor": jnp.floor,
    "fmod": jnp.fmod,
    "full_like": lambda x, value, *, dtype=None: jnp.full_like(x, value, dtype),
    "ge": lambda x, other: x >= other,
    "gelu": lambda x, *, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh"),
    "gt": lambda x, other: x > other,
    "hardtanh": lambda x, min_val=-1, max_val=1: jnp.clip(x, min_val, max_val),
    "hypot": jnp.hypot,
    "isinf": jnp.isinf,
    "isnan": jnp.isnan,
    "le": lambda x, other: x <= other,
    "leaky_relu": lambda x, negative_slope=0.01: jnp.where(x > 0, x, negative_slope * x),
    "lgamma": jax.scipy.special.gammaln,
    "log": jnp.log,
    "log10": jnp.log10,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "logical_and": jnp.logical_and,
    "logical_not": jnp.logical_not,
    "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor,
    "lt": lambda x, other: x < other,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "mul": lambda x, other: x * other,
    "ne": lambda x, other: x != other,
    "neg": jnp.negative,
    "pow": lambda x, exponent: x ** whole(exponent),
    "reciprocal": jnp.reciprocal,
    "relu": jax.nn.relu,
    "remainder": jnp.remainder,
    "round": lambda x, *, decimals=0: jnp.round(x, decimals),
    "rrelu_with_noise_functional": rrelu,
    "rsqrt": lax.rsqrt,
    "sigmoid": jax.nn.sigmoid,
    "sign": jnp.sign,
    "sin": jnp.sin,
    "sinh": jnp.sinh,
    "sqrt": jnp.sqrt,
    "sub": lambda x, other, *, alpha=1: x - (other if alpha == 1 else alpha * other),
    "tan": jnp.tan,
    "tanh": jnp.tanh,
    "trunc": jnp.trunc,
    "where": jnp.where,
    "_to_copy": lambda x, *, dtype=None: x if dtype is None else x.astype(dtype),
    **dict.fromkeys(("alias", "clone", "detach", "lift_fresh_copy"), lambda x: x),
    **dict.fromkeys(
        ("zeros_like", "empty_like"), lambda x, *, dtype=None: jnp.zeros_like(x, dtype)
    ),
    "ones_like": lambda x, *, dtype=None: jnp.ones_like(x, dtype),
}
for _name, _function in ELEMENTWISE.items():
    operation(_name)(_function)


@operation()
def copy(x, source):
    """The values of `source` in a tensor like `x`."""
    return jnp.broadcast_to(source, x.shape).astype(x.dtype)


@operation()
def native_dropout(x, p, train):
    expect(
        not train, "dropout that is off in eval mode", "train=True", "pass training=self.training"
    )
    return x, lambda: jnp.ones_like(x, bool)


# Products.


@operation("mm", "bmm", "mv", "dot")
def matmul(x, other):
    return x @ other


@operation("addmm", "baddbmm", "addmv")
def addmm(x, left, right, *, beta=1, alpha=1):
    product = left @ right
    product = product if alpha == 1 else alpha * product
    return product + (x if beta == 1 else beta * x)


@operation("_trilinear")
def trilinear(x, weight, z, expand1, expand2, expand3, sumdim, unroll_dim=1):
    """The product of three tensors, each without some of all axes, summed over `sumdim`."""
    num = x.ndim + len(expand1)
    letters = "abcdefghijklmnopqrstuvwxyz"[:num]

    def without(axes):
        return "".join(letter for i, letter in enumerate(letters) if i not in axes)

    left = ",".join(map(without, (expand1, expand2, expand3)))
    return jnp.einsum(f"{left}->{without(sumdim)}", x, weight, z)


def norm_over(x, axes, keepdims, order):
    size = jnp.abs(x)
    if order == math.inf:
        return size.max(axes, keepdims=keepdims)
    if order == -math.inf:
        return size.min(axes, keepdims=keepdims)
    if order == 0:
        return (x != 0).sum(axes, keepdims=keepdims).astype(x.dtype)
    if order == 1:
        return size.sum(axes, keepdims=keepdims)
    if order == 2:
        return root((x * x).sum(axes, keepdims=keepdims), jnp.sqrt)
    total = (size ** whole(order)).sum(axes, keepdims=keepdims)
    return root(total, lambda positive: positive ** (1 / order))


def root(total, function):
    """A root whose slope at 0 is 0, as PyTorch's is for norms."""
    zero = total == 0
    return jnp.where(zero, 0, function(jnp.where(zero, 1, total)))


@operation()
def linalg_vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    return norm_over(x if dtype is None else x.astype(dtype), axes_of(dim), keepdim, ord)


@operation("_cdist_forward")
def cdist(x, other, p, compute_mode=None):
    return norm_over(x[..., :, None, :] - other[..., None, :, :], -1, False, p)


# Convolutions.


def each(value, k) -> tuple:
    """A setting for each of k axes, from one number or a list."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * k if len(values) == 1 else values


@operation()
def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    k = weight.ndim - 2
    stride, padding, dilation = (each(value, k) for value in (stride, padding, dilation))
    dtype = jnp.result_type(x, weight)
    x, weight = x.astype(dtype), weight.astype(dtype)
    if transposed:
        reach = [d * (n - 1) for d, n in zip(dilation, weight.shape[2:], strict=True)]
        before = [r - p for r, p in zip(reach, padding, strict=True)]
        after = [b + o for b, o in zip(before, each(output_padding, k), strict=True)]
        pads, strides, spread = list(zip(before, after, strict=True)), (1,) * k, stride
        weight = turned(weight, groups)
    else:
        pads, strides, spread = [(p, p) for p in padding], stride, (1,) * k
    if groups == 1 and not transposed and few_copies(x, weight.shape[2:]):
        out = shifted_convolution(x, weight, strides, pads, dilation)
    else:
        out = lax.conv_general_dilated(
            x, weight, strides, pads, spread, dilation, feature_group_count=groups
        )
    return out if bias is None else out + bias.reshape(-1, *[1] * k)


def few_copies(x, sizes) -> bool:
    """Whether a copy of a datum for each entry of a window is small; see `windows`."""
    return math.prod(sizes) * x.size <= COPIES


def turned(weight, groups):
    """A transposed convolution's kernel (in, out / groups, ...) as (out, in / groups, ...)."""
    into, out, *sizes = weight.shape
    weight = weight.reshape(groups, into // groups, out, *sizes).swapaxes(1, 2)
    weight = weight.reshape(groups * out, into // groups, *sizes)
    return jnp.flip(weight, range(2, weight.ndim))


# Pooling: the last k axes are positions.


def windows(x, k, kernel, stride, padding, dilation, ceil_mode) -> tuple:
    """Kernel, stride and pads of each axis, and how many windows there are.

    In ceil mode the last window may reach beyond the right pad, but must start before it.
    """
    kernel, padding, dilation = (each(value, k) for value in (kernel, padding, dilation))
    stride = each(stride, k) or kernel
    pads, counts = [], []
    for n, size, step, pad, d in zip(x.shape[-k:], kernel, stride, padding, dilation, strict=True):
        reach = d * (size - 1) + 1
        free = n + 2 * pad - reach
        count = (-(-free // step) if ceil_mode else free // step) + 1
        if ceil_mode and (count - 1) * step >= n + pad:
            count -= 1
        pads.append((pad, max(pad, (count - 1) * step + reach - n - pad)))
        counts.append(count)
    return kernel, stride, dilation, pads, counts


def reduce_windows(x, start, reducer, kernel, stride, dilation, pads):
    lead = (1,) * (x.ndim - len(kernel))
    return lax.reduce_window(
        x,
        np.array(start, x.dtype),
        reducer,
        lead + kernel,
        lead + stride,
        [(0, 0)] * len(lead) + pads,
        window_dilation=lead + dilation,
    )


def refused_indices():
    remedy = "leave return_indices=False"
    raise ValueError(f"expected only the values of a max-pool, got use of its indices; {remedy}")


def max_pool(x, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False, *, k):
    kernel, stride, dilation, pads, _ = windows(
        x, k, kernel_size, stride, padding, dilation, ceil_mode
    )
    if few_copies(x, kernel) and jnp.issubdtype(x.dtype, jnp.floating):
        values = largest(x, kernel, stride, pads, dilation)
    else:
        values = reduce_windows(x, lowest(x.dtype), lax.max, kernel, stride, dilation, pads)
    return values, refused_indices


def lowest(dtype):
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else np.iinfo(dtype).min


def avg_pool(
    x,
    kernel_size,
    stride=(),
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    k,
):
    kernel, stride, ones, pads, counts = windows(x, k, kernel_size, stride, padding, 1, ceil_mode)
    total = reduce_windows(x, 0, lax.add, kernel, stride, ones, pads)
    if divisor_override is not None:
        return total / divisor_override
    sizes = np.ones(())
    for n, size, step, (pad, _), count in zip(
        x.shape[-k:], kernel, stride, pads, counts, strict=True
    ):
        start = np.arange(count) * step - pad
        end = np.minimum(start + size, n + pad)  # what ceil mode adds is not counted
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        sizes = sizes[..., None] * (end - start)
    if (sizes == sizes.flat[0]).all():
        return total / float(sizes.flat[0])
    return total / sizes.astype(x.dtype)


def pieces(n, size):
    """The slices of adaptive pooling: `size` of n entries, which may overlap."""
    return [slice(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]


def adaptive_avg_pool(x, output_size, *, k):
    for axis, size in zip(range(-k, 0), each(output_size, k), strict=True):
        n = x.shape[axis]
        mean = np.zeros((n, size))
        for i, where in enumerate(pieces(n, size)):
            mean[where, i] = 1 / (where.stop - where.start)
        if size != n:
            x = along(x, mean, axis)
    return x


def along(x, matrix, axis):
    """`x` times a fixed matrix along one axis."""
    return jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ matrix.astype(x.dtype), -1, axis)


def adaptive_max_pool(x, output_size, *, k):
    for axis, size in zip(range(-k, 0), each(output_size, k), strict=True):
        n = x.shape[axis]
        parts = [
            lax.slice_in_dim(x, where.start, where.stop, axis=axis).max(axis, keepdims=True)
            for where in pieces(n, size)
        ]
        x = jnp.concatenate(parts, axis)
    return x, refused_indices


for _k in (1, 2, 3):
    operation(f"avg_pool{_k}d")(partial(avg_pool, k=_k))
    operation(f"max_pool{_k}d_with_indices")(partial(max_pool, k=_k))
    operation(f"adaptive_avg_pool{_k}d", f"_adaptive_avg_pool{_k}d")(
        partial(adaptive_avg_pool, k=_k)
    )
    operation(f"adaptive_max_pool{_k}d")(partial(adaptive_max_pool, k=_k))


# Resizing.


def of_output(size, given) -> list:
    """The output sizes of an upsampling, from sizes or scales."""
    output_size, scales = given
    if output_size is not None:
        return list(output_size)
    return [int(n * s) for n, s in zip(size, scales, strict=True)]


@operation()
def upsample_nearest2d(x, output_size, scale_factors=None):
    scales = each(scale_factors, 2) if scale_factors is not None else (None, None)
    sizes = of_output(x.shape[-2:], (output_size, scale_factors))
    for axis, size, scale in zip((-2, -1), sizes, scales, strict=True):
        n = x.shape[axis]
        step = np.float32(n / size if scale is None else 1 / scale)  # as PyTorch computes it
        index = np.minimum(np.floor(np.arange(size) * step).astype(int), n - 1)
        x = jnp.take(x, index, axis, mode="clip")
    return x


@operation()
def upsample_bilinear2d(x, output_size, align_corners, scale_factors=None):
    scales = each(scale_factors, 2) if scale_factors is not None else (None, None)
    sizes = of_output(x.shape[-2:], (output_size, scale_factors))
    for axis, size, scale in zip((-2, -1), sizes, scales, strict=True):
        n = x.shape[axis]
        step = n / size if scale is None else 1 / scale
        if align_corners:
            place = np.arange(size) * ((n - 1) / max(size - 1, 1))
        else:
            place = np.maximum((np.arange(size) + 0.5) * step - 0.5, 0)
        low = np.minimum(np.floor(place).astype(int), n - 1)
        high = np.minimum(low + 1, n - 1)
        matrix = np.zeros((n, size))
        np.add.at(matrix, (low, np.arange(size)), 1 - (place - low))
        np.add.at(matrix, (high, np.arange(size)), place - low)
        x = along(x, matrix, axis)
    return x


# Norms.


def standard(x, axes, eps):
    """`x` less its mean, over its standard deviation, with mean and 1 / deviation."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    scale = lax.rsqrt((centred * centred).mean(axes, keepdims=True) + eps)
    return centred * scale, mean, scale


def affine(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def per_channel(x, *values) -> list:
    """Vectors with an entry for each channel, shaped to go with `x`."""
    shape = (-1, *[1] * (x.ndim - 2))
    return [None if value is None else value.reshape(shape) for value in values]


@operation()
def native_layer_norm(x, normalized_shape, weight, bias, eps):
    out, *statistics = standard(x, tuple(range(-len(normalized_shape), 0)), eps)
    return affine(out, weight, bias), *statistics


@operation()
def native_group_norm(x, weight, bias, n, c, hxw, group, eps):
    split = x.reshape(x.shape[0], group, x.shape[1] // group, *x.shape[2:])
    out, *statistics = standard(split, tuple(range(2, split.ndim)), eps)
    return affine(out.reshape(x.shape), *per_channel(x, weight, bias)), *statistics


@operation("_native_batch_norm_legit_no_training")
def batch_norm(x, weight, bias, running_mean, running_var, momentum, eps):
    mean, var, weight, bias = per_channel(x, running_mean, running_var, weight, bias)
    return affine((x - mean) * lax.rsqrt(var + eps), weight, bias), running_mean, running_var


@operation("_native_batch_norm_legit")
def batch_norm_without_statistics(x, weight, bias, *settings):
    """By the batch's own statistics: as instance norm, whose channels are those of one datum."""
    expect(
        len(settings) == 3,
        "running statistics that are not updated",
        "an update in eval mode",
        "call module.eval()",
    )
    out, *statistics = standard(x, (0, *range(2, x.ndim)), settings[-1])
    return affine(out, *per_channel(x, weight, bias)), *statistics


@operation()
def native_batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    if training:
        return batch_norm_without_statistics(x, weight, bias, True, momentum, eps)
    return batch_norm(x, weight, bias, running_mean, running_var, momentum, eps)


# Reductions.


def axes_of(dim):
    """Axes as JAX takes them: None for all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return None
    return tuple(dim) if isinstance(dim, (tuple, list)) else dim


def reduction(function, *names):
    """Register a reduction that takes dtype too."""

    @operation(*names)
    def reduced(x, dim=None, keepdim=False, *, dtype=None):
        return function(x, axes_of(dim), dtype=dtype, keepdims=keepdim)


reduction(jnp.sum, "sum")
reduction(jnp.mean, "mean")
reduction(jnp.prod, "prod")


@operation()
def amax(x, dim=(), keepdim=False):
    return x.max(axes_of(dim), keepdims=keepdim)


@operation()
def amin(x, dim=(), keepdim=False):
    return x.min(axes_of(dim), keepdims=keepdim)


@operation("any")
def any_of(x, dim=None, keepdim=False):
    return jnp.any(x, axes_of(dim), keepdims=keepdim)


@operation("all")
def all_of(x, dim=None, keepdim=False):
    return jnp.all(x, axes_of(dim), keepdims=keepdim)


@operation()
def argmax(x, dim=None, keepdim=False):
    return jnp.argmax(x, dim, keepdims=keepdim)


@operation()
def argmin(x, dim=None, keepdim=False):
    return jnp.argmin(x, dim, keepdims=keepdim)


@operation("max")
def max_with_indices(x, dim=None, keepdim=False):
    if dim is None:
        return x.max()
    return x.max(dim, keepdims=keepdim), lambda: jnp.argmax(x, dim, keepdims=keepdim)


@operation("min")
def min_with_indices(x, dim=None, keepdim=False):
    if dim is None:
        return x.min()
    return x.min(dim, keepdims=keepdim), lambda: jnp.argmin(x, dim, keepdims=keepdim)


@operation()
def median(x, dim, keepdim=False):
    """The lower of two medians."""

    def middle(ordered):
        out = lax.index_in_dim(ordered, (ordered.shape[dim] - 1) // 2, dim)
        return out if keepdim else out.squeeze(dim)

    return middle(jnp.sort(x, dim)), lambda: middle(jnp.argsort(x, dim))


@operation()
def var(x, dim=None, unbiased=True, keepdim=False, *, correction=None):
    correction = int(unbiased) if correction is None else correction
    axes = axes_of(dim)
    centred = x - x.mean(axes, keepdims=True)
    total = (centred * centred).sum(axes, keepdims=keepdim)
    return total / max(x.size // total.size - correction, 0)


@operation()
def cumsum(x, dim, *, dtype=None):
    return jnp.cumsum(x, dim, dtype)


@operation()
def cumprod(x, dim, *, dtype=None):
    return jnp.cumprod(x, dim, dtype)


@operation()
def logcumsumexp(x, dim):
    return lax.cumlogsumexp(x, dim % x.ndim)


@operation("_softmax")
def softmax(x, dim, half_to_float=False):
    return jax.nn.softmax(x, dim)


@operation("_log_softmax")
def log_softmax(x, dim, half_to_float=False):
    return jax.nn.log_softmax(x, dim)


@operation()
def sort(x, dim=-1, descending=False, *, stable=True):
    def order():
        return jnp.argsort(x, dim, descending=descending)

    return jnp.sort(x, dim, descending=descending), order


@operation()
def topk(x, k, dim=-1, largest=True, sorted=True):
    last = jnp.moveaxis(x, dim, -1)
    values, index = lax.top_k(last if largest else -last, k)
    values = values if largest else -values
    return jnp.moveaxis(values, -1, dim), lambda: jnp.moveaxis(index, -1, dim)


# Shapes.


@operation("view", "_unsafe_view", "reshape")
def view(x, size):
    expect(
        isinstance(size, (tuple, list)),
        "a view of the same numbers",
        f"a view of dtype {size}",
        "convert with Tensor.to",
    )
    return x.reshape(size)


@operation()
def permute(x, dims):
    return jnp.transpose(x, dims)


@operation()
def expand(x, size):
    kept = (1,) * (len(size) - x.ndim) + x.shape
    return jnp.broadcast_to(x, [m if n == -1 else n for n, m in zip(size, kept, strict=True)])


@operation()
def squeeze(x, dim=None):
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    return lax.squeeze(x, [d for d in dims if x.ndim and x.shape[d] == 1])


@operation()
def unsqueeze(x, dim):
    return jnp.expand_dims(x, dim)


def bounds(n, start, end, step=1) -> tuple:
    """A slice of n entries, with both ends inside."""
    start, end, _ = slice(start, end, step).indices(n)
    return start, max(start, end)


@operation("slice")
def slice_of(x, dim=0, start=None, end=None, step=1):
    return lax.slice_in_dim(x, *bounds(x.shape[dim], start, end), step, dim)


@operation()
def select(x, dim, index):
    return lax.index_in_dim(x, index, dim, keepdims=False)


@operation()
def slice_scatter(x, source, dim=0, start=None, end=None, step=1):
    """`x` with `source` in place of a slice, by cutting and joining."""
    start, end = bounds(x.shape[dim], start, end)
    if step != 1:
        where = [slice(None)] * x.ndim
        where[dim] = slice(start, end, step)
        return jnp.asarray(x).at[tuple(where)].set(source)
    before = lax.slice_in_dim(x, 0, start, axis=dim)
    after = lax.slice_in_dim(x, end, x.shape[dim], axis=dim)
    parts = [part for part in (before, source.astype(x.dtype), after) if part.shape[dim]]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, dim)


@operation()
def select_scatter(x, source, dim, index):
    index %= x.shape[dim]
    return slice_scatter(x, jnp.expand_dims(source, dim), dim, index, index + 1)


@operation()
def cat(tensors, dim=0):
    parts = [t for t in tensors if t.shape != (0,)]  # as PyTorch skips these
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, dim)


@operation()
def split_with_sizes(x, sizes, dim=0):
    ends = np.cumsum(sizes)
    return [lax.slice_in_dim(x, e - n, e, axis=dim) for e, n in zip(ends, sizes, strict=True)]


@operation()
def flip(x, dims):
    return jnp.flip(x, dims)


@operation()
def roll(x, shifts, dims=()):
    return jnp.roll(x, shifts, dims or None)


@operation()
def repeat(x, repeats):
    return jnp.tile(x, repeats)


@operation()
def diagonal(x, offset=0, dim1=0, dim2=1):
    return jnp.diagonal(x, offset, dim1, dim2)


@operation()
def constant_pad_nd(x, pad, value=0):
    """Pads from the last axis on; negative ones cut off."""
    return lax.pad(x, np.array(value, x.dtype), [(*p, 0) for p in pads_of(x, pad)])


def pads_of(x, pad) -> list:
    """PyTorch's list of pads, from the last axis on, as a pair for each axis."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs


for _k in (1, 2, 3):

    @operation(f"reflection_pad{_k}d")
    def reflection_pad(x, padding):
        return jnp.pad(x, pads_of(x, padding), mode="reflect")

    @operation(f"replication_pad{_k}d")
    def replication_pad(x, padding):
        return jnp.pad(x, pads_of(x, padding), mode="edge")


@operation()
def as_strided(x, size, stride, storage_offset=None):
    """Entries by their place in the memory of `x`, whose axes must lie in order."""
    index = np.array(storage_offset or 0)
    for n, step in zip(size, stride, strict=True):
        index = index[..., None] + np.arange(n) * step
    if index.size == x.size and (index.ravel() == np.arange(x.size)).all():
        return x.reshape(size)
    return jnp.take(x.reshape(-1), index, mode="clip")


@operation()
def unfold(x, dimension, size, step):
    """Windows of `size` entries along one axis; their entries become the last axis."""
    axis = dimension % x.ndim
    starts = np.arange(0, x.shape[axis] - size + 1, step)
    out = jnp.take(x, starts[:, None] + np.arange(size), axis, mode="clip")
    return jnp.moveaxis(out, axis + 1, -1)


# Indices.


@operation("index", "_unsafe_index")
def index(x, indices):
    return jnp.asarray(x)[places(x, indices)]


def places(x, indices) -> tuple:
    """PyTorch's indices of `x`, None for a whole axis, as NumPy's.

    Known ones are made unsigned: JAX then leaves out the steps that would wrap negative ones.
    """
    out = []
    for i, n in zip(indices, x.shape, strict=False):
        if i is None:
            out.append(slice(None))
            continue
        expect(
            i.dtype != bool,
            "indices that are whole numbers",
            "a mask, whose result has no fixed shape",
            "use torch.where or masked_fill",
        )
        is_known = isinstance(i, np.ndarray)
        out.append(np.where(i < 0, i + n, i).astype(np.uint32) if is_known else i)
    return tuple(out)


@operation("index_put", "_unsafe_index_put")
def index_put(x, indices, values, accumulate=False):
    masks = [i for i in indices if i is not None and i.dtype == bool]
    if len(masks) == len(indices) == 1 and values.size == 1:
        mask = masks[0].reshape(masks[0].shape + (1,) * (x.ndim - masks[0].ndim))
        new = values.reshape(()).astype(x.dtype)
        return jnp.where(mask, x + new if accumulate else new, x)
    at = jnp.asarray(x).at[places(x, indices)]
    return at.add(values) if accumulate else at.set(values)


@operation()
def index_select(x, dim, index):
    return jnp.take(x, index.reshape(-1), dim, mode="clip")


@operation()
def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return jnp.take(weight, indices, 0, mode="clip")


@operation("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    weight,
    indices,
    offsets,
    scale_grad_by_freq=False,
    mode=0,
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=-1,
):
    """The sum, mean or maximum (mode 0, 1, 2) of the rows of one bag; `padding_idx` is left out."""
    remedy = "give each datum a bag of its own"
    expect(len(offsets) == 1, "one bag for each datum", f"{len(offsets)}", remedy)
    rows = embedding(weight, indices)
    counted = (indices != padding_idx)[:, None]
    if mode == 2:
        largest = jnp.where(counted, rows, -np.inf).max(0, keepdims=True)
        return (jnp.where(counted.any(), largest, 0),)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    if padding_idx < 0:
        return (rows.mean(0, keepdims=True) if mode else rows.sum(0, keepdims=True),)
    total = (rows * counted).sum(0, keepdims=True)
    return (total / jnp.maximum(counted.sum(), 1) if mode else total,)


@operation()
def gather(x, dim, index, *, sparse_grad=False):
    """Entries of `x` along `dim`; along other axes the index may be shorter."""
    dim %= x.ndim
    for axis, n in enumerate(index.shape):
        if axis != dim:
            x = lax.slice_in_dim(x, 0, n, axis=axis)
    return jnp.take_along_axis(x, index, dim)


def scattered(x, dim, index, source):
    """Where the entries of `index` point to, and the part of `source` that goes there."""
    dim %= x.ndim
    where = list(jnp.indices(index.shape, sparse=True))
    where[dim] = index
    if jnp.ndim(source):
        source = source[tuple(slice(n) for n in index.shape)]
    return jnp.asarray(x).at[tuple(where)], source


@operation()
def scatter(x, dim, index, src):
    at, source = scattered(x, dim, index, src)
    return at.set(source)


@operation()
def scatter_add(x, dim, index, src):
    at, source = scattered(x, dim, index, src)
    return at.add(source)


@operation()
def scatter_reduce(x, dim, index, src, reduce, *, include_self=True):
    known = {"sum": "add", "prod": "multiply", "amax": "max", "amin": "min"}
    expect(
        reduce in known and include_self,
        "reduce in sum, prod, amax, amin with include_self=True",
        f"{reduce!r}, {include_self}",
        "use one of these",
    )
    at, source = scattered(x, dim, index, src)
    return getattr(at, known[reduce])(source)


OPERATIONS["getitem"] = lambda values, i: values[i]() if callable(values[i]) else values[i]
RANDOM = (
    *("aten.rand", "aten.randn", "aten.randint", "aten.randperm", "aten.bernoulli"),
    *("aten.rand_like", "aten.randn_like", "aten.randint_like", "aten.multinomial"),
    *("aten.normal", "aten.normal_functional", "aten.uniform", "aten.exponential", "aten.poisson"),
)
