"""The Bethe permanent: a lower bound of the permanent, found by message passing."""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp, log_sum_exp_of_others, over_leading_axes, until_settled
from symvi.checks import as_numbers, expected, is_concrete, positive_int, positive_number
from symvi.permanents.log_matrices import check_log_matrix, has_zero_line, with_beliefs_as_gradient
from symvi.permanents.scaling import doubly_stochastic, scale_matrix

DAMPING = 0.3  # share of the old messages that a round keeps
BIG = 1e6  # log messages are kept within +-BIG: a message beyond it forces or forbids a pair
WIDE_GAP = 0.1  # nats: a wider gap is worth a warning
BALANCE_ROUNDS = 500  # of scaling at most, to make the final beliefs doubly stochastic


class Bethe(NamedTuple):
    """The Bethe permanent of a matrix and the state it was computed from.

    Attributes
    ----------
    value : array (...)
        log perm_B(A) in nats: a lower bound of log perm(A), from any beliefs that are doubly
        stochastic.
    log_beliefs : array (..., n, n)
        log of the matrix of beliefs, the approximate probabilities that g(i) = j.
    messages : array (..., n, n)
        Log messages to the rows: pass them as `start` to begin the next computation here.
    gap : array (...)
        Duality gap in nats: the fixed point's value is between ``value`` and ``value + gap``.
    prices : array (..., n)
        The v of the dual bound that the gap is computed with.
    """

    value: Float[Array, "*batch"]
    log_beliefs: Float[Array, "*batch n n"]
    messages: Float[Array, "*batch n n"]
    gap: Float[Array, "*batch"]
    prices: Float[Array, "*batch n"]


def bethe(
    log_a,
    *,
    start=None,
    max_iter: int = 200,
    tolerance: float = 1e-4,
) -> Bethe:
    """The Bethe permanent by sum-product message passing, in log space.

    Sources: Huang and Jebara (2009); Vontobel (2013). It maximises the concave
    F(b) = sum_ij b (log A - log b) + (1 - b) log(1 - b) over doubly stochastic beliefs b, and
    perm_B(A) <= perm(A) <= sqrt(2)^n perm_B(A) (Gurvits 2011; Anari and Rezaei 2019). The gradient
    in log A is b.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
    start : array (..., n, n), optional
        ``messages`` of an earlier result for a matrix close to this one. Without it, messages start
        from a Sinkhorn scaling.
    max_iter : int
        Rounds of messages at most.
    tolerance : float
        Stop when the beliefs' row and column sums agree this well.

    Raises
    ------
    ValueError
        If the matrix is not square or has NaN or +inf entries, `start` has another shape, or an
        option is not positive.
    """
    log_a = check_log_matrix(log_a)
    if start is not None:
        start = as_numbers("start", start)
        if start.shape != log_a.shape:
            raise expected(
                "start",
                f"the shape of log_a, {log_a.shape}",
                start.shape,
                "pass the messages of an earlier result for a matrix of this size",
            )
    return compiled_bethe(
        log_a,
        start,
        positive_int("max_iter", max_iter),
        positive_number("tolerance", tolerance),
    )


def log_permanent_bethe(log_a, **options) -> Float[Array, "*batch"]:
    """log perm_B(A) in nats, of shape ``(...)``, with a warning if it has not converged.

    A lower bound of log perm(A), at most n/2 log 2 nats below it. `options` are those of
    :func:`bethe`.
    """
    found = bethe(log_a, **options)
    if is_concrete(found.gap) and bool(jnp.any(found.gap > WIDE_GAP)):
        warnings.warn(
            "log_permanent_bethe: not converged, the fixed point may be "
            f"{float(jnp.max(found.gap)):.2g} nats higher; raise max_iter "
            "(the value is still a lower bound)",
            stacklevel=2,
        )
    return found.value


@partial(jax.jit, static_argnames="max_iter")
def compiled_bethe(
    log_a: Float[Array, "*batch n n"],
    start: Float[Array, "*batch n n"] | None = None,
    max_iter: int = 200,
    tolerance=1e-4,
) -> Bethe:
    """:func:`bethe` without its checks, compiled."""
    fixed = jax.lax.stop_gradient(log_a)
    if start is None:
        start = -jnp.broadcast_to(scale_matrix(fixed).column[..., None, :], log_a.shape)
    solve = partial(_of_one_matrix, max_iter=max_iter, tolerance=tolerance)
    batch_axes = log_a.ndim - 2
    found = over_leading_axes(solve, batch_axes, fixed, jax.lax.stop_gradient(start))
    value = over_leading_axes(
        with_beliefs_as_gradient, batch_axes, log_a, found.value, found.log_beliefs
    )
    return found._replace(value=value)


