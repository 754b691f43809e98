"""Figures with sliders and buttons on a static page: no server, no library, no network.

A figure is HTML with native controls and SVG that Python draws at the starting values, so that a
reader without JavaScript, and print, see that picture. A script beside it
(``symvi/book/interactive.js``) computes the same formulas in the browser and moves the parts of the
picture. Colours are custom properties that follow the page's light or dark scheme.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

import numpy as np
from scipy.stats import norm

from symvi.book.plots import COLOURS, METHODS
from symvi.checks import as_scalar, described, expected, one_of

_AFRESH = {"afresh": "start afresh"}
WIDTH, HEIGHT = 340, 220  # of a panel, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 22, 38  # margins around what is plotted
ON_DARK = {
    "blue": "#4D9FDB",
    "orange": "#F0B030",
    "black": "#FFFFFF",
    "sky": "#A5DAF7",
    "red": "#F5813A",
    "green": "#2CC79A",
    "purple": "#E0A0C3",
}
DASHES = {"-": "", "--": "6 4", "-.": "8 3 2 3", ":": "2 3"}

STYLE = """<style>
.symvi-figure { LIGHT --symvi-page: var(--pst-color-background, white);
  margin: 0; text-align: left; font-size: 0.95rem; line-height: 1.4; }
html[data-theme="dark"] .symvi-figure { DARK
  --symvi-page: var(--pst-color-background, #121212); }
.symvi-figure form { display: flex; flex-wrap: wrap; gap: 0.3rem 1.5rem; margin: 0.5rem 0; }
.symvi-figure form[hidden] { display: none; }
.symvi-figure .control { display: flex; flex: 1 1 16rem; align-items: center; gap: 0.6rem; }
.symvi-figure input { flex: 1 1 6rem; min-width: 5rem; accent-color: var(--symvi-blue); }
.symvi-figure .control output { min-width: 3rem; font-variant-numeric: tabular-nums; }
.symvi-figure button { font: inherit; color: inherit; background: none; cursor: pointer;
  border: 1px solid currentColor; border-radius: 0.25rem; padding: 0.2rem 0.6rem; }
.symvi-figure .panels { display: grid; gap: 0.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(270px, 100%), 1fr)); }
.symvi-figure .panels > svg { width: 100%; max-width: 460px; height: auto; }
.symvi-figure svg[data-drag] { touch-action: pan-y; cursor: grab; }
.symvi-figure svg text { fill: currentColor; font-size: 12px; }
.symvi-figure .axis { stroke: currentColor; fill: none; stroke-width: 1; }
.symvi-figure .guide { stroke: currentColor; fill: none; opacity: 0.5; }
.symvi-figure .values { display: table; width: auto; margin: 0.5rem 0; }
.symvi-figure .values th { text-align: left; font-weight: normal;
  padding: 0.1rem 0.4rem 0.1rem 0; }
.symvi-figure .values td { text-align: right; font-variant-numeric: tabular-nums;
  padding: 0.1rem 0.4rem; }
.symvi-figure .edge { fill: none; stroke: currentColor; }
.symvi-figure .unit { fill: var(--symvi-page); stroke-width: 3; }
.symvi-figure p { margin: 0.3rem 0; }
</style>"""


@dataclass(frozen=True)
class Slider:
    """A control for one number, named `name` in the figure's formulas.

    `label` stands before it, with the unit.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float
    digits: int = 0

    def html(self, figure: str) -> str:
        """The control, with an id that holds the figure's."""
        place = f"{figure}-{self.name}"
        limits = f'min="{self.low}" max="{self.high}" step="{self.step}" value="{self.value}"'
        return (
            f'<div class="control"><label for="{place}">{escape(self.label)}</label>'
            f'<input type="range" id="{place}" name="{self.name}" {limits} '
            f'data-digits="{self.digits}">'
            f'<output for="{place}">{number(self.value, self.digits)}</output></div>'
        )


