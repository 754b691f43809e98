"""Rules of :mod:`symvi.tracing.factors`: what primitives do to exponents, and ask of them."""

from __future__ import annotations

import math

import numpy as np

from symvi.tracing.factors import (
    LARGEST,
    ON_FACTORS,
    Factored,
    Known,
    Reader,
    Unit,
    factor_rule,
    is_zero,
    nothing_else,
    terms_of,
)
from symvi.tracing.moving import runs

LINEAR = (
    "neg", "copy", "copy_p", "real", "imag", "conj", "stop_gradient", "name", "sharding_constraint",
)  # fmt: skip
ODD = (
    "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "erf_inv", "cbrt",
    "round", "sign", "reduce_precision",
)  # fmt: skip
EVEN = ("abs", "cos", "cosh", "square", "bessel_i0e", "is_finite")
DEGREES = {"abs": 1, "square": 2, "sqrt": 0.5, "rsqrt": -0.5, "cbrt": 1 / 3, "sign": 0}


@factor_rule(*LINEAR)
def linear(unit: Unit, equation, terms: list, known: list, shapes: list):
    return terms[0]


@factor_rule(*ODD, *EVEN, *DEGREES)
def function_of_one(unit: Unit, equation, terms: list, known: list, shapes: list):
    """f(t a) = t^d f(a), with d by the name of f."""
    name = equation.primitive.name
    if unit.signs and name in (*ODD, *EVEN):
        return unit.times(int(name in ODD), terms[0])
    if not unit.signs and name in DEGREES:
        return unit.times(DEGREES[name], terms[0])
    return nothing_else(unit, equation, terms, known, shapes)


@factor_rule("integer_pow")
def integer_power(unit: Unit, equation, terms: list, known: list, shapes: list):
    return unit.times(equation.params["y"], terms[0])


@factor_rule("convert_element_type")
def convert(unit: Unit, equation, terms: list, known: list, shapes: list):
    if np.issubdtype(equation.params["new_dtype"], np.inexact):
        return terms[0]
    return nothing_else(unit, equation, terms, known, shapes)


@factor_rule("mul")
def product(unit: Unit, equation, terms: list, known: list, shapes: list):
    return unit.added(*(_spread(one, equation) for one in terms))


@factor_rule("div")
def quotient(unit: Unit, equation, terms: list, known: list, shapes: list):
    above, below = (_spread(one, equation) for one in terms)
    return unit.added(above, unit.times(-1, below))


@factor_rule("add", "add_any", "sub", "complex")
def together(unit: Unit, equation, terms: list, known: list, shapes: list):
    """Entries of several values that are added: equal exponents, but for values of zero."""
    asked = [
        _spread(one, equation)
        for one, value in zip(terms, known, strict=True)
        if value is None or not unit.is_free(value)
    ]
    return unit.equal(asked)


@factor_rule("max", "min")
def larger(unit: Unit, equation, terms: list, known: list, shapes: list):
    """max(t a, t b) = t max(a, b) for t > 0."""
    rule = nothing_else if unit.signs else together
    return rule(unit, equation, terms, known, shapes)


@factor_rule("gt", "ge", "lt", "le")
def compared(unit: Unit, equation, terms: list, known: list, shapes: list):
    larger(unit, equation, terms, known, shapes)
    return []


@factor_rule("eq", "ne")
def same(unit: Unit, equation, terms: list, known: list, shapes: list):
    together(unit, equation, terms, known, shapes)
    return []


@factor_rule("select_n")
def chosen(unit: Unit, equation, terms: list, known: list, shapes: list):
    unit.vanish(terms[0])
    return together(unit, equation, terms[1:], known[1:], shapes[1:])


@factor_rule("clamp")
def clamped(unit: Unit, equation, terms: list, known: list, shapes: list):
    """Odd between -c and c; homogeneous between zero and infinity."""
    low, _, high = known
    if low is not None and high is not None:
        odd = unit.signs and np.array_equal(np.asarray(low), -np.asarray(high))
        scaled = not unit.signs and unit.is_free(low) and unit.is_free(high)
        if odd or scaled:
            return terms[1]
    return nothing_else(unit, equation, terms, known, shapes)


def _spread(terms: list, equation) -> list:
    """A scalar's terms as those of an array."""
    rank = len(equation.outvars[0].aval.shape)
    return [t.reshape((1,) * (rank + 1 - t.ndim) + t.shape) if t.ndim <= rank else t for t in terms]


# Reductions and products.


@factor_rule("reduce_sum")
def summed(unit: Unit, equation, terms: list, known: list, shapes: list):
    axes = equation.params["axes"]
    return _without(unit.constant(terms[0], axes), axes)


