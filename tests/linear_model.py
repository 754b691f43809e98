"""Linear models with Gaussian noise, whose posterior, predictive and evidence have closed forms."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import scipy.stats

from symvi import BNN, Gaussian, Symmetry


@dataclass(frozen=True)
class Linear:
    """The network f(x) = x W + b, or x W, without hidden units."""

    widths: tuple
    bias: bool = True

    @property
    def symmetry(self):
        return Symmetry()

    @property
    def shapes(self):
        return {"W1": self.widths, **({"b1": self.widths[1:]} if self.bias else {})}

    def init(self, key):
        keys = jax.random.split(key, len(self.shapes))
        return {
            name: jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, self.shapes.items(), strict=True)
        }

    def apply(self, params, x):
        return x @ params["W1"] + params.get("b1", 0.0)


class Exact(NamedTuple):
    """The posterior N(mean, covariance) of all weights, and the log evidence in nats."""

    mean: np.ndarray
    covariance: np.ndarray
    log_evidence: float


def design(x, d_out: int = 1, bias: bool = True) -> np.ndarray:
    """A with f = A w, for w = (W1 row by row, b1) and f = outputs row by row."""
    rows = np.hstack([x, np.ones((len(x), 1))]) if bias else x
    return np.kron(rows, np.eye(d_out))


def exact(a, y, noise: float, prior_scale: float) -> Exact:
    """Bayesian linear regression (Bishop 2006, equations 3.53, 3.54 and 3.58)."""
    precision = a.T @ a / noise**2 + np.eye(a.shape[1]) / prior_scale**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ a.T @ y.ravel() / noise**2
    of_y = noise**2 * np.eye(a.shape[0]) + prior_scale**2 * a @ a.T
    evidence = scipy.stats.multivariate_normal.logpdf(y.ravel(), np.zeros(a.shape[0]), of_y)
    return Exact(mean, covariance, float(evidence))


NOISE = 0.4


def regression(num: int = 12, d_in: int = 2, d_out: int = 1):
    """A model with a bias, its data x and y, and its exact posterior."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, d_in))
    x[:, 0] += 0.8 * x[:, -1]  # correlated inputs, so that weights are correlated
    y = x @ rng.normal(size=(d_in, d_out)) + 0.7 + NOISE * rng.normal(size=(num, d_out))
    bnn = BNN(Linear((d_in, d_out)), Gaussian(NOISE))
    return bnn, x, y, exact(design(x, d_out), y, NOISE, 1.0)


def many_weights(weights: int, num: int):
    """A model of that many weights without a bias, its data x and y, and its exact posterior."""
    noise, prior_scale = 0.5, 1.5
    rng = np.random.default_rng(num)
    x = rng.normal(size=(num, weights))
    y = x @ rng.normal(size=(weights, 1)) + noise * rng.normal(size=(num, 1))
    bnn = BNN(Linear((weights, 1), bias=False), Gaussian(noise), prior_scale=prior_scale)
    return bnn, x, y, exact(x, y, noise, prior_scale)


def exact_draws(found: Exact, chains: int = 8, num: int = 500) -> dict:
    """Independent draws of the posterior of :func:`many_weights`, ``(chains, num, weights, 1)``."""
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(found.mean, found.covariance, (chains, num))
    return {"W1": drawn[..., None]}
