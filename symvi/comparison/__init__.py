"""How far each approximation is from the truth."""

from symvi.comparison.table import *  # noqa: F403
