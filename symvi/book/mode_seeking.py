r"""Reverse KL of one Gaussian to two equal Gaussians: is the optimum on a mode, or between?

The target is p = 1/2 N(0, s^2 I) + 1/2 N(alpha u, s^2 I) with a unit vector u (Gelberg et al. 2024,
section 3); q is a Gaussian with independent coordinates. With t = u . w,

    log p(w) = log N(w; 0, s^2 I) - log 2 + softplus((alpha t - alpha^2 / 2) / s^2),

so only the law of t is needed, and t is Gaussian under q. If u spreads evenly over r coordinates
(u_i = r^-1/2), the best q has mean m u, standard deviation sigma on those r coordinates and s on
all others, whatever the dimension.
In units of s (s = 1):

    KL(m, sigma) = -r log sigma + (m^2 + r (sigma^2 - 1)) / 2 + log 2
                   - E softplus(alpha t - alpha^2 / 2),    t ~ N(m, sigma^2).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import brentq, minimize, root

from symvi.checks import expected, one_of, positive_int, positive_number, seed_to_key

# The trapezoidal rule for an expectation over N(0, 1): spectrally accurate for softplus at this
# spacing.
_Z = np.linspace(-10, 10, 2001)
_W = np.exp(-0.5 * _Z**2)
_W /= _W.sum()


class Optimum(NamedTuple):
    """A local optimum.

    Mean `m` of t and standard deviation `sigma` in units of s, and the reverse KL `value` in nats.
    """

    m: float
    sigma: float
    value: float


def reverse_kl(m, sigma, alpha, coordinates=1):
    """KL(q || p) in nats by quadrature, exact to rounding; a scalar, differentiable.

    Parameters
    ----------
    m, sigma : float
        Mean of t along u; standard deviation of each displaced coordinate. In units of s.
    alpha : float
        Distance between the modes, in units of s.
    coordinates : int
        r, the number of coordinates that the displacement is spread over.
    """
    logits = alpha * (m + sigma * _Z) - 0.5 * alpha**2
    return (
        -coordinates * jnp.log(sigma)
        + 0.5 * (m**2 + coordinates * (sigma**2 - 1))
        + jnp.log(2.0)
        - _W @ jax.nn.softplus(logits)
    )


def _value(v, alpha, coordinates):
    return reverse_kl(v[0], jnp.exp(v[1]), alpha, coordinates)


_slope, _hessian = jax.jit(jax.grad(_value)), jax.jit(jax.hessian(_value))


def optimum(alpha: float, *, start: str = "mode", coordinates: int = 1) -> Optimum:
    """The local optimum of the reverse KL reached from a start, by small trust-region Newton steps.

    Parameters
    ----------
    alpha : float
        Distance between the modes in units of s, > 0.
    start : "mode" or "midpoint"
        The first component itself, or the best q whose mean is half-way, which symmetry makes a
        stationary point.
    coordinates : int
        r, over how many coordinates the displacement is spread.

    Raises
    ------
    ValueError
        For another start, alpha <= 0 or coordinates < 1.
    """
    one_of("start", start, ("mode", "midpoint"))
    positive_int("coordinates", coordinates)
    alpha = positive_number("alpha", alpha, example=5.0)
    if start == "midpoint":
        log_sigma = brentq(
            lambda a: float(_slope(np.array([alpha / 2, a]), alpha, coordinates)[1]),
            -1.0,
            np.log(2 + alpha),
            xtol=1e-13,
        )
        v = np.array([alpha / 2, log_sigma])
    else:
        options = {
            "initial_trust_radius": 0.02,
            "max_trust_radius": 0.05,
            "gtol": 1e-10,
            "maxiter": 10_000,
        }
        found = minimize(
            lambda v: float(_value(v, alpha, coordinates)),
            np.zeros(2),
            method="trust-exact",
            options=options,
            jac=lambda v: np.asarray(_slope(v, alpha, coordinates)),
            hess=lambda v: np.asarray(_hessian(v, alpha, coordinates)),
        )
        v = found.x
    return Optimum(float(v[0]), float(np.exp(v[1])), float(_value(v, alpha, coordinates)))


def basin_threshold() -> float:
    """alpha / s at which a mode basin appears when one coordinate separates the modes (r = 1).

    A fold: a minimum and a saddle meet there, and the gradient and the determinant of the Hessian
    vanish together.
    """

    def equations(z):
        return [
            *np.asarray(_slope(z[:2], z[2], 1)),
            float(jnp.linalg.det(_hessian(z[:2], z[2], 1))),
        ]

    return float(root(equations, [0.24, 0.23, 4.83], tol=1e-12).x[2])


def switch_threshold() -> float:
    """alpha / s at which the global optimum moves from the midpoint to a mode when r = 1.

    Equal values, both minima.
    """
    return brentq(
        lambda a: optimum(a).value - optimum(a, start="midpoint").value, 5.0, 6.5, xtol=1e-9
    )


def midpoint_threshold(coordinates: float) -> float:
    r"""alpha / s at which the midpoint stops being a minimum.

    For a displacement spread over r coordinates.

    At the midpoint, t - alpha/2 ~ N(0, sigma^2) and B = alpha^2 E logistic'(alpha (t - alpha/2))
    decides both directions: the slope in sigma vanishes when r (1 - 1/sigma^2) = B, the curvature
    in m is 1 - B. So the midpoint turns into a saddle at B = 1 with sigma^2 = r / (r - 1). Infinite
    for r = 1: there the midpoint stays a minimum for every alpha.

    Parameters
    ----------
    coordinates : int or inf
        r >= 1; ``numpy.inf`` gives the limit, sigma = 1.
    """
    if not coordinates >= 1:
        remedy = "count the coordinates in which the modes differ"
        raise expected("coordinates", "a number >= 1", coordinates, remedy)
    if coordinates == 1:
        return float("inf")
    sigma = 1.0 if np.isinf(coordinates) else np.sqrt(coordinates / (coordinates - 1))

    def curvature(alpha):
        p = 1 / (1 + np.exp(-alpha * sigma * _Z))
        return alpha**2 * (_W @ (p * (1 - p))) - 1

    return brentq(curvature, 1.0, 10.0, xtol=1e-13)


@partial(jax.jit, static_argnames=("dim", "coordinates", "num_samples", "steps"))
def _descend(alphas, s, loc, scale, keys, dim, coordinates, num_samples, steps, learning_rate):
    u = jnp.where(jnp.arange(dim) < coordinates, coordinates**-0.5, 0.0)
    adam = optax.adam(1.0)

    def one(alpha, loc, scale, key):
        def loss(theta, key):
            scale = jnp.exp(theta[1])
            w = theta[0] + scale * jax.random.normal(key, (num_samples, dim))
            log_p = -0.5 * (w**2).sum(1) / s**2 + jax.nn.softplus(
                (alpha * (w @ u) - 0.5 * alpha**2) / s**2
            )
            return -jnp.log(scale / s).sum() - log_p.mean() - 0.5 * dim + jnp.log(2.0)

        def step(state, _):
            theta, adam_state, key = state
            key, k = jax.random.split(key)
            update, adam_state = adam.update(jax.grad(loss)(theta, k), adam_state)
            return (
                jax.tree.map(lambda t, d: t + learning_rate * d, theta, update),
                adam_state,
                key,
            ), None

        theta = (loc, jnp.log(scale))
        (theta, _, _), _ = jax.lax.scan(step, (theta, adam.init(theta), key), length=steps)
        return theta[0], jnp.exp(theta[1])

    return jax.vmap(one)(alphas, loc, scale, keys)


def monte_carlo(
    alphas,
    *,
    s: float = 1.0,
    dim: int = 2,
    coordinates: int = 1,
    start: str = "mode",
    num_samples: int = 5000,
    steps: int = 3000,
    learning_rate: float = 1e-2,
    seed: int = 0,
) -> tuple:
    """Fit q by stochastic gradients as the paper did.

    Reparametrised draws, Adam, one fit for each alpha, all at once.

    Parameters
    ----------
    alphas : array (A,)
        Distances between the modes (not divided by s).
    s : float
        Standard deviation of each component.
    dim, coordinates : int
        Dimension d, and r: in how many coordinates the modes differ.
    start : "mode" or "midpoint"
        q starts as the first component, or half-way with the variances of the target.

    Returns
    -------
    loc, scale : arrays (A, d)

    Raises
    ------
    ValueError
        For counts < 1, coordinates > dim, another start, or s <= 0.
    """
    one_of("start", start, ("mode", "midpoint"))
    for name, value in (
        ("dim", dim),
        ("coordinates", coordinates),
        ("num_samples", num_samples),
        ("steps", steps),
    ):
        positive_int(name, value)
    if coordinates > dim:
        raise expected("coordinates", f"at most dim = {dim}", coordinates, "enlarge dim")
    s = positive_number("s", s, example=1.0)
    alphas = jnp.asarray(alphas, float)
    u = jnp.where(jnp.arange(dim) < coordinates, coordinates**-0.5, 0.0)
    half = jnp.outer(alphas, u) * (0.5 if start == "midpoint" else 0.0)
    start_scale = jnp.sqrt(
        s**2 + half**2
    )  # half-way with variance s^2, noise alone would decide which mode is taken
    keys = jax.random.split(seed_to_key(seed), len(alphas))
    loc, scale = _descend(
        alphas, s, half, start_scale, keys, dim, coordinates, num_samples, steps, learning_rate
    )
    return np.asarray(loc), np.asarray(scale)
