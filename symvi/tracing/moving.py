"""Rules of operations that move, join and cut axes and change no value."""

from __future__ import annotations

import math

import numpy as np

from symvi.tracing.cells import MOST, Block, Cells
from symvi.tracing.elementwise import close_up, pin_axes, renumbered, together
from symvi.tracing.reading import rule


@rule("transpose")
def transpose(cells: Cells, equation, blocks: list, shapes: list) -> list:
    order = equation.params["permutation"]
    return renumbered(blocks[0], {axis: place for place, axis in enumerate(order)})


@rule("broadcast_in_dim")
def broadcast(cells: Cells, equation, blocks: list, shapes: list) -> list:
    return renumbered(blocks[0], dict(enumerate(equation.params["broadcast_dimensions"])))


@rule("squeeze")
def squeeze(cells: Cells, equation, blocks: list, shapes: list) -> list:
    return close_up(blocks[0], equation.params["dimensions"], len(shapes[0]))


@rule("rev")
def reverse(cells: Cells, equation, blocks: list, shapes: list) -> list:
    found = []
    for block in blocks[0]:
        turned = [block.axes.index(a) for a in equation.params["dimensions"] if a in block.axes]
        found.append(Block(block.axes, np.flip(block.cells, turned)))
    return found


@rule("reshape")
def reshape(cells: Cells, equation, blocks: list, shapes: list) -> list:
    old, new = shapes[0], equation.outvars[0].aval.shape
    if 0 in old:
        return []
    pairs = runs(old, new)
    renamed = {one[0]: two[0] for one, two in pairs if len(one) == len(two) == 1}
    found, left = [], []
    for block in blocks[0]:
        if all(axis in renamed for axis in block.axes):
            found += renumbered([block], renamed)
        else:
            left.append(block)
    for one, two in pairs:
        if len(one) == len(two) == 1:
            continue
        within = [block for block in left if set(block.axes) <= set(one)]
        across = [b for b in left if set(b.axes) & set(one) and not set(b.axes) <= set(one)]
        parts = [part for block in across for part in cells.single(block) if part is not None]
        within += [part for part in parts if part.axes[0] in one]
        found += _rejoined(
            cells, within, (one, [old[a] for a in one]), (two, [new[a] for a in two])
        )
    crossing = [b for b in left if not any(set(b.axes) <= set(one) for one, _ in pairs)]
    for block in crossing:  # their axes that only change their number
        for part in cells.single(block):
            if part is not None and part.axes[0] in renamed:
                found += renumbered([part], renamed)
    return found


def runs(old: tuple, new: tuple) -> list:
    """Pairs of runs of axes, of the old and of the new shape, with equally many entries."""
    one = [axis for axis, size in enumerate(old) if size > 1]
    two = [axis for axis, size in enumerate(new) if size > 1]
    found = []
    while one or two:
        before, after = [one.pop(0)], [two.pop(0)]
        while (have := _size(old, before)) != (want := _size(new, after)):
            if have < want:
                before.append(one.pop(0))
            else:
                after.append(two.pop(0))
        found.append((before, after))
    return found


def _size(shape: tuple, axes: list) -> int:
    return math.prod(shape[axis] for axis in axes)


def _rejoined(cells: Cells, blocks: list, before: tuple, after: tuple) -> list:
    """One block for the new axes of a run, from the blocks of its old axes."""
    (one, sizes), (two, wanted) = before, after
    if not blocks:
        return []
    still = all(cells.is_still(block.cells) for block in blocks)
    if still or math.prod(sizes) > MOST:
        for block in blocks:
            cells.pin(block.cells, "a reshape of very many entries")
        return [
            Block((axis,), cells.fresh((n,), still=True))
            for axis, n in zip(two, wanted, strict=True)
        ]
    whole = cells.joined(blocks, tuple(one), tuple(sizes))
    return [Block(tuple(two), whole.cells.reshape(wanted))]


# Cutting and putting together.


def cut(cells: Cells, blocks: list, axis: int, places: np.ndarray, size: int) -> list:
    """The blocks of the entries `places` of an axis with `size` entries, some several times."""
    found = []
    for block in blocks:
        if axis not in block.axes:
            found.append(block)
            continue
        at = block.axes.index(axis)
        taken = np.take(block.cells, places, axis=at)
        if len(np.unique(places)) < size:
            cells.mark(np.unique(taken))
        if len(places) > 1:
            found.append(Block(block.axes, _distinct(cells, taken)))
        elif taken.size > 1:
            rest = tuple(a for a in block.axes if a != axis)
            found.append(Block(rest, np.squeeze(taken, at)))
    return found


@rule("slice")
def slice_(cells: Cells, equation, blocks: list, shapes: list) -> list:
    settings, found = equation.params, blocks[0]
    strides = settings["strides"] or (1,) * len(shapes[0])
    bounds = zip(settings["start_indices"], settings["limit_indices"], strides, strict=True)
    for axis, (start, stop, stride) in enumerate(bounds):
        places = np.arange(start, stop, stride)
        if len(places) < shapes[0][axis]:
            found = cut(cells, found, axis, places, shapes[0][axis])
    return found


