"""Rules of loops and branches: what is carried from step to step goes with itself."""

from __future__ import annotations

import numpy as np

from symvi.tracing.cells import Block, Cells
from symvi.tracing.elementwise import pin_axes, together
from symvi.tracing.reading import ON_VALUES, Traced, blocks_of, read

ROUNDS = 100  # readings of a loop's body; each settles the labels of one value at least


def scan(cells: Cells, equation, operands: list) -> list:
    """A loop: what it carries goes with itself from step to step; steps stay in their order."""
    settings = equation.params
    consts = operands[: settings["num_consts"]]
    carried = operands[settings["num_consts"] :][: settings["num_carry"]]
    rows = operands[settings["num_consts"] + settings["num_carry"] :]
    steps = [Traced(_first_row(cells, row)) for row in rows]
    found = []

    def step(before):
        found[:] = read(cells, settings["jaxpr"], [*consts, *before, *steps])
        return found[: settings["num_carry"]]

    before = _until_it_holds(cells, carried, step)
    stacked = [
        Traced(
            [
                *cells.pinned(variable.aval.shape, [0]),
                *(Block(tuple(a + 1 for a in b.axes), b.cells) for b in blocks_of(cells, value)),
            ]
        )
        for value, variable in zip(
            found[settings["num_carry"] :],
            equation.outvars[settings["num_carry"] :],
            strict=True,
        )
    ]
    return [*before, *stacked]


def _until_it_holds(cells: Cells, carried: list, step) -> list:
    """What is carried, with labels that a step leaves as they are.

    A step may give labels to what had none (a state at zero), and may hand them on from one carried
    value to the next, so that it is read until nothing changes.
    """
    before = [Traced(blocks_of(cells, value)) for value in carried]
    for _ in range(ROUNDS):
        after = step(before)
        now = [
            Traced(together(cells, [one.blocks, blocks_of(cells, two)]))
            for one, two in zip(before, after, strict=True)
        ]
        if all(_same(one.blocks, two.blocks) for one, two in zip(before, now, strict=True)):
            return now
        before = now
    return _held(cells, before, step)


def _held(cells: Cells, before: list, step) -> list:
    """What is carried, with no entry moved."""
    why = f"a loop whose labels are not settled after {ROUNDS} readings"
    for value in before:
        for block in value.blocks:
            cells.pin(block.cells, why)
    for value in step(before):
        for block in blocks_of(cells, value):
            cells.pin(block.cells, why)
    return before


def _same(one: list, two: list) -> bool:
    """Whether two lists of blocks are equal, cell by cell."""
    pairs = zip(sorted(one, key=_axes), sorted(two, key=_axes), strict=False)
    return len(one) == len(two) and all(
        a.axes == b.axes and np.array_equal(a.cells, b.cells) for a, b in pairs
    )


def _axes(block: Block) -> tuple:
    return block.axes


def _first_row(cells: Cells, row) -> list:
    """One step's part of an array whose first axis is steps."""
    blocks = pin_axes(cells, blocks_of(cells, row), [0], "a loop over an axis")
    return [Block(tuple(a - 1 for a in b.axes), b.cells) for b in blocks if 0 not in b.axes]


def while_loop(cells: Cells, equation, operands: list) -> list:
    settings = equation.params
    num_cond, num_body = settings["cond_nconsts"], settings["body_nconsts"]
    of_cond, of_body = operands[:num_cond], operands[num_cond : num_cond + num_body]

    def step(carried):
        read(cells, settings["cond_jaxpr"], [*of_cond, *carried])
        return read(cells, settings["body_jaxpr"], [*of_body, *carried])

    return _until_it_holds(cells, operands[num_cond + num_body :], step)


def cond(cells: Cells, equation, operands: list) -> list:
    results = [read(cells, branch, operands[1:]) for branch in equation.params["branches"]]
    found = []
    for values in zip(*results, strict=True):
        found.append(Traced(together(cells, [blocks_of(cells, value) for value in values])))
    return found


ON_VALUES.update({"scan": scan, "while": while_loop, "cond": cond})
