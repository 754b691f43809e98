"""How far is each approximation from the truth? One table for all methods, and each method's draws as ArviZ reads them."""

from __future__ import annotations

from typing import NamedTuple

import arviz as az
import jax
import numpy as np
import pandas as pd
import scipy.special
import scipy.stats

from symvi.checks import positive_int
from symvi.draws import (
    check_draws,
    inference_data,
    log_joints,
    log_likelihoods,
    outputs,
    posterior_draws,
)
from symvi.estimates import Estimate
from symvi.likelihoods import Categorical
from symvi.models import BNN
from symvi.vi.objective import elbo

PROJECTIONS = 200  # random directions of the sliced distance
RESAMPLES = 20  # bootstrap samples for standard errors
BINS = 10  # of confidence, for the calibration error
MIN_LOO_DRAWS = 100  # fewer have no tail to fit
MAX_KHAT = 0.7  # above it importance weights cannot be trusted (Vehtari et al. 2024)


class Comparison(NamedTuple):
    """What :func:`compare` returns.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns method, quantity, value, std_error and kind; one row for each number.
    inference_data : dict
        Method name to :class:`arviz.InferenceData` with groups posterior, log_likelihood, observed_data.
    """

    table: pd.DataFrame
    inference_data: dict


def held_out(bnn: BNN, draws: dict, x, y) -> Estimate:
    """The mean log predictive density of `y`, log (1/S) sum_s p(y_i | x_i, w_s), in nats a point; std_error over points."""
    terms = _stacked(log_likelihoods(bnn, draws, x, y), 1)
    points = scipy.special.logsumexp(terms, axis=0) - np.log(len(terms))
    return Estimate(
        float(points.mean()), float(points.std(ddof=1) / np.sqrt(len(points))), "approximate"
    )


def point_error(bnn: BNN, draws: dict, x, y) -> Estimate:
    """Root mean squared error of the predictive mean, or for labels the accuracy of the most probable class."""
    mean = _predictive_mean(bnn, draws, x)
    if isinstance(bnn.likelihood, Categorical):
        hit = mean.argmax(-1) == np.asarray(y)
        return Estimate(
            float(hit.mean()),
            float(np.sqrt(hit.mean() * (1 - hit.mean()) / len(hit))),
            "approximate",
        )
    square = np.square(mean - np.asarray(y)).mean(-1)
    rmse = np.sqrt(square.mean())
    return Estimate(
        float(rmse), float(square.std(ddof=1) / np.sqrt(len(square)) / (2 * rmse)), "approximate"
    )


def pit(bnn: BNN, draws: dict, x, y) -> np.ndarray:
    """Probability integral transforms P(y* <= y_i | data), shape ``(N * d_out,)``; uniform where predictions are calibrated. Regression only."""
    if isinstance(bnn.likelihood, Categorical):
        raise ValueError(
            "pit: expected a Gaussian likelihood, got Categorical; use calibration_error, which bins the confidence of labels"
        )
    f = _stacked(outputs(bnn, draws, x), 2)
    noise = (
        np.exp(np.ravel(draws["log_noise"]))[:, None, None]
        if bnn.likelihood.scale is None
        else bnn.likelihood.scale
    )
    return scipy.special.ndtr((np.asarray(y) - f) / noise).mean(0).ravel()


def calibration_error(bnn: BNN, draws: dict, x, y) -> Estimate:
    """Regression: the Kolmogorov distance of the PIT values from uniform. Labels: expected calibration error in 10 bins (Guo et al. 2017).

    Both are positive for a calibrated model too, by the finite number of points. std_error by bootstrap over points.
    """
    rng = np.random.default_rng(0)
    if isinstance(bnn.likelihood, Categorical):
        mean = _predictive_mean(bnn, draws, x)
        confidence, hit = mean.max(-1), mean.argmax(-1) == np.asarray(y)
        return _bootstrapped(
            lambda i: expected_calibration_error(confidence[i], hit[i]), len(hit), rng
        )
    values = pit(bnn, draws, x, y)
    return _bootstrapped(
        lambda i: scipy.stats.kstest(values[i], "uniform").statistic, len(values), rng
    )


def expected_calibration_error(confidence, hit) -> float:
    """sum over 10 bins of confidence of |mean confidence - share of hits|, weighted by the bin's share of the data (Guo et al. 2017, eq. 3).

    From the largest class probability and whether that class is right, both of shape ``(N,)``; between 0 and 1.
    """
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(
        abs(confidence[places == b].sum() - hit[places == b].sum()) for b in range(BINS)
    ) / len(hit)


def _bootstrapped(statistic, num, rng) -> Estimate:
    again = [statistic(rng.integers(0, num, num)) for _ in range(RESAMPLES * 5)]
    return Estimate(float(statistic(np.arange(num))), float(np.std(again, ddof=1)), "approximate")


