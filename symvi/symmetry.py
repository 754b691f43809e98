r"""The symmetry group of a network: relabellings of its hidden units, with sign flips for odd activations.

A group element :math:`g` puts hidden unit :math:`i` at place :math:`g(i)`. It acts on the weights by permuting
the axes that belong to those units (Gelberg et al. 2024, Definition 2.1); the network's function does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import is_concrete, positive_int

MAX_ELEMENTS = 100_000  # largest group that elements() lists


class Element(NamedTuple):
    """A group element (or a batch of them, with the same leading axes on every array).

    ``perms[name][i]`` is the place g(i) of unit i of the group `name`, shape ``(n,)``;
    ``signs[name][i]`` is the sign (+1 or -1) unit i is multiplied by before it moves; empty if unsigned.
    """

    perms: dict
    signs: dict


@dataclass(frozen=True)
class UnitGroup:
    """Interchangeable units: their number `size`, and the `(parameter, axis)` pairs that they index."""

    name: str
    size: int
    axes: tuple


@dataclass(frozen=True)
class Symmetry:
    """A product of symmetric groups S_n, one for each :class:`UnitGroup`, acting on a dict of named arrays.

    Parameters
    ----------
    groups : tuple of UnitGroup
    signed : bool
        Whether units may also change sign (for odd activations: f(-a) = -f(a)). The order is then
        the product of 2^n n! instead of n!.
    """

    groups: tuple = ()
    signed: bool = False

    @property
    def log_order(self) -> float:
        """log |G| in nats, the sum of log n! (and n log 2 where signed); Definition 2.1."""
        return float(sum(math.lgamma(g.size + 1) + (g.size * math.log(2) if self.signed else 0) for g in self.groups))

    @property
    def order(self) -> int:
        """|G|, exactly."""
        return math.prod(math.factorial(g.size) * (2**g.size if self.signed else 1) for g in self.groups)

    def identity(self) -> Element:
        """The element that changes nothing."""
        signs = {g.name: jnp.ones(g.size, int) for g in self.groups} if self.signed else {}
        return Element({g.name: jnp.arange(g.size) for g in self.groups}, signs)

    def sample(self, key, num: int) -> Element:
        """`num` independent uniform elements, as one batched :class:`Element` with leading axis ``(num,)``."""
        num = positive_int("num", num)
        perms, signs = {}, {}
        for index, group in enumerate(self.groups):
            k_perm, k_sign = jax.random.split(jax.random.fold_in(key, index))
            perms[group.name] = jnp.argsort(jax.random.uniform(k_perm, (num, group.size)), axis=-1)
            if self.signed:
                signs[group.name] = 2 * jax.random.bernoulli(k_sign, shape=(num, group.size)).astype(int) - 1
        return Element(perms, signs)

    def elements(self) -> Element:
        """All |G| elements as one batched :class:`Element`; the identity comes first.

        Raises ValueError when |G| > 100,000.
        """
        if self.order > MAX_ELEMENTS:
            raise ValueError(f"elements: expected a group of at most {MAX_ELEMENTS} elements, got log |G| = {self.log_order:.1f} nats; use sample(key, num)")
        choices = []
        for g in self.groups:
            choices.append(list(permutations(range(g.size))))
            choices.append(list(product((1, -1), repeat=g.size)) if self.signed else [()])
        combos = list(product(*choices))
        perms = {g.name: jnp.array([c[2 * i] for c in combos], int).reshape(-1, g.size) for i, g in enumerate(self.groups)}
        signs = {g.name: jnp.array([c[2 * i + 1] for c in combos], int).reshape(-1, g.size) for i, g in enumerate(self.groups)} if self.signed else {}
        return Element(perms, signs)

    def act(self, g: Element, params: dict) -> dict:
        """The weights g w: unit i of each group moves to place g(i), times its sign.

        `g` is one element and `params` one set of weights; use ``jax.vmap`` for batches. A left action:
        ``act(compose(g, h), w) == act(g, act(h, w))``. Raises ValueError if g does not fit the group or the weights.
        """
        self._check(g, params)
        out = dict(params)
        for group in self.groups:
            back = jnp.argsort(g.perms[group.name])
            for name, axis in group.axes:
                value = out[name]
                if self.signed:
                    shape = [1] * value.ndim
                    shape[axis] = group.size
                    value = value * g.signs[group.name].reshape(shape).astype(value.dtype)
                out[name] = jnp.take(value, back, axis=axis)
        return out

    def inverse(self, g: Element) -> Element:
        """The element that undoes g; works on batches."""
        back = {name: jnp.argsort(perm, axis=-1) for name, perm in g.perms.items()}
        return Element(back, {name: jnp.take_along_axis(sign, back[name], axis=-1) for name, sign in g.signs.items()})

    def compose(self, g: Element, h: Element) -> Element:
        """The element g h (first h, then g); works on batches of equal leading shape."""
        perms = {name: jnp.take_along_axis(g.perms[name], h.perms[name], axis=-1) for name in g.perms}
        signs = {name: h.signs[name] * jnp.take_along_axis(g.signs[name], h.perms[name], axis=-1) for name in g.signs}
        return Element(perms, signs)

    def units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors u_1..u_n of one group, shape ``(n, d)``: all weights that move with a unit, flattened.

        `name` may be left out when there is one group.
        """
        group = self.group(name)
        rows = [jnp.moveaxis(params[p], axis, 0).reshape(group.size, -1) for p, axis in group.axes]
        return jnp.concatenate(rows, axis=1)

    def own_units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors of one group without the weights that a later group moves too, shape ``(n, d)``.

        Every weight that moves belongs to exactly one unit this way: units of the last hidden layer own their incoming
        and outgoing weights, units of the layers before own their incoming ones. One group: the same as :meth:`units`.
        """
        group = self.group(name)
        rows = [jnp.moveaxis(params[p], axis, 0).reshape(group.size, -1) for p, axis in self._own_axes(group)]
        return jnp.concatenate(rows, axis=1) if rows else jnp.zeros((group.size, 0))

    def with_own_units(self, params: dict, units, name: str | None = None) -> dict:
        """`params` with the unit vectors of :meth:`own_units` replaced by `units` of shape ``(n, d)``."""
        group, out, start = self.group(name), dict(params), 0
        for p, axis in self._own_axes(group):
            shape = jnp.moveaxis(params[p], axis, 0).shape
            width = int(np.prod(shape[1:]))
            out[p] = jnp.moveaxis(units[:, start : start + width].reshape(shape), 0, axis)
            start += width
        return out

    def _own_axes(self, group: UnitGroup) -> list:
        later = {p for g in self.groups[self.groups.index(group) + 1 :] for p, _ in g.axes}
        return [(p, axis) for p, axis in group.axes if p not in later]

    def group(self, name: str | None = None) -> UnitGroup:
        """The unit group called `name` (or the only one). ValueError when there is none of that name."""
        named = {g.name: g for g in self.groups}
        if name is None and len(named) == 1:
            return self.groups[0]
        if name not in named:
            raise ValueError(f"group: expected one of {sorted(named)}, got {name!r}; name one of these")
        return named[name]

    def rest(self, params: dict) -> dict:
        """The parameters that no group moves."""
        moved = {p for g in self.groups for p, _ in g.axes}
        return {name: value for name, value in params.items() if name not in moved}

    def verify(self, apply, params: dict, x, *, num: int = 20, key=None, tolerance: float | None = None) -> float:
        """The largest relative change of ``apply(params, x)`` under `num` random group elements.

        Returns max |f(g w, x) - f(w, x)| / max(1, max |f(w, x)|). Raises ValueError when it exceeds `tolerance`
        (default 1e-10 in float64, 1e-4 in float32): then the group is not a symmetry of the network.
        """
        before = apply(params, x)
        elements = self.sample(jax.random.key(0) if key is None else key, num)
        after = jax.vmap(lambda g: apply(self.act(g, params), x))(elements)
        change = float(jnp.max(jnp.abs(after - before)) / jnp.maximum(1.0, jnp.max(jnp.abs(before))))
        if tolerance is None:
            tolerance = 1e-10 if before.dtype == jnp.float64 else 1e-4
        if not change <= tolerance:
            raise ValueError(f"verify: expected outputs unchanged to {tolerance:g}, got a relative change of {change:.3g}; the group is no symmetry of this network: correct its axes")
        return change

    def _check(self, g: Element, params: dict) -> None:
        for group in self.groups:
            if group.name not in g.perms or jnp.shape(g.perms[group.name]) != (group.size,):
                got = jnp.shape(g.perms[group.name]) if group.name in g.perms else "none"
                raise ValueError(f"group element: expected a permutation of shape ({group.size},) for {group.name!r}, got {got}; draw one with sample(key, 1) and index it, or use jax.vmap over a batch")
            perm = g.perms[group.name]
            if is_concrete(perm) and not np.array_equal(np.sort(perm), np.arange(group.size)):
                raise ValueError(f"group element: expected each of 0..{group.size - 1} once for {group.name!r}, got {np.asarray(perm).tolist()}; pass a permutation")
            sign = g.signs.get(group.name)
            if self.signed and (sign is None or jnp.shape(sign) != (group.size,)):
                got = "none" if sign is None else jnp.shape(sign)
                raise ValueError(f"group element: expected signs of shape ({group.size},) for {group.name!r}, got {got}; take elements from this signed group")
            for name, axis in group.axes:
                if name not in params or params[name].ndim <= axis or params[name].shape[axis] != group.size:
                    got = params[name].shape if name in params else "no such parameter"
                    raise ValueError(f"params[{name!r}]: expected size {group.size} along axis {axis}, got {got}; pass weights of this network, one set at a time")


def swap(symmetry: Symmetry, i: int, j: int, name: str | None = None) -> Element:
    """The transposition that exchanges units i and j of one group and leaves all else in place."""
    group = symmetry.group(name)
    if not all(isinstance(k, (int, np.integer)) and 0 <= k < group.size for k in (i, j)):
        raise ValueError(f"swap: expected two units in 0..{group.size - 1}, got {i!r} and {j!r}; count units from 0")
    perm = np.arange(group.size)
    perm[[i, j]] = perm[[j, i]]
    e = symmetry.identity()
    return Element({**e.perms, group.name: jnp.array(perm)}, e.signs)
