r"""The symmetry group of a network: relabellings of its hidden units, with sign flips for odd activations.

A group element :math:`g` puts hidden unit :math:`i` at place :math:`g(i)`. It acts on the weights by permuting
the axes that belong to those units (Gelberg et al. 2024, Definition 2.1); the network's function does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
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
    """Interchangeable units: their number `size`, and where they stand in the parameters.

    An entry of `axes` is ``(parameter, axis)`` where unit i owns index i of the axis, or ``(parameter, axis, places)``
    with a tuple of `size` rows where unit i owns the indices ``places[i]``: the positions of a channel after
    flattening, or its part of a concatenation. A square weight that one group moves on both axes has two entries.
    """

    name: str
    size: int
    axes: tuple

    def __post_init__(self):
        for entry in self.axes:
            if len(entry) == 3:
                indices = [i for row in entry[2] for i in row]
                regular = len(entry[2]) == self.size and len({len(row) for row in entry[2]}) == 1
                if (
                    not regular
                    or len(set(indices)) != len(indices)
                    or not all(isinstance(i, int) and i >= 0 for i in indices)
                ):
                    raise ValueError(
                        f"group {self.name!r}: expected places of {entry[0]!r} as {self.size} rows of equal length, no index twice, got {entry[2]}; list the indices that each unit owns"
                    )

    @property
    def entries(self) -> list:
        """`axes` as triples, with places None where unit i owns index i of the whole axis and otherwise an array ``(size, k)``."""
        return [
            (entry[0], entry[1], None if len(entry) == 2 else np.array(entry[2]))
            for entry in self.axes
        ]


def unit_rows(value, axis: int, places):
    """The entries of one parameter by unit: shape ``(size, d)``."""
    rows = jnp.moveaxis(value, axis, 0)
    rows = rows if places is None else rows[places]
    return rows.reshape(rows.shape[0], -1)


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
        return float(
            sum(
                math.lgamma(g.size + 1) + (g.size * math.log(2) if self.signed else 0)
                for g in self.groups
            )
        )

    @property
    def order(self) -> int:
        """|G|, exactly."""
        return math.prod(
            math.factorial(g.size) * (2**g.size if self.signed else 1) for g in self.groups
        )

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
                signs[group.name] = (
                    2 * jax.random.bernoulli(k_sign, shape=(num, group.size)).astype(int) - 1
                )
        return Element(perms, signs)

    def elements(self) -> Element:
        """All |G| elements as one batched :class:`Element`; the identity comes first.

        Raises ValueError when |G| > 100,000.
        """
        if self.order > MAX_ELEMENTS:
            raise ValueError(
                f"elements: expected a group of at most {MAX_ELEMENTS} elements, got log |G| = {self.log_order:.1f} nats; use sample(key, num)"
            )
        choices = []
        for g in self.groups:
            choices.append(list(permutations(range(g.size))))
            choices.append(list(product((1, -1), repeat=g.size)) if self.signed else [()])
        combos = list(product(*choices))
        perms = {
            g.name: jnp.array([c[2 * i] for c in combos], int).reshape(-1, g.size)
            for i, g in enumerate(self.groups)
        }
        signs = (
            {
                g.name: jnp.array([c[2 * i + 1] for c in combos], int).reshape(-1, g.size)
                for i, g in enumerate(self.groups)
            }
            if self.signed
            else {}
        )
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
            for name, axis, places in group.entries:
                value, source = out[name], back
                if places is not None:
                    source = jnp.arange(value.shape[axis]).at[places].set(jnp.asarray(places)[back])
                if self.signed:
                    shape = [1] * value.ndim
                    shape[axis] = value.shape[axis]
                    signs = g.signs[group.name]
                    signs = (
                        signs
                        if places is None
                        else jnp.ones(value.shape[axis], int).at[places].set(signs[:, None])
                    )
                    value = value * signs.reshape(shape).astype(value.dtype)
                out[name] = permuted(value, source, axis)
        return out

    def inverse(self, g: Element) -> Element:
        """The element that undoes g; works on batches."""
        back = {name: jnp.argsort(perm, axis=-1) for name, perm in g.perms.items()}
        return Element(
            back,
            {
                name: jnp.take_along_axis(sign, back[name], axis=-1)
                for name, sign in g.signs.items()
            },
        )

    def compose(self, g: Element, h: Element) -> Element:
        """The element g h (first h, then g); works on batches of equal leading shape."""
        perms = {
            name: jnp.take_along_axis(g.perms[name], h.perms[name], axis=-1) for name in g.perms
        }
        signs = {
            name: h.signs[name] * jnp.take_along_axis(g.signs[name], h.perms[name], axis=-1)
            for name in g.signs
        }
        return Element(perms, signs)

    def units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors u_1..u_n of one group, shape ``(n, d)``: all weights that move with a unit, flattened.

        `name` may be left out when there is one group. Raises ValueError when the group moves a parameter on two axes.
        """
        group = self.group(name)
        self._check_factorises(group)
        self.check_weights(params)
        return jnp.concatenate(
            [unit_rows(params[p], axis, places) for p, axis, places in group.entries], axis=1
        )

    def own_units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors of one group without the weights that a later group moves too, shape ``(n, d)``.

        Every weight that moves belongs to exactly one unit this way: units of the last hidden layer own their incoming
        and outgoing weights, units of the layers before own their incoming ones. One group: the same as :meth:`units`.
        Raises ValueError when the group moves a parameter on two axes: then no unit owns the weight that joins two.
        """
        group = self.group(name)
        rows = []
        for p, axis, places, kept in self._own(group, params):
            row = unit_rows(params[p], axis, places)
            rows.append(row if kept is None else row[:, kept])
        return jnp.concatenate(rows, axis=1) if rows else jnp.zeros((group.size, 0))

    def with_own_units(self, params: dict, units, name: str | None = None) -> dict:
        """`params` with the unit vectors of :meth:`own_units` replaced by `units` of shape ``(n, d)``."""
        group, out, start = self.group(name), dict(params), 0
        for p, axis, places, kept in self._own(group, params):
            moved = jnp.moveaxis(out[p], axis, 0)
            width = (
                moved[0].size * (1 if places is None else places.shape[1])
                if kept is None
                else len(kept)
            )
            rows = units[:, start : start + width]
            if kept is not None:
                rows = unit_rows(out[p], axis, places).at[:, kept].set(rows)
            moved = (
                rows.reshape(moved.shape)
                if places is None
                else moved.at[places].set(rows.reshape(*places.shape, *moved.shape[1:]))
            )
            out[p] = jnp.moveaxis(moved, 0, axis)
            start += width
        return out

    def _own(self, group: UnitGroup, params: dict) -> list:
        """Entries ``(parameter, axis, places, kept)`` that `group` owns; `kept` are columns of :func:`unit_rows`, None for all."""
        self._check_factorises(group)
        self.check_weights(params)
        later = [entry for g in self.groups[self.groups.index(group) + 1 :] for entry in g.entries]
        own = []
        for p, axis, places in group.entries:
            over = [
                (a, where) for q, a, where in later if q == p and a != axis
            ]  # on the same axis groups are disjoint
            if any(where is None for _, where in over):
                continue
            kept = None
            if over:
                free = np.ones(jnp.shape(params[p]), bool)
                for a, where in over:
                    np.moveaxis(free, a, 0)[where] = False
                rows = np.moveaxis(free, axis, 0)
                kept = np.flatnonzero(rows[0 if places is None else places[0]])
            own.append((p, axis, places, kept))
        return own

    @property
    def factorises(self) -> bool:
        """Whether each weight that a group moves belongs to one of its units, which is false if it moves a parameter on two axes."""
        return not any(_moved_twice(g) for g in self.groups)

    def _check_factorises(self, group: UnitGroup) -> None:
        if twice := _moved_twice(group):
            raise ValueError(
                f"group {group.name!r}: expected each parameter on one axis, so that units own their weights, got {twice[0]!r} on two axes, as a shared layer has; "
                "use method or symmetrize 'infonce' (or 'exact' for |G| <= 50,000), or leave this group out"
            )

    def group(self, name: str | None = None) -> UnitGroup:
        """The unit group called `name` (or the only one). ValueError when there is none of that name."""
        named = {g.name: g for g in self.groups}
        if name is None and len(named) == 1:
            return self.groups[0]
        if name not in named:
            raise ValueError(
                f"group: expected one of {sorted(named)}, got {name!r}; name one of these"
            )
        return named[name]

    def rest(self, params: dict) -> dict:
        """The weights that no group moves: whole parameters, and flat the unmoved part of those that are moved in part."""
        moved = {}
        for p, axis, places in (entry for g in self.groups for entry in g.entries):
            moved.setdefault(p, []).append((axis, places))
        out = {name: value for name, value in params.items() if name not in moved}
        for name in (
            n
            for n, where in moved.items()
            if n in params and all(places is not None for _, places in where)
        ):
            still = np.ones(jnp.shape(params[name]), bool)
            for axis, places in moved[name]:
                np.moveaxis(still, axis, 0)[places] = False
            if still.any():
                out[name] = params[name][still]
        return out

    def verify(
        self, apply, params: dict, x, *, num: int = 20, key=None, tolerance: float | None = None
    ) -> float:
        """The largest relative change of ``apply(params, x)`` under `num` random group elements.

        Returns max |f(g w, x) - f(w, x)| / max(1, max |f(w, x)|). Raises ValueError when it exceeds `tolerance`
        (default 1e-10 in float64, 1e-4 in float32): then the group is not a symmetry of the network.
        """
        before = apply(params, x)
        elements = self.sample(jax.random.key(0) if key is None else key, num)
        after = jax.jit(
            lambda g, w, x: jax.vmap(lambda e: apply(self.act(e, w), x), axis_size=num)(g)
        )(elements, params, x)
        change = float(
            jnp.max(jnp.abs(after - before)) / jnp.maximum(1.0, jnp.max(jnp.abs(before)))
        )
        if tolerance is None:
            tolerance = 1e-10 if before.dtype == jnp.float64 else 1e-4
        if not change <= tolerance:
            raise ValueError(
                f"verify: expected outputs unchanged to {tolerance:g}, got a relative change of {change:.3g}; the group is no symmetry of this network: correct its axes"
            )
        return change

    def check_weights(self, params: dict) -> None:
        """ValueError unless every group stands in `params` as it says: one set of weights, by names and axis sizes."""
        for group in self.groups:
            for name, axis, places in group.entries:
                shape = jnp.shape(params[name]) if name in params else None
                size = None if shape is None or axis >= len(shape) else shape[axis]
                least = None if places is None else int(places.max(initial=0)) + 1
                fits = size is not None and (size == group.size if least is None else size >= least)
                if not fits:
                    wanted = f"size {group.size}" if least is None else f"size >= {least}"
                    got = "no such parameter" if shape is None else shape
                    raise ValueError(
                        f"params[{name!r}]: expected {wanted} along axis {axis} for the units {group.name!r}, got {got}; pass weights and symmetry of one network, one set of weights at a time"
                    )

    def _check(self, g: Element, params: dict) -> None:
        self.check_weights(params)
        for group in self.groups:
            if group.name not in g.perms or jnp.shape(g.perms[group.name]) != (group.size,):
                got = jnp.shape(g.perms[group.name]) if group.name in g.perms else "none"
                raise ValueError(
                    f"group element: expected a permutation of shape ({group.size},) for {group.name!r}, got {got}; draw one with sample(key, 1) and index it, or use jax.vmap over a batch"
                )
            perm = g.perms[group.name]
            if is_concrete(perm) and not np.array_equal(np.sort(perm), np.arange(group.size)):
                raise ValueError(
                    f"group element: expected each of 0..{group.size - 1} once for {group.name!r}, got {np.asarray(perm).tolist()}; pass a permutation"
                )
            sign = g.signs.get(group.name)
            if self.signed and (sign is None or jnp.shape(sign) != (group.size,)):
                got = "none" if sign is None else jnp.shape(sign)
                raise ValueError(
                    f"group element: expected signs of shape ({group.size},) for {group.name!r}, got {got}; take elements from this signed group"
                )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def permuted(value, source, axis: int):
    """``jnp.take(value, source, axis)`` for a permutation `source`: its transpose takes by the inverse, faster than the scatter of a general take."""
    return jnp.take(value, source, axis=axis)


permuted.defvjp(
    lambda value, source, axis: (jnp.take(value, source, axis=axis), source),
    lambda axis, source, slope: (jnp.take(slope, jnp.argsort(source), axis=axis), None),
)


def _moved_twice(group: UnitGroup) -> list:
    names = [entry[0] for entry in group.axes]
    return sorted({p for p in names if names.count(p) > 1})


def swap(symmetry: Symmetry, i: int, j: int, name: str | None = None) -> Element:
    """The transposition that exchanges units i and j of one group and leaves all else in place."""
    group = symmetry.group(name)
    if not all(isinstance(k, (int, np.integer)) and 0 <= k < group.size for k in (i, j)):
        raise ValueError(
            f"swap: expected two units in 0..{group.size - 1}, got {i!r} and {j!r}; count units from 0"
        )
    perm = np.arange(group.size)
    perm[[i, j]] = perm[[j, i]]
    e = symmetry.identity()
    return Element({**e.perms, group.name: jnp.array(perm)}, e.signs)
