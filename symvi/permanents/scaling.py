"""Rows and columns scaled to sums of 1: Sinkhorn's scaling, and beliefs made doubly stochastic."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from symvi.arrays import log_sum_exp, over_leading_axes, until_settled
from symvi.checks import positive_int, positive_number
from symvi.permanents.log_matrices import check_log_matrix

ROUNDS_PER_TEMPERATURE = 5


class Scaling(NamedTuple):
    """A Sinkhorn scaling: log A = log P + row[:, None] + column[None, :].

    P is nearly doubly stochastic, and log perm(A) = log perm(P) + sum(row) + sum(column). Columns
    of P sum to 1; ``error`` is the largest |row sum - 1|.

    Attributes
    ----------
    log_p : array (..., n, n)
    row, column : arrays (..., n)
    error : array (...)
    """

    log_p: Float[Array, "*batch n n"]
    row: Float[Array, "*batch n"]
    column: Float[Array, "*batch n"]
    error: Float[Array, "*batch"]


def sinkhorn(log_a, *, max_iter: int = 500, tolerance: float = 1e-3) -> Scaling:
    """Scale rows and columns, in log space, until each sums to 1 (Sinkhorn and Knopp 1967).

    Entries that span hundreds of nats are first scaled at high temperature, which is halved down to
    1, so that the potentials start near their limit. Every round is a valid scaling, whether or not
    it has converged.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
    max_iter : int
        Rounds at most.
    tolerance : float
        Stop when every row sum is within this of 1.

    Raises
    ------
    ValueError
        If the matrix is not square or has NaN or +inf entries, or an option is not positive.
    """
    return scale_matrix(
        check_log_matrix(log_a),
        positive_int("max_iter", max_iter),
        positive_number("tolerance", tolerance),
    )


@partial(jax.jit, static_argnames="max_iter")
def scale_matrix(
    log_a: Float[Array, "*batch n n"], max_iter: int = 500, tolerance: float = 1e-3
) -> Scaling:
    """:func:`sinkhorn` without its checks, compiled."""
    scale = partial(_scale, max_iter=max_iter, tolerance=tolerance)
    return over_leading_axes(scale, log_a.ndim - 2, log_a)


def log_normalise(
    log_p: Float[Array, "n n"], axis: int
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """Rows or columns divided by their sums, and the log sums; a zero row stays as it is."""
    total = log_sum_exp(log_p, axis)
    total = jnp.where(jnp.isfinite(total), total, 0.0)
    return log_p - jnp.expand_dims(total, axis), total


def _scale(log_a: Float[Array, "n n"], max_iter: int, tolerance) -> Scaling:
    def one_round(potentials):
        row, column = _round(log_a, *potentials, temperature=1.0)
        sums = jnp.exp(log_sum_exp(log_a - row[:, None] - column, axis=1))
        return (row, column), jnp.max(jnp.abs(sums - 1))

    (row, column), error = until_settled(
        one_round,
        _cooled_potentials(log_a),
        tolerance=tolerance,
        max_iter=max_iter,
        dtype=log_a.dtype,
    )
    return Scaling(log_a - row[:, None] - column, row, column, error)


def _round(
    log_a: Float[Array, "n n"], row: Float[Array, " n"], column: Float[Array, " n"], temperature
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Potentials f and g that make the rows, then the columns, sum to 1.

    The matrix is exp((log A_ij - f_i - g_j) / temperature).
    """
    _, row_sums = log_normalise((log_a - row[:, None] - column) / temperature, 1)
    row = row + temperature * row_sums
    _, column_sums = log_normalise((log_a - row[:, None] - column) / temperature, 0)
    return row, column + temperature * column_sums


def _cooled_potentials(
    log_a: Float[Array, "n n"],
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Potentials to start from: a few rounds at each temperature, from a high one down to 2.

    A narrow range of entries needs none.
    """
    some = jnp.isfinite(log_a)
    spread = jnp.max(jnp.where(some, log_a, -jnp.inf)) - jnp.min(jnp.where(some, log_a, jnp.inf))
    hottest = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(spread, 1.0) / 8)), 0, 30)

    def rounds_at_level(level, potentials):
        temperature = 2.0 ** (hottest - level)
        return jax.lax.fori_loop(
            0,
            ROUNDS_PER_TEMPERATURE,
            lambda _, state: _round(log_a, *state, temperature),
            potentials,
        )

    zeros = jnp.zeros(log_a.shape[0], log_a.dtype)
    return jax.lax.fori_loop(0, hottest.astype(int), rounds_at_level, (zeros, zeros))


def doubly_stochastic(
    log_b: Float[Array, "n n"], zero: Bool[Array, "n n"], max_iter: int
) -> Float[Array, "n n"]:
    """Beliefs made doubly stochastic: then their free energy is a bound, converged or not.

    Rows and columns are scaled for at most `max_iter` rounds; what is then missing from them is
    filled in as a rank-one matrix (Altschuler, Weed and Rigollet 2017), unless it would fall on
    zeros of the matrix (where `zero` is true): then the beliefs stay slightly sub-stochastic.
    """

    def one_round(log_b):
        by_columns, _ = log_normalise(log_b, 0)
        by_rows, _ = log_normalise(by_columns, 1)
        return by_rows, jnp.max(jnp.abs(jnp.exp(by_rows).sum(0) - 1))

    close = 10 * jnp.finfo(log_b.dtype).eps
    log_b, _ = until_settled(
        one_round, log_b, tolerance=close, max_iter=max_iter, dtype=log_b.dtype
    )
    log_b = log_b - jnp.log(jnp.maximum(jnp.exp(log_b).sum(0), 1.0))
    return _filled(log_b, zero)


def _filled(log_b: Float[Array, "n n"], zero: Bool[Array, "n n"]) -> Float[Array, "n n"]:
    b = jnp.exp(log_b)
    from_rows = jnp.maximum(1 - b.sum(1), 0.0)
    from_columns = jnp.maximum(1 - b.sum(0), 0.0)
    smallest = jnp.finfo(b.dtype).tiny
    missing = from_rows[:, None] * from_columns / jnp.maximum(from_rows.sum(), smallest)
    some = missing > 0
    fits = ~jnp.any(zero & some)
    more = jnp.logaddexp(log_b, jnp.log(jnp.where(some, missing, 1.0)))
    return jnp.where(fits & some, more, log_b)
