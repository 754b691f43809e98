"""The claims ledger as a table that a reader can sort and filter, by keyboard too.

Plain HTML with links into the chapters. Without JavaScript the table is all there, in the order of
the book, and only the controls are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from symvi.book.claims import VERDICTS, Claim, interval_of, show
from symvi.book.names import readable
from symvi.book.paper import MEANINGS, NUMBERS, PAPER_IDS
from symvi.estimates import Estimate

KINDS = {False: "finding", True: "identity check"}
SMALL = 30  # times smaller than the largest, a number is drawn on an axis of its own
SHOWN = 4  # numbers of a claim that are not folded
WIDTH, ROW, EDGE = 120, 12, 6  # of an interval plot, in pixels

STYLE = """<style>
.symvi-ledger { font-size: 0.85rem; }
.symvi-ledger form { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0.5rem 0; }
.symvi-ledger form[hidden], .symvi-ledger tr[hidden] { display: none; }
.symvi-ledger input, .symvi-ledger select { font: inherit; max-width: 11rem; }
.symvi-ledger .box { overflow-x: auto; }
.symvi-ledger table { width: 100%; }
.symvi-ledger th, .symvi-ledger td { text-align: left; vertical-align: top; padding: 0.3rem; }
.symvi-ledger td { min-width: 4rem; overflow-wrap: anywhere; }
.symvi-ledger td.chapter { min-width: 1rem; }
.symvi-ledger td.wide { min-width: 12rem; }
.symvi-ledger tbody th { max-width: 8rem; overflow-wrap: anywhere; }
.symvi-ledger th button { font: inherit; font-weight: bold; color: inherit; padding: 0.1rem 0.3rem;
  background: none; border: 1px solid currentColor; border-radius: 0.2rem; cursor: pointer; }
