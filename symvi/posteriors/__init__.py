"""Variational posteriors over named weights."""

from symvi.posteriors.mean_field import MeanField, log_unit_densities
from symvi.posteriors.unit_normal import UnitNormal

__all__ = ["MeanField", "UnitNormal", "log_unit_densities"]
