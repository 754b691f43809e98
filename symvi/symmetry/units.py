"""A set of interchangeable units and where they stand in the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from symvi.checks import described, expected, positive_int
from symvi.symmetry.axis import Axis


@dataclass(frozen=True)
class UnitGroup:
    """Interchangeable units: their number `size`, and where they stand in the parameters.

    Parameters
    ----------
    name : str
    size : int
        The number of units.
    axes : tuple
        An entry is ``(parameter, axis)`` where unit i owns index i of the axis, or
        ``(parameter, axis, places)`` with a tuple of `size` rows where unit i owns the indices
        ``places[i]``: the positions of a channel after flattening, or its part of a concatenation.
        A square weight that one group moves on both axes has two entries.

    Raises
    ------
    ValueError
        A name that is no text, a size below 1, or axes that say nothing or say it twice.
    """

    name: str
    size: int
    axes: tuple

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name:
            remedy = 'pass for example "hidden1"'
            raise expected("name", "a text", described(self.name), remedy)
        object.__setattr__(self, "size", positive_int("size", self.size, of=f"group {self.name!r}"))
        entries = tuple(self._entry(given) for given in self._listed())
        for one, other in combinations(entries, 2):
            if (one.param, one.axis) == (other.param, other.axis):
                wanted = "each axis of a parameter once"
                got = f"axis {one.axis} of {one.param!r} twice"
                remedy = "list all indices of a unit in one row of places"
                raise expected(f"group {self.name!r}", wanted, got, remedy)
        object.__setattr__(self, "axes", tuple(entry.plain for entry in entries))

    @cached_property
    def entries(self) -> tuple:
        """The `axes` as :class:`Axis` objects."""
        return tuple(Axis(*given) for given in self.axes)

    @property
    def shared(self) -> list:
        """Names of the parameters that the group moves on two axes, as a shared layer has."""
        names = [entry.param for entry in self.entries]
        return sorted({name for name in names if names.count(name) > 1})

    def _listed(self) -> tuple:
        if isinstance(self.axes, (tuple, list)) and len(self.axes) > 0:
            return tuple(self.axes)
        wanted = "at least one (parameter, axis)"
        remedy = 'pass for example (("W1", 1), ("b1", 0), ("W2", 0))'
        raise expected(f"axes of group {self.name!r}", wanted, described(self.axes), remedy)

    def _entry(self, given) -> Axis:
        """One entry of axes, checked."""
        if isinstance(given, Axis):
            given = given.plain
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            wanted = "entries (parameter, axis) or (parameter, axis, places)"
            remedy = 'pass for example (("W1", 1), ("b1", 0), ("W2", 0))'
            raise expected(f"axes of group {self.name!r}", wanted, described(given), remedy)
        try:
            entry = Axis(*given)
        except ValueError as error:
            raise ValueError(f"group {self.name!r}: {error}") from error
        if not entry.whole and len(entry.places) != self.size:
            wanted = f"places of {entry.param!r} as {self.size} rows"
            remedy = "list the indices that each unit owns"
            raise expected(f"group {self.name!r}", wanted, f"{len(entry.places)} rows", remedy)
        return entry
