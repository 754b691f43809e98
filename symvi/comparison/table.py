"""One table for all approximations of a posterior, and each one's draws as ArviZ reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from symvi.checks import described, expected, positive_int, seed_to_key
from symvi.comparison.distance import function_distance
from symvi.comparison.importance import (
    MAX_KHAT,
    MIN_TAIL_DRAWS,
    importance_weights,
    loo,
    pareto_khat,
    relative_efficiency,
)
from symvi.comparison.predictive import calibration_error, held_out, mean_functions, point_error
from symvi.draws import check_draws, check_pairs, inference_data, joined
from symvi.estimates import Estimate
from symvi.models import BNN
from symvi.posteriors.protocol import as_measurable, is_posterior
from symvi.vi.objective import elbo

if TYPE_CHECKING:
    from arviz import InferenceData
    from pandas import DataFrame

COLUMNS = ("method", "quantity", "value", "std_error", "kind", "reliable")
DISTANCE = "distance to the reference"


class Comparison(NamedTuple):
    """What :func:`symvi.compare` returns.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns method, quantity, value, std_error, kind and reliable; one row for each number.
        `reliable` is False where k-hat above 0.7 says that importance weights cannot be trusted.
    inference_data : dict
        Method name to the :class:`arviz.InferenceData` of the draws that the rows are about: groups
        posterior, observed_data, constant_data; log_likelihood where the draws were given as draws
        of the posterior, so that ``arviz.loo`` gives the row LOO. Draws of an approximation with a
        density have no log_likelihood: ``arviz.loo`` would take them for draws of the posterior,
        where the row LOO is corrected by importance weights. NUTS keeps its chains and its
        sample_stats.
    """

    table: DataFrame
    inference_data: dict


def compare(
    bnn: BNN,
    methods: dict,
    x,
    y,
    x_test,
    y_test,
    *,
    reference=None,
    log_evidence: Estimate | None = None,
    num: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Put approximations of one posterior side by side.

    Parameters
    ----------
    methods : dict
        Name to a posterior (:class:`symvi.MeanField`, :class:`symvi.UnitNormal`,
        :class:`symvi.Symmetrized`, one of :mod:`symvi.baselines`, or your own with ``sample`` and
        ``log_prob``, see :class:`symvi.posteriors.Posterior`), what :func:`symvi.fit` returns, an
        InferenceData of :func:`symvi.nuts`, or a dict of draws ``(num, *shape)``.
    x, y, x_test, y_test : arrays
        Training and held-out data.
    reference : InferenceData, optional
        Draws of the true posterior, for the function-space distance.
    log_evidence : Estimate, optional
        From :func:`symvi.log_evidence`; gives the exact KL divergence of every posterior.
    num : int
        Draws taken of each method, at least 100; of chains, evenly spaced and as many of each.

    Returns
    -------
    Comparison
        Quantities: held-out log density (nats a point); the error that the likelihood names (RMSE,
        or accuracy for labels); calibration error, left out where the likelihood's `calibration` is
        None; LOO (nats, with its worst k-hat), left out below 100 draws; for posteriors, ELBO,
        k-hat and KL to the posterior (log evidence minus ELBO, nats); with a reference, distance to
        it (sliced Wasserstein-2 of E[y | x, w] at the held-out inputs: outputs, or probabilities
        for labels) and, as method "reference", the distance between its two halves: what sampling
        alone gives. A posterior with a ``model`` of its own, as linearised Laplace, predicts by
        that, and its distance is that of these functions; LOO and the rows of its density are about
        `bnn`.

    Raises
    ------
    ValueError
        No methods, draws of another model, or a symmetrized posterior whose density cannot be
        summed.
    """
    num = positive_int("num", num, MIN_TAIL_DRAWS)
    _check_tables(methods, log_evidence)
    train = check_pairs(bnn, x, y)
    x_test, y_test = check_pairs(bnn, x_test, y_test)
    # the same keys for all methods: the ELBOs of q and of its symmetrized version are paired
    keys = jax.random.split(seed_to_key(seed))
    rows, made, halves = [], {}, None
    if reference is not None:
        halves = _halves(bnn, reference, x_test, num)
        rows.append(("reference", *_row(DISTANCE, function_distance(*halves, seed=seed))))
    for name, method in methods.items():
        predicts = bnn
        if is_posterior(method):
            q = as_measurable(method)
            predicts = _predictive_model(bnn, q)
            taken = _from_density(bnn, q, *train, num, keys, log_evidence)
        else:
            taken = _from_samples(bnn, method, *train, num)
        predicted = _predictions(predicts, taken.draws, x_test, y_test)
        found = taken.about_density + predicted + taken.loo
        if halves is not None:
            functions = _functions(predicts, taken.draws, x_test)
            found.append(_row(DISTANCE, function_distance(functions, halves[0], seed=seed)))
        rows += [(name, *row) for row in found]
        made[name] = taken.data
    import pandas as pd

    return Comparison(pd.DataFrame(rows, columns=list(COLUMNS)), made)


