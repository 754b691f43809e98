"""Predictions of held-out data: densities, errors and calibration against closed forms."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from symvi import BNN, MLP, Categorical, Gaussian, Likelihood
from symvi.comparison import (
    calibration_error,
    expected_calibration_error,
    held_out,
    pit,
    point_error,
    predictive_mean,
)

ONE = MLP([1, 1, 1], "relu", bias=False, fixed_output=1.0)  # f(x) = relu(w x)
CLASSES = BNN(MLP([2, 2, 3], "tanh"), Categorical())


@dataclass(frozen=True)
class StudentT(Likelihood):
    """y = f(x) + 2 t, where t has three degrees of freedom."""

    calibration = "pit"

    def distribution(self, outputs, params):
        return dist.StudentT(3.0, outputs, 2.0).to_event(1)


@dataclass(frozen=True)
class Poisson(Likelihood):
    """Counts with rate exp(f(x))."""

    calibration = "pit"

    def distribution(self, outputs, params):
        return dist.Poisson(jnp.exp(outputs[:, 0]))


@dataclass(frozen=True)
class Unjudged(StudentT):
    """The same, without a way to tell whether it is calibrated."""

    calibration = None


@dataclass(frozen=True)
class WithoutCdf(StudentT):
    """A likelihood that promises a distribution function and has none."""

    def cdf(self, outputs, params, y):
        raise NotImplementedError


def weights(*values):
    """Draws of the network with one weight."""
    return {"W1": np.array(values, float).reshape(-1, 1, 1)}


def test_held_out_is_the_density_of_the_mixture_over_draws():
    """With f(1) = 1 and 3, noise 2: (N(y; 1, 4) + N(y; 3, 4)) / 2."""
    y = np.array([[0.0], [2.5], [7.0]])
    density = scipy.stats.norm(1, 2).pdf(y) / 2 + scipy.stats.norm(3, 2).pdf(y) / 2
    found = held_out(BNN(ONE, Gaussian(2.0)), weights(1, 3), np.ones((3, 1)), y)
    assert found.value == pytest.approx(np.log(density).mean(), abs=1e-12)
    assert found.std_error == pytest.approx(np.log(density).std(ddof=1) / np.sqrt(3), abs=1e-12)
    one = held_out(BNN(ONE, Gaussian(2.0)), weights(1, 3), np.ones((1, 1)), y[:1])
    assert one.std_error == np.inf  # one point tells nothing of the spread


@pytest.mark.parametrize(
    ("likelihood", "means", "y"),
    [
        (Gaussian(2.0), (1.0, 3.0), [[0.0], [2.5]]),
        (StudentT(), (1.0, 3.0), [[0.0], [2.5]]),
        (Poisson(), (np.e, np.exp(3)), [3, 20]),  # its mean is exp(f), not f
    ],
)
def test_error_is_of_the_mean_of_the_data(likelihood, means, y):
    bnn, x = BNN(ONE, likelihood), np.ones((2, 1))
    mean = np.mean(means)
    assert np.allclose(predictive_mean(bnn, weights(1, 3), x), mean, rtol=1e-12)
    rmse = np.sqrt(np.mean((np.ravel(y) - mean) ** 2))
    assert point_error(bnn, weights(1, 3), x, np.array(y)).value == pytest.approx(rmse, rel=1e-12)


def test_accuracy_of_labels():
    sure = {name: np.zeros((2, *shape)) for name, shape in CLASSES.shapes.items()}
    sure["b2"][:, 1] = 3.0  # class 1 always
    found = point_error(CLASSES, sure, np.zeros((4, 2)), np.array([1, 1, 1, 0]))
    assert found.value == 0.75
    assert found.std_error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))


@pytest.mark.parametrize(
    ("likelihood", "law"),
    [
        (Gaussian(2.0), scipy.stats.norm(scale=2)),
        (StudentT(), scipy.stats.t(3, scale=2)),
    ],
)
def test_pit_is_the_likelihoods_own_cdf_averaged_over_draws(likelihood, law):
    y = np.array([[-4.0], [0.0], [2.5], [9.0]])
    values = pit(BNN(ONE, likelihood), weights(1, 3), np.ones((4, 1)), y)
    assert np.allclose(values, ((law.cdf(y - 1) + law.cdf(y - 3)) / 2).ravel(), atol=1e-9)


def test_pit_of_counts_lies_between_the_two_sides_of_the_jump():
    y = np.array([0, 1, 3, 20])
    laws = [scipy.stats.poisson(np.e), scipy.stats.poisson(np.exp(3))]
    upper = np.mean([law.cdf(y) for law in laws], axis=0)
    lower = np.mean([law.cdf(y - 1) for law in laws], axis=0)
    values = pit(BNN(ONE, Poisson()), weights(1, 3), np.ones((4, 1)), y)
    assert lower[0] == 0
    assert np.all((lower < values) & (values < upper))
    again = pit(BNN(ONE, Poisson()), weights(1, 3), np.ones((4, 1)), y)
    assert np.array_equal(values, again)


def drawn(likelihood, num):
    """Data of the model with f = 1."""
    rng = np.random.default_rng(0)
    if isinstance(likelihood, Poisson):
        return rng.poisson(np.e, size=num)
    if isinstance(likelihood, StudentT):
        return 1 + 2 * rng.standard_t(3, size=(num, 1))
    return 1 + 2 * rng.normal(size=(num, 1))


@pytest.mark.parametrize("likelihood", [Gaussian(2.0), StudentT(), Poisson()])
def test_the_true_model_is_calibrated_and_a_shifted_one_is_not(likelihood):
    num = 600
    bnn, x = BNN(ONE, likelihood), np.ones((num, 1))
    y = drawn(likelihood, num)
    good = calibration_error(bnn, weights(1, 1), x, y)
    bad = calibration_error(bnn, weights(1, 1), x, y + 1)
    assert good.value < 1.63 / np.sqrt(num) < bad.value  # Kolmogorov's 1 % point
    assert 0 < bad.std_error < 0.05


def test_a_normal_cdf_would_have_called_student_t_uncalibrated():
    """What was reported before: the normal distribution function, whatever the likelihood."""
    x, y = np.ones((4000, 1)), drawn(StudentT(), 4000)
    own = calibration_error(BNN(ONE, StudentT()), weights(1, 1), x, y)
    normal = scipy.stats.kstest(scipy.stats.norm.cdf(y - 1, scale=2).ravel(), "uniform").statistic
    assert own.value < 0.025 < 0.05 < normal


def test_calibration_of_labels():
    """Logits (log 8, 0, 0) give class 0 probability 0.8; it is right in 60 % of rows."""
    draws = {name: np.zeros((2, *shape)) for name, shape in CLASSES.shapes.items()}
    draws["b2"][:, 0] = np.log(8)
    found = calibration_error(CLASSES, draws, np.zeros((5, 2)), np.array([0, 0, 0, 1, 2]))
    assert found.value == pytest.approx(0.2)


def test_expected_calibration_error_by_hand():
    """Two bins: |0.55 + 0.58 - 1| and |0.95 - 1| over three data; 1.0 belongs to the last bin."""
    assert expected_calibration_error(
        np.array([0.55, 0.58, 0.95]), np.array([True, False, True])
    ) == pytest.approx((0.13 + 0.05) / 3)
    assert expected_calibration_error(np.ones(4), np.ones(4, bool)) == 0


@pytest.mark.parametrize(
    ("bnn", "y", "message"),
    [
        (CLASSES, np.array([0]), "pit: expected a likelihood of numbers.*got Categorical"),
        (BNN(ONE, Unjudged()), np.ones((1, 1)), "pit: expected a likelihood.*got Unjudged"),
        (BNN(ONE, WithoutCdf()), np.ones((1, 1)), "pit: expected a likelihood with a cdf"),
    ],
)
def test_no_pit_without_a_distribution_function(bnn, y, message):
    draws = {name: np.zeros((2, *shape)) for name, shape in bnn.shapes.items()}
    x = np.zeros((1, bnn.net.widths[0]))
    with pytest.raises(ValueError, match=message):
        pit(bnn, draws, x, y)
