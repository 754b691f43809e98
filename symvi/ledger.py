"""The claims ledger: each claim is stated once, in the cell that measured it, with its numbers and a computed verdict.

A chapter calls :func:`begin` with its file's stem and then :func:`claim` for each claim. The records are written to
``claims/<chapter>.json`` beside the notebook (or into the folder ``$SYMVI_CLAIMS``). ``python -m symvi.ledger compare
FRESH COMMITTED`` compares two such folders within the stated tolerances.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from symvi.estimates import KINDS, Estimate

VERDICTS = ("reproduced", "reproduced with a caveat", "improved", "not reproduced")
STANDARD_ERRORS = 4.0  # two runs of an Estimate may differ by this many combined standard errors
_open: dict = {"chapter": None, "claims": []}


@dataclass(frozen=True)
class Claim:
    """One row of the ledger; shows itself as a box in a notebook and as a line in a terminal."""

    id: str
    chapter: str
    statement: str
    holds: bool
    asserted: bool
    caveat: str | None
    improved: bool
    paper: str | None
    tolerance: float | dict
    numbers: dict

    @property
    def verdict(self) -> str:
        """Computed from the recorded facts, never typed."""
        return verdict(self.holds, self.caveat, self.improved)

    def __repr__(self) -> str:
        numbers = "; ".join(f"{name} = {show(value)}" for name, value in self.numbers.items())
        return f"[{self.id}] {self.verdict}: {self.statement} {numbers}" + (f" (caveat: {self.caveat})" if self.caveat else "")

    def _repr_html_(self) -> str:
        rows = "".join(f"<li><span class='symvi-name'>{html.escape(name.replace('_', ' '))}</span> {html.escape(show(value))}</li>" for name, value in self.numbers.items())
        caveat = f"<p><em>Caveat.</em> {html.escape(self.caveat)}</p>" if self.caveat else ""
        paper = f"<p><em>Paper.</em> {html.escape(self.paper)}</p>" if self.paper else ""
        return (
            f"<div class='symvi-claim' id='claim-{self.id}'><p><strong>Claim {self.id}: {self.verdict}.</strong> "
            f"{html.escape(self.statement)}</p>{paper}<ul>{rows}</ul>{caveat}</div>"
        )


def verdict(holds: bool, caveat: str | None, improved: bool) -> str:
    """The verdict that the facts imply."""
    if not holds:
        return "not reproduced"
    if improved:
        return "improved"
    return "reproduced with a caveat" if caveat else "reproduced"


def begin(chapter: str) -> None:
    """Start the record of a chapter, named by its notebook's stem, for example ``begin("03-mode-seeking")``.

    The file of an earlier run stays until the first claim of this one is written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(chapter)):
        raise ValueError(f"chapter: expected lower-case letters, digits and hyphens, got {chapter!r}; pass the notebook's stem")
    _open.update(chapter=chapter, claims=[])


def claim(claim_id, statement, holds, *, asserted=True, caveat=None, improved=False, paper=None, tolerance=0.05, **numbers) -> Claim | None:
    """Record a claim with the numbers that decide it, and show it.

    Parameters
    ----------
    claim_id : str
        An id such as ``"thm-4.1"``; once a chapter. Our own claims start with ``"own-"``.
    statement : str
        What is claimed, in one sentence.
    holds : bool
        Whether the numbers bear it out; computed by the cell.
    asserted : bool
        Whether a claim that does not hold is an error (AssertionError). False records an open question.
    caveat : str or None
        Text, if the cell found that the claim holds only with a reservation.
    improved : bool
        Whether the result goes beyond what the paper states.
    paper : str, optional
        What the paper reports, with its table or figure.
    tolerance : float or dict
        How far two runs may differ: relative (5% by default), or absolute by name. An :class:`Estimate` may differ by
        4 combined standard errors.
    **numbers
        Floats, ints, bools, strings, Estimates, or (low, high) intervals; nats unless the name says otherwise.

    Returns
    -------
    Claim or None
        The record; None in a notebook, where it shows itself.

    Raises
    ------
    ValueError
        Before :func:`begin`, for a repeated id, no numbers, or a number that is not finite or of an unknown type.
    AssertionError
        If an asserted claim does not hold; it is recorded first.
    """
    if _open["chapter"] is None:
        raise ValueError('claim: expected an open chapter, got none; call symvi.ledger.begin("<notebook stem>") first')
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(claim_id)):
        raise ValueError(f"claim_id: expected lower-case letters, digits, dots and hyphens, got {claim_id!r}; use for example 'thm-4.1'")
    if any(c.id == claim_id for c in _open["claims"]):
        raise ValueError(f"claim_id: expected an id not yet used in {_open['chapter']}, got {claim_id!r} again; state each claim once")
    if not isinstance(holds, (bool, np.bool_)):
        raise ValueError(f"holds: expected a bool computed from the numbers, got {type(holds).__name__}; compare the numbers")
    if not numbers:
        raise ValueError(f"claim {claim_id!r}: expected numbers, got none; pass what was measured as keyword arguments")
    record = Claim(claim_id, _open["chapter"], statement, bool(holds), bool(asserted), caveat, bool(improved), paper, tolerance, {k: _plain(k, v) for k, v in numbers.items()})
    _open["claims"].append(record)
    _write()
    if record.asserted and not record.holds:
        raise AssertionError(repr(record))
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(record)
        return None
    print(record)
    return record


