r"""Alignment: bring weights that lie in different copies of a mode to one copy.

No function is changed. One group of units at a time is relabelled to lie nearest to the reference,
which is a linear assignment where each weight belongs to one unit: with unit vectors u_i of the
draw and t_j of the reference,

1. ||g w - t||^2 = const - 2 sum_i <u_i, t_g(i)>, so the best g maximises the sum of overlaps;
2. with signs, s_i <u_i, t_g(i)> is largest for s_i = sign <u_i, t_g(i)>, which leaves |<., .>|.

Where a group stands on two axes of one weight (W in h + tanh(W h), or in a recurrent cell), the
distance has a term quadratic in g, tr(P W P^T R^T), and the assignment is a quadratic one. Then

3. hold the other axis where it is: the overlaps of rows, plus those of columns, plus those of the
   weights on one axis are linear in the next permutation (coordinate descent);
4. a second proposal leaves W out but for its diagonal: W_ii moves to g(i), g(i) by one index, so
   this too is linear. It finds the way from afar, where the other axis is still out of order;
5. with signs, a third flips the one unit that gains most: W_ii keeps its sign, all else changes;
6. of the proposals and no change, each draw takes the nearest to the reference, until none gains.
   So the distance never grows.

Where whole blocks of units may be exchanged too (heads of attention), how well block i fits block j
of the reference is found by the best exchange within it, and blocks are assigned by that; in turn
with the units, until nothing improves.

Where several groups are aligned in turn, the first is assigned while all others are still out of
order, and that may decide the copy. So the groups are gone through twice from the start, as they
are listed and backwards, and each draw takes the nearer end.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import as_numbers, described, expected
from symvi.symmetry import Axis, Element, Nested, Symmetry, UnitGroup

MAX_SWEEPS = 50


def align(samples: dict, reference: dict, symmetry: Symmetry | Nested) -> dict:
    """Relabel the units of each draw to lie as near as possible to `reference`.

    For one hidden layer the assignment is optimal (Hungarian method): it minimises
    ||g w - reference||^2 over the group, signs included where the group is signed. Several layers
    are aligned in turn until nothing improves (Ainsworth et al. 2022), from the first to the last
    and the other way round, of which the nearer counts. So are a group that stands on two axes of
    one weight and the blocks of a nested group. All give a local optimum, never farther than the
    start.

    Parameters
    ----------
    samples : dict of arrays ``(*batch, *shape)``
    reference : dict of arrays ``(*shape)``
    symmetry : Symmetry or Nested

    Returns
    -------
    dict of arrays, shaped like `samples`

    Raises
    ------
    ValueError
        If names or shapes of samples and reference do not match, an entry is not finite, or the
        symmetry does not fit the weights.
    """
    if not isinstance(symmetry, Symmetry | Nested):
        remedy = "pass net.symmetry"
        raise expected("symmetry", "a symvi.Symmetry", described(symmetry), remedy)
    reference = _finite_arrays("reference", reference)
    samples = _finite_arrays("samples", samples)
    batch = _batch_shape(samples, reference)
    symmetry.check_weights(reference)
    rows = {name: value.reshape(-1, *reference[name].shape) for name, value in samples.items()}
    if 0 not in batch:
        rows = _from_both_ends(symmetry, rows, reference)
    return {name: value.reshape((*batch, *reference[name].shape)) for name, value in rows.items()}


def _from_both_ends(symmetry: Symmetry | Nested, rows: dict, reference: dict) -> dict:
    """For each draw the nearer of two descents: through the groups as listed, and backwards."""
    nested = isinstance(symmetry, Nested)
    sweeps, product = (_nested_sweeps, symmetry.product) if nested else (_sweeps, symmetry)
    found = sweeps(symmetry, rows, reference, product.groups)
    if len(product.groups) < 2:
        return found
    other = sweeps(symmetry, rows, reference, product.groups[::-1])
    gains = _squared_distance(other, reference) < _squared_distance(found, reference) * (1 - 1e-12)
    return {name: _chosen(gains, other[name], found[name]) for name in found}


def _sweeps(symmetry: Symmetry, rows: dict, reference: dict, groups: tuple) -> dict:
    """One of `groups` after the other, until no draw moves."""
    for _ in range(MAX_SWEEPS if len(groups) > 1 else 1):
        moved = False
        for group in groups:
            if group.shared:
                rows, some = _descend(symmetry, group, rows, reference)
            else:
                rows, some = _assign(symmetry, group, rows, reference)
            moved = moved or some
        if not moved:
            break
    return rows


def _nested_sweeps(nested: Nested, rows: dict, reference: dict, groups: tuple) -> dict:
    """Units of the product, then blocks with what is in them, until no draw comes nearer."""
    distance = np.full(len(next(iter(rows.values()))), np.inf)
    for _ in range(MAX_SWEEPS):
        rows = _sweeps(nested.product, rows, reference, groups)
        for blocks in nested.blocks.groups:
            there = _act(nested, _block_proposal(nested, blocks, rows, reference), rows)
            there = {name: np.asarray(value) for name, value in there.items()}
            gains = _squared_distance(there, reference) < _squared_distance(rows, reference)
            rows = {name: _chosen(gains, there[name], rows[name]) for name in rows}
        now = _squared_distance(rows, reference)
        if not (now < distance * (1 - 1e-12)).any():
            break
        distance = now
    return rows


def _block_proposal(nested: Nested, blocks: UnitGroup, rows: dict, reference: dict) -> Element:
    """For each draw the best assignment of blocks, each with the best exchange within it."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    families = [
        [nested.product.group(member) for member in family]
        for family in nested.families[blocks.name]
    ]
    fits = _fits_of_rest(blocks, families, rows, reference)  # (num, H, H)
    within = []
    for family in families:
        flips = nested.flips(family[0].name)
        perms = np.empty((*fits.shape, family[0].size), int)
        signs = np.empty_like(perms)
        for i, one in enumerate(family):
            for j, other in enumerate(family):
                overlap = _overlaps_between(one, other, rows, reference)
                perms[:, i, j], signs[:, i, j] = _best_assignment(overlap, flips)
                gained = np.take_along_axis(overlap, perms[:, i, j, :, None], axis=2)[..., 0]
                fits[:, i, j] += (signs[:, i, j] * gained).sum(1)
        within.append((perms, signs))
    places = np.stack([linear_sum_assignment(fit, maximize=True)[1] for fit in fits])
    still = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(places), *a.shape)), nested.identity())
    moves = {**still.perms, blocks.name: jnp.asarray(places)}
    flipped = dict(still.signs)
    draws = np.arange(len(places))
    for family, (perms, signs) in zip(families, within, strict=True):
        for i, one in enumerate(family):
            moves[one.name] = jnp.asarray(perms[draws, i, places[:, i]])
            if one.name in flipped:
                flipped[one.name] = jnp.asarray(signs[draws, i, places[:, i]])
    return Element(moves, flipped)


