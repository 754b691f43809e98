"""Whether an answer to an exercise is right, told without showing the right one.

The file answers.json beside this one holds, for each exercise, a fingerprint of the answer rounded
to its tolerance. The solution of each exercise is checked by the same function when the book is
built, so that the file cannot grow stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from symvi.checks import described, expected, positive_number
from symvi.files import write_text

ANSWERS = Path(__file__).with_name("answers.json")
PARTS = 4  # parts of a tolerance to which numbers are rounded before they are compared


class Verdict:
    """Whether an answer is right; shows itself in words.

    Attributes
    ----------
    right : bool
        Also the object's truth.
    message : str
    """

    def __init__(self, right: bool, message: str):
        self.right = right
        self.message = message

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.message


def check(exercise: str, answer) -> Verdict:
    """Say whether an answer to an exercise of the book is right.

    Parameters
    ----------
    exercise : str
        Its label, for example ``"ex-ch4-2"``.
    answer : float, array or function
        A number, an array of them, or a function of one argument, which is tried on the inputs that
        the exercise names. ``...``, also among others, and a function that returns nothing stand
        for an answer yet to be written.

    Returns
    -------
    Verdict
        True if every number is within the exercise's tolerance. A notebook shows it in words.

    Raises
    ------
    ValueError
        An exercise without a stored answer, or an answer of another kind or shape.
    """
    stored = _stored(ANSWERS)
    if exercise not in stored:
        raise expected("exercise", f"one of {', '.join(stored)}", repr(exercise), "check its label")
    if _is_blank(answer, stored[exercise].get("inputs")):
        remedy = "put your answer in place of ... and run this cell again."
        return Verdict(False, f"{exercise}: {remedy}")
    right = stored[exercise]
    numbers = _numbers(exercise, answer, right.get("inputs"))
    if len(numbers) != len(right["prints"]):
        wanted = f"{len(right['prints'])} number(s)"
        raise expected(exercise, wanted, f"{len(numbers)}", "read again what is asked for")
    wrong = _wrong(exercise, numbers, right)
    if not wrong:
        return Verdict(True, f"{exercise}: right, to within {right['tolerance']:g}.")
    if len(numbers) == 1:
        return Verdict(False, f"{exercise}: not yet.")
    count = f"{len(wrong)} of {len(numbers)} numbers are off"
    return Verdict(False, f"{exercise}: not yet; {count}.")


def store(
    exercise: str, answer, *, tolerance: float, inputs=None, path: Path | None = None
) -> None:
    """Keep the fingerprint of an answer, for :func:`check`. For whoever writes an exercise.

    Parameters
    ----------
    exercise : str
        Its label.
    answer : float, array or function
        The right one; a function with `inputs`.
    tolerance : float
        How far from it a number may be, absolute. Answers beyond 1.5 tolerances are never accepted.
    inputs : list, optional
        What a function is tried on, one argument each: numbers or nested lists of them.
    path : Path, optional
        The file; the one beside this module if not given.

    Raises
    ------
    ValueError
        A tolerance that is not positive, or an answer that is not made of finite numbers.
    """
    path = ANSWERS if path is None else path
    tolerance = positive_number("tolerance", tolerance)
    numbers = _numbers(exercise, answer, inputs)
    prints = [_print(exercise, place, _bucket(v, tolerance)) for place, v in enumerate(numbers)]
    stored = _stored(path) if path.exists() else {}
    stored[exercise] = {"tolerance": tolerance, "prints": prints}
    if inputs is not None:
        stored[exercise]["inputs"] = inputs
    write_text(path, json.dumps(dict(sorted(stored.items())), indent=1) + "\n")


def _is_blank(answer, inputs) -> bool:
    """Whether the answer is still to be written."""
    if isinstance(answer, (list, tuple)):
        return any(part is Ellipsis for part in answer)
    if callable(answer) and inputs is not None:
        return answer(np.asarray(inputs[0])) is None
    return answer is Ellipsis


def _stored(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _numbers(exercise: str, answer, inputs) -> list[float]:
    """The answer, or its values on the inputs, as one list."""
    if inputs is not None:
        if not callable(answer):
            raise expected(exercise, "a function", described(answer), "pass it without calling it")
        answer = np.concatenate([np.ravel(answer(np.asarray(given))) for given in inputs])
    try:
        numbers = np.ravel(np.asarray(answer, dtype=float))
    except (TypeError, ValueError):
        wanted = "a number or an array of numbers"
        raise expected(exercise, wanted, described(answer), "pass the number itself") from None
    if not np.isfinite(numbers).all():
        raise expected(exercise, "finite numbers", described(answer), "look for a NaN")
    return numbers.tolist()


def _wrong(exercise: str, numbers: list[float], right: dict) -> list[int]:
    """The places of the numbers that are off."""
    wrong = []
    for place, (number, stored) in enumerate(zip(numbers, right["prints"], strict=True)):
        middle = _bucket(number, right["tolerance"])
        reach = PARTS + 1  # two numbers a tolerance apart may be rounded one part further apart
        near = {_print(exercise, place, middle + step) for step in range(-reach, reach + 1)}
        if stored not in near:
            wrong.append(place)
    return wrong


def _bucket(number: float, tolerance: float) -> int:
    """The number in parts of the tolerance, rounded."""
    return round(PARTS * number / tolerance)


def _print(exercise: str, place: int, bucket: int) -> str:
    """A fingerprint that does not show the number."""
    return hashlib.sha256(f"{exercise}/{place}/{bucket}".encode()).hexdigest()[:16]
