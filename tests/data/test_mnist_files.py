"""MNIST: found, downloaded, checked and replaced, with small files of our own and no network."""

import gzip
import hashlib
import io
import os
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from symvi import data, files
from symvi.data import mnist_files


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Small IDX contents by name, whose checksums are the expected ones.

    No place holds them, and the network is off.
    """
    generator = np.random.default_rng(0)
    contents = {}
    for name in mnist_files.MNIST_SHA256:
        num = 6 if name.startswith("train") else 3
        contents[name] = idx(
            generator.integers(
                0, 256 if "images" in name else 10, (num, 28, 28) if "images" in name else num
            ).astype(np.uint8)
        )
    monkeypatch.setattr(
        mnist_files,
        "MNIST_SHA256",
        {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()},
    )
    monkeypatch.delenv("SYMVI_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []

    def no_network(url, timeout):
        calls.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(mnist_files, "urlopen", no_network)
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
    message = (
        r"none; put .*\$SYMVI_DATA/mnist \(SYMVI_DATA is not set\) "
        r"or into the cache .*symvi/mnist, or call mnist\(download=True\)"
    )
    with pytest.raises(FileNotFoundError, match=message):
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
    message = (
        r"expected to download https://.*no route to host.*"
        r"SYMVI_DATA/mnist .*or into the cache .*symvi/mnist"
    )
    with pytest.raises(ConnectionError, match=message):
        data.mnist(download=True)
    assert len(calls) == 1 and not (tmp_path / "cache").exists()


def test_mnist_is_downloaded_once(small, monkeypatch):
    contents, tmp_path, calls = small
    monkeypatch.setattr(mnist_files, "urlopen", serve(contents, calls))
    for download in (True, True, False):
        check(data.mnist(download=download), contents)
    assert sorted(calls) == sorted(contents)
    found = sorted(p.name for p in (tmp_path / "cache" / "symvi" / "mnist").iterdir())
    assert found == sorted(f"{name}.gz" for name in contents)


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
            r"expected a gzip file, got a damaged one at https://.*; fetch it again",
        ),
        (
            lambda packed: io.BytesIO(b"<html>log in</html>"),
            ValueError,
            r"expected a gzip file, got a damaged one at https://.*; fetch it again",
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
        mnist_files,
        "urlopen",
        lambda url, timeout: answer(gzip.compress(contents["train-images-idx3-ubyte"])),
    )
    with pytest.raises(error, match=message):
        data.mnist(download=True)
    assert not list(tmp_path.rglob("*ubyte*"))


def test_a_full_disk_leaves_nothing(small, monkeypatch):
    contents, tmp_path, _ = small
    monkeypatch.setattr(
        mnist_files,
        "urlopen",
        lambda url, timeout: io.BytesIO(gzip.compress(contents["train-images-idx3-ubyte"])),
    )

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        data.mnist(download=True)
    assert not list(tmp_path.rglob("*ubyte*"))


LABELS = "t10k-labels-idx1-ubyte"


def damaged(contents: dict, how: str) -> bytes:
    """One file of MNIST with a wrong label, cut short, or replaced by a page to log in."""
    wrong = gzip.compress(contents[LABELS][:-1] + b"\xff")
    return {"changed": wrong, "cut": wrong[:-9], "a page": b"<html>log in</html>"}[how]


def serve(contents: dict, calls: list):
    """An answer to each request, with a note of what was asked for."""

    def answer(url, timeout):
        name = url.removeprefix(mnist_files.MNIST_URL).removesuffix(".gz")
        calls.append(name)
        return io.BytesIO(gzip.compress(contents[name]))

    return answer


HOW = ["changed", "cut", "a page"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_cached_file_is_replaced(small, monkeypatch, how):
    """Its advice, to download again, once repeated for ever."""
    contents, tmp_path, calls = small
    folder = tmp_path / "cache" / "symvi" / "mnist"
    put(folder, contents)
    (folder / f"{LABELS}.gz").write_bytes(damaged(contents, how))
    with pytest.raises(ValueError, match=rf"{LABELS}.*call mnist\(download=True\), which replaces"):
        data.mnist()
    with pytest.raises(ConnectionError, match="no route to host"):
        data.mnist(download=True)
    assert (folder / f"{LABELS}.gz").read_bytes() == damaged(contents, how)
    calls.clear()
    monkeypatch.setattr(mnist_files, "urlopen", serve(contents, calls))
    check(data.mnist(download=True), contents)
    assert calls == [LABELS]
    check(data.mnist(), contents)


def test_a_damaged_unpacked_file_of_the_cache_is_replaced(small, monkeypatch):
    contents, tmp_path, calls = small
    folder = tmp_path / "cache" / "symvi" / "mnist"
    put(folder, contents, packed=False)
    (folder / LABELS).write_bytes(b"other")
    monkeypatch.setattr(mnist_files, "urlopen", serve(contents, calls))
    check(data.mnist(download=True), contents)
    assert calls == [LABELS]
    assert not (folder / LABELS).exists()


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_file_of_the_readers_own_is_left_alone(small, monkeypatch, how):
    contents, tmp_path, calls = small
    folder = tmp_path / "given" / "mnist"
    put(folder, contents)
    monkeypatch.setenv("SYMVI_DATA", str(tmp_path / "given"))
    (folder / f"{LABELS}.gz").write_bytes(damaged(contents, how))
    for download in (False, True):
        with pytest.raises(ValueError, match=rf"given/mnist/{LABELS}.gz.*fetch it again"):
            data.mnist(download=download)
    assert calls == []


def test_a_corrupt_file_names_both_checksums(small):
    contents, tmp_path, _ = small
    folder = tmp_path / "cache" / "symvi" / "mnist"
    put(folder, contents)
    wrong = contents[LABELS][:-1] + b"\xff"
    (folder / f"{LABELS}.gz").write_bytes(gzip.compress(wrong))
    expected = mnist_files.MNIST_SHA256[LABELS]
    found = hashlib.sha256(wrong).hexdigest()
    with pytest.raises(ValueError, match=rf"{LABELS}.gz to hold .*{expected}.*got {found}"):
        data.mnist()


def test_a_downloaded_file_has_the_permissions_of_any_new_file(small, monkeypatch):
    contents, tmp_path, calls = small
    monkeypatch.setattr(mnist_files, "urlopen", serve(contents, calls))
    data.mnist(download=True)
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.gz")}
    assert modes == {(tmp_path / "new").stat().st_mode & 0o777}


@pytest.mark.parametrize("download", ["yes", 1, None])
def test_download_is_true_or_false(download):
    with pytest.raises(ValueError, match="download: expected True or False, got"):
        data.mnist(download=download)


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