@rule("split")
def split(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axis, found, start = equation.params["axis"], [], 0
    for size in equation.params["sizes"]:
        places = np.arange(start, start + size)
        found.append(cut(cells, blocks[0], axis, places, shapes[0][axis]))
        start += size
    return found


@rule("unstack")
def unstack(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axis, rank = equation.params["axis"] % len(shapes[0]), len(shapes[0])
    size = shapes[0][axis]
    rows = (cut(cells, blocks[0], axis, np.array([place]), size) for place in range(size))
    return [close_up(row, [axis], rank) for row in rows]


@rule("stack")
def stack(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axis, rank = equation.params["axis"] % (len(shapes[0]) + 1), len(shapes[0])
    place = {a: a + (a >= axis) for a in range(rank)}
    rows = [renumbered(operand, place) for operand in blocks]
    sizes = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
    return joined_along(cells, rows, sizes, axis)


@rule("tile")
def tile(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """Copies side by side: each entry is the parent of its copies."""
    reps, found = equation.params["reps"], []
    for block in blocks[0]:
        copies = np.tile(block.cells, [reps[axis] for axis in block.axes])
        if copies.size > block.cells.size:
            parents, index = np.unique(copies, return_inverse=True)
            rows = np.argsort(index.reshape(-1), kind="stable").reshape(len(parents), -1)
            made = cells.fresh(copies.shape, still=cells.is_still(parents))
            cells.relate(made.reshape(-1)[rows], parents)
            copies = made
        found.append(Block(block.axes, copies))
    return found


@rule("concatenate")
def concatenate(cells: Cells, equation, blocks: list, shapes: list) -> list:
    return joined_along(cells, blocks, shapes, equation.params["dimension"])


def joined_along(cells: Cells, blocks: list, shapes: list, axis: int) -> list:
    """The blocks of values side by side along an axis."""
    full = [place for place, shape in enumerate(shapes) if shape[axis] > 0]
    if len(full) < 2:
        return blocks[full[0]] if full else []
    blocks, shapes = [blocks[place] for place in full], [shapes[place] for place in full]
    axes = {axis}.union(*(b.axes for operand in blocks for b in operand if axis in b.axes))
    if all(shape[axis] == 1 for shape in shapes):
        axes |= _differing(cells, blocks)
    crossing = [
        b for operand in blocks for b in operand if set(b.axes) & axes and not set(b.axes) <= axes
    ]
    if crossing or any(math.prod(shape[a] for a in axes) > MOST for shape in shapes):
        blocks = [
            [part for block in operand for part in cells.single(block) if part is not None]
            for operand in blocks
        ]
        axes = {axis}
    axes = tuple(sorted(axes))
    others = [[b for b in operand if not set(b.axes) <= set(axes)] for operand in blocks]
    parts = []
    for operand, shape in zip(blocks, shapes, strict=True):
        inside = [b for b in operand if set(b.axes) <= set(axes)]
        sizes = tuple(shape[a] for a in axes)
        parts.append(_part(cells, inside, axes, sizes))
    whole = np.concatenate(parts, axis=axes.index(axis))
    return [*together(cells, others), Block(axes, _distinct(cells, whole))]


def _differing(cells: Cells, blocks: list) -> set:
    """The axes whose labels are not those of the first value: rows keep labels of their own."""
    alike = {block.axes: block.cells for block in blocks[0]}
    found = set()
    for operand in blocks:
        own = {block.axes: block.cells for block in operand}
        for axes in alike.keys() | own.keys():
            pair = [labels[axes] for labels in (alike, own) if axes in labels]
            same = len(pair) == 2 and np.array_equal(*pair)
            if not same and not all(map(cells.is_still, pair)):
                found |= set(axes)
    return found


def _part(cells: Cells, blocks: list, axes: tuple, sizes: tuple) -> np.ndarray:
    if math.prod(sizes) == 1:
        return cells.fresh(sizes, still=True)
    return cells.joined(blocks, axes, sizes).cells


def _distinct(cells: Cells, taken: np.ndarray) -> np.ndarray:
    """The cells themselves where each stands once; otherwise new ones that go with them."""
    kinds, index, times = np.unique(taken, return_inverse=True, return_counts=True)
    if len(kinds) == taken.size:
        return taken
    made = cells.fresh(taken.shape)
    if times.min() == times.max():  # each as often as the others: side by side
        order = np.argsort(index.reshape(-1), kind="stable").reshape(len(kinds), -1)
        for column in order.T:
            cells.tie(made.reshape(-1)[column], kinds)
    else:
        cells.pin(made)
        cells.pin(taken, "entries that are repeated unequally")
    return made


@rule("pad")
def pad(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """The entries put in are equal, so that they may be exchanged where those beside them may."""
    found = blocks[0]
    for axis, (low, high, inner) in enumerate(equation.params["padding_config"]):
        if (low, high, inner) == (0, 0, 0):
            continue
        size = shapes[0][axis]
        if low < 0 or high < 0 or any(axis in b.axes and len(b.axes) > 1 for b in found):
            found = pin_axes(cells, found, [axis], "padding")
            kept = [block for block in found if axis not in block.axes]
            found = kept + cells.pinned(equation.outvars[0].aval.shape, [axis])
            continue
        own = next((b.cells for b in found if b.axes == (axis,)), None)
        own = cells.fresh((size,)) if own is None else own
        length = low + high + size + inner * max(size - 1, 0)
        padded = cells.fresh((length,), still=cells.is_still(own))
        padded[low : low + size + inner * max(size - 1, 0) : inner + 1] = own
        found = [b for b in found if axis not in b.axes] + [Block((axis,), padded)]
    return found