def _of_one_matrix(
    log_a: Float[Array, "n n"], start: Float[Array, "n n"], max_iter, tolerance
) -> Bethe:
    if len(log_a) == 1:
        return _of_one_entry(log_a, start)
    to_rows = _pass_messages(log_a, start, max_iter, tolerance)
    to_columns = _messages_to_columns(log_a, to_rows)
    log_b = jax.nn.log_sigmoid(log_a + to_rows + to_columns)
    log_b = doubly_stochastic(log_b, log_a == -jnp.inf, BALANCE_ROUNDS)
    log_not_b = log_sum_exp_of_others(log_b, 1)
    prices = log_sum_exp(log_a + to_columns, axis=0)
    impossible = has_zero_line(log_a)
    value = jnp.where(impossible, -jnp.inf, _free_energy(log_a, log_b, log_not_b))
    gap = jnp.where(impossible, 0.0, _duality_gap(log_a, log_b, log_not_b, prices))
    return Bethe(value, log_b, to_rows, gap, prices)


def _of_one_entry(log_a: Float[Array, "1 1"], start: Float[Array, "1 1"]) -> Bethe:
    value = log_a[0, 0]
    log_belief = jnp.where(jnp.isfinite(log_a), 0.0, -jnp.inf)
    return Bethe(value, log_belief, start, jnp.zeros_like(value), jnp.zeros_like(value)[None])


def _messages_to_columns(
    log_a: Float[Array, "n n"], to_rows: Float[Array, "n n"]
) -> Float[Array, "n n"]:
    """r_ij = 1 / sum over j' != j of A_ij' c_ij', for the messages c to the rows."""
    return jnp.clip(-log_sum_exp_of_others(log_a + to_rows, 1), -BIG, BIG)


def _messages_to_rows(
    log_a: Float[Array, "n n"], to_columns: Float[Array, "n n"]
) -> Float[Array, "n n"]:
    """c_ij = 1 / sum over i' != i of A_i'j r_i'j, for the messages r to the columns."""
    return jnp.clip(-log_sum_exp_of_others(log_a + to_columns, 0), -BIG, BIG)


def _pass_messages(
    log_a: Float[Array, "n n"], start: Float[Array, "n n"], max_iter, tolerance
) -> Float[Array, "n n"]:
    def one_round(to_rows):
        fresh = _messages_to_rows(log_a, _messages_to_columns(log_a, to_rows))
        to_rows = (1 - DAMPING) * fresh + DAMPING * to_rows
        beliefs = jax.nn.sigmoid(log_a + to_rows + _messages_to_columns(log_a, to_rows))
        row_error = jnp.max(jnp.abs(beliefs.sum(1) - 1))
        column_error = jnp.max(jnp.abs(beliefs.sum(0) - 1))
        return to_rows, jnp.maximum(column_error, row_error)

    to_rows, _ = until_settled(
        one_round,
        jnp.clip(start, -BIG, BIG),
        tolerance=tolerance,
        max_iter=max_iter,
        dtype=log_a.dtype,
    )
    return to_rows


def _free_energy(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], log_not_b: Float[Array, "n n"]
) -> Float[Array, ""]:
    """F(b) = sum_ij b (log A - log b) + (1 - b) log(1 - b)."""
    b, not_b = jnp.exp(log_b), jnp.exp(log_not_b)
    energy = jnp.where(b > 0, b * (log_a - log_b), 0.0)
    entropy_of_not = jnp.where(not_b > 0, not_b * log_not_b, 0.0)
    return (energy + entropy_of_not).sum()


def _duality_gap(
    log_a: Float[Array, "n n"],
    log_b: Float[Array, "n n"],
    log_not_b: Float[Array, "n n"],
    prices: Float[Array, " n"],
) -> Float[Array, ""]:
    """How far above F(b) the maximum can be, in nats.

    F is concave, so for every b' and every v (`prices`)

    F(b') <= F(b) + <slope, b' - b> <= F(b) + sum_i max_j (slope_ij - v_j) + sum_j v_j - <slope, b>.
    """
    b = jnp.exp(log_b)
    # a forced pair has no slope
    of_not = jnp.where(jnp.isfinite(log_not_b), log_not_b, 0.0)
    slope = jnp.where(log_a == -jnp.inf, -jnp.inf, log_a - log_b - of_not)
    mean_slope = jnp.where(b > 0, b * (slope - prices), 0.0).sum()
    return jnp.maximum(jnp.max(slope - prices, axis=1).sum() - mean_slope, 0.0)
