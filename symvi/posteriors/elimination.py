"""Inverses and log determinants of many small dense matrices at a time, by plain elimination.

LAPACK works through a batch matrix by matrix, and inside compiled loops its calls can wait for each
other for ever on a processor with few cores. Elimination over the columns, all matrices of the
batch side by side, has neither problem.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def inverse_of_unit_lower(lower: Float[Array, "*batch d d"]) -> Float[Array, "*batch d d"]:
    """(1 + N)^-1 for strictly lower triangular N, ``(..., d, d)``, by forward substitution."""
    d = lower.shape[-1]

    def row(
        i, found
    ):  # row i of the inverse: e_i - N_i times the rows above it, the others being 0 there
        below = jax.lax.dynamic_index_in_dim(lower, i, axis=-2, keepdims=False)
        return found.at[..., i, :].add(-jnp.einsum("...k,...kj->...j", below, found))

    return jax.lax.fori_loop(
        1, d, row, jnp.broadcast_to(jnp.eye(d, dtype=lower.dtype), lower.shape)
    )


@inverse_of_unit_lower.defjvp
def _inverse_rule(primals, tangents):
    inverse = inverse_of_unit_lower(primals[0])
    return inverse, -inverse @ tangents[0] @ inverse


def log_det_and_square(
    matrix: Float[Array, "*batch d d"], vector: Float[Array, "*batch d"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """log det C and v^T C^-1 v for positive definite C ``(..., d, d)`` and v ``(..., d)``.

    After the first k rows are eliminated, the pivot C_kk is the variance of entry k given those
    before, and v_k what is left of v there: log det C = sum of log pivots, v^T C^-1 v = sum of
    v_k^2 / pivot.
    """

    def step(state, k):
        matrix, vector = state
        column = jax.lax.dynamic_index_in_dim(matrix, k, axis=-1, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(column, k, axis=-1, keepdims=False)
        value = jax.lax.dynamic_index_in_dim(vector, k, axis=-1, keepdims=False)
        share = column / pivot[..., None]
        rest = (
            matrix - share[..., :, None] * column[..., None, :],
            vector - share * value[..., None],
        )
        return rest, (jnp.log(pivot), value**2 / pivot)

    _, (logs, squares) = jax.lax.scan(step, (matrix, vector), jnp.arange(matrix.shape[-1]))
    return logs.sum(0), squares.sum(0)


def inverse_of_positive(matrix: Float[Array, "*batch d d"]) -> Float[Array, "*batch d d"]:
    """C^-1 for positive definite C ``(..., d, d)``, by Gauss and Jordan's elimination in place."""

    @jax.checkpoint
    def step(matrix, k):
        row = jax.lax.dynamic_index_in_dim(matrix, k, axis=-2, keepdims=False)
        column = jax.lax.dynamic_index_in_dim(matrix, k, axis=-1, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(row, k, axis=-1, keepdims=True)
        is_k = jnp.arange(matrix.shape[-1]) == k
        swept = matrix - column[..., :, None] * (row / pivot)[..., None, :]
        swept = jnp.where(is_k, (-column / pivot)[..., :, None], swept)
        new_row = jnp.where(is_k, 1 / pivot, row / pivot)
        return jnp.where(is_k[:, None], new_row[..., None, :], swept), None

    return jax.lax.scan(step, matrix, jnp.arange(matrix.shape[-1]))[0]
