"""What units can do besides changing places: change sign, and be scaled.

A unit changes sign with all of its weights where odd functions, or none, stand between them: then
``signed`` groups hold it. Changes of sign of a part of its weights have no place in a `Symmetry`,
and scales, which keep the function where units are homogeneous, as ReLU's are (Laurent et al.,
arXiv 2310.08287), form no finite group: both are noted only.
"""

from __future__ import annotations

import math

from symvi.symmetry import Symmetry
from symvi.symmetry.nested import with_signs
from symvi.tracing.choice import Choice
from symvi.tracing.factors import Unit, factors

MOST_NAMES = 6  # of groups, in one note


def with_factors(choice: Choice, program, inputs: list, shapes: dict, signed: bool) -> Choice:
    """The choice with groups whose units change sign, where asked for, and notes on what else."""
    product = choice.symmetry
    places = [_places(group) for group in product.groups]
    if not places:
        return choice
    signs = factors(program, inputs, shapes, places, signs=True)
    scales = factors(program, inputs, shapes, places, signs=False)
    flipping = tuple(_names(product, signs, lambda unit: unit.flips))
    notes = list(choice.notes)
    if flipping and not signed:
        nats = math.log(2) * sum(product.group(name).size for name in flipping)
        notes.append(f"besides, {_listed(flipping)} can change sign, {nats:.4g} nats: signed=True")
    partly = _names(product, signs, lambda unit: unit.freedom > unit.flips)
    if partly:
        notes.append(f"besides, {_listed(partly)} can change sign with a part of their weights")
    scaled = _names(product, scales, lambda unit: unit.freedom > 0)
    if scaled:
        notes.append(f"besides, {_listed(scaled)} can be scaled, which is no permutation")
    choice = choice._replace(notes=tuple(notes))
    if not signed:
        return choice
    nested = with_signs(choice.nested, flipping)
    return choice._replace(symmetry=with_signs(product, flipping), nested=nested)


def _places(group) -> list:
    """Where the first unit of a group stands: (parameter, axis, index)."""
    return [
        (axis.param, axis.axis, int(index))
        for axis in group.entries
        for index in axis.indices(group.size)[0]
    ]


def _names(product: Symmetry, units: list[Unit], holds) -> list:
    """The groups whose unit is so."""
    pairs = zip(product.groups, units, strict=True)
    return [group.name for group, unit in pairs if holds(unit)]


def _listed(names) -> str:
    shown = ", ".join(repr(name) for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"units of {shown}{more}"
