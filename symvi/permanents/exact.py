"""The exact permanent, for matrices of at most 16 rows."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp
from symvi.checks import expected
from symvi.permanents.log_matrices import check_log_matrix

MAX_EXACT = 16  # the subset table has 2^n entries


def log_permanent(log_a) -> Float[Array, "*batch"]:
    """Exact log perm(A), in nats.

    A dynamic programme over subsets of columns in log space: D(S) = log sum over j in S of
    exp(D(S - j) + log A[|S|-1, j]), O(n 2^n) terms, all positive, so nothing cancels (unlike
    Ryser's and Glynn's formulas). Differentiable: the gradient is the matrix of probabilities that
    g(i) = j when g is drawn with weight prod_i A[i, g(i)].

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
    log_a = check_log_matrix(log_a)
    n = log_a.shape[-1]
    if n > MAX_EXACT:
        raise expected(
            "log_a",
            f"n <= {MAX_EXACT} for the exact permanent (2^n terms)",
            f"n = {n}",
            "use log_permanent_bounds, or method='guided' of orbit_information",
        )
    return _over_subsets(log_a)


@jax.jit
def _over_subsets(log_a: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
    table = jnp.zeros((*log_a.shape[:-2], 1), log_a.dtype)
    for row, (columns, before) in enumerate(_levels(log_a.shape[-1])):
        last_taken = log_a[..., row, :][..., columns]
        table = log_sum_exp(table[..., before] + last_taken, axis=-1)
    return table[..., 0]


@lru_cache(maxsize=MAX_EXACT)
def _levels(n: int) -> tuple:
    """For k = 1..n: the k-subsets of columns, and the places of their (k-1)-subsets at k - 1.

    Indices have 32 bits: those of 64 bits fail in single precision once JAX has run in double
    precision in the same process.
    """
    levels = []
    place = {(): 0}
    for k in range(1, n + 1):
        subsets = list(combinations(range(n), k))
        before = [_places_without_each(subset, place) for subset in subsets]
        levels.append((np.array(subsets, np.int32), np.array(before, np.int32)))
        place = {subset: i for i, subset in enumerate(subsets)}
    return tuple(levels)


def _places_without_each(subset: tuple, place: dict) -> list:
    return [place[subset[:i] + subset[i + 1 :]] for i in range(len(subset))]