@dataclass(frozen=True)
class Panel:
    """One pair of axes, and where its numbers lie in the picture.

    `parts` are the marks that the formulas move: for each name, the SVG tag and its fixed
    attributes. `drag` gives the slider that a pointer moves along x, or along y. Without ticks no
    axes are drawn.
    """

    name: str
    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    parts: dict[str, tuple[str, str]]
    drag: dict[str, str] = field(default_factory=dict)

    def across(self, x):
        """Where `x` lies, from the left."""
        low, high = self.x
        return LEFT + (np.asarray(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(self, y):
        """Where `y` lies, from the top."""
        low, high = self.y
        return HEIGHT - BOTTOM - (np.asarray(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def line(self, x, y) -> dict[str, str]:
        """The points of a polyline."""
        pairs = zip(np.atleast_1d(self.across(x)), np.atleast_1d(self.down(y)), strict=True)
        return {"points": " ".join(f"{a:.2f},{b:.2f}" for a, b in pairs)}

    def dot(self, x, y) -> dict[str, str]:
        """The centre of a circle."""
        return {"cx": f"{self.across(x):.2f}", "cy": f"{self.down(y):.2f}"}

    def words(self, x, y, text: str) -> dict[str, str]:
        """A text, and where it stands."""
        return {"x": f"{self.across(x):.2f}", "y": f"{self.down(y):.2f}", "text": text}

    def cells(self, inside) -> dict[str, str]:
        """The outline of the cells that are `inside`, bool (rows, columns), from the lowest row."""
        rows, columns = inside.shape
        wide, high = (WIDTH - LEFT - RIGHT) / columns, (HEIGHT - TOP - BOTTOM) / rows
        made = []
        for j, row in enumerate(inside):
            top = HEIGHT - BOTTOM - (j + 1) * high
            edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]])))
            for start, end in edges.reshape(-1, 2):
                size = (end - start) * wide
                corner = f"M{LEFT + start * wide:.1f} {top:.1f}"
                made.append(f"{corner}h{size:.1f}v{high + 0.3:.1f}h-{size:.1f}z")
        return {"d": "".join(made)}

    def svg(self, placed: dict[str, dict[str, str]]) -> str:
        """The panel, with its parts where `placed` puts them."""
        drag = f" data-drag='{json.dumps(self.drag)}'" if self.drag else ""
        marks = ""
        for name, (tag, fixed) in self.parts.items():
            moved = " ".join(f'{k}="{v}"' for k, v in placed[name].items() if k != "text")
            text = escape(placed[name].get("text", ""))
            marks += f'<{tag} data-part="{name}" {fixed} {moved}>{text}</{tag}>'
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" data-panel="{self.name}"{drag} '
            f'aria-label="{escape(self.title)}"><text x="{LEFT}" y="14">{escape(self.title)}'
            f"</text>{self._axes()}{marks}</svg>"
        )

    def _axes(self) -> str:
        if not self.x_ticks:
            return ""
        foot, end = HEIGHT - BOTTOM, WIDTH - RIGHT
        made = f'<path class="axis" d="M{LEFT} {TOP}V{foot}H{end}"></path>'
        for tick in self.x_ticks:
            at = f"{self.across(tick):.1f}"
            made += f'<path class="axis" d="M{at} {foot}v4"></path>'
            made += f'<text x="{at}" y="{foot + 17}" text-anchor="middle">{_tick(tick)}</text>'
        for tick in self.y_ticks:
            at = self.down(tick)
            made += f'<path class="axis" d="M{LEFT} {at:.1f}h-4"></path>'
            made += f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{_tick(tick)}</text>'
        middle = (LEFT + end) / 2
        label = escape(self.x_label)
        return f'{made}<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{label}</text>'


