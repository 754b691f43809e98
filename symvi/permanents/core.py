"""The permanent of a matrix of log entries: perm(A) = sum over permutations g of prod_i A[i, g(i)].

Exact up to n = 16; beyond that the Bethe permanent (a lower bound with a known gap), an upper bound by entropy, and
permutations drawn with nearly the right weights, whose importance weights estimate perm(A) without bias.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache, partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import is_concrete, positive_int
from symvi.permanents.entropy import entropy_bound
from symvi.permanents.scaling import (
    check_log_matrix,
    log_normalise,
    log_sum_exp,
    over_batch,
    scale_matrix,
    with_beliefs_as_gradient,
)

MAX_EXACT = 16  # the subset table has 2^n entries
DAMPING = 0.3  # share of the old messages that a round keeps
BIG = 1e6  # log messages are kept within +-BIG: a message beyond it forces or forbids a pair


@lru_cache(maxsize=MAX_EXACT)
def _levels(n: int) -> tuple:
    """For k = 1..n: for each k-subset of columns, the columns in it and the places of the (k-1)-subsets left by dropping each.

    Indices have 32 bits: those of 64 bits fail in single precision once JAX has run in double precision in the same process.
    """
    levels, place = [], {(): 0}
    for k in range(1, n + 1):
        subsets = list(combinations(range(n), k))
        before = np.array(
            [[place[s[:i] + s[i + 1 :]] for i in range(k)] for s in subsets], np.int32
        )
        levels.append((np.array(subsets, np.int32), before))
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
    log_a = check_log_matrix(log_a)
    n = log_a.shape[-1]
    if n > MAX_EXACT:
        raise ValueError(
            f"log_a: expected n <= {MAX_EXACT} for the exact permanent (2^n terms), got n = {n}; use log_permanent_bounds, or method='guided' of orbit_information"
        )
    table = jnp.zeros((*log_a.shape[:-2], 1), log_a.dtype)
    for row, (columns, before) in enumerate(_levels(n)):
        table = log_sum_exp(table[..., before] + log_a[..., row, :][..., columns], axis=-1)
    return table[..., 0]


class Bethe(NamedTuple):
    """The Bethe permanent of a matrix and the state it was computed from.

    Attributes
    ----------
    value : array (...)
        log perm_B(A) in nats: a lower bound of log perm(A), from any beliefs that are doubly stochastic.
    log_beliefs : array (..., n, n)
        log of the matrix of beliefs, the approximate probabilities that g(i) = j.
    messages : array (..., n, n)
        Log messages to the rows: pass them as `start` to begin the next computation here.
    gap : array (...)
        Duality gap in nats: the fixed point's value is between ``value`` and ``value + gap``.
    """

    value: jax.Array
    log_beliefs: jax.Array
    messages: jax.Array
    gap: jax.Array


def _leave_one_out(x, axis: int):
    """log of the sum of exp(x) along `axis` without the entry itself, for every entry; no cancellation."""
    top = jnp.argmax(x, axis=axis, keepdims=True)
    is_top = (
        jnp.arange(x.shape[axis]).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
        == top
    )
    others = jnp.expand_dims(
        log_sum_exp(jnp.where(is_top, -jnp.inf, x), axis), axis
    )  # all but the largest
    largest = jnp.max(x, axis=axis, keepdims=True)
    shift = jnp.where(jnp.isfinite(largest), largest, 0.0)
    total = jnp.sum(jnp.exp(x - shift), axis=axis, keepdims=True)
    rest = jnp.where(is_top, 1.0, total - jnp.where(is_top, 0.0, jnp.exp(x - shift)))
    return jnp.where(is_top, others, jnp.log(rest) + shift)


def _doubly_stochastic(log_b, zero, rounds: int):
    """Beliefs made doubly stochastic, so that their free energy is a lower bound whether or not messages converged.

    Rows and columns are scaled for at most `rounds` rounds; what is then missing from them is filled in as a rank-one
    matrix (Altschuler, Weed and Rigollet 2017), unless it would fall on zeros of the matrix.
    """
    close = 10 * jnp.finfo(log_b.dtype).eps

    def round_(state):
        by_rows = log_normalise(log_normalise(state[0], 0)[0], 1)[0]
        return by_rows, jnp.max(jnp.abs(jnp.exp(by_rows).sum(0) - 1)), state[2] + 1

    log_b, _, _ = jax.lax.while_loop(
        lambda s: (s[1] > close) & (s[2] < rounds),
        round_,
        (log_b, jnp.asarray(jnp.inf, log_b.dtype), 0),
    )
    log_b = log_b - jnp.log(jnp.maximum(jnp.exp(log_b).sum(0), 1.0))
    b = jnp.exp(log_b)
    row, column = jnp.maximum(1 - b.sum(1), 0.0), jnp.maximum(1 - b.sum(0), 0.0)
    missing = row[:, None] * column / jnp.maximum(row.sum(), jnp.finfo(b.dtype).tiny)
    fits = ~jnp.any(zero & (missing > 0))
    return jnp.where(
        fits & (missing > 0),
        jnp.logaddexp(log_b, jnp.log(jnp.where(missing > 0, missing, 1.0))),
        log_b,
    )


def bethe(
    log_a, *, start=None, max_iter: int = 200, tolerance: float = 1e-4, balance: int = 500
) -> Bethe:
    """The Bethe permanent by sum-product message passing (Huang and Jebara 2009; Vontobel 2013), in log space.

    It maximises the concave F(b) = sum_ij b (log A - log b) + (1 - b) log(1 - b) over doubly stochastic beliefs b, and
    perm_B(A) <= perm(A) <= sqrt(2)^n perm_B(A) (Gurvits 2011; Anari and Rezaei 2019). The gradient in log A is b.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
    start : array (..., n, n), optional
        ``messages`` of an earlier result for a matrix close to this one. Without it, messages start from a Sinkhorn scaling.
    max_iter : int
        Rounds of messages at most.
    tolerance : float
        Stop when the beliefs' row and column sums agree this well.
    balance : int
        Rounds of scaling at most that make the final beliefs doubly stochastic.

    Raises
    ------
    ValueError
        If the matrix is not square, has NaN or +inf entries, or `start` has another shape.
    """
    log_a = check_log_matrix(log_a)
    if start is not None and jnp.shape(start) != log_a.shape:
        raise ValueError(
            f"start: expected the shape of log_a, {log_a.shape}, got {jnp.shape(start)}; pass the messages of an earlier result for a matrix of this size"
        )
    return _bethe(
        log_a,
        start,
        positive_int("max_iter", max_iter),
        tolerance,
        positive_int("balance", balance),
    )


@partial(jax.jit, static_argnames=("max_iter", "balance"))
def _bethe(log_a, start, max_iter=200, tolerance=1e-4, balance=500):
    fixed = jax.lax.stop_gradient(log_a)
    if start is None:
        start = -jnp.broadcast_to(scale_matrix(fixed).column[..., None, :], log_a.shape)
    found = over_batch(
        partial(_pass_messages, max_iter=max_iter, tolerance=tolerance, balance=balance),
        fixed,
        jax.lax.stop_gradient(start),
    )
    value = over_batch(with_beliefs_as_gradient, log_a, found.value, found.log_beliefs)
    return found._replace(value=value)


def _pass_messages(log_a, start, max_iter, tolerance, balance):
    n = log_a.shape[0]
    if n == 1:
        value = log_a[0, 0]
        return Bethe(
            value, jnp.where(jnp.isfinite(log_a), 0.0, -jnp.inf), start, jnp.zeros_like(value)
        )
    zero = log_a == -jnp.inf

    def to_columns(to_rows):
        """r_ij = 1 / sum over j' != j of A_ij' c_ij'."""
        return jnp.clip(-_leave_one_out(log_a + to_rows, 1), -BIG, BIG)

    def round_(state):
        to_rows, _, count = state
        fresh = jnp.clip(
            -_leave_one_out(log_a + to_columns(to_rows), 0), -BIG, BIG
        )  # c_ij = 1 / sum over i' != i of A_i'j r_i'j
        to_rows = (1 - DAMPING) * fresh + DAMPING * to_rows
        beliefs = jax.nn.sigmoid(log_a + to_rows + to_columns(to_rows))
        error = jnp.maximum(
            jnp.max(jnp.abs(beliefs.sum(0) - 1)), jnp.max(jnp.abs(beliefs.sum(1) - 1))
        )
        return to_rows, error, count + 1

    state = (jnp.clip(start, -BIG, BIG), jnp.asarray(jnp.inf, log_a.dtype), 0)
    to_rows, _, _ = jax.lax.while_loop(
        lambda s: (s[1] > tolerance) & (s[2] < max_iter), round_, state
    )
    log_b = jax.nn.log_sigmoid(log_a + to_rows + to_columns(to_rows))
    log_b = _doubly_stochastic(log_b, zero, balance)
    b, log_not = jnp.exp(log_b), _leave_one_out(log_b, 1)
    not_b = jnp.exp(log_not)
    terms = jnp.where(b > 0, b * (log_a - log_b), 0.0) + jnp.where(not_b > 0, not_b * log_not, 0.0)
    impossible = jnp.any(jnp.all(zero, axis=0) | jnp.all(zero, axis=1))
    value = jnp.where(impossible, -jnp.inf, terms.sum())
    # duality: F(b') <= F(b) + <slope, b' - b> <= F(b) + sum_i max_j (slope_ij - v_j) + sum_j v_j - <slope, b> for every b' and v
    slope = jnp.where(
        zero, -jnp.inf, log_a - log_b - jnp.where(jnp.isfinite(log_not), log_not, 0.0)
    )  # a forced pair has no slope
    v = log_sum_exp(log_a + to_columns(to_rows), axis=0)
    mean_slope = jnp.where(b > 0, b * (slope - v), 0.0).sum()
    gap = jnp.maximum(jnp.max(slope - v, axis=1).sum() - mean_slope, 0.0)
    return Bethe(value, log_b, to_rows, jnp.where(impossible, 0.0, gap))


