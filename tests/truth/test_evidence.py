"""The evidence by tempered SMC against the exact grid and a conjugate linear model."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
import scipy.stats

from symvi import BNN, MLP, Categorical, Gaussian, Symmetry, grid_posterior, log_evidence
from symvi.data import absolute, mcycle

TWO = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
DATA = absolute(0.1)


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


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_two_weights_against_the_grid(noise):
    bnn = BNN(TWO, Gaussian(noise))
    found = log_evidence(bnn, DATA.x, DATA.y)
    assert 0 < found.std_error <= 0.1
    assert abs(found.value - grid_posterior(bnn, DATA.x, DATA.y).log_evidence) < 3 * found.std_error
    assert found.kind == "approximate"


@pytest.mark.parametrize("num", [3, 40])
def test_linear_model_against_its_closed_form(num):
    """y ~ N(0, noise^2 + prior^2 x x^T)."""
    rng = np.random.default_rng(num)
    x, noise, prior = rng.normal(size=(num, 4)), 0.5, 1.5
    y = x @ rng.normal(size=(4, 1)) + noise * rng.normal(size=(num, 1))
    exact = scipy.stats.multivariate_normal(
        np.zeros(num), noise**2 * np.eye(num) + prior**2 * x @ x.T
    ).logpdf(y[:, 0])
    found = log_evidence(
        BNN(Linear((4, 1)), Gaussian(noise), prior_scale=prior), x, y, particles=2000
    )
    assert found.std_error <= 0.1
    assert abs(found.value - exact) < 3 * found.std_error


def test_labels_without_information():
    """Inputs of 0 and no biases: every label has probability 1/3, whatever the weights."""
    bnn = BNN(MLP([2, 2, 3], "tanh", bias=False), Categorical())
    found = log_evidence(bnn, np.zeros((5, 2)), np.array([0, 1, 2, 1, 0]), particles=50, repeats=2)
    assert found.value == pytest.approx(-5 * np.log(3), abs=1e-6)


def test_real_data_standard_error():
    data = mcycle()
    found = log_evidence(
        BNN(MLP([1, 10, 1], "tanh"), Gaussian()), data.x, data.y, particles=500, repeats=4
    )
    assert found.std_error <= 0.5


def test_a_seed_repeats():
    bnn = BNN(TWO, Gaussian(3.0))
    one, two, other = (
        log_evidence(bnn, DATA.x, DATA.y, particles=50, repeats=2, seed=s) for s in (0, 0, 1)
    )
    assert one == two != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"particles": 1}, "particles: expected a whole number >= 2"),
        ({"repeats": 1}, "repeats: expected a whole number >= 2"),
        ({"target_ess": 1.0}, "target_ess: expected a number between 0 and 1"),
        ({"seed": 0.5}, "seed: expected an int"),
        ({"y": DATA.y[:3]}, "y: expected shape"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        log_evidence(BNN(TWO, Gaussian(1.0)), **{"x": DATA.x, "y": DATA.y, **arguments})
