"""How well do draws predict data that they have not seen?"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from symvi.checks import expected
from symvi.draws import (
    check_draws,
    check_pairs,
    joined,
    log_likelihoods,
    map_draws,
    network_outputs,
)
from symvi.estimates import Estimate
from symvi.models import BNN

RESAMPLES = 100  # bootstrap samples for standard errors
BINS = 10  # of confidence, for the calibration error


def held_out(bnn: BNN, draws, x, y) -> Estimate:
    """The mean log predictive density of `y`, log (1/S) sum_s p(y_i | x_i, w_s), in nats a point.

    std_error is over points. `draws` here and below: whatever :func:`symvi.draws.as_draws` takes.
    """
    terms = log_likelihoods(bnn, draws, x, y)
    terms = terms.reshape(-1, terms.shape[-1])  # all draws along one axis
    points = scipy.special.logsumexp(terms, axis=0) - np.log(len(terms))
    std_error = points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.inf
    return Estimate(float(points.mean()), float(std_error), "approximate")


def mean_functions(bnn: BNN, draws, x) -> np.ndarray:
    """E[y | x, w] of every draw w, ``(num, N, *event)``: outputs, or class probabilities."""
    draws, _ = check_draws(bnn, draws)
    return map_draws(bnn, _mean, joined(bnn, draws), bnn.check_inputs(x))


def _mean(bnn, w, x):
    return bnn.likelihood.mean(network_outputs(bnn, w, x), w)


def predictive_mean(bnn: BNN, draws, x) -> np.ndarray:
    """E[y | x, data], averaged over draws, ``(N, *event)``; for labels, class probabilities."""
    return mean_functions(bnn, draws, x).mean(axis=0)


def point_error(bnn: BNN, draws, x, y) -> Estimate:
    """The error of the predictive mean as the likelihood reckons it.

    Root mean squared error, or for labels the accuracy of the most probable class; what it is
    called stands in ``bnn.likelihood.error_name``.
    """
    x, y = check_pairs(bnn, x, y)
    return bnn.likelihood.point_error(predictive_mean(bnn, draws, x), y)


def pit(bnn: BNN, draws, x, y) -> np.ndarray:
    """Probability integral transforms P(y* <= y_i | data), shape ``(N * d_out,)``.

    Uniform where predictions are calibrated. For counts, which have jumps, a uniform number between
    P(y* < y_i) and P(y* <= y_i) is drawn, from a fixed seed (Czado, Gneiting and Held 2009).

    Raises
    ------
    ValueError
        A likelihood whose ``calibration`` is not "pit", or without a distribution function.
    """
    x, y = check_pairs(bnn, x, y)
    if bnn.likelihood.calibration != "pit":
        wanted = "a likelihood of numbers, with calibration = 'pit'"
        remedy = "use calibration_error for labels; set it where your likelihood has a cdf"
        raise expected("pit", wanted, type(bnn.likelihood).__name__, remedy)
    upper = _predictive_cdf(bnn, draws, x, y)
    if not _is_discrete(bnn, x):
        return upper
    lower = _predictive_cdf(bnn, draws, x, y - 1)
    return lower + np.random.default_rng(0).uniform(size=len(lower)) * (upper - lower)


def _predictive_cdf(bnn, draws, x, y):
    try:
        values = map_draws(bnn, _cdf, draws, x, y)
    except NotImplementedError as error:
        got = f"{type(bnn.likelihood).__name__}, whose distribution has none"
        remedy = "write its cdf, or set calibration = None"
        raise expected("pit", "a likelihood with a cdf", got, remedy) from error
    return values.reshape(-1, y.size).mean(axis=0)


def _cdf(bnn, w, x, y):
    """P(Y <= y) of each number; 0 below the support, where formulas need not hold."""
    f = network_outputs(bnn, w, x)
    inside = bnn.likelihood.distribution(f, w).support(y)
    inside = inside.reshape(inside.shape + (1,) * (y.ndim - inside.ndim))
    values = bnn.likelihood.cdf(f, w, y)
    return jnp.where(inside, values, 0.0)


def _is_discrete(bnn, x) -> bool:
    law = bnn.distribution(bnn.init(jax.random.key(0)), x[:1])
    return bool(law.support.is_discrete)


def calibration_error(bnn: BNN, draws, x, y) -> Estimate:
    """How far predictions are from calibrated, by the test that the likelihood names.

    "pit": Kolmogorov's distance of the PIT values from uniform. "confidence" (labels): the error in
    10 bins, :func:`expected_calibration_error`. Both are positive for a calibrated model too, by
    the finite number of points. std_error by bootstrap over points. ValueError where the
    likelihood's ``calibration`` is None.
    """
    x, y = check_pairs(bnn, x, y)
    if bnn.likelihood.calibration == "confidence":
        mean = predictive_mean(bnn, draws, x)
        hit = mean.argmax(-1) == np.asarray(y)
        return _bootstrapped(expected_calibration_error, mean.max(-1), hit)
    return _bootstrapped(_distance_from_uniform, pit(bnn, draws, x, y))


def _distance_from_uniform(values) -> float:
    from scipy.stats import kstest  # slow to import

    return kstest(values, "uniform").statistic


def expected_calibration_error(confidence, hit) -> float:
    """The weighted mean over 10 bins of confidence of |mean confidence - share of hits|.

    Weights are the bins' shares of the data (Guo et al. 2017, eq. 3). From the largest class
    probability and whether that class is right, both of shape ``(N,)``; between 0 and 1.
    """
    confidence, hit = np.asarray(confidence), np.asarray(hit)
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    surplus = np.bincount(places, weights=confidence - hit, minlength=BINS)
    return float(np.abs(surplus).sum() / len(hit))


def _bootstrapped(statistic: Callable, *columns) -> Estimate:
    """`statistic` of arrays ``(num,)``, with its standard deviation over resampled points."""
    rng = np.random.default_rng(0)
    num = len(columns[0])
    again = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, num, num)
        again.append(statistic(*(column[rows] for column in columns)))
    return Estimate(float(statistic(*columns)), float(np.std(again, ddof=1)), "approximate")
