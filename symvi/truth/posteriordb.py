"""Reference posteriors in the format of posteriordb: Stan programs, data, draws, and what is known
of them.

A database of posteriors (Magnusson et al. 2024) is a folder::

    posteriors/NAME.json  which model, which data, which draws
    models/stan/MODEL.stan, models/info/MODEL.info.json
    data/data/DATA.json.zip, data/info/DATA.info.json
    reference_posteriors/draws/draws/NAME.json.zip
    reference_posteriors/draws/info/NAME.info.json
    bibliography/references.bib, alias/posteriors.json

with NAME = DATA-MODEL. The keys of each file are those of stan-dev/posteriordb as read in 2026
(doc/DATABASE_CONTENT.md, and what its R package checks when it reads a file).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from symvi import files
from symvi.checks import arviz, expected, one_of
from symvi.truth.diagnostics import (
    DB_BFMI,
    DB_CHAINS,
    DB_DRAWS,
    DB_LAG1,
    DB_RHAT,
    energies,
    lag_one,
)
from symvi.truth.posteriordb_entries import BIBLIOGRAPHY, DATA, ENTRIES, Entry
from symvi.truth.references import RECIPES, reference_model, reference_posterior
from symvi.truth.stan_code import stan_data, stan_draws, stan_program, stan_shapes

AUTHOR = "The symvi contributors"
ADDED = "2026-11-24"  # when the reference draws were made
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a file in a zip archive: the same bytes on each export


def export_posteriordb(folder, names=None) -> Path:
    """Write reference posteriors as a database that posteriordb can read.

    The log densities of the Stan programs are those of ``reference_model(name)`` up to a constant
    (:func:`symvi.truth.stan_code.constant`), and the draws are those of
    ``reference_posterior(name)``, in full, under Stan's names. They meet our rules, in function
    space; which of posteriordb's they meet is written beside them (checks_made).

    Parameters
    ----------
    folder : path
        A folder that is new or empty; all of it is written, or nothing.
    names : sequence of str, optional
        Which reference posteriors; all six by default.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        Another name, no name, or a folder with something in it.
    ImportError
        scikit-learn, from which the data of diabetes and digits come, is missing.
    """
    names = tuple(RECIPES) if names is None else _checked_names(names)
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        wanted, remedy = "a new or empty folder", "choose another, or remove what is there"
        raise expected("folder", wanted, f"{str(folder)!r}, which holds something", remedy)
    with files.whole_folder(folder) as root:
        for name in names:
            _write_posterior(root, name)
        entries = {name: ENTRIES[name] for name in names}
        _write_json(root / "alias" / "posteriors.json", {k: e.name for k, e in entries.items()})
        cited = sorted({DATA[entry.data][2] for entry in entries.values()})
        bibliography = "\n".join(BIBLIOGRAPHY[key] for key in cited)
        files.write_text(root / "bibliography" / "references.bib", bibliography)
    return folder


def _checked_names(names) -> tuple:
    names = (names,) if isinstance(names, str) else tuple(names)
    if not names:
        remedy = f"choose from {', '.join(RECIPES)}"
        raise expected("names", "at least one reference posterior", "none", remedy)
    for name in names:
        one_of("name", name, tuple(RECIPES))
    return names


def _write_posterior(root: Path, name: str) -> None:
    """All files of one reference posterior."""
    entry = ENTRIES[name]
    bnn, data = reference_model(name)
    drawn = reference_posterior(name)
    columns = stan_draws(bnn, drawn)
    parts = {
        "posteriors": _posterior_info(entry, stan_shapes(bnn)),
        "models/info": _model_info(entry, bnn),
        "data/info": _data_info(entry, data),
        "reference_posteriors/draws/info": _draws_info(name, entry, drawn, columns),
    }
    for part, content in parts.items():
        kind = "json" if part == "posteriors" else "info.json"
        _write_json(root / part / f"{content['name']}.{kind}", content)
    files.write_text(root / "models" / "stan" / f"{entry.model}.stan", stan_program(bnn))
    _write_zip(root / "data" / "data" / f"{entry.data}.json", stan_data(bnn, data.x, data.y))
    chains = next(iter(columns.values())).shape[0]
    by_chain = [{k: v[chain].tolist() for k, v in columns.items()} for chain in range(chains)]
    draws = root / "reference_posteriors" / "draws" / "draws" / f"{entry.name}.json"
    _write_zip(draws, by_chain)


def _added() -> dict:
    return {"added_by": AUTHOR, "added_date": ADDED}


def _posterior_info(entry: Entry, shapes: dict) -> dict:
    return {
        "name": entry.name,
        "keywords": ["neural net", "multimodal", "permutation symmetry"],
        "urls": None,
        "model_name": entry.model,
        "data_name": entry.data,
        "reference_posterior_name": entry.name,
        "references": None,
        "dimensions": {key: int(np.prod(shape, dtype=int)) for key, shape in shapes.items()},
        **_added(),
    }


def _model_info(entry: Entry, bnn) -> dict:
    moves = "exchanges of units in a hidden layer"
    if bnn.symmetry.signed:
        moves += " and changes of a unit's sign"
    description = (
        "A Bayesian neural network with independent standard normal priors on all weights. "
        f"The density is the same under {moves}, a group of {bnn.symmetry.order} elements."
    )
    return {
        "name": entry.model,
        "keywords": ["neural net"],
        "title": entry.title,
        "prior": {"keywords": []},
        "description": description,
        "urls": None,
        "model_implementations": {
            "stan": {"model_code": f"models/stan/{entry.model}.stan", "stan_version": ">=2.26.0"}
        },
        "references": None,
        **_added(),
        "licence": "MIT",
    }


def _data_info(entry: Entry, data) -> dict:
    title, description, reference = DATA[entry.data]
    return {
        "name": entry.data,
        "keywords": None,
        "title": title,
        "description": f"{description} Source: {data.source}.",
        "urls": None,
        "references": reference,
        "data_file": f"data/data/{entry.data}.json",
        **_added(),
    }


def _draws_info(name: str, entry: Entry, drawn, columns: dict) -> dict:
    recipe, attrs = RECIPES[name], drawn.posterior.attrs
    diagnostics = _diagnostics(drawn, columns)
    return {
        "name": entry.name,
        "inference": {
            "method": "numpyro_sampling",  # not by Stan, and posteriordb shall know it
            "method_arguments": {
                "chains": diagnostics["nchains"],
                "iter": recipe.warmup + recipe.thin * drawn.posterior.sizes["draw"],
                "warmup": recipe.warmup,
                "thin": recipe.thin,
                "seed": [int(seed) for seed in attrs["seeds"]],
                "control": {
                    "adapt_delta": recipe.target_accept,
                    "max_treedepth": recipe.max_tree_depth,
                },
            },
        },
        "diagnostics": diagnostics,
        "checks_made": _checks(diagnostics),
        "comments": _comments(attrs),
        **_added(),
        "versions": {"jax": str(attrs["jax"]), "arviz": str(attrs["arviz"])},
    }


def _diagnostics(drawn, columns: dict) -> dict:
    """What posteriordb stores of draws, for each parameter or each chain; of kept draws."""
    az, stats = arviz(), drawn.sample_stats
    view = np.stack(list(columns.values()), axis=-1)  # (chains, draws, parameters)
    data = az.convert_to_dataset({"view": view})
    chains = [
        energies(diverging, energy)
        for diverging, energy in zip(stats["diverging"].values, stats["energy"].values, strict=True)
    ]
    return {
        "diagnostic_information": {"names": list(columns)},
        "ndraws": view.shape[0] * view.shape[1],
        "nchains": view.shape[0],
        "effective_sample_size_bulk": az.ess(data, method="bulk")["view"].values.tolist(),
        "effective_sample_size_tail": az.ess(data, method="tail")["view"].values.tolist(),
        "r_hat": az.rhat(data)["view"].values.tolist(),
        "divergent_transitions": [chain["divergences"] for chain in chains],
        "expected_fraction_of_missing_information": [chain["bfmi"] for chain in chains],
        "mean_lag1_ac": lag_one(view).tolist(),
    }


def _checks(found: dict) -> dict:
    """Which of posteriordb's checks the draws pass, under its names."""
    sizes = found["effective_sample_size_bulk"] + found["effective_sample_size_tail"]
    spread = 4 * np.sqrt(7 * found["ndraws"])  # four standard deviations, by its R package
    return {
        "ndraws_is_10k": found["ndraws"] == DB_DRAWS,
        "nchains_is_gte_4": found["nchains"] >= DB_CHAINS,
        "ess_within_bounds": all(abs(size - found["ndraws"]) <= spread for size in sizes),
        "r_hat_below_1_01": max(found["r_hat"]) <= DB_RHAT,
        "efmi_above_0_2": min(found["expected_fraction_of_missing_information"]) >= DB_BFMI,
        "abs_mean_lag1_ac_below_0_05": max(found["mean_lag1_ac"]) <= DB_LAG1,
        "no_divergent_transitions": sum(found["divergent_transitions"]) == 0,
    }


def _comments(attrs) -> str:
    return (
        "Drawn by NumPyro's NUTS from the same density. Accepted by what relabelling cannot change "
        "(outputs, log joint density, noise): "
        f"R-hat {attrs['rhat']:.4f}, bulk ESS {attrs['ess_bulk']:.0f}, tail ESS "
        f"{attrs['ess_tail']:.0f}. Before thinning, {attrs['divergences']} divergences and "
        f"E-FMI of at least {attrs['bfmi']:.2f}. Made by {attrs['command']} of symvi."
    )


def _write_json(path: Path, content) -> None:
    files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_zip(path: Path, content) -> None:
    """`content` as JSON, in an archive beside `path` that holds the one file `path`."""
    text = json.dumps(content, allow_nan=False)
    with files.whole_file(f"{path}.zip") as partial, zipfile.ZipFile(partial, "w") as archive:
        member = zipfile.ZipInfo(path.name, EARLIEST)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o644 << 16
        archive.writestr(member, text)
