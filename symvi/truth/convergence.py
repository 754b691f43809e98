"""Has a sampler converged? Asked three times: of the raw weights, of the aligned weights, and of the functions.

Under symmetry, chains sit in different copies of a mode. R-hat of raw weights is then far from 1 although nothing is wrong
with the draws; functions, and weights brought into one copy, can tell (Sommer et al. 2024).
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd

from symvi.alignment import align
from symvi.draws import check_draws, log_joints, outputs, posterior_draws
from symvi.likelihoods import NOISE
from symvi.models import BNN
from symvi.truth.nuts import LOW_BFMI

MIN_DRAWS = 4  # of a chain: R-hat splits each in two
MAX_RHAT, MIN_ESS = 1.01, 400.0  # what posterior databases ask of reference draws
MAX_INPUTS = 50  # inputs at which functions are followed
VIEWS = ("weights", "aligned", "functions")


def function_space(bnn: BNN, draws: dict, x, y) -> np.ndarray:
    """What a relabelling of units cannot change, by draw: shape ``(*batch, m)``.

    The outputs at up to 50 rows of `x`, evenly spaced; the log joint density of the data; the log noise where inferred.
    """
    rows = np.asarray(x)[np.linspace(0, len(x) - 1, min(MAX_INPUTS, len(x))).astype(int)]
    values = outputs(bnn, draws, rows)
    columns = [values.reshape(*values.shape[:-2], -1), log_joints(bnn, draws, x, y)[..., None]]
    return np.concatenate(
        [*columns, *([np.asarray(draws[NOISE])[..., None]] if NOISE in draws else [])], axis=-1
    )


def aligned(bnn: BNN, draws: dict, x, y) -> dict:
    """`draws` with the units of each brought nearest to the units of the draw of highest log joint density."""
    joint = log_joints(bnn, draws, x, y)
    best = np.unravel_index(np.argmax(joint), joint.shape)
    return align(draws, {name: value[best] for name, value in draws.items()}, bnn.symmetry)


def convergence(bnn: BNN, drawn: az.InferenceData, x, y) -> pd.DataFrame:
    """R-hat and effective sample sizes in three views: raw weights, aligned weights, functions.

    Parameters
    ----------
    drawn : InferenceData
        From :func:`symvi.nuts`, with at least 2 chains of 4 draws.

    Returns
    -------
    pandas.DataFrame
        One row a view, indexed by weights, aligned and functions. Columns: quantities (their number), rhat (the largest
        rank-normalised split R-hat), ess_bulk and ess_tail (the smallest effective sample sizes) (Vehtari et al. 2021).

    Raises
    ------
    ValueError
        Too few chains or draws, draws of another model, or draws that are not finite.
    """
    draws, batch = check_draws(bnn, posterior_draws(drawn))
    if batch[0] < 2 or batch[1] < MIN_DRAWS:
        raise ValueError(
            f"convergence: expected at least 2 chains of {MIN_DRAWS} draws for R-hat, got {batch[0]} of {batch[1]}; draw longer, or more chains"
        )
    views = (_flat(draws), _flat(aligned(bnn, draws, x, y)), function_space(bnn, draws, x, y))
    return pd.DataFrame([_summary(view) for view in views], index=pd.Index(VIEWS, name="view"))


def _flat(draws):
    return np.concatenate(
        [value.reshape(*value.shape[:2], -1) for value in draws.values()], axis=-1
    )


def _summary(view):
    moving = (
        np.ptp(view, axis=(0, 1)) > 0
    )  # a quantity that is the same in all draws says nothing, and has no R-hat
    view = view[..., moving] if moving.any() else view
    data = az.convert_to_dataset({"view": view})
    low = {
        f"ess_{kind}": float(az.ess(data, method=kind)["view"].min()) for kind in ("bulk", "tail")
    }
    return {"quantities": view.shape[-1], "rhat": float(az.rhat(data)["view"].max()), **low}


def energies(diverging, energy) -> dict:
    """The divergences of one chain and its E-BFMI, from the arrays ``(draws,)`` of NUTS."""
    return {"divergences": int(np.sum(diverging)), "bfmi": float(az.bfmi(np.asarray(energy)).min())}


def acceptance(bnn: BNN, drawn: az.InferenceData, x, y, full=None) -> dict:
    """Whether draws may serve as a reference, and the diagnostics that say so.

    Accepted where functions have rank-normalised R-hat < 1.01 and bulk and tail effective sample sizes > 400, no draw
    diverged, and E-BFMI > 0.3 in every chain.

    Parameters
    ----------
    full : sequence of dict, optional
        divergences and bfmi of each chain, where `drawn` is thinned: divergences among the draws left out count, and the
        E-BFMI of thinned energies would be too good.

    Returns
    -------
    dict
        rhat, ess_bulk, ess_tail (of functions), divergences, bfmi, accepted.
    """
    row = convergence(bnn, drawn, x, y).loc["functions"]
    full = (
        list(
            map(
                energies,
                drawn.sample_stats["diverging"].values,
                drawn.sample_stats["energy"].values,
            )
        )
        if full is None
        else full
    )
    divergences, bfmi = (
        int(sum(c["divergences"] for c in full)),
        float(min(c["bfmi"] for c in full)),
    )
    good = (
        row["rhat"] < MAX_RHAT
        and min(row["ess_bulk"], row["ess_tail"]) > MIN_ESS
        and divergences == 0
        and bfmi > LOW_BFMI
    )
    return {
        "rhat": float(row["rhat"]),
        "ess_bulk": float(row["ess_bulk"]),
        "ess_tail": float(row["ess_tail"]),
        "divergences": divergences,
        "bfmi": bfmi,
        "accepted": bool(good),
    }
