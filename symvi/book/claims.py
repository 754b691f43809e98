"""A claim: one statement with the numbers that decide it, and the verdict that they imply."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from html import escape

import numpy as np

from symvi.book.names import readable
from symvi.book.paper import PAPER_IDS
from symvi.checks import as_scalar, expected, flag
from symvi.estimates import KINDS, Estimate, decimals_of

# Claims that cannot fail unless the code is wrong: a proved statement held against numbers, or one
# number computed in two ways. The ledger counts them apart from what could have come out otherwise.
IDENTITIES = frozenset(
    {
        "def-2.1",
        "prop-2.2",
        "thm-3.1",
        "eq-4",
        "thm-4.1",
        "cor-4.2",
        "thm-4.3",
        "own-bethe-sandwich",
        "own-ch2-coupons",
        "own-ch4-bounds",
        "own-ch4-half",
        "own-closer",
        "own-depth",
        "own-entropy-bound",
        "own-exact-kl",
        "own-fractional-bound",
        "own-headroom",
        "own-invariance-gap",
        "own-layers",
        "own-numpyro",
        "own-pairwise",
        "own-same-functions",
        "own-signs",
        "own-smc-grid",
        "own-smc-linear",
        "own-stan",
        "own-torch",
        "own-tracing",
        "own-transposition",
    }
)
VERDICTS = {
    "reproduced": "✓",
    "reproduced with a caveat": "≈",
    "improved": "↑",
    "not reproduced": "✗",
}
DEFAULT_TOLERANCE = 0.05
Z_95 = 1.96  # standard errors on each side of a 95 % interval
DIRECTIONS = {
    "exact": "",
    "lower": " (lower bound)",
    "upper": " (upper bound)",
    "approximate": " (approximate)",
}


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

    The fields are the arguments of :func:`symvi.claim`; `numbers` maps names to float, int, bool,
    str, Estimate, pair or list.
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

    @property
    def identity(self) -> bool:
        """Whether it cannot fail unless the code is wrong (``IDENTITIES``)."""
        return self.id in IDENTITIES

    def __repr__(self) -> str:
        paper = f" [paper: {self.paper}]" if self.paper else ""
        numbers = "; ".join(f"{name} = {text}" for name, text in shown(self.numbers))
        caveat = f" Caveat: {self.caveat}" if self.caveat else ""
        head = f"{VERDICTS[self.verdict]} {self.verdict}: {self.id}."
        return f"{head} {self.statement}{paper} Measured: {numbers}.{caveat}"

    def _repr_html_(self) -> str:
        # Structure only: book/_static/book.css draws the box in the page's own colours.
        name = escape(self.id)
        kind = "Identity check" if self.identity else "Claim"
        title = f"{VERDICTS[self.verdict]} {kind} {name}: {self.verdict}."
        paper = f"<p><em>Paper.</em> {escape(self.paper)}</p>" if self.paper else ""
        caveat = f"<p><em>Caveat.</em> {escape(self.caveat)}</p>" if self.caveat else ""
        return (
            f'<div class="symvi-claim" id="claim-{name}">'
            f"<p><strong>{title}</strong> {escape(self.statement)}</p>"
            f"{paper}<ul>{items(self.numbers)}</ul>{caveat}</div>"
        )


def checked_claim(
    chapter: str,
    claim_id,
    statement,
    holds,
    *,
    asserted,
    caveat,
    improved,
    paper,
    tolerance,
    numbers: dict,
) -> Claim:
    """The record of what a cell found; ValueError for what does not belong into the ledger."""
    ours = isinstance(claim_id, str) and re.fullmatch(r"own(-[a-z0-9.]+)+", claim_id)
    if claim_id not in PAPER_IDS and not ours:
        wanted = f"one of the paper's ids ({', '.join(PAPER_IDS)}) or own-..."
        raise expected("claim_id", wanted, repr(claim_id), "rename the claim")
    _check_text("statement", statement, "a non-empty string")
    for name, text in (("caveat", caveat), ("paper", paper)):
        if text is not None:
            _check_text(name, text, "a non-empty string or None")
    if not numbers:
        remedy = "pass what was measured as keyword arguments"
        raise expected(f"claim {claim_id!r}", "numbers", "none", remedy)
    plain_numbers = {name: plain(name, value) for name, value in numbers.items()}
    return Claim(
        chapter=chapter,
        id=claim_id,
        statement=statement,
        holds=_truth("holds", holds),
        asserted=_truth("asserted", asserted),
        improved=_truth("improved", improved),
        caveat=caveat,
        paper=paper,
        tolerance=_checked_tolerance(tolerance, plain_numbers),
        numbers=plain_numbers,
    )


def _check_text(name: str, value, wanted: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise expected(name, wanted, repr(value), "write one plain sentence")


def _truth(name: str, value) -> bool:
    """`value` as a bool; NumPy's and JAX's truth values are good ones."""
    array = np.asarray(value)
    if array.ndim or array.dtype != bool:
        raise expected(name, "a bool", repr(value), "compute it by comparing numbers")
    return flag(name, array.item())


# --- the numbers of a claim ---


def plain(name: str, value):
    """`value` as one of the recorded types, floats to six significant digits.

    ValueError if it is none of them, or not finite.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Estimate):
        return _plain_estimate(name, value)
    if isinstance(value, tuple):
        return _plain_interval(name, value)
    if isinstance(value, list) or np.ndim(value) == 1:
        return [plain(name, v) for v in value]
    return _plain_number(name, value)


