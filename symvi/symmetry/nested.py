r"""Groups within groups: features within a head, and whole heads.

A product of symmetric groups moves units apart from each other. Where whole blocks of units may be
exchanged too, the group is a wreath product: an element moves units within their blocks, then the
blocks. With :math:`\pi` the permutation of blocks and :math:`\sigma_i` that within block
:math:`i`, elements compose as

.. math:: (\pi, \sigma)(\pi', \sigma') = (\pi \pi', \; i \mapsto \sigma_{\pi'(i)} \sigma'_i).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import described, expected, required_key
from symvi.symmetry.axis import Axis
from symvi.symmetry.element import Element
from symvi.symmetry.group import Symmetry
from symvi.symmetry.units import UnitGroup

FAMILIES = "pass a dict of tuples of tuples of names, () for blocks without groups of their own"


@dataclass(frozen=True, repr=False)
class Nested:
    """A product of symmetric groups together with exchanges of whole blocks of its units.

    Parameters
    ----------
    product : Symmetry
        The units that move within their blocks, and all others. Whatever needs a product
        (densities, bounds, posteriors) takes this part.
    blocks : Symmetry
        A group for each set of blocks: its units are blocks, which stand where their members do.
        Blocks have no signs.
    families : dict
        By name of a group of `blocks`, a tuple of families: names of groups of `product`, one for
        each block in order, whose members keep their places in the block when blocks move.

    Raises
    ------
    ValueError
        Signed blocks, names that do not exist or stand twice, families that do not have one group
        of the same size for each block, or exchanges of blocks that do not fit the product.
    """

    product: Symmetry
    blocks: Symmetry
    families: dict

    def __post_init__(self):
        self._check_parts()
        named = {name: _as_families(given) for name, given in self.families.items()}
        object.__setattr__(self, "families", named)
        members = [member for given in named.values() for family in given for member in family]
        if len(set(members)) < len(members):
            remedy = "list each group of the product once"
            raise expected("families", "each group in one family", sorted(members), remedy)
        for name, families in named.items():
            size = self.blocks.group(name).size
            for family in families:
                alike = {self._form(member) for member in family}
                if len(family) != size or len(alike) != 1:
                    wanted = (
                        "one group of the same size, axes and signs for each of "
                        f"{size} blocks of {name!r}"
                    )
                    remedy = "list the groups in the order of the blocks"
                    raise expected("families", wanted, list(family), remedy)
        if not all(self._fits(group) for group in self.blocks.groups):
            wanted = "blocks whose members keep their places"
            got = "exchanges that do not fit the product"
            raise expected("blocks", wanted, got, "correct the places or the families")

    def _form(self, name: str) -> tuple:
        """The size of a group of the product, the axes on which it stands, and its signs."""
        group = self.product.group(name)
        stands = tuple((axis.param, axis.axis) for axis in group.entries)
        return group.size, stands, self.product.flips(name)

    def _check_parts(self) -> None:
        remedy = "pass symvi.Symmetry(groups)"
        if not isinstance(self.product, Symmetry):
            raise expected("product", "a symvi.Symmetry", described(self.product), remedy)
        if not isinstance(self.blocks, Symmetry) or self.blocks.signed:
            got = described(self.blocks)
            raise expected("blocks", "a symvi.Symmetry without signs", got, remedy)
        names = [group.name for group in (*self.product.groups, *self.blocks.groups)]
        if len(set(names)) < len(names):
            raise expected("groups", "groups of different names", names, "name them apart")
        named = {group.name for group in self.blocks.groups}
        if not isinstance(self.families, dict) or set(self.families) != named:
            got = described(self.families)
            raise expected("families", f"the names {sorted(named)}", got, FAMILIES)

    def __hash__(self) -> int:
        return hash((self.product, self.blocks, tuple(sorted(self.families.items()))))

    def __repr__(self) -> str:
        sets = ", ".join(f"{g.name}: {g.size} blocks" for g in self.blocks.groups)
        return f"Nested({self.product!r}, {sets or 'no blocks'})"

    @property
    def groups(self) -> tuple:
        """The groups of the product, then those of the blocks."""
        return (*self.product.groups, *self.blocks.groups)

    def flips(self, name: str) -> bool:
        """Whether the units of the group called `name` may change sign."""
        return any(group.name == name for group in self.product.groups) and self.product.flips(name)

    @property
    def log_order(self) -> float:
        """log |G| in nats."""
        return self.product.log_order + self.blocks.log_order

    @property
    def order(self) -> int:
        """|G|, exactly."""
        return self.product.order * self.blocks.order

    def identity(self) -> Element:
        """The element that changes nothing."""
        return _joined(self.product.identity(), self.blocks.identity())

    def sample(self, key, num: int) -> Element:
        """`num` independent uniform elements, as one batch with leading axis ``(num,)``."""
        one, two = jax.random.split(required_key(key))
        return _joined(self.product.sample(one, num), self.blocks.sample(two, num))

    def act(self, g: Element, params: dict) -> dict:
        """The weights g w: units move within their blocks, then the blocks.

        A left action, as :meth:`symvi.Symmetry.act`; raises ValueError as that does.
        """
        within, between = self._parts(g)
        return self.blocks.act(between, self.product.act(within, params))

    def compose(self, g: Element, h: Element) -> Element:
        """The element g h (first h, then g); works on batches of equal leading shape.

        Raises ValueError if g or h is no element of this group.
        """
        (within_g, between_g), (within_h, between_h) = self._parts(g), self._parts(h)
        parts = [(self.blocks, between_g), (self.blocks, between_h)]
        parts += [(self.product, within_g), (self.product, within_h)]
        batches = {group._check_element(element) for group, element in parts if group.groups}
        if len(batches) > 1:
            remedy = "use jax.vmap to compose each of a batch with one element"
            raise expected("compose", "elements of one batch shape", sorted(batches), remedy)
        pulled = self._at_blocks(within_g, between_h)
        within = self.product.compose(pulled, within_h)
        return _joined(within, self.blocks.compose(between_g, between_h))

    def inverse(self, g: Element) -> Element:
        """The element that undoes g; works on batches. ValueError if it is none of this group."""
        within, between = self._parts(g)
        self.product._check_element(within)
        back = self.blocks.inverse(between)
        return _joined(self._at_blocks(self.product.inverse(within), back), back)

    def verify(self, apply, params: dict, x, **settings) -> float:
        """As :meth:`symvi.Symmetry.verify`, with elements of this group."""
        return Symmetry.verify(self, apply, params, x, **settings)

    def check_weights(self, params: dict) -> None:
        """ValueError unless every group stands in `params` as it says."""
        self.product.check_weights(params)
        self.blocks.check_weights(params)

    def _parts(self, g: Element) -> tuple:
        """The element as one of the product and one of the blocks."""
        if not isinstance(g, Element):
            remedy = "draw one with sample(key, 1) and index it by jax.tree.map"
            raise expected("group element", "a symvi.symmetry.Element", described(g), remedy)
        names = {group.name for group in self.blocks.groups}
        within = {name: perm for name, perm in g.perms.items() if name not in names}
        between = {name: perm for name, perm in g.perms.items() if name in names}
        return _element(within, g.signs), _element(between, {})

    def _at_blocks(self, within: Element, between: Element) -> Element:
        """What moves block i's units replaced by that of the block where i goes."""
        perms, signs = dict(within.perms), dict(within.signs)
        for name, families in self.families.items():
            places = between.perms[name]
            for family in families:
                perms |= _taken(within.perms, family, places)
                if family[0] in within.signs:
                    signs |= _taken(within.signs, family, places)
        return _element(perms, signs)

    def _fits(self, blocks: UnitGroup) -> bool:
        """Whether exchanging these blocks maps groups of the product to groups of the product."""
        place_of = {(axis.param, axis.axis): _places(axis, blocks.size) for axis in blocks.entries}
        home = {}
        for family in self.families[blocks.name]:
            home |= {member: (block, family[0]) for block, member in enumerate(family)}
        for group in self.product.groups:
            for axis in group.entries:
                where = place_of.get((axis.param, axis.axis), {})
                if not where and group.name not in home:
                    continue  # no block stands there
                stands = [where.get(i, (-1, -1)) for i in axis.indices(group.size).reshape(-1)]
                spots = np.array(stands).reshape(group.size, -1, 2)
                if group.name in home:
                    block, first = home[group.name]
                    model = self._spots(first, (axis.param, axis.axis), where)
                    if (spots[..., 0] != block).any() or not _same(spots[..., 1], model):
                        return False
                elif not _in_every_block(spots, blocks.size):
                    return False
        return True

    def _spots(self, name: str, stands: tuple, where: dict):
        """The places within its block of a group of the product, along one axis."""
        group = self.product.group(name)
        for axis in group.entries:
            if (axis.param, axis.axis) == stands:
                indices = axis.indices(group.size)
                found = [where.get(index, (-1, -1))[1] for index in indices.reshape(-1)]
                return np.array(found).reshape(indices.shape)
        return None


