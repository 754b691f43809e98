"""Scores of predictions that are given as draws of new data, in any unit.

Predictions made on a transformed scale are brought back to that of the data, draw by draw, before
they are scored: quantiles go along, means do not.
"""

from __future__ import annotations

import numpy as np

from symvi.checks import expected, fraction
from symvi.draws import finite_numbers
from symvi.estimates import Estimate


def crps(predicted, y) -> Estimate:
    """The mean continuous ranked probability score: a distance between a prediction and what came,
    in the unit of y; smaller is better.

    For one number it is E|X - y| - E|X - X'| / 2, where X and X' are independent draws of the
    prediction (Gneiting and Raftery 2007): the absolute error of a prediction without spread.
    Both means are estimated without bias. std_error is over the rows of y.

    Parameters
    ----------
    predicted : array ``(num, N, ...)``
        At least 2 draws of new data, as :meth:`symvi.Fit.predictive` gives them.
    y : array ``(N, ...)``
        What came.

    Raises
    ------
    ValueError
        Shapes that do not fit, fewer than 2 draws, or numbers that are not finite.
    """
    predicted, y = _checked(predicted, y)
    num = len(predicted)
    error = np.abs(predicted - y).mean(axis=0)
    # the sum over pairs of |X - X'|: the i-th smallest is added i - 1 times, taken away num - i
    ranks = 2 * np.arange(1, num + 1) - num - 1
    pairs = np.tensordot(ranks, np.sort(predicted, axis=0), axes=1)
    return _over_rows(error - pairs / (num * (num - 1)))


def coverage(predicted, y, level: float = 0.9) -> Estimate:
    """The share of y inside the central intervals of the predictions that hold `level`.

    Near `level` where predictions are calibrated. std_error is over the rows of y, as if they were
    independent.

    Parameters
    ----------
    predicted, y
        As in :func:`crps`.
    level : float
        The share of the draws inside each interval, between 0 and 1.

    Raises
    ------
    ValueError
        As :func:`crps`, or a level outside (0, 1).
    """
    level = fraction("level", level)
    predicted, y = _checked(predicted, y)
    low, high = np.quantile(predicted, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return _over_rows(((low <= y) & (y <= high)).astype(float))


def _checked(predicted, y) -> tuple[np.ndarray, np.ndarray]:
    predicted = finite_numbers("predicted", predicted).astype(float)
    y = finite_numbers("y", y).astype(float)
    if predicted.ndim == 0 or len(predicted) < 2 or y.ndim == 0 or y.size == 0:
        got = f"shapes {predicted.shape} and {y.shape}"
        raise expected("predicted", "at least 2 draws of each y", got, "draw more")
    if predicted.shape[1:] != y.shape:
        wanted = f"shape (num, {', '.join(map(str, y.shape))}), as y has {y.shape}"
        raise expected("predicted", wanted, predicted.shape, "put draws on the first axis")
    return predicted, y


def _over_rows(scores) -> Estimate:
    """The mean of ``(N, ...)`` scores, with its standard error over rows."""
    rows = scores.reshape(len(scores), -1).mean(axis=1)
    std_error = rows.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.inf
    return Estimate(float(rows.mean()), float(std_error), "approximate")