def log_permanent_bethe(log_a, **options) -> jax.Array:
    """log perm_B(A) in nats, of shape ``(...)``: :func:`bethe`'s value, with a warning if it has not converged.

    A lower bound of log perm(A), at most n/2 log 2 nats below it. `options` are those of :func:`bethe`.
    """
    found = bethe(log_a, **options)
    if is_concrete(found.gap) and bool(jnp.any(found.gap > 0.1)):
        warnings.warn(
            f"log_permanent_bethe: not converged, the fixed point may be {float(jnp.max(found.gap)):.2g} nats higher; raise max_iter (the value is still a lower bound)",
            stacklevel=2,
        )
    return found.value


def log_permanent_bounds(log_a, *, max_exact: int = MAX_EXACT) -> tuple:
    """A certified interval of log perm(A) in nats: ``(lower, upper)``, each of shape ``(...)``.

    Exact (lower = upper) for n <= `max_exact`. Beyond, lower is the Bethe permanent and upper the smaller of
    n/2 log 2 above the Bethe permanent (Anari and Rezaei 2019) and the bound by the entropy of a random permutation
    (:mod:`symvi.permanents.entropy`), which for flat matrices is about log n wide.
    """
    log_a = check_log_matrix(log_a)
    if log_a.shape[-1] <= max_exact:
        return (log_permanent(log_a),) * 2
    return _bounds(log_a)


