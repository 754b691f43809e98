r"""An upper bound of the permanent, from the entropy of a random permutation.

Draw g with weight prod_i A[i, g(i)]; let b_ij be the probability that g(i) = j. Then
log perm(A) = sum_ij b_ij log A_ij + H(g), and H(g) is bounded as in Radhakrishnan's (1997) proof of
Bregman's theorem:

1. Uncover the rows one after the other, row i at a uniform random time t_i. By the chain rule H(g)
   is the sum of the entropies of each g(i) given the rows uncovered before, for any order, hence on
   average over orders.
2. An entropy is at most the cross-entropy with any guess. Guess j with probability b_ij / (sum of
   b_ij' over free j'): H(g) <= sum_i E[-log b_ig(i) + log sum_{j' free} b_ij'].
3. Given g(i) = j and t_i = 1 - s, every other column is free with probability s. By Jensen and
   sum_j b_ij = 1, E log sum_{j' free} b_ij' is at most

   integral over s from 0 to 1 of log(b_ij + s (1 - b_ij)) = -1 - b_ij log b_ij / (1 - b_ij).

So log perm(A) <= max over doubly stochastic b of F(b), with

   F(b) = sum_ij b_ij log A_ij + b_ij (1 - b_ij) J(b_ij),   J(b) = (-log b - (1 - b)) / (1 - b)^2.

F is concave with slope log A_ij + J(b_ij) - 1, so any b > 0 and any v
prove that log perm(A) is at most

   sum_i max_j (log A_ij + J(b_ij) - 1 - v_j) + sum_j v_j + sum_ij b_ij - b_ij^2 J(b_ij).

For a matrix of ones the bound exceeds log n! by about (1/2) log n; Sinkhorn's, by about n.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.arrays import over_leading_axes, until_settled
from symvi.checks import as_numbers, described, expected, positive_int, positive_number
from symvi.permanents.log_matrices import check_log_matrix, has_zero_line, with_beliefs_as_gradient
from symvi.permanents.scaling import scale_matrix

NEAR_ONE = 0.03  # J's formula cancels for 1 - b below this
LARGEST_LOG = 30.0  # log beliefs are at most this before rows are scaled, so that exp stays finite


class EntropyBound(NamedTuple):
    """The bound and the state it was computed from.

    Attributes
    ----------
    value : array (...)
        An upper bound of log perm(A) in nats, whether or not the beliefs have converged.
    log_beliefs : array (..., n, n)
        log of the beliefs b_ij: the gradient of ``value`` in log A once converged.
    messages : tuple of arrays (..., n, n), (..., n) and (..., n)
        log b - log A, f and v: pass them as `start` to begin the next computation here.
    """

    value: Float[Array, "*batch"]
    log_beliefs: Float[Array, "*batch n n"]
    messages: tuple[Float[Array, "*batch n n"], Float[Array, "*batch n"], Float[Array, "*batch n"]]


def entropy_bound(
    log_a, *, start=None, max_iter: int = 100, tolerance: float = 1e-6
) -> EntropyBound:
    """An upper bound of log perm(A) in nats, about (1/2) log n above it for flat matrices.

    Beliefs are scaled to b_ij = A_ij exp(log b_ij + J(b_ij) - 1 - f_i - v_j) in alternation with
    their rows and columns. The gradient of the bound in log A is b.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
    start : tuple of arrays, optional
        ``messages`` of an earlier result for a matrix close to this one. Without it, beliefs start
        from a Sinkhorn scaling.
    max_iter : int
        Rounds at most.
    tolerance : float
        Stop when the beliefs change by less than this.

    Raises
    ------
    ValueError
        If the matrix is not square or has NaN or +inf entries, `start` has other shapes, or an
        option is not positive.
    """
    log_a = check_log_matrix(log_a)
    return compute_entropy_bound(
        log_a,
        None if start is None else _checked_start(start, log_a.shape),
        positive_int("max_iter", max_iter),
        positive_number("tolerance", tolerance),
    )


def _checked_start(start, shape):
    parts = tuple(start) if isinstance(start, (tuple, list)) else ()
    parts = tuple(as_numbers("start", part) for part in parts)
    wanted = (shape, shape[:-1], shape[:-1])
    if tuple(part.shape for part in parts) != wanted:
        raise expected(
            "start",
            f"three arrays of shapes {wanted}",
            [part.shape for part in parts] if parts else described(start),
            "pass the messages of an earlier result for a matrix of this size",
        )
    return parts


@partial(jax.jit, static_argnames="max_iter")
def compute_entropy_bound(
    log_a: Float[Array, "*batch n n"], start=None, max_iter: int = 100, tolerance: float = 1e-6
) -> EntropyBound:
    """:func:`entropy_bound` without its checks, compiled."""
    fixed = jax.lax.stop_gradient(log_a)
    if start is None:
        scaled = scale_matrix(fixed)
        log_b, f, v = scaled.log_p, scaled.row, scaled.column
    else:
        offset, f, v = jax.lax.stop_gradient(start)
        log_b = fixed + offset
    tighten = partial(_of_one_matrix, max_iter=max_iter, tolerance=tolerance)
    batch_axes = log_a.ndim - 2
    found = over_leading_axes(tighten, batch_axes, fixed, jnp.minimum(log_b, 0.0), f, v)
    value = over_leading_axes(
        with_beliefs_as_gradient, batch_axes, log_a, found.value, found.log_beliefs
    )
    return found._replace(value=value)


def _of_one_matrix(
    log_a: Float[Array, "n n"],
    log_b: Float[Array, "n n"],
    f: Float[Array, " n"],
    v: Float[Array, " n"],
    max_iter: int,
    tolerance: float,
) -> EntropyBound:
    log_b, f, v = _scale_beliefs(log_a, log_b, f, v, max_iter, tolerance)
    offset = jnp.where(log_a == -jnp.inf, 0.0, log_b - log_a)
    value = jnp.where(has_zero_line(log_a), -jnp.inf, _certificate(log_a, log_b, offset, v))
    return EntropyBound(value, log_b, (offset, f, v))


def _scale_beliefs(
    log_a, log_b, f, v, max_iter, tolerance
) -> tuple[Float[Array, "n n"], Float[Array, " n"], Float[Array, " n"]]:
    def one_round(state):
        log_b, f, v = state
        target = log_a + slope_terms(log_b)[0]
        b = jnp.exp(jnp.minimum(target - f[:, None] - v, LARGEST_LOG))
        row_sums = _log_sum(b, 1)
        b = b * jnp.exp(-row_sums)[:, None]
        f = f + row_sums
        v = v + _log_sum(b, 0)
        fresh = jnp.minimum(target - f[:, None] - v, 0.0)
        return (fresh, f, v), jnp.max(jnp.abs(fresh - log_b) * b)

    state, _ = until_settled(
        one_round, (log_b, f, v), tolerance=tolerance, max_iter=max_iter, dtype=log_a.dtype
    )
    return state


def _certificate(
    log_a: Float[Array, "n n"],
    log_b: Float[Array, "n n"],
    offset: Float[Array, "n n"],
    v: Float[Array, " n"],
) -> Float[Array, ""]:
    """The bound at any b > 0 and v, whether or not they have converged.

    sum_i max_j (log A_ij + J(b_ij) - 1 - v_j) + sum_j v_j + sum_ij b_ij - b_ij^2 J(b_ij)
    """
    log_b_and_j, b_j = slope_terms(log_b)
    slope = jnp.where(log_a == -jnp.inf, -jnp.inf, log_b_and_j - offset)
    return jnp.max(slope - v, axis=1).sum() + v.sum() + (jnp.exp(log_b) * (1 - b_j)).sum()


def slope_terms(log_b: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """log b + J(b) - 1, which stays between -2 and -1/2, and b J(b)."""
    b = jnp.exp(log_b)
    u = 1 - b
    b_log_b = jnp.where(b > 0, b * log_b, 0.0)
    near = u < NEAR_ONE
    # the series of J in u, where the formula cancels
    series = 1 / 2 + u * (1 / 3 + u * (1 / 4 + u * (1 / 5 + u * (1 / 6 + u / 7))))
    square = jnp.where(near, 1.0, u * u)
    log_b_and_j = jnp.where(near, log_b + series, -(b_log_b * (2 - b) + u) / square) - 1
    b_j = jnp.where(near, b * series, -(b_log_b + b * u) / square)
    return log_b_and_j, b_j


def _log_sum(b: Float[Array, "n n"], axis: int) -> Float[Array, " n"]:
    """log of the sums of `b` along an axis; 0 for a sum of 0: a row of zeros stays as it is."""
    total = b.sum(axis)
    return jnp.log(jnp.where(total > 0, total, 1.0))
