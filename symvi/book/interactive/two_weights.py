"""The smallest network with a symmetry: its exact posterior, and two fits to it."""

from __future__ import annotations

import functools
import math

import numpy as np

from symvi.book.interactive.figure import (
    SQUARE,
    Figure,
    Panel,
    Scene,
    drawn,
    filled,
    number,
    slider_along,
)

_LEVELS = (0.05, 0.2, 0.4, 0.6, 0.8)  # of the highest density of the exact posterior
_OUTLINE = math.sqrt(2 * math.log(5))  # in sd: where a Gaussian is a fifth of its highest density
_CELLS = 128  # of the map, along each weight
# What is shown of each method: its KL, and how far its mean is from the diagonal (1: as a peak).
_SHOWN = {"mean field": ("kl", "off"), "afterwards": ("kl",), "symmetrized": ("kl", "off")}


def smallest(table: dict, slope: float = 0.1, noise: float = 3.0) -> Figure:
    r"""The two-weight network: slope and noise against posterior, fits and their divergences.

    The network is f(x) = relu(w_1 x) + relu(w_2 x), the data are y = slope |x|, and the prior is
    N(0, 1). With :math:`S_+` the sum of x^2 over x > 0 and :math:`S_-` that over x < 0, the log
    joint density is

    .. math::

        -\frac{S_+ (w_1^+ + w_2^+ - a)^2 + S_- (w_1^- + w_2^- - a)^2}{2 \sigma^2}
        - \frac{w_1^2 + w_2^2}{2}, \quad w^\pm = \mathrm{relu}(\pm w),
        \; a = \mathrm{slope}, \; \sigma = \mathrm{noise},

    but for a constant. The optima are looked up in `table`.

    Parameters
    ----------
    table : dict
        What ``book/reproduce/two_weights.py`` writes: "squares" (both sums), "slopes" and "noises",
        each evenly spaced, and "settings", one for each slope and noise: the "distance" between
        the copies in standard deviations, "mean field" and "symmetrized" (two means, two standard
        deviations, the KL in nats) and "afterwards" (the KL in nats).
    slope, noise : float
        Where the sliders start.
    """
    sliders = (
        slider_along("slope", "slope a", table["slopes"], slope, 2),
        slider_along("noise", "noise σ", table["noises"], noise, 1),
    )
    shade = 'style="stroke:var(--symvi-black);stroke-width:9;opacity:0.4"'
    rows = [("posterior", shade, ())]
    rows += [(m, drawn(m), tuple(f"{m}_{n}".replace(" ", "_") for n in _SHOWN[m])) for m in _SHOWN]
    fits = [
        [s["distance"], *s["mean field"], s["afterwards"], *s["symmetrized"]]
        for s in table["settings"]
    ]
    rule = {name: table[name] for name in ("squares", "slopes", "noises")}
    rule |= {"fits": fits, "levels": _LEVELS, "outline": _OUTLINE, "cells": _CELLS}
    return Figure(
        "smallest",
        sliders,
        _panels(),
        ("", "KL (nats)", "position"),
        tuple(rows),
        "At slope {slope} and noise {noise} the copies are {distance} sd apart. The KL from the "
        "posterior is {mean_field_kl} nats for mean field, {afterwards_kl} for mean field "
        "symmetrized afterwards and {symmetrized_kl} for the symmetrized fit.",
        rule,
        functools.partial(_scene, rule, sliders),
    )


