"""Figures that read in light and dark pages, in greyscale and in print."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from cycler import cycler

# Okabe and Ito's colours, ordered so that neighbours differ in lightness too.
COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "black": "#000000", "sky": "#56B4E9", "red": "#D55E00", "green": "#009E73", "purple": "#CC79A7"}


def style() -> None:
    """Set matplotlib's defaults for the book: opaque white, large labels, colours paired with line styles."""
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "font.size": 10.5,
            "axes.labelsize": 10.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "cividis",
            "axes.prop_cycle": cycler(color=list(COLOURS.values())) + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))]),
        }
    )


def band(ax, x, draws, *, label: str, colour: str = "blue", linestyle: str = "-", hatch: str | None = None, level: float = 0.9):
    """Draw the mean of `draws` of shape ``(num, N)`` over `x` of shape ``(N,)``, with the central band of probability `level`.

    A hatch tells two bands apart in greyscale. Returns the line.
    """
    draws, colour = np.asarray(draws), COLOURS.get(colour, colour)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ax.fill_between(x, low, high, facecolor=colour, alpha=0.18, edgecolor=colour, hatch=hatch, linewidth=0.6)
    return ax.plot(x, draws.mean(0), color=colour, linestyle=linestyle, label=f"{label}: mean, {level:.0%} band")[0]
