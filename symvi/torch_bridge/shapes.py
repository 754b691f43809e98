"""Operations of :func:`symvi.from_torch` that rearrange or reduce axes; see `ops`."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from symvi.torch_bridge.ops import OPS, Traced, expect, keep, op

__all__ = ["OPS"]  # complete once this file is read


def reshape_rule(labels, shape, x, *args, **kwargs):
    old, new, axes = list(x.axes), list(shape), []
    while old or new:  # the next few axes on both sides with equally many entries
        block, sizes = ([old.pop(0)] if old else []), ([new.pop(0)] if new else [])
        while (have := math.prod(map(len, block))) != (want := math.prod(sizes)):
            (block if have < want else sizes).append((old if have < want else new).pop(0))
        axes += _reshape_block(labels, block, sizes)
    return Traced(axes, x.batched)


def _reshape_block(labels, block, sizes):
    long, into = [cells for cells in block if len(cells) > 1], [n for n in sizes if n > 1]
    free = [i for i, cells in enumerate(long) if labels.is_free(cells)]
    if len(long) == len(into) == 1:
        made = long
    elif len(free) == 1 and len(into) == 1:  # merge: (channels, positions) -> features
        index = np.indices([len(cells) for cells in long]).reshape(len(long), -1)
        made = [labels.fresh(into[0])]
        labels.tie(
            made[0],
            long[free[0]][index[free[0]]],
            context=[long[i][index[i]] for i in range(len(long)) if i not in free],
        )
    elif free and len(long) == 1:  # split: features -> (channels, positions), units on the first
        index = np.indices(into).reshape(len(into), -1)
        made = [labels.fresh(n, pinned=i > 0) for i, n in enumerate(into)]
        labels.tie(
            long[0], made[0][index[0]], context=[made[i][index[i]] for i in range(1, len(into))]
        )
    else:
        for cells in long:
            labels.pin(cells, "a reshape across units")
        made = [labels.fresh(n, pinned=True) for n in into]
    made = iter(made)
    return [next(made) if n > 1 else labels.fresh(1) for n in sizes]


op(reshape_rule, "reshape", "view")(lambda x, *shape: x.reshape(*shape))
op(reshape_rule, "unsqueeze")(
    lambda x, dim: jnp.expand_dims(x, dim if dim >= 0 else x.ndim + 1 + dim)
)
op(reshape_rule, "squeeze")(
    lambda x, dim=None: x if dim is not None and x.shape[dim] != 1 else jnp.squeeze(x, dim)
)


@op(reshape_rule)
def flatten(x, start_dim=0, end_dim=-1):
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


@op(reshape_rule)
def unflatten(x, dim, unflattened_size):
    dim = dim % x.ndim
    return x.reshape(*x.shape[:dim], *unflattened_size, *x.shape[dim + 1 :])


def _order(rank, dims):
    return [d % rank for d in (dims[0] if isinstance(dims[0], (tuple, list)) else dims)]


def _exchange(rank, a, b):
    order = list(range(rank))
    order[a], order[b] = order[b], order[a]
    return order


op(
    lambda labels, shape, x, *dims: Traced(
        [x.axes[d] for d in _order(len(shape), dims)], x.batched
    ),
    "permute",
)(lambda x, *dims: x.transpose(_order(x.ndim, dims)))
op(
    lambda labels, shape, x, a, b: Traced(
        [x.axes[d] for d in _exchange(len(shape), a, b)], x.batched
    ),
    "transpose",
)(lambda x, a, b: x.transpose(_exchange(x.ndim, a, b)))
op(lambda labels, shape, x: Traced(x.axes[::-1], x.batched), "t")(lambda x: x.T)


def getattr_rule(labels, shape, x, name):
    return Traced([*x.axes[:-2], *x.axes[-2:][::-1]] if name == "mT" else x.axes[::-1], x.batched)


@op(getattr_rule, "getattr")
def attribute(x, name):
    expect(
        name in ("shape", "ndim", "T", "mT"),
        "the attribute shape, ndim, T or mT",
        name,
        "use one of these",
    )
    return getattr(x, name)


op(keep, "size")(lambda x, dim=None: x.shape if dim is None else x.shape[dim])
op(keep, "dim")(lambda x: x.ndim)


def cat_rule(labels, shape, tensors, dim=0):
    dim, axes = dim % len(shape), []
    for axis, size in enumerate(shape):
        cells = [t.axes[axis] for t in tensors]
        if axis == dim:
            whole, start = labels.fresh(size), 0
            for part in cells:
                labels.tie(part, whole[start : start + len(part)])
                start += len(part)
            axes.append(whole)
        else:
            labels.tie(*cells)
            axes.append(cells[0])
    return Traced(axes, any(t.batched for t in tensors))


op(cat_rule, "cat", "concat", "concatenate")(lambda tensors, dim=0: jnp.concatenate(tensors, dim))


def getitem_rule(labels, shape, x, index):
    if not isinstance(x, Traced):
        return x[index]
    index = index if isinstance(index, tuple) else (index,)
    expect(
        all(i is None or i is ... or isinstance(i, (int, slice)) for i in index),
        "slices and whole numbers",
        index,
        "index by these",
    )
    rest = len(x.axes) - sum(i is not None and i is not ... for i in index)
    index = index if ... in index else (*index, ...)
    full, axes, axis = [], [], 0
    for i in index:
        full += [slice(None)] * rest if i is ... else [i]
    for i in full:
        if i is None:
            axes.append(labels.fresh(1))
            continue
        cells = x.axes[axis][[i] if isinstance(i, int) else i]
        if len(cells) < len(x.axes[axis]):
            labels.tie(cells)  # those taken differ from those left
        axes += [] if isinstance(i, int) else [cells]
        axis += 1
    return Traced(axes, x.batched)


op(getitem_rule, "getitem")(lambda x, index: x[index])


def split_rule(labels, shapes, x, sizes, dim=0):
    parts, start = [], 0
    for shape in shapes:
        where = slice(start, start + shape[dim])
        parts.append(
            getitem_rule(labels, shape, x, (slice(None),) * (dim % len(x.axes)) + (where,))
        )
        start = where.stop
    return tuple(parts)


@op(split_rule)
def split(x, sizes, dim=0):
    cuts = (
        range(sizes, x.shape[dim], sizes)
        if isinstance(sizes, int)
        else np.cumsum(sizes)[:-1].tolist()
    )
    return tuple(jnp.split(x, list(cuts), dim))


op(split_rule, "chunk")(lambda x, chunks, dim=0: split(x, -(-x.shape[dim] // chunks), dim))


# Over an axis: symmetric functions forget its cells, others pin them.


def reduce_rule(labels, shape, x, dim=None, keepdim=False, **kwargs):
    dims = (
        range(len(x.axes))
        if dim is None
        else [d % len(x.axes) for d in ([dim] if isinstance(dim, int) else dim)]
    )
    axes = [None if d in dims else cells for d, cells in enumerate(x.axes)]
    return Traced(
        [
            labels.fresh(1) if cells is None else cells
            for cells in axes
            if keepdim or cells is not None
        ],
        x.batched,
    )


for _name, _function in {
    "sum": jnp.sum,
    "mean": jnp.mean,
    "amax": jnp.max,
    "amin": jnp.min,
    "logsumexp": jax.scipy.special.logsumexp,
}.items():
    op(reduce_rule, _name)(
        lambda x, dim=None, keepdim=False, function=_function: function(
            x, axis=None if dim is None else tuple(np.atleast_1d(dim).tolist()), keepdims=keepdim
        )
    )


def in_order_rule(labels, shape, x, dim):
    labels.pin(x.axes[dim], "reading an axis in order")
    return x


op(in_order_rule, "cumsum")(lambda x, dim: jnp.cumsum(x, dim))
op(in_order_rule, "cumprod")(lambda x, dim: jnp.cumprod(x, dim))
