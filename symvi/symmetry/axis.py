"""Where the units of one group stand in one parameter.

Everything that depends on whether units own single indices or several is in this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import as_scalar, described, expected


@dataclass(frozen=True)
class Axis:
    """The units of one group along one axis of one parameter.

    Parameters
    ----------
    param : str
        The parameter's name.
    axis : int
        The axis, counted from 0.
    places : tuple of tuples, optional
        Unit i owns the indices ``places[i]`` of the axis, k for each unit: the positions of a
        channel after flattening, or its part of a concatenation. If left out, unit i owns index i.

    Raises
    ------
    ValueError
        A name that is no text, a negative axis, or places that are no rows of equal length with
        each index once.
    """

    param: str
    axis: int
    places: tuple | None = None

    def __post_init__(self):
        if not isinstance(self.param, str):
            remedy = 'pass for example ("W1", 1)'
            raise expected("axes", "a parameter's name first", described(self.param), remedy)
        axis = as_scalar(self.axis)
        if not isinstance(axis, int) or axis < 0:
            remedy = "count axes from 0"
            raise expected(f"axis of {self.param!r}", "an int >= 0", described(self.axis), remedy)
        object.__setattr__(self, "axis", axis)
        if self.places is not None:
            object.__setattr__(self, "places", _rows_of_indices(self.param, self.places))

    @property
    def whole(self) -> bool:
        """Whether every index of the axis belongs to a unit."""
        return self.places is None

    @property
    def plain(self) -> tuple:
        """The same as a plain tuple, ``(param, axis)`` or ``(param, axis, places)``."""
        here = (self.param, self.axis)
        return here if self.whole else (*here, self.places)

    def indices(self, size: int) -> np.ndarray:
        """The indices that each of `size` units owns, shape ``(size, k)``."""
        return np.arange(size)[:, None] if self.whole else np.array(self.places)

    def misfit(self, shape: tuple, size: int) -> str | None:
        """What an array of this shape would need to hold `size` units; None if it does."""
        length = shape[self.axis] if self.axis < len(shape) else None
        if self.whole:
            return None if length == size else f"size {size}"
        least = 1 + max(index for row in self.places for index in row)
        return None if length is not None and length >= least else f"size >= {least}"

    def rows(self, value):
        """The entries of one parameter by unit, shape ``(size, d)``."""
        rows = _first(value, self.axis)
        if not self.whole:
            rows = rows[np.array(self.places)]
        return rows.reshape(rows.shape[0], -1)

    def put(self, value, rows):
        """`value` with its entries by unit replaced by `rows` of shape ``(size, d)``."""
        moved = jnp.moveaxis(jnp.asarray(value), self.axis, 0)
        if self.whole:
            moved = jnp.reshape(rows, moved.shape)
        else:
            places = np.array(self.places)
            moved = moved.at[places].set(jnp.reshape(rows, (*places.shape, *moved.shape[1:])))
        return jnp.moveaxis(moved, 0, self.axis)

    def move(self, value, back, signs=None):
        """`value` after its units have moved: unit ``back[j]``, times its sign, comes to place j.

        `back` is the inverse of the permutation, shape ``(size,)``; `signs` (if any) are those of
        the units before they move.
        """
        length = value.shape[self.axis]
        if self.whole:
            source = back
        else:
            places = jnp.array(self.places)
            source = jnp.arange(length).at[places].set(places[back])
            if signs is not None:
                signs = jnp.ones(length, int).at[places].set(signs[:, None])
        if signs is not None:
            shape = [1] * value.ndim
            shape[self.axis] = length
            value = value * signs.reshape(shape).astype(value.dtype)
        return permuted(value, source, self.axis)

    def mark(self, marked: np.ndarray, value: bool) -> None:
        """Set, in place, all entries of the mask `marked` that the units own to `value`."""
        owned = slice(None) if self.whole else np.array(self.places)
        np.moveaxis(marked, self.axis, 0)[owned] = value

    def meets(self, other: Axis) -> bool:
        """Whether some index belongs to units here and to units there: same parameter and axis."""
        if (self.param, self.axis) != (other.param, other.axis):
            return False
        if self.whole or other.whole:
            return True
        return bool(np.isin(self.places, other.places).any())


def are_apart(entries: list) -> bool:
    """Whether no index belongs to units of two of `entries`, all along one axis of one parameter.

    As :meth:`Axis.meets` for each pair, at the price of one pass.
    """
    if len(entries) < 2 or any(entry.whole for entry in entries):
        return len(entries) < 2
    owned = np.concatenate([np.ravel(entry.places) for entry in entries])
    return len(np.unique(owned)) == len(owned)


def _rows_of_indices(param: str, places) -> tuple:
    """`places` as a tuple of tuples of ints; ValueError unless no index stands in it twice."""
    try:
        rows = tuple(tuple(as_scalar(index) for index in row) for row in places)
    except TypeError:
        rows = ()
    indices = [index for row in rows for index in row]
    regular = len({len(row) for row in rows}) == 1 and len(indices) > 0
    whole_numbers = all(isinstance(index, int) and index >= 0 for index in indices)
    if not (regular and whole_numbers and len(set(indices)) == len(indices)):
        wanted = "rows of equal length, no index twice"
        remedy = "list the indices that each unit owns"
        raise expected(f"places of {param!r}", wanted, described(places), remedy)
    return rows


def _first(value, axis: int):
    """`value` with `axis` in front, in NumPy where it is NumPy's."""
    library = np if isinstance(value, np.ndarray) else jnp
    return library.moveaxis(value, axis, 0)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def permuted(value, source, axis: int):
    """``jnp.take(value, source, axis)`` for a permutation `source`.

    Its transpose takes by the inverse, which is faster than the scatter of a general take.
    """
    return jnp.take(value, source, axis=axis)


def _permuted_forward(value, source, axis):
    return jnp.take(value, source, axis=axis), source


def _permuted_backward(axis, source, slope):
    return jnp.take(slope, jnp.argsort(source), axis=axis), None


permuted.defvjp(_permuted_forward, _permuted_backward)
