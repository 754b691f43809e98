"""The one table of methods: what their strings stand for wherever a method is taken."""

from __future__ import annotations

from dataclasses import fields

from symvi.checks import expected, one_of, positive_int
from symvi.information.bethe import Bethe
from symvi.information.exact import Exact
from symvi.information.guided import Guided
from symvi.information.infonce import InfoNCE
from symvi.information.method import Method, Plain
from symvi.information.own import check_own, check_values
from symvi.information.pairwise import Pairwise
from symvi.information.subadditive import Subadditive
from symvi.information.tightest import Tightest
from symvi.posteriors.mean_field import MeanField

METHODS = {
    "exact": Exact,
    "infonce": InfoNCE,
    "guided": Guided,
    "pairwise": Pairwise,
    "subadditive": Subadditive,
    "tightest": Tightest,
    "bethe": Bethe,
}


def as_method(
    value, argument: str, num_permutations: int | None = None, *, optional: bool = True
) -> Method:
    """The method that the user's `argument` names.

    Parameters
    ----------
    value : None, str or Method
        None: :class:`Plain`. A string of the table: the method with its default settings. An
        object: itself.
    argument : str
        The argument's name, for errors.
    num_permutations : int, optional
        K of a string's method where it has one; None for its default.
    optional : bool
        Whether None is an answer.

    Raises
    ------
    ValueError
        For an unknown method, K < 1, and K beside an object, which has its own settings; for an
        object of one's own that is no value, or does not say what it is
        (``symvi.information.own`` says what is asked).
    """
    if num_permutations is not None:
        num_permutations = positive_int("num_permutations", num_permutations)
    if isinstance(value, Method):
        if not _is_ours(value):
            check_own(value, argument, tuple(METHODS))
        return _with_its_own_settings(value, num_permutations)
    if isinstance(value, type) and issubclass(value, Method):
        got = f"the class {value.__name__}"
        raise expected(argument, "a method", got, f"write {argument}={value.__name__}()")
    names = (None, *METHODS) if optional else tuple(METHODS)
    one_of(argument, value, names, "choose one of these or pass an object of symvi.information")
    return Plain() if value is None else _of_string(str(value), num_permutations)


def check_at(method: Method, q: MeanField, argument: str) -> None:
    """ValueError about the user's `argument` unless the method can do the group of `q`, and gives
    scalars there."""
    method.check(q.symmetry, argument)
    if not _is_ours(method):
        check_values(method, q, argument)


def _is_ours(method) -> bool:
    return type(method) in (Plain, *METHODS.values())


def _with_its_own_settings(method, num_permutations):
    if num_permutations is not None:
        wanted = f"None beside {method!r}, which has its own settings"
        remedy = f"write {type(method).__name__}(...) with them, or pass the method's name"
        raise expected("num_permutations", wanted, num_permutations, remedy)
    return method


def _of_string(name, num_permutations):
    method = METHODS[name]
    settings = {field.name for field in fields(method)}
    if num_permutations is None or "num_permutations" not in settings:
        return method()
    return method(num_permutations=num_permutations)