.symvi-ledger th[aria-sort="ascending"] button::after { content: " \\25B2"; }
.symvi-ledger th[aria-sort="descending"] button::after { content: " \\25BC"; }
.symvi-ledger p { margin: 0 0 0.4rem; }
.symvi-ledger td ul { margin: 0; padding-left: 1em; }
.symvi-ledger svg { display: block; }
@media (max-width: 700px) {
  .symvi-ledger thead, .symvi-ledger tbody { display: block; }
  .symvi-ledger thead tr { display: flex; }
  .symvi-ledger thead th:not([data-sort]) { display: none; }
  .symvi-ledger tbody tr { display: block; border-top: 2px solid currentColor; }
  .symvi-ledger tbody tr[hidden] { display: none; }
  .symvi-ledger tbody th, .symvi-ledger tbody td { display: block; border: 0; max-width: none; }
  .symvi-ledger td.chapter::before { content: "chapter "; }
}
</style>"""

SCRIPT = """<script>
(() => {
  for (const box of document.querySelectorAll(".symvi-ledger:not([data-ready])")) {
    box.dataset.ready = "yes";
    const form = box.querySelector("form");
    const body = box.querySelector("tbody");
    const rows = Array.from(body.rows);
    const heads = Array.from(box.querySelectorAll("th[data-sort]"));
    const choices = Array.from(form.querySelectorAll("select"));
    const show = () => {
      const words = form.elements.words.value.toLowerCase().split(" ").filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word))
          && choices.every((c) => !c.value || row.dataset[c.name] === c.value);
        row.hidden = !fits;
        count += fits;
      }
      form.querySelector("output").textContent = count + " of " + rows.length + " shown";
    };
    const sort = (head) => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.dataset[head.dataset.sort];
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      body.append(...rows.slice().sort((a, b) => (up ? order(a, b) : order(b, a))));
    };
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(head));
    }
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    show();
  }
})();
</script>"""


def summary(claims: list[Claim]) -> dict[str, list]:
    """How many claims have each verdict, identity checks apart, as columns for a table."""
    columns: dict[str, list] = {
        "verdict": [f"{sign} {v}" for v, sign in VERDICTS.items()] + ["all"]
    }
    for whose, of_paper in (("the paper's", True), ("our own", False)):
        for identity, kind in KINDS.items():
            chosen = [c for c in claims if c.identity == identity]
            verdicts = [c.verdict for c in chosen if (c.id in PAPER_IDS) == of_paper]
            counts = [verdicts.count(name) for name in VERDICTS]
            columns[f"{whose}: {kind}s"] = [*counts, len(verdicts)]
    return columns


def table(claims: list[Claim], label: str = "claims") -> str:
    """The ledger, or a part of it, as an HTML table with its controls.

    Parameters
    ----------
    claims : list of Claim
    label : str
        What it lists, for those who hear the page.
    """
    if not claims:
        return "<p>No claims recorded yet: run the chapters first.</p>"
    titles = (("Claim", "id"), ("Ch.", "chapter"), ("Verdict", "rank"), ("Statement", ""))
    heads = [_head(*title) for title in (*titles, ("What was measured", ""))]
    rows = "".join(map(_table_row, claims))
    name = escape(label)
    scroll = f'class="box" tabindex="0" role="region" aria-label="Table of {name}"'
    return (
        f'{STYLE}<div class="symvi-ledger">{_form(claims, name)}<div {scroll}>'
        f'<table class="table"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div>{SCRIPT}"
    )


def _head(title: str, sort: str = "") -> str:
    key = f' data-sort="{sort}"' if sort else ""
    return f'<th scope="col"{key}>{title}</th>'


def _form(claims: list[Claim], label: str) -> str:
    """The controls, which the script shows: what a reader without one could not use."""
    chapters = {c.chapter: _chapter_name(c.chapter) for c in claims}
    kinds = {KINDS[c.identity]: KINDS[c.identity] for c in claims}
    verdicts = {c.verdict: c.verdict for c in claims}
    choices = (("chapter", chapters), ("verdict", verdicts), ("kind", kinds))
    selects = "".join(_select(name, options) for name, options in choices if len(options) > 1)
    words = '<label>words <input type="search" name="words"></label>'
    return f'<form hidden aria-label="Filter of {label}">{words}{selects}<output></output></form>'


def _select(name: str, offered: dict[str, str]) -> str:
    listed = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>'
        for value, text in offered.items()
    )
    options = f'<option value="">all</option>{listed}'
    return f'<label>{name} <select name="{name}">{options}</select></label>'


def _chapter_name(chapter: str) -> str:
    """ "4" for "04-smallest-network"; the name itself where it has no number."""
    first = chapter.split("-")[0]
    return str(int(first)) if first.isdigit() else chapter


def _table_row(claim: Claim) -> str:
    chapter, name, kind = escape(claim.chapter), escape(claim.id), KINDS[claim.identity]
    rank = list(VERDICTS).index(claim.verdict)
    data = f'data-id="{name}" data-chapter="{chapter}" data-rank="{rank}"'
    data += f' data-verdict="{claim.verdict}" data-kind="{kind}"'
    link = f'<a href="{chapter}.html#claim-{name}">{name}</a>'
    judged = f"{VERDICTS[claim.verdict]} <b>{claim.verdict}</b><div>{kind}</div>"
    return (
        f'<tr id="ledger-{name}" {data}><th scope="row">{link}</th>'
        f'<td class="chapter">{_chapter_name(chapter)}</td><td>{judged}</td>'
        f'<td class="wide">{_statement(claim)}</td><td class="wide">{_measured(claim)}</td></tr>'
    )


def _statement(claim: Claim) -> str:
    parts = (
        ("", claim.statement),
        ("<em>What it means.</em> ", MEANINGS.get(claim.id)),
        ("<em>Caveat.</em> ", claim.caveat),
    )
    return "".join(f"<p>{title}{escape(text)}</p>" for title, text in parts if text)


# --- the numbers of a claim ---


@dataclass(frozen=True)
class Number:
    """One recorded number, or a list of them, as the table shows it."""

    name: str
    text: str
    intervals: tuple[tuple[float, float], ...] = ()
    paper: tuple[float, ...] = ()

    @property
    def first(self) -> bool:
        """Whether it stands before those that are folded: it has an interval, or the paper's."""
        return bool(self.intervals or self.paper)

    @property
    def axis(self) -> tuple[float, float]:
        """The least axis on which it can be drawn; it contains zero."""
        ends = [0.0, *self.paper, *(end for pair in self.intervals for end in pair)]
        return min(ends), max(ends)

    def html(self, axis: tuple[float, float]) -> str:
        """An item of a list, with a plot on this axis, or on its own if it is tiny there."""
        if SMALL * max(map(abs, self.axis)) < max(map(abs, axis)):
            axis = self.axis
        paper = f" (paper: {escape(show(list(self.paper)))})" if self.paper else ""
        plot = interval_plot(self.intervals, self.paper, axis) if self.intervals else ""
        name = f'<span class="symvi-name">{escape(self.name)}:</span>'
        return f"<li>{name} {escape(self.text)}{paper}{plot}</li>"


