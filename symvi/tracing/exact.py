"""The whole permutation group of a network's cells, by graph automorphisms; for small networks.

The cells, their ties, marks and parents are a coloured graph, and every permutation of cells that
commutes with all operations is an automorphism of it. igraph's BLISS (Junttila and Kaski 2007)
counts them. This checks the fast way of `groups`, which finds the exchanges of two units and no
other permutations, such as a rotation of units that are added in a circle.
"""

from __future__ import annotations

import math

import numpy as np

from symvi.checks import needs
from symvi.tracing.cells import Cells
from symvi.tracing.groups import units


def log_automorphisms(cells: Cells) -> float:
    """log of the number of different ways in which automorphisms permute parameters, in nats.

    The automorphisms, over those that leave every entry of every parameter where it is.
    """
    roots, _ = units(cells)
    slots = [axis for axes in cells.slots.values() for axis in axes]
    weights = np.concatenate([*slots, np.zeros(0, np.int64)])
    return _log_order(cells, roots == 0) - _log_order(cells, _held(roots, weights))


def _held(roots: np.ndarray, weights: np.ndarray) -> np.ndarray:
    held = roots == 0
    held[weights] = True
    return held


def _log_order(cells: Cells, held: np.ndarray) -> float:
    """log of the number of automorphisms that hold the cells `held` in place."""
    igraph = needs("igraph", "exact", "the exact group")
    colours = [np.where(held, -1 - np.arange(cells.count), np.concatenate(cells.kinds))]
    for mark in cells.marks:
        member = np.zeros(cells.count, np.int64)
        member[mark] = 1
        colours.append(member)
    _, colour = np.unique(np.stack(colours), axis=1, return_inverse=True)
    colour = [colour.reshape(-1)]
    edges, count, used = [], cells.count, int(colour[0].max()) + 1
    for relation in (*cells.ties, *cells.parents):
        rows = np.stack(relation)
        rows = rows[:, ~held[rows].all(0)]
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
    return math.log(graph.count_automorphisms(color=np.concatenate(colour).tolist()))
