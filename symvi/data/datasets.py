"""The data sets of the book, split into a training and a test part and standardised by the training part."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np

from symvi.checks import needs, positive_int

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TIMEOUT = 60  # seconds without an answer from the server


class Dataset(NamedTuple):
    """Inputs and targets, with what it takes to get back to the original units: raw = standardised * scale + loc.

    Attributes
    ----------
    name : str
    x, y : arrays ``(N, d_in)`` and ``(N, d_out)`` (regression) or ``(N,)`` int (classification)
        The training part.
    x_test, y_test : arrays
        The test part, same scale.
    x_loc, x_scale, y_loc, y_scale : arrays ``(d,)``
        ``x = (raw - x_loc) / x_scale`` and the same for y; 0 and 1 where nothing was rescaled.
    source : str
        Where the data come from.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_loc: np.ndarray
    x_scale: np.ndarray
    y_loc: np.ndarray
    y_scale: np.ndarray
    source: str


def _generator(seed) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: expected an int >= 0, got {seed!r}; pass for example seed=0")
    return np.random.default_rng(int(seed))


def _split(num: int, test_fraction, seed) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training and of the test part, each in ascending order."""
    generator = _generator(seed)
    if (
        isinstance(test_fraction, bool)
        or not isinstance(test_fraction, (int, float))
        or not 0 < test_fraction < 1
    ):
        raise ValueError(
            f"test_fraction: expected a number between 0 and 1, got {test_fraction!r}; pass for example 0.2"
        )
    num_test = round(test_fraction * num)
    if not 1 <= num_test <= num - 2:
        raise ValueError(
            f"test_fraction: expected at least one test row and two training rows of {num}, got {num_test} test rows; pass for example 0.2"
        )
    order = generator.permutation(num)
    return np.sort(order[num_test:]), np.sort(order[:num_test])


def _regression(name, x, y, test_fraction, seed, source) -> Dataset:
    train, test = _split(len(x), test_fraction, seed)
    x_loc, x_scale, y_loc, y_scale = (
        x[train].mean(0),
        x[train].std(0),
        y[train].mean(0),
        y[train].std(0),
    )
    x, y = (x - x_loc) / x_scale, (y - y_loc) / y_scale
    return Dataset(
        name, x[train], y[train], x[test], y[test], x_loc, x_scale, y_loc, y_scale, source
    )


def mcycle(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Motorcycle accidents: head acceleration (g) against time after impact (ms), 133 rows (Silverman 1985).

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    """
    with files("symvi.data").joinpath("mcycle.csv").open(encoding="utf-8") as file:
        raw = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(1, 2))
    source = "B. W. Silverman (1985), Journal of the Royal Statistical Society B 47:1-52; the file of R's package MASS"
    return _regression("mcycle", raw[:, :1], raw[:, 1:], test_fraction, seed, source)


