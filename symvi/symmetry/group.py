r"""The symmetry group of a network: relabellings of its hidden units, and sign flips.

A group element :math:`g` puts hidden unit :math:`i` at place :math:`g(i)`. It acts on the weights
by permuting the axes that belong to those units (Gelberg et al. 2024, Definition 2.1); the
network's function does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, permutations, product

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import (
    as_key,
    as_numbers,
    described,
    expected,
    positive_int,
    positive_number,
    required_key,
)
from symvi.symmetry.axis import Axis, are_apart
from symvi.symmetry.element import Element
from symvi.symmetry.units import UnitGroup

MAX_ELEMENTS = 100_000  # largest group that elements() lists
ONE_NETWORK = "pass weights and symmetry of one network, one set of weights at a time"


@dataclass(frozen=True, repr=False)
class Symmetry:
    """A product of symmetric groups S_n, one for each :class:`UnitGroup`, acting on named arrays.

    Two networks in one model: rename their parameters apart and add their groups.

    >>> both = net.symmetry.rename("mean.") + other.symmetry.rename("noise.")
    >>> params = {"mean.W1": ..., "mean.b1": ..., "noise.W1": ..., "noise.b1": ...}

    Parameters
    ----------
    groups : tuple of UnitGroup
    signed : bool or tuple of str
        Whether units may also change sign (where odd functions, f(-a) = -f(a), or none act on
        them); a tuple holds the names of the groups whose units may. A group of these has 2^n n!
        elements instead of n!.

    Raises
    ------
    ValueError
        Groups of one name, two groups that move the same entries along one axis, or a name in
        `signed` that no group has.
    """

    groups: tuple = ()
    signed: bool | tuple = False

    def __post_init__(self):
        groups = _unit_groups(self.groups)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "signed", _signed(self.signed, groups))
        _check_apart(groups)

    def __repr__(self) -> str:
        mixed = isinstance(self.signed, tuple)
        sets = ", ".join(
            f"{g.name}: {g.size} units{' with signs' if mixed and self.flips(g.name) else ''}"
            for g in self.groups
        )
        return f"Symmetry({sets or 'no units'}{', signed' if self.signed is True else ''})"

    # The group itself.

    @property
    def log_order(self) -> float:
        """log |G| in nats, the sum of log n! (and n log 2 where signed); Definition 2.1."""
        total = 0.0
        for group in self.groups:
            total += math.lgamma(group.size + 1)
            total += group.size * math.log(2) if self.flips(group.name) else 0
        return total

    @property
    def order(self) -> int:
        """|G|, exactly."""
        permuted = math.prod(math.factorial(group.size) for group in self.groups)
        return permuted * 2 ** sum(group.size for group in self._flipping)

    def identity(self) -> Element:
        """The element that changes nothing."""
        perms = {g.name: jnp.arange(g.size) for g in self.groups}
        return Element(perms, {g.name: jnp.ones(g.size, int) for g in self._flipping})

    def sample(self, key, num: int) -> Element:
        """`num` independent uniform elements, as one batch with leading axis ``(num,)``."""
        key, num = required_key(key), positive_int("num", num)
        perms, signs = {}, {}
        for index, group in enumerate(self.groups):
            k_perm, k_sign = jax.random.split(jax.random.fold_in(key, index))
            shape = (num, group.size)
            perms[group.name] = jnp.argsort(jax.random.uniform(k_perm, shape), axis=-1)
            if self.flips(group.name):
                plus = jax.random.bernoulli(k_sign, shape=shape).astype(int)
                signs[group.name] = 2 * plus - 1
        return Element(perms, signs)

    def elements(self) -> Element:
        """All |G| elements as one batch; the identity comes first.

        Raises ValueError when |G| > 100,000.
        """
        if self.order > MAX_ELEMENTS:
            wanted = f"a group of at most {MAX_ELEMENTS} elements"
            got = f"log |G| = {self.log_order:.1f} nats"
            raise expected("elements", wanted, got, "use sample(key, num)")
        perms, signs = {}, {}
        repeats, block = 1, self.order  # the last factor of the product runs fastest
        for group in self.groups:
            choices = [np.array(list(permutations(range(group.size))))]
            if self.flips(group.name):
                choices.append(np.array(list(product((1, -1), repeat=group.size))))
            listed = []
            for choice in choices:
                block //= len(choice)
                listed.append(np.tile(np.repeat(choice, block, axis=0), (repeats, 1)))
                repeats *= len(choice)
            perms[group.name] = jnp.array(listed[0], int)
            if self.flips(group.name):
                signs[group.name] = jnp.array(listed[1], int)
        return Element(perms, signs)

    def inverse(self, g: Element) -> Element:
        """The element that undoes g; works on batches.

        Raises ValueError if g is no element of this group.
        """
        self._check_element(g)
        back = {name: jnp.argsort(perm, axis=-1) for name, perm in g.perms.items()}
        signs = {}
        for name, sign in g.signs.items():
            signs[name] = jnp.take_along_axis(sign, back[name], axis=-1)
        return Element(back, signs)

    def compose(self, g: Element, h: Element) -> Element:
        """The element g h (first h, then g); works on batches of equal leading shape.

        Raises ValueError if g or h is no element of this group, or one is a batch of another shape.
        """
        batch, other = self._check_element(g), self._check_element(h)
        if batch != other:
            got = f"{batch} and {other}"
            remedy = "use jax.vmap to compose each of a batch with one element"
            raise expected("compose", "elements of one batch shape", got, remedy)
        perms, signs = {}, {}
        for name, perm in h.perms.items():
            perms[name] = jnp.take_along_axis(g.perms[name], perm, axis=-1)
        for name, sign in h.signs.items():
            signs[name] = sign * jnp.take_along_axis(g.signs[name], h.perms[name], axis=-1)
        return Element(perms, signs)

    # What it does to weights.

    def act(self, g: Element, params: dict) -> dict:
        """The weights g w: unit i of each group moves to place g(i), times its sign.

        `g` is one element and `params` one set of weights; use ``jax.vmap`` for batches. A left
        action: ``act(compose(g, h), w) == act(g, act(h, w))``. Raises ValueError if g does not fit
        the group or the weights.
        """
        self.check_weights(params)
        if batch := self._check_element(g):
            remedy = "index it, or use jax.vmap over a batch"
            raise expected("group element", "one element", f"a batch of shape {batch}", remedy)
        out = dict(params)
        for group in self.groups:
            back = jnp.argsort(g.perms[group.name])
            signs = g.signs.get(group.name)
            for axis in group.entries:
                out[axis.param] = axis.move(jnp.asarray(out[axis.param]), back, signs)
        return out

    def units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors u_1..u_n of one group: all weights that move with a unit, flattened.

        Shape ``(n, d)``. `name` may be left out when there is one group. Raises ValueError when
        the group moves a parameter on two axes.
        """
        group = self.group(name)
        _check_factorises(group)
        self.check_weights(params)
        rows = [axis.rows(params[axis.param]) for axis in group.entries]
        return jnp.concatenate(rows, axis=1)

    def own_units(self, params: dict, name: str | None = None) -> jax.Array:
        """The unit vectors of one group without the weights that a later group moves too.

        Shape ``(n, d)``. Every weight that moves belongs to exactly one unit this way: units of
        the last hidden layer own their incoming and outgoing weights, units of the layers before
        own their incoming ones. One group: the same as :meth:`units`. Raises ValueError when the
        group moves a parameter on two axes: then no unit owns the weight that joins two.
        """
        group = self.group(name)
        owned = []
        for axis, columns in self._own(group, params):
            owned.append(axis.rows(params[axis.param])[:, columns])
        if not owned:
            precision = jnp.result_type(*(params[axis.param] for axis in group.entries))
            return jnp.zeros((group.size, 0), precision)
        return jnp.concatenate(owned, axis=1)

    def with_own_units(self, params: dict, units, name: str | None = None) -> dict:
        """`params` with the vectors of :meth:`own_units` replaced by `units`, shape ``(n, d)``."""
        group, out, start = self.group(name), dict(params), 0
        units = as_numbers("units", units)
        owned = self._own(group, params)
        widths = [axis.rows(params[axis.param])[:, columns].shape[1] for axis, columns in owned]
        if units.shape != (group.size, sum(widths)):
            wanted = f"shape {(group.size, sum(widths))}"
            raise expected("units", wanted, described(units), "change what own_units returns")
        for (axis, columns), width in zip(owned, widths, strict=True):
            rows = units[:, start : start + width]
            if not isinstance(columns, slice):
                rows = axis.rows(jnp.asarray(out[axis.param])).at[:, columns].set(rows)
            out[axis.param] = axis.put(out[axis.param], rows)
            start += width
        return out

    def rest(self, params: dict) -> dict:
        """The weights that no group moves.

        Whole parameters as they are, and flat the unmoved part of those that are moved in part.
        """
        _check_named(params)
        moved = {}
        for group in self.groups:
            for axis in group.entries:
                moved.setdefault(axis.param, []).append(axis)
        out = {name: value for name, value in params.items() if name not in moved}
        for name, axes in moved.items():
            if name not in params or any(axis.whole for axis in axes):
                continue
            still = np.ones(jnp.shape(params[name]), bool)
            for axis in axes:
                axis.mark(still, False)
            if still.any():
                out[name] = params[name][still]
        return out

    def verify(
        self, apply, params: dict, x, *, num: int = 20, key=None, tolerance: float | None = None
    ) -> float:
        """The largest relative change of ``apply(params, x)`` under `num` random group elements.

        Returns max |f(g w, x) - f(w, x)| / max(1, max |f(w, x)|). Raises ValueError when it exceeds
        `tolerance` (default 1e-10 in float64, 1e-4 in float32): then the group is not a symmetry of
        the network.
        """
        if not callable(apply):
            raise expected("apply", "a function (params, x)", described(apply), "pass net.apply")
        elements = self.sample(as_key(key), num)
        before = as_numbers("apply(params, x)", apply(params, x))
        size = jnp.max(jnp.abs(before))
        if not jnp.isfinite(size):
            remedy = "look for diverged weights or inputs"
            raise expected("apply(params, x)", "finite outputs", "NaN or infinity", remedy)
        if tolerance is None:
            tolerance = 1e-10 if before.dtype == jnp.float64 else 1e-4
        tolerance = positive_number("tolerance", tolerance)

        def outputs(element, w, x):
            return apply(self.act(element, w), x)

        over_elements = jax.vmap(outputs, (0, None, None), axis_size=positive_int("num", num))
        after = jax.jit(over_elements)(elements, params, x)
        change = float(jnp.max(jnp.abs(after - before)) / jnp.maximum(1.0, size))
        if not change <= tolerance:
            wanted = f"outputs unchanged to {tolerance:g}"
            got = f"a relative change of {change:.3g}"
            remedy = "the group is no symmetry of this network: correct its axes"
            raise expected("verify", wanted, got, remedy)
        return change

    # Its parts.

    def group(self, name: str | None = None) -> UnitGroup:
        """The unit group called `name` (or the only one). ValueError when there is none."""
        if name is None and len(self.groups) == 1:
            return self.groups[0]
        for group in self.groups:
            if isinstance(name, str) and group.name == name:
                return group
        names = sorted(g.name for g in self.groups)
        raise expected("group", f"one of {names}", described(name), "name one of these")

    def flips(self, name: str) -> bool:
        """Whether the units of the group called `name` may change sign."""
        return name in self.signed if isinstance(self.signed, tuple) else self.signed

    @property
    def _flipping(self) -> tuple:
        """The groups whose units may change sign."""
        return tuple(group for group in self.groups if self.flips(group.name))

    @property
    def factorises(self) -> bool:
        """Whether each weight that a group moves belongs to one of its units.

        It does not if the group moves a parameter on two axes.
        """
        return not any(group.shared for group in self.groups)

    def rename(self, prefix: str) -> Symmetry:
        """The same group with `prefix` before the names of parameters and of groups.

        ``rename("f/")`` fits the sites that ``numpyro.handlers.scope(prefix="f")`` makes.
        """
        if not isinstance(prefix, str):
            raise expected("prefix", "a text", described(prefix), 'pass for example "mean."')
        groups = []
        for group in self.groups:
            axes = [Axis(prefix + a.param, a.axis, a.places) for a in group.entries]
            groups.append(UnitGroup(prefix + group.name, group.size, tuple(axes)))
        return Symmetry(tuple(groups), tuple(prefix + group.name for group in self._flipping))

    def __add__(self, other: Symmetry) -> Symmetry:
        """The product of two groups that move different units, as of two networks in one model.

        Raises ValueError if names of groups or the entries that they move are not apart.
        """
        if not isinstance(other, Symmetry):
            remedy = "add the symmetry of another network"
            raise expected("other", "a symvi.Symmetry", described(other), remedy)
        flipping = (*self._flipping, *other._flipping)
        return Symmetry(self.groups + other.groups, tuple(group.name for group in flipping))

    def check_weights(self, params: dict) -> None:
        """ValueError unless every group stands in `params` as it says, by names and axis sizes."""
        _check_named(params)
        for group in self.groups:
            for axis in group.entries:
                shape = None
                if axis.param in params:
                    shape = as_numbers(f"params[{axis.param!r}]", params[axis.param]).shape
                wanted = axis.misfit(shape or (), group.size)
                if wanted is not None:
                    wanted += f" along axis {axis.axis} for the units {group.name!r}"
                    got = "no such parameter" if shape is None else shape
                    raise expected(f"params[{axis.param!r}]", wanted, got, ONE_NETWORK)

    def _own(self, group: UnitGroup, params: dict) -> list:
        """Pairs (axis, columns of its rows) of what `group` owns.

        The columns are those that no later group moves: all (a slice), or an array of numbers.
        """
        _check_factorises(group)
        self.check_weights(params)
        index = self.groups.index(group)
        later = [axis for other in self.groups[index + 1 :] for axis in other.entries]
        own = []
        for axis in group.entries:
            # on the axis itself groups are disjoint
            others = [a for a in later if a.param == axis.param and a.axis != axis.axis]
            columns = _columns_besides(axis, others, jnp.shape(params[axis.param]))
            if isinstance(columns, slice) or len(columns) > 0:
                own.append((axis, columns))
        return own

    def _check_element(self, g: Element) -> tuple:
        """The batch shape of `g`; ValueError unless it is an element of this group."""
        if not isinstance(g, Element):
            remedy = "draw one with sample(key, 1) and index it by jax.tree.map"
            raise expected("group element", "a symvi.symmetry.Element", described(g), remedy)
        shapes = {name: jnp.shape(perm) for name, perm in g.perms.items()}
        batches = {shape[:-1] for shape in shapes.values()}
        batch = min(batches, default=(), key=len)
        names = {group.name for group in self.groups}
        for group in self.groups:
            if shapes.get(group.name) != (*batch, group.size):
                wanted = f"a permutation of shape ({group.size},) for {group.name!r}"
                got = shapes.get(group.name, "none")
                remedy = "draw one with sample(key, 1) and index it, or use jax.vmap over a batch"
                raise expected("group element", wanted, got, remedy)
        if set(g.perms) != names:
            remedy = "take elements from this group"
            raise expected("group element", f"the names {sorted(names)}", sorted(g.perms), remedy)
        flipping = {group.name for group in self._flipping}
        if set(g.signs) != flipping:
            wanted = f"signs for {sorted(flipping)}" if flipping else "no signs"
            remedy = f"take elements from this {'signed' if flipping else 'unsigned'} group"
            raise expected("group element", wanted, sorted(g.signs) or "none", remedy)
        return batch


