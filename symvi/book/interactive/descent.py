"""One Gaussian and two modes: a start that rolls down to its optimum."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.stats import norm

from symvi.book.interactive.figure import (
    Figure,
    Panel,
    Scene,
    Slider,
    drawn,
    filled,
    number,
    within,
)

_LEVELS = (1.6, 0.8, 0.4, 0.2, 0.1, 0.05, 0.02)  # nats above the lowest value on the map
_ROWS, _COLUMNS = 48, 72  # of the map
_STEPS, _KEPT, _LONGEST = 3000, 5, 0.04  # of the descent, drawn every fifth
_HALF_WAY = 1e-12  # a slope as small as rounding is none: a start half-way stays there


def downhill(
    alpha: float = 4.5, coordinates: int = 1, mean: float = 0.0, sd: float = 1.0
) -> Figure:
    r"""One Gaussian fitted to two modes: from where it starts, downhill in the reverse KL.

    The KL is that of :func:`symvi.book.mode_seeking.reverse_kl`, in units of s. The steps follow
    its slope in (m, log sigma), divided by (2, 1 + 2 r sigma^2) so that all are stable, and are at
    most 0.04 long.

    Parameters
    ----------
    alpha : float
        Where the distance between the modes starts, from 2 to 7.
    coordinates : int
        r, the number of coordinates that the modes differ in, from 1 to 8.
    mean, sd : float
        Where q starts: a mean from -1 to 8, a standard deviation from 0.4 to 4.4.

    Raises
    ------
    ValueError
        A start beyond these ends.
    """
    r = within("coordinates", coordinates, 1, 8, True)
    sliders = (
        Slider("alpha", "distance α (s)", 2, 7, 0.05, within("alpha", alpha, 2, 7), 2),
        Slider("coordinates", "coordinates r", 1, 8, 1, r),
        Slider("mean", "start: mean (s)", -1, 8, 0.1, within("mean", mean, -1, 8), 1),
        Slider("sd", "start: sd (s)", 0.4, 4.4, 0.1, within("sd", sd, 0.4, 4.4), 1),
    )
    nodes = np.linspace(-6, 6, 241)
    weights = norm.pdf(nodes) / norm.pdf(nodes).sum()
    rule = {"levels": _LEVELS, "rows": _ROWS, "columns": _COLUMNS, "steps": _STEPS, "kept": _KEPT}
    rule |= {"longest": _LONGEST, "halfWay": _HALF_WAY}
    return Figure(
        "downhill",
        sliders,
        _downhill_panels(),
        ("", "mean (s)", "sd (s)", "KL (nats)"),
        (
            ("target p", drawn("posterior"), ()),
            ("q at the start", f'{drawn("mean field")} opacity="0.45"', ("mean", "sd", "kl")),
            ("q at the end", drawn("mean field"), ("end_mean", "end_sd", "end_kl")),
        ),
        "At a distance of {alpha} s and r = {coordinates}, q ends at {share} of the way from the "
        "left mode to the right one. Its KL falls from {kl} to {end_kl} nats.",
        rule,
        functools.partial(_downhill_scene, nodes, weights),
    )


def _downhill_panels() -> tuple[Panel, ...]:
    densities = {
        "target": ("polyline", drawn("posterior")),
        "start_q": ("polyline", f'{drawn("mean field")} opacity="0.45"'),
        "end_q": ("polyline", drawn("mean field")),
    }
    shade = 'style="fill:var(--symvi-sky)" fill-opacity="0.16"'
    marks = {f"level_{i}": ("path", shade) for i in range(len(_LEVELS))}
    marks["path"] = ("polyline", drawn("mean field"))
    hollow = 'style="fill:none;stroke:var(--symvi-red);stroke-width:2.5"'
    marks["start_dot"] = ("circle", f'r="7" {hollow}')
    marks["end_dot"] = ("circle", f'r="5" {filled("mean field")}')
    return (
        Panel("landscape", "Standard deviation (s); stronger blue: lower KL", (-1, 8), (0.4, 4.4),
              "mean (s)", (0, 2, 4, 6, 8), (1, 2, 3, 4), marks, {"x": "mean", "y": "sd"}),
        Panel("densities", "Density along the line of the modes", (-4, 11), (0, 0.45),
              "t (s)", (-4, 0, 4, 8), (0, 0.2, 0.4), densities),
    )  # fmt: skip


def _kl(m, sigma, alpha: float, r: int, nodes, weights):
    """The reverse KL in nats; `m` and `sigma` of one shape."""
    logits = alpha * (m[..., None] + sigma[..., None] * nodes) - alpha**2 / 2
    softplus = np.logaddexp(0, logits) @ weights
    return -r * np.log(sigma) + (m**2 + r * (sigma**2 - 1)) / 2 + math.log(2) - softplus


def _descent(m: float, sigma: float, alpha: float, r: int, nodes, weights) -> np.ndarray:
    """Means and standard deviations on the way down, shape (2, steps / 5 + 1)."""
    a, way = math.log(sigma), [(m, sigma)]
    for step in range(1, _STEPS + 1):
        sigma = math.exp(a)
        share = weights / (1 + np.exp(alpha**2 / 2 - alpha * (m + sigma * nodes)))
        slope_m = m - alpha * share.sum()
        slope_a = r * (sigma**2 - 1) - alpha * sigma * (share @ nodes)
        if abs(slope_m) < _HALF_WAY:
            slope_m = 0.0
        move_m, move_a = -slope_m / 2, -slope_a / (1 + 2 * r * sigma**2)
        shorter = min(1.0, _LONGEST / max(math.hypot(move_m, move_a), 1e-300))
        m, a = m + shorter * move_m, a + shorter * move_a
        if step % _KEPT == 0:
            way.append((m, math.exp(a)))
    return np.array(way).T


def _downhill_scene(nodes, weights, settings: dict) -> Scene:
    alpha, r = settings["alpha"], int(settings["coordinates"])
    landscape, densities = _downhill_panels()
    columns = landscape.x[0] + (np.arange(_COLUMNS) + 0.5) * np.ptp(landscape.x) / _COLUMNS
    rows = landscape.y[0] + (np.arange(_ROWS) + 0.5) * np.ptp(landscape.y) / _ROWS
    field = _kl(*np.meshgrid(columns, rows), alpha, r, nodes, weights)
    way = _descent(settings["mean"], settings["sd"], alpha, r, nodes, weights)
    ends = way[:, [0, -1]]
    parts = {
        f"level_{i}": landscape.cells(field < field.min() + level)
        for i, level in enumerate(_LEVELS)
    }
    parts["path"] = landscape.line(*way)
    parts["start_dot"], parts["end_dot"] = (landscape.dot(*end) for end in ends.T)
    t = np.linspace(-4, 11, 151)
    parts["target"] = densities.line(t, (norm.pdf(t) + norm.pdf(t, alpha)) / 2)
    for name, (m, sigma) in zip(("start_q", "end_q"), ends.T, strict=True):
        parts[name] = densities.line(t, norm.pdf(t, m, sigma))
    heights = _kl(*ends, alpha, r, nodes, weights)
    found = {"alpha": (alpha, 2), "coordinates": (r, 0), "share": (ends[0, 1] / alpha, 2)}
    for end, prefix in enumerate(("", "end_")):
        found[f"{prefix}mean"] = (ends[0, end], 2)
        found[f"{prefix}sd"] = (ends[1, end], 2)
        found[f"{prefix}kl"] = (heights[end], 3)
    return Scene({name: number(*value) for name, value in found.items()}, parts)
