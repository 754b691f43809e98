"""How a program of JAX is read: its equations one by one, each by the rule of its primitive.

A value is known (a constant, or computed from constants alone), or it is traced: its blocks say
which cells its axes carry. Rules are in `elementwise`, `moving`, `products` and `loops`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symvi.tracing.cells import Cells

LARGEST = 20_000_000  # entries of a constant that is computed
OPAQUE = "symvi_opaque"  # the name of a compiled function of which nothing is read
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where a primitive that calls keeps its program
# A scope that stands for an operation of another library: its node, what was called, the layer.
SCOPE = re.compile(r"([^/|()]*)\|([^/|()]*)\|([^/|()]*)")
CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
)


class Known(NamedTuple):
    """A value that depends neither on weights nor on inputs."""

    value: Any


class Traced(NamedTuple):
    """A value that does: the blocks of its axes."""

    blocks: list


RULES: dict[str, Callable] = {}
# Rules that read programs within them, or ask what is known: (cells, equation, operands).
ON_VALUES: dict[str, Callable] = {}


def rule(*names):
    """Register the decorated function under the names of primitives.

    It takes ``(cells, equation, blocks, shapes)``: the blocks and the shape of each operand; and
    returns the blocks of the result, or a list of them for several results.
    """

    def register(function):
        for name in names:
            RULES[name] = function
        return function

    return register


def read(cells: Cells, program, inputs: list) -> list:
    """The values that a closed program returns, for inputs that are Known or Traced."""
    values = {}
    consts = zip(program.jaxpr.constvars, program.consts, strict=True)
    values.update((variable, Known(value)) for variable, value in consts)
    values.update(zip(program.jaxpr.invars, inputs, strict=True))

    def look(atom):
        return Known(atom.val) if hasattr(atom, "val") else values[atom]

    for equation in program.jaxpr.eqns:
        operands = [look(atom) for atom in equation.invars]
        results = _step(cells, equation, operands)
        values.update(zip(equation.outvars, results, strict=True))
    return [look(atom) for atom in program.jaxpr.outvars]


def _step(cells: Cells, equation, operands: list) -> list:
    """The results of one equation."""
    name = equation.primitive.name
    known = all(isinstance(operand, Known) for operand in operands)
    if known and not name.startswith("custom_") and is_small(equation):  # those are read first
        return computed(equation, operands)
    outer = cells.where
    cells.where = outer if outer.startswith("node ") else _where(equation, outer)
    if name in CALLS and equation.params.get("name") != OPAQUE:
        results = read(cells, inner(equation), operands)
    elif name in ON_VALUES:
        results = ON_VALUES[name](cells, equation, operands)
    else:
        results = _by_rule(cells, equation, operands)
    cells.where = outer
    return results


def is_small(equation) -> bool:
    return all(np.prod(v.aval.shape) <= LARGEST for v in equation.outvars)


def computed(equation, operands: list) -> list:
    found = equation.primitive.bind(*(operand.value for operand in operands), **equation.params)
    return [Known(v) for v in (found if equation.primitive.multiple_results else [found])]


def inner(equation):
    """The closed program that an equation calls."""
    program = next(equation.params[key] for key in INNER if key in equation.params)
    return program if hasattr(program, "consts") else ClosedJaxpr(program, ())


def _by_rule(cells: Cells, equation, operands: list) -> list:
    blocks = [blocks_of(cells, operand) for operand in operands]
    shapes = [tuple(atom.aval.shape) for atom in equation.invars]
    found = RULES.get(equation.primitive.name, pin_everything)(cells, equation, blocks, shapes)
    if not equation.primitive.multiple_results:
        found = [found]
    return [Traced(blocks) for blocks in found]


def blocks_of(cells: Cells, value) -> list:
    """The blocks of a value; a known one is fixed data."""
    if isinstance(value, Traced):
        return value.blocks
    if jax.dtypes.issubdtype(getattr(value.value, "dtype", float), jax.dtypes.extended):
        return cells.pinned(value.value.shape)
    return cells.data(np.asarray(value.value))


def pin_everything(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """What is done where nothing is known of a primitive."""
    why = "an operation that is not analysed"
    for operand in blocks:
        for block in operand:
            cells.pin(block.cells, why)
    found = [cells.pinned(variable.aval.shape) for variable in equation.outvars]
    return found if equation.primitive.multiple_results else found[0]


def _where(equation, outer: str) -> str:
    """Which equation it is, for a note: a scope's own words, or the primitive and its line.

    A program of JAX's own within the equation `outer` has no line; then that of `outer` counts.
    """
    scope = SCOPE.search(str(equation.source_info.name_stack))
    if scope:
        node, call, layer = scope.groups()
        return f"node {node!r} ({call}{f' in layer {layer!r}' if layer else ''}): "
    line = _line(equation.source_info.traceback) or outer.removesuffix(": ").partition(" at ")[2]
    return f"{equation.primitive.name}{f' at {line}' if line else ''}: "


def _line(traceback) -> str | None:
    """The file and line of the innermost frame that is not a library's."""
    for frame in traceback.frames if traceback is not None else ():
        if "site-packages" not in frame.file_name and "symvi/tracing" not in frame.file_name:
            return f"{frame.file_name.rpartition('/')[2]}:{frame.line_num}"
    return None