def _overlaps_between(one: UnitGroup, other: UnitGroup, rows: dict, reference: dict) -> np.ndarray:
    """Inner products of units of `one` in the draws with those of `other` in the reference."""
    draws, target = [], []
    for here, there in zip(one.entries, other.entries, strict=True):
        draws.append(_rows_of_draws(here, one.size, rows[here.param]))
        target.append(there.rows(reference[there.param]))
    return np.einsum("bid,jd->bij", np.concatenate(draws, axis=2), np.concatenate(target, axis=1))


def _fits_of_rest(blocks: UnitGroup, families: list, rows: dict, reference: dict) -> np.ndarray:
    """How well blocks fit blocks by the entries that belong to no family, shape ``(num, H, H)``."""
    inner = [axis for family in families for group in family for axis in group.entries]
    num = len(next(iter(rows.values())))
    fits = np.zeros((num, blocks.size, blocks.size))
    for axis in blocks.entries:
        taken = [
            one.indices(0 if one.places is None else len(one.places)).reshape(-1)
            for one in inner
            if (one.param, one.axis) == (axis.param, axis.axis)
        ]
        table = axis.indices(blocks.size)
        left = ~np.isin(table[0], np.concatenate([*taken, np.zeros(0, int)]))
        if left.any():
            rest = Axis(axis.param, axis.axis, tuple(map(tuple, table[:, left].tolist())))
            fits += _overlaps_between(
                UnitGroup("here", blocks.size, (rest,)),
                UnitGroup("there", blocks.size, (rest,)),
                rows,
                reference,
            )
    return fits


