"""Variational inference: the evidence lower bound, its maximisation, and what a fit returns."""

from symvi.vi.guide import AutoSymmetrizedNormal
from symvi.vi.objective import elbo
from symvi.vi.record import Fit, Monitor, load, predict
from symvi.vi.training import fit

__all__ = ["AutoSymmetrizedNormal", "Fit", "Monitor", "elbo", "fit", "load", "predict"]
