"""How a number is reported: its value, its Monte Carlo error, and what it bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from symvi.checks import as_numbers, as_scalar, described, expected, fraction, is_concrete, one_of

KINDS = ("exact", "lower", "upper", "approximate")  # what an estimate can be of its quantity
ROUNDING = 1e-9  # a smaller standard error is that of equal draws: rounding


class _EstimateFields(NamedTuple):
    value: float
    std_error: float
    kind: str


class Estimate(_EstimateFields):
    """A number with its standard error: in nats, unless what returns it names another unit.

    Parameters
    ----------
    value, std_error : float
        Mean and standard error, in the same unit. ``std_error`` is 0 for closed forms and
        infinite for a single draw.
    kind : str
        What the expectation of the estimator is: ``"exact"`` (the quantity itself), ``"lower"`` or
        ``"upper"`` (a bound on it), or ``"approximate"`` (neither). An exact estimate with a
        standard error is printed as unbiased.

    Raises
    ------
    ValueError
        If `value` or `std_error` is no number, `std_error` is negative, or `kind` is none of the
        four.
    """

    __slots__ = ()

    def __new__(cls, value, std_error, kind):
        """An estimate of checked values, as Python numbers."""
        number = _as_float("value", value)
        error = _as_float("std_error", std_error)
        if error < 0:
            raise expected("std_error", "a number >= 0", error, "pass 0.0 for a closed form")
        one_of("kind", kind, KINDS)
        return super().__new__(cls, number, error, str(kind))

    def __str__(self) -> str:
        """The value ± its error, and what it is: "unbiased" if it is exact on average only."""
        is_drawn = self.kind == "exact" and self.std_error > 0
        return f"{_short(self)} ({'unbiased' if is_drawn else self.kind})"


class Bounds(NamedTuple):
    """A quantity between two estimates, each a bound in expectation.

    Attributes
    ----------
    lower, upper : Estimate
    """

    lower: Estimate
    upper: Estimate

    def __str__(self) -> str:
        return f"[{_short(self.lower)}, {_short(self.upper)}]"


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def from_samples(values, kind: str) -> Estimate:
    """The mean of independent draws `values` of shape ``(num,)`` with its standard error.

    Raises ValueError unless `values` holds at least one number and `kind` is one of :data:`KINDS`.
    """
    draws = _as_draws("values", values, least=1)
    std_error = _std_error(draws) if draws.size > 1 else float("inf")
    return Estimate(draws.mean(), std_error, kind)


def mean_interval(differences, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of `differences`, one per independent seed or restart.

    For a paired comparison, pass the differences of the two methods on the same seeds. It assumes
    that they are independent and about normal.

    Parameters
    ----------
    differences : array (num,)
        At least 2 finite numbers.
    level : float
        The confidence level, between 0 and 1.

    Raises
    ------
    ValueError
        If `differences` holds other things, or `level` is not between 0 and 1.
    """
    draws = _as_draws("differences", differences, least=2)
    if not np.all(np.isfinite(draws)):
        raise _not_enough("differences", draws, least=2)
    level = fraction("level", level, example=0.95)
    mean = draws.mean()
    half_width = _t_quantile((1 + level) / 2, draws.size - 1) * _std_error(draws)
    return Interval(float(mean), float(mean - half_width), float(mean + half_width))


def _as_float(name: str, value) -> float:
    number = as_scalar(value)
    if number is None:
        raise expected(name, "a number", described(value), "pass one number")
    return float(number)


def _as_draws(name: str, values, least: int) -> np.ndarray:
    if not is_concrete(values):
        got = "a traced value"
        raise expected(name, "numbers", got, "call this outside jit, vmap and grad")
    as_numbers(name, values)
    draws = np.asarray(values, dtype=float)  # in double precision, whatever JAX works in
    if draws.ndim != 1 or draws.size < least:
        raise _not_enough(name, draws, least)
    return draws


def _not_enough(name: str, draws: np.ndarray, least: int) -> ValueError:
    wanted = f"at least {least} finite numbers" if least > 1 else "a row of at least 1 number"
    got = f"shape {draws.shape} with {np.isfinite(draws).sum()} finite"
    return expected(name, wanted, got, "pass one number for each independent seed or draw")


def _std_error(draws: np.ndarray) -> float:
    import scipy.stats  # slow to import

    return float(scipy.stats.sem(draws))


def _t_quantile(probability: float, degrees: int) -> float:
    import scipy.stats

    return float(scipy.stats.t.ppf(probability, degrees))


def _short(estimate: Estimate) -> str:
    decimals = decimals_of(estimate.std_error)
    if decimals is None:
        return f"{estimate.value:.4g} ± {estimate.std_error:.2g}"
    value = round(estimate.value, decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{value:.{decimals}f} ± {estimate.std_error:.{decimals}f}"


def decimals_of(std_error: float) -> int | None:
    """How many decimals show two digits of a standard error; None if it is rounding or infinite."""
    if not ROUNDING < std_error < math.inf:
        return None
    exponent = int(f"{std_error:.1e}".split("e")[1])  # after rounding to two digits
    return max(0, 1 - exponent)
