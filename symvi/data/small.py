"""The small data sets of the book, which come with symvi or with scikit-learn, or are made up."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from symvi.checks import as_scalar, described, expected, needs, positive_int
from symvi.data.record import Dataset, generator, images, regression, split


def mcycle(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Motorcycle accidents: head acceleration (g) against time after impact (ms), 133 rows.

    Silverman (1985).

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    """
    with files("symvi.data").joinpath("mcycle.csv").open(encoding="utf-8") as file:
        raw = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(1, 2))
    source = (
        "B. W. Silverman (1985), Journal of the Royal Statistical Society B 47:1-52; "
        "the file of R's package MASS"
    )
    return regression("mcycle", raw[:, :1], raw[:, 1:], test_fraction, seed, source)


def diabetes(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Diabetes progression after a year against ten measurements, 442 patients.

    Efron et al. (2004); the file of scikit-learn, which has to be installed.

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    ImportError
        scikit-learn is missing: ``pip install 'symvi[data]'``.
    """
    raw = needs("sklearn.datasets", "data", "symvi.data.diabetes").load_diabetes(scaled=False)
    source = (
        "B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), "
        "Annals of Statistics 32:407-499; scikit-learn"
    )
    return regression("diabetes", raw.data, raw.target[:, None], test_fraction, seed, source)


def digits(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Handwritten digits, 1797 images of 8 x 8 pixels scaled to [0, 1]; y holds the labels 0 to 9.

    Alpaydin and Kaynak (1998); the file of scikit-learn, which has to be installed.

    Raises
    ------
    ValueError
        test_fraction outside (0, 1), or a seed that is no int >= 0.
    ImportError
        scikit-learn is missing: ``pip install 'symvi[data]'``.
    """
    raw = needs("sklearn.datasets", "data", "symvi.data.digits").load_digits()
    train, test = split(len(raw.data), test_fraction, seed)
    x, y = raw.data / 16.0, raw.target.astype(np.int64)
    source = (
        "E. Alpaydin and C. Kaynak (1998), Optical recognition of handwritten digits, "
        "UCI repository; scikit-learn"
    )
    return images("digits", x[train], y[train], x[test], y[test], 16.0, source)


def absolute(slope: float, num: int = 100, num_test: int = 100, seed: int = 0) -> Dataset:
    """The toy data of Gelberg et al. (2024): y = slope |x| without noise, x uniform on [-10, 10].

    Not standardised.

    Raises
    ------
    ValueError
        A slope that is not finite, num or num_test < 1, or a seed that is no int >= 0.
    """
    number = as_scalar(slope)
    if number is None or not np.isfinite(number):
        remedy = "the paper uses 0.05, 0.1, 0.15 and 0.2"
        raise expected("slope", "a finite number", described(slope), remedy)
    num, num_test = positive_int("num", num), positive_int("num_test", num_test)
    numbers = generator(seed)
    x = numbers.uniform(-10, 10, (num, 1))
    x_test = numbers.uniform(-10, 10, (num_test, 1))
    return Dataset(
        name="absolute",
        x=x,
        y=number * np.abs(x),
        x_test=x_test,
        y_test=number * np.abs(x_test),
        x_loc=np.zeros(1),
        x_scale=np.ones(1),
        y_loc=np.zeros(1),
        y_scale=np.ones(1),
        source=(
            "made up as by Y. Gelberg, T. van der Ouderaa, M. van der Wilk and Y. Gal (2024) "
            "for the two-weight network"
        ),
    )
