"""Variational posteriors over named weights."""

from symvi.posteriors.mean_field import MeanField, UnitGaussians, log_unit_densities
from symvi.posteriors.protocol import Posterior
from symvi.posteriors.unit_normal import UnitNormal

__all__ = ["MeanField", "Posterior", "UnitGaussians", "UnitNormal", "log_unit_densities"]
