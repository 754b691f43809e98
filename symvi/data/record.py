"""A data set: inputs and targets in a training and a test part, and the way back to their units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from symvi.checks import as_seed, expected, fraction


class Dataset(NamedTuple):
    """Inputs and targets, with what it takes to get back to the original units.

    raw = standardised * scale + loc.

    Attributes
    ----------
    name : str
    x, y : arrays ``(N, d_in)`` and ``(N, d_out)`` (regression) or ``(N,)`` int (classification)
        The training part.
    x_test, y_test : arrays
        The test part, same scale.
    x_loc, x_scale, y_loc, y_scale : arrays ``(d,)``
        ``x = (raw - x_loc) / x_scale`` and the same for y; 0 and 1 where nothing was rescaled.
    source : str
        Where the data come from.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_loc: np.ndarray
    x_scale: np.ndarray
    y_loc: np.ndarray
    y_scale: np.ndarray
    source: str


def generator(seed) -> np.random.Generator:
    """NumPy's generator for an int seed >= 0; ValueError for anything else."""
    return np.random.default_rng(as_seed(seed))


def split(num: int, test_fraction, seed) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training and of the test part, each in ascending order."""
    numbers = generator(seed)
    share = fraction("test_fraction", test_fraction, example=0.2)
    num_test = round(share * num)
    if not 1 <= num_test <= num - 2:
        wanted = f"at least one test row and two training rows of {num}"
        raise expected("test_fraction", wanted, f"{num_test} test rows", "pass for example 0.2")
    order = numbers.permutation(num)
    return np.sort(order[num_test:]), np.sort(order[:num_test])


def regression(name: str, x, y, test_fraction, seed, source: str) -> Dataset:
    """x ``(N, d_in)`` and y ``(N, d_out)``, split, and standardised by the training part."""
    train, test = split(len(x), test_fraction, seed)
    return standardised(name, x, y, train, test, source)


def standardised(name: str, x, y, train, test, source: str) -> Dataset:
    """x ``(N, d_in)`` and y ``(N, d_out)`` with the row numbers of their two parts, standardised by
    the first."""
    x_loc, x_scale = x[train].mean(axis=0), x[train].std(axis=0)
    y_loc, y_scale = y[train].mean(axis=0), y[train].std(axis=0)
    x, y = (x - x_loc) / x_scale, (y - y_loc) / y_scale
    return Dataset(
        name=name,
        x=x[train],
        y=y[train],
        x_test=x[test],
        y_test=y[test],
        x_loc=x_loc,
        x_scale=x_scale,
        y_loc=y_loc,
        y_scale=y_scale,
        source=source,
    )


def images(name: str, x, y, x_test, y_test, largest: float, source: str) -> Dataset:
    """Images as rows in [0, 1], whose largest raw value was `largest`, with labels."""
    width = x.shape[1]
    return Dataset(
        name=name,
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        x_loc=np.zeros(width),
        x_scale=np.full(width, float(largest)),
        y_loc=np.zeros(1),
        y_scale=np.ones(1),
        source=source,
    )