@dataclass(frozen=True)
class Scene:
    """What a figure shows at one setting: numbers as text, and SVG attributes of each part.

    The text of a part stands among its attributes, under "text".
    """

    values: dict[str, str]
    parts: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Figure:
    """Controls, panels and a table of numbers; a notebook and the book's page show it.

    Attributes
    ----------
    kind : str
        Which formulas of the script move it.
    sliders : tuple of Slider
    panels : tuple of Panel
    headings : tuple of str
        Of the table of numbers.
    rows : tuple
        (label, how its line is drawn, names of the numbers).
    sentence : str
        What is said when something moves; {name} stands for a number.
    data : dict
        What the script needs besides the settings.
    draw : callable
        The same formulas in Python: what the figure shows at given settings.
    buttons : dict
        Names of buttons and what stands on them. The formulas get the names of all that were
        pressed, in order; one that starts afresh stands beside them.
    """

    kind: str
    sliders: tuple[Slider, ...]
    panels: tuple[Panel, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    sentence: str
    data: dict
    draw: Callable[..., Scene]
    buttons: dict[str, str] = field(default_factory=dict)

    def at(self, *pressed: str, **settings) -> dict[str, str]:
        """The numbers that the figure shows after some buttons, at some setting of its sliders.

        Sliders that are not named stand where they start. Raises ValueError for a slider or a
        button that is not there, and for a value beyond a slider's ends.
        """
        return self.scene(*pressed, **settings).values

    def scene(self, *pressed: str, **settings) -> Scene:
        """All that the figure shows; arguments and errors as for :meth:`at`."""
        for name in pressed:
            one_of("button", name, tuple(self.buttons))
        for name in set(settings) - {s.name for s in self.sliders}:
            names = ", ".join(s.name for s in self.sliders)
            raise expected(name, f"one of the sliders {names}", "another name", "check its name")
        every: dict = {"pressed": pressed}
        for s in self.sliders:
            chosen = settings.get(s.name, s.value)
            every[s.name] = within(s.name, chosen, s.low, s.high, s.step == 1)
        return self.draw(every)

    def __repr__(self) -> str:
        scene = self.scene()
        return self.sentence.format(**scene.values) + " (On the web page this figure moves.)"

    def _repr_html_(self) -> str:
        scene = self.scene()
        name = f"symvi-{self.kind}"
        controls = "".join(s.html(name) for s in self.sliders)
        for button, label in {**self.buttons, **_AFRESH}.items() if self.buttons else ():
            controls += f'<button type="button" name="{button}">{escape(label)}</button>'
        panels = "".join(panel.svg(scene.parts) for panel in self.panels)
        sentence = escape(self.sentence.format(**scene.values))
        data = json.dumps(self._data()).replace("<", "\\u003c")
        return (
            f'{_style()}<figure class="symvi-figure" data-kind="{self.kind}">'
            f'<form hidden aria-label="Controls of the figure">{controls}</form>'
            f'<div class="panels">{panels}<div>{self._table(scene)}'
            f'<p aria-live="polite">{sentence}</p></div></div>'
            f'<script type="application/json">{data}</script></figure>'
            f"<script>{_script()}</script>"
        )

    def _data(self) -> dict:
        planes = {p.name: {"x": p.x, "y": p.y} for p in self.panels}
        box = {"width": WIDTH, "height": HEIGHT}
        box |= {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
        return {**self.data, "planes": planes, "box": box, "sentence": self.sentence}

    def _table(self, scene: Scene) -> str:
        head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in self.headings)
        body = ""
        for label, drawn, names in self.rows:
            path = f'<path d="M0 5H32" {drawn}></path>'
            key = f'<svg width="34" height="10" aria-hidden="true">{path}</svg>' if drawn else ""
            cells = "".join(f'<td data-value="{n}">{scene.values[n]}</td>' for n in names)
            cells += "<td></td>" * (len(self.headings) - 1 - len(names))
            body += f'<tr><th scope="row">{key} {label}</th>{cells}</tr>'
        return f'<table class="values"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def number(value: float, digits: int) -> str:
    """A number as the figures show it, with a true minus sign."""
    shown = f"{value:.{digits}f}"
    return shown.replace("-", "−") if float(shown) != 0 else shown.lstrip("-")


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def within(name: str, value, low: float, high: float, whole: bool = False):
    """`value` as a Python number; ValueError unless it lies between `low` and `high`.

    Whole numbers only if `whole`.
    """
    found = as_scalar(value)
    if found is None or not low <= found <= high or (whole and found != int(found)):
        wanted = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"
        raise expected(name, wanted, described(value), f"pass for example {name}={high:g}")
    return found


def _drawn(method: str, width: float = 2) -> str:
    """The attributes of a line that is drawn in the look of a method."""
    colour, line, _ = METHODS[method]
    dashes = DASHES[line] if isinstance(line, str) else " ".join(map(str, line[1]))
    dashes = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'style="fill:none;stroke:var(--symvi-{colour});stroke-width:{width}"{dashes}'


def _filled(method: str) -> str:
    return f'style="fill:var(--symvi-{METHODS[method][0]})"'


@functools.cache
def _style() -> str:
    light = " ".join(f"--symvi-{name}: {colour};" for name, colour in COLOURS.items())
    dark = " ".join(f"--symvi-{name}: {colour};" for name, colour in ON_DARK.items())
    return STYLE.replace("LIGHT", light).replace("DARK", dark)


@functools.cache
def _script() -> str:
    return files("symvi.book").joinpath("interactive.js").read_text(encoding="utf-8")


# --- two units dragged apart ---

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
        tuple((label, _drawn(_LOOKS[b]), (b, f"{b}_slope")) for label, b in rows),
        "At a separation of {separation} sd and K = {num_permutations}, I is {exact} nats and "
        "InfoNCE reports {infonce}. The slopes are {exact_slope} and {infonce_slope} nats per sd.",
        rule,
        functools.partial(_two_units_scene, nodes[kept], weights[kept]),
    )