def with_signs(group: Symmetry | Nested, signed: bool | tuple) -> Symmetry | Nested:
    """The same permutations, and changes of sign of the groups `signed`: names, or all or none."""
    if isinstance(group, Symmetry):
        return Symmetry(group.groups, signed)
    return Nested(with_signs(group.product, signed), group.blocks, group.families)


def _taken(arrays: dict, family: tuple, places) -> dict:
    """For block i the array of block ``places[i]``."""
    stacked = jnp.stack([arrays[member] for member in family], axis=-2)
    taken = jnp.take_along_axis(stacked, places[..., None], axis=-2)
    return {member: taken[..., i, :] for i, member in enumerate(family)}


def _as_families(given) -> tuple:
    """Families as tuples of texts; ValueError unless they are."""
    try:
        families = tuple(tuple(family) for family in given)
    except TypeError:
        families = ((None,),)
    texts = all(isinstance(member, str) for family in families for member in family)
    if not texts or any(isinstance(family, str) for family in given):
        raise expected("families", "tuples of names", described(given), FAMILIES)
    return families


def _places(axis: Axis, size: int) -> dict:
    """For each index of the axis that a block owns, the block and the place in it."""
    table = axis.indices(size)
    return {int(table[i, j]): (i, j) for i in range(size) for j in range(table.shape[1])}


def _same(one: np.ndarray, other) -> bool:
    return other is not None and one.shape == other.shape and bool((one == other).all())


def _in_every_block(spots: np.ndarray, size: int) -> bool:
    """Whether each unit stands outside all blocks, or at the same places of every block."""
    outside = spots[..., 0] < 0
    if outside.any():
        return bool(outside.all())
    block = spots[0, :, 0]
    if (spots[..., 0] != block).any():
        return False
    return all(_same(spots[:, block == i, 1], spots[:, block == 0, 1]) for i in range(size))


def _element(perms: dict, signs: dict) -> Element:
    """An element of arrays that were checked before."""
    element = object.__new__(Element)
    element.__dict__.update(perms=perms, signs=signs)
    return element


def _joined(one: Element, two: Element) -> Element:
    return _element({**one.perms, **two.perms}, {**one.signs, **two.signs})
