"""How a number is reported: its value, its Monte Carlo error, and what it bounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats

KINDS = ("exact", "lower", "upper", "approximate")


class Estimate(NamedTuple):
    """A number in nats with its standard error.

    Attributes
    ----------
    value, std_error : float
        Mean and Monte Carlo standard error, in nats. ``std_error`` is 0 for closed forms.
    kind : str
        What the expectation of the estimator is: ``"exact"`` (the quantity itself), ``"lower"`` or
        ``"upper"`` (a bound on it), or ``"approximate"`` (neither).
    """

    value: float
    std_error: float
    kind: str

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.std_error:.2g} ({self.kind})"


class Bounds(NamedTuple):
    """A quantity between two estimates: `lower` bounds it from below and `upper` from above, each in expectation."""

    lower: Estimate
    upper: Estimate

    def __str__(self) -> str:
        return f"[{self.lower.value:.4g} ± {self.lower.std_error:.2g}, {self.upper.value:.4g} ± {self.upper.std_error:.2g}]"


def from_samples(values, kind: str) -> Estimate:
    """The mean of independent draws `values` of shape ``(num,)`` with its standard error."""
    values = np.asarray(values, dtype=float)
    std_error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("inf")
    return Estimate(float(values.mean()), float(std_error), kind)


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(differences, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of `differences`, one per independent seed or restart, shape ``(num,)``.

    For a paired comparison, pass the differences of the two methods on the same seeds. It assumes that they are
    independent and about normal. Needs at least 2 finite values.
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or values.size < 2 or not np.all(np.isfinite(values)):
        raise ValueError(
            f"differences: expected at least 2 finite numbers, got shape {values.shape} with {np.isfinite(values).sum()} finite; pass one number for each independent seed"
        )
    if not 0 < level < 1:
        raise ValueError(
            f"level: expected a number between 0 and 1, got {level!r}; pass for example level=0.95"
        )
    mean = values.mean()
    half = (
        scipy.stats.t.ppf((1 + level) / 2, values.size - 1)
        * values.std(ddof=1)
        / np.sqrt(values.size)
    )
    return Interval(float(mean), float(mean - half), float(mean + half))
