r"""An upper bound of the permanent, from the entropy of a random permutation.

Draw g with weight prod_i A[i, g(i)]; let b_ij be the probability that g(i) = j. Then
log perm(A) = sum_ij b_ij log A_ij + H(g), and H(g) is bounded as in Radhakrishnan's (1997) proof of Bregman's theorem:

1. Uncover the rows one after the other, row i at a uniform random time t_i. By the chain rule H(g) is the sum of the
   entropies of each g(i) given the rows uncovered before, for any order, hence on average over orders.
2. An entropy is at most the cross-entropy with any guess. Guess j with probability b_ij / (sum of b_ij' over free j'):
   H(g) <= sum_i E[-log b_ig(i) + log sum_{j' free} b_ij'].
3. Given g(i) = j and t_i = 1 - s, every other column is free with probability s. By Jensen and sum_j b_ij = 1,
   E log sum_{j' free} b_ij' <= integral over s from 0 to 1 of log(b_ij + s (1 - b_ij)) = -1 - b_ij log b_ij / (1 - b_ij).

So log perm(A) <= max over doubly stochastic b of F(b) = sum_ij b_ij log A_ij + b_ij (1 - b_ij) J(b_ij) with
J(b) = (-log b - (1 - b)) / (1 - b)^2. F is concave with slope log A_ij + J(b_ij) - 1, so any b > 0 and v certify
log perm(A) <= sum_i max_j (log A_ij + J(b_ij) - 1 - v_j) + sum_j v_j + sum_ij b_ij - b_ij^2 J(b_ij).
For a matrix of ones the bound exceeds log n! by about (1/2) log n; Sinkhorn's, by about n.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from symvi.permanents.scaling import over_batch, scale_matrix, with_beliefs_as_gradient


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

    value: jax.Array
    log_beliefs: jax.Array
    messages: tuple


def _curvature(log_b):
    """log b + J(b) - 1, which stays between -2 and -1/2, and b J(b)."""
    b = jnp.exp(log_b)
    u = 1 - b
    b_log_b = jnp.where(b > 0, b * log_b, 0.0)
    near = u < 0.03  # the series of J in u = 1 - b, where the formula cancels
    series = 1 / 2 + u * (1 / 3 + u * (1 / 4 + u * (1 / 5 + u * (1 / 6 + u / 7))))
    square = jnp.where(near, 1.0, u * u)
    return jnp.where(near, log_b + series, -(b_log_b * (2 - b) + u) / square) - 1, jnp.where(
        near, b * series, -(b_log_b + b * u) / square
    )


def entropy_bound(
    log_a, *, start=None, max_iter: int = 100, tolerance: float = 1e-6
) -> EntropyBound:
    """The upper bound of log perm(A), for matrices of log entries ``(..., n, n)`` with -inf for zeros; any n.

    Beliefs are scaled to b_ij = A_ij exp(log b_ij + J(b_ij) - 1 - f_i - v_j) in alternation with their rows and columns,
    until they change by less than `tolerance` or `max_iter` times, beginning at a Sinkhorn scaling or at the
    ``messages`` of an earlier result. Its gradient in log A is b. Not checked: see :func:`symvi.permanents.log_permanent_bounds`.
    """
    fixed = jax.lax.stop_gradient(log_a)
    if start is None:
        scaled = scale_matrix(fixed)
        log_b, f, v = scaled.log_p, scaled.row, scaled.column
    else:
        offset, f, v = jax.lax.stop_gradient(start)
        log_b = fixed + offset
    found = over_batch(
        partial(_tighten, max_iter=max_iter, tolerance=tolerance),
        fixed,
        jnp.minimum(log_b, 0.0),
        f,
        v,
    )
    return found._replace(
        value=over_batch(with_beliefs_as_gradient, log_a, found.value, found.log_beliefs)
    )


def _log_sum(b, axis):
    """log of the sums of `b` along an axis; 0 for a sum of 0, which leaves a row of zeros as it is."""
    total = b.sum(axis)
    return jnp.log(jnp.where(total > 0, total, 1.0))


def _tighten(log_a, log_b, f, v, max_iter, tolerance):
    def round_(state):
        log_b, f, v, _, count = state
        target = log_a + _curvature(log_b)[0]
        b = jnp.exp(jnp.minimum(target - f[:, None] - v, 30.0))
        rows = _log_sum(b, 1)
        b = b * jnp.exp(-rows)[:, None]
        f, v = f + rows, v + _log_sum(b, 0)
        fresh = jnp.minimum(target - f[:, None] - v, 0.0)
        return fresh, f, v, jnp.max(jnp.abs(fresh - log_b) * b), count + 1

    state = (log_b, f, v, jnp.asarray(jnp.inf, log_a.dtype), 0)
    log_b, f, v, _, _ = jax.lax.while_loop(
        lambda s: (s[3] > tolerance) & (s[4] < max_iter), round_, state
    )
    zero = log_a == -jnp.inf
    curvature, b_j = _curvature(log_b)
    offset = jnp.where(zero, 0.0, log_b - log_a)
    slope = jnp.where(zero, -jnp.inf, curvature - offset)
    value = jnp.max(slope - v, axis=1).sum() + v.sum() + (jnp.exp(log_b) * (1 - b_j)).sum()
    impossible = jnp.any(jnp.all(zero, axis=0) | jnp.all(zero, axis=1))
    return EntropyBound(jnp.where(impossible, -jnp.inf, value), log_b, (offset, f, v))
