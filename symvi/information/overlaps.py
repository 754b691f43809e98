"""How much the Gaussian posteriors of two hidden units overlap, for every pair, in closed form.

For units i and j of a posterior q: the Bhattacharyya coefficient BC_ij, the integral of sqrt(q_i
q_j), and the divergence KL(q_i || q_j). A signed group averages over the two signs of unit j.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.posteriors.elimination import inverse_of_unit_lower, log_det_and_square

Units = Float[Array, "n d"]
Factors = Float[Array, "n d d"]

MAX_ENTRIES = 2**24  # larger (n, n, d, d) arrays are worked through row by row


def row_by_row(pair, *arrays):
    """pair(i-th entries, all entries) for every unit i: shape ``(n, n)``."""
    n = len(arrays[0])
    rows = jax.checkpoint(lambda row: pair(row, arrays))
    if n * sum(a.size for a in arrays) <= MAX_ENTRIES:
        return jax.vmap(rows)(arrays)
    return jax.lax.map(rows, arrays)


def _over_weights(pair, loc, scale):
    """The sum over weights k of pair(loc_ik, scale_ik, loc_jk, scale_jk): shape ``(n, n)``."""

    @jax.checkpoint
    def add(total, weight):
        m, s = weight
        return total + pair(m[:, None], s[:, None], m, s), None

    return jax.lax.scan(
        add, jnp.zeros((len(loc), len(loc)), loc.dtype), (loc.T, scale.T), unroll=4
    )[0]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _log_bhattacharyya(loc, scale, sign):
    def pair(m1, s1, m2, s2):
        variance = s1**2 + s2**2
        return 0.5 * jnp.log(2 * s1 * s2 / variance) - 0.25 * (m1 - sign * m2) ** 2 / variance

    return _over_weights(pair, loc, scale)


def _slopes(sign, units, slope):
    """Sums over rows alone, since log BC is symmetric: faster than automatic differentiation."""
    slope = slope + slope.T
    total = slope.sum(1)

    def of_weight(_, weight):
        m, s = weight
        precision = 1 / (s[:, None] ** 2 + s**2)
        pull = slope * precision * (m[:, None] - sign * m)
        spread = 0.5 * pull * precision * (m[:, None] - sign * m) - slope * precision
        return None, (-0.5 * pull.sum(1), 0.5 * total / s + s * spread.sum(1))

    _, (by_loc, by_scale) = jax.lax.scan(of_weight, None, (units[0].T, units[1].T), unroll=4)
    return by_loc.T, by_scale.T


_log_bhattacharyya.defvjp(
    lambda loc, scale, sign: (_log_bhattacharyya(loc, scale, sign), (loc, scale)), _slopes
)


def log_bhattacharyya(
    loc: Units, scale: Units, lower: Factors | None = None, sign: int = 1
) -> Float[Array, "n n"]:
    """log BC_ij for Gaussian units, shape ``(n, n)``: 0 where units agree, below 0 elsewhere.

    Parameters
    ----------
    loc, scale : arrays (n, d)
    lower : array (n, d, d), optional
        Strictly lower triangular; the covariance of unit i is then S (1 + N) (1 + N)^T S with S =
        diag(scale_i).
    sign : int
        -1 reflects unit j: its mean changes sign.
    """
    if lower is None:
        return _log_bhattacharyya(loc, scale, sign)

    def pair_full(one, all_):
        log_det, square = log_det_and_square((one[1] + all_[1]) / 2, one[0] - sign * all_[0])
        return 0.5 * (one[2] + all_[2] - log_det) - 0.125 * square

    return row_by_row(pair_full, loc, covariances(scale, lower), jnp.log(scale).sum(-1))


def divergences(
    loc: Units, scale: Units, lower: Factors | None = None, sign: int = 1
) -> Float[Array, "n n"]:
    """KL(q_i || q_j) in nats, shape ``(n, n)``; arguments as in :func:`log_bhattacharyya`."""
    if lower is None:
        return _over_weights(
            lambda m1, s1, m2, s2: (
                jnp.log(s2 / s1) + 0.5 * (s1**2 + (m1 - sign * m2) ** 2) / s2**2 - 0.5
            ),
            loc,
            scale,
        )
    factors = unit_factors(scale, lower)
    inverses = inverse_of_unit_lower(lower) / scale[:, None, :]

    def pair_full(one, all_):
        ratio = all_[2] @ one[1]
        z = jnp.einsum("nij,nj->ni", all_[2], one[0] - sign * all_[0])
        return all_[3] - one[3] + 0.5 * ((ratio**2).sum((-2, -1)) + (z**2).sum(-1) - loc.shape[1])

    return row_by_row(pair_full, loc, factors, inverses, jnp.log(scale).sum(-1))


def unit_factors(scale: Units, lower: Factors) -> Factors:
    """The Cholesky factors S (1 + N) of the covariances of units: shape ``(n, d, d)``."""
    return scale[..., :, None] * (jnp.eye(scale.shape[-1], dtype=scale.dtype) + lower)


def covariances(scale: Units, lower: Factors) -> Factors:
    """The covariance matrices of units with Cholesky factors S (1 + N): shape ``(n, d, d)``."""
    factors = unit_factors(scale, lower)
    return factors @ jnp.swapaxes(factors, -1, -2)


def overlap_matrices(
    loc: Units, scale: Units, lower: Factors | None = None, *, signed: bool = False
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """log BC and -KL, each ``(n, n)``, averaged over the signs of unit j where `signed`."""
    overlap = log_bhattacharyya(loc, scale, lower)
    likeness = -divergences(loc, scale, lower)
    if signed:
        overlap = jnp.logaddexp(overlap, log_bhattacharyya(loc, scale, lower, -1)) - math.log(2)
        likeness = jnp.logaddexp(likeness, -divergences(loc, scale, lower, -1)) - math.log(2)
    return overlap, likeness
