"""Leading axes, names of leaves, sums in log space, and loops that stop when nothing changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def over_leading_axes(function, num_axes: int, *trees):
    """`function`, mapped over the first `num_axes` axes, which all arrays in `trees` share."""
    if num_axes == 0:
        return function(*trees)
    batch = jnp.shape(jax.tree.leaves(trees)[0])[:num_axes]

    def merged(array):
        return jnp.reshape(array, (-1, *jnp.shape(array)[num_axes:]))

    def split(array):
        return array.reshape(*batch, *array.shape[1:])

    results = jax.vmap(function)(*jax.tree.map(merged, trees))
    return jax.tree.map(split, results)


def leaf_names(tree) -> tuple:
    """The names of a tree's leaves in order: the keys on the way to each, joined by dots."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    names = tuple(jax.tree_util.keystr(path, simple=True, separator=".") for path in paths)
    return names if names != ("",) else ("params",)


def log_sum_exp(values: Float[Array, " ..."], axis: int) -> Float[Array, " ..."]:
    """log sum exp along `axis`; all -inf gives -inf, with a zero gradient instead of NaN."""
    top = jnp.max(values, axis=axis, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.sum(jnp.exp(values - top), axis=axis)
    some = total > 0
    return jnp.where(some, jnp.log(jnp.where(some, total, 1.0)) + jnp.squeeze(top, axis), -jnp.inf)


def log_sum_exp_of_others(values: Float[Array, "*shape"], axis: int) -> Float[Array, "*shape"]:
    """For every entry, log sum exp along `axis` without the entry itself; nothing cancels."""
    place_shape = [1] * values.ndim
    place_shape[axis] = values.shape[axis]
    places = jnp.arange(values.shape[axis]).reshape(place_shape)
    is_top = places == jnp.argmax(values, axis=axis, keepdims=True)
    without_top = log_sum_exp(jnp.where(is_top, -jnp.inf, values), axis)
    largest = jnp.max(values, axis=axis, keepdims=True)
    shift = jnp.where(jnp.isfinite(largest), largest, 0.0)
    total = jnp.sum(jnp.exp(values - shift), axis=axis, keepdims=True)
    # the largest entry stays in these sums, so nothing cancels
    rest = jnp.where(is_top, 1.0, total - jnp.where(is_top, 0.0, jnp.exp(values - shift)))
    return jnp.where(is_top, jnp.expand_dims(without_top, axis), jnp.log(rest) + shift)


def until_settled(step, state, *, tolerance: float, max_iter: int, dtype):
    """Repeat ``state, error = step(state)`` until error <= `tolerance`; return the last two.

    At most `max_iter` times; `dtype` is that of the error.
    """

    def go_on(carry):
        _, error, count = carry
        return (error > tolerance) & (count < max_iter)

    def once_more(carry):
        state, _, count = carry
        state, error = step(state)
        return state, error, count + 1

    state, error, _ = jax.lax.while_loop(go_on, once_more, (state, jnp.asarray(jnp.inf, dtype), 0))
    return state, error