def _measured(claim: Claim) -> str:
    """What the paper reports, and our numbers as a list; those beyond a few are folded."""
    numbers = sorted(numbers_of(claim), key=lambda number: not number.first)
    several = max(SHOWN, sum(number.first for number in numbers))
    ends = [end for number in numbers if number.intervals for end in number.axis] or [0.0]
    listed = [number.html((min(ends), max(ends))) for number in numbers]
    shown, folded = "".join(listed[:several]), "".join(listed[several:])
    rest = len(numbers) - several
    more = f"<details><summary>{rest} more</summary><ul>{folded}</ul></details>" if folded else ""
    if not claim.paper:
        return f"<ul>{shown}</ul>{more}"
    reported = f"<p><em>The paper.</em> {escape(claim.paper)}</p>"
    return f"{reported}<p><em>Ours.</em></p><ul>{shown}</ul>{more}"


def numbers_of(claim: Claim) -> list[Number]:
    """What a claim measured; a value whose interval was recorded beside it becomes one number."""
    found = claim.numbers
    belongs = {f"{name}{end}" for name in found for end in ("_low", "_high", "_interval")}
    names = [name for name in found if not (name in belongs and _owner(name) in found)]
    paper = NUMBERS.get(claim.id, {})
    numbers = []
    for name in names:
        intervals = _intervals(name, found)
        text = show(found[name])
        if f"{name}_interval" in found or f"{name}_low" in found:
            text = _with_intervals(found[name], intervals)
        beside = paper.get(name, ())
        beside = tuple(beside) if isinstance(beside, list) else (beside,) if beside else ()
        numbers.append(Number(readable(name), text, intervals, beside))
    return numbers


def _owner(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _intervals(name: str, found: dict) -> tuple[tuple[float, float], ...]:
    """The intervals of a number: its own, or those that were recorded beside it."""
    if f"{name}_interval" in found:
        return (found[f"{name}_interval"],)
    lows, highs = found.get(f"{name}_low"), found.get(f"{name}_high")
    if isinstance(lows, list) and isinstance(highs, list):
        return tuple(zip(lows, highs, strict=True))
    value = found[name]
    ends = [_ends(v) for v in (value if isinstance(value, list) else [value])]
    return tuple(pair for pair in ends if pair)


def _ends(value) -> tuple[float, float] | None:
    if isinstance(value, Estimate):
        return interval_of(value)
    return value if isinstance(value, tuple) else None


def _with_intervals(value, intervals) -> str:
    values = value if isinstance(value, list) else [value]
    pairs = zip(values, intervals, strict=True)
    return ", ".join(f"{show(v)} {show(pair)}" for v, pair in pairs)


# --- the picture of an interval ---


def interval_plot(intervals, marks, axis: tuple[float, float]) -> str:
    """Bars on an axis (low, high) that contains zero, as inline SVG in the colour of the text.

    A thin line marks zero, a ring the paper's number on the bar of its place. The text beside it
    carries the same numbers, so that those who hear the page miss nothing.
    """
    low, span = axis[0], (axis[1] - axis[0]) or 1.0

    def across(value: float) -> float:
        return round(EDGE + (WIDTH - 2 * EDGE) * (value - low) / span, 1)

    height = ROW * len(intervals)
    zero = across(0.0)
    shapes = [_line(zero, 0, zero, height, 1)]
    for place, pair in enumerate(intervals):
        middle = ROW * (place + 0.5)
        start, end = map(across, pair)
        shapes.append(_line(start, middle, max(end, start + 2), middle, 4))
    for place, mark in enumerate(marks):
        ring = f'cx="{across(mark)}" cy="{ROW * (place + 0.5)}" r="4"'
        shapes.append(f'<circle {ring} fill="none" stroke="currentColor" stroke-width="1.5"/>')
    box = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg {box} aria-hidden="true">{"".join(shapes)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, thickness: int) -> str:
    places = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line {places} stroke="currentColor" stroke-width="{thickness}"/>'
