"""The small data sets: shapes, scales, splits and bad input."""

import sys

import numpy as np
import pytest

from symvi import data

SPLIT = {
    "mcycle": (data.mcycle, 133, 1),
    "diabetes": (data.diabetes, 442, 10),
    "digits": (data.digits, 1797, 64),
}


@pytest.fixture(params=list(SPLIT))
def loader(request):
    return SPLIT[request.param]


def test_split_sizes_and_types(loader):
    load, num, width = loader
    d = load()
    assert len(d.x) + len(d.x_test) == num and len(d.x_test) == round(0.2 * num)
    assert (
        len(d.y) == len(d.x)
        and len(d.y_test) == len(d.x_test)
        and d.x.shape[1] == d.x_test.shape[1] == width
    )
    assert d.x.dtype == np.float64 and d.source and d.name == load.__name__
    assert d.x_loc.shape == d.x_scale.shape == (width,)
    assert all(np.isfinite(v).all() for v in d[1:9])


def test_seed_and_fraction_decide_the_split(loader):
    load, num, _ = loader
    a, b, c = load(), load(), load(test_fraction=0.5, seed=1)
    np.testing.assert_array_equal(a.x, b.x)
    assert len(c.x_test) == round(0.5 * num) and not np.array_equal(
        a.x_test[:5], load(seed=1).x_test[:5]
    )


def test_no_row_is_lost_or_shared(loader):
    load, *_ = loader
    rows = []
    for seed in (0, 1):
        d = load(seed=seed)
        x = np.concatenate([d.x, d.x_test]) * d.x_scale + d.x_loc
        y = np.concatenate([d.y, d.y_test]).reshape(len(x), -1) * d.y_scale + d.y_loc
        rows.append(np.round(np.concatenate([x, y], axis=1), 6))
    a, b = (r[np.lexsort(r.T)] for r in rows)
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("load", [data.mcycle, data.diabetes])
def test_regression_is_standardised_by_the_training_part(load):
    d = load()
    for part in (d.x, d.y):
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(part.std(0), 1)
    assert abs(d.x_test.mean()) > 1e-6 and d.y.shape == (len(d.x), 1)


def test_mcycle_in_its_own_units():
    d = data.mcycle()
    ms = np.concatenate([d.x, d.x_test]) * d.x_scale + d.x_loc
    g = np.concatenate([d.y, d.y_test]) * d.y_scale + d.y_loc
    assert (
        np.isclose(ms.min(), 2.4)
        and np.isclose(ms.max(), 57.6)
        and np.isclose(g.min(), -134)
        and np.isclose(g.max(), 75)
    )


def test_digits_are_images_with_labels():
    d = data.digits()
    assert (
        d.x.min() == 0
        and d.x.max() == 1
        and d.y.ndim == 1
        and d.y.dtype == np.int64
        and set(d.y) == set(range(10))
    )


def test_absolute_is_the_papers_toy_data():
    d = data.absolute(0.15, num=200, num_test=50, seed=3)
    assert d.x.shape == d.y.shape == (200, 1) and d.x_test.shape == d.y_test.shape == (50, 1)
    np.testing.assert_array_equal(d.y, 0.15 * np.abs(d.x))
    np.testing.assert_array_equal(d.y_test, 0.15 * np.abs(d.x_test))
    assert np.abs(d.x).max() <= 10 and np.abs(d.x).max() > 9 and abs(d.x.mean()) < 1.5
    assert not np.array_equal(d.x[:50], d.x_test)
    np.testing.assert_array_equal(
        d.x, data.absolute(0.05, num=200, num_test=50, seed=3).x
    )  # the slope does not move x


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, "0.2", True, None, float("nan")])
def test_bad_fractions(loader, fraction):
    message = r"test_fraction: expected a number between 0 and 1, got .*; pass for example"
    with pytest.raises(ValueError, match=message):
        loader[0](test_fraction=fraction)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_split_needs_rows_on_both_sides(fraction):
    message = r"at least one test row and two training rows of 133, got (0|133) test rows"
    with pytest.raises(ValueError, match=message):
        data.mcycle(test_fraction=fraction)


@pytest.mark.parametrize("seed", ["0", 1.0, None, True, -1])
def test_bad_seeds(seed):
    for load in (
        data.mcycle,
        data.diabetes,
        data.digits,
        lambda seed: data.absolute(0.1, seed=seed),
    ):
        with pytest.raises(
            ValueError, match=r"seed: expected an int >= 0, got .*; pass for example seed=0"
        ):
            load(seed=seed)


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), "a", True, None, np.ones(2)])
def test_bad_slopes(slope):
    with pytest.raises(
        ValueError, match=r"slope: expected a finite number, got .*; the paper uses"
    ):
        data.absolute(slope)


@pytest.mark.parametrize("sizes", [{"num": 0}, {"num": 1.5}, {"num_test": -1}])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match=r"num(_test)?: expected a whole number >= 1"):
        data.absolute(0.1, **sizes)


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_without_scikit_learn(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    message = (
        rf"symvi.data.{name} needs sklearn, which is not installed: pip install 'symvi\[data\]'"
    )
    with pytest.raises(ImportError, match=message):
        getattr(data, name)()
    assert len(data.mcycle().x) == 106  # comes with symvi


@pytest.mark.parametrize("seed", [np.int64(3), np.array(3)])
def test_numbers_of_numpy_are_good_seeds(seed):
    np.testing.assert_array_equal(data.mcycle(seed=seed).x, data.mcycle(seed=3).x)
    np.testing.assert_array_equal(data.absolute(0.1, seed=seed).x, data.absolute(0.1, seed=3).x)
