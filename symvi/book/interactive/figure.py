"""What the figures are made of: controls, pairs of axes, and the HTML that holds both."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

import numpy as np

from symvi.book.plots import COLOURS, METHODS
from symvi.checks import as_scalar, described, expected, one_of

_AFRESH = {"afresh": "start afresh"}
WIDTH, HEIGHT = 340, 220  # of a panel, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 22, 38  # margins around what is plotted
SQUARE = WIDTH - LEFT - RIGHT + TOP + BOTTOM  # the height of a panel as high as it is wide
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

    `label` stands before it, with the unit. `shown` has what stands for each number, where that is
    not the number itself.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float
    digits: int = 0
    shown: tuple[str, ...] = ()

    def step_of(self, value: float) -> int:
        """How many steps the nearest place of the control is above its lowest."""
        return round((value - self.low) / self.step)

    def html(self, figure: str) -> str:
        """The control, with an id that holds the figure's."""
        place = f"{figure}-{self.name}"
        limits = f'min="{self.low}" max="{self.high}" step="{self.step}" value="{self.value}"'
        text, spoken = number(self.value, self.digits), ""
        if self.shown:
            text = self.shown[self.step_of(self.value)]
            spoken = f" data-shown='{json.dumps(self.shown)}' aria-valuetext=\"{text}\""
        return (
            f'<div class="control"><label for="{place}">{escape(self.label)}</label>'
            f'<input type="range" id="{place}" name="{self.name}" {limits} '
            f'data-digits="{self.digits}"{spoken}>'
            f'<output for="{place}">{text}</output></div>'
        )


@dataclass(frozen=True)
class Panel:
    """One pair of axes, and where its numbers lie in the picture.

    `parts` are the marks that the formulas move: for each name, the SVG tag and its fixed
    attributes. `drag` gives the slider that a pointer moves along x, or along y. A tick is a
    number, or a number and what stands at it. Without ticks no axes are drawn. `about` describes
    the panel to those who cannot see it, after its title.
    """

    name: str
    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    x_ticks: tuple[float | tuple[float, str], ...]
    y_ticks: tuple[float, ...]
    parts: dict[str, tuple[str, str]]
    drag: dict[str, str] = field(default_factory=dict)
    height: int = HEIGHT
    about: str = ""

    def across(self, x):
        """Where `x` lies, from the left."""
        low, high = self.x
        return LEFT + (np.asarray(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(self, y):
        """Where `y` lies, from the top."""
        low, high = self.y
        tall = self.height - TOP - BOTTOM
        return self.height - BOTTOM - (np.asarray(y) - low) / (high - low) * tall

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

    def bar(self, x, y, width: float) -> dict[str, str]:
        """A bar of height `y` that stands at `x`."""
        left, top = self.across(x - width / 2), self.down(y)
        size = {"width": self.across(x + width / 2) - left, "height": self.down(0) - top}
        return {name: f"{v:.2f}" for name, v in ({"x": left, "y": top} | size).items()}

    def ovals(self, centres, radii) -> dict[str, str]:
        """The outlines of ellipses along the axes; `centres` and `radii` in pairs (x, y)."""
        made = []
        for (x, y), (a, b) in zip(centres, radii, strict=True):
            wide, high = self.across(a) - self.across(0), self.down(0) - self.down(b)
            arc = f"a{wide:.1f} {high:.1f} 0 1 0 "
            corner = f"M{self.across(x) - wide:.1f} {self.down(y):.1f}"
            made.append(f"{corner}{arc}{2 * wide:.1f} 0{arc}{-2 * wide:.1f} 0z")
        return {"d": "".join(made)}

    def cells(self, inside) -> dict[str, str]:
        """The outline of the cells that are `inside`, bool (rows, columns), from the lowest row."""
        rows, columns = inside.shape
        wide, high = (WIDTH - LEFT - RIGHT) / columns, (self.height - TOP - BOTTOM) / rows
        made = []
        for j, row in enumerate(inside):
            top = self.height - BOTTOM - (j + 1) * high
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
        spoken = escape(f"{self.title}. {self.about}" if self.about else self.title)
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" data-panel="{self.name}"{drag} '
            f'aria-label="{spoken}"><text x="{LEFT}" y="14">{escape(self.title)}</text>'
            f"{self._axes()}{marks}</svg>"
        )

    def _axes(self) -> str:
        if not self.x_ticks:
            return ""
        foot, end = self.height - BOTTOM, WIDTH - RIGHT
        made = f'<path class="axis" d="M{LEFT} {TOP}V{foot}H{end}"></path>'
        for tick in self.x_ticks:
            value, text = tick if isinstance(tick, tuple) else (tick, _tick(tick))
            at = f"{self.across(value):.1f}"
            made += f'<path class="axis" d="M{at} {foot}v4"></path>'
            made += f'<text x="{at}" y="{foot + 17}" text-anchor="middle">{text}</text>'
        for tick in self.y_ticks:
            at = self.down(tick)
            made += f'<path class="axis" d="M{LEFT} {at:.1f}h-4"></path>'
            made += f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{_tick(tick)}</text>'
        middle = (LEFT + end) / 2
        label = escape(self.x_label)
        return f'{made}<text x="{middle}" y="{self.height - 5}" text-anchor="middle">{label}</text>'


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
        planes = {p.name: {"x": p.x, "y": p.y, "height": p.height} for p in self.panels}
        box = {"width": WIDTH}
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


def slider_along(name: str, label: str, places, value: float, digits: int = 0) -> Slider:
    """A slider whose places are evenly spaced numbers, from the lowest; it starts at `value`."""
    low, high = places[0], places[-1]
    step = round((high - low) / (len(places) - 1), 10)
    return Slider(name, label, low, high, step, within(name, value, low, high), digits)


def drawn(method: str, width: float = 2) -> str:
    """The attributes of a line that is drawn in the look of a method."""
    colour, line, _ = METHODS[method]
    dashes = DASHES[line] if isinstance(line, str) else " ".join(map(str, line[1]))
    dashes = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'style="fill:none;stroke:var(--symvi-{colour});stroke-width:{width}"{dashes}'


def filled(method: str) -> str:
    return f'style="fill:var(--symvi-{METHODS[method][0]})"'


@functools.cache
def _style() -> str:
    light = " ".join(f"--symvi-{name}: {colour};" for name, colour in COLOURS.items())
    dark = " ".join(f"--symvi-{name}: {colour};" for name, colour in ON_DARK.items())
    return STYLE.replace("LIGHT", light).replace("DARK", dark)


@functools.cache
def _script() -> str:
    return files("symvi.book.interactive").joinpath("figures.js").read_text(encoding="utf-8")