def _assign(symmetry: Symmetry, group: UnitGroup, rows: dict, reference: dict) -> tuple:
    """The best relabelling of a group whose units own their weights, and whether any draw moved."""
    overlaps = _overlaps(group, group.entries, rows, reference)
    perm, sign = _best_assignment(overlaps, symmetry.flips(group.name))
    if not _moves(perm, sign).any():
        return rows, False
    return _moved(symmetry, group, perm, sign, rows), True


def _descend(symmetry: Symmetry, group: UnitGroup, rows: dict, reference: dict) -> tuple:
    """A group on two axes of a weight: steps 3 to 6 above, and whether any draw moved."""
    distance, ever = _squared_distance(rows, reference), False
    for _ in range(MAX_SWEEPS):
        best, nearest = dict(rows), distance
        for perm, sign in _proposals(symmetry, group, rows, reference):
            there = _moved(symmetry, group, perm, sign, rows)
            far = _squared_distance(there, reference)
            gains = far < nearest * (1 - 1e-12)
            nearest = np.where(gains, far, nearest)
            best = {name: _chosen(gains, there[name], best[name]) for name in rows}
        if not (nearest < distance).any():
            break
        rows, distance, ever = best, nearest, True
    return rows, ever


def _proposals(symmetry: Symmetry, group: UnitGroup, rows: dict, reference: dict) -> list:
    """Pairs of permutations and signs, each ``(num, n)``, that may bring draws nearer."""
    held = _overlaps(group, group.entries, rows, reference)
    single = [axis for axis in group.entries if axis.param not in group.shared]
    alone = _overlaps(group, single, rows, reference) if single else np.zeros_like(held)
    diagonal = np.zeros_like(held)
    for name in group.shared:
        draws = _diagonal(group, name, rows[name])
        target = _diagonal(group, name, reference[name][None])[0]
        diagonal += np.einsum("bid,jd->bij", draws, target)
    flips = symmetry.flips(group.name)
    proposals = [
        _best_assignment(held, flips),
        _best_assignment(alone, flips, diagonal),
    ]
    return [*proposals, _best_flip(held, diagonal)] if flips else proposals


def _best_flip(held: np.ndarray, diagonal: np.ndarray) -> tuple:
    """The flip of the one unit of each draw that gains most; `held` counts the diagonal twice."""
    loses = np.einsum("bii->bi", held) - 2 * np.einsum("bii->bi", diagonal)
    worst = loses.argmin(axis=1)
    sign = np.ones(loses.shape, int)
    sign[np.arange(len(sign)), worst] = -1
    return np.broadcast_to(np.arange(loses.shape[1]), loses.shape), sign


def _overlaps(group: UnitGroup, axes, rows: dict, reference: dict) -> np.ndarray:
    """The inner products <u_i, t_j> of what stands along `axes`: shape ``(num, n, n)``."""
    draws, target = [], []
    for axis in axes:
        draws.append(_rows_of_draws(axis, group.size, rows[axis.param]))
        target.append(axis.rows(reference[axis.param]))
    return np.einsum("bid,jd->bij", np.concatenate(draws, axis=2), np.concatenate(target, axis=1))


def _rows_of_draws(axis: Axis, size: int, value: np.ndarray) -> np.ndarray:
    """The entries of many draws by unit, shape ``(num, n, d)``."""
    front = np.moveaxis(value, 1 + axis.axis, 1)
    return front[:, axis.indices(size)].reshape(len(value), size, -1)


