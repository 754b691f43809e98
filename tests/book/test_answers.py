"""Answers to exercises: right ones pass, wrong ones do not, and the file shows neither."""

from __future__ import annotations

import json

import numpy as np
import pytest

from symvi.book import answers
from symvi.book.answers import check, store


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "answers.json"
    monkeypatch.setattr(answers, "ANSWERS", path)
    store("ex-number", 0.31415, tolerance=0.01, path=path)
    store("ex-many", [1.0, -2.0, 30.0], tolerance=0.1, path=path)
    store("ex-function", lambda w: w**2, tolerance=1e-3, inputs=[2.0, [1.0, 3.0]], path=path)
    return path


@pytest.mark.parametrize("answer", [0.31415, 0.3242, 0.3042, np.float32(0.314), np.array([0.31])])
def test_a_number_within_the_tolerance_is_right(answer):
    verdict = check("ex-number", answer)
    assert verdict
    assert repr(verdict) == "ex-number: right, to within 0.01."


@pytest.mark.parametrize("answer", [0.331, 0.297, -0.31415, 0, 1e9])
def test_a_number_beyond_one_and_a_half_tolerances_is_wrong(answer):
    verdict = check("ex-number", answer)
    assert not verdict
    assert repr(verdict) == "ex-number: not yet."


def test_numbers_are_told_apart_by_their_place():
    assert check("ex-many", [1.0, -2.0, 30.0])
    verdict = check("ex-many", [-2.0, 1.0, 30.0])
    assert not verdict
    assert "2 of 3 numbers are off" in repr(verdict)


def test_a_function_is_tried_on_the_inputs():
    assert check("ex-function", np.square)
    assert not check("ex-function", lambda w: 2 * w)


def nothing(w): ...


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("ex-number", ...),
        ("ex-many", [1.0, ..., 3.0]),
        ("ex-many", (...,)),
        ("ex-function", nothing),
    ],
)
def test_an_answer_yet_to_be_written(exercise, answer):
    verdict = check(exercise, answer)
    assert not verdict
    assert "put your answer in place of ..." in repr(verdict)


def test_the_file_does_not_show_the_answer(file):
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert set(kept["ex-number"]) == {"tolerance", "prints"}
    assert "0.31" not in file.read_text(encoding="utf-8")


def test_storing_keeps_the_others(file):
    store("ex-number", 5.0, tolerance=0.1, path=file)
    assert check("ex-number", 5.0)
    assert check("ex-many", [1.0, -2.0, 30.0])


@pytest.mark.parametrize(
    ("exercise", "answer", "message"),
    [
        (
            "ex-none",
            1.0,
            "exercise: expected one of ex-function, ex-many, ex-number, got 'ex-none'",
        ),
        ("ex-number", [1.0, 2.0], r"ex-number: expected 1 number\(s\), got 2"),
        ("ex-number", "0.3x", "ex-number: expected a number or an array"),
        ("ex-number", float("nan"), "ex-number: expected finite numbers"),
        ("ex-number", np.sum, "ex-number: expected a number or an array"),
        ("ex-function", 4.0, "ex-function: expected a function"),
    ],
)
def test_another_kind_of_answer_is_named(exercise, answer, message):
    with pytest.raises(ValueError, match=message):
        check(exercise, answer)


def test_a_tolerance_is_positive(file):
    with pytest.raises(ValueError, match="tolerance"):
        store("ex-number", 1.0, tolerance=0.0, path=file)


def test_the_books_answers_are_well_formed(monkeypatch):
    monkeypatch.undo()  # back to the file beside the module
    stored = json.loads(answers.ANSWERS.read_text(encoding="utf-8"))
    for name, kept in stored.items():
        assert name.startswith("ex-"), name
        assert kept["tolerance"] > 0 and kept["prints"]
