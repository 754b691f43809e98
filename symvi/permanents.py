"""The permanent of a matrix of log entries: perm(A) = sum over permutations g of prod_i A[i, g(i)]."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import jax.numpy as jnp
import numpy as np

from symvi.checks import is_concrete

MAX_EXACT = 16  # the subset table has 2^n entries


def log_sum_exp(values, axis: int):
    """log sum exp along `axis`; all -inf gives -inf, with a zero gradient instead of NaN."""
    top = jnp.max(values, axis=axis, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.sum(jnp.exp(values - top), axis=axis)
    some = total > 0
    return jnp.where(some, jnp.log(jnp.where(some, total, 1.0)) + jnp.squeeze(top, axis), -jnp.inf)


@lru_cache(maxsize=MAX_EXACT)
def _levels(n: int) -> tuple:
    """For k = 1..n: for each k-subset of columns, the columns in it and the places of the (k-1)-subsets left by dropping each."""
    levels, place = [], {(): 0}
    for k in range(1, n + 1):
        subsets = list(combinations(range(n), k))
        before = np.array([[place[s[:i] + s[i + 1 :]] for i in range(k)] for s in subsets])
        levels.append((np.array(subsets), before))
        place = {s: i for i, s in enumerate(subsets)}
    return tuple(levels)


def log_permanent(log_a):
    """Exact log perm(A), in nats.

    A dynamic programme over subsets of columns in log space: D(S) = log sum over j in S of exp(D(S - j) + log A[|S|-1, j]),
    O(n 2^n) terms, all positive, so nothing cancels (unlike Ryser's and Glynn's formulas). Differentiable: the gradient
    is the matrix of probabilities that g(i) = j when g is drawn with weight prod_i A[i, g(i)].

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; n <= 16.

    Returns
    -------
    array (...)
        -inf where the permanent is 0.

    Raises
    ------
    ValueError
        If the matrix is not square, has NaN or +inf entries, or n > 16.
    """
    log_a = jnp.asarray(log_a)
    if log_a.ndim < 2 or log_a.shape[-1] != log_a.shape[-2] or log_a.shape[-1] == 0:
        raise ValueError(f"log_a: expected square matrices (..., n, n), got shape {log_a.shape}; pass log entries, rows by columns")
    n = log_a.shape[-1]
    if n > MAX_EXACT:
        raise ValueError(f"log_a: expected n <= {MAX_EXACT} for the exact permanent (2^n terms), got n = {n}; use fewer units or method='infonce' of orbit_information")
    if is_concrete(log_a) and bool(jnp.any(jnp.isnan(log_a) | (log_a == jnp.inf))):
        raise ValueError("log_a: expected log entries below +inf, got NaN or +inf; look for diverged parameters")
    table = jnp.zeros((*log_a.shape[:-2], 1), log_a.dtype)
    for row, (columns, before) in enumerate(_levels(n)):
        table = log_sum_exp(table[..., before] + log_a[..., row, :][..., columns], axis=-1)
    return table[..., 0]
