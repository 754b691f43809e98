"""What else a unit's weights may be multiplied by: signs and scales, from the same program.

A unit stands at k places of the parameters: a row of one weight, an entry of a bias, a column of
the next weight. Multiply the weights at place j by t^(e_j). For which exponents e do the outputs
stay? As the program is read, each entry of each value carries the exponent that it is multiplied
by, a sum of some e_j, and operations ask something of e:

1. a product adds exponents, a power multiplies them;
2. entries that are added have equal exponents;
3. f(t a) = t^d f(a) multiplies them by d: with t = -1 an odd function by 1 and an even one by 0,
   with t > 0 a positively homogeneous one by its degree (ReLU by 1);
4. whatever else, and the outputs: the exponent is zero.

These are linear equations: over Z_2 for signs (t = -1), over the reals for scales (t > 0). Units
that may be exchanged have the same ones, so one of each group is looked at. A unit *flips* where
e = (1, ..., 1) solves those of signs: a signed group then changes the sign of all of its weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from symvi.tracing.reading import CALLS, OPAQUE, Known, computed, inner, is_small

LARGEST = 1_000_000  # numbers in one array of exponents of terms that are joined
RULES: dict = {}  # (unit, equation, terms of each operand, known values or None, shapes) -> terms
ON_FACTORS: dict = {}  # rules that read programs within them: (reader, equation, operands)


def factor_rule(*names):
    """Register the decorated function under the names of primitives.

    It returns the terms of the result, or a list of them for several results.
    """

    def register(function):
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


class Factored(NamedTuple):
    """A value that depends on weights or inputs: the exponents of its entries.

    By number of the unit a list of arrays that are added, each ``(*shape, k)`` with 1 in the place
    of axes along which it does not change. No list stands for exponents of zero.
    """

    terms: dict


class Unit:
    """One unit with `num_places` places, and the equations that its exponents must solve."""

    def __init__(self, num_places: int, signs: bool):
        self.num_places, self.signs = num_places, signs
        self.equations = [np.zeros((0, num_places))]

    def added(self, *several) -> list:
        """The sum of lists of terms, one array for each set of axes along which it changes."""
        by_shape: dict = {}
        for terms in several:
            for term in terms:
                before = by_shape.get(term.shape)
                by_shape[term.shape] = term if before is None else before + term
        reduced = [term % 2 if self.signs else term for term in by_shape.values()]
        return [_narrowed(term) for term in reduced if term.any()]

    def times(self, degree: float, terms: list) -> list:
        return self.added([degree * term for term in terms]) if degree else []

    def vanish(self, terms: list) -> None:
        """The exponents `terms` must be zero, all of them."""
        first = np.zeros(self.num_places)
        for term in self._apart(terms):
            rows = term.reshape(-1, self.num_places)
            first = first + rows[0]
            self._ask(rows - rows[0])
        self._ask(first[None])

    def equal(self, several: list) -> list:
        """The exponents that all of these must be, entry by entry."""
        for terms in several[1:]:
            self.vanish(self.added(several[0], self.times(-1, terms)))
        return several[0] if several else []

    def constant(self, terms: list, axes) -> list:
        """The exponents, which must not change along `axes`; these axes have length 1 then."""
        for axis in axes:
            firsts = []
            for term in self._apart(terms):
                first = np.take(term, [0], axis=axis)
                self._ask((term - first).reshape(-1, self.num_places))
                firsts.append(first)
            terms = self.added(firsts)
        return terms

    def _apart(self, terms: list) -> list:
        """The same sum with at most one term that changes along any axis.

        Where that one would be large they stay apart, and more is asked than has to be.
        """
        found: list = []
        for term in terms:
            near = [other for other in found if _axes(other) & _axes(term)]
            joined = np.broadcast_shapes(term.shape, *(other.shape for other in near))
            if near and np.prod(joined) <= LARGEST:
                found = [other for other in found if _axes(other).isdisjoint(_axes(term))]
                found += self.added([sum(near, start=term)])
            else:
                found.append(term)
        return found

    def is_free(self, known) -> bool:
        """Whether a known value is as good as one with any factor: 0, for scales also infinity."""
        value = np.asarray(known)
        if self.signs or value.dtype.kind not in "fc":
            return not value.any()
        return not np.where(np.isinf(value), 0, value).any()

    def _ask(self, rows: np.ndarray) -> None:
        rows = rows % 2 if self.signs else rows
        rows = rows[rows.any(axis=1)]
        if len(rows):
            self.equations.append(np.unique(rows, axis=0))

    @property
    def asked(self) -> np.ndarray:
        """All equations, one in each row, shape ``(m, k)``."""
        return np.unique(np.concatenate(self.equations), axis=0)

    @property
    def freedom(self) -> int:
        """The dimension of the solutions."""
        return self.num_places - (_rank_of_signs if self.signs else _rank)(self.asked)

    @property
    def flips(self) -> bool:
        """Whether multiplying all of the unit's weights by the same factor is a solution."""
        total = self.asked.sum(axis=1)
        return not np.any(total % 2 if self.signs else total)


def _axes(term: np.ndarray) -> set:
    """The axes along which a term changes."""
    return {axis for axis, size in enumerate(term.shape[:-1]) if size > 1}


