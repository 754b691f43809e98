"""How far a network is from the nearest of its own copies."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import cdist, pdist

from symvi.symmetry import Element, Symmetry, swap


def nearest_copy(
    symmetry: Symmetry, params: dict, name: str | None = None
) -> tuple[float, Element]:
    r"""The smallest :math:`\|w - g w\|` over g other than the identity, moving units of one group only, and its g.

    Any g that moves a unit moves at least two, each by no less than the closest pair of units is apart; exchanging that
    pair reaches this. So the minimum over all n! elements is :math:`\sqrt 2 \min_{i<j} \|u_i - u_j\|`, found in
    O(n^2 d). With signs the candidates are :math:`\sqrt 2 \min \|u_i \pm u_j\|` and one flip, :math:`2 \min \|u_i\|`.

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
        No such group, a group without any other element (one unit, no signs), or weights that are not finite.
    """
    group = symmetry.group(name)
    units = np.asarray(symmetry.units(params, group.name))
    if not np.isfinite(units).all():
        raise ValueError(
            f"params: expected finite weights for {group.name!r}, got NaN or infinity; train with a lower learning rate"
        )
    if group.size == 1 and not symmetry.signed:
        raise ValueError(
            f"group {group.name!r}: expected at least two units, got 1, which has no copy; use a wider layer"
        )
    first, second = np.triu_indices(group.size, 1)
    candidates = []  # (distance, i, j, sign); i == j is the flip of one unit
    if group.size > 1:
        pairs = [(1, pdist(units))] + (
            [(-1, cdist(units, -units)[first, second])] if symmetry.signed else []
        )
        for sign, apart in pairs:
            best = int(apart.argmin())
            candidates.append((np.sqrt(2) * apart[best], int(first[best]), int(second[best]), sign))
    if symmetry.signed:
        norms = np.linalg.norm(units, axis=1)
        candidates.append((2 * norms.min(), int(norms.argmin()), int(norms.argmin()), -1))
    distance, i, j, sign = min(candidates)
    g = swap(symmetry, i, j, group.name)
    signs = (
        {**g.signs, group.name: jnp.ones(group.size, int).at[jnp.array([i, j])].set(sign)}
        if symmetry.signed
        else {}
    )
    return float(distance), Element(g.perms, signs)
