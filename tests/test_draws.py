"""Draws of weights from whatever holds them, and the form that ArviZ reads."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from symvi import BNN, MLP, Gaussian, Likelihood, MeanField, Symmetrized
from symvi.draws import as_draws, inference_data, log_joints, log_likelihoods, outputs

NET = MLP([1, 2, 1], "tanh")
MODEL = BNN(NET, Gaussian(0.5))
X = np.linspace(-1, 1, 4)[:, None]
Y = X**2
Q = MeanField(
    {name: np.ones(shape) for name, shape in NET.shapes.items()},
    {name: np.full(shape, 0.1) for name, shape in NET.shapes.items()},
    NET.symmetry,
)


def drawn(*batch, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(*batch, *shape)) for name, shape in MODEL.shapes.items()}


@pytest.mark.parametrize("batch", [(3,), (2, 3), (1, 2, 3)])
def test_values_of_every_draw(batch):
    draws = drawn(*batch)
    last = tuple(size - 1 for size in batch)
    w = {name: value[last] for name, value in draws.items()}
    assert outputs(MODEL, draws, X).shape == (*batch, 4, 1)
    assert np.allclose(outputs(MODEL, draws, X)[last], NET.apply(w, X), atol=1e-12)
    terms = MODEL.pointwise_log_likelihood(w, X, Y)
    assert np.allclose(log_likelihoods(MODEL, draws, X, Y)[last], terms, atol=1e-12)
    assert np.allclose(log_joints(MODEL, draws, X, Y)[last], MODEL.log_joint(w, X, Y), atol=1e-12)


@pytest.mark.parametrize("q", [Q, Symmetrized(Q)])
def test_a_posterior_is_sampled(q):
    own = q.sample(jax.random.key(0), 1000)
    assert all(np.array_equal(value, own[name]) for name, value in as_draws(q).items())
    assert np.array_equal(outputs(MODEL, q, X), outputs(MODEL, own, X))
    few = as_draws(q, num=3, key=jax.random.key(5))
    assert np.array_equal(few["W1"], q.sample(jax.random.key(5), 3)["W1"])


def test_inference_data_gives_back_its_draws():
    draws = drawn(2, 3)
    made = inference_data(MODEL, draws, X, Y)
    assert all(np.array_equal(value, draws[name]) for name, value in as_draws(made).items())
    assert np.array_equal(made.constant_data["x"], X)
    assert np.array_equal(made.observed_data["y"], Y)
    again = inference_data(MODEL, made, X, Y)
    assert np.array_equal(again.log_likelihood["y"], made.log_likelihood["y"])


@dataclass(frozen=True)
class Flat(Likelihood):
    """Uniform around f, so that data far from f have density 0."""

    def distribution(self, outputs, params):
        far = jnp.abs(outputs) > 2
        return dist.Normal(outputs, jnp.where(far, jnp.nan, 1.0)).to_event(1)


@pytest.mark.parametrize("spoiled", [1, 2])
def test_log_likelihoods_that_are_not_finite_are_not_stored(spoiled):
    """arviz.loo would be NaN without a word."""
    bnn = BNN(NET, Flat())
    draws = {name: np.zeros_like(value) for name, value in drawn(5).items()}
    draws["b2"][:spoiled] = 9.0
    with pytest.raises(ValueError, match=f"finite log likelihoods.*got {spoiled} of 5 draws"):
        inference_data(bnn, draws, X, Y)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (None, "draws: expected a dict of draws by name, an InferenceData.*got None"),
        (MeanField, "draws: expected a dict of draws by name"),
        (np.zeros((3, 2)), "draws: expected a dict of draws by name"),
        ("fit", "draws: expected a dict of draws by name"),
        ({}, "draws: expected the parameters"),
        ({**drawn(3), 7: np.zeros(3)}, "draws: expected the parameters"),
        ({**drawn(3), "W1": None}, r"draws\['W1'\]: expected an array of numbers"),
        ({**drawn(3), "W1": np.full((3, 1, 2), "a")}, r"draws\['W1'\]: expected an array of numb"),
        ({**drawn(3), "W1": 1.0}, r"draws\['W1'\]: expected shape \(\*batch, 1, 2\)"),
        (drawn(), r"draws\['W1'\]: expected shape"),
        (drawn(0), "draws: expected at least one draw"),
        ({**drawn(3), "W1": np.full((3, 1, 2), np.inf)}, r"draws\['W1'\]: expected finite numbers"),
    ],
)
def test_what_is_no_draws(draws, message):
    for function in (log_likelihoods, log_joints, inference_data):
        with pytest.raises(ValueError, match=message):
            function(MODEL, draws, X, Y)


@pytest.mark.parametrize("bnn", [None, NET, BNN, "model"])
def test_what_is_no_model(bnn):
    with pytest.raises(ValueError, match=r"bnn: expected a symvi\.BNN"):
        inference_data(bnn, drawn(3), X, Y)
    with pytest.raises(ValueError, match=r"bnn: expected a symvi\.BNN"):
        outputs(bnn, drawn(3), X)


def test_missing_data():
    with pytest.raises(ValueError, match="y: expected the observed outputs, got None"):
        log_likelihoods(MODEL, drawn(3), X, None)