def importance_weights(bnn: BNN, q, x, y, *, num: int = 4000, key=None) -> tuple[dict, np.ndarray]:
    """`num` draws w of `q` and their log weights log p(y, w | x) - log q(w), shape ``(num,)``; `q` is any posterior with a log_prob."""
    draws = q.sample(
        jax.random.key(0) if key is None else key, positive_int("num", num, MIN_LOO_DRAWS)
    )
    return draws, log_joints(bnn, draws, x, y) - np.asarray(_log_densities(q, draws))


@jax.jit
def _log_densities(q, draws):
    return jax.lax.map(q.log_prob, draws, batch_size=100)


def pareto_khat(log_weights) -> float:
    """The shape k-hat of the tail of importance weights, from ``(num,)`` log weights (Yao et al. 2018; Vehtari et al. 2024).

    Below 0.7 the weights can correct q into the posterior; above, q misses a part of it that matters.
    """
    return float(az.psislw(np.asarray(log_weights))[1])


def loo(log_likelihood, log_weights=None) -> tuple[Estimate, float]:
    """Leave-one-out log predictive density by Pareto-smoothed importance sampling: the sum over data in nats, and the worst k-hat.

    Parameters
    ----------
    log_likelihood : array ``(num, N)``
    log_weights : array ``(num,)``, optional
        log p(y, w | x) - log q(w) where the draws are from q and not from the posterior (Magnusson et al. 2019).
    """
    terms = np.asarray(log_likelihood)
    weights = np.zeros(len(terms)) if log_weights is None else np.asarray(log_weights)
    smoothed, khat = az.psislw((weights[:, None] - terms).T)
    points = scipy.special.logsumexp(smoothed + terms.T, axis=1)
    return Estimate(
        float(points.sum()), float(np.sqrt(points.size) * points.std(ddof=1)), "approximate"
    ), float(np.max(khat))


