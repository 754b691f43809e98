"""Width of a hidden layer against its orbit information and the bounds of it."""

from __future__ import annotations

import functools
import math

import numpy as np

from symvi.book.interactive.figure import (
    SQUARE,
    Figure,
    Panel,
    Scene,
    Slider,
    drawn,
    filled,
    number,
    slider_along,
)
from symvi.checks import one_of

_LOOKS = {
    "lower": "pairwise",
    "upper": "pairwise",
    "guided_lower": "guided",
    "guided_upper": "guided",
    "infonce": "infonce",
    "exact": "symmetrized",
}  # the later lies above
_RED = 'style="fill:var(--symvi-red);stroke:var(--symvi-red)"'
_MARK = (0.075, 1.29)  # radii of a dot, in units of the axes


def widths(table: dict, units: int = 16, factor: float = 1.0, num_permutations: int = 20) -> Figure:
    r"""The number of units against the information, its bounds, and the most that it can be.

    Parameters
    ----------
    table : dict
        What ``book/reproduce/widths.py`` writes: "units" n; "factors" on all standard deviations
        and "permutations" K, each evenly spaced; "loc" and "scale" of two weights of each unit; and
        "settings", one for each n and factor: "lower" and "upper" (pairwise), "guided_lower" and
        "guided_upper", "infonce" for each K, and "exact" where it is known, in nats.
    units, factor, num_permutations : float
        Where the sliders start: n, the factor on the standard deviations, and K.

    Raises
    ------
    ValueError
        A start that the table does not have.
    """
    n_s = tuple(table["units"])
    one_of("units", units, n_s)
    start = n_s.index(units)
    sliders = (
        slider_along("factor", "overlap: sd ×", table["factors"], factor, 1),
        Slider("place", "units n", 0, len(n_s) - 1, 1, start, 0, tuple(map(str, n_s))),
        slider_along("num_permutations", "permutations K", table["permutations"], num_permutations),
    )
    rule = {n: table[n] for n in ("units", "factors", "permutations", "loc", "scale")}
    rule["found"] = {b: [s.get(b) for s in table["settings"]] for b in _LOOKS}
    rule["mark"] = _MARK
    names = (
        ("I (to 16 units)", "exact"),
        ("I<sub>K</sub> (InfoNCE)", "infonce"),
        ("guided, below", "guided_lower"),
        ("guided, above", "guided_upper"),
        ("pairwise, below", "lower"),
        ("pairwise, above", "upper"),
    )
    rows = [(label, drawn(_LOOKS[b]), (b, f"{b}_share")) for label, b in names]
    return Figure(
        "widths",
        sliders,
        _panels(n_s),
        ("", "nats", "% of log n!"),
        (*rows, ("log n!, the most", 'class="guide"', ("most",))),
        "With {units} units, standard deviations times {factor} and K = {num_permutations}, the "
        "guided bounds are {guided_lower} and {guided_upper} nats, the pairwise bounds {lower} and "
        "{upper}. InfoNCE reports {infonce}. The most is log n! = {most}.",
        rule,
        functools.partial(_scene, rule, sliders),
    )


def _panels(n_s) -> tuple[Panel, ...]:
    curves = {"here": ("polyline", 'class="guide"'), "most": ("polyline", 'class="guide"')}
    curves |= {f"{bound}_curve": ("polyline", drawn(look)) for bound, look in _LOOKS.items()}
    curves["exact_marks"] = ("path", filled(_LOOKS["exact"]))
    ovals = f'fill-opacity="0.12" stroke-width="1" {_RED}'
    return (
        Panel("widths", "Information, % of log n!", (0, len(n_s) - 0.8), (0, 105), "units n",
              tuple(enumerate(map(str, n_s))), (0, 20, 40, 60, 80, 100), curves, {"x": "place"},
              SQUARE, "Against the number of units: the exact information up to 16 units, the "
              "pairwise and the guided bounds, and InfoNCE."),
        Panel("units", "Each unit: bias against weight in (1 sd)", (-5, 5), (-5, 5),
              "weight in",
              (-4, -2, 0, 2, 4), (-4, -2, 0, 2, 4), {"ovals": ("path", ovals)}, {}, SQUARE,
              "An ellipse for each unit. The further they overlap, the less information there is."),
    )  # fmt: skip


def _scene(rule: dict, sliders, settings: dict) -> Scene:
    step, place, kept = (slider.step_of(settings[slider.name]) for slider in sliders)
    n, (curves, units) = rule["units"][place], _panels(rule["units"])
    most = [math.lgamma(n + 1) for n in rule["units"]]
    parts = {
        "here": curves.line([place, place], curves.y),
        "most": curves.line(curves.x, [100, 100]),
        "ovals": units.ovals(rule["loc"][:n], rule["factors"][step] * np.array(rule["scale"][:n])),
    }
    values = {
        "units": number(n, 0),
        "factor": number(rule["factors"][step], 1),
        "num_permutations": number(rule["permutations"][kept], 0),
        "most": number(most[place], 2),
    }
    for bound, found in rule["found"].items():
        along = found[step :: len(rule["factors"])]  # a value for each n, or one for each K
        along = [v[kept] if isinstance(v, list) else v for v in along]
        share = [100 * v / most[i] for i, v in enumerate(along) if v is not None]
        parts[f"{bound}_curve"] = curves.line(range(len(share)), share)
        known = place < len(share)
        values[bound] = number(along[place], 2) if known else ""
        values[f"{bound}_share"] = number(share[place], 0) if known else ""
        parts[f"{bound}_marks"] = curves.ovals(enumerate(share), [_MARK] * len(share))
    return Scene(values, parts)
