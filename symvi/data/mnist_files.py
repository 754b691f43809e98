"""MNIST: found, or downloaded once, and checked before use."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from symvi.checks import expected, flag
from symvi.data.record import Dataset, images
from symvi.files import whole_file

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TIMEOUT = 60  # seconds without an answer from the server
SOURCE = "Y. LeCun, C. Cortes and C. Burges (1998), The MNIST database of handwritten digits"


def mnist(*, download: bool = False) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images, x float32 ``(N, 784)`` in [0, 1], y labels.

    LeCun et al. (1998). The four IDX files (as they are or gzipped) are looked for in
    ``$SYMVI_DATA/mnist`` and in the reader's cache, ``$XDG_CACHE_HOME/symvi/mnist`` or
    ``~/.cache/symvi/mnist``. With ``download=True`` a file that is in neither place, or that is
    damaged in the cache, is downloaded into the cache. Contents are checked by SHA-256.

    Raises
    ------
    FileNotFoundError
        A file is missing and `download` is False.
    ConnectionError
        The download failed; nothing is left behind.
    ValueError
        A file is damaged: in the cache with `download` False, in ``$SYMVI_DATA``, or as downloaded.
    """
    download = flag("download", download)
    parts = {name: _array(_content(name, download)) for name in MNIST_SHA256}
    return images(
        "mnist",
        _rows(parts["train-images-idx3-ubyte"]),
        parts["train-labels-idx1-ubyte"].astype(np.int64),
        _rows(parts["t10k-images-idx3-ubyte"]),
        parts["t10k-labels-idx1-ubyte"].astype(np.int64),
        255.0,
        SOURCE,
    )


def _rows(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1, 784).astype(np.float32) / 255


def _array(content: bytes) -> np.ndarray:
    """The array of an IDX file of bytes: magic number 0 0 8 ndim, ndim big-endian sizes, data."""
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _content(name: str, download: bool) -> bytes:
    """The uncompressed file `name`, checked; downloaded if that is asked for and needed."""
    found = _found(name)
    if found is None:
        if not download:
            raise _missing(name)
        return _downloaded(name)
    try:
        return _read(name, found)
    except ValueError:
        if not download or found.parent != _places()[-1]:  # only the cache is ours to replace
            raise
        return _downloaded(name)


def _places() -> list[Path]:
    """The folders searched for MNIST; the last one is the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "symvi"
    given = os.environ.get("SYMVI_DATA")
    folders = [Path(given), cache] if given else [cache]
    return [folder / "mnist" for folder in folders]


def _found(name: str) -> Path | None:
    candidates = [place / f"{name}{ending}" for place in _places() for ending in (".gz", "")]
    return next((path for path in candidates if path.is_file()), None)


def _remedy(name: str) -> str:
    given = os.environ.get("SYMVI_DATA") or "not set"
    return (
        f"put {name}.gz into the folder $SYMVI_DATA/mnist (SYMVI_DATA is {given}) "
        f"or into the cache {_places()[-1]}"
    )


def _missing(name: str) -> FileNotFoundError:
    places = " or ".join(map(str, _places()))
    return FileNotFoundError(
        f"MNIST: expected {name}.gz in {places}, found none; "
        f"{_remedy(name)}, or call mnist(download=True)"
    )


def _downloaded(name: str) -> bytes:
    """Fetch one file into the cache: checked first, and put in place in one step."""
    url = f"{MNIST_URL}{name}.gz"
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            packed = answer.read()
    # URLError, HTTPError and time-outs are OSErrors; IncompleteRead is not
    except (OSError, HTTPException) as error:
        raise ConnectionError(
            f"MNIST: expected to download {url}, got {error}; check the network, or {_remedy(name)}"
        ) from error
    content = _unpacked(packed, url)
    _check(name, url, content)
    cache = _places()[-1]
    with whole_file(cache / f"{name}.gz") as partial:
        partial.write_bytes(packed)
    (cache / name).unlink(missing_ok=True)  # an unpacked one, if there, was damaged
    return content


def _read(name: str, path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = _unpacked(content, path)
    _check(name, path, content)
    return content


def _unpacked(packed: bytes, where) -> bytes:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        got = f"a damaged one at {where} ({error})"
        raise expected("MNIST", "a gzip file", got, _again(where)) from error


def _check(name: str, where, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != MNIST_SHA256[name]:
        wanted = f"{where} to hold {name} with SHA-256 {MNIST_SHA256[name]} (uncompressed)"
        raise expected("MNIST", wanted, found, _again(where))


def _again(where) -> str:
    """What helps: a damaged file of the cache is replaced, others are the reader's."""
    if isinstance(where, Path) and where.parent == _places()[-1]:
        return "call mnist(download=True), which replaces it"
    return "fetch it again"
