"""Which units of a traced network may be exchanged.

Entries have labels, tied by the operations that relate them.

Every axis of every tensor carries a label (a *cell*) for each of its entries.

1. An operation that reads entries together (adds them, multiplies a feature by its weight) *ties*
   their cells: whoever exchanges one must exchange the others. Cells tied together, directly or
   not, are one unit.
2. Inputs, outputs, positions of an image and whatever an operation treats one by one are *pinned*:
   nothing moves them.
3. Colours tell the roles of cells apart: at first the axis a cell stands on, then, round after
   round, the ties it has and the colours of the cells it is tied to (colour refinement, Weisfeiler
   and Leman 1968). Pinned cells all differ.
4. Two units are exchangeable if they have the same colours, each once: then cells of equal colour
   correspond, a tie of one unit has its image among the ties of the other, and every operation
   commutes with the exchange.
"""

from __future__ import annotations

import numpy as np

from symvi.symmetry import Symmetry, UnitGroup

MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def _mix(value):
    """A well-spread 64-bit hash of each entry (splitmix64)."""
    value = np.asarray(value, np.uint64) + MIX[:1]
    value = (value ^ (value >> np.uint64(30))) * MIX[1:2]
    value = (value ^ (value >> np.uint64(27))) * MIX[2:]
    return value ^ (value >> np.uint64(31))


class Labels:
    """Cells, their ties and what was pinned. Cell 0 stands for all that does not move."""

    def __init__(self):
        self.parent, self.kind, self.kinds = [0], [0], 0
        self.ties, self.slots, self.notes = [], {}, []

    def fresh(self, size: int, pinned: bool = False, kinds=None) -> np.ndarray:
        """Cells of one new axis, shape ``(size,)``.

        An axis of one entry is pinned: it has nothing to exchange. `kinds` are whole numbers that
        tell entries apart from the start (values of fixed data).
        """
        cells = np.arange(len(self.parent), len(self.parent) + size)
        self.parent += [0] * size if pinned or size == 1 else cells.tolist()
        kinds = np.zeros(size, int) if kinds is None else np.asarray(kinds)
        self.kind += (self.kinds + 1 + kinds).tolist()
        self.kinds += 1 + int(kinds.max(initial=0))
        return cells

    def weight(self, name: str, shape: tuple) -> list:
        """The axes of a parameter: the same cells at each use, as a shared layer has."""
        if name not in self.slots:
            self.slots[name] = [self.fresh(size) for size in shape]
        return self.slots[name]

    def data(self, name: str, value: np.ndarray) -> list:
        """The axes of a fixed buffer, which is data: different values are never exchanged."""
        if value.size == 0 or (value == value.flat[0]).all():
            return [self.fresh(size) for size in value.shape]
        distinct, kinds = np.unique(value.ravel(), return_inverse=True)
        self.notes.append(
            f"buffer {name!r} is fixed data with {len(distinct)} different values over shape "
            f"{value.shape}: it keeps units with different values apart"
        )
        if sum(size > 1 for size in value.shape) > 1:
            return [self.fresh(size, pinned=True) for size in value.shape]
        # one long axis: its entries are told apart by their values
        return [self.fresh(size, kinds=kinds if size > 1 else None) for size in value.shape]

    def root(self, cell: int) -> int:
        while self.parent[cell] != cell:
            self.parent[cell] = self.parent[self.parent[cell]]
            cell = self.parent[cell]
        return cell

    def is_free(self, cells) -> bool:
        """Whether any of the cells may still move."""
        return any(self.root(c) for c in cells)

    def pin(self, cells, why: str | None = None) -> None:
        """Let nothing move these cells; `why` is noted if something could have."""
        if why and self.is_free(cells):
            self.notes.append(f"{why} pins {sum(self.root(c) > 0 for c in cells)} entries")
        for c in cells:
            self._join(c, 0)

    def tie(self, *axes, context: tuple = ()) -> None:
        """Entry i of each of the `axes` goes with entry i of the others.

        `context` are pinned cells that tell ties apart.
        """
        for cells in zip(*axes, strict=True):
            for other in cells[1:]:
                self._join(cells[0], other)
        self.ties.append((*axes, *context))

    def _join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self.parent[max(a, b)] = min(a, b)

    def _colours(self, pinned) -> np.ndarray:
        colours = _mix(np.array(self.kind))
        colours = np.where(
            pinned, _mix(colours + np.arange(len(colours), dtype=np.uint64)), colours
        )
        ties = [np.stack([np.asarray(a, int) for a in tie]) for tie in self.ties]
        before, now = 0, len(np.unique(colours))
        while before < now:
            new = _mix(colours)
            for tag, tie in enumerate(ties):
                sign = _mix(np.full(tie.shape[1], tag))
                for cells in tie:
                    sign = _mix(sign ^ colours[cells])
                for position, cells in enumerate(tie):
                    np.add.at(new, cells, _mix(sign + np.uint64(position + 1)))
            colours = np.where(pinned, colours, new)
            before, now = now, len(np.unique(colours))
        return colours

    def symmetry(self) -> Symmetry:
        """One unit group for each set of exchangeable units that move a weight.

        In the order of their first appearance.
        """
        sets, ambiguous = self._alike()
        if ambiguous:
            self.notes.append(
                f"{ambiguous} units hold entries that cannot be told apart (as in x + flip(x)) "
                "and are left alone"
            )
        groups = [(units, self._axes(units)) for units in sets]
        return Symmetry(
            tuple(UnitGroup(name, len(units), axes) for name, units, axes in _named(groups))
        )

    def _alike(self) -> tuple:
        """Sets of exchangeable units, and the number of units with two cells of one colour.

        A set is an array of cells ``(size, k)`` with equal colours in each column.
        """
        roots = np.array([self.root(c) for c in range(len(self.parent))])
        colours = self._colours(roots == 0)
        order = np.lexsort((colours, roots))
        order = order[roots[order] > 0]
        alike, ambiguous = {}, 0
        for unit in np.split(order, np.flatnonzero(np.diff(roots[order])) + 1):
            signature = colours[unit]
            if len(np.unique(signature)) == len(unit):
                alike.setdefault(signature.tobytes(), []).append(unit)
            else:
                ambiguous += 1
        sets = [sorted(units, key=min) for units in alike.values() if len(units) > 1]
        sets.sort(key=lambda units: units[0].min())
        return [np.array(units) for units in sets], ambiguous

    def _axes(self, units) -> tuple:
        """Where `units` (cells (size, k) with equal colours in each column) stand in weights."""
        column = {int(cell): (i, j) for i, row in enumerate(units) for j, cell in enumerate(row)}
        axes = []
        for name, slots in self.slots.items():
            for axis, cells in enumerate(slots):
                found = {column[c]: at for at, c in enumerate(cells.tolist()) if c in column}
                if not found:
                    continue
                wanted = [j for i, j in found if i == 0]  # in the order of the first unit's indices
                places = tuple(tuple(found[i, j] for j in wanted) for i in range(len(units)))
                whole = places == tuple((i,) for i in range(len(cells)))
                axes.append((name, axis) if whole else (name, axis, places))
        return tuple(axes)


def _named(groups):
    """Name each group after the first layer that it moves."""
    seen = {}
    for units, axes in groups:
        if axes:
            name = axes[0][0].rpartition(".")[0] or axes[0][0]
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f"{name}:{seen[name]}", units, axes
