"""Linearised Laplace is exact for a linear model, and its parts are held to naive twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from linear_model import NOISE, design, regression

import symvi
from symvi.baselines import LinearizedNetwork, laplace, modes
from symvi.baselines.linearized_laplace import gaussian
from symvi.comparison import held_out
from symvi.draws import log_joints, outputs

NET = symvi.MLP([2, 3, 2], "tanh")
BNN = symvi.BNN(NET, symvi.Gaussian())
RNG = np.random.default_rng(1)
X = RNG.normal(size=(15, 2))
Y = np.sin(X) + 0.3 * RNG.normal(size=X.shape)
CLASSES = np.arange(15) % 2


@pytest.fixture(scope="module")
def approximation():
    """Of a network with noise of unknown scale."""
    return laplace(BNN, X, Y, restarts=4, steps=500)


@pytest.fixture(scope="module")
def linear():
    """A linear model with its data and exact posterior, and what Laplace makes of it."""
    bnn, x, y, exact = regression(d_out=2)
    return bnn, x, y, exact, laplace(bnn, x, y, restarts=2, steps=200)


def draws_of(q, num=40_000):
    return q.sample(jax.random.key(1), num)


def numbers(bnn, draws):
    """Draws as rows ``(num, num_weights)``."""
    return np.asarray(jax.vmap(bnn.ravel)(draws))


def naive_jacobian(bnn, w, x, step=1e-6):
    """df/dw by central differences: ``(N, d_out, num_weights)``."""
    place = np.asarray(bnn.ravel(w))

    def f(v):
        own = bnn.unravel(v)
        return np.asarray(bnn.net.apply({name: own[name] for name in bnn.net.shapes}, x))

    columns = [(f(place + e) - f(place - e)) / (2 * step) for e in step * np.eye(place.size)]
    return np.stack(columns, axis=-1)


def test_a_linear_model_has_its_exact_posterior(linear):
    bnn, x, y, exact, q = linear
    assert np.allclose(bnn.ravel(q.loc), exact.mean, atol=1e-10)
    assert np.allclose(q.law.covariance_matrix, exact.covariance, atol=1e-12)
    # log p(y, w) - log q(w) is then the log evidence, whatever w is
    found = symvi.elbo(bnn, q, x, y, num_samples=10)
    assert found.value == pytest.approx(exact.log_evidence, abs=1e-9)
    assert found.std_error < 1e-9


def test_a_linear_model_has_its_exact_predictive(linear):
    _, _, _, exact, q = linear
    x_new = np.random.default_rng(3).normal(size=(5, 2))
    a = design(x_new, 2)
    mean = (a @ exact.mean).reshape(5, 2)
    y_new = mean + NOISE * np.random.default_rng(4).normal(size=(5, 2))
    of_y = NOISE**2 * np.eye(10) + a @ exact.covariance @ a.T
    terms = []
    for i in range(5):
        block = of_y[2 * i : 2 * i + 2, 2 * i : 2 * i + 2]
        terms.append(scipy.stats.multivariate_normal.logpdf(y_new[i], mean[i], block))
    found = held_out(q.model, draws_of(q, 20_000), x_new, y_new)
    assert found.value == pytest.approx(np.mean(terms), abs=0.01)


def test_the_mode_is_at_rest_and_none_is_higher(approximation):
    loc = approximation.loc
    slope = BNN.ravel(jax.grad(lambda w: BNN.log_joint(w, X, Y))(loc))
    # what a Newton step would still gain, in nats
    assert float(slope @ approximation.law.covariance_matrix @ slope) / 2 < 1e-8
    found, heights = modes(BNN, X, Y, restarts=4, steps=500)
    assert np.allclose(heights, log_joints(BNN, found, X, Y))
    assert float(BNN.log_joint(loc, X, Y)) >= heights.max()


def test_the_precision_is_gauss_newton_plus_prior():
    bnn = symvi.BNN(NET, symvi.Categorical(), prior_scale=0.7)
    q = laplace(bnn, X, CLASSES, restarts=2, steps=300)
    jacobian = naive_jacobian(bnn, q.loc, X)
    shares = np.asarray(jax.nn.softmax(bnn.net.apply(q.loc, X), axis=-1))
    wanted = np.eye(jacobian.shape[-1]) / 0.7**2
    for slope, p in zip(jacobian, shares, strict=True):
        wanted += slope.T @ (np.diag(p) - np.outer(p, p)) @ slope
    assert np.allclose(np.linalg.inv(q.law.covariance_matrix), wanted, atol=1e-6)


def test_an_inferred_noise_has_its_own_curvature(approximation):
    loc = approximation.loc
    variance = float(np.exp(2 * loc["log_noise"]))
    residual = Y - np.asarray(NET.apply(loc, X))
    precision = np.linalg.inv(approximation.law.covariance_matrix)
    jacobian = naive_jacobian(BNN, loc, X).reshape(-1, precision.shape[0])
    wanted = jacobian.T @ jacobian / variance + np.eye(precision.shape[0])
    (place,) = np.flatnonzero(np.asarray(BNN.ravel({**loc, "log_noise": np.inf})) == np.inf)
    wanted[place, place] = 1 + 2 * (residual**2).sum() / variance  # the prior is N(0, 1)
    assert np.allclose(precision, wanted, rtol=1e-5, atol=1e-5)
    assert np.allclose(np.delete(precision[place], place), 0, atol=1e-8)


def test_its_functions_are_gaussian(approximation):
    """Under the linearised network f(x) ~ N(f(x; w*), J S J^T) at any x."""
    q, far = approximation, 4 * X[:3]
    f = outputs(q.model, draws_of(q), far).reshape(40_000, -1)
    jacobian = naive_jacobian(BNN, q.loc, far).reshape(f.shape[1], -1)
    wanted = jacobian @ np.asarray(q.law.covariance_matrix) @ jacobian.T
    scale = np.sqrt(np.diag(wanted))
    center = np.asarray(NET.apply(q.loc, far)).ravel()
    assert np.all(np.abs(f.mean(0) - center) < 4 * scale / np.sqrt(len(f)))
    standardised = (np.cov(f.T) - wanted) / np.outer(scale, scale)
    assert np.abs(standardised).max() < 0.03


def test_the_linearised_network_is_the_first_order_expansion():
    bnn = symvi.BNN(NET, symvi.Gaussian(0.3))
    w, direction = NET.init(jax.random.key(0)), NET.init(jax.random.key(1))
    net = LinearizedNetwork(NET, w)
    assert np.array_equal(net.apply(w, X), NET.apply(w, X))

    def moved(size):
        return {name: w[name] + size * direction[name] for name in w}

    wanted = NET.apply(w, X) + 2.0 * naive_jacobian(bnn, w, X) @ bnn.ravel(direction)
    assert np.allclose(net.apply(moved(2.0), X), wanted, atol=1e-8)
    assert net.symmetry.log_order == 0
    assert symvi.BNN(net, symvi.Gaussian(0.3)).shapes == bnn.shapes


def test_compare_predicts_by_the_linearised_network(approximation):
    q, x_new = approximation, 3 * X
    made = symvi.compare(BNN, {"Laplace": q}, X, Y, x_new, Y, num=200)
    table = made.table.set_index("quantity")
    draws = {k: v.values[0] for k, v in made.inference_data["Laplace"].posterior.data_vars.items()}
    by_model = held_out(q.model, draws, x_new, Y)
    by_network = held_out(BNN, draws, x_new, Y)
    assert table.loc["held-out log density", "value"] == pytest.approx(by_model.value, rel=1e-12)
    assert by_model.value != pytest.approx(by_network.value, abs=0.01)
    assert {"ELBO", "k-hat", "RMSE"} <= set(table.index)


def test_a_precision_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="laplace: expected a positive definite precision"):
        gaussian(jnp.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
