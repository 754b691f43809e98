"""Labels of entries: what they note, and what they keep apart."""

import numpy as np
import pytest

from symvi.torch_bridge.unit_labels import Labels


def group_of(labels):
    (group,) = labels.symmetry().groups
    return group


def test_entries_of_a_unit_that_cannot_be_told_apart_stay():
    labels = Labels()
    (cells,) = labels.weight("w", (4,))
    labels.tie(cells, cells[::-1])
    assert labels.symmetry().groups == ()
    assert labels.notes == [
        "2 units hold entries that cannot be told apart (as in x + flip(x)) and are left alone"
    ]


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1), (1, 4, 1)])
def test_a_buffer_with_one_long_axis_tells_its_entries_apart_by_value(shape):
    labels = Labels()
    (weight,) = labels.weight("w", (4,))
    axes = labels.data("m", np.array([1.0, 2.0, 1.0, 2.0]).reshape(shape))
    assert [len(cells) for cells in axes] == list(shape)
    labels.tie(weight, axes[shape.index(4)])
    sizes = [group.size for group in labels.symmetry().groups]
    assert sizes == [2, 2]
    assert labels.symmetry().groups[0].axes == (("w", 0, ((0,), (2,))),)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 4)])
def test_a_constant_buffer_keeps_nothing_apart(shape):
    labels = Labels()
    (weight,) = labels.weight("w", (4,))
    labels.tie(weight, labels.data("m", np.ones(shape))[shape.index(4)])
    assert group_of(labels).size == 4 and labels.notes == []


def test_a_buffer_of_different_values_over_two_long_axes_is_pinned():
    labels = Labels()
    (weight,) = labels.weight("w", (4,))
    labels.tie(weight, labels.data("m", np.eye(4))[0])
    assert labels.symmetry().groups == ()
    assert labels.notes == [
        "buffer 'm' is fixed data with 2 different values over shape (4, 4): "
        "it keeps units with different values apart"
    ]


def test_only_what_could_have_moved_is_noted_when_it_is_pinned():
    labels = Labels()
    (weight,) = labels.weight("w", (3,))
    labels.pin(labels.fresh(5, pinned=True), "a reason")
    labels.pin(labels.fresh(1), "a reason")
    assert labels.notes == []
    labels.pin(weight)
    assert labels.notes == []
    (other,) = labels.weight("v", (3,))
    labels.pin(other[:2], "a reason")
    labels.pin(other[:2], "a reason")  # they are pinned already
    assert labels.notes == ["a reason pins 2 entries"]
