"""The claims ledger: each claim is stated once, in the cell that measured it, with its numbers and a computed verdict.

A chapter calls :func:`symvi.book.ledger.begin` with its file's stem and then :func:`symvi.claim` for each claim. The records are shown in the page
and written to ``claims/<chapter>.json`` beside the notebook (or into the folder ``$SYMVI_CLAIMS``). ``python -m
symvi.book.ledger compare FRESH COMMITTED`` compares two such folders within the stated tolerances.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from symvi.estimates import KINDS, Estimate

# The statements of Gelberg et al. (2024) that the book checks, in the paper's order; all other ids start with "own-".
PAPER_IDS = (
    "def-2.1",
    "prop-2.2",
    "sec-3",
    "thm-3.1",
    "eq-4",
    "thm-4.1",
    "cor-4.2",
    "thm-4.3",
    "fig-4",
    "tab-1",
    "tab-2",
    "tab-3",
)
VERDICTS = {
    "reproduced": "✓",
    "reproduced with a caveat": "≈",
    "improved": "↑",
    "not reproduced": "✗",
}
DEFAULT_TOLERANCE = 0.05
STANDARD_ERRORS = 4.0  # two runs of an Estimate may differ by this many combined standard errors
ROUNDING = 1e-5  # relative; numbers are written with six significant digits
RESIDUAL = 1e-9  # absolute; what is left of exact identities differs between processors
_RUN: dict = {}  # the chapter being executed: its name, its file and the claims so far


def verdict(holds: bool, caveat: str | None, improved: bool) -> str:
    """The verdict that the facts imply, one of ``VERDICTS``."""
    if not holds:
        return "not reproduced"
    if improved:
        return "improved"
    return "reproduced with a caveat" if caveat else "reproduced"


@dataclass(frozen=True)
class Claim:
    """One row of the ledger; shows itself as a box in a notebook and as a line in a terminal.

    The fields are the arguments of :func:`symvi.claim`; `numbers` maps names to float, int, bool, str, Estimate, pair or list.
    """

    chapter: str
    id: str
    statement: str
    holds: bool
    asserted: bool = True
    improved: bool = False
    caveat: str | None = None
    paper: str | None = None
    tolerance: float | dict = DEFAULT_TOLERANCE
    numbers: dict = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Computed from the recorded facts, never typed."""
        return verdict(self.holds, self.caveat, self.improved)

    def __repr__(self) -> str:
        numbers = "; ".join(
            f"{name.replace('_', ' ')} = {show(value)}" for name, value in self.numbers.items()
        )
        paper = f" [paper: {self.paper}]" if self.paper else ""
        caveat = f" Caveat: {self.caveat}" if self.caveat else ""
        return f"{VERDICTS[self.verdict]} {self.verdict}: {self.id}. {self.statement}{paper} Measured: {numbers}.{caveat}"

    def _repr_html_(self) -> str:
        # Structure only: book/_static/book.css draws the box in the page's own colours, light or dark.
        paper = f"<p><em>Paper.</em> {escape(self.paper)}</p>" if self.paper else ""
        caveat = f"<p><em>Caveat.</em> {escape(self.caveat)}</p>" if self.caveat else ""
        return (
            f'<div class="symvi-claim" id="claim-{escape(self.id)}"><p><strong>{VERDICTS[self.verdict]} Claim {escape(self.id)}: '
            f"{self.verdict}.</strong> {escape(self.statement)}</p>{paper}<ul>{_items(self.numbers)}</ul>{caveat}</div>"
        )


