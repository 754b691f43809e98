"""From sets of exchangeable units to a :class:`Symmetry`, and to a :class:`Nested` group."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from symvi.symmetry import Nested, Symmetry, UnitGroup
from symvi.tracing.cells import Cells
from symvi.tracing.groups import Family, units


class Standing:
    """Where a set of exchangeable units stands in the parameters."""

    def __init__(self, alike, where: np.ndarray, names: list):
        self.size = len(alike.roots)
        places = where[alike.cells]  # (size, k, 3): parameter, axis, index
        stands = places[0, :, 0] >= 0
        order = np.lexsort(places[0].T[::-1])
        self.places = places[:, order[stands[order]]]
        self.names = names
        self.log_order = math.lgamma(self.size + 1)

    @property
    def moves(self) -> set:
        """What it moves: pairs (number of the parameter, axis, index)."""
        return {tuple(place) for place in self.places.reshape(-1, 3).tolist()}

    @property
    def name(self) -> str:
        """The layer that it moves first."""
        name = self.names[self.places[0, 0, 0]]
        return name.rpartition(".")[0] or name

    def axes(self, shapes: dict) -> tuple:
        """The axes as a :class:`UnitGroup` lists them."""
        found = []
        first = self.places[0]
        for param, axis in dict.fromkeys(map(tuple, first[:, :2].tolist())):
            here = (first[:, 0] == param) & (first[:, 1] == axis)
            places = self.places[:, here, 2]
            name = self.names[param]
            whole = np.array_equal(places, np.arange(shapes[name][axis])[:, None])
            rows = tuple(map(tuple, places.tolist()))
            found.append((name, axis) if whole else (name, axis, rows))
        return tuple(found)


class Choice(NamedTuple):
    """What was found: a product of groups, the same with exchanges of blocks, and notes.

    The fields have the names of a result's. `exact_log_order` is the log number of all permutations
    (nats) where these were counted.
    """

    symmetry: Symmetry
    nested: Symmetry | Nested
    notes: tuple
    exact_log_order: float | None = None


def choose(cells: Cells, shapes: dict) -> Choice:
    """The product of symmetric groups with the most elements, and blocks exchanged besides."""
    roots, notes = units(cells)
    family = Family(cells, roots)
    notes = [*cells.notes, *notes, *_unclear(family.num_unclear)]
    names = list(shapes)
    where = _places(cells, names)
    standing = [Standing(one, where, names) for one in family.alike]
    standing = [one for one in standing if one.places.shape[1] > 0]
    chosen, left = _apart(standing)
    named = list(_named(sorted(chosen, key=standing.index)))
    groups = [UnitGroup(name, one.size, one.axes(shapes)) for name, one in named]
    product, whole = Symmetry(tuple(groups)), Symmetry(tuple(groups))
    for one in left:
        blocks = UnitGroup(_new_name(one, whole), one.size, one.axes(shapes))
        wider = _with_blocks(product, whole, blocks, _families(one, named))
        if wider is None:
            how = f"and {one.log_order:.4g} nats more are left out"
        else:
            whole, how = wider, f"{one.log_order:.4g} nats that only the nested group holds"
        notes.append(f"{one.size} blocks of {one.name!r} can be exchanged whole too, {how}")
    return Choice(product, whole, tuple(notes))


def _new_name(one: Standing, whole) -> str:
    """A name for blocks that no group has."""
    taken = {group.name for group in whole.groups}
    name, number = f"{one.name} blocks", 1
    while name in taken:
        number += 1
        name = f"{one.name} blocks:{number}"
    return name


def _with_blocks(product: Symmetry, whole, blocks: UnitGroup, families: tuple):
    """The group `whole` with these blocks exchanged too; None if they do not fit it."""
    before = whole if isinstance(whole, Nested) else Nested(product, Symmetry(), {})
    try:
        together = Symmetry((*before.blocks.groups, blocks))
        return Nested(product, together, before.families | {blocks.name: families})
    except ValueError:
        return None


def _families(one: Standing, named: list) -> tuple:
    """Names of the groups that lie within a block each, as families over the blocks."""
    place = {}
    for block, row in enumerate(one.places.tolist()):
        place |= {tuple(entry): (block, spot) for spot, entry in enumerate(row)}
    found: dict[tuple, dict] = {}
    for name, inner in named:
        spots = [place.get(tuple(entry)) for entry in inner.places.reshape(-1, 3).tolist()]
        blocks = {spot[0] for spot in spots if spot is not None}
        if None not in spots and len(blocks) == 1:
            pattern = tuple(spot[1] for spot in spots)
            found.setdefault(pattern, {})[blocks.pop()] = name
    whole = [members for members in found.values() if len(members) == one.size]
    return tuple(tuple(members[block] for block in range(one.size)) for members in whole)


def _unclear(number: int) -> list:
    if number == 0:
        return []
    return [
        f"{number} units hold entries that cannot be told apart (as in x + flip(x)) "
        "and are left alone"
    ]


def _places(cells: Cells, names: list) -> np.ndarray:
    """For each cell the parameter, axis and index where it stands, or -1 thrice."""
    where = np.full((cells.count, 3), -1)
    for number, name in enumerate(names):
        for axis, slots in enumerate(cells.slots.get(name, [])):
            for index, cell in enumerate(slots.tolist()):
                where[cell] = number, axis, index
    return where


def _apart(standing: list) -> tuple:
    """Sets that move entries of their own, those that add most first; and the sets left out.

    Sets that lie within the units of another are weighed together against it, and come first where
    they weigh more.
    """
    moves = [one.moves for one in standing]
    meets = [
        [j for j, other in enumerate(moves) if j != i and own & other]
        for i, own in enumerate(moves)
    ]
    excess = [
        sum(standing[j].log_order for j in others) - one.log_order
        for one, others in zip(standing, meets, strict=True)
    ]
    several = [
        len(others) > 1 and not any(set(meets[j]) & set(others) for j in others) for others in meets
    ]
    outweighed = [many and more > 0 for many, more in zip(several, excess, strict=True)]
    order = sorted(range(len(standing)), key=lambda i: (outweighed[i], excess[i]))
    taken, left, used = [], [], set()
    for i in order:
        if used & set(meets[i]):
            left.append(standing[i])
        else:
            taken.append(standing[i])
            used.add(i)
    return taken, left


def _named(standing: list):
    """Each group with the name of the first layer that it moves, numbered where there are more."""
    seen: dict[str, int] = {}
    for one in standing:
        name = one.name
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}:{seen[name]}", one
