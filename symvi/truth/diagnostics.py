"""Has a sampler converged? Asked of the raw weights, of the aligned weights, and of the functions.

Under symmetry, chains sit in different copies of a mode. R-hat of raw weights is then far from 1
although nothing is wrong with the draws; functions, and weights brought into one copy, can tell
(Sommer et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from symvi.alignment import align
from symvi.checks import arviz, described, expected
from symvi.draws import check_draws, check_pairs, log_joints, outputs
from symvi.models import BNN

if TYPE_CHECKING:
    from arviz import InferenceData
    from pandas import DataFrame

MIN_DRAWS = 4  # of a chain: R-hat splits each in two
MAX_RHAT, MIN_ESS = 1.01, 400.0  # what posterior databases ask of reference draws
LOW_BFMI = 0.3  # below it the chains move too slowly between energies (Betancourt 2017)
MAX_INPUTS = 50  # inputs at which functions are followed
VIEWS = ("weights", "aligned", "functions")


def function_space(bnn: BNN, draws, x, y) -> np.ndarray:
    """What a relabelling of units cannot change, by draw: shape ``(*batch, m)``.

    The outputs at up to 50 rows of `x`, evenly spaced; the log joint density of the data; and the
    likelihood's own parameters (the log noise), where it has some.
    """
    x, y = check_pairs(bnn, x, y)
    draws, batch = check_draws(bnn, draws)
    rows = np.asarray(x)[np.linspace(0, len(x) - 1, min(MAX_INPUTS, len(x))).astype(int)]
    columns = [outputs(bnn, draws, rows), log_joints(bnn, draws, x, y)]
    columns += [draws[name] for name in bnn.shapes if name not in bnn.net.shapes]
    return np.concatenate([column.reshape(*batch, -1) for column in columns], axis=-1)


def aligned(bnn: BNN, draws, x, y) -> dict:
    """`draws` with the units of each brought nearest to those of the draw of highest log joint."""
    draws, _ = check_draws(bnn, draws)
    joint = log_joints(bnn, draws, x, y)
    best = np.unravel_index(np.argmax(joint), joint.shape)
    reference = {name: value[best] for name, value in draws.items()}
    return align(draws, reference, bnn.symmetry)


def convergence(bnn: BNN, drawn: InferenceData, x, y) -> DataFrame:
    """R-hat and effective sample sizes in three views: raw weights, aligned weights, functions.

    Parameters
    ----------
    drawn : InferenceData or dict of arrays ``(chains, draws, *shape)``
        From :func:`symvi.nuts`, with at least 2 chains of 4 draws.

    Returns
    -------
    pandas.DataFrame
        One row a view, indexed by weights, aligned and functions. Columns: quantities (their
        number), rhat (the largest rank-normalised split R-hat), ess_bulk and ess_tail (the smallest
        effective sample sizes) (Vehtari et al. 2021).

    Raises
    ------
    ValueError
        Too few chains or draws, draws of another model, or draws that are not finite.
    """
    import pandas as pd

    draws, batch = check_draws(bnn, drawn)
    if len(batch) != 2 or batch[0] < 2 or batch[1] < MIN_DRAWS:
        wanted = f"at least 2 chains of {MIN_DRAWS} draws for R-hat"
        got = " of ".join(map(str, batch))
        raise expected("convergence", wanted, got, "draw longer, or more chains")
    views = (
        _flat(draws),
        _flat(aligned(bnn, draws, x, y)),
        function_space(bnn, draws, x, y),
    )
    return pd.DataFrame([summary(view) for view in views], index=pd.Index(VIEWS, name="view"))


def _flat(draws):
    columns = [value.reshape(*value.shape[:2], -1) for value in draws.values()]
    return np.concatenate(columns, axis=-1)


def summary(view: np.ndarray) -> dict:
    """The largest R-hat and the smallest effective sample sizes of ``(chains, draws, m)`` numbers.

    A quantity that is the same in all draws says nothing and has no R-hat: it is left out.
    """
    az = arviz()
    moving = np.ptp(view, axis=(0, 1)) > 0
    view = view[..., moving] if moving.any() else view
    data = az.convert_to_dataset({"view": view})
    with np.errstate(divide="ignore", invalid="ignore"):  # chains may stand still
        rhat = az.rhat(data)["view"].max()
    return {
        "quantities": view.shape[-1],
        "rhat": float(rhat),
        "ess_bulk": float(az.ess(data, method="bulk")["view"].min()),
        "ess_tail": float(az.ess(data, method="tail")["view"].min()),
    }


def energies(diverging, energy) -> dict:
    """The divergences of one chain and its E-BFMI, from the arrays ``(draws,)`` of NUTS."""
    bfmi = arviz().bfmi(np.asarray(energy))
    return {"divergences": int(np.sum(diverging)), "bfmi": float(bfmi.min())}


def acceptance(bnn: BNN, drawn: InferenceData, x, y, full=None) -> dict:
    """Whether draws may serve as a reference, and the diagnostics that say so.

    Accepted where functions have rank-normalised R-hat < 1.01 and bulk and tail effective sample
    sizes > 400, no draw diverged, and E-BFMI > 0.3 in every chain.

    Parameters
    ----------
    drawn : InferenceData
        With the groups posterior and sample_stats (or, with `full`, posterior alone).
    full : sequence of dict, optional
        divergences and bfmi of each chain, where `drawn` is thinned: divergences among the draws
        left out count, and the E-BFMI of thinned energies would be too good.

    Returns
    -------
    dict
        rhat, ess_bulk, ess_tail (of functions), divergences, bfmi, accepted.

    Raises
    ------
    ValueError
        As for :func:`symvi.convergence`; no sample_stats, or `full` in another form.
    """
    row = convergence(bnn, drawn, x, y).loc["functions"]
    chains = _energies_of_chains(drawn) if full is None else list(full)
    if not chains or not all(_is_energies(chain) for chain in chains):
        wanted = "a dict with divergences and bfmi for each chain"
        raise expected("full", wanted, described(full), "pass what energies() returns")
    divergences = sum(int(chain["divergences"]) for chain in chains)
    bfmi = min(float(chain["bfmi"]) for chain in chains)
    mixed = row["rhat"] < MAX_RHAT and min(row["ess_bulk"], row["ess_tail"]) > MIN_ESS
    return {
        "rhat": float(row["rhat"]),
        "ess_bulk": float(row["ess_bulk"]),
        "ess_tail": float(row["ess_tail"]),
        "divergences": divergences,
        "bfmi": bfmi,
        "accepted": bool(mixed and divergences == 0 and bfmi > LOW_BFMI),
    }


def _is_energies(chain) -> bool:
    return isinstance(chain, Mapping) and {"divergences", "bfmi"} <= set(chain)


def _energies_of_chains(drawn) -> list:
    stats = getattr(drawn, "sample_stats", None)
    if stats is None or not {"diverging", "energy"} <= set(stats.data_vars):
        wanted = "sample_stats with diverging and energy"
        remedy = "pass what symvi.nuts returns, or full"
        raise expected("drawn", wanted, described(drawn), remedy)
    pairs = zip(stats["diverging"].values, stats["energy"].values, strict=True)
    return [energies(diverging, energy) for diverging, energy in pairs]
