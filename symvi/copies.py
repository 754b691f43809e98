"""How far a network is from the nearest of its own copies."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from symvi.checks import described, expected
from symvi.symmetry import Element, Symmetry, UnitGroup, swap


def nearest_copy(
    symmetry: Symmetry, params: dict, name: str | None = None
) -> tuple[float, Element]:
    r"""The smallest :math:`\|w - g w\|` over g other than the identity, and its g.

    Elements g that move units of one group only. Any g that moves a unit moves at least two, each
    by no less than the closest pair of units is apart; exchanging that pair reaches this. So the
    minimum over all n! elements is :math:`\sqrt 2 \min_{i<j} \|u_i - u_j\|`, found in O(n^2 d).
    With signs the candidates are :math:`\sqrt 2 \min \|u_i \pm u_j\|` and one flip,
    :math:`2 \min \|u_i\|`.

    Parameters
    ----------
    symmetry : Symmetry
    params : dict of arrays
        One set of weights.
    name : str, optional
        The unit group; may be left out when there is one.

    Raises
    ------
    ValueError
        No such group, a group without any other element (one unit, no signs), a group that moves a
        weight on two axes, or weights that are not finite.
    """
    if not isinstance(symmetry, Symmetry):
        remedy = "pass net.symmetry"
        raise expected("symmetry", "a symvi.Symmetry", described(symmetry), remedy)
    group = symmetry.group(name)
    units = _unit_vectors(symmetry, params, group)
    flips = symmetry.flips(group.name)
    candidates = _exchanges(units, flips)
    if flips:
        norms = np.linalg.norm(units, axis=1)
        shortest = int(norms.argmin())
        candidates.append((2 * norms[shortest], shortest, shortest, -1))
    distance, i, j, sign = min(candidates)
    g = swap(symmetry, i, j, group.name)
    if not flips:
        return float(distance), g
    signs = jnp.ones(group.size, int).at[jnp.array([i, j])].set(sign)
    return float(distance), Element(g.perms, {**g.signs, group.name: signs})


def _unit_vectors(symmetry: Symmetry, params: dict, group: UnitGroup) -> np.ndarray:
    """The units of a group that has another element, shape ``(n, d)``; finite, or ValueError."""
    if group.shared:
        wanted = "each parameter on one axis, so that a unit has a vector"
        got = f"{group.shared[0]!r} on two axes, as a shared layer has"
        remedy = "for few units compare the copies of symmetry.elements()"
        raise expected(f"group {group.name!r}", wanted, got, remedy)
    units = np.asarray(symmetry.units(params, group.name))
    if not np.isfinite(units).all():
        remedy = "train with a lower learning rate"
        raise expected("params", f"finite weights for {group.name!r}", "NaN or infinity", remedy)
    if group.size == 1 and not symmetry.flips(group.name):
        got = "1, which has no copy"
        raise expected(f"group {group.name!r}", "at least two units", got, "use a wider layer")
    return units


def _exchanges(units: np.ndarray, signed: bool) -> list:
    """The nearest exchange of two units for each sign: tuples (distance, i, j, sign)."""
    size = len(units)
    if size == 1:
        return []
    first, second = np.triu_indices(size, 1)
    from scipy.spatial.distance import cdist, pdist  # slow to import

    apart_by_sign = {1: pdist(units)}
    if signed:
        apart_by_sign[-1] = cdist(units, -units)[first, second]
    nearest = []
    for sign, apart in apart_by_sign.items():
        best = int(apart.argmin())
        distance = np.sqrt(2) * apart[best]
        nearest.append((distance, int(first[best]), int(second[best]), sign))
    return nearest
