"""A linear model with Gaussian noise, whose posterior, predictive and evidence are known."""

from typing import NamedTuple

import jax
import numpy as np
import scipy.stats

import symvi


class Linear:
    """The network f(x) = x W + b, without hidden units."""

    symmetry = symvi.Symmetry()

    def __init__(self, d_in: int, d_out: int):
        self.widths = (d_in, d_out)
        self.shapes = {"W1": (d_in, d_out), "b1": (d_out,)}

    def init(self, key):
        keys = jax.random.split(key, 2)
        return {
            name: jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, self.shapes.items(), strict=True)
        }

    def apply(self, params, x):
        return x @ params["W1"] + params["b1"]


class Exact(NamedTuple):
    """The posterior N(mean, covariance) of all weights, and the log evidence in nats."""

    mean: np.ndarray
    covariance: np.ndarray
    log_evidence: float


def design(x, d_out: int) -> np.ndarray:
    """A with f = A w, for w = (W1 row by row, b1) and f = outputs row by row."""
    rows = np.hstack([x, np.ones((len(x), 1))])
    return np.kron(rows, np.eye(d_out))


def exact(x, y, noise: float, prior_scale: float = 1.0) -> Exact:
    """Bayesian linear regression (Bishop 2006, equations 3.53, 3.54 and 3.58)."""
    a = design(x, y.shape[1])
    precision = a.T @ a / noise**2 + np.eye(a.shape[1]) / prior_scale**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ a.T @ y.ravel() / noise**2
    of_y = noise**2 * np.eye(a.shape[0]) + prior_scale**2 * a @ a.T
    evidence = scipy.stats.multivariate_normal.logpdf(y.ravel(), np.zeros(a.shape[0]), of_y)
    return Exact(mean, covariance, float(evidence))


NOISE = 0.4


def regression(num: int = 12, d_in: int = 2, d_out: int = 1):
    """A model, its data x and y, and its exact posterior."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, d_in))
    x[:, 0] += 0.8 * x[:, -1]  # correlated inputs, so that weights are correlated
    y = x @ rng.normal(size=(d_in, d_out)) + 0.7 + NOISE * rng.normal(size=(num, d_out))
    bnn = symvi.BNN(Linear(d_in, d_out), symvi.Gaussian(NOISE))
    return bnn, x, y, exact(x, y, NOISE)
