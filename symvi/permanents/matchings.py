"""Single permutations: the one of the largest weight, and which entries no permutation can use."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching


def without_idle_entries(log_a: np.ndarray) -> np.ndarray:
    """The matrix with -inf also where no permutation of the other entries avoids every zero.

    The permanent is the same, and beliefs can be scaled to be doubly stochastic (Sinkhorn and Knopp
    1967). On a triangular matrix only the diagonal stays. Given one perfect matching, entry (i, j)
    is in another exactly if row i and the row that j is matched with lie on a common cycle of
    alternating steps (Dulmage and Mendelsohn 1958).

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros.
    """
    log_a = np.array(log_a)
    for matrix in log_a.reshape(-1, *log_a.shape[-2:]):
        if (matrix == -np.inf).any():
            matrix[~_in_a_matching(matrix > -np.inf)] = -np.inf
    return log_a


def _in_a_matching(some: np.ndarray) -> np.ndarray:
    """For every entry, whether some permutation uses it: booleans ``(n, n)``."""
    column_of_row = maximum_bipartite_matching(csr_matrix(some), perm_type="column")
    if (column_of_row < 0).any():
        return np.zeros_like(some)
    by_rows = some[:, column_of_row]  # entry (i, k): row i may take the column of row k
    _, cycle = connected_components(csr_matrix(by_rows), connection="strong")
    used = np.zeros_like(some)
    used[:, column_of_row] = by_rows & (cycle[:, None] == cycle)
    return used


def log_largest_term(log_a: np.ndarray) -> np.ndarray:
    """A lower bound of log perm(A) in nats, of shape ``(...)``: the weight of its best permutation.

    Rounding is taken off. The permanent must not be 0.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros.
    """
    n = log_a.shape[-1]
    terms = np.stack([m[linear_sum_assignment(m, maximize=True)] for m in log_a.reshape(-1, n, n)])
    rounding = n * np.finfo(log_a.dtype).eps * np.abs(terms).sum(-1)
    return (terms.sum(-1) - rounding).reshape(log_a.shape[:-2]).astype(log_a.dtype)
