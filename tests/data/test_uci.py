"""UCI's regression sets: shapes, the standard splits, checked contents and bad input."""

from pathlib import Path

import numpy as np
import pytest

import symvi.data.uci_regression as sets
from symvi import data

SIZES = {
    "yacht": (308, 6, 31),
    "energy": (768, 8, 77),
    "concrete": (1030, 8, 103),
    "wine-quality-red": (1599, 11, 160),
}


@pytest.fixture(params=list(SIZES))
def name(request):
    return request.param


def raw(d):
    """Both parts in their own units, rows in order."""
    x = np.concatenate([d.x, d.x_test]) * d.x_scale + d.x_loc
    y = np.concatenate([d.y, d.y_test]) * d.y_scale + d.y_loc
    rows = np.round(np.hstack([x, y]), 6)
    return rows[np.lexsort(rows.T)]


def test_sizes_and_standardisation(name):
    num, width, num_test = SIZES[name]
    d = data.uci(name)
    assert d.x.shape == (num - num_test, width) and d.y.shape == (num - num_test, 1)
    assert d.x_test.shape == (num_test, width) and d.y_test.shape == (num_test, 1)
    assert d.name == name and d.source == sets.SETS[name].citation
    for part in (d.x, d.y):
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(part.std(0), 1)


def test_no_row_is_lost_by_a_split(name):
    folder = Path(sets.__file__).parent / "uci_tables" / name
    table = np.round(np.loadtxt(folder / "data.txt"), 6)
    table = table[np.lexsort(table.T)]
    for split in (0, 7, 19):
        np.testing.assert_allclose(raw(data.uci(name, split)), table, atol=2e-6)


def test_the_test_part_is_that_of_the_standard_split():
    folder = Path(sets.__file__).parent / "uci_tables" / "yacht"
    lines = (folder / "test_rows.txt").read_text(encoding="utf-8")
    table = np.loadtxt(folder / "data.txt")
    for split in range(20):
        d = data.uci("yacht", split)
        rows = sorted(int(row) for row in lines.splitlines()[split].split())
        np.testing.assert_allclose(d.x_test * d.x_scale + d.x_loc, table[rows, :6], atol=1e-12)
        np.testing.assert_allclose(d.y_test * d.y_scale + d.y_loc, table[rows, 6:], atol=1e-12)


def test_known_values():
    """The first row of the yacht file, the largest resistance, and the grades of wines."""
    everything = raw(data.uci("yacht"))
    assert any(np.allclose(row, [-2.3, 0.568, 4.78, 3.99, 3.17, 0.125, 0.11]) for row in everything)
    assert everything[:, -1].max() == pytest.approx(62.42)
    wine = data.uci("wine-quality-red")
    grades = np.concatenate([wine.y, wine.y_test]) * wine.y_scale + wine.y_loc
    assert set(np.round(grades.ravel(), 9)) == {3, 4, 5, 6, 7, 8}


def test_large_sets_come_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SYMVI_DATA", raising=False)
    message = r"power-plant.*SYMVI_DATA is not set\); put them there, or take one .*yacht"
    with pytest.raises(FileNotFoundError, match=message):
        data.uci("power-plant")
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"expected data\.txt and test_rows\.txt"):
        data.uci("kin8nm")
    folder = tmp_path / "uci" / "kin8nm"
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"expected data\.txt and test_rows\.txt"):
        data.uci("kin8nm")


def test_a_damaged_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path))
    folder = tmp_path / "uci" / "kin8nm"
    folder.mkdir(parents=True)
    for part in ("data.txt", "test_rows.txt"):
        (folder / part).write_text("1 2 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"data\.txt to have SHA-256 .*; fetch the file again"):
        data.uci("kin8nm")


@pytest.mark.parametrize("split", [-1, 20, 1.5, "0", None, True, np.zeros(2)])
def test_bad_splits(split):
    with pytest.raises(ValueError, match=r"split: expected an int from 0 to 19, got .*; there are"):
        data.uci("yacht", split)


@pytest.mark.parametrize("name", ["boston", "Yacht", None, 3, ["yacht"], np.zeros(2)])
def test_bad_names(name):
    with pytest.raises(ValueError, match=r"name: expected .*yacht.*, got"):
        data.uci(name)


def test_numpy_integers_are_splits():
    np.testing.assert_array_equal(data.uci("yacht", np.int64(3)).x, data.uci("yacht", 3).x)
