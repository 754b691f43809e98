"""The whole permutation group of a network's cells, by graph automorphisms; for small networks.

The cells, their ties, marks and parents are a coloured graph, and every permutation of cells that
commutes with all operations is an automorphism of it. igraph's BLISS (Junttila and Kaski 2007)
counts them. This checks the fast way of `groups`, which finds the exchanges of two units and no
other permutations, such as a rotation of units that are added in a circle.

The time grows with the vertices of the graph, and with the units that look alike: BLISS takes them
one by one, and looks at the graph each time. Networks for which the product of both numbers is too
large are refused.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator

import numpy as np

from symvi.checks import expected, needs
from symvi.symmetry import Nested, Symmetry
from symvi.symmetry.nested import with_signs
from symvi.tracing.cells import Cells
from symvi.tracing.choice import Choice
from symvi.tracing.groups import colours, units

# Vertices of the graph times cells of the most frequent colour (at least ALIKE); one minute or so.
MOST_WORK = 100_000_000
ALIKE = 100


def with_exact(choice: Choice, cells: Cells) -> Choice:
    """What was found beside the log number of all permutations, with a note where it is less."""
    choice = choice._replace(exact_log_order=log_automorphisms(cells))
    missing = nats_missing(choice.nested, choice.exact_log_order)
    if missing == 0:
        return choice
    note = f"all permutations, counted exactly, are {missing:.4g} nats more than what was found"
    return choice._replace(notes=(*choice.notes, note))


def nats_missing(found: Symmetry | Nested, exact_log_order: float) -> float:
    """By how many nats a group's permutations are fewer than all; 0 up to rounding."""
    log_order = with_signs(found, False).log_order
    if math.isclose(log_order, exact_log_order, rel_tol=1e-12, abs_tol=1e-9):
        return 0.0
    return exact_log_order - log_order


def beside_exact(found: Symmetry | Nested, exact_log_order: float | None) -> str:
    """How a group's permutations compare with all, for the text of a result; empty if unknown."""
    if exact_log_order is None:
        return ""
    missing = nats_missing(found, exact_log_order)
    return (
        ", all permutations" if missing == 0 else f", {missing:.4g} nats short of all permutations"
    )


def log_automorphisms(cells: Cells) -> float:
    """log of the number of different ways in which automorphisms permute parameters, in nats.

    The automorphisms, over those that leave every entry of every parameter where it is. Raises
    ValueError for a network that is too large.
    """
    needs("igraph", "exact", "the exact group")
    roots, _ = units(cells)
    _check_size(cells, roots)
    slots = [axis for axes in cells.slots.values() for axis in axes]
    weights = np.concatenate([*slots, np.zeros(0, np.int64)])
    return _log_order(cells, roots == 0) - _log_order(cells, _held(roots, weights))


def _check_size(cells: Cells, roots: np.ndarray) -> None:
    """ValueError if counting would take more than a minute or two."""
    free = roots > 0
    _, frequent = np.unique(colours(cells, roots)[free], return_counts=True)
    alike = int(frequent.max(initial=1))
    vertices = cells.count
    for rows in _relations(cells, ~free):
        width, number = rows.shape
        vertices += number * (1 + width)
    if vertices * max(alike, ALIKE) > MOST_WORK:
        most = MOST_WORK // max(alike, ALIKE)
        wanted = f"False, or a graph of at most {most:,} vertices where {alike:,} cells are alike"
        remedy = "count the group of a narrower network of the same form"
        raise expected("exact", wanted, f"{vertices:,} vertices", remedy)


def _relations(cells: Cells, held: np.ndarray) -> Iterator[np.ndarray]:
    """The ties and parents as rows of cells, without those of which all cells are held."""
    for relation in (*cells.ties, *cells.parents):
        rows = np.stack(relation)
        yield rows[:, ~held[rows].all(0)]


def _held(roots: np.ndarray, weights: np.ndarray) -> np.ndarray:
    held = roots == 0
    held[weights] = True
    return held


def _log_order(cells: Cells, held: np.ndarray) -> float:
    """log of the number of automorphisms that hold the cells `held` in place."""
    igraph = needs("igraph", "exact", "the exact group")
    kinds = [np.where(held, -1 - np.arange(cells.count), np.concatenate(cells.kinds))]
    for mark in cells.marks:
        member = np.zeros(cells.count, np.int64)
        member[mark] = 1
        kinds.append(member)
    _, colour = np.unique(np.stack(kinds), axis=1, return_inverse=True)
    colour = [colour.reshape(-1)]
    edges, count, used = [], cells.count, int(colour[0].max()) + 1
    for rows in _relations(cells, held):
        width, number = rows.shape
        row = count + np.arange(number)
        colour.append(np.full(number, used))
        count += number
        for position, column in enumerate(rows):
            place = count + np.arange(number)
            colour.append(np.full(number, used + 1 + position))
            edges += [np.stack([row, place], 1), np.stack([place, column], 1)]
            count += number
        used += 1 + width
    pairs = np.concatenate([*edges, np.zeros((0, 2), np.int64)])
    graph = igraph.Graph(n=count, edges=pairs.tolist())
    with _digits_of_any_number():
        return math.log(graph.count_automorphisms(color=np.concatenate(colour).tolist()))


@contextlib.contextmanager
def _digits_of_any_number() -> Iterator[None]:
    """igraph hands the count over as text, and Python reads 4300 digits (9900 nats) at most."""
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(most)