def _diagonal(group: UnitGroup, name: str, value: np.ndarray) -> np.ndarray:
    """What joins each unit with itself in the parameter `name`, shape ``(num, n, d)``."""
    blocks = []
    for unit in range(group.size):
        block = value
        for axis in group.entries:
            if axis.param == name:
                block = np.take(block, axis.indices(group.size)[unit], axis=1 + axis.axis)
        blocks.append(block.reshape(len(value), -1))
    return np.stack(blocks, axis=1)


def _best_assignment(overlap: np.ndarray, signed: bool, diagonal=0.0) -> tuple:
    """Permutations and signs ``(num, n)`` that maximise the sum of overlaps."""
    gain = (np.abs(overlap) if signed else overlap) + diagonal
    from scipy.optimize import linear_sum_assignment  # slow to import

    perm = np.stack([linear_sum_assignment(g, maximize=True)[1] for g in gain])
    if not signed:
        return perm, np.ones_like(perm)
    chosen = np.take_along_axis(overlap, perm[..., None], axis=2)[..., 0]
    return perm, np.where(chosen < 0, -1, 1)


def _moves(perm, sign) -> np.ndarray:
    """Which draws these permutations and signs change, shape ``(num,)``."""
    return (perm != np.arange(perm.shape[1])).any(1) | (sign != 1).any(1)


def _moved(symmetry, group, perm, sign, rows) -> dict:
    """The draws after their units have moved, as NumPy arrays."""
    there = _act(symmetry, _element(symmetry, group.name, perm, sign), rows)
    return {name: np.asarray(value) for name, value in there.items()}


@partial(jax.jit, static_argnums=0)
def _act(symmetry, elements, rows):
    return jax.vmap(symmetry.act)(elements, rows)


def _element(symmetry, name, perm, sign) -> Element:
    """A batch of elements that move only the units of group `name`."""
    still = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(perm), *a.shape)), symmetry.identity())
    signs = {name: jnp.asarray(sign)} if name in still.signs else {}
    return Element({**still.perms, name: jnp.asarray(perm)}, {**still.signs, **signs})


def _squared_distance(rows: dict, reference: dict) -> np.ndarray:
    """||w - reference||^2 of each draw, shape ``(num,)``."""
    total = 0.0
    for name, value in rows.items():
        squares = np.square(value - reference[name])
        total = total + squares.reshape(len(value), -1).sum(1)
    return total


def _chosen(which, there, here) -> np.ndarray:
    """`there` for the draws marked by `which`, `here` for the others."""
    return np.where(which.reshape(-1, *[1] * (here.ndim - 1)), there, here)


def _finite_arrays(argument: str, values) -> dict:
    """A dict of finite NumPy arrays by name; ValueError that names the argument otherwise."""
    if not isinstance(values, dict) or not values:
        remedy = "pass weights by name, as q.sample(key, num) returns"
        raise expected(argument, "a dict of named arrays", described(values), remedy)
    arrays = {}
    for name, value in values.items():
        as_numbers(f"{argument}[{name!r}]", value)  # or ValueError
        arrays[name] = np.asarray(value)
        if not np.all(np.isfinite(arrays[name])):
            remedy = "drop the diverged draws" if argument == "samples" else "pass one good draw"
            wanted = "finite draws" if argument == "samples" else "finite weights"
            raise expected(f"{argument}[{name!r}]", wanted, "NaN or infinity", remedy)
    return arrays


def _batch_shape(samples: dict, reference: dict) -> tuple:
    """The leading axes of all samples; ValueError unless they are the same and names agree."""
    if set(samples) != set(reference):
        wanted = f"the names {sorted(reference)}"
        raise expected("samples", wanted, sorted(samples), "pass the same parameters")
    batch = None
    for name, value in samples.items():
        lead = value.shape[: value.ndim - reference[name].ndim]
        fits = value.shape[len(lead) :] == reference[name].shape
        if not fits or (batch is not None and lead != batch):
            wanted = f"shape (*batch, *{reference[name].shape})"
            remedy = "use one batch shape for all parameters"
            raise expected(f"samples[{name!r}]", wanted, value.shape, remedy)
        batch = lead
    return batch
