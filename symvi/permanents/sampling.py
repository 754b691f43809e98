"""Permutations drawn with nearly the right weights: unbiased estimates of the permanent."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from symvi.checks import as_numbers, expected, is_concrete, positive_int, required_key
from symvi.permanents.log_matrices import check_log_matrix
from symvi.permanents.scaling import scale_matrix

MOST_ODDS = 30.0  # nats: a column that no row ahead wants is taken with at most these log odds
LEAST_ODDS = -1e6  # nats, where logits must stay finite


def sample_permutations(key, log_a, num: int) -> tuple[Int[Array, "num n"], Float[Array, " num"]]:
    """`num` permutations drawn with about the weight prod_i A[i, g(i)]; their log probabilities.

    Rows choose columns one after the other, guided by the Sinkhorn-scaled matrix. The importance
    weights prod_i A[i, g(i)] / r(g) have mean perm(A) exactly. O(n^2) a draw.

    Parameters
    ----------
    key : JAX key
    log_a : array (n, n)
        One matrix of log entries, -inf for zeros; any n.
    num : int

    Returns
    -------
    perms : int array (num, n)
        Row i takes column ``perms[k, i]``.
    log_prob : array (num,)
        log r(g), in nats.

    Raises
    ------
    ValueError
        If `log_a` is not one square matrix or has NaN or +inf entries, `key` is no JAX key, or num
        < 1.
    """
    log_a = _one_matrix("log_a", log_a)
    num = positive_int("num", num)
    return _draw_many(jax.random.split(required_key(key), num), log_a)


def draw_permutation(key, log_p, given=None) -> tuple[Int[Array, " n"], Float[Array, ""]]:
    """One permutation drawn row by row from a scaled matrix: ``(perm (n,), log_prob)``.

    Row i takes column ``perm[i]``.

    Parameters
    ----------
    key : JAX key
    log_p : array (n, n)
        ``log_p`` of a :func:`sinkhorn` scaling.
    given : int array (n,), optional
        Where it is not negative, the row takes that column instead: then ``log_prob`` is the log
        probability of drawing it.

    Raises
    ------
    ValueError
        If an argument is not of this kind and shape, or `given` names a column twice or one that is
        not there.
    """
    log_p = _one_matrix("log_p", log_p)
    n = len(log_p)
    given = jnp.full(n, -1) if given is None else _columns(given, n)
    return _draw_one(required_key(key), log_p, given)


def _one_matrix(name: str, matrix) -> Float[Array, "n n"]:
    matrix = check_log_matrix(matrix, name)
    if matrix.ndim != 2:
        raise expected(
            name, "one matrix (n, n)", f"shape {matrix.shape}", "use jax.vmap for a batch"
        )
    return matrix


def _columns(given, n: int) -> Int[Array, " n"]:
    """`given` as an array; ValueError unless it names a column, or a negative number, a row."""
    given = as_numbers("given", given)
    wanted = f"{n} columns, each of 0..{n - 1} at most once (negative: not given)"
    remedy = "pass one whole number for each row"
    if given.shape != (n,) or not jnp.issubdtype(given.dtype, jnp.integer):
        raise expected("given", wanted, f"shape {given.shape} of {given.dtype}", remedy)
    if is_concrete(given):
        columns = np.asarray(given)
        columns = columns[columns >= 0]
        if len(np.unique(columns)) != len(columns) or np.any(columns >= n):
            raise expected("given", wanted, np.asarray(given).tolist(), remedy)
    return given


@jax.jit
def _draw_many(
    keys, log_a: Float[Array, "n n"]
) -> tuple[Int[Array, "num n"], Float[Array, " num"]]:
    log_p = scale_matrix(log_a).log_p
    none_given = jnp.full(len(log_p), -1)
    return jax.vmap(lambda key: _draw_one(key, log_p, none_given))(keys)


def _draw_one(
    key, log_p: Float[Array, "n n"], given: Int[Array, " n"]
) -> tuple[Int[Array, " n"], Float[Array, ""]]:
    def next_row(state, inputs):
        free, key = state
        row, ahead, forced = inputs
        key, key_here = jax.random.split(key)
        logits = _row_logits(row, ahead, free)
        noise = jax.random.gumbel(key_here, logits.shape, logits.dtype)
        drawn = jnp.argmax(jnp.where(free, logits + noise, -jnp.inf))
        column = jnp.where(forced < 0, drawn, forced)
        return (free.at[column].set(False), key), (column, logits[column])

    every_column = jnp.ones(len(log_p), bool)
    rows = (log_p, _log_sums_ahead(log_p), given)
    _, (perm, log_prob) = jax.lax.scan(next_row, (every_column, key), rows)
    return perm, log_prob.sum()


def _row_logits(
    row: Float[Array, " n"], ahead: Float[Array, " n"], free: Bool[Array, " n"]
) -> Float[Array, " n"]:
    """Log odds that this row takes each free column, against the rows still to come.

    What remains after column j is taken is about the product of the other columns' sums over the
    rows ahead, so j is taken with weight P_ij / (sum over rows i' ahead of P_i'j).
    """
    odds = row - jnp.maximum(ahead, row - MOST_ODDS)  # nothing left ahead: take it now
    odds = jnp.where(jnp.isfinite(odds), jnp.maximum(odds, LEAST_ODDS), LEAST_ODDS)
    return jax.nn.log_softmax(jnp.where(free, odds, -jnp.inf))


def _log_sums_ahead(log_p: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """log of the column sums over the rows after each row, shape ``(n, n)``."""
    sums = jax.lax.cumlogsumexp(log_p, axis=0, reverse=True)
    return jnp.concatenate([sums[1:], jnp.full_like(sums[:1], -jnp.inf)])
