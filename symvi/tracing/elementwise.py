"""Rules of operations that work entry by entry, and of symmetric reductions."""

from __future__ import annotations

from symvi.tracing.cells import Block, Cells
from symvi.tracing.reading import pin_everything, rule

# fmt: off
ENTRY_BY_ENTRY = (
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp", "clz", "complex", "conj",
    "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igammac", "imag",
    "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min",
    "mul", "name", "ne", "neg", "nextafter", "not", "or", "polygamma", "population_count", "pow",
    "real", "reduce_precision", "regularized_incomplete_beta", "rem", "round", "rsqrt",
    "select_n", "sharding_constraint", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan",
    "tanh", "xor", "zeta",
)
# fmt: on


def together(cells: Cells, operands: list) -> list:
    """The blocks of a value whose entries are read from the same entries of all operands."""
    blocks = [block for operand in operands for block in operand]
    found = []
    for axes in _components(blocks):
        inside = [block for block in blocks if set(block.axes) <= set(axes)]
        found += _meet(cells, axes, inside)
    return found


def _components(blocks: list) -> list:
    """Sets of axes that blocks join, directly or not."""
    found: list[set] = []
    for block in blocks:
        touched = [axes for axes in found if axes & set(block.axes)]
        found = [axes for axes in found if not axes & set(block.axes)]
        found.append(set(block.axes).union(*touched))
    return sorted(tuple(sorted(axes)) for axes in found)


def _meet(cells: Cells, axes: tuple, blocks: list) -> list:
    """One block for these axes where one covers them; otherwise one for each axis."""
    whole = next((block for block in blocks if block.axes == axes), None)
    if whole is None:
        singles = [part for block in blocks for part in cells.single(block) if part is not None]
        found = []
        for axis in axes:
            same = [part for part in singles if part.axes == (axis,)]
            cells.tie(*(part.cells for part in same))
            found.append(same[0])
        return found
    for block in blocks:
        if block.axes == axes:
            cells.tie(whole.cells, block.cells)
        else:
            cells.relate_block(whole, block)
    return [whole]


@rule(*ENTRY_BY_ENTRY)
def entry_by_entry(cells: Cells, equation, blocks: list, shapes: list) -> list:
    return together(cells, blocks)


@rule("optimization_barrier", "device_put")
def apart(cells: Cells, equation, blocks: list, shapes: list) -> list:
    return blocks


def without(cells: Cells, blocks: list, axes) -> list:
    """The blocks after a symmetric reduction over `axes`, whose numbers are kept."""
    found = []
    for block in blocks:
        kept = tuple(axis for axis in block.axes if axis not in axes)
        rest = block if kept == block.axes else cells.project(block, kept)
        if rest is not None:
            found.append(rest)
    return found


def renumbered(blocks: list, place: dict) -> list:
    """The blocks with axis a called ``place[a]``."""
    found = []
    for block in blocks:
        axes = [place[axis] for axis in block.axes]
        order = sorted(range(len(axes)), key=axes.__getitem__)
        found.append(Block(tuple(sorted(axes)), block.cells.transpose(order)))
    return found


def close_up(blocks: list, gone, rank: int) -> list:
    """The blocks with their axes counted anew after the axes `gone` went."""
    left = [axis for axis in range(rank) if axis not in gone]
    return renumbered(blocks, {axis: place for place, axis in enumerate(left)})


@rule(
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor"
)
def reduction(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axes = equation.params["axes"]
    return close_up(without(cells, blocks[0], axes), axes, len(shapes[0]))


def pin_axes(cells: Cells, blocks: list, axes, why: str | None) -> list:
    """The blocks with the axes `axes` pinned, which then stand alone."""
    found = []
    for block in blocks:
        met = set(block.axes) & set(axes)
        parts = cells.single(block) if met and len(block.axes) > 1 else [block]
        for part in parts:
            if part is not None and part.axes[0] in axes:
                cells.pin(part.cells, why)
            if part is not None:
                found.append(part)
    return found


IN_ORDER = "reading an axis in order"


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def in_order(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """What does not change along the axis does afterwards: its running sum grows."""
    axis = equation.params["axis"]
    rest = pin_axes(cells, blocks[0], [axis], IN_ORDER)
    kept = [block for block in rest if axis not in block.axes]
    return kept + cells.pinned(shapes[0], [axis])


@rule("top_k")
def largest(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axis = equation.params.get("axis", -1) % len(shapes[0])
    rest = without(cells, pin_axes(cells, blocks[0], [axis], IN_ORDER), [axis])
    return [rest + cells.pinned(variable.aval.shape, [axis]) for variable in equation.outvars]


@rule("argmax", "argmin")
def index_of_most(cells: Cells, equation, blocks: list, shapes: list) -> list:
    axes = equation.params["axes"]
    rest = pin_axes(cells, blocks[0], axes, IN_ORDER)
    return close_up([b for b in rest if not set(b.axes) & set(axes)], axes, len(shapes[0]))


@rule("sort")
def sort(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """The sorted values do not depend on the order; what is sorted along with them does."""
    axis = equation.params["dimension"]
    if len(blocks) > 1:
        blocks = [pin_axes(cells, operand, [axis], IN_ORDER) for operand in blocks]
    rest = together(cells, [without(cells, operand, [axis]) for operand in blocks])
    return [rest + cells.pinned(shapes[0], [axis]) for _ in blocks]


def _plain(setting):
    return setting if isinstance(setting, int) else tuple(setting)


@rule(
    "reduce_window",
    "reduce_window_sum",
    "reduce_window_max",
    "reduce_window_min",
)
def window(cells: Cells, equation, blocks: list, shapes: list) -> list:
    if len(equation.outvars) > 1:
        return pin_everything(cells, equation, blocks, shapes)
    settings = equation.params
    one_by_one = (1, 1, (0, 0), 1)
    names = ("window_dimensions", "window_strides", "padding", "base_dilation")
    ways = zip(*(map(_plain, settings[name]) for name in names), strict=True)
    moved = [axis for axis, way in enumerate(ways) if way != one_by_one]
    rest = pin_axes(cells, blocks[0], moved, "a window that moves along an axis")
    kept = [block for block in rest if not set(block.axes) & set(moved)]
    found = kept + cells.pinned(equation.outvars[0].aval.shape, moved)
    return [found] if equation.primitive.multiple_results else found
