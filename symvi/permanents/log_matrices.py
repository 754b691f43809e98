"""Matrices of log entries: what every permanent asks of them, and the gradient of the bounds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from symvi.arrays import log_sum_exp_of_others
from symvi.checks import as_numbers, expected, is_concrete


def check_log_matrix(log_a, name: str = "log_a") -> Float[Array, "*batch n n"]:
    """`log_a` as floats; ValueError unless it holds square matrices of log entries below +inf."""
    log_a = as_numbers(name, log_a)
    if log_a.ndim < 2 or log_a.shape[-1] != log_a.shape[-2] or log_a.shape[-1] == 0:
        raise expected(
            name,
            "square matrices (..., n, n)",
            f"shape {log_a.shape}",
            "pass log entries, rows by columns",
        )
    if is_concrete(log_a) and bool(jnp.any(jnp.isnan(log_a) | (log_a == jnp.inf))):
        raise expected(
            name, "log entries below +inf", "NaN or +inf", "look for diverged parameters"
        )
    return log_a if jnp.issubdtype(log_a.dtype, jnp.floating) else log_a.astype(float)


def has_zero_line(log_a: Float[Array, "n n"]) -> Bool[Array, ""]:
    """Whether a row or a column holds zeros only, so that the permanent is 0."""
    zero = log_a == -jnp.inf
    return jnp.any(jnp.all(zero, axis=0) | jnp.all(zero, axis=1))


def log_rest(b: Float[Array, "n n"], log_b: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """log(1 - b) for rows that sum to 1, without cancelling: near 1 from the others of the row."""
    large = b > 0.5
    return jnp.where(large, log_sum_exp_of_others(log_b, 1), jnp.log1p(-jnp.where(large, 0.0, b)))


@jax.custom_jvp
def with_beliefs_as_gradient(
    log_a: Float[Array, "n n"], value: Float[Array, ""], log_beliefs: Float[Array, "n n"]
) -> Float[Array, ""]:
    """`value`, with the beliefs as its gradient in log A.

    The beliefs maximise what `value` is the maximum of, so their own change drops out.
    """
    return value


@with_beliefs_as_gradient.defjvp
def _beliefs_rule(primals, tangents):
    _, value, log_beliefs = primals
    beliefs = jnp.exp(log_beliefs)
    return value, jnp.sum(jnp.where(beliefs > 0, beliefs * tangents[0], 0.0))
