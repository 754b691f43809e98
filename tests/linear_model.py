"""A linear model whose log evidence and posterior have closed forms."""

from dataclasses import dataclass

import jax
import numpy as np
import scipy.stats

from symvi import BNN, Gaussian, Symmetry

NOISE, PRIOR = 0.5, 1.5


@dataclass(frozen=True)
class Linear:
    """f(x) = x @ W: with a normal prior and Gaussian noise the evidence is a normal density."""

    widths: tuple

    @property
    def symmetry(self):
        return Symmetry()

    @property
    def shapes(self):
        return {"W": self.widths}

    def init(self, key):
        return {"W": jax.random.normal(key, self.widths)}

    def apply(self, params, x):
        return x @ params["W"]


def linear(weights, num):
    """A linear model with its data, and its log evidence: y ~ N(0, noise^2 + prior^2 x x^T)."""
    rng = np.random.default_rng(num)
    x = rng.normal(size=(num, weights))
    y = x @ rng.normal(size=(weights, 1)) + NOISE * rng.normal(size=(num, 1))
    covariance = NOISE**2 * np.eye(num) + PRIOR**2 * x @ x.T
    exact = scipy.stats.multivariate_normal(np.zeros(num), covariance).logpdf(y[:, 0])
    return BNN(Linear((weights, 1)), Gaussian(NOISE), prior_scale=PRIOR), x, y, exact


def posterior(x, y):
    """Mean ``(weights,)`` and covariance of the weights given the data."""
    covariance = np.linalg.inv(np.eye(x.shape[1]) / PRIOR**2 + x.T @ x / NOISE**2)
    return covariance @ x.T @ y[:, 0] / NOISE**2, covariance


def conjugate_draws(x, y, chains=8, num=500):
    """Independent draws of the posterior, ``(chains, num, weights, 1)``."""
    mean, covariance = posterior(x, y)
    rng = np.random.default_rng(0)
    return {"W": rng.multivariate_normal(mean, covariance, (chains, num))[..., None]}
