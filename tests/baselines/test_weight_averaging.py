"""SWAG against a naive twin, and against the known spread of gradient descent on a quadratic."""

import jax
import numpy as np
import pytest
from linear_model import NOISE, Linear, design, regression

import symvi
from symvi.baselines import modes, multiswag, swag
from symvi.baselines.weight_averaging import law_of_iterates
from symvi.vi.steps import batch_rows


def naive_moments(iterates, rank):
    """Algorithm 1 of Maddox et al. (2019): running moments, and the last `rank` deviations."""
    mean, square = np.zeros(iterates.shape[1]), np.zeros(iterates.shape[1])
    columns = []
    for n, w in enumerate(iterates):
        mean = (n * mean + w) / (n + 1)
        square = (n * square + w**2) / (n + 1)
        columns = [*columns, w - mean][-rank:]
    d = np.stack(columns, axis=1)
    return mean, 0.5 * np.diag(square - mean**2) + d @ d.T / (2 * (rank - 1))


def test_moments_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    iterates = 3 + rng.normal(size=(30, 4)).cumsum(axis=0)
    law = law_of_iterates(iterates, 7)
    mean, covariance = naive_moments(iterates, 7)
    assert np.allclose(law.mean, mean, atol=1e-12)
    assert np.allclose(law.covariance_matrix, covariance, atol=1e-12)


def test_draws_have_the_moments_of_the_formula():
    bnn, x, y, _ = regression()
    q = swag(bnn, x, y, rank=5, warmup=2, epochs=20, learning_rate=0.02, batch_size=2)
    rows = np.asarray(jax.vmap(bnn.ravel)(q.sample(jax.random.key(0), 100_000)))
    covariance = np.asarray(q.law.covariance_matrix)
    scale = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(rows.mean(0) - q.law.mean) < 4 * scale / np.sqrt(len(rows)))
    assert np.allclose(
        np.cov(rows.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.02
    )


def test_it_is_gradient_descent_in_minibatches():
    """A naive twin of every step for the linear model, from the same start and rows."""
    bnn, x, y, _ = regression(num=12)
    rate, batch, warmup, epochs = 0.01, 4, 3, 6
    q = swag(
        bnn,
        x,
        y,
        rank=3,
        warmup=warmup,
        epochs=epochs,
        learning_rate=rate,
        batch_size=batch,
        seed=5,
    )
    starts, _ = modes(bnn, x, y, restarts=1, seed=5)
    w = np.asarray(bnn.ravel({name: value[0] for name, value in starts.items()}))
    a = design(x, 1)
    iterates = []
    for step, row in enumerate(batch_rows(12, batch, 3 * (warmup + epochs), 5)):
        residual = a[row] @ w - y[row, 0]
        slope = w / 12 + a[row].T @ residual / NOISE**2 / batch
        w = w - rate * slope
        if step % 3 == 2:
            iterates.append(w)
    mean, covariance = naive_moments(np.stack(iterates[warmup:]), 3)
    assert np.allclose(q.law.mean, mean, atol=1e-10)
    assert np.allclose(q.law.covariance_matrix, covariance, atol=1e-12)


class Constant(Linear):
    """f(x) = b."""

    @property
    def shapes(self):
        return {"b1": (1,)}

    def apply(self, params, x):
        return 0 * x + params["b1"]


def test_the_spread_is_the_stationary_one():
    r"""The mean of n numbers, one number a step, each once an epoch in random order.

    b' = (1 - a) b + c y_i with c = rate / noise^2 and a = rate (1 / noise^2 + 1 / n). After an
    epoch b' = (1 - a)^n b + c sum_j (1 - a)^(n - 1 - j) y_j. With weights v_j = (1 - a)^(n - 1 - j)
    and y in random order, the sum has variance s^2 (sum v^2 - (sum v)^2 / n), s^2 the sample
    variance of y. Epochs are independent, so that is 1 - (1 - a)^(2n) of the stationary variance.
    """
    n, rate, noise = 5, 0.2, 1.0
    y = np.array([-1.5, 0.3, 0.2, 1.0, 2.0])[:, None]
    bnn = symvi.BNN(Constant((1, 1)), symvi.Gaussian(noise))
    a, c = rate * (1 / noise**2 + 1 / n), rate / noise**2
    v = (1 - a) ** np.arange(n)
    innovation = c**2 * y.var(ddof=1) * ((v**2).sum() - v.sum() ** 2 / n)
    stationary = innovation / (1 - (1 - a) ** (2 * n))
    mean = c * v.sum() * y.mean() / (1 - (1 - a) ** n)
    q = swag(
        bnn,
        np.zeros((n, 1)),
        y,
        rank=2,
        warmup=20,
        epochs=20_000,
        learning_rate=rate,
        batch_size=1,
    )
    assert float(q.law.mean[0]) == pytest.approx(mean, abs=0.02)
    assert 2 * float(q.law.cov_diag[0]) == pytest.approx(stationary, rel=0.04)


def test_without_noise_it_stands_at_the_mode():
    bnn, x, y, exact = regression()
    q = swag(bnn, x, y, rank=2, warmup=0, epochs=5, learning_rate=1e-3, batch_size=len(x))
    assert np.allclose(q.law.mean, exact.mean, atol=1e-4)
    assert np.all(np.asarray(q.law.variance) < 1e-8)


def test_multiswag_is_the_mixture_of_its_restarts():
    bnn = symvi.BNN(symvi.MLP([1, 3, 1], "tanh"), symvi.Gaussian(0.3))
    x = np.linspace(-1, 1, 20)[:, None]
    settings = dict(rank=4, warmup=2, epochs=10, seed=3)
    q = multiswag(bnn, x, x**2, restarts=3, **settings)
    assert len(q.members) == 3
    assert np.allclose(q.weights, 1 / 3)
    locs = [np.asarray(member.law.mean) for member in q.members]
    assert not np.allclose(locs[0], locs[1])
    draws = q.sample(jax.random.key(0), 4)
    assert draws["W1"].shape == (4, 1, 3)
    assert np.isfinite(q.log_prob(draws)).all()


def test_divergence_is_told():
    bnn, x, y, _ = regression()
    with pytest.raises(ValueError, match=r"swag: expected finite iterates.*lower learning_rate"):
        swag(bnn, x, y, rank=2, warmup=50, epochs=50, learning_rate=100.0)
