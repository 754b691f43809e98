"""Checks of what the user passes in: errors say what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np


def expected(name: str, wanted: str, got, remedy: str) -> ValueError:
    """The ValueError that says in one line what `name` should have been, what came, and what to do.

    Write ``raise expected("x", "shape (N, 3)", x.shape, "reshape it")``.
    """
    return ValueError(f"{name}: expected {wanted}, got {got}; {remedy}")


def described(value) -> str:
    """`value` in a few words, for an error message: large things by their type and shape."""
    if _is_keys(value):
        return "a JAX key" if value.ndim == 0 else f"JAX keys of shape {value.shape}"
    if isinstance(value, (np.ndarray, jax.Array)) and value.size > 1:
        return f"an array of {value.dtype} of shape {value.shape}"
    text = repr(value)
    is_short = len(text) <= 60 and "\n" not in text
    return text if is_short else f"an object of type {type(value).__name__}"


def _is_keys(value) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def is_concrete(*values) -> bool:
    """Whether all `values` are real arrays, not traced ones (whose entries cannot be looked at)."""
    return not any(isinstance(v, jax.core.Tracer) for v in values)


def as_scalar(value) -> float | int | None:
    """`value` as a Python number if it is one (Python, NumPy or JAX; no bool or text), else
    None."""
    if isinstance(value, (bool, str, bytes)) or not is_concrete(value):
        return None
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    if array.ndim != 0 or array.dtype.kind not in "iuf":
        return None
    return array.item()


def positive_int(name: str, value, least: int = 1, *, of: str = "") -> int:
    """Return `value` as an int; ValueError unless it is a whole number >= `least`.

    `of` says whose argument it is, as in "size of group 'a'".
    """
    number = as_scalar(value)
    if isinstance(number, int) and number >= least:
        return number
    remedy = f"pass for example {name}={max(least, 10)}"
    if isinstance(number, float) and number.is_integer() and number >= least:
        remedy = f"pass {name}={int(number)}"
    label = f"{name} of {of}" if of else name
    raise expected(label, f"a whole number >= {least}", described(value), remedy)


def positive_number(name: str, value, example: float = 0.01) -> float:
    """Return `value` as a float; ValueError unless it is a positive finite number."""
    number = as_scalar(value)
    if number is None or not 0 < number < np.inf:
        wanted = "a positive finite number"
        raise expected(name, wanted, described(value), f"pass for example {name}={example}")
    return float(number)


def fraction(name: str, value, example: float = 0.9) -> float:
    """Return `value` as a float; ValueError unless it lies strictly between 0 and 1."""
    number = as_scalar(value)
    if number is None or not 0 < number < 1:
        wanted = "a number between 0 and 1"
        raise expected(name, wanted, described(value), f"pass for example {name}={example}")
    return float(number)


def flag(name: str, value) -> bool:
    """Return `value` as a bool; ValueError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise expected(name, "True or False", described(value), f"pass for example {name}=True")
    return bool(value)


def one_of(name: str, value, options, remedy: str = "choose one of these") -> None:
    """ValueError unless `value` is one of `options`."""
    try:
        known = value in options
    except (TypeError, ValueError):  # an array, or something that cannot be compared
        known = False
    if not known:
        listed = ", ".join(map(repr, options))
        raise expected(name, f"one of {listed}", described(value), remedy)


def as_seed(seed) -> int:
    """`seed` as an int; ValueError unless it is a whole number >= 0."""
    number = as_scalar(seed)
    if not isinstance(number, int) or number < 0:
        remedy = "pass for example seed=0 (keys go to arguments named key)"
        raise expected("seed", "an int >= 0", described(seed), remedy)
    return number


def seed_to_key(seed) -> jax.Array:
    """A JAX key from an int seed >= 0; ValueError for anything else."""
    return jax.random.key(as_seed(seed))


def as_key(key, name: str = "key") -> jax.Array:
    """`key` if it is a JAX key, and ``jax.random.key(0)`` for None; ValueError otherwise."""
    if key is None:
        return jax.random.key(0)
    if isinstance(key, jax.Array):
        if _is_keys(key) and key.ndim == 0:
            return key
        if key.dtype == np.uint32 and key.shape == (2,):  # made by jax.random.PRNGKey
            return jax.random.wrap_key_data(key)
    raise expected(name, "one JAX key", described(key), "pass for example jax.random.key(0)")


