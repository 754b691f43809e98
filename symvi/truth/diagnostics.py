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
from symvi.checks import arviz, as_numbers, described, expected
from symvi.draws import check_draws, check_pairs, log_joints, log_likelihoods, outputs
from symvi.models import BNN

if TYPE_CHECKING:
    from arviz import InferenceData
    from pandas import DataFrame

MIN_DRAWS = 4  # of a chain: R-hat splits each in two
MAX_RHAT, MIN_ESS = 1.01, 400.0  # what Vehtari et al. (2021) ask; in function space, our own choice
LOW_BFMI = 0.3  # below it the chains move too slowly between energies (Betancourt 2017)
MAX_SATURATED = 0.05  # share of draws at the limit of the tree's depth
MAX_INPUTS = 50  # inputs at which functions are followed
STRETCH = 3.0  # inputs beyond the data reach over so many times their range
VIEWS = ("weights", "aligned", "functions")
NOT_RECORDED = "not recorded"
# The rule of posteriordb's R package.
DB_DRAWS, DB_CHAINS, DB_RHAT, DB_LAG1, DB_BFMI = 10_000, 4, 1.01, 0.05, 0.2


def function_space(bnn: BNN, draws, x, y) -> np.ndarray:
    """What a relabelling of units cannot change, by draw: shape ``(*batch, m)``.

    The outputs at up to 50 rows of `x`, evenly spaced; the log joint density of the data; and the
    likelihood's own parameters (the log noise), where it has some.
    """
    x, y = check_pairs(bnn, x, y)
    draws, batch = check_draws(bnn, draws)
    columns = [outputs(bnn, draws, some_rows(x)), log_joints(bnn, draws, x, y)]
    columns += [draws[name] for name in bnn.shapes if name not in bnn.net.shapes]
    return np.concatenate([column.reshape(*batch, -1) for column in columns], axis=-1)


def some_rows(x) -> np.ndarray:
    """At most 50 rows of `x`, evenly spaced."""
    x = np.asarray(x)
    return x[np.linspace(0, len(x) - 1, min(MAX_INPUTS, len(x))).astype(int)]


def stretched(x) -> np.ndarray:
    """At most 50 rows of `x`, moved away from the middle of each input to three times its range."""
    x = np.asarray(x)
    middle = (x.max(axis=0) + x.min(axis=0)) / 2
    return middle + STRETCH * (some_rows(x) - middle)


def functions_at(bnn: BNN, draws, x, y, x_new) -> np.ndarray:
    """What functions are at other inputs, by draw: shape ``(*batch, m)``.

    The outputs at all rows of `x_new`, their squares, and the log likelihood of the data x, y.
    """
    draws, batch = check_draws(bnn, draws)
    values = outputs(bnn, draws, x_new).reshape(*batch, -1)
    likelihood = log_likelihoods(bnn, draws, x, y).sum(axis=-1, keepdims=True)
    return np.concatenate([values, values**2, likelihood], axis=-1)


def aligned(bnn: BNN, draws, x, y) -> dict:
    """`draws` with the units of each brought nearest to those of the draw of highest log joint."""
    draws, _ = check_draws(bnn, draws)
    joint = log_joints(bnn, draws, x, y)
    best = np.unravel_index(np.argmax(joint), joint.shape)
    reference = {name: value[best] for name, value in draws.items()}
    return align(draws, reference, bnn.symmetry)


def convergence(bnn: BNN, drawn: InferenceData, x, y, x_new=None) -> DataFrame:
    """R-hat and effective sample sizes in three views: raw weights, aligned weights, functions.

    Parameters
    ----------
    drawn : InferenceData or dict of arrays ``(chains, draws, *shape)``
        From :func:`symvi.nuts`, with at least 2 chains of 4 draws.
    x_new : array ``(num, ...)``, optional
        Held-out inputs. Chains may agree where the data are and not elsewhere, so this adds two
        views: functions at these (up to 50, evenly spaced), and at inputs of the data moved out to
        three times their range. Both follow outputs, their squares, and the log likelihood of the
        data.

    Returns
    -------
    pandas.DataFrame
        One row a view, indexed by weights, aligned and functions (with `x_new` also held-out and
        far). Columns: quantities (their number), rhat (the largest rank-normalised split R-hat),
        ess_bulk and ess_tail (the smallest effective sample sizes) (Vehtari et al. 2021).

    Raises
    ------
    ValueError
        Too few chains or draws, draws of another model, draws that are not finite, or inputs of
        another shape.
    """
    import pandas as pd

    draws = _chains(bnn, drawn)
    views = {
        "weights": _flat(draws),
        "aligned": _flat(aligned(bnn, draws, x, y)),
        "functions": function_space(bnn, draws, x, y),
    }
    if x_new is not None:
        held_out = some_rows(_rows_of_inputs(bnn, x_new))
        views["held-out"] = functions_at(bnn, draws, x, y, held_out)
        views["far"] = functions_at(bnn, draws, x, y, stretched(x))
    return pd.DataFrame(map(summary, views.values()), index=pd.Index(views, name="view"))


def _chains(bnn: BNN, drawn) -> dict:
    """The draws of at least 2 chains of 4, or ValueError."""
    draws, batch = check_draws(bnn, drawn)
    if len(batch) != 2 or batch[0] < 2 or batch[1] < MIN_DRAWS:
        wanted = f"at least 2 chains of {MIN_DRAWS} draws for R-hat"
        got = " of ".join(map(str, batch))
        raise expected("convergence", wanted, got, "draw longer, or more chains")
    return draws


