"""Reference posteriors: small networks on real data whose NUTS draws come with the package, accepted by stated rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import arviz as az
import jax
import numpy as np

from symvi import data as datasets
from symvi.checks import one_of
from symvi.draws import inference_data, posterior_draws
from symvi.likelihoods import Categorical, Gaussian
from symvi.models import BNN
from symvi.networks import MLP
from symvi.truth.convergence import acceptance, energies
from symvi.truth.nuts import nuts

CHAINS, DRAWS = 8, 500  # kept of each posterior
FOLDER = files("symvi.truth") / "reference"
COMMAND = "book/reproduce/references.py"
STATS = ("diverging", "energy", "n_steps", "acceptance_rate")


@dataclass(frozen=True)
class Recipe:
    """How a reference posterior is made: network, likelihood, data set, and the settings of NUTS."""

    net: MLP
    likelihood: Gaussian | Categorical
    dataset: Callable
    target_accept: float = 0.95
    warmup: int = 1000
    thin: int = 4


def pooled_digits(rows: int = 200) -> datasets.Dataset:
    """The digits 0, 1 and 2 at 4 x 4 pixels (means of 2 x 2 pixels): the first `rows` training images, x ``(rows, 16)``."""
    full = datasets.digits()

    def part(x, y):
        kept = np.isin(y, (0, 1, 2))
        return x[kept].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16), y[kept]

    (x, y), (x_test, y_test) = part(full.x, full.y), part(full.x_test, full.y_test)
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
def reference_model(name: str) -> tuple[BNN, datasets.Dataset]:
    """The model and the data set of a reference posterior: two-weight, mcycle-tanh, mcycle-relu, mcycle-deep, diabetes or digits.

    All weights have standard normal priors; the noise of mcycle and diabetes is inferred. ValueError for another name.
    """
    one_of("name", name, tuple(RECIPES))
    return BNN(RECIPES[name].net, RECIPES[name].likelihood), RECIPES[name].dataset()


def reference_posterior(name: str) -> az.InferenceData:
    """Accepted NUTS draws of a reference posterior: 8 chains of 500 thinned draws.

    Returns
    -------
    arviz.InferenceData
        Groups posterior (``(8, 500, *shape)``, stored in float32), log_likelihood (nats), sample_stats, observed_data and
        constant_data. ``posterior.attrs`` hold the model, the data's hash, the settings, the seeds, the diagnostics, the
        versions and the command that made the draws.

    Raises
    ------
    ValueError
        Another name, or data that differ from those the draws were made with.
    """
    bnn, data = reference_model(name)
    stored = az.from_netcdf(str(FOLDER / f"{name}.nc"))
    if stored.posterior.attrs["data_sha256"] != data_hash(data):
        raise ValueError(
            f"{name}: expected the data that the reference draws were made with, got others (their SHA-256 differs); use the pinned scikit-learn, or make the draws again by {COMMAND}"
        )
    full = inference_data(
        bnn, {k: v.astype(float) for k, v in posterior_draws(stored).items()}, data.x, data.y
    )
    full.posterior.attrs.update(stored.posterior.attrs)
    full.add_groups(sample_stats=stored.sample_stats.load())
    stored.close()
    return full


def data_hash(data: datasets.Dataset) -> str:
    """SHA-256 of the training data, rounded to six decimals so that it is the same on all processors."""
    digest = hashlib.sha256()
    for part in (data.x, data.y):
        digest.update((np.round(np.asarray(part, "<f8"), 6) + 0.0).tobytes())
    return digest.hexdigest()


def draw_chain(name: str, chain: int, draws: int = DRAWS, warmup: int | None = None) -> dict:
    """One chain of a reference posterior in float64, as lists by name; the chain's number is its seed."""
    jax.config.update("jax_enable_x64", True)
    (bnn, data), recipe = reference_model(name), RECIPES[name]
    settings = {
        "warmup": warmup or recipe.warmup,
        "draws": draws * recipe.thin,
        "target_accept": recipe.target_accept,
        "seed": chain,
    }
    drawn = nuts(bnn, data.x, data.y, chains=1, progress=False, **settings)
    kept = {
        part: {k: v.values[0, recipe.thin - 1 :: recipe.thin] for k, v in drawn[part].items()}
        for part in ("posterior", "sample_stats")
    }
    full = energies(
        drawn.sample_stats["diverging"].values[0], drawn.sample_stats["energy"].values[0]
    )
    return {
        "posterior": kept["posterior"],
        "sample_stats": {k: kept["sample_stats"][k] for k in STATS},
        "full": full,
    }


def write_reference(name: str, chains: list, folder=None) -> dict:
    """Join the chains of :func:`draw_chain`, write them to ``folder/name.nc`` (by default among symvi's own files) in one step, and return their diagnostics.

    ValueError where the draws do not meet the rules of :func:`symvi.truth.convergence.acceptance`; nothing is written then.
    """
    (bnn, data), recipe, folder = (
        reference_model(name),
        RECIPES[name],
        FOLDER if folder is None else folder,
    )
    draws, stats = (
        {k: np.stack([np.asarray(c[part][k]) for c in chains]) for k in chains[0][part]}
        for part in ("posterior", "sample_stats")
    )
    drawn = az.from_dict(
        posterior={k: v.astype(np.float32) for k, v in draws.items()}, sample_stats=stats
    )
    found = acceptance(bnn, drawn, data.x, data.y, [chain["full"] for chain in chains])
    if not found["accepted"]:
        raise ValueError(
            f"{name}: expected draws that meet the rules for references, got {found}; draw longer, or raise target_accept"
        )
    made = {
        "model": f"{recipe.net}, {recipe.likelihood}, prior_scale=1.0",
        "data": f"{data.name}: {data.source}",
        "data_sha256": data_hash(data),
    }
    settings = {
        "warmup": recipe.warmup,
        "thin": recipe.thin,
        "target_accept": recipe.target_accept,
        "seeds": list(range(len(chains))),
    }
    versions = {
        "jax": jax.__version__,
        "arviz": az.__version__,
        "command": f"python {COMMAND} {name}",
    }
    drawn.posterior.attrs = {
        **made,
        **settings,
        **found,
        "accepted": int(found["accepted"]),
        **versions,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle, partial_file = tempfile.mkstemp(dir=folder, suffix=".tmp")
    os.close(handle)
    try:
        drawn.to_netcdf(partial_file)
        os.chmod(partial_file, 0o644)
        os.replace(partial_file, Path(folder) / f"{name}.nc")
    except BaseException:
        os.unlink(partial_file)
        raise
    return found
