"""NUTS: its form, its agreement with the exact grid, and what it says of its own draws."""

import re
import sys

import arviz as az
import numpy as np
import pytest

from symvi import BNN, MLP, Gaussian, grid_posterior, nuts
from symvi.data import absolute
from symvi.truth.hamiltonian import of_depth, of_divergences, of_energies, of_functions

TWO = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
DATA = absolute(1.0, num=40)
BNN_TWO = BNN(TWO, Gaussian(0.3))


@pytest.fixture(scope="module")
def truth():
    return nuts(BNN_TWO, DATA.x, DATA.y, chains=4, warmup=300, draws=500, seed=1, progress=False)


def test_nuts_groups_and_shapes(truth):
    assert {"posterior", "log_likelihood", "sample_stats", "observed_data"} <= set(truth.groups())
    assert truth.posterior["W1"].shape == (4, 500, 1, 2)
    assert truth.log_likelihood["y"].shape == (4, 500, 40)
    assert truth.observed_data["y"].shape == (40, 1)
    assert truth.sample_stats["diverging"].shape == truth.sample_stats["energy"].shape == (4, 500)
    w = {"W1": truth.posterior["W1"].values[2, 7]}
    assert np.allclose(
        truth.log_likelihood["y"].values[2, 7], BNN_TWO.pointwise_log_likelihood(w, DATA.x, DATA.y)
    )


def test_nuts_agrees_with_the_grid(truth):
    grid = grid_posterior(BNN_TWO, DATA.x, DATA.y)
    first, second = grid.nodes[:, None], grid.nodes[None, :]
    w = truth.posterior["W1"].values[:, :, 0]
    for drawn, exact in (
        (w.sum(-1), first + second),
        (w.prod(-1), first * second),
    ):  # unchanged by relabelling
        error = float(az.mcse(drawn))
        assert 0 < error < 0.05
        assert abs(drawn.mean() - grid.expect(exact + 0 * grid.log_joint)) < 4 * error


def test_nuts_infers_the_noise():
    drawn = nuts(BNN(TWO, Gaussian()), DATA.x, DATA.y, chains=1, warmup=50, draws=5, progress=False)
    assert drawn.posterior["log_noise"].shape == (1, 5)


def test_nuts_is_repeatable_and_quiet_away_from_a_terminal(capsys, monkeypatch):
    monkeypatch.delitem(
        sys.modules, "ipykernel", raising=False
    )  # a plug-in of pytest may have imported it
    settings = {"chains": 2, "warmup": 100, "draws": 2, "seed": 3}
    shown, hidden = (
        nuts(BNN_TWO, DATA.x, DATA.y, **settings, progress=progress).posterior["W1"].values
        for progress in (True, False)
    )
    assert np.array_equal(shown, hidden) and not np.array_equal(shown[0], shown[1])
    assert capsys.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:nuts")  # of R-hat too
def test_divergences_are_reported():
    said = r"nuts: \d+ of 8 draws diverged \(chains 0, 1\).*raise target_accept"
    with pytest.warns(UserWarning, match=said) as caught:
        nuts(BNN_TWO, DATA.x, DATA.y, chains=2, warmup=1, draws=4, seed=3, progress=False)
    assert {warning.filename for warning in caught} == {__file__}  # they point at the caller


def stats(**changes):
    rng = np.random.default_rng(0)
    good = {
        "diverging": np.zeros((2, 50), bool),
        "energy": rng.normal(size=(2, 50)),
        "n_steps": np.full((2, 50), 7),
    }
    return az.from_dict(sample_stats=good | changes).sample_stats


def test_good_draws_are_not_spoken_of():
    for said in (of_divergences(stats()), of_energies(stats()), of_depth(stats(), 10)):
        assert said is None


def test_slow_energies_are_reported():
    energy = np.stack([np.random.default_rng(0).normal(size=50), np.arange(50.0)])
    assert re.match(r"E-BFMI is 0\.00 in chain 1, below 0\.3.*", of_energies(stats(energy=energy)))
    assert of_energies(stats(energy=energy).isel(draw=slice(3))) is None  # too few to tell


@pytest.mark.parametrize(("saturated", "said"), [(5, False), (6, True), (100, True)])
def test_saturation_is_reported_above_five_per_cent(saturated, said):
    n_steps = np.full(100, 2**10 - 2)
    n_steps[:saturated] = 2**10 - 1
    found = of_depth(stats(n_steps=n_steps.reshape(2, 50)), 10)
    assert (found is not None) == said
    if said:
        assert f"{saturated} % of the draws hit max_tree_depth=10" in found
        assert "max_tree_depth=12" in found


def test_a_shallow_tree_is_kept_and_reported():
    """With trees of depth 2 no draw takes more than 3 steps, and the chains have not mixed."""
    with pytest.warns(UserWarning, match="nuts") as caught:
        drawn = nuts(BNN_TWO, DATA.x, DATA.y, warmup=20, draws=20, max_tree_depth=2, progress=False)
    assert drawn.sample_stats["n_steps"].max() == 3
    assert drawn.sample_stats.attrs["max_tree_depth"] == 2
    said = " ".join(str(warning.message) for warning in caught)
    assert re.search(r"nuts: \d+ % of the draws hit max_tree_depth=2", said)
    assert re.search(r"nuts: R-hat of the functions is \d\.\d\d, above 1\.01", said)


def test_chains_of_different_functions_are_reported():
    rng = np.random.default_rng(0)
    w = 1 + 0.1 * rng.normal(size=(4, 200, 1, 2))
    alike = {"posterior": {"W1": w}, "sample_stats": {"energy": np.zeros((4, 200))}}
    assert of_functions(BNN_TWO, az.from_dict(**alike), DATA.x, DATA.y) is None
    swapped = w[..., ::-1] + 3.0 * (np.arange(4) == 2)[:, None, None, None]
    apart = alike | {"posterior": {"W1": swapped}}
    said = of_functions(BNN_TWO, az.from_dict(**apart), DATA.x, DATA.y)
    assert re.match(r"R-hat of the functions is [1-9]\.\d\d, above 1\.01", said)
    one = {"posterior": {"W1": w[:1]}, "sample_stats": {"energy": np.zeros((1, 200))}}
    assert of_functions(BNN_TWO, az.from_dict(**one), DATA.x, DATA.y) is None


def test_the_prior_is_not_drawn_by_mistake():
    with pytest.raises(ValueError, match="y: expected the observed outputs, got None"):
        nuts(BNN_TWO, DATA.x, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_accept": 1.0}, "target_accept: expected a number between 0 and 1"),
        ({"chains": 0}, "chains: expected"),
        ({"warmup": 0}, "warmup: expected"),
        ({"draws": 2.5}, "draws: expected"),
        ({"draws": None}, "draws: expected"),
        ({"max_tree_depth": 0}, "max_tree_depth: expected a whole number >= 1"),
        ({"seed": "one"}, "seed: expected an int >= 0, got 'one'"),
        ({"x": np.zeros((0, 1)), "y": np.zeros((0, 1))}, "x: expected at least one row"),
        ({"bnn": TWO}, "bnn: expected a symvi.BNN, got an object of type MLP"),
        ({"bnn": None}, "bnn: expected a symvi.BNN, got None"),
        ({"x": DATA.x[:, 0]}, "x: expected shape"),
        ({"y": DATA.y[:3]}, "y: expected shape"),
    ],
)
def test_bad_arguments_of_nuts(arguments, message):
    with pytest.raises(ValueError, match=message):
        nuts(**{"bnn": BNN_TWO, "x": DATA.x, "y": DATA.y, "progress": False, **arguments})