def _plain_number(name: str, value) -> bool | int | float:
    number = as_scalar(value)
    if number is None and np.ndim(value) == 0 and np.asarray(value).dtype == bool:
        return bool(value)
    if number is None:
        wanted = "a float, int, bool, str, Estimate, (low, high) or list"
        raise expected(name, wanted, type(value).__name__, "pass plain numbers")
    if not math.isfinite(number):
        raise expected(name, "finite numbers", number, "look for the step that diverged")
    if isinstance(number, int):
        return number
    return float(f"{number:.6g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def _plain_estimate(name: str, value: Estimate) -> Estimate:
    if value.kind not in KINDS or not value.std_error >= 0:
        wanted = f"std_error >= 0 and a kind among {', '.join(KINDS)}"
        raise expected(name, wanted, repr(value), "repair the Estimate")
    mean = _plain_number(name, value.value)
    error = _plain_number(name, value.std_error)
    return Estimate(float(mean), float(error), value.kind)


def _plain_interval(name: str, value: tuple) -> tuple[float, float]:
    ends = [plain(name, v) for v in value]
    numbers = all(type(v) in (int, float) for v in ends)
    if len(ends) != 2 or not numbers or ends[0] > ends[1]:
        wanted = "an interval (low, high) with low <= high"
        raise expected(name, wanted, repr(value), "pass two numbers, or a list of any length")
    low, high = ends
    return float(low), float(high)


def _checked_tolerance(tolerance, numbers: dict):
    by_name = tolerance if isinstance(tolerance, dict) else {}
    unknown = set(by_name) - set(numbers)
    if unknown:
        wanted = f"names among {sorted(numbers)}"
        raise expected("tolerance", wanted, sorted(unknown), "name recorded numbers")
    values = by_name.values() if isinstance(tolerance, dict) else [tolerance]
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            remedy = "pass a relative tolerance, or a dict of absolute ones"
            raise expected("tolerance", "numbers >= 0", repr(tolerance), remedy)
    return tolerance


# --- how they are shown ---


def show(value) -> str:
    """A recorded number as a reader sees it; an Estimate carries its 95 % interval in brackets."""
    if isinstance(value, Estimate):
        return _show_estimate(value)
    if isinstance(value, tuple):
        return f"[{value[0]:.4g}, {value[1]:.4g}]"
    if isinstance(value, list):
        return ", ".join(map(show, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def interval_of(value: Estimate) -> tuple[float, float] | None:
    """The 95 % interval of an estimate; None for a closed form."""
    half = Z_95 * value.std_error
    return (value.value - half, value.value + half) if half else None


def _show_estimate(value: Estimate) -> str:
    decimals = decimals_of(value.std_error)
    if decimals is None:  # a closed form, or rounding
        return f"{value.value:.4g}{DIRECTIONS[value.kind]}"
    low, high = interval_of(value)
    interval = f"[{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{value.value:.{decimals}f} {interval}{DIRECTIONS[value.kind]}"


def shown(numbers: dict) -> list[tuple[str, str]]:
    """Each number with its name in words."""
    return [(readable(name), show(value)) for name, value in numbers.items()]


def items(numbers: dict) -> str:
    """The numbers as the items of an HTML list."""
    return "".join(
        f'<li><span class="symvi-name">{escape(name)}:</span> {escape(text)}</li>'
        for name, text in shown(numbers)
    )


# --- how they are written ---


def to_row(claim: Claim) -> dict:
    """The claim as JSON has it."""
    numbers = {name: _encode(value) for name, value in claim.numbers.items()}
    return {**asdict(claim), "verdict": claim.verdict, "numbers": numbers}


def from_row(row: dict) -> Claim:
    """The claim that :func:`to_row` wrote; ValueError if its facts imply another verdict."""
    facts = {name: value for name, value in row.items() if name != "verdict"}
    facts["numbers"] = {name: _decode(value) for name, value in row["numbers"].items()}
    made = Claim(**facts)
    written = row["verdict"]
    if made.verdict != written:
        raise ValueError(f"claim {made.id} says {written!r}, its facts imply {made.verdict!r}")
    return made


def _encode(value):
    if isinstance(value, Estimate):
        return {"estimate": [value.value, value.std_error], "kind": value.kind}
    if isinstance(value, tuple):
        return {"interval": list(value)}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    return value


def _decode(value):
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "estimate" in value:
        return Estimate(*value["estimate"], value["kind"])
    return tuple(value["interval"])