def _unit_groups(groups) -> tuple:
    """`groups` as a tuple of UnitGroups of different names."""
    remedy = 'pass for example (UnitGroup("hidden1", 50, (("W1", 1), ("W2", 0))),)'
    if not isinstance(groups, (tuple, list)):
        raise expected("groups", "a tuple of UnitGroups", described(groups), remedy)
    for group in groups:
        if not isinstance(group, UnitGroup):
            raise expected("groups", "a tuple of UnitGroups", described(group), remedy)
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        remedy = "name them apart, for example by rename"
        raise expected("groups", "groups of different names", names, remedy)
    return tuple(groups)


def _signed(signed, groups: tuple):
    """`signed` as a tuple of names in the order of the groups; as a bool where all or none are."""
    if isinstance(signed, (bool, np.bool_)):
        return bool(signed)
    names = [group.name for group in groups]
    listed = signed if isinstance(signed, (tuple, list)) else (None,)
    if not all(isinstance(name, str) and name in names for name in listed):
        wanted = f"True, False or a tuple of names of {names}"
        raise expected("signed", wanted, described(signed), "pass for example signed=True")
    if len(set(listed)) in (0, len(names)):
        return len(listed) > 0
    return tuple(name for name in names if name in listed)


def _check_named(params) -> None:
    if not isinstance(params, dict):
        remedy = "pass a dict, as net.init(key) returns"
        raise expected("params", "a dict of named arrays", described(params), remedy)