def function_distance(first, second, *, seed: int = 0) -> Estimate:
    """The sliced Wasserstein-2 distance between two sets of functions, ``(num, m)`` values at m inputs each.

    The root of the mean over 200 random directions u, uniform on the sphere, of W2(u.f, u.g)^2 (Bonneel et al. 2015). A
    shift by d moves it by about |d| / sqrt(m), so it is in units of one output. It is positive for two sets of draws from
    one distribution too: compare it with the distance between halves of the reference.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if (
        first.ndim != 2
        or second.ndim != 2
        or first.shape[1] != second.shape[1]
        or min(len(first), len(second)) < 2
    ):
        raise ValueError(
            f"function_distance: expected two arrays (num, m) with the same inputs and num >= 2, got {first.shape} and {second.shape}; evaluate both at the same x"
        )
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(first.shape[1], PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    lines = [values @ directions for values in (first, second)]

    def distance(a, b):
        return np.sqrt(np.mean(np.square(_quantiles(a) - _quantiles(b))))

    again = [
        distance(*(line[rng.integers(0, len(line), len(line))] for line in lines))
        for _ in range(RESAMPLES)
    ]
    return Estimate(float(distance(*lines)), float(np.std(again, ddof=1)), "approximate")


def _quantiles(values, num=1000):
    """`num` quantiles of each column, evenly spaced in probability, by linear interpolation: shape ``(num, columns)``."""
    ordered = np.sort(values, axis=0)
    place = (np.arange(num) + 0.5) / num * (len(values) - 1)
    low = place.astype(int)
    part = (place - low)[:, None]
    return (1 - part) * ordered[low] + part * ordered[np.minimum(low + 1, len(values) - 1)]


def compare(
    bnn: BNN,
    methods: dict,
    x,
    y,
    x_test,
    y_test,
    *,
    reference=None,
    log_evidence: Estimate | None = None,
    num: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Put approximations of one posterior side by side.

    Parameters
    ----------
    methods : dict
        Name to a posterior (:class:`symvi.MeanField`, :class:`symvi.UnitNormal`, :class:`symvi.Symmetrized`), an InferenceData of :func:`symvi.nuts`, or
        a dict of draws ``(num, *shape)``.
    x, y, x_test, y_test : arrays
        Training and held-out data.
    reference : InferenceData, optional
        Draws of the true posterior, for the function-space distance.
    log_evidence : Estimate, optional
        From :func:`symvi.log_evidence`; gives the exact KL divergence of every posterior.
    num : int
        Draws taken of each method.

    Returns
    -------
    Comparison
        Quantities: held-out log density (nats a point), RMSE or accuracy, calibration error, LOO (nats, with its worst k-hat);
        for posteriors, ELBO, k-hat and KL to the posterior (log evidence minus ELBO, nats); with a reference, distance to it
        (sliced Wasserstein-2 of outputs, or of probabilities for labels, at the held-out inputs) and, as method
        "reference", the distance between its two halves: what sampling alone gives.

    Raises
    ------
    ValueError
        No methods, draws of another model, or a symmetrized posterior whose density cannot be summed.
    """
    num = positive_int("num", num, MIN_LOO_DRAWS)
    if not isinstance(methods, dict) or not methods:
        raise ValueError(
            f"methods: expected a dict from names to posteriors or draws, at least one, got {methods!r}; pass for example {{'mean field': fit.posterior}}"
        )
    rows, made = [], {}
    k_draws, k_bound = jax.random.split(
        jax.random.key(seed)
    )  # the same for all methods: the ELBOs of q and of its symmetrized version are paired
    functions = None if reference is None else _halves(bnn, posterior_draws(reference), x_test, num)
    if functions is not None:
        rows.append(
            ("reference", "distance to the reference", function_distance(*functions, seed=seed))
        )
    for name, method in methods.items():
        weights = None
        if hasattr(method, "log_prob"):
            draws, weights = importance_weights(bnn, method, x, y, num=num, key=k_draws)
            bound = elbo(bnn, method, x, y, key=k_bound)
            rows += [
                (name, "ELBO", bound),
                (name, "k-hat", Estimate(pareto_khat(weights), 0.0, "approximate")),
            ]
            if log_evidence is not None:
                rows.append(
                    (
                        name,
                        "KL to the posterior",
                        Estimate(
                            log_evidence.value - bound.value,
                            float(np.hypot(log_evidence.std_error, bound.std_error)),
                            "approximate",
                        ),
                    )
                )
        else:
            draws = _thinned(
                bnn,
                posterior_draws(method) if isinstance(method, az.InferenceData) else method,
                num,
            )
        made[name] = inference_data(bnn, draws, x, y)
        rows += [(name, "held-out log density", held_out(bnn, draws, x_test, y_test))]
        rows += [
            (
                name,
                "accuracy" if isinstance(bnn.likelihood, Categorical) else "RMSE",
                point_error(bnn, draws, x_test, y_test),
            )
        ]
        rows += [(name, "calibration error", calibration_error(bnn, draws, x_test, y_test))]
        log_likelihood = made[name].log_likelihood["y"].values[0]
        if len(log_likelihood) >= MIN_LOO_DRAWS:
            estimate, worst = loo(log_likelihood, weights)
            rows += [
                (name, "LOO", estimate),
                (name, "LOO worst k-hat", Estimate(worst, 0.0, "approximate")),
            ]
        if functions is not None:
            values = _followed(bnn, draws, x_test)
            rows.append(
                (
                    name,
                    "distance to the reference",
                    function_distance(values, functions[0], seed=seed),
                )
            )
    table = pd.DataFrame(
        [(name, quantity, *estimate) for name, quantity, estimate in rows],
        columns=["method", "quantity", "value", "std_error", "kind"],
    )
    return Comparison(table, made)


def _stacked(values, tail):
    """`values` with all but the last `tail` axes joined."""
    return values.reshape(-1, *values.shape[values.ndim - tail :])


def _predictive_mean(bnn, draws, x):
    """Mean outputs ``(N, d_out)``; for labels, mean probabilities."""
    f = _stacked(outputs(bnn, draws, x), 2)
    return (
        scipy.special.softmax(f, axis=-1) if isinstance(bnn.likelihood, Categorical) else f
    ).mean(0)


def _thinned(bnn, draws, num):
    """At most `num` draws, evenly spaced over all chains: ``(num, *shape)``."""
    draws, _ = check_draws(bnn, draws)
    rows = {name: draws[name].reshape(-1, *shape) for name, shape in bnn.shapes.items()}
    total = len(next(iter(rows.values())))
    kept = np.linspace(0, total - 1, min(num, total)).astype(int)
    return {name: value[kept] for name, value in rows.items()}


def _followed(bnn, draws, x):
    f = _stacked(outputs(bnn, draws, x), 2)
    f = scipy.special.softmax(f, axis=-1) if isinstance(bnn.likelihood, Categorical) else f
    return f.reshape(len(f), -1)


def _halves(bnn, draws, x, num):
    """The functions of `num` draws from the first half of the chains, and of as many from the second."""
    draws, batch = check_draws(bnn, draws)
    if len(batch) != 2 or batch[0] < 2:
        raise ValueError(
            f"reference: expected at least 2 chains, got batch shape {batch}; pass an InferenceData of nuts or reference_posterior"
        )
    middle = batch[0] // 2
    return tuple(
        _followed(bnn, _thinned(bnn, {k: v[part] for k, v in draws.items()}, num), x)
        for part in (slice(None, middle), slice(middle, None))
    )
