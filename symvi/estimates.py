"""How a number is reported: its value, its Monte Carlo error, and what it bounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from symvi.checks import described, expected, fraction

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
    """A quantity between two estimates, bounds of it in expectation: `lower` and `upper`."""

    lower: Estimate
    upper: Estimate

    def __str__(self) -> str:
        lower = f"{self.lower.value:.4g} ± {self.lower.std_error:.2g}"
        upper = f"{self.upper.value:.4g} ± {self.upper.std_error:.2g}"
        return f"[{lower}, {upper}]"


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


def _as_floats(differences) -> np.ndarray:
    """In double precision whatever JAX's is."""
    try:
        return np.asarray(differences, dtype=float)
    except (TypeError, ValueError) as error:
        got = described(differences)
        remedy = "pass one number for each independent seed"
        raise expected("differences", "at least 2 finite numbers", got, remedy) from error


def mean_interval(differences, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of `differences`, shape ``(num,)``, one per independent seed.

    For a paired comparison, pass the differences of the two methods on the same seeds. It assumes
    that they are independent and about normal.

    Raises
    ------
    ValueError
        Fewer than 2 numbers, NaN or infinity, or a level that is not between 0 and 1.
    """
    values = _as_floats(differences)
    if values.ndim != 1 or values.size < 2 or not np.all(np.isfinite(values)):
        got = f"shape {values.shape} with {np.isfinite(values).sum()} finite"
        remedy = "pass one number for each independent seed"
        raise expected("differences", "at least 2 finite numbers", got, remedy)
    level = fraction("level", level, example=0.95)

    from scipy.stats import t as student  # slow to import

    mean = values.mean()
    std_error = values.std(ddof=1) / np.sqrt(values.size)
    half = student.ppf((1 + level) / 2, values.size - 1) * std_error
    return Interval(float(mean), float(mean - half), float(mean + half))
