r"""Bounds of a permanent that hold in floating point: what rounding can have moved is taken off.

The theorems ask for beliefs b that are exactly doubly stochastic, and for exact arithmetic; a
computer has neither. Let eps be the spacing of floating-point numbers at 1.

1. *Below.* F(b) = sum_ij b log A - b log b + (1 - b) log(1 - b) is at most log perm(A) for every
   doubly stochastic b that is 0 where A is 0 (Gurvits 2011). Computed row and column sums are off
   by a total mass delta, their own rounding included. A doubly stochastic b' close to b exists:

   * where A has no zeros, shrink b until no sum exceeds 1, and spread what is then missing over a
     matrix of rank one with mass delta;
   * or take tiny beliefs for zeros, which can only lower the permanent, and let the missing mass
     flow along the entries that stay, if each holds 2 delta or more, and if rows and columns that
     they join are equal in number. Each of the 2n - 1 entries of a spanning forest changes by delta
     at most.

   x log x moves by at most h (1 + |log h|) when x moves by h, so F(b') is at least F(b) less a few
   times delta (|log delta| + log n + max |log A|), 2n times that for the forest. If neither b' is
   to be had, no certificate can be given, and the bound is -inf.
2. *Above.* The dual bounds hold for any b and v. Only rounding counts, and it is put outward entry
   by entry, before the maximum over j is taken: else an entry that is large and inaccurate might
   hide behind a smaller one.
3. *Sums* are taken in pairs, then in pairs of pairs: m terms are off by at most log2(m) eps times
   the sum of their sizes, where one after the other they might be off by m eps times it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from symvi.permanents.entropy import NEAR_ONE, slope_terms
from symvi.permanents.log_matrices import log_rest
from symvi.permanents.scaling import Scaling, scale_matrix

MOST_MISSING = 0.3  # of the mass of n rows; beyond, x log x no longer moves as 1. says


def bethe_below(log_a: Float[Array, "n n"], log_b: Float[Array, "n n"]) -> Float[Array, ""]:
    """A lower bound of log perm(A) in nats from beliefs that are nearly doubly stochastic.

    -inf where none can be given.
    """
    scaled = scale_matrix(log_a)  # its F is that of A less what the scaling took away
    everywhere = jnp.where(log_a == -jnp.inf, 0.0, jnp.exp(log_b))
    large = jnp.where(everywhere >= 4 * _missing_mass(everywhere), everywhere, 0.0)
    return jnp.maximum(
        _below(log_a, log_b, scaled, everywhere, _filling_everywhere),
        _below(log_a, log_b, scaled, large, _filling_along),
    )


def _below(log_a, log_b, scaled: Scaling, b: Float[Array, "n n"], filling) -> Float[Array, ""]:
    """F(b), less what it can lose when the mass that b misses is filled in and rounding put right.

    `filling(b, log_p, delta)` is what the filling takes.
    """
    some = b > 0
    delta = _missing_mass(b)
    log_p = jnp.where(some, scaled.log_p, 0.0)
    log_b = jnp.where(some, log_b, 0.0)
    rest = log_rest(b, jnp.where(some, log_b, -jnp.inf))
    of_rest = jnp.where(rest > -jnp.inf, jnp.exp(rest) * rest, 0.0)
    taken = _sum(scaled.row) + _sum(scaled.column)
    value = _total(b * (log_p - log_b) + of_rest) + taken

    sizes = jnp.where(some, b * (jnp.abs(log_a) + jnp.abs(log_p) + jnp.abs(log_b)), 0.0)
    size = _total(sizes - of_rest) + _sum(jnp.abs(scaled.row)) + _sum(jnp.abs(scaled.column))
    shrinking = _excess(b) * _total(sizes)
    moving = 2 * _moved(delta) + delta * (3 * math.log(len(b)) + 4)
    away = _rounding(b) * size + shrinking + moving + filling(b, scaled.log_p, delta)
    return jnp.where(delta < MOST_MISSING, value - away, -jnp.inf)


def bethe_above(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], v: Float[Array, " n"]
) -> Float[Array, ""]:
    """An upper bound of log perm(A) in nats: n/2 log 2 above the largest Bethe permanent there is.

    F is concave where rows of b sum to 1, and <slope, b> cancels with F(b), up to

    sum_i max_j (log A_ij - log b_ij - log(1 - b_ij) - v_j) + sum_j v_j + sum_ij log(1 - b_ij).
    """
    return _dual(log_a, log_b, v, share=1.0) + 0.5 * len(log_a) * math.log(2)


def fractional_above(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], v: Float[Array, " n"]
) -> Float[Array, ""]:
    """The upper bound of :mod:`symvi.permanents.fractional`, in nats, with rounding put outward."""
    return _dual(log_a, log_b, v, share=0.5)


def _dual(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], v: Float[Array, " n"], share: float
) -> Float[Array, ""]:
    """The proof by concavity, of F with `share` times (1 - b) log(1 - b), rounding put outward."""
    zero = log_a == -jnp.inf
    log_b = log_b - jnp.log(_sum(jnp.exp(log_b)))[:, None]
    forced = (~zero).sum(1, keepdims=True) == 1  # rows of one entry: b = 1, and nothing to choose
    rest = share * jnp.where(forced, 0.0, log_rest(jnp.exp(log_b), log_b))
    parts = jnp.abs(log_a) + jnp.abs(log_b) + jnp.abs(rest) + jnp.abs(v)
    outward = log_a - log_b - rest - v + _rounding(log_a) * parts
    tops = jnp.where(zero, -jnp.inf, outward).max(1)
    size = _sum(jnp.abs(tops)) + _sum(jnp.abs(v)) + _total(jnp.abs(rest)) + len(log_a) ** 2
    value = _sum(tops) + _sum(v) + _total(rest) + _rounding(log_a) * size
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def entropy_above(
    log_a: Float[Array, "n n"], log_b: Float[Array, "n n"], v: Float[Array, " n"]
) -> Float[Array, ""]:
    """The upper bound of :mod:`symvi.permanents.entropy`, in nats, with rounding put outward."""
    eps = jnp.finfo(log_a.dtype).eps
    zero = log_a == -jnp.inf
    b = jnp.where(zero, 0.0, jnp.exp(log_b))
    log_b = jnp.where(zero, 0.0, log_b)
    log_b_and_j, b_j = slope_terms(log_b)
    u = 1 - b
    # the series of J leaves out positive terms of u^6 and more; its formula loses digits near 1
    error_of_j = jnp.where(u < NEAR_ONE, u**6 / 7 + 4 * eps, 8 * eps / jnp.maximum(u, NEAR_ONE))
    parts = 2 * jnp.abs(log_b) + jnp.abs(log_a) + jnp.abs(v) + 2
    outward = log_b_and_j - log_b + log_a - v + 4 * eps * parts + error_of_j
    tops = jnp.where(zero, -jnp.inf, outward).max(1)
    of_b = jnp.where(zero, 0.0, b * (1 - b_j) + b * error_of_j)
    size = _sum(jnp.abs(tops)) + _sum(jnp.abs(v)) + _total(jnp.abs(of_b))
    return _sum(tops) + _sum(v) + _total(of_b) + _rounding(b) * size


def _rounding(matrix: Float[Array, "n n"]) -> float:
    """How far a sum over n x n terms, each a few operations, can be off: the share of its size."""
    return 4 * (2 * math.ceil(math.log2(len(matrix) + 1)) + 2) * jnp.finfo(matrix.dtype).eps


def _sum(terms: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """The sum along the last axis, taken in pairs."""
    while terms.shape[-1] > 1:
        half = terms.shape[-1] // 2
        pairs = terms[..., :half] + terms[..., half : 2 * half]
        terms = jnp.concatenate([pairs, terms[..., 2 * half :]], axis=-1)
    return terms[..., 0]


def _total(terms: Float[Array, "n n"]) -> Float[Array, ""]:
    """The sum of all entries, taken in pairs."""
    return _sum(_sum(terms))


def _moved(mass):
    """How far x log x moves when x does by `mass`: h (1 + |log h|)."""
    return mass * (1 + jnp.abs(jnp.log(mass)))


def _excess(b: Float[Array, "n n"]):
    """How far the largest row or column sum is above 1, what rounding hides included."""
    return jnp.maximum(jnp.maximum(_sum(b), _sum(b.T)).max() - 1, 0.0) + _rounding(b)


def _missing_mass(b: Float[Array, "n n"]) -> Float[Array, ""]:
    """How far row and column sums are from 1 altogether, what rounding hides included."""
    off = _sum(jnp.abs(1 - _sum(b))) + _sum(jnp.abs(1 - _sum(b.T)))
    return off + len(b) * _excess(b)


def _filling_everywhere(b, log_p, delta) -> Float[Array, ""]:
    """What F can lose to a matrix of rank one and mass delta; inf if there are zeros."""
    return delta * jnp.abs(log_p).max()


def _filling_along(b, log_p, delta) -> Float[Array, ""]:
    """What F can lose when mass delta flows along the entries of b; inf if it cannot."""
    some = b > 0
    steepest = jnp.where(some, jnp.abs(log_p), 0.0).max()
    loss = 2 * len(b) * (2 * _moved(delta) + delta * steepest)
    can_flow = _is_balanced(some) & jnp.all(~some | (b >= 2 * delta))
    return jnp.where(can_flow, loss, jnp.inf)


def _is_balanced(some: Bool[Array, "n n"]) -> Bool[Array, ""]:
    """Whether rows and columns that paths of entries join are equal in number."""
    rows = _first_joined(some)
    columns = jnp.where(some, rows[:, None], len(some)).min(0)
    numbers = jnp.arange(len(some) + 1)
    return jnp.all((rows == numbers[:, None]).sum(1) == (columns == numbers[:, None]).sum(1))


def _first_joined(some: Bool[Array, "n n"]) -> Int[Array, " n"]:
    """For every row the first row that paths of entries join it with."""
    n = len(some)

    def spread(state):
        rows, _ = state
        columns = jnp.where(some, rows[:, None], n).min(0)
        return jnp.minimum(rows, jnp.where(some, columns, n).min(1)), rows

    def moves(state):
        rows, before = state
        return jnp.any(rows != before)

    start = jnp.arange(n)
    return jax.lax.while_loop(moves, spread, (start, start - 1))[0]