@factor_rule("reduce_max", "reduce_min", "argmax", "argmin")
def largest(unit: Unit, equation, terms: list, known: list, shapes: list):
    if unit.signs:
        return nothing_else(unit, equation, terms, known, shapes)
    found = summed(unit, equation, terms, known, shapes)
    return found if equation.primitive.name.startswith("reduce") else []


@factor_rule("cumsum")
def running(unit: Unit, equation, terms: list, known: list, shapes: list):
    return unit.constant(terms[0], [equation.params["axis"]])


@factor_rule("reduce_window_sum", "reduce_window_max", "reduce_window_min")
def window(unit: Unit, equation, terms: list, known: list, shapes: list):
    if unit.signs and equation.primitive.name != "reduce_window_sum":
        return nothing_else(unit, equation, terms, known, shapes)
    moved = [axis for axis, size in enumerate(equation.params["window_dimensions"]) if size > 1]
    stride = [axis for axis, step in enumerate(equation.params["window_strides"]) if step > 1]
    return unit.constant(terms[0], {*moved, *stride})


def _without(terms: list, axes) -> list:
    return [np.squeeze(term, tuple(axes)) for term in terms]


@factor_rule("dot_general")
def dot_general(unit: Unit, equation, terms: list, known: list, shapes: list):
    """A product entry by entry of two stretched arrays, summed over contracted axes."""
    contracted, batch = equation.params["dimension_numbers"]
    free = []
    for side in (0, 1):
        taken = {*contracted[side], *batch[side]}
        free.append([axis for axis in range(len(shapes[side])) if axis not in taken])
    order = (
        [*batch[0], *free[0], *[None] * len(free[1]), *contracted[0]],
        [*batch[1], *[None] * len(free[0]), *free[1], *contracted[1]],
    )
    rank = len(order[0])
    stretched = []
    for side in (0, 1):
        place = {axis: i for i, axis in enumerate(order[side]) if axis is not None}
        stretched += _placed(terms[side], place, rank)
    summed_over = range(rank - len(contracted[0]), rank)
    return _without(unit.constant(unit.added(stretched), summed_over), summed_over)


