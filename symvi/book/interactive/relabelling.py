"""One function, many weights: buttons that exchange hidden units and flip their signs."""

from __future__ import annotations

import numpy as np

from symvi.book.interactive.figure import Figure, Panel, Scene, drawn, number

# For each unit: its weight in, its bias, its weight out; and how it is drawn.
_UNITS = {"A": (1.5, 1.0, 1.0), "B": (2.0, -1.5, -1.2), "C": (-0.9, 0.4, 0.8)}
_UNIT_COLOURS = {"A": "blue", "B": "orange", "C": "green"}
_END_BIAS = 0.1


def copies() -> Figure:
    """A 1-3-1 tanh network: buttons exchange its hidden units and flip their signs.

    The buttons act on places, numbered from the top. Each unit takes its weights along, so the
    weights move and the function stays.
    """
    swaps = {f"swap_{i}": f"exchange {i} and {i + 1}" for i in (1, 2)}
    flips = {f"flip_{i}": f"flip {i}" for i in (1, 2, 3)}
    names = ("in", "bias", "out")
    return Figure(
        "copies",
        (),
        _copies_panels(),
        ("", "weight in", "bias", "weight out"),
        tuple((f"place {i}", "", tuple(f"{n}_{i}" for n in names)) for i in (1, 2, 3)),
        "This is copy {copy} of 48, at a distance of {distance} from the first. The largest change "
        "of the function is {change}.",
        {"units": list(_UNITS.values()), "names": list(_UNITS), "endBias": _END_BIAS},
        _copies_scene,
        swaps | flips,
    )


def _copies_panels() -> tuple[Panel, ...]:
    marks, curves = {}, {}
    for name, colour in _UNIT_COLOURS.items():
        for side, weight in (("in", 0), ("out", 2)):
            width = 1.5 + 2 * abs(_UNITS[name][weight])
            marks[f"{side}_{name}"] = ("polyline", f'class="edge" stroke-width="{width:.1f}"')
        line = f'style="fill:none;stroke:var(--symvi-{colour});stroke-width:1.5"'
        curves[f"curve_{name}"] = ("polyline", line)
    curves["function"] = ("polyline", drawn("posterior", 3))
    for name, colour in (("x", "black"), ("f", "black"), *_UNIT_COLOURS.items()):
        line = f'style="stroke:var(--symvi-{colour})"'
        marks[f"unit_{name}"] = ("circle", f'class="unit" r="14" {line}')
        marks[f"letter_{name}"] = ("text", 'text-anchor="middle"')
    for name in _UNITS:
        for side in ("in", "bias", "out"):
            marks[f"{side}_of_{name}"] = ("text", 'text-anchor="middle"')
    return (
        Panel("network", "Weights; dashed: negative", (-0.2, 2.2), (0.4, 3.6), "", (), (), marks),
        Panel("function", "Function (thick) and each unit's part", (-3, 3), (-2.5, 2.5), "x",
              (-2, 0, 2), (-2, -1, 0, 1, 2), curves),
    )  # fmt: skip


def _after(pressed) -> tuple[list[int], list[int]]:
    """Which unit stands at each place, and each unit's sign."""
    places, signs = [0, 1, 2], [1, 1, 1]
    for button in pressed:
        move, place = button.split("_")
        i = int(place) - 1
        if move == "swap":
            places[i], places[i + 1] = places[i + 1], places[i]
        else:
            signs[places[i]] *= -1
    return places, signs


def _copies_scene(settings: dict) -> Scene:
    places, signs = _after(settings["pressed"])
    network, function = _copies_panels()
    first = np.array(list(_UNITS.values()))
    units = first * np.array(signs)[:, None]
    x = np.linspace(-3, 3, 121)
    parts = _network_parts(network, units, places)
    contributions = units[:, 2] * np.tanh(np.outer(x, units[:, 0]) + units[:, 1])
    for name, contribution in zip(_UNITS, contributions.T, strict=True):
        parts[f"curve_{name}"] = function.line(x, contribution)
    outputs = contributions[:, places].sum(1) + _END_BIAS
    parts["function"] = function.line(x, outputs)
    before = first[:, 2] * np.tanh(np.outer(x, first[:, 0]) + first[:, 1])
    change = np.abs(outputs - before.sum(1) - _END_BIAS).max()
    here = units[places]
    rank = 2 * places[0] + (places[1] > places[2])
    flipped = sum(2**unit for unit in range(3) if signs[unit] < 0)
    values = {
        "copy": number(8 * rank + flipped + 1, 0),
        "distance": number(float(np.linalg.norm(here - first)), 2),
        "change": number(float(change), 3),
    }
    for place, weights in enumerate(here, 1):
        for name, weight in zip(("in", "bias", "out"), weights, strict=True):
            values[f"{name}_{place}"] = number(float(weight), 1)
    return Scene(values, parts)


def _network_parts(panel: Panel, units, places: list[int]) -> dict[str, dict[str, str]]:
    """Where the edges, circles and texts of the network stand."""
    parts = {}
    for name, x, y in (("x", 0, 2), ("f", 2, 2)):
        parts[f"unit_{name}"] = panel.dot(x, y)
        parts[f"letter_{name}"] = panel.words(x, y - 0.08, name)
    for place, unit in enumerate(places):
        name, (weight_in, bias, weight_out) = list(_UNITS)[unit], units[unit]
        y = 3 - place
        for side, end, weight in (("in", 0, weight_in), ("out", 2, weight_out)):
            dashes = {"stroke-dasharray": "5 4" if weight < 0 else "none"}
            parts[f"{side}_{name}"] = panel.line([1, end], [y, 2]) | dashes
            middle, above = 0.6 + 0.4 * end, y + 0.4 * (2 - y) + (0.14 if y >= 2 else -0.4)
            parts[f"{side}_of_{name}"] = panel.words(middle, above, number(weight, 1))
        parts[f"unit_{name}"] = panel.dot(1, y)
        parts[f"letter_{name}"] = panel.words(1, y - 0.08, name)
        parts[f"bias_of_{name}"] = panel.words(1, y + 0.36, number(bias, 1))
    return parts
