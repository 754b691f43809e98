"""How a number is reported: its value, its Monte Carlo error, and what it bounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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


def from_samples(values, kind: str) -> Estimate:
    """The mean of independent draws `values` of shape ``(num,)`` with its standard error."""
    values = np.asarray(values, dtype=float)
    std_error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("inf")
    return Estimate(float(values.mean()), float(std_error), kind)
