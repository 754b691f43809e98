"""Labels of entries: what moves with what, as an operation after the other is read.

Every axis of every value carries a label (a *cell*) for each of its entries; where a reshape or a
product joins axes, they carry one cell for each tuple of indices. A symmetry permutes cells.

1. An operation that reads entries together (adds them, multiplies a feature by its weight) *ties*
   their cells: whoever moves one must move the other.
2. A cell of joined axes has *parents*: position (channel, pixel) belongs to its channel, feature
   (head, place) to its head. Whoever moves the cell must move its parent accordingly.
3. Inputs, outputs, positions of an image and whatever an operation treats one by one are *pinned*:
   nothing moves them.

An axis along which a value does not change has no label: it asks nothing of anybody. Nor has an
axis of one entry, since what was cut out of a longer axis is marked when it is cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST = 4_000_000  # cells of one block of joined axes; larger ones are pinned


class Block(NamedTuple):
    """Some axes of a value, in order, and their cells: an array with the sizes of these axes."""

    axes: tuple
    cells: np.ndarray


class Pin(NamedTuple):
    """Cells that do not move, and why; None where that is nobody's loss (inputs, outputs)."""

    why: str | None
    cells: np.ndarray


class Cells:
    """The cells of one network, and all that relates them. Cell 0 stands for what does not move."""

    def __init__(self):
        self.kinds = [np.zeros(1, np.int64)]
        self.still = [np.ones(1, bool)]  # pinned from the start
        self.count, self.num_kinds = 1, 1
        self.ties: list[tuple] = []  # arrays of equal length: entry i of each goes with the others'
        self.marks: list[np.ndarray] = []  # sets of cells that were taken out of an axis
        self.parents: list[tuple] = []  # arrays (cells, their parents)
        self.pins: list[Pin] = []
        self.notes: list[str] = []
        self.slots: dict[str, list] = {}  # the cells of each axis of each parameter
        self.where = ""  # the operation that is being read, for notes
        self._seen: set = set()
        self._partitions: dict[bytes, list] = {}

    # Making cells.

    def fresh(self, shape, *, still: bool = False, kinds=None) -> np.ndarray:
        """New cells of the given shape.

        `kinds` are whole numbers that tell entries apart from the start (values of fixed data).
        """
        size = int(np.prod(shape))
        given = np.zeros(size, np.int64) if kinds is None else np.asarray(kinds).reshape(-1)
        self.kinds.append(self.num_kinds + given)
        self.still.append(np.full(size, still))
        self.num_kinds += 1 + int(given.max(initial=0))
        self.count += size
        return np.arange(self.count - size, self.count).reshape(shape)

    def parameter(self, name: str, shape: tuple) -> list:
        """The blocks of a parameter: the same cells at each use, as a shared layer has."""
        if name not in self.slots:
            self.slots[name] = [self.fresh((size,)) for size in shape]
        long = enumerate(self.slots[name])
        return [Block((axis,), cells) for axis, cells in long if len(cells) > 1]

    def pinned(self, shape, axes=None) -> list:
        """Blocks of a value whose axes (or those listed) do not move."""
        listed = range(len(shape)) if axes is None else axes
        return [
            Block((axis,), self.fresh((shape[axis],), still=True))
            for axis in listed
            if shape[axis] > 1
        ]

    def data(self, value: np.ndarray, name: str | None = None) -> list:
        """Blocks of a fixed array: entries of different value are never exchanged.

        Axes along which it does not change have no label; a single other axis is told apart by its
        values; several are pinned. Where the array has a name, this is noted.
        """
        changes = [axis for axis, size in enumerate(value.shape) if _changes(value, axis, size)]
        if not changes:
            return []
        if name is not None:
            self.notes.append(
                f"{name} is fixed data with {len(np.unique(value))} different values over shape "
                f"{value.shape}: it keeps units with different values apart"
            )
        if len(changes) > 1:
            return self.pinned(value.shape, changes)
        line = np.moveaxis(value, changes[0], 0).reshape(value.shape[changes[0]], -1)[:, 0]
        _, kinds = np.unique(line, return_inverse=True)
        return [Block((changes[0],), self.fresh(line.shape, kinds=kinds))]

    # Relating cells.

    def is_still(self, cells: np.ndarray) -> bool:
        """Whether all of these were pinned from the start."""
        if len(self.still) > 1:
            self.still = [np.concatenate(self.still)]
        return bool(self.still[0][cells].all())

    def pin(self, cells, why: str | None = None) -> None:
        """Let nothing move these cells."""
        cells = np.asarray(cells).reshape(-1)
        if not self.is_still(cells):
            self.pins.append(Pin(why and f"{self.where}{why}", cells))

    def mark(self, cells) -> None:
        """Note that these were taken out of an axis, and differ from those left."""
        flat = np.asarray(cells).reshape(-1)
        if self._is_new("mark", flat) and not self.is_still(flat):
            self.marks.append(flat)

    def tie(self, *columns) -> None:
        """Entry i of each column goes with entry i of the others."""
        flat = [np.asarray(column).reshape(-1) for column in columns]
        distinct = [column for i, column in enumerate(flat) if not _among(column, flat[:i])]
        if len(distinct) < 2 or not self._is_new("tie", *distinct):
            return
        if not all(self.is_still(column) for column in distinct):
            self.ties.append(tuple(distinct))

    def _is_new(self, kind: str, *columns) -> bool:
        key = (kind, *(column.tobytes() for column in columns))
        known = hash(key) in self._seen
        self._seen.add(hash(key))
        return not known

    # Cells of joined axes and their parents.

    def relate(self, cells: np.ndarray, parents: np.ndarray) -> None:
        """Each row of `cells` (P, R) has the parent ``parents[p]``."""
        if cells.shape[1] == 1:
            self.tie(cells[:, 0], parents)
            return
        base, owner = _by_cell(cells, np.arange(len(parents)))
        known = self._partitions.setdefault(base.tobytes(), [])
        implied = False
        for its_owner, its_parents in known:
            finer, coarser = _refines(its_owner, owner), _refines(owner, its_owner)
            if finer and coarser:
                first = _first_places(owner, len(parents))
                self.tie(its_parents[its_owner[first]], parents)
                return
            first, its_first = _first_places(owner, len(parents)), None
            if finer:
                its_first = _first_places(its_owner, len(its_parents))
                self._parent(its_parents, parents[owner[its_first]])
                implied = True
            elif coarser:
                self._parent(parents, its_parents[its_owner[first]])
        if not implied:
            self._parent(base, parents[owner])
        known.append((owner, parents))

    def _parent(self, cells, parents) -> None:
        if self._is_new("parent", cells, parents):
            self.parents.append((cells, parents))

    def parents_of(self, cells: np.ndarray) -> np.ndarray:
        """The parents of the rows of `cells` (P, R), made if they are new; shape ``(P,)``."""
        if cells.shape[1] == 1:
            return cells[:, 0]
        base, owner = _by_cell(cells, np.arange(len(cells)))
        for its_owner, its_parents in self._partitions.get(base.tobytes(), []):
            if _refines(its_owner, owner) and _refines(owner, its_owner):
                return its_parents[its_owner[_first_places(owner, len(cells))]]
        made = self.fresh((len(cells),), still=self.is_still(cells))
        self.relate(cells, made)
        return made

    def project(self, block: Block, axes) -> Block | None:
        """The block's axes `axes`, the others left out; None if nothing is left that could move."""
        kept = [block.axes.index(axis) for axis in axes]
        sizes = tuple(block.cells.shape[place] for place in kept)
        if not axes or np.prod(sizes) == 1:
            return None
        rows = np.moveaxis(block.cells, kept, range(len(kept))).reshape(int(np.prod(sizes)), -1)
        return Block(tuple(axes), self.parents_of(rows).reshape(sizes))

    def single(self, block: Block) -> list:
        """A block of its own for each axis."""
        if len(block.axes) == 1:
            return [block]
        return [self.project(block, (axis,)) for axis in block.axes]

    def joined(self, blocks: list, axes: tuple, sizes: tuple) -> Block:
        """One block for the axes `axes` of a value that has `blocks` (all within these axes)."""
        for block in blocks:
            if block.axes == axes:
                return block
        whole = self.fresh(
            sizes, still=bool(blocks) and all(self.is_still(b.cells) for b in blocks)
        )
        for block in blocks:
            self.relate_block(Block(axes, whole), block)
        return Block(axes, whole)

    def relate_block(self, whole: Block, part: Block) -> None:
        """The cells of `part` (some of the axes of `whole`) are parents of those of `whole`."""
        kept = [whole.axes.index(axis) for axis in part.axes]
        rows = np.moveaxis(whole.cells, kept, range(len(kept)))
        self.relate(rows.reshape(part.cells.size, -1), part.cells.reshape(-1))


def _changes(value: np.ndarray, axis: int, size: int) -> bool:
    """Whether an array changes along an axis."""
    if size < 2:
        return False
    first = np.take(value, [0], axis=axis)
    return not bool(np.all((value == first) | ((value != value) & (first != first))))


def _among(column: np.ndarray, others: list) -> bool:
    return any(np.array_equal(column, other) for other in others)


def _by_cell(cells: np.ndarray, owners: np.ndarray) -> tuple:
    """The cells in ascending order, and the row that each stands in."""
    flat = cells.reshape(-1)
    order = np.argsort(flat, kind="stable")
    return flat[order], np.repeat(owners, cells.shape[1])[order]


def _refines(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Whether the owner in `coarse` is a function of the owner in `fine`."""
    first = np.full(fine.max() + 1, -1)
    first[fine] = coarse
    return bool((first[fine] == coarse).all())


def _first_places(owner: np.ndarray, number: int) -> np.ndarray:
    """For each owner, a place where it stands."""
    places = np.zeros(number, np.int64)
    places[owner] = np.arange(len(owner))
    return places
