"""What a function is made of, so that an edited one is known; and what line of a script calls."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType


def fingerprint(function) -> str:
    """16 hexadecimal digits of what decides what `function` returns.

    Its qualified name and code (comments and layout do not count), the functions and the plain
    values (those that JSON has) that it uses from its own file or that it was built with, theirs in
    turn, and the arguments of a ``functools.partial``. Other files do not count, nor do arrays and
    other objects.
    """
    digest = hashlib.sha256()
    for part in _parts(function, seen=set()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _parts(thing, seen: set) -> Iterator[str]:
    """Texts that change when `thing` does; none for what does not count."""
    if isinstance(thing, functools.partial):
        yield from _parts([thing.func, thing.args, thing.keywords], seen)
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            yield from _parts(value, seen)
    elif isinstance(thing, dict):
        for name, value in thing.items():
            yield repr(name)
            yield from _parts(value, seen)
    elif inspect.isclass(thing):
        yield from _class_parts(thing, seen)
    elif callable(thing):
        yield from _function_parts(inspect.unwrap(thing), seen)
    else:
        yield _json(thing)


def _function_parts(function, seen: set) -> Iterator[str]:
    """Of a function, with what it names; of a callable object, those of its class's __call__."""
    if not isinstance(function, FunctionType):
        function = vars(type(function)).get("__call__")
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    yield function.__qualname__
    yield _code(function)
    yield from _parts([function.__defaults__ or (), function.__kwdefaults__ or {}], seen)
    used = {**_used_globals(function), **_captured(function)}
    for name, value in sorted(used.items()):
        if not callable(value) or _owner(value) == function.__module__:
            yield name
            yield from _parts(value, seen)


def _class_parts(cls, seen: set) -> Iterator[str]:
    """Of a class: its text where it is known, its methods and its plain values.

    Methods that a decorator generated, as ``dataclass`` does, follow from the text; their bytecode
    would differ from one Python to the next.
    """
    yield _code(cls)
    for name, value in sorted(vars(cls).items()):
        if isinstance(value, FunctionType):
            counts = _has_text(value) or not _has_text(cls)
        else:
            counts = not name.startswith("__")
        if counts:
            yield name
            yield from _parts(value, seen)


def _has_text(thing) -> bool:
    try:
        return bool(inspect.getsource(thing))
    except (OSError, TypeError):
        return False


def _owner(value) -> str | None:
    """The module in which a callable is stated."""
    inner = value.func if isinstance(value, functools.partial) else value
    return getattr(inspect.unwrap(inner), "__module__", None)


def _captured(function: FunctionType) -> dict:
    """The variables of enclosing functions that a function uses."""
    names = function.__code__.co_freevars
    found = {}
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def _used_globals(function: FunctionType) -> dict:
    """The globals that a function uses, also within the functions inside it."""
    names: set[str] = set()
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        names.update(code.co_names)
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _code(thing) -> str:
    """The code of a function or class without comments and layout, where its text is known."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(thing))))
    except (OSError, TypeError, SyntaxError):  # typed in, made by exec, or in mid-expression
        return _compiled(thing.__code__) if isinstance(thing, FunctionType) else thing.__qualname__


def _compiled(code: CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _json(value) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return ""


# --- the guard of a script ---


def unguarded_line() -> str | None:
    """The line of the running script from which we are called, if it is not under a guard.

    Processes that are started afresh import the script that started them. What it does outside
    ``if __name__ == "__main__":`` they do again. None in a notebook or an interpreter: these have
    no file to import.
    """
    frame = _frame_of_the_script()
    file = frame.f_globals.get("__file__") if frame else None
    if file is None:
        return None
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # no text to look at
        return None
    for statement in tree.body:
        if statement.lineno <= frame.f_lineno <= statement.end_lineno:
            guarded = isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)
            return None if guarded else f"line {frame.f_lineno} of {Path(file).name}"
    return None


def _frame_of_the_script() -> FrameType | None:
    """The innermost frame that runs lines of a script, or of a cell, outside any function."""
    frame = sys._getframe()
    while frame is not None:
        outside = frame.f_code.co_name == "<module>"
        if outside and frame.f_globals.get("__name__") == "__main__":
            return frame
        frame = frame.f_back
    return None
