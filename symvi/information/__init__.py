"""The orbit information I(g; w), and its bounds."""

from symvi.information.core import (
    orbit_information,
    pairwise_bounds,
    pairwise_objective,
    pointwise,
    pointwise_exact,
    pointwise_guided,
    pointwise_infonce,
)

__all__ = [
    "orbit_information",
    "pairwise_bounds",
    "pairwise_objective",
    "pointwise",
    "pointwise_exact",
    "pointwise_guided",
    "pointwise_infonce",
]