def _check_tables(methods, log_evidence) -> None:
    if not isinstance(methods, Mapping) or not methods:
        wanted = "a dict from names to posteriors or draws, at least one"
        remedy = "pass for example {'mean field': fit.posterior}"
        raise expected("methods", wanted, described(methods), remedy)
    if log_evidence is not None and not isinstance(log_evidence, Estimate):
        remedy = "pass what symvi.log_evidence returns"
        raise expected("log_evidence", "an Estimate", described(log_evidence), remedy)


def _predictive_model(bnn: BNN, q) -> BNN:
    """What draws of `q` predict by: the model that it brings, or `bnn`."""
    own = getattr(q, "model", None)
    if own is None:
        return bnn
    if not isinstance(own, BNN) or own.shapes != bnn.shapes:
        remedy = "leave it out where the network's own functions are meant"
        raise expected("q.model", "a BNN with the parameters of bnn", described(own), remedy)
    return own


def _row(quantity, number: Estimate, reliable: bool = True) -> tuple:
    return (quantity, *number, reliable)


class _Taken(NamedTuple):
    """Draws of one method, the rows of its density and of LOO, and what ArviZ is to read."""

    draws: dict
    about_density: list
    loo: list
    data: InferenceData


def _from_density(bnn, q, x, y, num, keys, log_evidence) -> _Taken:
    draws, weights = importance_weights(bnn, q, x, y, num=num, key=keys[0])
    bound = elbo(bnn, q, x, y, key=keys[1])
    khat = pareto_khat(weights)
    rows = [
        _row("ELBO", bound),
        _row("k-hat", Estimate(khat, 0.0, "approximate"), khat <= MAX_KHAT),
    ]
    if log_evidence is not None:
        divergence = log_evidence.value - bound.value
        error = float(np.hypot(log_evidence.std_error, bound.std_error))
        rows.append(_row("KL to the posterior", Estimate(divergence, error, "approximate")))
    data = inference_data(bnn, draws, x, y)
    terms = data.log_likelihood["y"].values[0]
    del data.log_likelihood  # of draws of q, which arviz.loo would take for the posterior's
    return _Taken(draws, rows, _loo_rows(terms, weights), data)


def _from_samples(bnn, samples, x, y, num) -> _Taken:
    draws, batch = check_draws(bnn, samples)
    if len(batch) == 1:
        draws = {name: value[None] for name, value in draws.items()}
        batch = (1, *batch)
    kept = _evenly(batch[1], max(num // batch[0], 1))
    data = inference_data(bnn, {name: value[:, kept] for name, value in draws.items()}, x, y)
    if hasattr(samples, "sample_stats"):
        stats = samples.sample_stats.isel(draw=kept)
        data.add_groups(sample_stats=stats.assign_coords(draw=np.arange(len(kept))))
    terms = data.log_likelihood["y"].values
    rows = _loo_rows(terms.reshape(-1, terms.shape[-1]), None, relative_efficiency(data))
    return _Taken(joined(bnn, check_draws(bnn, data)[0]), [], rows, data)


def _evenly(total, num):
    """At most `num` of the numbers below `total`, evenly spaced."""
    return np.linspace(0, total - 1, min(num, total)).astype(int)


def _loo_rows(terms, weights, reff=1.0) -> list:
    if len(terms) < MIN_TAIL_DRAWS:
        return []
    estimate, worst = loo(terms, weights, reff=reff)
    reliable = worst <= MAX_KHAT
    worst = Estimate(worst, 0.0, "approximate")
    return [_row("LOO", estimate, reliable), _row("LOO worst k-hat", worst, reliable)]


def _predictions(bnn, draws, x, y) -> list:
    rows = [
        _row("held-out log density", held_out(bnn, draws, x, y)),
        _row(bnn.likelihood.error_name, point_error(bnn, draws, x, y)),
    ]
    if bnn.likelihood.calibration is not None:
        rows.append(_row("calibration error", calibration_error(bnn, draws, x, y)))
    return rows


def _functions(bnn, draws, x):
    """What draws predict at all inputs: ``(num, m)``."""
    values = mean_functions(bnn, draws, x)
    return values.reshape(len(values), -1)


def _halves(bnn, reference, x, num):
    """The functions of `num` draws of the first half of the chains, and of `num` of the second."""
    draws, batch = check_draws(bnn, reference)
    if len(batch) != 2 or batch[0] < 2:
        remedy = "pass an InferenceData of nuts or reference_posterior"
        raise expected("reference", "at least 2 chains", f"batch shape {batch}", remedy)
    middle = batch[0] // 2
    halves = []
    for part in (slice(None, middle), slice(middle, None)):
        rows = joined(bnn, {name: value[part] for name, value in draws.items()})
        kept = _evenly(len(next(iter(rows.values()))), num)
        halves.append(_functions(bnn, {name: value[kept] for name, value in rows.items()}, x))
    return tuple(halves)
