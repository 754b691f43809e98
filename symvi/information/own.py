"""What is asked of a method of one's own before anything is computed with it.

1. Compiled functions keep their results by the method as a value. Two methods with different
   settings must differ, so every setting is a field of the dataclass.
2. What a class inherits from a finished method belongs to that method: a class that changes the
   value says again what it is called, what it bounds and what is derived from the value.
3. Values are scalars: what one draw adds, or what needs no draws.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import described, expected
from symvi.estimates import KINDS
from symvi.information.closed_form import ClosedForm
from symvi.information.method import Method, Plain
from symvi.posteriors.mean_field import MeanField

VALUES = ("pointwise", "closed_form", "final_closed_form")
BY_LAYERS = ("layer_objective", "layer_bounds")  # of which ClosedForm makes its values
DERIVED = ("kind", "measure", "estimate", "log_density")  # they speak of the values
NUMBERS = (int, float, np.generic, np.ndarray, jax.Array)


def check_own(method: Method, argument: str, taken) -> None:
    """ValueError about the user's `argument` unless the method is a value that says what it is.

    `taken` are the names of the table.
    """
    _check_settings(method, argument)
    _check_name(type(method), argument, taken)
    _check_kind(type(method), argument)
    _check_written(type(method), argument)
    _check_derived(type(method), argument)


def check_values(method: Method, q: MeanField, argument: str) -> None:
    """ValueError unless the method's values at `q` are scalars. Nothing is computed."""
    found = {}

    def look(q, key):
        found["pointwise"] = method.pointwise(q, q.loc, key)
        found["closed_form"] = method.closed_form(q, method.start(q))
        found["final_closed_form"] = method.final_closed_form(q)
        return key

    jax.eval_shape(look, q, jax.random.key(0))
    name = type(method).__name__
    pair = found.pop("closed_form")
    if not isinstance(pair, tuple) or len(pair) != 2:
        wanted, remedy = "a pair (value, next state)", "return value, state"
        raise expected(argument, f"{name}.closed_form to return {wanted}", _shown(pair), remedy)
    found["closed_form"] = pair[0]
    for value_name, value in found.items():
        if not _is_scalar(value):
            wanted = f"{name}.{value_name} to be one number in nats"
            raise expected(argument, wanted, _shown(value), "return a scalar, for example a sum")


def _check_settings(method, argument) -> None:
    """Settings that equality and hash do not see would be mistaken for one another."""
    name = type(method).__name__
    hidden = sorted(_settings(method) - _compared(type(method)))
    if hidden:
        wanted, got = "a method whose settings are dataclass fields", f"{name} with {hidden} beside"
        remedy = "put @dataclass(frozen=True) above the class and declare them in it (share: float)"
        raise expected(argument, wanted, got, remedy)
    try:
        hash(method)
    except TypeError as error:
        wanted, got = "a method whose settings can be hashed", f"{described(method)}, {error}"
        raise expected(argument, wanted, got, "use numbers, texts or tuples") from error


def _settings(method) -> set:
    """The names of all that an instance holds, but for what is computed from the rest and kept."""
    names = set(vars(method))
    for base in type(method).__mro__:
        slots = vars(base).get("__slots__", ())
        names |= {slots} if isinstance(slots, str) else set(slots)
    return {
        name for name in names if not isinstance(getattr(type(method), name, None), cached_property)
    }


def _compared(cls) -> set:
    """The fields that equality of the class's instances looks at."""
    return {field.name for field in fields(_writer(cls, "__eq__")) if field.compare}


def _writer(cls, attribute: str):
    """The class, `cls` or a parent, in which the attribute is written."""
    return next(base for base in cls.__mro__ if attribute in vars(base))


def _check_name(cls, argument, taken) -> None:
    if issubclass(cls, Plain):
        got = f"{cls.__name__}, a subclass of Plain"
        raise expected(argument, "a method that adds something", got, "subclass Method instead")
    name = vars(cls).get("name")
    if not isinstance(name, str) or name in taken:
        wanted = "a method with a name of its own"
        got = f"{cls.__name__} called {name!r}" if name else f"{cls.__name__}, which has none"
        remedy = f"write for example name = {cls.__name__.lower()!r} in the class"
        raise expected(argument, wanted, got, remedy)


def _check_kind(cls, argument) -> None:
    kind = getattr(cls, "kind", None)
    if kind not in KINDS:
        wanted = f"a method whose kind is one of {', '.join(map(repr, KINDS))}"
        got = f"{cls.__name__} with {described(kind)}"
        remedy = 'say in the class what it bounds, for example kind = "lower"'
        raise expected(argument, wanted, got, remedy)


def _check_written(cls, argument) -> None:
    written = [value for value in VALUES if _writer(cls, value) is not Method]
    if not written:
        wanted = f"a method that writes one of {', '.join(VALUES)}"
        remedy = "write pointwise(self, q, params, key), what one draw adds in nats"
        raise expected(argument, wanted, f"{cls.__name__}, which writes none", remedy)
    if "closed_form" in written and "final_closed_form" not in written:
        wanted, got = "final_closed_form beside closed_form", f"{cls.__name__} with only the latter"
        remedy = "write final_closed_form(self, q) too; a finished fit is evaluated with it"
        raise expected(argument, wanted, got, remedy)
    if issubclass(cls, ClosedForm):
        _check_written_by_layers(cls, argument)


def _check_written_by_layers(cls, argument) -> None:
    """Both functions of a layer, side by side: one bounds what the other trains."""
    writers = {_writer(cls, name) for name in BY_LAYERS}
    if writers == {ClosedForm} or len(writers) > 1:
        wanted = f"a method that writes {' and '.join(BY_LAYERS)} side by side"
        written = [name for name in BY_LAYERS if name in vars(cls)]
        got = f"{cls.__name__} with {' and '.join(written) or 'neither'}"
        remedy = "take the functions of symvi.information.pairwise where one of yours is the same"
        raise expected(argument, wanted, got, remedy)


def _check_derived(cls, argument) -> None:
    """What speaks of the values must not be older than they are."""
    writers = [_writer(cls, value) for value in VALUES]
    for name in DERIVED:
        owner = _writer(cls, name)
        if owner is Method:
            continue
        if any(writer is not owner and issubclass(writer, owner) for writer in writers):
            wanted = f"a method that writes {name} beside the value that it changes"
            got = f"{cls.__name__} with {name} of {owner.__name__}"
            remedy = f"write {name} too, or subclass Method and call {owner.__name__}() in it"
            raise expected(argument, wanted, got, remedy)


def _is_scalar(value) -> bool:
    if not isinstance(value, NUMBERS) or jnp.shape(value) != ():
        return False
    return jnp.issubdtype(jnp.result_type(value), jnp.number) and not jnp.iscomplexobj(value)


def _shown(value) -> str:
    if isinstance(value, NUMBERS):
        return f"{jnp.result_type(value)} of shape {jnp.shape(value)}"
    return f"a {type(value).__name__}" if isinstance(value, (tuple, list, dict)) else repr(value)