@jax.jit
def _bounds(log_a):
    found = _bethe(log_a, None)
    by_bethe = found.value + found.gap + 0.5 * log_a.shape[-1] * math.log(2)
    return found.value, jnp.maximum(found.value, jnp.minimum(entropy_bound(log_a).value, by_bethe))


def _row_logits(row, ahead, free):
    """Log odds that this row takes each free column, against the rows still to come.

    What remains after column j is taken is about the product of the other columns' sums over the rows ahead, so j is
    taken with weight P_ij / (sum over rows i' ahead of P_i'j).
    """
    odds = row - jnp.maximum(ahead, row - 30.0)  # nothing left ahead: take it now
    odds = jnp.where(jnp.isfinite(odds), jnp.maximum(odds, -BIG), -BIG)
    return jax.nn.log_softmax(jnp.where(free, odds, -jnp.inf))


def _ahead(log_p):
    """log of the column sums over the rows after each row, shape ``(n, n)``."""
    sums = jax.lax.cumlogsumexp(log_p, axis=0, reverse=True)
    return jnp.concatenate([sums[1:], jnp.full_like(sums[:1], -jnp.inf)])


def draw_permutation(key, log_p, given=None):
    """One permutation drawn row by row from a scaled matrix: ``(perm (n,), log_prob)``; row i takes column ``perm[i]``.

    Where the int array `given` of shape ``(n,)`` is not negative, the row takes that column instead: then ``log_prob``
    is the log probability of drawing it.
    """

    def step(state, inputs):
        free, key = state
        row, ahead, forced = inputs
        key, k = jax.random.split(key)
        logits = _row_logits(row, ahead, free)
        drawn = jnp.argmax(
            jnp.where(free, logits + jax.random.gumbel(k, logits.shape, logits.dtype), -jnp.inf)
        )
        column = jnp.where(forced < 0, drawn, forced)
        return (free.at[column].set(False), key), (column, logits[column])

    n = len(log_p)
    given = jnp.full(n, -1) if given is None else given
    _, (perm, log_prob) = jax.lax.scan(
        step, (jnp.ones(n, bool), key), (log_p, _ahead(log_p), given)
    )
    return perm, log_prob.sum()


def sample_permutations(key, log_a, num: int) -> tuple:
    """`num` permutations drawn with about the weight prod_i A[i, g(i)], and their log probabilities.

    Rows choose columns one after the other, guided by the Sinkhorn-scaled matrix. The importance weights
    prod_i A[i, g(i)] / r(g) have mean perm(A) exactly. One matrix ``(n, n)``; O(n^2) a draw.

    Returns
    -------
    perms : int array (num, n)
        Row i takes column ``perms[k, i]``.
    log_prob : array (num,)
        log r(g), in nats.
    """
    log_a = check_log_matrix(log_a)
    if log_a.ndim != 2:
        raise ValueError(
            f"log_a: expected one matrix (n, n), got shape {log_a.shape}; use jax.vmap for a batch"
        )
    return _draw_many(jax.random.split(key, positive_int("num", num)), log_a)


@jax.jit
def _draw_many(keys, log_a):
    log_p = scale_matrix(log_a).log_p
    return jax.vmap(lambda k: draw_permutation(k, log_p))(keys)