@factor_rule("conv_general_dilated")
def convolution(unit: Unit, equation, terms: list, known: list, shapes: list):
    """Each group's channels are summed with those of the kernel; exponents along pixels are equal.

    The axes are for a while: data, groups, outputs of a group, inputs of a group.
    """
    settings = equation.params
    if settings["batch_group_count"] > 1:
        return nothing_else(unit, equation, terms, known, shapes)
    image, kernel, out = settings["dimension_numbers"]
    groups = settings["feature_group_count"]
    pixels = _without(
        unit.constant(_placed(terms[0], _order(image), len(image)), _after(image)), _after(image)
    )
    weights = _placed(terms[1], _order(kernel), len(kernel))
    weights = _without(unit.constant(weights, _after(kernel)), _after(kernel))
    stretched = [_split(term, 1, groups)[:, :, None] for term in pixels]
    stretched += [_split(term, 0, groups)[None] for term in weights]
    joined = []
    for term in _without(unit.constant(unit.added(stretched), [3]), [3]):
        if term.shape[1:3] != (1, 1):
            made = (groups, shapes[1][kernel[0]] // groups)
            term = np.broadcast_to(term, (len(term), *made, unit.num_places))
        joined.append(term.reshape(len(term), -1, unit.num_places))
    return _placed(joined, dict(enumerate(out[:2])), len(out))


def _order(spec: tuple) -> dict:
    return {axis: place for place, axis in enumerate(spec)}


def _after(spec: tuple) -> range:
    return range(2, len(spec))


def _split(term: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """An axis as (groups, entries of each); axes along which nothing changes stay of length 1."""
    long = (groups, term.shape[axis] // groups) if term.shape[axis] > 1 else (1, 1)
    return term.reshape(*term.shape[:axis], *long, *term.shape[axis + 1 :])


# Moving.


def _placed(terms: list, place: dict, rank: int) -> list:
    """The terms with axis a at ``place[a]`` of `rank` axes, and nothing new along the others."""
    found = []
    for term in terms:
        order = sorted(place, key=place.__getitem__)
        sizes = [1] * rank
        for axis in order:
            sizes[place[axis]] = term.shape[axis]
        found.append(term.transpose(*order, term.ndim - 1).reshape(*sizes, term.shape[-1]))
    return found


@factor_rule("transpose")
def transpose(unit: Unit, equation, terms: list, known: list, shapes: list):
    order = equation.params["permutation"]
    return _placed(terms[0], _order(order), len(order))


@factor_rule("broadcast_in_dim")
def broadcast(unit: Unit, equation, terms: list, known: list, shapes: list):
    place = dict(enumerate(equation.params["broadcast_dimensions"]))
    return _placed(terms[0], place, len(equation.params["shape"]))


@factor_rule("squeeze")
def squeeze(unit: Unit, equation, terms: list, known: list, shapes: list):
    return _without(terms[0], equation.params["dimensions"])


@factor_rule("rev")
def reverse(unit: Unit, equation, terms: list, known: list, shapes: list):
    return [np.flip(term, equation.params["dimensions"]) for term in terms[0]]


@factor_rule("reshape")
def reshape(unit: Unit, equation, terms: list, known: list, shapes: list):
    old, new, found = shapes[0], equation.outvars[0].aval.shape, []
    for term in terms[0] if 0 not in old else []:
        before, after = list(term.shape[:-1]), [1] * len(new)
        for one, two in runs(old, new):
            if any(term.shape[axis] > 1 for axis in one):
                for axis in one:
                    before[axis] = old[axis]
                for axis in two:
                    after[axis] = new[axis]
        whole = np.broadcast_to(term, (*before, term.shape[-1]))
        found.append(whole.reshape(*after, term.shape[-1]))
    return unit.added(found)


def _cut(terms: list, axis: int, places: slice) -> list:
    found = []
    for term in terms:
        index = [slice(None)] * term.ndim
        index[axis] = places if term.shape[axis] > 1 else slice(None)
        found.append(term[tuple(index)])
    return found


@factor_rule("slice")
def slice_(unit: Unit, equation, terms: list, known: list, shapes: list):
    settings, found = equation.params, terms[0]
    strides = settings["strides"] or (1,) * len(shapes[0])
    bounds = zip(settings["start_indices"], settings["limit_indices"], strides, strict=True)
    for axis, (start, stop, stride) in enumerate(bounds):
        found = _cut(found, axis, slice(start, stop, stride))
    return unit.added(found)


@factor_rule("split")
def split(unit: Unit, equation, terms: list, known: list, shapes: list):
    ends = np.cumsum(equation.params["sizes"]).tolist()
    starts, axis = [0, *ends], equation.params["axis"]
    pieces = zip(starts, ends, strict=False)
    return [unit.added(_cut(terms[0], axis, slice(start, end))) for start, end in pieces]


@factor_rule("unstack")
def unstack(unit: Unit, equation, terms: list, known: list, shapes: list):
    axis = equation.params["axis"] % len(shapes[0])
    rows = (_cut(terms[0], axis, slice(place, place + 1)) for place in range(shapes[0][axis]))
    return [unit.added(_without(row, [axis])) for row in rows]


@factor_rule("concatenate")
def concatenate(unit: Unit, equation, terms: list, known: list, shapes: list):
    axis = equation.params["dimension"]
    return _side_by_side(unit, terms, [shape[axis] for shape in shapes], axis)


def _side_by_side(unit: Unit, terms: list, lengths: list, axis: int) -> list:
    start, found = 0, []
    for operand, length in zip(terms, lengths, strict=True):
        for term in operand:
            sizes = list(term.shape)
            sizes[axis] = sum(lengths)
            whole = np.zeros(sizes)
            index = [slice(None)] * term.ndim
            index[axis] = slice(start, start + length)
            whole[tuple(index)] = term
            found.append(whole)
        start += length
    return unit.added(found)


@factor_rule("stack")
def stack(unit: Unit, equation, terms: list, known: list, shapes: list):
    axis = equation.params["axis"] % (len(shapes[0]) + 1)
    rows = [[np.expand_dims(term, axis) for term in operand] for operand in terms]
    return _side_by_side(unit, rows, [1] * len(rows), axis)


@factor_rule("tile")
def tile(unit: Unit, equation, terms: list, known: list, shapes: list):
    found = []
    for term in terms[0]:
        reps = [
            count if size > 1 else 1
            for count, size in zip(equation.params["reps"], term.shape[:-1], strict=True)
        ]
        found.append(np.tile(term, [*reps, 1]))
    return found


@factor_rule("pad")
def pad(unit: Unit, equation, terms: list, known: list, shapes: list):
    """Zeros are added, along axes on which the exponents are constant."""
    if known[1] is None or not unit.is_free(known[1]):
        return nothing_else(unit, equation, terms, known, shapes)
    widened = [a for a, added in enumerate(equation.params["padding_config"]) if any(added)]
    return unit.constant(terms[0], widened)


@factor_rule("gather")
def gather(unit: Unit, equation, terms: list, known: list, shapes: list):
    """Entries at known places; or whole rows at places that inputs say, as of an embedding."""
    if known[1] is not None:
        return _at_known_places(unit, equation, terms, known, shapes)
    unit.vanish(terms[1])
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    picked = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [axis for axis in range(len(shapes[0])) if axis not in picked]
    cut = [axis for axis in range(len(shapes[0])) if sizes[axis] < shapes[0][axis]]
    found = unit.constant(terms[0], {*picked, *cut})
    place = dict(enumerate(numbers.offset_dims[: len(kept)]))
    return _placed(_without(found, picked), place, len(equation.outvars[0].aval.shape))


@factor_rule("dynamic_slice")
def dynamic_slice(unit: Unit, equation, terms: list, known: list, shapes: list):
    return _at_known_places(unit, equation, terms, known, shapes)


def _at_known_places(unit: Unit, equation, terms: list, known: list, shapes: list):
    """The terms of entries that are picked from the first operand: where the others are known."""
    out = equation.outvars[0].aval.shape
    size = max(math.prod(shapes[0]), math.prod(out)) * unit.num_places
    if any(value is None for value in known[1:]) or size > LARGEST:
        return nothing_else(unit, equation, terms, known, shapes)
    numbers = np.arange(math.prod(shapes[0])).reshape(shapes[0])
    places = np.asarray(equation.primitive.bind(numbers, *known[1:], **equation.params))
    if places.size and not 0 <= places.min() <= places.max() < numbers.size:
        return nothing_else(unit, equation, terms, known, shapes)  # some lie outside
    found = []
    for term in terms[0]:
        whole = np.broadcast_to(term, (*shapes[0], unit.num_places))
        found.append(whole.reshape(-1, unit.num_places)[places])
    return unit.added(found)


# Loops and branches.


def cond(reader: Reader, equation, operands: list) -> list:
    """All branches have the same exponents."""
    reader.vanish(operands[0])
    results = [reader.read(branch, operands[1:]) for branch in equation.params["branches"]]
    for result in results[1:]:
        for one, two in zip(results[0], result, strict=True):
            reader.equal(one, two)
    return [*map(_factored, results[0])]


def while_loop(reader: Reader, equation, operands: list) -> list:
    """The exponents of what is carried stay, and the condition has none."""
    settings = equation.params
    num_cond, num_body = settings["cond_nconsts"], settings["body_nconsts"]
    carried = [*map(_factored, operands[num_cond + num_body :])]
    for value in reader.read(settings["cond_jaxpr"], [*operands[:num_cond], *carried]):
        reader.vanish(value)
    body = operands[num_cond : num_cond + num_body]
    for one, two in zip(
        carried, reader.read(settings["body_jaxpr"], [*body, *carried]), strict=True
    ):
        reader.equal(one, two)
    return carried


def scan(reader: Reader, equation, operands: list) -> list:
    """A loop: the exponents of what is carried stay; steps have the same ones.

    What starts at zero has those of the first step. A counter, which each step computes from what
    is known, is another number in each, and so not known.
    """
    settings = equation.params
    body, num_carry = settings["jaxpr"], settings["num_carry"]
    consts = operands[: settings["num_consts"]]
    carried = operands[settings["num_consts"] :][:num_carry]
    rows = [
        _changed(reader, row, lambda unit, terms: _without(unit.constant(terms, [0]), [0]))
        for row in operands[settings["num_consts"] + num_carry :]
    ]
    first, counts = [], True
    while counts:
        first = reader.read(body, [*consts, *carried, *rows])
        counts = [
            place
            for place, (start, after) in enumerate(zip(carried, first[:num_carry], strict=True))
            if isinstance(start, Known) and isinstance(after, Known)
        ]
        for place in counts:
            carried[place] = Factored({})
    for start, after in zip(carried, first[:num_carry], strict=True):
        if not (isinstance(start, Known) and is_zero(start.value)):
            reader.equal(start, after)
    results = reader.read(body, [*consts, *first[:num_carry], *rows])
    for one, two in zip(first, results, strict=True):
        reader.equal(one, two)
    stacked = [
        _changed(reader, value, lambda unit, terms: [term[None] for term in terms])
        for value in results[num_carry:]
    ]
    return [*map(_factored, results[:num_carry]), *stacked]


def _changed(reader: Reader, value, change) -> Factored:
    found = {}
    for number, terms in terms_of(value).items():
        if changed := change(reader.units[number], terms):
            found[number] = changed
    return Factored(found)


def _factored(value) -> Factored:
    return Factored(terms_of(value))


ON_FACTORS.update({"scan": scan, "while": while_loop, "cond": cond})
