"""Data sets: shapes, scales, splits, bad input, and the MNIST loader without a network."""

import gzip
import hashlib
import io
import os
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

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
    with pytest.raises(
        ValueError,
        match=r"test_fraction: expected a number between 0 and 1, got .*; pass for example 0.2",
    ):
        loader[0](test_fraction=fraction)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_split_needs_rows_on_both_sides(fraction):
    with pytest.raises(
        ValueError,
        match=r"test_fraction: expected at least one test row and two training rows of 133, got (0|133) test rows",
    ):
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


# MNIST, with four small files of our own in place of the real ones ------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Small IDX contents by name; their checksums are the expected ones, no place holds them, and the network is off."""
    generator = np.random.default_rng(0)
    contents = {}
    for name in data.MNIST_SHA256:
        num = 6 if name.startswith("train") else 3
        contents[name] = idx(
            generator.integers(
                0, 256 if "images" in name else 10, (num, 28, 28) if "images" in name else num
            ).astype(np.uint8)
        )
    monkeypatch.setattr(
        data, "MNIST_SHA256", {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    )
    monkeypatch.delenv("SYMVI_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []

    def no_network(url, timeout):
        calls.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(data, "urlopen", no_network)
    return contents, tmp_path, calls


def put(folder: Path, contents: dict, packed: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )


def check(d: data.Dataset, contents: dict) -> None:
    assert (
        d.x.shape == (6, 784)
        and d.x_test.shape == (3, 784)
        and d.x.dtype == np.float32
        and d.y.dtype == np.int64
    )
    pixels = np.frombuffer(contents["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(3, 784)
    np.testing.assert_allclose(d.x_test * d.x_scale + d.x_loc, pixels, atol=1e-4)
    assert d.y.tolist() == list(contents["train-labels-idx1-ubyte"][8:])


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_from_the_given_folder(small, monkeypatch, packed):
    contents, tmp_path, calls = small
    put(tmp_path / "given" / "mnist", contents, packed)
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path / "given"))
    check(data.mnist(), contents)
    check(data.mnist(download=True), contents)
    assert not calls and not (tmp_path / "cache").exists()


def test_mnist_from_the_cache_even_if_the_given_folder_is_empty(small, monkeypatch):
    contents, tmp_path, _ = small
    put(tmp_path / "cache" / "symvi" / "mnist", contents)
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path))
    check(data.mnist(), contents)


def test_mnist_cache_is_in_the_home_folder_by_default(small, monkeypatch):
    contents, tmp_path, _ = small
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / ".cache" / "symvi" / "mnist", contents)
    check(data.mnist(), contents)


def test_mnist_missing_names_both_places(small, monkeypatch):
    _, tmp_path, calls = small
    with pytest.raises(
        FileNotFoundError,
        match=r"none; put .*\$SYMVI_DATA/mnist \(SYMVI_DATA is not set\) or into the cache .*symvi/mnist, or call mnist\(download=True\)",
    ):
        data.mnist()
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path / "given"))
    with pytest.raises(
        FileNotFoundError,
        match=r"expected train-images-idx3-ubyte.gz in .*given/mnist or .*cache/symvi/mnist",
    ):
        data.mnist()
    assert not calls


def test_mnist_without_a_network_names_both_places(small):
    _, tmp_path, calls = small
    with pytest.raises(
        ConnectionError,
        match=r"expected to download https://.*no route to host.*SYMVI_DATA/mnist .*or into the cache .*symvi/mnist",
    ):
        data.mnist(download=True)
    assert len(calls) == 1 and not (tmp_path / "cache").exists()


def test_mnist_is_downloaded_once(small, monkeypatch):
    contents, tmp_path, _ = small
    calls = []

    def serve(url, timeout):
        calls.append(url)
        return io.BytesIO(
            gzip.compress(contents[url.removeprefix(data.MNIST_URL).removesuffix(".gz")])
        )

    monkeypatch.setattr(data, "urlopen", serve)
    check(data.mnist(download=True), contents)
    check(data.mnist(download=True), contents)
    check(data.mnist(), contents)
    assert len(calls) == 4
    assert sorted(p.name for p in (tmp_path / "cache" / "symvi" / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in contents
    )


class Broken(io.BytesIO):
    def read(self, *_):
        raise IncompleteRead(b"", 100)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (lambda packed: Broken(), ConnectionError, r"expected to download .*IncompleteRead"),
        (
            lambda packed: io.BytesIO(packed[:-30]),
            ValueError,
            r"expected a gzip file, https://.* is damaged",
        ),
        (
            lambda packed: io.BytesIO(b"<html>log in</html>"),
            ValueError,
            r"expected a gzip file, https://.* is damaged",
        ),
        (
            lambda packed: io.BytesIO(gzip.compress(b"other")),
            ValueError,
            r"expected https://.* with SHA-256 [0-9a-f]{64} .*got [0-9a-f]{64}",
        ),
    ],
)
def test_an_interrupted_or_wrong_download_leaves_nothing(
    small, monkeypatch, answer, error, message
):
    contents, tmp_path, _ = small
    monkeypatch.setattr(
        data,
        "urlopen",
        lambda url, timeout: answer(gzip.compress(contents["train-images-idx3-ubyte"])),
    )
    with pytest.raises(error, match=message):
        data.mnist(download=True)
    assert not list(tmp_path.rglob("*ubyte*"))


def test_a_full_disk_leaves_nothing(small, monkeypatch):
    contents, tmp_path, _ = small
    monkeypatch.setattr(
        data,
        "urlopen",
        lambda url, timeout: io.BytesIO(gzip.compress(contents["train-images-idx3-ubyte"])),
    )

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(data.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        data.mnist(download=True)
    assert not list(tmp_path.rglob("*ubyte*"))


def test_a_corrupt_file_names_itself_and_both_checksums(small):
    contents, tmp_path, _ = small
    folder = tmp_path / "cache" / "symvi" / "mnist"
    put(folder, contents)
    name = "t10k-labels-idx1-ubyte"
    wrong = contents[name][:-1] + b"\xff"
    (folder / f"{name}.gz").write_bytes(gzip.compress(wrong))
    expected, found = data.MNIST_SHA256[name], hashlib.sha256(wrong).hexdigest()
    with pytest.raises(
        ValueError, match=rf"{name}.gz to hold .*{expected}.*got {found}; fetch it again"
    ):
        data.mnist()
    (folder / f"{name}.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=rf"expected a gzip file, .*{name}.gz is damaged"):
        data.mnist()


@pytest.mark.skipif(
    "SYMVI_DATA" not in os.environ,
    reason="set SYMVI_DATA to the folder that holds mnist/ to test the real MNIST files",
)
def test_the_real_mnist():
    d = data.mnist()
    assert (
        d.x.shape == (60000, 784)
        and d.x_test.shape == (10000, 784)
        and d.y[:5].tolist() == [5, 0, 4, 1, 9]
    )
    assert (
        d.x.min() == 0
        and d.x.max() == 1
        and np.isclose(d.x.mean(dtype=float), 0.1306604, atol=1e-6)
    )
    assert np.bincount(d.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
