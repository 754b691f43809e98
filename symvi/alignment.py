"""Alignment: bring weights that lie in different copies of a mode to one copy, without changing any function."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from symvi.symmetry import Element, Symmetry

MAX_SWEEPS = 50


def align(samples: dict, reference: dict, symmetry: Symmetry) -> dict:
    """Relabel the units of each draw to lie as near as possible to `reference`.

    For one hidden layer the assignment is optimal (Hungarian method): it minimises ||g w - reference||^2 over the
    group, signs included where the group is signed. Several layers are aligned in turn until nothing improves
    (Ainsworth et al. 2022), which gives a local optimum.

    Parameters
    ----------
    samples : dict of arrays ``(*batch, *shape)``
    reference : dict of arrays ``(*shape)``
    symmetry : Symmetry

    Returns
    -------
    dict of arrays, shaped like `samples`

    Raises
    ------
    ValueError
        If names or shapes of samples and reference do not match, or an entry is not finite.
    """
    reference = {name: np.asarray(value) for name, value in reference.items()}
    if set(samples) != set(reference):
        raise ValueError(
            f"samples: expected the names {sorted(reference)}, got {sorted(samples)}; pass the same parameters"
        )
    batch = None
    for name, value in samples.items():
        lead = np.shape(value)[: np.ndim(value) - reference[name].ndim]
        if np.shape(value)[len(lead) :] != reference[name].shape or (
            batch is not None and lead != batch
        ):
            raise ValueError(
                f"samples[{name!r}]: expected shape (*batch, *{reference[name].shape}), got {np.shape(value)}; use one batch shape for all parameters"
            )
        if not np.all(np.isfinite(value)):
            raise ValueError(
                f"samples[{name!r}]: expected finite draws, got NaN or infinity; drop the diverged draws"
            )
        batch = lead
    rows = {
        name: np.asarray(value).reshape(-1, *reference[name].shape)
        for name, value in samples.items()
    }
    target = {g.name: np.asarray(symmetry.units(reference, g.name)) for g in symmetry.groups}
    moved = True
    for _ in range(MAX_SWEEPS if len(symmetry.groups) > 1 else 1):
        moved = False
        for group in symmetry.groups:
            overlap = np.einsum(
                "bid,jd->bij", np.asarray(_units(symmetry, group.name, rows)), target[group.name]
            )
            perm = np.stack(
                [
                    linear_sum_assignment(np.abs(o) if symmetry.signed else o, maximize=True)[1]
                    for o in overlap
                ]
            )
            sign = (
                np.where(np.take_along_axis(overlap, perm[..., None], axis=2)[..., 0] < 0, -1, 1)
                if symmetry.signed
                else np.ones_like(perm)
            )
            if (perm != np.arange(group.size)).any() or (sign != 1).any():
                moved = True
                rows = {
                    name: np.asarray(value)
                    for name, value in _act(
                        symmetry, _element(symmetry, group.name, perm, sign), rows
                    ).items()
                }
        if not moved:
            break
    return {name: value.reshape((*batch, *reference[name].shape)) for name, value in rows.items()}


@partial(jax.jit, static_argnums=(0, 1))
def _units(symmetry, name, rows):
    return jax.vmap(lambda w: symmetry.units(w, name))(rows)


@partial(jax.jit, static_argnums=0)
def _act(symmetry, elements, rows):
    return jax.vmap(symmetry.act)(elements, rows)


def _element(symmetry, name, perm, sign) -> Element:
    """A batch of elements that move only the units of group `name`."""
    still = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(perm), *a.shape)), symmetry.identity())
    signs = {**still.signs, name: jnp.asarray(sign)} if symmetry.signed else {}
    return Element({**still.perms, name: jnp.asarray(perm)}, signs)
