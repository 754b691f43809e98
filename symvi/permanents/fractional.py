r"""An upper bound of the permanent: fractional belief propagation with the parameter -1/2.

For doubly stochastic beliefs b let

   F(b) = sum_ij b_ij log A_ij - b_ij log b_ij + 1/2 (1 - b_ij) log(1 - b_ij),

halfway between what the Bethe permanent and what a Sinkhorn scaling maximise. Chertkov and Yedidia
(2013) conjectured, and Anari and Rezaei (2019) proved, that log perm(A) <= max_b F(b).

Where rows of b sum to 1, F is concave, since both of its halves are. With the slope
log A_ij - log b_ij - 1/2 log(1 - b_ij) - 3/2, any b > 0 with such rows and any v prove that
log perm(A) is at most

   sum_i max_j (log A_ij - log b_ij - 1/2 log(1 - b_ij) - v_j) + sum_j v_j
      + 1/2 sum_ij log(1 - b_ij).

At the maximum log b_ij + 1/2 log(1 - b_ij) = log A_ij - f_i - v_j, which is solved for b by
repeating b = A exp(-f - v) / sqrt(1 - b), scaled to rows and columns of sum 1.

The bound is exact for blocks of two rows. For a matrix of ones it exceeds log n! by about n/2;
there the bound by entropy (:mod:`symvi.permanents.entropy`) is the better one.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp, over_leading_axes, until_settled
from symvi.checks import positive_int, positive_number
from symvi.permanents.log_matrices import (
    check_log_matrix,
    has_zero_line,
    log_rest,
    with_beliefs_as_gradient,
)
from symvi.permanents.scaling import scale_matrix


class FractionalBound(NamedTuple):
    """The bound and what proves it.

    Attributes
    ----------
    value : array (...)
        An upper bound of log perm(A) in nats, whether or not the beliefs have converged.
    log_beliefs : array (..., n, n)
        log of the beliefs b_ij, whose rows sum to 1: the gradient of ``value`` in log A once
        converged.
    prices : array (..., n)
        The v of the proof.
    """

    value: Float[Array, "*batch"]
    log_beliefs: Float[Array, "*batch n n"]
    prices: Float[Array, "*batch n"]


def fractional_bound(log_a, *, max_iter: int = 100, tolerance: float = 1e-6) -> FractionalBound:
    """An upper bound of log perm(A) in nats, exact for blocks of two (Anari and Rezaei 2019).

    The gradient of the bound in log A is the matrix of beliefs. Rounding is not taken off: for that
    see :func:`log_permanent_bounds`.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
    max_iter : int
        Rounds at most.
    tolerance : float
        Stop when the beliefs change by less than this.

    Raises
    ------
    ValueError
        If the matrix is not square or has NaN or +inf entries, or an option is not positive.
    """
    log_a = check_log_matrix(log_a)
    max_iter = positive_int("max_iter", max_iter)
    return compute_fractional_bound(log_a, max_iter, positive_number("tolerance", tolerance))


@partial(jax.jit, static_argnames="max_iter")
def compute_fractional_bound(
    log_a: Float[Array, "*batch n n"], max_iter: int = 100, tolerance: float = 1e-6
) -> FractionalBound:
    """:func:`fractional_bound` without its checks, compiled."""
    fixed = jax.lax.stop_gradient(log_a)
    batch_axes = log_a.ndim - 2
    tighten = partial(_of_one_matrix, max_iter=max_iter, tolerance=tolerance)
    found = over_leading_axes(tighten, batch_axes, fixed)
    value = over_leading_axes(
        with_beliefs_as_gradient, batch_axes, log_a, found.value, found.log_beliefs
    )
    return found._replace(value=value)


def _of_one_matrix(log_a: Float[Array, "n n"], max_iter: int, tolerance: float) -> FractionalBound:
    scaled = scale_matrix(log_a)

    def one_round(state):
        log_b, v = state
        target = log_a - 0.5 * _rest(log_b)
        f = _log_sum(target - v, axis=1)
        v = _log_sum(target - f[:, None], axis=0)
        fresh = _with_rows_of_one(target - v)
        change = jnp.abs(jnp.exp(fresh) - jnp.exp(log_b))
        return (fresh, v), jnp.max(change)

    start = _with_rows_of_one(scaled.log_p), scaled.column
    (log_b, v), _ = until_settled(
        one_round, start, tolerance=tolerance, max_iter=max_iter, dtype=log_a.dtype
    )
    value = jnp.where(has_zero_line(log_a), -jnp.inf, _certificate(log_a, log_b, v))
    return FractionalBound(value, log_b, v)


def _certificate(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], v: Float[Array, " n"]
) -> Float[Array, ""]:
    """The bound at any b > 0 with rows of sum 1 and any v."""
    rest = _rest(log_b)
    slope = jnp.where(log_a == -jnp.inf, -jnp.inf, log_a - log_b - 0.5 * rest)
    return jnp.max(slope - v, axis=1).sum() + v.sum() + 0.5 * rest.sum()


def _rest(log_b: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """log(1 - b); 0 in a row of one entry, which has nothing to choose: its terms drop out."""
    rest = log_rest(jnp.exp(log_b), log_b)
    return jnp.where(rest == -jnp.inf, 0.0, rest)


def _with_rows_of_one(log_b: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return log_b - _log_sum(log_b, axis=1)[:, None]


def _log_sum(log_b: Float[Array, "n n"], axis: int) -> Float[Array, " n"]:
    """log of the sums along an axis; 0 for a sum of 0: a row of zeros stays as it is."""
    total = log_sum_exp(log_b, axis)
    return jnp.where(total == -jnp.inf, 0.0, total)