def diabetes(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Diabetes progression after a year against ten measurements, 442 patients (Efron et al. 2004).

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    """
    raw = needs("sklearn.datasets", "data", "symvi.data.diabetes").load_diabetes(scaled=False)
    source = "B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), Annals of Statistics 32:407-499; scikit-learn"
    return _regression("diabetes", raw.data, raw.target[:, None], test_fraction, seed, source)


def _labelled(name, x, y, x_test, y_test, x_scale, source) -> Dataset:
    zero, one = np.zeros(1), np.ones(1)
    return Dataset(
        name,
        x,
        y,
        x_test,
        y_test,
        np.zeros(x.shape[1]),
        np.full(x.shape[1], float(x_scale)),
        zero,
        one,
        source,
    )


def digits(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Handwritten digits, 1797 images of 8 x 8 pixels scaled to [0, 1]; y holds the labels 0 to 9 (scikit-learn).

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    """
    raw = needs("sklearn.datasets", "data", "symvi.data.digits").load_digits()
    train, test = _split(len(raw.data), test_fraction, seed)
    x, y = raw.data / 16.0, raw.target.astype(np.int64)
    source = "E. Alpaydin and C. Kaynak (1998), Optical recognition of handwritten digits, UCI repository; scikit-learn"
    return _labelled("digits", x[train], y[train], x[test], y[test], 16.0, source)


def absolute(slope: float, num: int = 100, num_test: int = 100, seed: int = 0) -> Dataset:
    """The toy data of Gelberg et al. (2024): y = slope |x| without noise, x uniform on [-10, 10]; not standardised.

    Raises
    ------
    ValueError
        A slope that is not finite, num or num_test < 1, or a seed that is no int >= 0.
    """
    if (
        isinstance(slope, bool)
        or not isinstance(slope, (int, float, np.number))
        or not np.isfinite(slope)
    ):
        raise ValueError(
            f"slope: expected a finite number, got {slope!r}; the paper uses 0.05, 0.1, 0.15 and 0.2"
        )
    num, num_test = positive_int("num", num), positive_int("num_test", num_test)
    generator = _generator(seed)
    x, x_test = generator.uniform(-10, 10, (num, 1)), generator.uniform(-10, 10, (num_test, 1))
    zero, one = np.zeros(1), np.ones(1)
    source = "made up as by Y. Gelberg, T. van der Ouderaa, M. van der Wilk and Y. Gal (2024) for the two-weight network"
    return Dataset(
        "absolute",
        x,
        slope * np.abs(x),
        x_test,
        slope * np.abs(x_test),
        zero,
        one,
        zero,
        one,
        source,
    )


def mnist(*, download: bool = False) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images, x float32 ``(N, 784)`` in [0, 1], y the labels 0 to 9 (LeCun et al. 1998).

    The four IDX files (as they are or gzipped) are looked for in ``$SYMVI_DATA/mnist`` and in the reader's cache,
    ``$XDG_CACHE_HOME/symvi/mnist`` or ``~/.cache/symvi/mnist``. With ``download=True`` a file that is in neither place is
    downloaded once into the cache. Contents are checked by SHA-256.

    Raises
    ------
    FileNotFoundError
        A file is missing and `download` is False.
    ConnectionError
        The download failed; nothing is left behind.
    ValueError
        A file is corrupt.
    """
    parts = {name: _idx(name, _locate(name, download)) for name in MNIST_SHA256}
    images = [
        parts[name].reshape(-1, 784).astype(np.float32) / 255 for name in parts if "images" in name
    ]
    labels = [parts[name].astype(np.int64) for name in parts if "labels" in name]
    return _labelled(
        "mnist",
        images[0],
        labels[0],
        images[1],
        labels[1],
        255.0,
        "Y. LeCun, C. Cortes and C. Burges (1998), The MNIST database of handwritten digits",
    )


def _places() -> list[Path]:
    """The folders searched for MNIST; the last one is the cache."""
    given = os.environ.get("SYMVI_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "symvi"
    return [Path(place) / "mnist" for place in ([given] if given else []) + [cache]]


def _locate(name: str, download: bool) -> Path:
    """The path of the file `name`, downloaded if it is asked for and needed."""
    places = _places()
    for path in (place / f"{name}{ending}" for place in places for ending in (".gz", "")):
        if path.is_file():
            return path
    remedy = f"put {name}.gz into the folder $SYMVI_DATA/mnist (SYMVI_DATA is {os.environ.get('SYMVI_DATA') or 'not set'}) or into the cache {places[-1]}"
    if not download:
        raise FileNotFoundError(
            f"MNIST: expected {name}.gz in {' or '.join(map(str, places))}, found none; {remedy}, or call mnist(download=True)"
        )
    return _download(name, places[-1], remedy)


def _download(name: str, cache: Path, remedy: str) -> Path:
    """Fetch one file into the cache: checked first, and put in place in one step."""
    url = f"{MNIST_URL}{name}.gz"
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            packed = answer.read()
    except (
        OSError,
        HTTPException,
    ) as error:  # URLError, HTTPError and time-outs are OSErrors; IncompleteRead is not
        raise ConnectionError(
            f"MNIST: expected to download {url}, got {error}; check the network, or {remedy}"
        ) from error
    _check(name, url, _unpack(packed, url))
    cache.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=cache, prefix=f".{name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
        os.replace(partial, cache / f"{name}.gz")
    except BaseException:
        os.unlink(partial)
        raise
    return cache / f"{name}.gz"


def _unpack(packed: bytes, where) -> bytes:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"MNIST: expected a gzip file, {where} is damaged ({error}); fetch it again"
        ) from error


def _check(name: str, where, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != MNIST_SHA256[name]:
        raise ValueError(
            f"MNIST: expected {where} to hold {name} with SHA-256 {MNIST_SHA256[name]} (uncompressed), got {found}; fetch it again"
        )


def _idx(name: str, path: Path) -> np.ndarray:
    """The array in an IDX file of bytes: magic number 0 0 8 ndim, then ndim big-endian sizes, then the data."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = _unpack(content, path)
    _check(name, path, content)
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)