def read_ledger(folder="claims") -> list[Claim]:
    """All records of a folder, by chapter and then in the order they were stated."""
    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        rows += [Claim(chapter=path.stem, **row) for row in json.loads(path.read_text(encoding="utf-8"))]
    return rows


def compare(fresh, committed) -> list[str]:
    """The differences between two folders of records beyond the committed tolerances, as readable lines; empty if none."""
    new, old = ({(c.chapter, c.id): c for c in read_ledger(folder)} for folder in (fresh, committed))
    lines = [f"{c}: {i}: only in {where}" for side, other, where in ((new, old, fresh), (old, new, committed)) for c, i in sorted(side.keys() - other.keys())]
    for key in sorted(new.keys() & old.keys()):
        a, b = new[key], old[key]
        if a.verdict != b.verdict:
            lines.append(f"{key[0]}: {key[1]}: verdict {a.verdict!r}, committed {b.verdict!r}")
        for name in sorted(a.numbers.keys() | b.numbers.keys()):
            if name not in a.numbers or name not in b.numbers or not _close(a.numbers[name], b.numbers[name], name, b.tolerance):
                lines.append(f"{key[0]}: {key[1]}: {name} = {show(a.numbers.get(name))}, committed {show(b.numbers.get(name))}")
    return lines


def show(value) -> str:
    """A number as a reader sees it."""
    if isinstance(value, dict):
        return f"{value['value']:.4g} ± {value['std_error']:.2g} ({value['kind']})" if value["std_error"] else f"{value['value']:.4g} ({value['kind']})"
    if isinstance(value, list):
        return "[" + ", ".join(show(v) for v in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(name, value):
    """A number as JSON holds it, to 6 significant digits."""
    if isinstance(value, Estimate):
        if value.kind not in KINDS:
            raise ValueError(f"{name}: expected an Estimate of kind {KINDS}, got {value.kind!r}; choose one of these")
        return {"value": _plain(name, value.value), "std_error": _plain(name, value.std_error), "kind": value.kind}
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (tuple, list)) and value:
        return [_plain(name, v) for v in value]
    if isinstance(value, str):
        return value
    if np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.number):
        if not np.isfinite(value):
            raise ValueError(f"{name}: expected a finite number, got {value}; look for the step that diverged")
        return int(value) if np.issubdtype(np.asarray(value).dtype, np.integer) else float(f"{float(value):.6g}")
    raise ValueError(f"{name}: expected a number, bool, string, Estimate or interval, got {type(value).__name__}; pass plain numbers")


def _close(a, b, name, tolerance) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        allowed = STANDARD_ERRORS * math.hypot(a["std_error"], b["std_error"]) + 1e-5 * abs(b["value"]) + 1e-9
        if isinstance(tolerance, dict) and name in tolerance:
            allowed = tolerance[name]
        return a["kind"] == b["kind"] and abs(a["value"] - b["value"]) <= allowed
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(u, v, name, tolerance) for u, v in zip(a, b, strict=True))
    if isinstance(a, (bool, str)) or isinstance(b, (bool, str)):
        return a == b
    if a is None or b is None or isinstance(a, (dict, list)) or isinstance(b, (dict, list)):
        return False
    relative = 0.05 if isinstance(tolerance, dict) else tolerance
    allowed = tolerance[name] if isinstance(tolerance, dict) and name in tolerance else relative * max(abs(a), abs(b)) + 1e-9
    return abs(a - b) <= allowed


def _write() -> None:
    folder = Path(os.environ.get("SYMVI_CLAIMS") or "claims")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{k: getattr(c, k) for k in Claim.__dataclass_fields__ if k != "chapter"} for c in _open["claims"]]
    partial = folder / f".{_open['chapter']}.json.tmp"
    partial.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / f"{_open['chapter']}.json")


def main(arguments) -> int:
    """The command line: ``compare FRESH COMMITTED`` prints the differences and exits with 1 if there are any."""
    if len(arguments) != 3 or arguments[0] != "compare":
        print("usage: python -m symvi.ledger compare FRESH_FOLDER COMMITTED_FOLDER", file=sys.stderr)
        return 2
    lines = compare(*arguments[1:])
    print("\n".join(lines) if lines else f"claims: {len(read_ledger(arguments[1]))} fresh records agree with the committed ones")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
