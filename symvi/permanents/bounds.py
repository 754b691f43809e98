"""The permanent between two bounds, for matrices of any size."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.checks import expected, positive_int
from symvi.permanents.bethe_permanent import compiled_bethe
from symvi.permanents.entropy import compute_entropy_bound
from symvi.permanents.exact import MAX_EXACT, log_permanent
from symvi.permanents.log_matrices import check_log_matrix


def log_permanent_bounds(
    log_a, *, max_exact: int = MAX_EXACT
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """An interval of log perm(A) in nats: ``(lower, upper)``, each of shape ``(...)``.

    Exact (lower = upper) for n <= `max_exact`. Beyond, lower is the Bethe permanent and upper the
    smaller of n/2 log 2 above the Bethe permanent (Anari and Rezaei 2019) and the bound by the
    entropy of a random permutation (:func:`entropy_bound`), which for flat matrices is about log n
    wide.

    Both are theorems in exact arithmetic for matrices without zeros. Beyond `max_exact` the
    computed ends are no certificate where entries are 0: on triangular matrices, whose beliefs
    cannot be made doubly stochastic, lower was found up to 1e-2 nats above log perm(A). Nor are
    they one in single precision: with log entries of a few hundred nats the ends were wrong by 3e-4
    nats.

    Parameters
    ----------
    log_a : array (..., n, n)
        Log entries, -inf for zeros; any n.
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
    return _bounds(log_a)


@jax.jit
def _bounds(
    log_a: Float[Array, "*batch n n"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    found = compiled_bethe(log_a)
    by_bethe = found.value + found.gap + 0.5 * log_a.shape[-1] * math.log(2)
    by_entropy = compute_entropy_bound(log_a).value
    return found.value, jnp.maximum(found.value, jnp.minimum(by_entropy, by_bethe))
