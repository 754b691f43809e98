"""Figures that read in light and dark pages, in greyscale and in print."""

from __future__ import annotations

import numpy as np

from symvi.checks import expected, fraction, one_of

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

# One look a method, the same through the whole book: colour, line, marker.
METHODS = {
    "posterior": ("black", "-", "D"),
    "mean field": ("red", "-", "o"),
    "afterwards": ("orange", (0, (5, 1)), "v"),
    "symmetrized": ("blue", "--", "s"),
    "pairwise": ("sky", "-.", "^"),
    "subadditive": ("orange", (0, (1, 1)), "<"),
    "guided": ("green", (0, (3, 1, 1, 1)), "P"),
    "infonce": ("purple", ":", "X"),
    "unit covariance": ("green", "-.", "d"),
}


def look(method: str) -> dict:
    """How a method is drawn everywhere in the book: pass it on, as in ``ax.plot(x, y, **look(m))``.

    Parameters
    ----------
    method : str
        A name in ``METHODS``.

    Returns
    -------
    dict
        ``color``, ``linestyle``, ``marker`` and ``label``, for matplotlib.

    Raises
    ------
    ValueError
        A method without a look.
    """
    one_of("method", method, tuple(METHODS))
    colour, line, marker = METHODS[method]
    return {"color": COLOURS[colour], "linestyle": line, "marker": marker, "label": method}


def style() -> None:
    """Set matplotlib's defaults for the book.

    Opaque white, large labels, colours paired with line styles.
    """
    import matplotlib as mpl
    from cycler import cycler

    colours = cycler(color=list(COLOURS.values()))
    line_styles = cycler(linestyle=list(LINE_STYLES))
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
            "axes.prop_cycle": colours + line_styles,
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
    """Draw the mean of `draws` over `x`, with the central band of them at each point.

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
        The share of the draws that the band holds at each point, between 0 and 1.

    Returns
    -------
    matplotlib line
        The mean.

    Raises
    ------
    ValueError
        Shapes that do not fit, or a level outside (0, 1).
    """
    level = fraction("level", level)
    x, draws = _sorted_columns(x, draws)
    colour = COLOURS.get(colour, colour)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    face, edge = (colour, 0.18), (colour, 0.7)
    ax.fill_between(x, low, high, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=0.6)
    name = f"{label}: mean, {level:.0%} band"
    (line,) = ax.plot(x, draws.mean(axis=0), color=colour, linestyle=linestyle, label=name)
    return line


def _sorted_columns(x, draws) -> tuple[np.ndarray, np.ndarray]:
    """x (N,) in ascending order, with the draws (num, N) in the same order."""
    x, draws = np.asarray(x), np.asarray(draws)
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if draws.ndim == 3 and draws.shape[2] == 1:
        draws = draws[..., 0]
    if x.ndim != 1 or draws.ndim != 2 or draws.shape[1] != x.size:
        wanted = "shape (num, N) or (num, N, 1) with x of shape (N,)"
        raise expected(
            "draws", wanted, f"draws {draws.shape} and x {x.shape}", "pass one output at a time"
        )
    order = np.argsort(x)
    return x[order], draws[:, order]


def paired(ax, first, second, labels: tuple[str, str]) -> None:
    """Draw two lists of numbers ``(num,)`` from the same seeds, with a line joining each pair.

    A dot for each number, a bar at each mean.

    Raises
    ------
    ValueError
        Lists of different length.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape:
        wanted = f"as many numbers as first, shape {first.shape}"
        raise expected("second", wanted, second.shape, "pair them by seed")
    ax.plot([0, 1], np.stack([first, second]), color="0.6", linestyle="-", linewidth=0.8)
    _column(ax, 0, first, COLOURS["orange"], "s")
    _column(ax, 1, second, COLOURS["blue"], "o")
    ax.set_xticks([0, 1], labels)
    ax.set_xlim(-0.5, 1.5)


def _column(ax, place: float, values, colour: str, marker: str) -> None:
    """The numbers above `place`, and a bar at their mean."""
    across = np.full(values.size, place)
    ax.plot(across, values, color=colour, marker=marker, linestyle="none")
    bar = [place - 0.15, place + 0.15]
    ax.plot(bar, [values.mean()] * 2, color=COLOURS["black"], linestyle="-")
