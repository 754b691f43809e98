"""Counts in words."""

import numpy as np
import pytest

from symvi.book import words


@pytest.mark.parametrize(
    ("count", "text"), [(0, "none"), (1, "one"), (12, "twelve"), (13, "13"), (5600, "5,600")]
)
def test_numbers(count, text):
    assert words.number(count) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (5, 5, "all five"),
        (np.int64(3), 5, "three of the five"),
        (0, 5, "none of the five"),
        (2, 2, "both"),
        (1, 2, "one of the two"),
        (14, 39, "14 of the 39"),
        (39, 39, "all 39"),
    ],
)
def test_shares(part, whole, text):
    assert words.share(part, whole) == text


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: words.number(-1), "count: expected a whole number >= 0, got -1"),
        (lambda: words.number(1.5), "count: expected a whole number >= 0, got 1.5"),
        (lambda: words.share(1, 1), "whole: expected a whole number >= 2, got 1"),
        (lambda: words.share(6, 5), "part: expected at most the whole, 5, got 6; pass the part"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
