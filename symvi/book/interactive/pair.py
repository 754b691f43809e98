"""Two units dragged apart: their information, its bounds, and the slope of each."""

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

_BOUNDS = ("lower", "upper", "infonce", "exact")  # the later lies above
_LOOKS = {"exact": "symmetrized", "infonce": "infonce", "lower": "pairwise", "upper": "pairwise"}


def two_units(separation: float = 1.5, num_permutations: int = 2) -> Figure:
    r"""Two units dragged apart: their information, its bounds, and the slope of each.

    The means are delta standard deviations apart in one weight, and l is the log ratio of the
    density of the swapped weights to that of the weights, N(-delta^2, 2 delta^2):

    * exact: I = log 2 - E log(1 + e^l);
    * InfoNCE: I_K = E[log K - log(K - B + B e^l)], B swaps among K - 1 draws from the group;
    * pairwise: log 2 - log(1 + exp(-delta^2 / 4)) <= I <= log 2 - log(1 + exp(-delta^2)).

    Parameters
    ----------
    separation : float
        Where delta starts, from 0 to 6 standard deviations.
    num_permutations : int
        Where K starts, from 2 to 64.

    Raises
    ------
    ValueError
        A start beyond these ends.
    """
    delta = within("separation", separation, 0, 6)
    k = within("num_permutations", num_permutations, 2, 64, True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    kept = weights > 1e-18
    rule = {"nodes": nodes[kept].tolist(), "weights": weights[kept].tolist()}
    sliders = (
        Slider("separation", "separation δ (sd)", 0, 6, 0.05, delta, 2),
        Slider("num_permutations", "permutations K", 2, 64, 1, k),
    )
    rows = (
        ("I", "exact"),
        ("I<sub>K</sub> (InfoNCE)", "infonce"),
        ("pairwise bound, below", "lower"),
        ("pairwise bound, above", "upper"),
    )
    return Figure(
        "two-units",
        sliders,
        _two_unit_panels(),
        ("", "value (nats)", "slope (nats per sd)"),
        tuple((label, drawn(_LOOKS[b]), (b, f"{b}_slope")) for label, b in rows),
        "At a separation of {separation} sd and K = {num_permutations}, I is {exact} nats and "
        "InfoNCE reports {infonce}. The slopes are {exact_slope} and {infonce_slope} nats per sd.",
        rule,
        functools.partial(_two_units_scene, nodes[kept], weights[kept]),
    )


def _two_unit_panels() -> tuple[Panel, ...]:
    units = {
        "first": ("polyline", drawn("mean field")),
        "second": ("polyline", drawn("mean field")),
        "mean": ("circle", f'r="6" {filled("mean field")}'),
    }
    curves, slopes = {}, {}
    for made, end in ((curves, ""), (slopes, "_slope")):
        made[f"here{end}"] = ("polyline", 'class="guide"')
        for bound in _BOUNDS:
            made[f"{bound}{end}_curve"] = ("polyline", drawn(_LOOKS[bound]))
        for bound in ("exact", "infonce"):
            made[f"{bound}{end}_dot"] = ("circle", f'r="4.5" {filled(_LOOKS[bound])}')
    drag = {"x": "separation"}
    axis = ("separation δ (sd)", (0, 1, 2, 3, 4, 5, 6))
    return (
        Panel("units", "Densities of the two units", (-3, 9), (0, 0.45), "weight (sd)",
              (-2, 0, 2, 4, 6, 8), (0, 0.2, 0.4), units, drag),
        Panel("information", "Information (nats)", (0, 6), (0, 0.8), *axis,
              (0, 0.2, 0.4, 0.6, 0.8), curves, drag),
        Panel("slopes", "Slope (nats per sd)", (0, 6), (0, 0.6), *axis,
              (0, 0.2, 0.4, 0.6), slopes, drag),
    )  # fmt: skip


def _two_unit_bounds(delta, k: int, nodes, weights) -> dict:
    """Each bound and its slope, at every entry of `delta`."""
    delta = np.atleast_1d(np.asarray(delta, float))[:, None]
    ratio = np.exp(-(delta**2) + math.sqrt(2) * delta * nodes)
    growth = math.sqrt(2) * nodes - 2 * delta  # d log ratio / d delta
    found = {
        "exact": math.log(2) - np.log1p(ratio) @ weights,
        "exact_slope": -(ratio / (1 + ratio) * growth) @ weights,
        "infonce": 0.0,
        "infonce_slope": 0.0,
    }
    for swaps in range(k):
        chance = math.comb(k - 1, swaps) / 2.0 ** (k - 1)
        total = k - swaps + swaps * ratio
        found["infonce"] += chance * (math.log(k) - np.log(total) @ weights)
        found["infonce_slope"] -= chance * (swaps * ratio / total * growth) @ weights
    delta = delta[:, 0]
    for bound, rate in (("lower", 0.25), ("upper", 1.0)):
        overlap = np.exp(-rate * delta**2)
        found[bound] = math.log(2) - np.log1p(overlap)
        found[f"{bound}_slope"] = 2 * rate * delta * overlap / (1 + overlap)
    return found


def _two_units_scene(nodes, weights, settings: dict) -> Scene:
    delta, k = settings["separation"], int(settings["num_permutations"])
    units, information, slopes = _two_unit_panels()
    here = {n: float(v[0]) for n, v in _two_unit_bounds(delta, k, nodes, weights).items()}
    grid = np.linspace(0, 6, 121)
    curves = _two_unit_bounds(grid, k, nodes, weights)
    weight = np.linspace(-3, 9, 121)
    parts = {
        "first": units.line(weight, norm.pdf(weight)),
        "second": units.line(weight, norm.pdf(weight, delta)),
        "mean": units.dot(delta, norm.pdf(0)),
    }
    for panel, end in ((information, ""), (slopes, "_slope")):
        parts[f"here{end}"] = panel.line([delta, delta], panel.y)
        for bound in _BOUNDS:
            parts[f"{bound}{end}_curve"] = panel.line(grid, curves[bound + end])
            parts[f"{bound}{end}_dot"] = panel.dot(delta, here[bound + end])
    values = {name: number(value, 3) for name, value in here.items()}
    values |= {"separation": number(delta, 2), "num_permutations": number(k, 0)}
    return Scene(values, parts)
