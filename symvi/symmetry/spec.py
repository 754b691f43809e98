"""A group as the permutation specs of other tools.

Two tools take a table of which permutation moves which axis, and leave it to the user to write it:

1. Git Re-Basin (Ainsworth et al. 2022), ``PermutationSpec``: for each permutation the axes that it
   moves, for each parameter the permutation of each axis, None where there is none.
2. Universal neural functionals (Zhou et al. 2024): a whole number for each axis of each array;
   axes of one number are moved by one permutation.

Both say "this whole axis is moved by that permutation" and nothing else. Units that own several
indices of an axis (channels after a flatten), units on a part of an axis (heads, gates, joined
features), sign flips and exchanges of blocks have no words there.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from symvi.arrays import leaf_names
from symvi.checks import described, expected
from symvi.symmetry.group import Symmetry
from symvi.symmetry.units import UnitGroup


class PermutationSpec(NamedTuple):
    """The spec of Git Re-Basin's weight matching; its fields have the names that it looks for."""

    perm_to_axes: dict
    axes_to_perm: dict


def permutation_spec(symmetry: Symmetry, params: dict, *, leave_out: tuple = ()) -> PermutationSpec:
    """A group as a ``PermutationSpec`` of Git Re-Basin (Ainsworth et al. 2022, section 3.2).

    Its permutations list, for each place, the unit that comes there, so that ``weights[perm]`` is
    moved: for an element g of ours that is ``jnp.argsort(g.perms[name])``.

    Parameters
    ----------
    symmetry : Symmetry
        For a :class:`Nested` group its `product`.
    params : dict
        The named arrays on which it acts; only their shapes matter.
    leave_out : tuple of str
        Names of groups that the spec should not hold. Then it stands for a subgroup.

    Returns
    -------
    PermutationSpec
        ``perm_to_axes[group]`` is a list of (parameter, axis), ``axes_to_perm[parameter]`` a tuple
        of a group's name or None for each axis.

    Raises
    ------
    ValueError
        A group that moves no whole axes, or one parameter on two axes (as a layer used twice has:
        weight matching assumes that there is none), signs, blocks, names in `leave_out` that no
        group has, or parameters that do not fit.
    """
    groups = _groups(symmetry, leave_out, shared="weight matching moves each on one axis")
    symmetry.check_weights(params)
    axes_to_perm = {name: [None] * jnp.ndim(value) for name, value in params.items()}
    for group in groups:
        for axis in group.entries:
            axes_to_perm[axis.param][axis.axis] = group.name
    perm_to_axes = {
        group.name: [(axis.param, axis.axis) for axis in group.entries] for group in groups
    }
    return PermutationSpec(perm_to_axes, {name: tuple(row) for name, row in axes_to_perm.items()})


def universal_spec(symmetry: Symmetry, params, *, leave_out: tuple = ()):
    """A group as the spec of a universal neural functional (Zhou et al. 2024).

    Axes that group number k of the symmetry moves have the number k. That tool has no word for an
    axis that stays in place, such as an input, an output or a position of a kernel: here each of
    these has a number of its own, after those of the groups, and is one more permutation to the
    tool. To name several together, as the outputs of a kernel and of its bias, add a group for
    them: ``symmetry + Symmetry((UnitGroup("outputs", 10, (("kernel", 1), ("bias", 0))),))``.

    Parameters
    ----------
    symmetry : Symmetry
        For a :class:`Nested` group its `product`.
    params : tree of arrays
        Weights, of which only shapes matter: the named arrays on which the group acts, or a tree
        whose keys, joined by dots, are these names, as :func:`symvi.find_symmetry` takes it.
    leave_out : tuple of str
        Names of groups that the spec should not hold. Then it stands for a subgroup.

    Returns
    -------
    tree
        As `params`, with a tuple of ints in the place of each array.

    Raises
    ------
    ValueError
        A group that moves no whole axes, signs, blocks, names in `leave_out` that no group has, or
        parameters that do not fit.
    """
    groups = _groups(symmetry, leave_out)
    leaves, tree = jax.tree.flatten(params)
    named = dict(zip(leaf_names(params), leaves, strict=True))
    symmetry.check_weights(named)
    numbers = {}
    for number, group in enumerate(groups):
        numbers |= {(axis.param, axis.axis): number for axis in group.entries}
    number_of_next = itertools.count(len(groups))
    rows = []
    for name, value in named.items():
        stands = [(name, axis) for axis in range(jnp.ndim(value))]
        still = [stand for stand in stands if stand not in numbers]
        numbers |= dict(zip(still, number_of_next, strict=False))
        rows.append(tuple(numbers[stand] for stand in stands))
    return jax.tree.unflatten(tree, rows)


def _groups(symmetry, leave_out: tuple, shared: str | None = None) -> list:
    """The groups that a spec can hold; ValueError for others.

    `shared` says why none may move a parameter on two axes, where that is so.
    """
    if not isinstance(symmetry, Symmetry):
        remedy = "pass net.symmetry, without exchanges of blocks"
        raise expected("symmetry", "a symvi.Symmetry", described(symmetry), remedy)
    if symmetry.signed:
        remedy = "leave the signs out: pass symvi.Symmetry(symmetry.groups)"
        raise expected("symmetry", "a group without signs", symmetry, remedy)
    _check_names(symmetry, leave_out)
    groups = [group for group in symmetry.groups if group.name not in leave_out]
    in_parts = [group for group in groups if not all(axis.whole for axis in group.entries)]
    _refuse(in_parts, "groups that move whole axes", "on parts of an axis", leave_out)
    if shared is not None:
        twice = [group for group in groups if group.shared]
        wanted = f"groups that move no parameter on two axes ({shared})"
        _refuse(twice, wanted, "on two", leave_out)
    return groups


def _check_names(symmetry: Symmetry, leave_out) -> None:
    names = sorted(group.name for group in symmetry.groups)
    known = isinstance(leave_out, (tuple, list)) and all(name in names for name in leave_out)
    if not known:
        remedy = 'pass for example leave_out=("hidden1",)'
        raise expected("leave_out", f"a tuple of names in {names}", described(leave_out), remedy)


def _refuse(groups: list[UnitGroup], wanted: str, how: str, leave_out: tuple) -> None:
    """ValueError that names the groups, if there are any."""
    if groups:
        names = [group.name for group in groups]
        remedy = f"leave them out by leave_out={(*leave_out, *names)}, for a subgroup"
        raise expected("symmetry", wanted, f"{', '.join(map(repr, names))} {how}", remedy)
