"""Importance weights from an approximation to the posterior, and what they tell of it."""

from __future__ import annotations

import numpy as np
import scipy.special

from symvi.checks import arviz, as_key, expected, positive_int
from symvi.draws import finite_numbers, log_joints
from symvi.estimates import Estimate
from symvi.models import BNN
from symvi.posteriors.protocol import as_measurable, log_densities

MIN_TAIL_DRAWS = 100  # fewer have no tail to fit
MAX_KHAT = 0.7  # above it importance weights cannot be trusted (Vehtari et al. 2024)


def importance_weights(bnn: BNN, q, x, y, *, num: int = 4000, key=None) -> tuple[dict, np.ndarray]:
    """Draws w of `q`, and their log weights log p(y, w | x) - log q(w).

    Parameters
    ----------
    q : MeanField, UnitNormal, Symmetrized, Fit or another posterior
        Anything with ``sample`` and ``log_prob``: see :class:`symvi.posteriors.Posterior`.
    num : int
        Draws, at least 100.

    Returns
    -------
    (dict, array)
        Draws ``(num, *shape)`` by name, and log weights ``(num,)`` in nats.
    """
    num = positive_int("num", num, MIN_TAIL_DRAWS)
    q = as_measurable(q)
    draws = q.sample(as_key(key), num)
    return draws, log_joints(bnn, draws, x, y) - log_densities(q, draws)


def pareto_khat(log_weights) -> float:
    """The shape k-hat of the tail of importance weights, from ``(num,)`` log weights.

    Below 0.7 the weights can correct q into the posterior; above, q misses a part of it that
    matters (Yao et al. 2018; Vehtari et al. 2024).
    """
    weights = _log_weights("log_weights", log_weights)
    return float(arviz().psislw(weights)[1])


def _log_weights(name, values) -> np.ndarray:
    values = finite_numbers(name, values)
    if values.ndim != 1 or len(values) < 2:
        wanted = "log weights of shape (num,)"
        raise expected(name, wanted, f"shape {values.shape}", "pass one for each draw")
    return values


def loo(log_likelihood, log_weights=None, *, reff: float = 1.0) -> tuple[Estimate, float]:
    """Leave-one-out log predictive density by Pareto-smoothed importance sampling.

    Parameters
    ----------
    log_likelihood : array ``(num, N)``
        log p(y_i | x_i, w) of each draw.
    log_weights : array ``(num,)``, optional
        log p(y, w | x) - log q(w) where the draws are from q and not from the posterior
        (Magnusson et al. 2019).
    reff : float
        Effective draws a draw, where draws depend on each other.

    Returns
    -------
    (Estimate, float)
        The sum over data in nats, with its standard error over data; and the worst k-hat of the
        data's weights, above 0.7 where the sum cannot be trusted.
    """
    terms = finite_numbers("log_likelihood", log_likelihood)
    if terms.ndim != 2 or terms.shape[1] == 0:
        wanted = "shape (num, N)"
        raise expected("log_likelihood", wanted, terms.shape, "join chains and draws")
    weights = np.zeros(len(terms))
    if log_weights is not None:
        weights = _log_weights("log_weights", log_weights)
    if len(weights) != len(terms):
        remedy = "pass one for each draw"
        raise expected("log_weights", f"shape ({len(terms)},)", weights.shape, remedy)
    smoothed, khat = arviz().psislw((weights[:, None] - terms).T, reff=reff)
    points = scipy.special.logsumexp(smoothed + terms.T, axis=1)
    std_error = np.sqrt(points.size) * points.std(ddof=1) if points.size > 1 else np.inf
    return Estimate(float(points.sum()), float(std_error), "approximate"), float(np.max(khat))


def relative_efficiency(drawn) -> float:
    """Effective draws a draw, as arviz.loo reckons them: the mean over weights, 1 for one chain."""
    chains, draws = (drawn.posterior.sizes[axis] for axis in ("chain", "draw"))
    if chains == 1:
        return 1.0
    sizes = arviz().ess(drawn.posterior, method="mean")
    every = np.concatenate([values.values.ravel() for values in sizes.data_vars.values()])
    return float(every.mean() / (chains * draws))
