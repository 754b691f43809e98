"""The permanent between two bounds, for matrices of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from symvi.arrays import over_leading_axes
from symvi.checks import expected, is_concrete, positive_int
from symvi.permanents.bethe_permanent import compiled_bethe
from symvi.permanents.certificates import (
    bethe_above,
    bethe_below,
    entropy_above,
    fractional_above,
)
from symvi.permanents.entropy import compute_entropy_bound
from symvi.permanents.exact import MAX_EXACT, log_permanent
from symvi.permanents.fractional import compute_fractional_bound
from symvi.permanents.log_matrices import (
    check_log_matrix,
    has_zero_line,
    with_beliefs_as_gradient,
)
from symvi.permanents.matchings import log_largest_term, without_idle_entries


def log_permanent_bounds(
    log_a, *, max_exact: int = MAX_EXACT
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """An interval of log perm(A) in nats: ``(lower, upper)``, each of shape ``(...)``.

    Exact (lower = upper, up to rounding) for n <= `max_exact`. Beyond, lower is the Bethe permanent
    and upper the smallest of three: n/2 log 2 above the Bethe permanent, fractional belief
    propagation (:func:`fractional_bound`; both by Anari and Rezaei 2019), and the entropy of a
    random permutation (:func:`entropy_bound`), which for flat matrices is about (1/2) log n above.

    Both hold for the matrix as it is given, in floating point too: what rounding and beliefs that
    are not quite doubly stochastic can have moved is taken off
    (:mod:`symvi.permanents.certificates`). In double precision that is below 1e-8 nats at 1000
    rows, in single precision about 0.1 nat at 128 and 1 nat at 1000. Where beliefs give no
    certificate (they settle slowly if zeros leave long chains), lower is the weight of the best
    permutation. The gradient of either in log A is the matrix of its beliefs.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n. Entries that no permutation can use (one side of a
        triangular matrix) are taken for zeros. Within compiled code neither they nor the best
        permutation are looked for, and lower may be -inf.
    max_exact : int
        Up to this n the permanent is computed exactly; 0 to 16.

    Raises
    ------
    ValueError
        If the matrix is not square or has NaN or +inf entries, or `max_exact` is not in 0..16.
    """
    log_a = check_log_matrix(log_a)
    if positive_int("max_exact", max_exact, least=0) > MAX_EXACT:
        raise expected("max_exact", f"at most {MAX_EXACT}", max_exact, f"pass {MAX_EXACT} or less")
    if log_a.shape[-1] <= max_exact:
        value = log_permanent(log_a)
        return value, value
    if not is_concrete(log_a):
        return _bounds(log_a)
    lower, upper = _bounds(_without_idle_entries(log_a))
    return _at_least_one_permutation(log_a, lower, upper), upper


def _without_idle_entries(log_a):
    if not bool(jnp.any(log_a == -jnp.inf)):
        return log_a
    return jnp.asarray(without_idle_entries(np.asarray(log_a)))


def _at_least_one_permutation(log_a, lower, upper):
    """`lower`, or the weight of a single permutation where beliefs gave no certificate."""
    missing = np.asarray((lower == -jnp.inf) & (upper > -jnp.inf))
    if not missing.any():
        return lower
    lower = np.array(lower)
    lower[missing] = log_largest_term(np.asarray(log_a)[missing])
    return jnp.asarray(lower)


@jax.jit
def _bounds(
    log_a: Float[Array, "*batch n n"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    fixed = jax.lax.stop_gradient(log_a)
    by_bethe = compiled_bethe(fixed)
    by_entropy = compute_entropy_bound(fixed)
    halfway = compute_fractional_bound(fixed)
    return over_leading_axes(_of_one_matrix, log_a.ndim - 2, log_a, by_bethe, by_entropy, halfway)


def _of_one_matrix(log_a: Float[Array, "n n"], by_bethe, by_entropy, halfway) -> tuple:
    fixed = jax.lax.stop_gradient(log_a)
    below = bethe_below(fixed, by_bethe.log_beliefs)
    all_above = [
        bethe_above(fixed, by_bethe.log_beliefs, by_bethe.prices),
        entropy_above(fixed, by_entropy.log_beliefs, by_entropy.messages[2]),
        fractional_above(fixed, halfway.log_beliefs, halfway.prices),
    ]
    all_above = jnp.stack([jnp.where(jnp.isnan(value), jnp.inf, value) for value in all_above])
    beliefs = jnp.stack([by_bethe.log_beliefs, by_entropy.log_beliefs, halfway.log_beliefs])
    smallest = jnp.argmin(all_above)
    above = all_above[smallest]
    impossible = has_zero_line(fixed)
    lower = jnp.where(impossible | jnp.isnan(below), -jnp.inf, below)
    upper = jnp.where(impossible, -jnp.inf, above)
    return (
        with_beliefs_as_gradient(log_a, lower, by_bethe.log_beliefs),
        with_beliefs_as_gradient(log_a, upper, beliefs[smallest]),
    )
