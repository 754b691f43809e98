"""Which units of a network may be exchanged, from its cells.

1. Cells tied together, directly or not, are one *unit*.
2. Colours tell the roles of cells apart: at first the axis a cell stands on and its marks, then,
   round after round, its ties and parents and the colours of the cells there (colour refinement,
   Weisfeiler and Leman 1968). Pinned cells all differ.
3. Two units are exchangeable if they have the same colours, each once, the same parents, and
   children that are alike: then cells of equal colour correspond, whatever relates cells of one
   unit relates those of the other, and every operation commutes with the exchange.

Exchanging a unit moves its children with it. Where these can be exchanged among themselves too,
groups are nested: features within a head, and whole heads.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from symvi.tracing.cells import Cells

MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
ITSELF = np.uint64(0x5851F42D4C957F2D)  # stands for the unit whose children are compared


class Alike(NamedTuple):
    """Exchangeable units: the cells that move with each, ``(size, k)``, column by column alike."""

    cells: np.ndarray
    roots: np.ndarray  # the units themselves, by the number of their first cell


def mix(value) -> np.ndarray:
    """A well-spread 64-bit hash of each entry (splitmix64)."""
    value = np.asarray(value).astype(np.uint64) + MIX[:1]
    value = (value ^ (value >> np.uint64(30))) * MIX[1:2]
    value = (value ^ (value >> np.uint64(27))) * MIX[2:]
    return value ^ (value >> np.uint64(31))


def units(cells: Cells) -> tuple:
    """The unit of every cell (0 for what does not move), and notes on what was pinned."""
    still = np.concatenate(cells.still)
    edges = [(column[0], other) for column in cells.ties for other in column[1:]]
    one = np.concatenate([edge[0] for edge in edges] + [np.flatnonzero(still)])
    two = np.concatenate([edge[1] for edge in edges] + [np.zeros(still.sum(), np.int64)])
    graph = coo_matrix((np.ones(len(one), np.int8), (one, two)), (cells.count,) * 2)
    _, component = connected_components(graph, directed=False)
    pinned = np.zeros(component.max() + 1, bool)
    pinned[component[0]] = True
    for pin in cells.pins:
        if pin.why is None:
            pinned[component[pin.cells]] = True
    _pin_parents(cells, component, pinned)
    notes = []
    for pin in cells.pins:
        free = ~pinned[component[pin.cells]]
        if pin.why is not None and free.any():
            notes.append(f"{pin.why} pins {free.sum()} entries")
            pinned[component[pin.cells]] = True
            _pin_parents(cells, component, pinned)
    first = np.full(len(pinned), cells.count)
    np.minimum.at(first, component, np.arange(cells.count))
    first[pinned] = 0
    return first[component], notes


def _pin_parents(cells: Cells, component: np.ndarray, pinned: np.ndarray) -> None:
    """Whoever has a child that does not move does not move."""
    before = -1
    while before != (before := pinned.sum()):
        for child, parent in cells.parents:
            pinned[component[parent[pinned[component[child]]]]] = True


def colours(cells: Cells, roots: np.ndarray) -> np.ndarray:
    """The stable colours of all cells."""
    pinned = roots == 0
    found = mix(np.concatenate(cells.kinds))
    found = np.where(pinned, mix(found + np.arange(len(found), dtype=np.uint64)), found)
    relations = [np.stack(tie) for tie in (*cells.ties, *cells.parents)]
    relations = [rows[:, ~pinned[rows].all(0)] for rows in relations]
    marked = [column[~pinned[column]] for column in cells.marks]
    for tag, column in enumerate(marked):
        np.add.at(found, column, mix(np.full(1, tag + len(relations)))[0])
    before, now = 0, len(np.unique(found))
    while before < now:
        new = mix(found)
        for tag, rows in enumerate(relations):
            sign = mix(np.full(rows.shape[1], tag))
            for column in rows:
                sign = mix(sign ^ found[column])
            for position, column in enumerate(rows):
                np.add.at(new, column, mix(sign + np.uint64(position + 1)))
        found = np.where(pinned, found, new)
        before, now = now, len(np.unique(found))
    return found


def without_grids(cells: Cells, roots: np.ndarray) -> tuple:
    """The cells and units without joined cells that ask nothing: one for each tuple of parents.

    Where nothing else is known of such cells, whatever moves their parents moves them accordingly.
    """
    lowers: dict[bytes, list] = {}
    for lower, upper in cells.parents:
        lowers.setdefault(lower.tobytes(), [lower]).append(upper)
    slots = [axis for axes in cells.slots.values() for axis in axes]
    uppers = [upper for _, upper in cells.parents]
    columns = [column for tie in cells.ties for column in tie]
    needed = np.zeros(cells.count, bool)
    for used in (*slots, *uppers, *columns, *cells.marks):
        needed[used] = True
    relations = np.zeros(cells.count, np.int64)
    for lower, *_ in lowers.values():
        relations[lower] += 1
    needed |= (relations > 1) | (roots == 0)
    grids = {
        key for key, (lower, *above) in lowers.items() if not needed[lower].any() and _full(above)
    }
    left, roots = copy.copy(cells), roots.copy()
    left.parents = [pair for pair in cells.parents if pair[0].tobytes() not in grids]
    sets = [np.unique(upper) for key in grids for upper in lowers[key][1:]]
    left.marks = [*cells.marks, *sets]
    for key in grids:
        roots[lowers[key][0]] = 0
    return left, roots


def _full(above: list) -> bool:
    """Whether each tuple of parents stands once."""
    code, size = np.zeros(len(above[0]), np.int64), 1
    for upper in above:
        kinds, place = np.unique(upper, return_inverse=True)
        code, size = code * len(kinds) + place, size * len(kinds)
        if size > len(code):
            return False
    return size == len(np.unique(code)) == len(code)


class Family:
    """The units, what each is like, and who belongs to whom.

    `alike` are the sets of exchangeable units, `num_unclear` units have the colours of others that
    no exchange takes them to.
    """

    def __init__(self, cells: Cells, roots: np.ndarray):
        cells, roots = without_grids(cells, roots)
        self.roots, self.colours = roots, colours(cells, roots)
        order = np.lexsort((self.colours, roots))
        order = order[roots[order] > 0]
        starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
        parts = np.split(order, starts[1:]) if len(order) else []
        self.members = dict(zip(roots[order][starts].tolist(), parts, strict=True))
        same = (np.diff(roots[order]) == 0) & (np.diff(self.colours[order]) == 0)
        self.unclear = np.zeros(cells.count, bool)  # two cells of a unit have one colour
        self.unclear[roots[order][1:][same]] = True
        self._describe(cells)
        self._order_children()
        self.alike = self._exchangeable()
        self.num_unclear = self._not_reached()

    def _describe(self, cells: Cells) -> None:
        """`whole`: colours and parents by name, and children by what they are like to the unit.

        `seen[c, p]`: what child c is like, its parent p without a name.
        """
        pairs = [np.stack(pair) for pair in cells.parents] or [np.zeros((2, 0), np.int64)]
        lower, upper = np.concatenate(pairs, axis=1)
        relation = np.repeat(np.arange(len(pairs)), [pair.shape[1] for pair in pairs])
        moves = self.roots[lower] > 0
        lower, upper, relation = lower[moves], upper[moves], relation[moves]
        child, parent = self.roots[lower], self.roots[upper]
        role = mix(self.colours[lower] ^ mix(relation))  # one cell may be a parent in two ways
        anonymous = mix(self.colours[upper] ^ ITSELF)
        # Within a unit the colour names a cell, unless two cells of it have one colour.
        name = np.where(self.unclear[parent], len(self.roots) + upper, parent)
        named = np.where(parent > 0, mix(self.colours[upper] ^ mix(name)), mix(self.colours[upper]))
        named = np.where(parent == child, anonymous, named)

        whole = np.zeros(len(self.roots), np.uint64)
        free = np.flatnonzero(self.roots)
        np.add.at(whole, self.roots[free], mix(self.colours[free]))
        np.add.at(whole, child, mix(role ^ named))

        proper = (parent > 0) & (parent != child)
        keys = child[proper] * len(whole) + parent[proper]
        edges, place = np.unique(keys, return_inverse=True)
        change = np.zeros(len(edges), np.uint64)
        np.add.at(change, place, (mix(role ^ anonymous) - mix(role ^ named))[proper])
        self.child, self.parent = np.divmod(edges, len(whole))
        self._from_below(whole, change)

    def _from_below(self, whole: np.ndarray, change: np.ndarray) -> None:
        """Complete `whole` from units without children upwards."""
        seen = np.zeros(len(change), np.uint64)
        waiting = np.ones(len(change), bool)
        while waiting.any():
            blocked = np.zeros(len(whole), bool)
            blocked[self.parent[waiting]] = True
            ready = waiting & ~blocked[self.child]
            if not ready.any():  # units that belong to each other in a circle
                self.unclear[self.parent[waiting]] = True
                break
            seen[ready] = whole[self.child[ready]] + change[ready]
            np.add.at(whole, self.parent[ready], mix(seen[ready]))
            unclear = self.unclear[self.child] & ready
            self.unclear[self.parent[unclear]] = True
            waiting &= ~ready
        self.whole, self.seen = whole, seen

    def _exchangeable(self) -> list:
        """All sets of at least two exchangeable units, in the order of their first cells."""
        clear = np.array([u for u in self.members if not self.unclear[u]], np.int64)
        kinds, index = np.unique(self.whole[clear], return_inverse=True)
        order = np.argsort(index, kind="stable")
        sets = np.split(clear[order], np.cumsum(np.bincount(index, minlength=len(kinds)))[:-1])
        found = [self._set(np.sort(one)) for one in sets if len(one) > 1]
        return sorted((one for one in found if one is not None), key=lambda one: one.roots[0])

    def _not_reached(self) -> int:
        """How many units have the colours of others that no exchange takes them to.

        A permutation of more units at once may do so, as a rotation of those in a circle.
        """
        pairs = [(one.cells[:-1].ravel(), one.cells[1:].ravel()) for one in self.alike]
        lower, upper = np.concatenate([np.zeros((2, 0), np.int64), *map(np.stack, pairs)], axis=1)
        graph = coo_matrix((np.ones(len(lower), np.int8), (lower, upper)), (len(self.roots),) * 2)
        _, orbit = connected_components(graph, directed=False)
        free = np.flatnonzero(self.roots)
        reached = np.unique(np.stack([self.colours[free], orbit[free].astype(np.uint64)]), axis=1)
        kinds, times = np.unique(reached[0], return_counts=True)
        wider = np.isin(self.colours[free], kinds[times > 1])
        return len(np.unique(self.roots[free[wider]]))

    def _order_children(self) -> None:
        order = np.lexsort((self.child, self.seen, self.parent))
        starts = np.flatnonzero(np.diff(self.parent[order], prepend=-1))
        parts = np.split(self.child[order], starts[1:]) if len(order) else []
        self.children = dict(zip(self.parent[order][starts].tolist(), parts, strict=True))

    def _set(self, roots: np.ndarray) -> Alike | None:
        rows = [self._all_cells(unit) for unit in roots.tolist()]
        if len({len(row) for row in rows}) > 1:
            return None
        return Alike(np.array(rows), roots)

    def _all_cells(self, unit: int) -> list:
        """The cells of a unit, then those of its children, theirs and so on."""
        found, seen, waiting = [], set(), [unit]
        while waiting:
            one = waiting.pop(0)
            if one not in seen:
                seen.add(one)
                found += self.members[one].tolist()
                waiting += self.children.get(one, np.zeros(0, int)).tolist()
        return found
