"""Random elements that verify a group: joined on each axis, they do what groups do one by one."""

from __future__ import annotations

import numpy as np
import pytest

import symvi
from symvi.tracing.verify import KINDS, moved, permutation, signs_of, verify

RNG = np.random.default_rng(0)
SHARED = symvi.UnitGroup("shared", 4, (("w", 0), ("w", 1), ("b", 0)))
WITHIN = [
    symvi.UnitGroup(
        f"head {i}", 2, (("q", 1, ((3 * i,), (3 * i + 1,))), ("o", 0, ((2 * i,), (2 * i + 1,))))
    )
    for i in range(3)
]
HEADS = symvi.UnitGroup(
    "heads",
    3,
    (
        ("q", 1, tuple(tuple(range(3 * i, 3 * i + 3)) for i in range(3))),
        ("o", 0, tuple((2 * i, 2 * i + 1) for i in range(3))),
    ),
)
NESTED = symvi.symmetry.Nested(
    symvi.Symmetry(tuple(WITHIN)),
    symvi.Symmetry((HEADS,)),
    {"heads": [[group.name for group in WITHIN]]},
)
SHAPES = {"w": (4, 4, 2), "b": (4,), "q": (5, 9), "o": (6, 2)}


def one_by_one(symmetry, weights: dict, rng, kind: str) -> dict:
    """The same element, an array copied for each group that moves it."""
    out = dict(weights)
    for group in symmetry.groups:
        order = permutation(group.size, rng, kind)
        flips = symmetry.flips(group.name)
        signs = signs_of(group.size, rng, kind) if flips else np.ones(group.size)
        for axis in group.entries:
            value = np.moveaxis(out[axis.param].copy(), axis.axis, 0)
            places = axis.indices(group.size)
            stretched = signs.reshape(-1, *[1] * value.ndim)
            value[places] = value[places[order]] * stretched
            out[axis.param] = np.moveaxis(value, 0, axis.axis)
    return out


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize(
    "symmetry",
    [
        symvi.Symmetry((SHARED, *WITHIN)),
        symvi.Symmetry((SHARED, *WITHIN), signed=True),
        symvi.Symmetry((SHARED, *WITHIN), signed=("head 1",)),
        NESTED,
    ],
    ids=["product", "signed", "one signed", "nested"],
)
def test_an_element_is_that_of_groups_one_after_another(symmetry, kind):
    weights = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
    before = {name: value.copy() for name, value in weights.items()}
    for seed in range(5):
        found = moved(symmetry, weights, np.random.default_rng(seed), kind)
        wanted = one_by_one(symmetry, weights, np.random.default_rng(seed), kind)
        for name in SHAPES:
            assert np.array_equal(found[name], wanted[name])
            assert np.array_equal(weights[name], before[name])


def test_a_single_unit_that_must_keep_its_sign_is_found():
    """The function is even in the sign of all units at once, but not of each."""
    signed = symvi.Symmetry((symvi.UnitGroup("a", 3, (("w", 0),)),), signed=True)
    weights = {"w": np.array([1.0, 2.0, 3.0])}
    for kind in KINDS:
        changed = moved(signed, weights, np.random.default_rng(1), kind)["w"]
        assert sorted(np.abs(changed)) == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="verify: expected outputs unchanged"):
        verify(signed, lambda w: np.array([w["w"].sum() ** 2]), weights)


def test_which_signs_change():
    rng = np.random.default_rng(0)
    assert signs_of(4, rng, "cycle").tolist() == [-1.0] * 4
    assert sorted(signs_of(4, rng, "exchange")) == [-1.0, 1.0, 1.0, 1.0]
    assert {tuple(signs_of(2, rng, "uniform")) for _ in range(50)} == {
        (1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0),
    }  # fmt: skip