def _two_unit_panels() -> tuple[Panel, ...]:
    units = {
        "first": ("polyline", _drawn("mean field")),
        "second": ("polyline", _drawn("mean field")),
        "mean": ("circle", f'r="6" {_filled("mean field")}'),
    }
    curves, slopes = {}, {}
    for made, end in ((curves, ""), (slopes, "_slope")):
        made[f"here{end}"] = ("polyline", 'class="guide"')
        for bound in _BOUNDS:
            made[f"{bound}{end}_curve"] = ("polyline", _drawn(_LOOKS[bound]))
        for bound in ("exact", "infonce"):
            made[f"{bound}{end}_dot"] = ("circle", f'r="4.5" {_filled(_LOOKS[bound])}')
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


# --- a start that rolls down to its optimum ---

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
            ("target p", _drawn("posterior"), ()),
            ("q at the start", f'{_drawn("mean field")} opacity="0.45"', ("mean", "sd", "kl")),
            ("q at the end", _drawn("mean field"), ("end_mean", "end_sd", "end_kl")),
        ),
        "At a distance of {alpha} s and r = {coordinates}, q ends at {share} of the way from the "
        "left mode to the right one. Its KL falls from {kl} to {end_kl} nats.",
        rule,
        functools.partial(_downhill_scene, nodes, weights),
    )


def _downhill_panels() -> tuple[Panel, ...]:
    densities = {
        "target": ("polyline", _drawn("posterior")),
        "start_q": ("polyline", f'{_drawn("mean field")} opacity="0.45"'),
        "end_q": ("polyline", _drawn("mean field")),
    }
    shade = 'style="fill:var(--symvi-sky)" fill-opacity="0.16"'
    marks = {f"level_{i}": ("path", shade) for i in range(len(_LEVELS))}
    marks["path"] = ("polyline", _drawn("mean field"))
    hollow = 'style="fill:none;stroke:var(--symvi-red);stroke-width:2.5"'
    marks["start_dot"] = ("circle", f'r="7" {hollow}')
    marks["end_dot"] = ("circle", f'r="5" {_filled("mean field")}')
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


# --- one function, many weights ---

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
    curves["function"] = ("polyline", _drawn("posterior", 3))
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