def required_key(key, name: str = "key") -> jax.Array:
    """A JAX key, where there is no default: as :func:`as_key`, but ValueError for None too."""
    if key is None:
        raise expected(name, "one JAX key", None, "pass for example jax.random.key(0)")
    return as_key(key, name)


def is_finite(value) -> bool:
    """Whether every entry is finite; True for traced values, which cannot be looked at."""
    return not is_concrete(value) or bool(np.all(np.isfinite(np.asarray(value))))


def as_numbers(name: str, value, remedy: str | None = None) -> jax.Array:
    """`value` as an array of numbers; ValueError for None, text, objects, dicts and ragged lists.

    `remedy` says what to do about these, where more is known than that numbers are wanted.
    Whole numbers beyond 32 bits are refused where JAX would wrap them round.
    """
    if isinstance(value, jax.Array) and not _is_complex_or_key(value):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # PyTorch: a tensor with a gradient
        remedy = remedy or "pass an array of numbers"
        raise expected(name, "an array of numbers", described(value), remedy) from error
    if array.dtype.kind not in "biuf":
        got = f"{type(value).__name__} of dtype {array.dtype}"
        raise expected(name, "an array of numbers", got, remedy or _conversion(array))
    made = jnp.asarray(array)
    if array.dtype.kind in "iu" and made.dtype != array.dtype and not np.array_equal(made, array):
        remedy = "rescale it, or turn on double precision (jax_enable_x64)"
        raise expected(name, "whole numbers of at most 32 bits", "larger ones", remedy)
    return made


def _conversion(array: np.ndarray) -> str:
    """What to do about an array of text or objects: to convert it helps if numbers come of it."""
    try:
        converts = array.dtype.kind in "OSU" and bool(np.isfinite(array.astype(float)).all())
    except (TypeError, ValueError):
        converts = False
    if converts:
        return "convert it, for example by np.asarray(..., dtype=float)"
    return "pass an array of numbers"


def _is_complex_or_key(array: jax.Array) -> bool:
    return not jnp.issubdtype(array.dtype, jnp.number) or jnp.iscomplexobj(array)


def needs(module: str, extra: str, what: str) -> ModuleType:
    """Import and return `module`; ImportError naming symvi's `extra` if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != library:
            raise
        remedy = f"pip install 'symvi[{extra}]'"
        raise ImportError(f"{what} needs {library}, which is not installed: {remedy}") from error


_IMPORTING = threading.Lock()


def arviz() -> ModuleType:
    """ArviZ, imported when it is first asked for.

    ArviZ 0.23 announces its next major version at import, and notes in the user's cache folder that
    it did. That fails where the folder cannot be written, and now and then when two processes
    import it at once. Ours is pinned, so the announcement is silenced and the note goes to a folder
    of its own.
    """
    if "arviz" not in sys.modules:
        with _IMPORTING, _unannounced():
            importlib.import_module("arviz")
    return sys.modules["arviz"]


@contextlib.contextmanager
def _unannounced() -> Iterator[None]:
    import platformdirs  # comes with ArviZ

    named = platformdirs.user_cache_dir
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        platformdirs.user_cache_dir = lambda *names, **options: folder
        try:
            yield
        finally:
            platformdirs.user_cache_dir = named


def shows_progress(progress: bool) -> bool:
    """Whether to draw a bar: asked for, and somebody looks (a terminal or a notebook)."""
    return bool(progress) and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def check_parameters(shapes: dict, params, lead: int = 0) -> None:
    """ValueError unless `params` has an array of each shape, after `lead` axes of draws."""
    if not isinstance(params, dict):
        remedy = "pass a dict, as net.init(key) returns"
        raise expected("params", "a dict of named arrays", described(params), remedy)
    for name, shape in shapes.items():
        got = "no such parameter"
        if name in params:
            got = as_numbers(f"params[{name!r}]", params[name]).shape
            if got[lead:] == shape and len(got) == lead + len(shape):
                continue
        wanted, remedy = f"shape {shape}", "pass weights of this network, one set at a time"
        if lead:
            wanted = f"shape (num, *{shape}), one set of weights a row"
            remedy = "pass weights of this network"
        raise expected(f"params[{name!r}]", wanted, got, remedy)
