"""The evidence by tempered SMC against the exact grid and a conjugate linear model."""

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from linear_model import many_weights

from symvi import (
    BNN,
    MLP,
    Categorical,
    Estimate,
    Gaussian,
    grid_posterior,
    log_evidence,
)
from symvi.data import absolute, mcycle
from symvi.truth import Evidence
from symvi.truth.evidence import least_runs

TWO = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
DATA = absolute(0.1)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_two_weights_against_the_grid(noise):
    bnn = BNN(TWO, Gaussian(noise))
    found = log_evidence(bnn, DATA.x, DATA.y)
    assert 0 < found.std_error <= 0.1
    assert abs(found.value - grid_posterior(bnn, DATA.x, DATA.y).log_evidence) < 3 * found.std_error
    assert found.kind == "approximate"


@pytest.mark.parametrize("num", [3, 40])
def test_linear_model_against_its_closed_form(num):
    bnn, x, y, exact = many_weights(4, num)
    found = log_evidence(bnn, x, y, particles=2000)
    assert found.std_error <= 0.1
    assert abs(found.value - exact.log_evidence) < 3 * found.std_error


def test_sixty_weights():
    bnn, x, y, exact = many_weights(60, 20)
    found = log_evidence(bnn, x, y)
    assert found.decided and found.std_error <= 0.2
    assert abs(found.value - exact.log_evidence) < 3 * found.std_error
    assert found.particles["W1"].shape == (8, 1000, 60, 1)
    assert found.particles["W1"].dtype == float


@pytest.mark.parametrize("target_ess", [0.02, 0.7])
def test_particles_are_draws_of_the_posterior(target_ess):
    """One as good as the other, even after one long step from the prior."""
    bnn, x, y, exact = many_weights(4, 1)
    w = log_evidence(bnn, x, y, target_ess=target_ess, seed=1).particles["W1"]
    z = (w[..., 0] - exact.mean) / np.sqrt(np.diag(exact.covariance))
    assert np.abs(z.mean(axis=(0, 1))).max() < 0.1
    assert np.abs((z**2).mean(axis=(0, 1)) - 1).max() < 0.15


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


@pytest.mark.filterwarnings("ignore:log_evidence")  # two runs decide nothing
def test_a_seed_repeats():
    bnn = BNN(TWO, Gaussian(3.0))
    one, two, other = (
        log_evidence(bnn, DATA.x, DATA.y, particles=50, repeats=2, seed=s) for s in (0, 0, 1)
    )
    assert one == two != other


def evidence(*runs):
    return Evidence(np.array(runs), {"W": np.zeros((len(runs), 2, 3))})


@pytest.mark.parametrize(
    ("runs", "worth"),
    [
        ([-3.0] * 8, 8.0),
        ([0.0, 0.0, -800.0, -900.0], 2.0),
        ([5000.0] + [-5000.0] * 7, 1.0),
        (np.log([3.0, 1.0]), 16 / 10),
        (np.log([1.0, 2.0, 3.0, 4.0]), 100 / 30),
    ],
)
def test_effective_runs_by_hand(runs, worth):
    found = evidence(*runs)
    assert found.effective_runs == pytest.approx(worth, abs=1e-12)
    assert found.run_weights.sum() == pytest.approx(1)
    # the standard error of a mean says the same
    assert found.std_error == pytest.approx(
        np.sqrt((len(runs) / worth - 1) / (len(runs) - 1)), abs=1e-7
    )


def test_when_an_evidence_is_decided():
    assert [least_runs(n) for n in (2, 3, 4, 8, 16)] == [2, 2, 2, 4, 8]
    assert evidence(*[-100.0] * 4, *[-900.0] * 4).decided  # four of eight
    assert not evidence(*[-100.0] * 3, *[-900.0] * 5).decided
    assert evidence(-7.0, -7.0).decided
    assert not evidence(-7.0, -7.1).decided
    found = evidence(*[-100.0] * 3, *[-900.0] * 5)
    assert repr(found).startswith("Evidence(value=-100.98") and "3.0 of 8" in repr(found)
    assert repr(found).endswith("not decided)") and str(found).endswith("not decided")
    assert "not decided" not in repr(evidence(-7.0, -7.0)) + str(evidence(-7.0, -7.0))


def test_an_evidence_is_an_estimate():
    found = evidence(-1.0, -1.0, -1.0)
    assert isinstance(found, Estimate) and found == Estimate(-1.0, 0.0, "approximate")
    assert tuple(found) == (-1.0, 0.0, "approximate")
    with pytest.raises(FrozenInstanceError):
        found.runs = None
    for twin in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert type(twin) is Evidence and twin == found and np.array_equal(twin.runs, found.runs)
    assert type(found._replace(kind="lower")) is Estimate


def test_an_undecided_evidence_warns():
    """Ten particles for sixty weights: one run outweighs the others."""
    bnn, x, y, _ = many_weights(60, 20)
    said = r"log_evidence: expected .* 2 of 4 runs, got 1\.\d\d effective .*; pass particles=40"
    with pytest.warns(UserWarning, match=said) as caught:
        found = log_evidence(bnn, x, y, particles=10, repeats=4)
    assert not found.decided and caught[0].filename == __file__


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
