"""Rules of operations that take or replace entries at places given by other arrays.

Where the places are known, the operation itself says which entries it takes: it is applied to the
numbers of the entries along each axis. If each axis of the result follows one axis of the operand,
this is a cut, as a slice is.
"""

from __future__ import annotations

import math

import numpy as np

from symvi.tracing.cells import Cells
from symvi.tracing.elementwise import pin_axes, renumbered, together
from symvi.tracing.moving import cut, joined_along
from symvi.tracing.reading import LARGEST, ON_VALUES, Known, Traced, blocks_of, pin_everything

PLACED = "an index into an axis"


def gather(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """Rows of a table at places that are computed.

    Axes that are indexed stay in place, the others keep their cells.
    """
    settings = equation.params
    numbers, sizes = settings["dimension_numbers"], settings["slice_sizes"]
    batch, collapsed = numbers.operand_batching_dims, numbers.collapsed_slice_dims
    axes = range(len(shapes[0]))
    free = [a for a in axes if shapes[0][a] == sizes[a] and a not in (*batch, *collapsed)]
    indexed = [axis for axis in axes if axis not in (*free, *batch)]
    out = equation.outvars[0].aval.shape
    others = [axis for axis in range(len(out)) if axis not in numbers.offset_dims]
    offsets = [axis for axis in axes if axis not in (*collapsed, *batch)]
    place = dict(zip(offsets, numbers.offset_dims, strict=True))
    its = numbers.start_indices_batching_dims
    place |= {axis: others[its[i]] for i, axis in enumerate(batch)}
    rows = pin_axes(cells, blocks[0], indexed, PLACED)
    kept = [block for block in rows if not set(block.axes) & set(indexed)]
    last = len(shapes[1]) - 1
    indices = pin_axes(cells, blocks[1], [last], None)
    indices = [block for block in indices if last not in block.axes]
    picked = [renumbered(kept, place), renumbered(indices, dict(enumerate(others)))]
    partly = [place[axis] for axis in offsets if axis not in free]
    return together(cells, picked) + cells.pinned(out, partly)


def dynamic_slice(cells: Cells, equation, blocks: list, shapes: list) -> list:
    sizes = equation.params["slice_sizes"]
    moved = [axis for axis, size in enumerate(sizes) if size != shapes[0][axis]]
    rest = pin_axes(cells, blocks[0], moved, "a slice at a place that is computed")
    kept = [block for block in rest if not set(block.axes) & set(moved)]
    return kept + cells.pinned(sizes, moved)


def dynamic_update_slice(cells: Cells, equation, blocks: list, shapes: list) -> list:
    moved = [axis for axis, size in enumerate(shapes[1]) if size != shapes[0][axis]]
    why = "a slice that is replaced at a place that is computed"
    whole = pin_axes(cells, blocks[0], moved, why)
    part = pin_axes(cells, blocks[1], moved, why)
    parts = [[b for b in operand if not set(b.axes) & set(moved)] for operand in (whole, part)]
    return together(cells, parts) + cells.pinned(shapes[0], moved)


class Followed:
    """How the axes of a result follow those of an operand: for each the axis and the places."""

    def __init__(self, taken: list, shape: tuple):
        self.axes, self.places, self.is_cut = {}, {}, True
        for axis, numbers in taken:
            along = [a for a, n in enumerate(shape) if n > 1 and _varies(numbers, a)]
            if len(along) > 1 or set(along) & set(self.axes.values()):
                self.is_cut = False
                return
            line = np.moveaxis(numbers, along[0], 0).reshape(shape[along[0]], -1) if along else None
            self.places[axis] = numbers.reshape(-1)[:1] if line is None else line[:, 0]
            if along:
                self.axes[axis] = along[0]

    def blocks(self, cells: Cells, blocks: list, shape: tuple) -> list:
        """The blocks of the result."""
        gone = [axis for axis in self.places if axis not in self.axes]
        for axis, places in self.places.items():
            if not np.array_equal(places, np.arange(shape[axis])):
                blocks = cut(cells, blocks, axis, places, shape[axis])
        return renumbered([b for b in blocks if not set(b.axes) & set(gone)], self.axes)


def _varies(numbers: np.ndarray, axis: int) -> bool:
    return bool((numbers != np.take(numbers, [0], axis=axis)).any())


def _numbers(shape: tuple):
    """For each axis with several entries, its entries' numbers as an array of this shape."""
    for axis, size in enumerate(shape):
        if size > 1:
            line = np.arange(size).reshape([-1 if a == axis else 1 for a in range(len(shape))])
            yield axis, np.ascontiguousarray(np.broadcast_to(line.astype(np.int32), shape))


def _taken(cells: Cells, equation, operands: list, by_rule) -> list:
    """Entries of the first operand, at places given by the others."""
    shape, out = (tuple(v.aval.shape) for v in (equation.invars[0], equation.outvars[0]))
    blocks = [blocks_of(cells, operand) for operand in operands]
    fallback = (cells, equation, blocks, [tuple(v.aval.shape) for v in equation.invars])
    places = operands[1:]
    known = all(isinstance(place, Known) for place in places)
    if not known or 0 in (*shape, *out) or max(math.prod(shape), math.prod(out)) > LARGEST:
        return [Traced(by_rule(*fallback))]

    def apply(table):
        bound = (place.value for place in places)
        return np.asarray(equation.primitive.bind(table, *bound, **equation.params))

    if any((apply(np.full(shape, value, np.int32)) != value).any() for value in (-3, -5)):
        return [Traced(by_rule(*fallback))]  # some places lie outside
    followed = Followed([(axis, apply(numbers)) for axis, numbers in _numbers(shape)], out)
    if not followed.is_cut:
        return [Traced(by_rule(*fallback))]
    return [Traced(followed.blocks(cells, blocks[0], shape))]


def _replaced(cells: Cells, equation, operands: list, roles: tuple, by_rule) -> list:
    """The first operand with entries along one axis replaced (or added to) at known places.

    `roles` are the numbers of the new entries' operand and of those that give places.
    """
    new, places = roles
    blocks = [blocks_of(cells, operand) for operand in operands]
    shapes = [tuple(v.aval.shape) for v in equation.invars]
    shape, its = shapes[0], shapes[new]
    known = all(isinstance(operands[i], Known) for i in places)
    kind = equation.invars[0].aval.dtype
    wide = kind in (np.float32, np.float64)  # holds the numbers of entries
    found = None
    if known and wide and 0 not in (*shape, *its) and math.prod(shape) <= LARGEST:

        def apply(table, entries):
            bound = [getattr(operand, "value", None) for operand in operands]
            bound[0], bound[new] = table.astype(kind), entries.astype(kind)
            replaced = equation.primitive.bind(*bound, **equation.params)
            return np.asarray(replaced).astype(np.int64)

        found = _side_by_side(cells, (shape, its), (blocks[0], blocks[new]), apply)
    return [Traced(by_rule(cells, equation, blocks, shapes) if found is None else found)]


def _side_by_side(cells: Cells, shapes: tuple, blocks: tuple, apply) -> list | None:
    """The blocks of kept and new entries side by side along one axis; None if it is not so."""
    shape, its = shapes
    met = apply(np.zeros(shape, int), np.ones(its, int))
    adds = (apply(np.full(shape, 5), np.ones(its, int)) == 6).any()
    axes = [a for a, n in enumerate(shape) if n > 1 and _varies(met, a)]
    if len(axes) != 1 or met.max() > 1:
        return None
    (axis,) = axes
    line = np.moveaxis(met, axis, 0).reshape(shape[axis], -1)[:, 0]
    kept, changed = np.flatnonzero(line == 0), np.flatnonzero(line == 1)
    taken = [
        (a, np.take(apply(np.zeros(shape, int), numbers), changed, axis=axis))
        for a, numbers in _numbers(its)
    ]
    part = tuple(len(changed) if a == axis else n for a, n in enumerate(shape))
    followed = Followed(taken, part)
    if not followed.is_cut:
        return None
    entries = followed.blocks(cells, blocks[1], its)
    if adds:
        there = cut(cells, blocks[0], axis, changed, shape[axis])
        entries = together(cells, [there, entries])
    rest = cut(cells, blocks[0], axis, kept, shape[axis])
    remaining = tuple(len(kept) if a == axis else n for a, n in enumerate(shape))
    whole = joined_along(cells, [rest, entries], [remaining, part], axis)
    order = np.argsort(np.concatenate([kept, changed]), kind="stable")
    return cut(cells, whole, axis, order, shape[axis])


def _scatter(cells: Cells, equation, operands: list) -> list:
    return _replaced(cells, equation, operands, (2, (1,)), pin_everything)


def _update(cells: Cells, equation, operands: list) -> list:
    places = tuple(range(2, len(operands)))
    return _replaced(cells, equation, operands, (1, places), dynamic_update_slice)


ON_VALUES.update(
    {
        "gather": lambda *given: _taken(*given, gather),
        "dynamic_slice": lambda *given: _taken(*given, dynamic_slice),
        "dynamic_update_slice": _update,
        "scatter": _scatter,
        "scatter-add": _scatter,
        "scatter_add": _scatter,
    }
)
