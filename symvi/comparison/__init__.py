"""How far each approximation is from the truth."""

from symvi.comparison.distance import function_distance
from symvi.comparison.importance import importance_weights, loo, pareto_khat
from symvi.comparison.predictive import (
    calibration_error,
    expected_calibration_error,
    held_out,
    pit,
    point_error,
    predictive_mean,
)
from symvi.comparison.scores import coverage, crps
from symvi.comparison.table import Comparison, compare

__all__ = [
    "Comparison",
    "calibration_error",
    "compare",
    "coverage",
    "crps",
    "expected_calibration_error",
    "function_distance",
    "held_out",
    "importance_weights",
    "loo",
    "pareto_khat",
    "pit",
    "point_error",
    "predictive_mean",
]
