"""Matrices of log entries that strain the bounds of permanents."""

import numpy as np


def scattered(n, rng):
    return rng.normal(size=(n, n)) * rng.choice([0.1, 1.0, 10.0, 100.0])


def lowered(where):
    """Scattered entries, some of them lower by `by` where `where(row, column, n)` says so."""

    def make(n, rng, by=np.inf):
        row, column = np.indices((n, n))
        log_a = scattered(n, rng)
        log_a[where(row, column, n)] -= by
        return log_a

    return make


def one_block(row, column, n):
    return (row < n // 2) & (column >= n // 2)


def two_blocks(row, column, n):
    return (row < n // 2) != (column < n // 2)


triangular = lowered(lambda row, column, n: row < column)


def one_permutation(n, rng):
    log_a = scattered(n, rng)
    log_a[np.arange(n), rng.permutation(n)] += 1e3
    return log_a


def sparse(n, rng):
    log_a = scattered(n, rng)
    log_a[rng.random((n, n)) < 0.5] = -np.inf
    return log_a


KINDS = {
    "plain": scattered,
    "triangular": triangular,
    "nearly triangular": lambda n, rng: triangular(n, rng, rng.choice([20.0, 300.0])),
    "banded": lowered(lambda row, column, n: abs(row - column) > 1),
    "blocks": lowered(one_block),
    "nearly blocks": lambda n, rng: lowered(two_blocks)(n, rng, 40.0),
    "nearly singular": lambda n, rng: rng.normal(size=n) + 1e-9 * rng.normal(size=(n, n)),
    "huge range": lambda n, rng: 1e4 * rng.normal(size=(n, n)),
    "sparse": sparse,
    "flat": lambda n, rng: np.full((n, n), 100 * rng.normal()),
    "one permutation": one_permutation,
}


def drawn(kind: str, n: int, seed: int, dtype=float) -> np.ndarray:
    """A matrix of log entries that strains the bounds."""
    return KINDS[kind](n, np.random.default_rng(seed)).astype(dtype)
