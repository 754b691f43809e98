"""Variational posteriors over named weights."""

from symvi.posteriors.mean_field import MeanField, Symmetrized, log_symmetrized, log_unit_densities
from symvi.posteriors.unit_normal import UnitNormal

__all__ = ["MeanField", "Symmetrized", "UnitNormal", "log_symmetrized", "log_unit_densities"]
