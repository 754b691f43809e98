"""The element that exchanges two units."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from symvi.checks import as_scalar, described, expected
from symvi.symmetry.element import Element
from symvi.symmetry.group import Symmetry


def swap(symmetry: Symmetry, i: int, j: int, name: str | None = None) -> Element:
    """The transposition that exchanges units i and j of one group and leaves all else in place.

    Raises ValueError for a group that does not exist, or units that it does not have.
    """
    if not isinstance(symmetry, Symmetry):
        remedy = "pass net.symmetry"
        raise expected("symmetry", "a symvi.Symmetry", described(symmetry), remedy)
    group = symmetry.group(name)
    i, j = _unit(group, i), _unit(group, j)
    perm = np.arange(group.size)
    perm[[i, j]] = perm[[j, i]]
    e = symmetry.identity()
    return Element({**e.perms, group.name: jnp.array(perm)}, e.signs)


def _unit(group, unit) -> int:
    number = as_scalar(unit)
    if not isinstance(number, int) or not 0 <= number < group.size:
        wanted = f"two units in 0..{group.size - 1}"
        raise expected("swap", wanted, described(unit), "count units from 0")
    return number