def _check_apart(groups: tuple) -> None:
    """ValueError if two groups move the same entries along one axis."""
    standing = {}  # by parameter and axis: the groups there, with their entry
    for group in groups:
        for axis in group.entries:
            standing.setdefault((axis.param, axis.axis), []).append((group.name, axis))
    for (param, axis), here in standing.items():
        if are_apart([entry for _, entry in here]):
            continue
        one, other = next(
            (first[0], second[0])
            for first, second in combinations(here, 2)
            if first[1].meets(second[1])
        )
        wanted = f"units of {one!r} and {other!r} at indices of their own"
        got = f"the same ones on axis {axis} of {param!r}"
        raise expected("groups", wanted, got, "correct the axes or places of one group")


def _check_factorises(group: UnitGroup) -> None:
    if group.shared:
        wanted = "each parameter on one axis, so that units own their weights"
        got = f"{group.shared[0]!r} on two axes, as a shared layer has"
        remedy = (
            "use method or symmetrize 'infonce' (or 'exact' for |G| <= 50,000), "
            "or leave this group out"
        )
        raise expected(f"group {group.name!r}", wanted, got, remedy)


def _columns_besides(axis: Axis, others: list, shape: tuple):
    """The columns of ``axis.rows`` that none of `others`, axes of the same parameter, moves."""
    if not others:
        return slice(None)
    if any(other.whole for other in others):
        return np.zeros(0, int)
    free = np.ones(shape, bool)
    for other in others:
        other.mark(free, False)
    return np.flatnonzero(axis.rows(free)[0])
