"""Rules of loops and branches: what is carried from step to step goes with itself."""

from __future__ import annotations

from symvi.tracing.cells import Block, Cells
from symvi.tracing.elementwise import together
from symvi.tracing.reading import LOOPS, Traced, blocks_of, read


def scan(cells: Cells, equation, operands: list) -> list:
    """A loop: what it carries goes with itself from step to step; steps stay in their order."""
    settings = equation.params
    consts = operands[: settings["num_consts"]]
    carried = operands[settings["num_consts"] :][: settings["num_carry"]]
    rows = operands[settings["num_consts"] + settings["num_carry"] :]
    steps = [Traced(_first_row(cells, blocks_of(cells, row))) for row in rows]
    before = [Traced(blocks_of(cells, value)) for value in carried]
    for _ in range(2):  # what a step adds to the carry's labels must hold for the next step too
        found = read(cells, settings["jaxpr"], [*consts, *before, *steps])
        after = found[: settings["num_carry"]]
        before = _carried(cells, before, after, equation.outvars)
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


def _first_row(cells: Cells, blocks: list) -> list:
    """One step's part of an array whose first axis is steps."""
    out = []
    for block in blocks:
        if block.axes == (0,):
            cells.pin(block.cells, "a loop over an axis")
            continue
        parts = cells.single(block) if 0 in block.axes else [block]
        for part in parts:
            if part is not None and part.axes == (0,):
                cells.pin(part.cells, "a loop over an axis")
            elif part is not None:
                out.append(Block(tuple(axis - 1 for axis in part.axes), part.cells))
    return out


def _carried(cells: Cells, before: list, after: list, variables) -> list:
    return [
        Traced(together(cells, [blocks_of(cells, one), blocks_of(cells, two)]))
        for one, two, _ in zip(before, after, variables, strict=False)
    ]


def while_loop(cells: Cells, equation, operands: list) -> list:
    settings = equation.params
    num_cond, num_body = settings["cond_nconsts"], settings["body_nconsts"]
    of_cond, of_body = operands[:num_cond], operands[num_cond : num_cond + num_body]
    carried = [Traced(blocks_of(cells, value)) for value in operands[num_cond + num_body :]]
    for _ in range(2):
        read(cells, settings["cond_jaxpr"], [*of_cond, *carried])
        after = read(cells, settings["body_jaxpr"], [*of_body, *carried])
        carried = _carried(cells, carried, after, equation.outvars)
    return carried


def cond(cells: Cells, equation, operands: list) -> list:
    results = [read(cells, branch, operands[1:]) for branch in equation.params["branches"]]
    found = []
    for values in zip(*results, strict=True):
        found.append(Traced(together(cells, [blocks_of(cells, value) for value in values])))
    return found


LOOPS.update({"scan": scan, "while": while_loop, "cond": cond})
