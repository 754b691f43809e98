"""The log densities against scipy, the NumPyro model against them, and what a model refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.infer.util import log_density

import symvi

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.random.default_rng(1).normal(size=(6, 1))
NET = symvi.MLP([2, 3, 1], "tanh")


def test_log_joint_equals_scipy():
    bnn = symvi.BNN(
        NET,
        symvi.Gaussian(0.7),
        prior_scale={"W1": 2.0, "b1": 0.5, "W2": np.full((3, 1), 1.5), "b2": 1.0},
    )
    w = NET.init(jax.random.key(0))
    prior = sum(
        scipy.stats.norm.logpdf(np.asarray(w[k]), 0, s).sum()
        for k, s in (("W1", 2.0), ("b1", 0.5), ("W2", 1.5), ("b2", 1.0))
    )
    likelihood = scipy.stats.norm.logpdf(Y, np.asarray(NET.apply(w, X)), 0.7)
    assert float(bnn.log_prior(w)) == pytest.approx(prior, rel=1e-12)
    assert float(bnn.log_likelihood(w, X, Y)) == pytest.approx(likelihood.sum(), rel=1e-12)
    np.testing.assert_allclose(bnn.pointwise_log_likelihood(w, X, Y), likelihood[:, 0], rtol=1e-12)
    assert float(bnn.log_joint(w, X, Y)) == pytest.approx(prior + likelihood.sum(), rel=1e-12)


def test_inferred_noise():
    bnn = symvi.BNN(NET, symvi.Gaussian())
    w = {**NET.init(jax.random.key(0)), "log_noise": jnp.array(-0.4)}
    assert set(bnn.shapes) == set(w) == set(bnn.init(jax.random.key(0)))
    likelihood = scipy.stats.norm.logpdf(Y, np.asarray(NET.apply(w, X)), np.exp(-0.4)).sum()
    assert float(bnn.log_likelihood(w, X, Y)) == pytest.approx(likelihood, rel=1e-12)
    rest = {k: v for k, v in w.items() if k != "log_noise"}
    assert float(bnn.log_prior(w)) == pytest.approx(
        sum(scipy.stats.norm.logpdf(np.asarray(v)).sum() for v in rest.values())
        + scipy.stats.norm.logpdf(-0.4),
        rel=1e-12,
    )


def test_categorical_is_a_softmax():
    net = symvi.MLP([2, 3, 4], "relu")
    bnn = symvi.BNN(net, symvi.Categorical())
    w, labels = net.init(jax.random.key(0)), np.array([0, 3, 1, 2, 2, 0])
    logits = np.asarray(net.apply(w, X))
    expected = logits[np.arange(6), labels] - np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(bnn.pointwise_log_likelihood(w, X, labels), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("likelihood", "y"),
    [(symvi.Gaussian(0.3), Y), (symvi.Gaussian(), Y), (symvi.Categorical(), np.zeros(6, int))],
)
def test_numpyro_model_has_the_same_density(likelihood, y):
    bnn = symvi.BNN(NET, likelihood)
    w = bnn.init(jax.random.key(3))
    density, _ = log_density(bnn.numpyro_model, (X, y), {}, w)
    assert float(density) == pytest.approx(float(bnn.log_joint(w, X, y)), rel=1e-12)


def test_numpyro_model_without_y_draws_data():
    import numpyro

    trace = numpyro.handlers.trace(
        numpyro.handlers.seed(symvi.BNN(NET, symvi.Gaussian(0.3)).numpyro_model, 0)
    ).get_trace(X)
    assert trace["y"]["value"].shape == (6, 1)


GAUSSIAN, LABELS = (
    symvi.BNN(NET, symvi.Gaussian(1.0)),
    symvi.BNN(symvi.MLP([2, 3, 4]), symvi.Categorical()),
)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.Gaussian(0.0),
            "scale: expected a positive finite number or None, got 0.0; pass",
        ),
        (
            lambda: symvi.Gaussian("a"),
            "scale: expected a positive finite number or None, got 'a'; pass",
        ),
        (
            lambda: symvi.Gaussian(np.inf),
            "scale: expected a positive finite number or None, got inf",
        ),
        (
            lambda: symvi.Gaussian(np.nan),
            "scale: expected a positive finite number or None, got nan",
        ),
        (
            lambda: symvi.BNN(NET, symvi.Gaussian(), prior_scale={"W1": 1.0}),
            r"prior_scale: expected one entry for each of .*name every parameter",
        ),
        (
            lambda: symvi.BNN(NET, symvi.Gaussian(), prior_scale=-1.0),
            r"prior_scale\['W1'\]: expected positive finite numbers, got -1.0; pass",
        ),
        (
            lambda: symvi.BNN(
                NET,
                symvi.Gaussian(),
                prior_scale={"W1": np.ones(5), "b1": 1.0, "W2": 1.0, "b2": 1.0},
            ),
            r"expected a number or shape \(2, 3\), got shape \(5,\); match",
        ),
        (
            lambda: symvi.BNN(
                NET,
                symvi.Gaussian(),
                prior_scale={"W1": 1.0, "b1": np.array([1.0, 1.0, 2.0]), "W2": 1.0, "b2": 1.0},
            ),
            r"prior_scale\['b1'\]: expected a prior invariant under the group .*got different values; use one number",
        ),
        (
            lambda: GAUSSIAN.check_data(X[:, 0], Y),
            r"x: expected shape \(N, 2\), got \(6,\); reshape",
        ),
        (lambda: GAUSSIAN.check_data(X[:, :1], Y), r"x: expected shape \(N, 2\), got \(6, 1\)"),
        (
            lambda: GAUSSIAN.check_data(np.full((6, 2), np.nan), Y),
            "x: expected finite numbers, got NaN or infinity; drop",
        ),
        (
            lambda: GAUSSIAN.check_data(X, Y[:, 0]),
            r"y: expected shape \(6, 1\), got \(6,\); reshape",
        ),
        (lambda: GAUSSIAN.check_data(X, Y[:5]), r"y: expected shape \(6, 1\), got \(5, 1\)"),
        (
            lambda: GAUSSIAN.check_data(X, np.full((6, 1), np.inf)),
            "y: expected finite numbers, got NaN or infinity; drop",
        ),
        (
            lambda: LABELS.check_data(X, np.array([0, 1, 2, 3, 4, 0])),
            r"y: expected labels in 0..3, got values from 0 to 4; widen",
        ),
        (
            lambda: LABELS.check_data(X, np.array([0, -1, 2, 3, 1, 0])),
            r"y: expected labels in 0..3, got values from -1 to 3",
        ),
        (
            lambda: LABELS.check_data(X, np.eye(6)[:, :4]),
            r"y: expected integer labels of shape \(6,\), got float64 of shape \(6, 4\); pass class numbers",
        ),
        (
            lambda: LABELS.check_data(X, np.zeros(6)),
            r"y: expected integer labels of shape \(6,\), got float64",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