def show(value) -> str:
    """A recorded number as a reader sees it; an Estimate carries its 95 % interval in brackets."""
    if isinstance(value, Estimate):
        note = {
            "exact": "",
            "lower": " (lower bound)",
            "upper": " (upper bound)",
            "approximate": " (approximate)",
        }[value.kind]
        half = 1.96 * value.std_error
        return (
            f"{value.value:.4g}"
            + (f" [{value.value - half:.4g}, {value.value + half:.4g}]" if half else "")
            + note
        )
    if isinstance(value, tuple):
        return f"[{value[0]:.4g}, {value[1]:.4g}]"
    if isinstance(value, list):
        return ", ".join(map(show, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _items(numbers: dict) -> str:
    return "".join(
        f'<li><span class="symvi-name">{escape(name.replace("_", " "))}:</span> {escape(show(value))}</li>'
        for name, value in numbers.items()
    )


def begin(chapter: str) -> None:
    """Start the record of a chapter, named by its notebook's stem, for example ``begin("03-mode-seeking")``.

    The file of an earlier run stays until the first claim of this one replaces it.

    Raises
    ------
    ValueError
        A name that is not lower-case letters, digits and hyphens.
    """
    if not isinstance(chapter, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", chapter):
        raise ValueError(
            f"chapter: expected lower-case letters, digits and hyphens, got {chapter!r}; pass the notebook's stem, for example '03-mode-seeking'"
        )
    _RUN.clear()
    folder = Path(
        os.environ.get("SYMVI_CLAIMS") or "claims"
    ).resolve()  # now: the chapter may change its working folder
    _RUN.update(chapter=chapter, path=folder / f"{chapter}.json", claims=[])


def claim(
    claim_id,
    statement,
    holds,
    *,
    asserted=True,
    caveat=None,
    improved=False,
    paper=None,
    tolerance=DEFAULT_TOLERANCE,
    **numbers,
) -> None:
    """Record a claim with the numbers that decide it, and show it.

    Parameters
    ----------
    claim_id : str
        One of ``PAPER_IDS``, or ``"own-..."`` for our own claims; once a chapter.
    statement : str
        What is claimed, in one plain sentence.
    holds : bool
        Whether the numbers bear it out; computed by the cell.
    asserted : bool
        Whether a claim that does not hold is an error. False records an open question.
    caveat : str or None
        Text, if the cell found that the claim holds only with a reservation.
    improved : bool
        Whether the result goes beyond what the paper states; computed.
    paper : str or None
        What the paper reports, with its table or figure.
    tolerance : float or dict
        How far two runs may differ: relative (5% by default), or absolute by name. An :class:`~symvi.Estimate` that is
        not named may differ by 4 combined standard errors.
    **numbers
        Floats, ints, bools, strings, Estimates, (low, high) intervals, or lists; nats unless the name says otherwise.

    Raises
    ------
    ValueError
        Before :func:`symvi.book.ledger.begin`, for a bad or repeated id, no numbers, or a number that is not finite or of an unknown type.
    AssertionError
        If an asserted claim does not hold; it is recorded and shown first.
    """
    if not _RUN:
        raise ValueError(
            'claim: expected an open chapter, got none; call symvi.book.ledger.begin("<notebook stem>") in the first cell'
        )
    if claim_id not in PAPER_IDS and not (
        isinstance(claim_id, str) and re.fullmatch(r"own(-[a-z0-9.]+)+", claim_id)
    ):
        raise ValueError(
            f"claim_id: expected one of the paper's ids ({', '.join(PAPER_IDS)}) or own-..., got {claim_id!r}; rename the claim"
        )
    if any(c.id == claim_id for c in _RUN["claims"]):
        raise ValueError(
            f"claim_id: expected an id not yet used in {_RUN['chapter']}, got {claim_id!r} again; state each claim once, and run the notebook from its first cell"
        )
    for name, value in (("statement", statement), ("caveat", caveat), ("paper", paper)):
        if not (isinstance(value, str) and value.strip()) and (
            value is not None or name == "statement"
        ):
            raise ValueError(
                f"{name}: expected a non-empty string{'' if name == 'statement' else ' or None'}, got {value!r}; write one plain sentence"
            )
    if not numbers:
        raise ValueError(
            f"claim {claim_id!r}: expected numbers, got none; pass what was measured as keyword arguments"
        )
    for name, value in (("holds", holds), ("asserted", asserted), ("improved", improved)):
        if np.ndim(value) or np.asarray(value).dtype != bool:
            raise ValueError(
                f"{name}: expected a bool, got {value!r}; compute it by comparing numbers"
            )
    numbers = {name: _plain(name, value) for name, value in numbers.items()}
    made = Claim(
        _RUN["chapter"],
        claim_id,
        statement,
        bool(holds),
        bool(asserted),
        bool(improved),
        caveat,
        paper,
        _checked_tolerance(tolerance, numbers),
        numbers,
    )
    _RUN["claims"].append(made)
    _write(_RUN["path"], _RUN["chapter"], _RUN["claims"])
    _display(made)
    if made.asserted and not made.holds:
        raise AssertionError(f"an asserted claim does not hold. {made!r}")


def _plain(name: str, value):
    """`value` as one of the recorded types, floats to six significant digits; ValueError if it is none of them."""
    if isinstance(value, Estimate):
        if value.kind not in KINDS or not value.std_error >= 0:
            raise ValueError(
                f"{name}: expected std_error >= 0 and a kind among {', '.join(KINDS)}, got {value!r}; repair the Estimate"
            )
        return Estimate(
            float(_plain(name, value.value)), float(_plain(name, value.std_error)), value.kind
        )
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        ends = [_plain(name, v) for v in value]
        if len(ends) != 2 or not all(type(v) in (int, float) for v in ends) or ends[0] > ends[1]:
            raise ValueError(
                f"{name}: expected an interval (low, high) with low <= high, got {value!r}; pass two numbers, or a list of any length"
            )
        return float(ends[0]), float(ends[1])
    if isinstance(value, list) or np.ndim(value) == 1:
        return [_plain(name, v) for v in value]
    kind = np.asarray(value).dtype.kind if np.ndim(value) == 0 else "?"
    if kind == "b":
        return bool(value)
    if kind in "iu":
        return int(value)
    if kind != "f":
        raise ValueError(
            f"{name}: expected a float, int, bool, str, Estimate, (low, high) or list, got {type(value).__name__}; pass plain numbers"
        )
    if not math.isfinite(value):
        raise ValueError(
            f"{name}: expected finite numbers, got {value}; look for the step that diverged"
        )
    return float(f"{float(value):.6g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def _checked_tolerance(tolerance, numbers: dict):
    by_name = tolerance if isinstance(tolerance, dict) else {}
    if unknown := set(by_name) - set(numbers):
        raise ValueError(
            f"tolerance: expected names among {sorted(numbers)}, got {sorted(unknown)}; name recorded numbers"
        )
    values = by_name.values() if isinstance(tolerance, dict) else [tolerance]
    if any(
        isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v < math.inf
        for v in values
    ):
        raise ValueError(
            f"tolerance: expected numbers >= 0, got {tolerance!r}; pass a relative tolerance, or a dict of absolute ones"
        )
    return tolerance


def _display(made: Claim) -> None:
    """A box inside IPython, one line elsewhere."""
    if "IPython" in sys.modules:
        from IPython import display, get_ipython

        if get_ipython() is not None:
            display.display(made)
            return
    print(made)


def _encode(value):
    if isinstance(value, Estimate):
        return {"estimate": [value.value, value.std_error], "kind": value.kind}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    return {"interval": list(value)} if isinstance(value, tuple) else value


def _decode(value):
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    return (
        Estimate(*value["estimate"], value["kind"])
        if "estimate" in value
        else tuple(value["interval"])
    )


def _write(path: Path, chapter: str, claims: list) -> None:
    """Replace the file in one step, so that a reader never meets half of it."""
    rows = [
        {
            **asdict(c),
            "verdict": c.verdict,
            "numbers": {name: _encode(v) for name, v in c.numbers.items()},
        }
        for c in claims
    ]
    text = (
        json.dumps(
            {"chapter": chapter, "claims": rows}, indent=1, sort_keys=True, ensure_ascii=False
        )
        + "\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_ledger(folder="claims") -> list[Claim]:
    """All records of a folder, by chapter and then in the order they were stated; [] for an empty or missing folder.

    Raises
    ------
    ValueError
        A file that is no ledger file, or whose written verdict is not the one its facts imply.
    """
    claims = []
    for file in sorted(Path(folder).glob("*.json")):
        try:
            for row in json.loads(file.read_text(encoding="utf-8"))["claims"]:
                written = row.pop("verdict")
                made = Claim(
                    **{
                        **row,
                        "numbers": {name: _decode(value) for name, value in row["numbers"].items()},
                    }
                )
                if made.verdict != written:
                    raise ValueError(
                        f"claim {made.id} says {written!r}, its facts imply {made.verdict!r}"
                    )
                claims.append(made)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file.name}: expected a file that symvi.claim wrote, got one that does not fit ({error}); run the chapter again"
            ) from error
    return claims


def compare(fresh, committed) -> list[str]:
    """The differences between two folders of records beyond the committed tolerances, as readable lines; empty if none.

    A claim or number on one side only and a changed verdict are differences. Text and truth values may not change.
    """
    new, old = ({(c.chapter, c.id): c for c in read_ledger(path)} for path in (fresh, committed))
    lines = []
    for key in sorted(new.keys() | old.keys()):
        label = "/".join(key)
        if key not in new or key not in old:
            lines.append(f"{label}: only in the {'fresh' if key in new else 'committed'} ledger")
            continue
        a, b = new[key], old[key]
        if a.verdict != b.verdict:
            lines.append(f"{label}: verdict {b.verdict!r} became {a.verdict!r}")
        for name in sorted(a.numbers.keys() | b.numbers.keys()):
            if name not in a.numbers or name not in b.numbers:
                lines.append(
                    f"{label}: {name} only in the {'fresh' if name in a.numbers else 'committed'} ledger"
                )
            elif not _close(a.numbers[name], b.numbers[name], b.tolerance, name):
                lines.append(
                    f"{label}: {name} was {show(b.numbers[name])}, is {show(a.numbers[name])}"
                )
    return lines


def _close(a, b, tolerance, name: str) -> bool:
    """Whether the fresh value `a` agrees with the committed value `b`; an interval is judged on the scale of its larger end."""
    if type(a) is not type(b) and {type(a), type(b)} != {int, float}:
        return False
    if isinstance(a, (bool, str)):
        return a == b
    if isinstance(a, list):
        return len(a) == len(b) and all(
            _close(u, v, tolerance, name) for u, v in zip(a, b, strict=True)
        )
    relative, slack, pairs = (
        (DEFAULT_TOLERANCE if isinstance(tolerance, dict) else tolerance),
        0.0,
        [(a, b)],
    )
    if isinstance(a, Estimate):
        if a.kind != b.kind:
            return False
        relative, slack, pairs = (
            0.0,
            STANDARD_ERRORS * math.hypot(a.std_error, b.std_error),
            [(a.value, b.value)],
        )
    elif isinstance(a, tuple):
        pairs = list(zip(a, b, strict=True))
    if isinstance(tolerance, dict) and name in tolerance:
        relative, slack = 0.0, tolerance[name]
    allowed = slack + (relative + ROUNDING) * max(abs(v) for pair in pairs for v in pair) + RESIDUAL
    return all(abs(u - v) <= allowed for u, v in pairs)


def table(claims: list[Claim]) -> str:
    """The ledger as an HTML table with links into the chapters; it scrolls in its own box on a narrow screen."""
    if not claims:
        return "<p>No claims recorded yet: run the chapters first.</p>"
    cell = "text-align:left;vertical-align:top;padding:0.4em 0.6em"
    with_paper = any(c.paper for c in claims)
    rows = []
    for c in claims:
        link = f'<a href="{escape(c.chapter)}.html#claim-{escape(c.id)}">{escape(c.id)}</a>'
        caveat = f"<div>Caveat: {escape(c.caveat)}</div>" if c.caveat else ""
        paper = [escape(c.paper or "no number")] if with_paper else []
        numbers = f'<ul style="margin:0;padding-left:1em;min-width:12rem">{_items(c.numbers)}</ul>'
        content = [
            f"{link}<div>{VERDICTS[c.verdict]} <b>{c.verdict}</b></div>{caveat}",
            escape(c.statement),
            *paper,
            numbers,
        ]
        rows.append("<tr>" + "".join(f'<td style="{cell}">{v}</td>' for v in content) + "</tr>")
    titles = [
        "Claim and verdict",
        "Statement",
        *(["The paper reports"] if with_paper else []),
        "We measure",
    ]
    head = "".join(f'<th scope="col" style="{cell}">{title}</th>' for title in titles)
    return (
        '<div class="symvi-ledger" style="overflow-x:auto" tabindex="0" role="region" aria-label="Table of claims; scrolls sideways">'
        f'<table class="table" style="min-width:40rem"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def main(arguments) -> int:
    """The command line: ``compare FRESH COMMITTED`` prints the differences and exits with 1 if there are any."""
    if len(arguments) != 3 or arguments[0] != "compare":
        print(
            "usage: python -m symvi.book.ledger compare FRESH_FOLDER COMMITTED_FOLDER",
            file=sys.stderr,
        )
        return 2
    lines = compare(*arguments[1:])
    print(
        "\n".join(lines)
        or f"claims: {len(read_ledger(arguments[1]))} fresh records agree with the committed ones"
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
