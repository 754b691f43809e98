"""The claims ledger: what the chapters claim, written to files, read, shown and compared.

A chapter makes its claims by :class:`symvi.book.Chapter`. The records are shown in the page and
written to ``claims/<chapter>.json`` beside the notebook (or into the folder ``$SYMVI_CLAIMS``).
``python -m symvi.book.ledger compare FRESH COMMITTED`` compares two such folders within the stated
tolerances. The table of the page is made in ledger_table.py.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from symvi import files
from symvi.book.claims import (
    DEFAULT_TOLERANCE,
    IDENTITIES,
    VERDICTS,
    Claim,
    from_row,
    show,
    to_row,
    verdict,
)
from symvi.book.ledger_table import summary, table
from symvi.book.paper import PAPER_IDS
from symvi.checks import expected
from symvi.estimates import Estimate

__all__ = [
    "IDENTITIES",
    "PAPER_IDS",
    "VERDICTS",
    "Claim",
    "compare",
    "main",
    "read_ledger",
    "summary",
    "table",
    "verdict",
    "write_claims",
]

STANDARD_ERRORS = 4.0  # two runs of an Estimate may differ by this many combined standard errors
ROUNDING = 1e-5  # relative; numbers are written with six significant digits
RESIDUAL = 1e-9  # absolute; what is left of exact identities differs between processors


def write_claims(path, chapter: str, claims: list[Claim]) -> None:
    """Write a chapter's file in one step, so that a reader never meets half of it."""
    content = {"chapter": chapter, "claims": [to_row(claim) for claim in claims]}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    files.write_text(path, text + "\n")


def read_ledger(folder="claims") -> list[Claim]:
    """All records of a folder, by chapter and then in the order they were stated.

    [] for an empty or missing folder.

    Raises
    ------
    ValueError
        A file that is no ledger file, or whose written verdict is not the one its facts imply.
    """
    claims = []
    for file in sorted(Path(folder).glob("*.json")):
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))["claims"]
            claims += [from_row(row) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wanted = "a file that symvi.claim wrote"
            got = f"one that does not fit ({error})"
            raise expected(file.name, wanted, got, "run the chapter again") from error
    return claims


def compare(fresh, committed) -> list[str]:
    """The differences between two folders of records beyond the committed tolerances.

    One readable line for each, none if the records agree. A claim or number on one side only and a
    changed verdict are differences. Text and truth values may not change.

    Raises
    ------
    ValueError
        A folder without records: nothing was compared, which is not the same as no difference.
    """
    new = _by_name("fresh", fresh)
    old = _by_name("committed", committed)
    lines = []
    for key in sorted(new.keys() | old.keys()):
        label = "/".join(key)
        if key in new and key in old:
            lines += [f"{label}: {text}" for text in _differences(new[key], old[key])]
        else:
            lines.append(f"{label}: {_only_in(key, new)}")
    return lines


def _by_name(side: str, folder) -> dict[tuple[str, str], Claim]:
    """The records of a folder by chapter and id."""
    claims = read_ledger(folder)
    if not claims:
        remedy = "run the chapters, or name the folder that they wrote to"
        raise expected(side, "a folder with the claims of chapters", f"none in {folder}", remedy)
    return {(claim.chapter, claim.id): claim for claim in claims}


def _only_in(name, new) -> str:
    return f"only in the {'fresh' if name in new else 'committed'} ledger"


def _differences(new: Claim, old: Claim) -> list[str]:
    lines = []
    if new.verdict != old.verdict:
        lines.append(f"verdict {old.verdict!r} became {new.verdict!r}")
    for name in sorted(new.numbers.keys() | old.numbers.keys()):
        if name not in new.numbers or name not in old.numbers:
            lines.append(f"{name} {_only_in(name, new.numbers)}")
            continue
        is_, was = new.numbers[name], old.numbers[name]
        if not _close(is_, was, old.tolerance, name):
            lines.append(f"{name} was {show(was)}, is {show(is_)}")
    return lines


def _close(new, old, tolerance, name: str) -> bool:
    """Whether the fresh value agrees with the committed one.

    An interval is judged on the scale of its larger end.
    """
    if type(new) is not type(old) and {type(new), type(old)} != {int, float}:
        return False
    if isinstance(new, (bool, str)):
        return new == old
    if isinstance(new, list):
        pairs = zip(new, old, strict=False)
        return len(new) == len(old) and all(_close(*pair, tolerance, name) for pair in pairs)
    if isinstance(new, Estimate) and new.kind != old.kind:
        return False
    relative, slack = _allowance(new, old, tolerance, name)
    pairs = _numbers_in(new, old)
    scale = max(abs(value) for pair in pairs for value in pair)
    allowed = slack + (relative + ROUNDING) * scale + RESIDUAL
    return all(abs(a - b) <= allowed for a, b in pairs)


def _allowance(new, old, tolerance, name: str) -> tuple[float, float]:
    """How far two values may differ: relative to their size, and absolute."""
    if isinstance(tolerance, dict) and name in tolerance:
        return 0.0, tolerance[name]
    if isinstance(new, Estimate):
        return 0.0, STANDARD_ERRORS * math.hypot(new.std_error, old.std_error)
    return (DEFAULT_TOLERANCE if isinstance(tolerance, dict) else tolerance), 0.0


def _numbers_in(new, old) -> list[tuple[float, float]]:
    """The pairs of numbers that two values of the same type consist of."""
    if isinstance(new, Estimate):
        return [(new.value, old.value)]
    if isinstance(new, tuple):
        return list(zip(new, old, strict=True))
    return [(new, old)]


# --- the command line ---


def main(arguments) -> int:
    """``compare FRESH COMMITTED`` prints the differences; 1 if there are any, 2 without records."""
    if len(arguments) != 3 or arguments[0] != "compare":
        usage = "usage: python -m symvi.book.ledger compare FRESH_FOLDER COMMITTED_FOLDER"
        print(usage, file=sys.stderr)
        return 2
    _, fresh, committed = arguments
    try:
        lines = compare(fresh, committed)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    count = len(read_ledger(fresh))
    agreed = f"claims: {count} fresh records agree with the committed ones"
    print("\n".join(lines) or agreed)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
