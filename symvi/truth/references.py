"""Reference posteriors: small networks on real data whose NUTS draws come with the package.

They were accepted by rules of our own (:func:`symvi.truth.diagnostics.acceptance`), in function
space; book/reproduce/references.py draws them again. None meets the rule of posteriordb, which asks
for 10,000 draws and R-hat <= 1.01 of every weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from symvi import data as datasets
from symvi.checks import arviz, expected, one_of
from symvi.draws import check_draws, inference_data, posterior_draws
from symvi.likelihoods import Categorical, Gaussian
from symvi.models import BNN
from symvi.networks import MLP

if TYPE_CHECKING:
    from arviz import InferenceData

CHAINS, DRAWS = 8, 500  # kept of each posterior
FOLDER = files("symvi.truth") / "reference"
COMMAND = "book/reproduce/references.py"
# what h5netcdf, h5py and xarray raise on files that are damaged or of another kind
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True)
class Recipe:
    """How a reference posterior is made: network, likelihood, data set, and settings of NUTS."""

    net: MLP
    likelihood: Gaussian | Categorical
    dataset: Callable
    target_accept: float = 0.95
    warmup: int = 1000
    thin: int = 4
    max_tree_depth: int = 10


def pooled_digits(rows: int = 200) -> datasets.Dataset:
    """The digits 0, 1 and 2 at 4 x 4 pixels (means of 2 x 2 pixels), x ``(rows, 16)``.

    The training data are the first `rows` images of them.
    """
    full = datasets.digits()

    def part(x, y):
        kept = np.isin(y, (0, 1, 2))
        pixels = x[kept].reshape(-1, 4, 2, 4, 2)
        return pixels.mean(axis=(2, 4)).reshape(-1, 16), y[kept]

    x, y = part(full.x, full.y)
    x_test, y_test = part(full.x_test, full.y_test)
    return full._replace(name="pooled digits", x=x[:rows], y=y[:rows], x_test=x_test, y_test=y_test)


RECIPES = {
    "two-weight": Recipe(
        MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0),
        Gaussian(2.0),
        partial(datasets.absolute, 0.1),
    ),
    "mcycle-tanh": Recipe(MLP([1, 10, 1], "tanh", signed=True), Gaussian(), datasets.mcycle),
    "mcycle-relu": Recipe(MLP([1, 10, 1], "relu"), Gaussian(), datasets.mcycle),
    "mcycle-deep": Recipe(
        MLP([1, 5, 5, 1], "tanh", signed=True), Gaussian(), datasets.mcycle, target_accept=0.99
    ),
    "diabetes": Recipe(MLP([10, 5, 1], "tanh", signed=True), Gaussian(), datasets.diabetes),
    "digits": Recipe(MLP([16, 5, 3], "tanh", signed=True), Categorical(), pooled_digits),
}


@cache
def _model(name: str) -> tuple[BNN, datasets.Dataset]:
    recipe = RECIPES[name]
    return BNN(recipe.net, recipe.likelihood), recipe.dataset()


def reference_model(name: str) -> tuple[BNN, datasets.Dataset]:
    """The model and the data set of a reference posterior.

    They are two-weight, mcycle-tanh, mcycle-relu, mcycle-deep, diabetes and digits. All weights
    have standard normal priors; the noise of mcycle and diabetes is inferred. ValueError for
    another name.
    """
    one_of("name", name, tuple(RECIPES))
    return _model(name)


def reference_posterior(name: str) -> InferenceData:
    """Accepted NUTS draws of a reference posterior: 8 chains of 500 thinned draws.

    Returns
    -------
    arviz.InferenceData
        Groups posterior (``(8, 500, *shape)``, stored in float32), log_likelihood (nats),
        sample_stats, observed_data and constant_data. ``posterior.attrs`` hold the model, the
        data's hash, the settings, the seeds, the diagnostics, the versions and the command that
        made the draws; ``sample_stats.attrs`` the limit of the tree's depth, ``max_tree_depth``.

    Raises
    ------
    ValueError
        Another name, a file that is damaged, or data that differ from those the draws were made
        with.
    """
    bnn, data = reference_model(name)
    path = FOLDER / f"{name}.nc"
    stored = _read(path)
    draws = _checked(path, bnn, stored)
    if stored.posterior.attrs.get("data_sha256") != data_hash(data):
        wanted = "the data that the reference draws were made with"
        remedy = f"use the pinned scikit-learn, or make the draws again by {COMMAND}"
        raise expected(name, wanted, "others (their SHA-256 differs)", remedy)
    full = inference_data(bnn, draws, data.x, data.y)
    full.posterior.attrs.update(stored.posterior.attrs)
    full.add_groups(sample_stats=stored.sample_stats)
    full.sample_stats.attrs["max_tree_depth"] = RECIPES[name].max_tree_depth
    return full


def _damaged(path, got) -> ValueError:
    wanted = f"{CHAINS} chains of {DRAWS} reference draws"
    return expected(str(path), wanted, got, f"install symvi again, or make them by {COMMAND}")


def _read(path) -> InferenceData:
    """All of a file, in memory; ValueError naming it where it cannot be read."""
    try:
        stored = arviz().from_netcdf(str(path))
        try:
            return stored.load()
        finally:
            stored.close()
    except UNREADABLE as error:
        raise _damaged(path, f"a file that cannot be read ({type(error).__name__})") from error


def _checked(path, bnn, stored) -> dict:
    """The draws in `stored`, in float64; ValueError naming the file unless all are there."""
    if not {"posterior", "sample_stats"} <= set(stored.groups()):
        raise _damaged(path, f"the groups {sorted(stored.groups())}")
    try:
        draws, batch = check_draws(bnn, posterior_draws(stored))
    except ValueError as error:
        raise _damaged(path, f"others ({error})") from error
    if batch != (CHAINS, DRAWS):
        raise _damaged(path, f"chains and draws {batch}")
    return {name: value.astype(float) for name, value in draws.items()}


def data_hash(data: datasets.Dataset) -> str:
    """SHA-256 of the training data, rounded to six decimals: the same on all processors."""
    digest = hashlib.sha256()
    for part in (data.x, data.y):
        digest.update((np.round(np.asarray(part, "<f8"), 6) + 0.0).tobytes())
    return digest.hexdigest()
