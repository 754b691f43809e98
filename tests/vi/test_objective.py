"""The evidence lower bound."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi import (
    BNN,
    MLP,
    Categorical,
    Gaussian,
    MeanField,
    Symmetrized,
    UnitNormal,
    elbo,
    orbit_information,
)

X = np.linspace(-1, 1, 12)[:, None]
Y = np.abs(1.3 * X) + 0.1 * np.random.default_rng(0).normal(size=X.shape)
TINY = BNN(MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0), Gaussian(0.3))
TANH = BNN(MLP([1, 3, 1], "tanh"), Gaussian())


def start(bnn, seed=0, scale=0.2):
    rng = np.random.default_rng(seed)
    loc = {name: jnp.asarray(0.7 * rng.normal(size=shape)) for name, shape in bnn.shapes.items()}
    scales = {name: jnp.full(shape, scale) for name, shape in bnn.shapes.items()}
    return MeanField(loc, scales, bnn.symmetry)


def log_normal(value, loc, scale):
    return -0.5 * ((value - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def test_elbo_against_a_loop():
    # L = E_q[log p(y, w | x)] + H(q), one datum and one weight at a time
    q, key, num = start(TANH), jax.random.key(3), 5
    w = {k: np.asarray(v) for k, v in q.sample(jax.random.split(key)[0], num).items()}
    values = []
    for s in range(num):
        noise = math.exp(w["log_noise"][s])
        total = 0.0
        for name in w:
            for value in np.ravel(w[name][s]):
                total += log_normal(value, 0, 1)
        for x, y in zip(X[:, 0], Y[:, 0], strict=True):
            f = w["b2"][s][0]
            for i in range(3):
                f += w["W2"][s][i, 0] * math.tanh(w["W1"][s][0, i] * x + w["b1"][s][i])
            total += log_normal(y, f, noise)
        values.append(total)
    entropy = sum(
        math.log(scale * math.sqrt(2 * math.pi * math.e))
        for s in q.scale.values()
        for scale in np.ravel(s)
    )
    estimate = elbo(TANH, q, X, Y, key=key, num_samples=num)
    assert estimate.value == pytest.approx(np.mean(values) + entropy, rel=1e-10)
    assert estimate.std_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(num), rel=1e-8)
    assert estimate.kind == "exact"


def test_infonce_bound_lies_between():
    q, key = start(TANH), jax.random.key(3)
    plain, bound, exact = (
        elbo(TANH, q, X, Y, symmetrize=s, key=key, num_samples=500)
        for s in (None, "infonce", "exact")
    )
    assert plain.value < bound.value < exact.value
    assert bound.kind == "lower" and exact.kind == "exact"


def test_elbo_of_labels():
    bnn = BNN(MLP([1, 2, 3], "tanh"), Categorical())
    labels = np.arange(12) % 3
    q = start(bnn, scale=1e-6)
    logits = np.asarray(bnn.net.apply(q.loc, X))
    likelihood = sum(
        row[k] - np.log(np.exp(row).sum()) for row, k in zip(logits, labels, strict=True)
    )
    expected = likelihood + float(bnn.log_prior(q.loc)) + float(q.entropy())
    assert elbo(bnn, q, X, labels, num_samples=10).value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("covariance", ["diagonal", "unit"])
@pytest.mark.parametrize("method", symvi.information.METHODS)
def test_every_method_adds_its_information(method, covariance):
    """L by the method minus L is what orbit_information says of q, by the same draws."""
    q, key = start(TANH), jax.random.key(3)
    if covariance == "unit":
        lower = {"hidden1": jnp.full((3, 3, 3), 0.4)}
        q = UnitNormal(q.loc, q.scale, q.symmetry, lower)
    settings = {"key": key, "num_samples": 40}
    if method in ("infonce", "guided"):
        settings["num_permutations"] = 3
    plain = elbo(TANH, q, X, Y, key=key, num_samples=40)
    found = elbo(TANH, q, X, Y, symmetrize=method, **settings)
    information = orbit_information(q, method, **settings)
    if isinstance(information, symvi.Bounds):
        information = information.lower
    assert information.value > 0.01
    assert found.value - plain.value == pytest.approx(information.value, abs=1e-10)
    assert found.kind == information.kind


def test_a_symmetrized_posterior_has_its_own_method():
    q, key = start(TANH), jax.random.key(3)
    for method in ("exact", "pairwise"):
        named = elbo(TANH, q, X, Y, symmetrize=method, key=key, num_samples=20)
        assert elbo(TANH, Symmetrized(q, method=method), X, Y, key=key, num_samples=20) == named


@pytest.mark.parametrize(
    "arguments", [{"symmetrize": "yes"}, {"num_samples": 0}, {"num_permutations": 0}]
)
def test_bad_arguments_of_elbo(arguments):
    with pytest.raises(ValueError, match="expected"):
        elbo(TINY, start(TINY), X, Y, **arguments)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: elbo(TINY, {"W1": 1.0}, X, Y), "q: expected a MeanField"),
        (lambda: elbo("model", start(TINY), X, Y), "bnn: expected a symvi.BNN, got 'model'"),
        (lambda: elbo(TINY, start(TANH), X, Y), r"q\[.*\]: expected shape"),
        (lambda: elbo(TINY, start(TINY), X, Y, key=3), "key: expected one JAX key, got 3"),
        (lambda: elbo(TINY, start(TINY), X, None), "y: expected an array of numbers"),
    ],
)
def test_bad_objects(call, match):
    with pytest.raises(ValueError, match=match):
        call()
