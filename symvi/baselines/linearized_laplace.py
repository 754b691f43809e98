r"""Linearised Laplace: a Gaussian at a mode, that predicts by the network linearised there.

Write w* for the mode, J_i = df(x_i; w)/dw at w*, of shape (d_out, num_weights), and Lambda_i =
-d^2 log p(y_i | f) / df^2 at f = f(x_i; w*). The network linearised at w* is f + J (w - w*), so

1. the Hessian of its negative log joint at w* is P = sum_i J_i^T Lambda_i J_i + (the prior's
   precision): the generalised Gauss-Newton matrix with no second derivative of the network in it,
   so P is positive definite wherever log p(y | f) is concave in f;
2. its gradient at w* is that of the network itself, so where log p(y | f) is concave in f, w* is
   the mode of the linearised model;
3. q = N(w*, P^-1) is the Laplace approximation of the linearised model's posterior. For Gaussian
   noise of known scale it is that posterior.

The likelihood's own parameters, such as a log noise scale, enter beside f. Their block of P is
their own Hessian, and the blocks between them and the weights are left at 0: for Gaussian noise
that is what their expectation is.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from symvi.baselines.joint_normal import JointNormal
from symvi.baselines.linearized import linearized
from symvi.baselines.local_modes import best_of, modes
from symvi.checks import expected
from symvi.draws import check_pairs
from symvi.models import BNN

MAX_POLISH = 100  # Gauss-Newton steps after Adam
STEP_SIZES = np.append(0.5 ** np.arange(8), 0.0)  # of each, the one that climbs highest is taken


def laplace(
    bnn: BNN,
    x,
    y,
    *,
    restarts: int = 8,
    steps: int = 3000,
    learning_rate: float = 0.02,
    seed: int = 0,
) -> JointNormal:
    """Linearised Laplace with full covariance over all weights (Immer, Korzepa and Bauer 2021).

    The mean is the highest of the :func:`modes` of `restarts` starts, after Gauss-Newton steps that
    bring it to rest. The covariance is the inverse of the generalised Gauss-Newton matrix plus the
    prior's precision. Its ``model`` is `bnn` with the network linearised at the mode:
    :func:`symvi.compare` predicts by it (their "GLM predictive"), and any function of draws does
    when it is given ``q.model`` in place of `bnn`, as ``symvi.draws.outputs(q.model, q, x)``.

    Parameters
    ----------
    restarts, steps, learning_rate, seed
        As in :func:`modes`.

    Returns
    -------
    JointNormal

    Raises
    ------
    ValueError
        As :func:`modes`; and where the precision is not positive definite, as for a likelihood
        that is not log-concave in the outputs.
    """
    x, y = check_pairs(bnn, x, y)
    chosen = dict(restarts=restarts, steps=steps, learning_rate=learning_rate, seed=seed)
    mode = _polished(bnn, best_of(*modes(bnn, x, y, **chosen)), x, y)
    precision, _ = _curvature(bnn, mode, x, y)
    law = gaussian(bnn.ravel(mode), np.asarray(precision, float))
    return JointNormal(bnn, law, model=linearized(bnn, mode))


def _polished(bnn, mode: dict, x, y) -> dict:
    """`mode` after Gauss-Newton steps, each of the size that climbs highest, until none does."""
    place = bnn.ravel(mode)
    for _ in range(MAX_POLISH):
        precision, slope = _curvature(bnn, bnn.unravel(place), x, y)
        move = np.linalg.solve(np.asarray(precision, float), np.asarray(slope, float))
        tried = place + jnp.asarray(np.outer(STEP_SIZES, move), place.dtype)
        heights = np.asarray(_heights(bnn, tried, x, y))
        best = int(np.argmax(np.where(np.isfinite(heights), heights, -np.inf)))
        if heights[best] <= heights[-1]:
            break
        place = tried[best]
    return bnn.unravel(place)


@partial(jax.jit, static_argnames="bnn")
def _heights(bnn, places, x, y):
    return jax.vmap(lambda v: bnn.log_joint(bnn.unravel(v), x, y))(places)


@partial(jax.jit, static_argnames="bnn")
def _curvature(bnn, mode: dict, x, y) -> tuple:
    """P ``(num_weights, num_weights)`` and the gradient of the log joint, at `mode`."""
    place = bnn.ravel(mode)

    def log_prior(v):
        return bnn.log_prior(bnn.unravel(v))

    def log_joint(v):
        return bnn.log_joint(bnn.unravel(v), x, y)

    gauss_newton = _gauss_newton(bnn, place, x, y)
    prior = -jax.hessian(log_prior)(place)
    return gauss_newton + prior + _of_own(bnn, place, x, y), jax.grad(log_joint)(place)


def _gauss_newton(bnn, place, x, y):
    """sum_i J_i^T Lambda_i J_i, with zeros at the likelihood's own parameters."""

    def outputs(v):
        w = bnn.unravel(v)
        return bnn.net.apply({name: w[name] for name in bnn.net.shapes}, x)

    def loss_of_one(output, datum):
        law = bnn.likelihood.distribution(output[None], bnn.unravel(place))
        return -law.log_prob(datum[None])[0]

    jacobian = jax.jacrev(outputs)(place)
    curvature = jax.vmap(jax.hessian(loss_of_one))(outputs(place), y)
    return jnp.einsum("nad,nab,nbe->de", jacobian, curvature, jacobian)


def _of_own(bnn, place, x, y):
    """The Hessian of the negative log likelihood in the likelihood's own parameters alone."""
    own = bnn.own_starts()
    is_own = {name: np.full(shape, name in own) for name, shape in bnn.shapes.items()}
    places = np.flatnonzero(np.concatenate([value.ravel() for value in is_own.values()]))
    block = jnp.zeros((place.size, place.size), place.dtype)
    if not places.size:
        return block

    def loss(values):
        return -bnn.log_likelihood(bnn.unravel(place.at[places].set(values)), x, y)

    return block.at[np.ix_(places, places)].set(jax.hessian(loss)(place[places]))


def gaussian(loc, precision: np.ndarray) -> dist.MultivariateNormal:
    """N(loc, precision^-1), factored in double precision; ValueError where it has no inverse."""
    lowest = float(np.linalg.eigvalsh(precision)[0])
    if not lowest > 0:
        got = f"its lowest eigenvalue {lowest:.3g}"
        remedy = "raise steps, or take a likelihood that is log-concave in the outputs"
        raise expected("laplace", "a positive definite precision at the mode", got, remedy)
    scale_tril = np.linalg.cholesky(np.linalg.inv(precision))
    return dist.MultivariateNormal(loc, scale_tril=jnp.asarray(scale_tril, loc.dtype))
