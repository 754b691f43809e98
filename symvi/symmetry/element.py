"""Elements of the group: one permutation of each set of units, with signs where units may flip."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import as_numbers, described, expected, is_concrete


@dataclass(frozen=True, eq=False)
class Element:
    """A group element, or a batch of them with the same leading axes on every array. A pytree.

    Parameters
    ----------
    perms : dict of arrays
        ``perms[name][i]`` is the place g(i) of unit i of the group `name`, shape ``(n,)``.
    signs : dict of arrays
        ``signs[name][i]`` is the sign (+1 or -1) that unit i is multiplied by before it moves;
        empty if unsigned.

    Raises
    ------
    ValueError
        Arrays that are no permutations of 0..n-1, signs other than +1 and -1, or signs of another
        shape than the permutations. (Traced values are not looked at.)
    """

    perms: dict
    signs: dict = field(default_factory=dict)

    def __post_init__(self):
        perms = {name: _permutation(name, value) for name, value in _named(self.perms)}
        signs = {name: _signs(name, value, perms) for name, value in _named(self.signs)}
        object.__setattr__(self, "perms", perms)
        object.__setattr__(self, "signs", signs)

    def __repr__(self) -> str:
        sets = ", ".join(f"{name}: {jnp.shape(perm)}" for name, perm in self.perms.items())
        return f"Element({sets or 'no units'}{', signed' if self.signs else ''})"


def _flatten(element: Element):
    keys = (jax.tree_util.GetAttrKey("perms"), jax.tree_util.GetAttrKey("signs"))
    return tuple(zip(keys, (element.perms, element.signs), strict=True)), None


def _rebuild(_, children) -> Element:
    """An element of whatever a transformation puts in the place of arrays, unchecked."""
    element = object.__new__(Element)
    element.__dict__.update(zip(("perms", "signs"), children, strict=True))
    return element


jax.tree_util.register_pytree_with_keys(Element, _flatten, _rebuild)


def _named(arrays) -> list:
    if not isinstance(arrays, dict):
        remedy = 'pass for example Element({"hidden1": jnp.array([1, 0])}, {})'
        raise expected("group element", "a dict of arrays by group", described(arrays), remedy)
    return list(arrays.items())


def _permutation(name, value) -> jax.Array:
    perm = as_numbers(f"group element, perms[{name!r}]", value)
    if perm.ndim < 1 or not jnp.issubdtype(perm.dtype, jnp.integer):
        got = f"{perm.dtype} of shape {perm.shape}"
        remedy = "pass the places of the units"
        raise expected("group element", f"whole numbers (..., n) for {name!r}", got, remedy)
    size = perm.shape[-1]
    if is_concrete(perm) and not np.all(np.sort(perm, axis=-1) == np.arange(size)):
        wanted = f"each of 0..{size - 1} once for {name!r}"
        raise expected("group element", wanted, _short(perm), "pass a permutation")
    return perm


def _signs(name, value, perms: dict) -> jax.Array:
    signs = as_numbers(f"group element, signs[{name!r}]", value)
    shape = perms[name].shape if name in perms else None
    if signs.shape != shape:
        wanted = f"signs of shape {shape} for {name!r}, like its permutation"
        remedy = "pass one sign for each unit"
        raise expected("group element", wanted, signs.shape, remedy)
    if is_concrete(signs) and not np.all(np.abs(np.asarray(signs)) == 1):
        wanted = f"signs +1 or -1 for {name!r}"
        raise expected("group element", wanted, _short(signs), "pass 1 or -1 for each unit")
    return signs


def _short(array) -> str:
    return str(np.asarray(array).tolist()) if array.size <= 20 else described(array)
