"""Figures that read in light and dark pages, in greyscale and in print."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from cycler import cycler

# Okabe and Ito's colours; the first three differ most in lightness, all differ in line style too.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "black": "#000000",
    "sky": "#56B4E9",
    "red": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
}
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


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
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "cividis",
            "axes.prop_cycle": cycler(color=list(COLOURS.values()))
            + cycler(linestyle=list(LINE_STYLES)),
        }
    )


def band(
    ax,
    x,
    draws,
    *,
    label: str,
    colour: str = "blue",
    linestyle: str = "-",
    hatch: str | None = None,
    level: float = 0.9,
):
    """Draw the mean of `draws` over `x`, with the central band that holds `level` of them at each point.

    Parameters
    ----------
    ax : matplotlib axes
    x : array (N,) or (N, 1)
    draws : array (num, N) or (num, N, 1)
        Functions or predictions, one a row.
    label : str
        Name of the method in the legend.
    colour : str
        A name in ``COLOURS`` or any colour that matplotlib knows.
    hatch : str, optional
        A pattern that tells two bands apart in greyscale.
    level : float
        Between 0 and 1.

    Returns
    -------
    matplotlib line
        The mean.

    Raises
    ------
    ValueError
        Shapes that do not fit, or a level outside (0, 1).
    """
    x, draws, colour = np.asarray(x), np.asarray(draws), COLOURS.get(colour, colour)
    x = x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x
    draws = draws[..., 0] if draws.ndim == 3 and draws.shape[2] == 1 else draws
    if x.ndim != 1 or draws.ndim != 2 or draws.shape[1] != x.size:
        raise ValueError(
            f"draws: expected shape (num, N) or (num, N, 1) with x of shape (N,), got draws {draws.shape} and x {x.shape}; pass one output at a time"
        )
    if not 0 < level < 1:
        raise ValueError(
            f"level: expected a number between 0 and 1, got {level!r}; pass for example 0.9"
        )
    order = np.argsort(x)
    x, draws = x[order], draws[:, order]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ax.fill_between(
        x, low, high, facecolor=(colour, 0.18), edgecolor=(colour, 0.7), hatch=hatch, linewidth=0.6
    )
    return ax.plot(
        x,
        draws.mean(0),
        color=colour,
        linestyle=linestyle,
        label=f"{label}: mean, {level:.0%} band",
    )[0]


def paired(ax, first, second, labels: tuple[str, str]) -> None:
    """Draw two lists of numbers ``(num,)`` from the same seeds: a dot for each, a line joining each pair, a bar at each mean.

    Raises
    ------
    ValueError
        Lists of different length.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"second: expected as many numbers as first, shape {first.shape}, got {second.shape}; pair them by seed"
        )
    ax.plot([0, 1], np.stack([first, second]), color="0.6", linestyle="-", linewidth=0.8)
    for place, values, colour, marker in ((0, first, "orange", "s"), (1, second, "blue", "o")):
        ax.plot(
            np.full(values.size, place),
            values,
            color=COLOURS[colour],
            marker=marker,
            linestyle="none",
        )
        ax.plot(
            [place - 0.15, place + 0.15], [values.mean()] * 2, color=COLOURS["black"], linestyle="-"
        )
    ax.set_xticks([0, 1], labels)
    ax.set_xlim(-0.5, 1.5)
