"""The record of a chapter while it runs: numbers for its text, claims for the ledger, its cost."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import numpy as np

from symvi.book.claims import DEFAULT_TOLERANCE, Claim, checked_claim
from symvi.book.ledger import write_claims
from symvi.checks import as_scalar, described, expected

ROUNDED_TO = 5  # seconds, in the run time that a chapter states


class Chapter:
    """What a chapter notes and claims while it runs.

    Works in a notebook that the book builds, in any other kernel, in a script, and without the
    packages of the book: then numbers are only kept, and claims are printed.

    Parameters
    ----------
    name : str
        The stem of the notebook's file, for example ``"05-symmetrization"``. Claims go to
        ``claims/<name>.json`` in the working folder, or into the folder ``$SYMVI_CLAIMS``. The file
        of an earlier run stays until the first claim of this one replaces it.

    Attributes
    ----------
    notes : dict
        The numbers and words noted so far, by their full names, for example ``"ch5_rmse"``.
    claims : list of Claim
        The claims made so far.

    Raises
    ------
    ValueError
        A name that is not lower-case letters, digits and hyphens.
    """

    def __init__(self, name: str):
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            wanted = "lower-case letters, digits and hyphens"
            remedy = "pass the notebook's stem, for example '03-mode-seeking'"
            raise expected("chapter", wanted, repr(name), remedy)
        self.name = name
        self.notes: dict[str, float | int | str] = {}
        self.claims: list[Claim] = []
        folder = Path(os.environ.get("SYMVI_CLAIMS") or "claims")
        self._path = folder.resolve() / f"{name}.json"  # now: the chapter may change its folder
        self._prefix = _prefix(name)
        self._started = time.perf_counter()
        _Open.chapter = self

    def note(self, name: str, value) -> None:
        """Keep a number or a word for the text of the page, under ``ch5_<name>`` in chapter 5.

        The text shows it by ``{glue:text}`ch5_<name>:.2f```. Noted again, it is replaced.

        Raises
        ------
        ValueError
            A value that is neither one number nor text.
        """
        full = f"{self._prefix}_{name}"
        self.notes[full] = _number_or_text(full, value)
        _glue(full, self.notes[full])

    def claim(
        self,
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
            One of ``symvi.book.ledger.PAPER_IDS``, or ``"own-..."`` for our own; once a chapter.
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
            How far two runs may differ: relative (5% by default), or absolute by name. An
            :class:`~symvi.Estimate` that is not named may differ by 4 combined standard errors.
        **numbers
            Floats, ints, bools, strings, Estimates, (low, high) intervals, or lists; nats unless
            the name says otherwise.

        Raises
        ------
        ValueError
            A bad or repeated id, no numbers, or a number that is not finite or of an unknown type.
        AssertionError
            If an asserted claim does not hold; it is recorded and shown first.
        """
        made = checked_claim(
            self.name,
            claim_id,
            statement,
            holds,
            asserted=asserted,
            caveat=caveat,
            improved=improved,
            paper=paper,
            tolerance=tolerance,
            numbers=numbers,
        )
        if any(earlier.id == made.id for earlier in self.claims):
            wanted = f"an id not yet used in {self.name}"
            remedy = "state each claim once, and run the notebook from its first cell"
            raise expected("claim_id", wanted, f"{made.id!r} again", remedy)
        self.claims.append(made)
        write_claims(self._path, self.name, self.claims)
        _display(made)
        if made.asserted and not made.holds:
            raise AssertionError(f"an asserted claim does not hold. {made!r}")

    def close(self) -> None:
        """End the chapter: note its ``run_time`` in seconds, to the nearest 5, and the
        ``peak_memory`` of this process in GB (not on Windows, where nothing tells it)."""
        passed = time.perf_counter() - self._started
        self.note("run_time", ROUNDED_TO * max(1, round(passed / ROUNDED_TO)))
        peak = _peak_memory()
        if peak is not None:
            self.note("peak_memory", peak)
        if _Open.chapter is self:
            _Open.chapter = None


def _peak_memory() -> float | None:
    """The most memory that this process has held so far, in GB of 10^9 bytes."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class _Open:
    """The chapter that runs now, for :func:`claim`."""

    chapter: Chapter | None = None


def claim(claim_id, statement, holds, **facts) -> None:
    """Record a claim of the open chapter, with the numbers that decide it, and show it.

    The arguments are those of :meth:`symvi.book.Chapter.claim`.

    Raises
    ------
    ValueError
        Without an open :class:`symvi.book.Chapter`, and as its method does.
    """
    if _Open.chapter is None:
        remedy = 'begin with chapter = symvi.book.Chapter("<notebook stem>") in the first cell'
        raise expected("claim", "an open chapter", "none", remedy)
    _Open.chapter.claim(claim_id, statement, holds, **facts)


def _prefix(name: str) -> str:
    """Of a chapter's notes: "ch5" for "05-symmetrization", "cost" for "cost"."""
    first = name.split("-")[0]
    return f"ch{int(first)}" if first.isdigit() else name.replace("-", "_")


def _number_or_text(name: str, value) -> float | int | str:
    if isinstance(value, str):
        return value
    if np.ndim(value) == 0 and np.asarray(value).dtype == bool:
        return float(value)
    array = np.asarray(value)
    number = as_scalar(array.item() if array.size == 1 else value)
    if number is None:
        remedy = "pass for example float(value)"
        raise expected(name, "one number or text", described(value), remedy)
    return number


def _in_notebook() -> bool:
    """Whether somebody sees what is displayed: IPython runs."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return get_ipython() is not None


def _glue(name: str, value) -> None:
    """Hand a value to the text of the page, where there is a page."""
    if not _in_notebook():
        return
    try:
        from myst_nb import glue
    except ModuleNotFoundError:  # a notebook outside the book
        return
    glue(name, value, display=False)


def _display(made: Claim) -> None:
    """A box inside IPython, one line elsewhere."""
    if _in_notebook():
        from IPython.display import display

        display(made)
    else:
        print(made)
