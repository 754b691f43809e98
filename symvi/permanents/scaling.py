"""Matrices of log entries: sums in log space, and Sinkhorn's scaling of rows and columns to sums of 1."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from symvi.checks import is_concrete, positive_int


def log_sum_exp(values, axis: int):
    """log sum exp along `axis`; all -inf gives -inf, with a zero gradient instead of NaN."""
    top = jnp.max(values, axis=axis, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.sum(jnp.exp(values - top), axis=axis)
    some = total > 0
    return jnp.where(some, jnp.log(jnp.where(some, total, 1.0)) + jnp.squeeze(top, axis), -jnp.inf)


def check_log_matrix(log_a) -> jax.Array:
    """`log_a` as an array; ValueError unless it holds square matrices of log entries below +inf."""
    log_a = jnp.asarray(log_a)
    if log_a.ndim < 2 or log_a.shape[-1] != log_a.shape[-2] or log_a.shape[-1] == 0:
        raise ValueError(
            f"log_a: expected square matrices (..., n, n), got shape {log_a.shape}; pass log entries, rows by columns"
        )
    if is_concrete(log_a) and bool(jnp.any(jnp.isnan(log_a) | (log_a == jnp.inf))):
        raise ValueError(
            "log_a: expected log entries below +inf, got NaN or +inf; look for diverged parameters"
        )
    return log_a if jnp.issubdtype(log_a.dtype, jnp.floating) else log_a.astype(float)


def over_batch(function, *arrays):
    """`function` of matrices, applied over the leading axes that all `arrays` share."""
    batch = arrays[0].shape[:-2]
    if not batch:
        return function(*arrays)
    out = jax.vmap(function)(*(a.reshape(-1, *a.shape[len(batch) :]) for a in arrays))
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), out)


@jax.custom_jvp
def with_beliefs_as_gradient(log_a, value, log_beliefs):
    """`value`, with the beliefs as its gradient in log A: they maximise what `value` is the maximum of, so they drop out."""
    return value


@with_beliefs_as_gradient.defjvp
def _beliefs_rule(primals, tangents):
    _, value, log_beliefs = primals
    beliefs = jnp.exp(log_beliefs)
    return value, jnp.sum(jnp.where(beliefs > 0, beliefs * tangents[0], 0.0))


class Scaling(NamedTuple):
    """A Sinkhorn scaling: log A = log P + row[:, None] + column[None, :], with P nearly doubly stochastic.

    So log perm(A) = log perm(P) + sum(row) + sum(column). Columns of P sum to 1; ``error`` is the largest |row sum - 1|.
    """

    log_p: jax.Array
    row: jax.Array
    column: jax.Array
    error: jax.Array


def log_normalise(log_p, axis: int):
    """Rows or columns divided by their sums, and the log sums; a zero row stays as it is."""
    total = log_sum_exp(log_p, axis)
    total = jnp.where(jnp.isfinite(total), total, 0.0)
    return log_p - jnp.expand_dims(total, axis), total


def sinkhorn(log_a, *, max_iter: int = 500, tolerance: float = 1e-3) -> Scaling:
    """Scale rows and columns until every row and column sums to 1 (Sinkhorn and Knopp 1967), in log space.

    Entries that span hundreds of nats are first scaled at high temperature, which is halved down to 1, so that the
    potentials start near their limit. Stops at `tolerance` (largest error of a row sum) or after `max_iter` rounds.
    Every round is a valid scaling: the bounds below hold whether or not it has converged.
    """
    return scale_matrix(check_log_matrix(log_a), positive_int("max_iter", max_iter), tolerance)


@partial(jax.jit, static_argnames="max_iter")
def scale_matrix(log_a, max_iter: int = 500, tolerance: float = 1e-3) -> Scaling:
    """:func:`sinkhorn` without its checks, compiled."""
    return over_batch(partial(_scale, max_iter=max_iter, tolerance=tolerance), log_a)


def _scale(log_a, max_iter, tolerance):
    some = jnp.isfinite(log_a)
    spread = jnp.max(jnp.where(some, log_a, -jnp.inf)) - jnp.min(jnp.where(some, log_a, jnp.inf))
    hottest = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(spread, 1.0) / 8)), 0, 30)

    def potentials(row, column, temperature):
        """One round: f_i and g_j that make the rows, then the columns, of exp((log A - f - g) / temperature) sum to 1."""
        row = row + temperature * log_normalise((log_a - row[:, None] - column) / temperature, 1)[1]
        column = (
            column
            + temperature * log_normalise((log_a - row[:, None] - column) / temperature, 0)[1]
        )
        return row, column

    def cool(level, state):
        return jax.lax.fori_loop(0, 5, lambda _, s: potentials(*s, 2.0 ** (hottest - level)), state)

    def go_on(state):
        _, _, error, count = state
        return (error > tolerance) & (count < max_iter)

    def round_(state):
        row, column = potentials(state[0], state[1], 1.0)
        sums = jnp.exp(log_sum_exp(log_a - row[:, None] - column, axis=1))
        return row, column, jnp.max(jnp.abs(sums - 1)), state[3] + 1

    n = log_a.shape[0]
    start = jax.lax.fori_loop(
        0, hottest.astype(int), cool, (jnp.zeros(n, log_a.dtype), jnp.zeros(n, log_a.dtype))
    )
    row, column, error, _ = jax.lax.while_loop(
        go_on, round_, (*start, jnp.asarray(jnp.inf, log_a.dtype), 0)
    )
    return Scaling(log_a - row[:, None] - column, row, column, error)