def _panels() -> tuple[Panel, ...]:
    shade = 'style="fill:var(--symvi-black)" fill-opacity="0.13"'
    plane = {"diagonal": ("polyline", 'class="guide"')}
    plane |= {f"level_{i}": ("path", shade) for i in range(len(_LEVELS))}
    plane |= {method: ("path", drawn(method, 2.5)) for method in reversed(_SHOWN)}
    bars = {f"bar of {method}": ("rect", filled(method)) for method in _SHOWN}
    bars |= {f"height of {method}": ("text", 'text-anchor="middle"') for method in _SHOWN}
    bars["log 2"] = ("polyline", 'class="guide" stroke-dasharray="2 3"')
    bars["name of log 2"] = ("text", 'text-anchor="end"')
    return (
        Panel("plane", "Weight w₂ against weight w₁", (-0.5, 0.5), (-0.5, 0.5), "w₁",
              (-0.4, -0.2, 0, 0.2, 0.4), (-0.4, -0.2, 0, 0.2, 0.4), plane, {"x": "slope"}, SQUARE,
              "Shaded: the exact posterior, with two peaks mirrored in the diagonal. Outlined: "
              "mean field, its mirrored copy, and both halves of the symmetrized fit."),
        Panel("bars", "KL from the posterior (nats)", (-0.6, 2.6), (0, 0.8), "",
              tuple(enumerate(_SHOWN)), (0, 0.2, 0.4, 0.6, 0.8), bars, {}, SQUARE,
              "Three bars: mean field, the same symmetrized afterwards, and the symmetrized fit. A "
              "dotted line marks log 2."),
    )  # fmt: skip


def _density(panel: Panel, slope: float, noise: float, squares):
    """The exact posterior over its highest value, at the centres of the map's cells."""
    low, high = panel.x
    w = low + (np.arange(_CELLS) + 0.5) * (high - low) / _CELLS
    log_joint = -(w[:, None] ** 2 + w**2) / 2
    for sign, total in zip((1, -1), squares, strict=True):
        unit = np.maximum(sign * w, 0)
        log_joint = log_joint - total * (unit[:, None] + unit - slope) ** 2 / (2 * noise**2)
    return np.exp(log_joint - log_joint.max())


def _scene(rule: dict, sliders, settings: dict) -> Scene:
    i, j = (slider.step_of(settings[slider.name]) for slider in sliders)
    slope, noise = rule["slopes"][i], rule["noises"][j]
    fit = rule["fits"][i * len(rule["noises"]) + j]
    (plane, bars), (plain, after, trained) = _panels(), (fit[1:6], fit[6], fit[7:])
    density = _density(plane, slope, noise, rule["squares"])
    parts = {f"level_{k}": plane.cells(density > level) for k, level in enumerate(_LEVELS)}
    parts["diagonal"] = plane.line([-0.5, 0.5], [-0.5, 0.5])
    own, mirrored = _outline(plain)
    parts["mean field"] = plane.ovals(*zip(own, strict=True))
    parts["afterwards"] = plane.ovals(*zip(own, mirrored, strict=True))
    parts["symmetrized"] = plane.ovals(*zip(*_outline(trained), strict=True))
    for place, (method, kl) in enumerate(zip(_SHOWN, (plain[4], after, trained[4]), strict=True)):
        parts[f"bar of {method}"] = bars.bar(place, kl, 0.6)
        parts[f"height of {method}"] = bars.words(place, kl + 0.012, number(kl, 3))
    parts["log 2"] = bars.line(bars.x, [math.log(2)] * 2)
    parts["name of log 2"] = bars.words(2.58, math.log(2) + 0.012, "log 2")
    found = {"slope": (slope, 2), "noise": (noise, 1), "distance": (fit[0], 1)}
    found |= {"afterwards_kl": (after, 3)}
    for name, (first, second, _, _, kl) in (("mean_field", plain), ("symmetrized", trained)):
        found[f"{name}_kl"] = (kl, 3)
        found[f"{name}_off"] = (abs(first - second) / (2 * slope), 2)
    return Scene({name: number(*value) for name, value in found.items()}, parts)


def _outline(fit):
    """Centre and radii of a fit's outline, and of its mirror image's."""
    (x, y, a, b), r = fit[:4], _OUTLINE
    return ((x, y), (r * a, r * b)), ((y, x), (r * b, r * a))
