"""The symmetry group of a network: units that may be exchanged, and where their weights stand."""

from symvi.symmetry.axis import Axis
from symvi.symmetry.element import Element
from symvi.symmetry.exchange import swap
from symvi.symmetry.group import Symmetry
from symvi.symmetry.nested import Nested
from symvi.symmetry.spec import PermutationSpec, permutation_spec, universal_spec
from symvi.symmetry.units import UnitGroup

__all__ = [
    "Axis",
    "Element",
    "Nested",
    "PermutationSpec",
    "Symmetry",
    "UnitGroup",
    "permutation_spec",
    "swap",
    "universal_spec",
]