def _rows_of_inputs(bnn: BNN, x_new):
    """`x_new` as at least one row of inputs of `bnn`; ValueError in its name otherwise."""
    remedy = "pass held-out inputs shaped as x"
    x_new = as_numbers("x_new", x_new, remedy)
    try:
        x_new = bnn.check_inputs(x_new)
    except ValueError as error:
        raise ValueError(f"x_new{str(error).removeprefix('x')}") from error
    if len(x_new) == 0:
        raise expected("x_new", "at least one row", f"shape {x_new.shape}", remedy)
    return x_new


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


def saturation(drawn: InferenceData) -> float | str:
    """The share of draws whose trajectory was cut off at the limit of the tree's depth.

    "not recorded" where sample_stats have no n_steps, or no attribute max_tree_depth.
    """
    stats = getattr(drawn, "sample_stats", None)
    if stats is None or "n_steps" not in stats or "max_tree_depth" not in stats.attrs:
        return NOT_RECORDED
    most = 2 ** int(stats.attrs["max_tree_depth"]) - 1
    return float(np.mean(stats["n_steps"].values >= most))


def acceptance(bnn: BNN, drawn: InferenceData, x, y, full=None) -> dict:
    """Whether draws may serve as a reference, and the diagnostics that say so.

    Accepted where functions have rank-normalised R-hat < 1.01 and bulk and tail effective sample
    sizes > 400, no draw diverged, and E-BFMI > 0.3 in every chain. These rules are ours. What
    posteriordb asks of every single weight is in :func:`posteriordb_rule`, and its verdict stands
    beside ours.

    Draws at the limit of the tree's depth are a flag and no reason to refuse: a trajectory that is
    cut off still has the posterior as its target, but draws then depend on each other, which the
    effective sample sizes count.

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
        rhat, ess_bulk, ess_tail (of functions), divergences, bfmi, accepted; saturated, the share
        of kept draws at the limit of the tree's depth, or "not recorded"; slow, whether it is known
        to be above 5 %; and posteriordb, whether the draws meet that rule too.

    Raises
    ------
    ValueError
        As for :func:`symvi.convergence`; no sample_stats, or `full` in another form.
    """
    row = convergence(bnn, drawn, x, y).loc["functions"]
    energy = _worst_energies(drawn, full)
    saturated = saturation(drawn)
    mixed = row["rhat"] < MAX_RHAT and min(row["ess_bulk"], row["ess_tail"]) > MIN_ESS
    return {
        "rhat": float(row["rhat"]),
        "ess_bulk": float(row["ess_bulk"]),
        "ess_tail": float(row["ess_tail"]),
        **energy,
        "accepted": bool(mixed and energy["divergences"] == 0 and energy["bfmi"] > LOW_BFMI),
        "saturated": saturated,
        "slow": saturated != NOT_RECORDED and saturated > MAX_SATURATED,
        "posteriordb": posteriordb_rule(bnn, drawn, full)["passes"],
    }


def posteriordb_rule(bnn: BNN, drawn: InferenceData, full=None) -> dict:
    """What posteriordb asks of reference draws by Stan, and whether these draws meet it.

    Exactly 10,000 draws of at least 4 chains; for every parameter R-hat <= 1.01, and the mean over
    chains of the absolute autocorrelation at lag 1 <= 0.05; E-FMI (our E-BFMI) >= 0.2 in every
    chain; no divergence. So its R package checks them (check_reference_posterior_draws in
    stan-dev/posteriordb, as read in 2026); effective sample sizes are recorded there and decide
    nothing, while earlier versions bounded them and asked nothing of the autocorrelation. The
    written definition (Magnusson et al. 2024) says "E-FMI below 0.2", an error by its authors'
    word. Under symmetry R-hat of every weight asks that all chains visit all copies alike.

    Parameters
    ----------
    drawn, full
        As for :func:`acceptance`.

    Returns
    -------
    dict
        draws, chains (their numbers), rhat (the largest of a weight), lag1 (the largest of a weight
        that moves), divergences, bfmi, passes.

    Raises
    ------
    ValueError
        As for :func:`acceptance`.
    """
    view = _flat(_chains(bnn, drawn))
    chains, draws = view.shape[:2]
    found = {
        "draws": chains * draws,
        "chains": chains,
        "rhat": summary(view)["rhat"],
        "lag1": float(lag_one(view).max()),
        **_worst_energies(drawn, full),
    }
    enough = found["draws"] == DB_DRAWS and chains >= DB_CHAINS
    independent = found["rhat"] <= DB_RHAT and found["lag1"] <= DB_LAG1
    well = found["bfmi"] >= DB_BFMI and found["divergences"] == 0
    return {**found, "passes": bool(enough and independent and well)}


def lag_one(view: np.ndarray) -> np.ndarray:
    """The mean over chains of absolute autocorrelations at lag 1, shape ``(m,)``.

    `view` is ``(chains, draws, m)``. A chain that stands still has none and counts as 1.
    """
    centred = view - view.mean(axis=1, keepdims=True)
    products = (centred[:, 1:] * centred[:, :-1]).sum(axis=1)
    squares = np.square(centred).sum(axis=1)
    ratio = np.divide(products, squares, out=np.ones_like(products), where=squares > 0)
    return np.abs(ratio).mean(axis=0)


def _worst_energies(drawn, full) -> dict:
    """All divergences and the smallest E-BFMI of the chains, from `full` where it is given."""
    chains = _energies_of_chains(drawn) if full is None else list(full)
    if not chains or not all(_is_energies(chain) for chain in chains):
        wanted = "a dict with divergences and bfmi for each chain"
        raise expected("full", wanted, described(full), "pass what energies() returns")
    return {
        "divergences": sum(int(chain["divergences"]) for chain in chains),
        "bfmi": min(float(chain["bfmi"]) for chain in chains),
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