def _narrowed(term: np.ndarray) -> np.ndarray:
    """The term with length 1 along axes on which it does not change."""
    for axis in range(term.ndim - 1):
        first = term[(slice(None),) * axis + (slice(1),)]
        if term.shape[axis] > 1 and (term == first).all():
            term = first
    return term


def _rank(rows: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(rows)) if len(rows) else 0


def _rank_of_signs(rows: np.ndarray) -> int:
    """The rank over Z_2, by elimination."""
    left, rank = rows.astype(bool), 0
    for column in range(left.shape[1]):
        pivots = np.flatnonzero(left[rank:, column])
        if len(pivots) == 0:
            continue
        left[[rank, rank + pivots[0]]] = left[[rank + pivots[0], rank]]
        others = left[:, column].copy()
        others[rank] = False
        left[others] ^= left[rank]
        rank += 1
    return rank


class Reader:
    """Reads a program with all units at once."""

    def __init__(self, places: list, signs: bool):
        self.places = places
        self.units = [Unit(len(places_of_one), signs) for places_of_one in places]

    def parameters(self, shapes: dict) -> dict:
        """The exponents of each parameter's entries."""
        found = {name: {} for name in shapes}
        for number, places in enumerate(self.places):
            for place, (name, axis, index) in enumerate(places):
                sizes = [1] * len(shapes[name])
                sizes[axis] = shapes[name][axis]
                term = np.zeros((*sizes, len(places)))
                term[(*[0] * axis, index, *[0] * (len(sizes) - axis - 1), place)] = 1
                unit = self.units[number]
                before = found[name].get(number, [])
                found[name][number] = unit.added(before, [term])
        return {name: Factored(terms) for name, terms in found.items()}

    def read(self, program, inputs: list) -> list:
        """The values that a closed program returns."""
        consts = zip(program.jaxpr.constvars, program.consts, strict=True)
        values = {variable: Known(value) for variable, value in consts}
        values.update(zip(program.jaxpr.invars, inputs, strict=True))

        def look(atom):
            return Known(atom.val) if hasattr(atom, "val") else values[atom]

        for equation in _needed(program.jaxpr):
            results = self._step(equation, [look(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [look(atom) for atom in program.jaxpr.outvars]

    def _step(self, equation, operands: list) -> list:
        name = equation.primitive.name
        known = all(isinstance(operand, Known) for operand in operands)
        if known and not name.startswith("custom_") and is_small(equation):
            return computed(equation, operands)
        if name in CALLS and equation.params.get("name") != OPAQUE:
            return self.read(inner(equation), operands)
        if name in ON_FACTORS:
            return ON_FACTORS[name](self, equation, operands)
        return self._by_rule(equation, operands)

    def _by_rule(self, equation, operands: list) -> list:
        shapes = [tuple(atom.aval.shape) for atom in equation.invars]
        known = [one.value if isinstance(one, Known) else None for one in operands]
        if equation.primitive.name in PRODUCTS and any(map(is_zero, known)):
            out = equation.outvars[0].aval
            return [Known(np.broadcast_to(np.zeros((), out.dtype), out.shape))]
        results = [{} for _ in equation.outvars]
        for number in sorted(set().union(*(terms_of(one) for one in operands))):
            terms = [terms_of(one).get(number, []) for one in operands]
            function = RULES.get(equation.primitive.name, nothing_else)
            found = function(self.units[number], equation, terms, known, shapes)
            found = found if equation.primitive.multiple_results else [found]
            for result, its_terms in zip(results, found, strict=True):
                if its_terms:
                    result[number] = its_terms
        return [Factored(result) for result in results]

    def vanish(self, value) -> None:
        """The exponents of a value must be zero."""
        for number, terms in terms_of(value).items():
            self.units[number].vanish(terms)

    def equal(self, one, two) -> None:
        """The exponents of two values must be the same."""
        for number in set(terms_of(one)) | set(terms_of(two)):
            pair = [terms_of(value).get(number, []) for value in (one, two)]
            self.units[number].equal(pair)


def _needed(program) -> list:
    """The equations that an output depends on."""
    found, wanted = [], {id(atom) for atom in program.outvars}
    for equation in reversed(program.eqns):
        if wanted & {id(variable) for variable in equation.outvars}:
            found.append(equation)
            wanted |= {id(atom) for atom in equation.invars}
    return found[::-1]


PRODUCTS = ("mul", "dot_general", "conv_general_dilated")


def terms_of(value) -> dict:
    return {} if isinstance(value, Known) else value.terms


def is_zero(value) -> bool:
    return value is not None and not np.asarray(value).any()


def nothing_else(unit: Unit, equation, terms: list, known: list, shapes: list):
    """What is done where nothing is known of a primitive: no factor may reach it."""
    for one in terms:
        unit.vanish(one)
    return [[] for _ in equation.outvars] if equation.primitive.multiple_results else []


def factors(program, inputs: list, shapes: dict, places: list, signs: bool) -> list:
    """One :class:`Unit` for each of `places`: lists of (parameter, axis, index).

    `inputs` are names of parameters, or None for what has no factor.
    """
    reader = Reader(places, signs)
    weights = reader.parameters(shapes)
    values = [Factored({}) if name is None else weights[name] for name in inputs]
    for output in reader.read(program, values):
        reader.vanish(output)
    return reader.units
