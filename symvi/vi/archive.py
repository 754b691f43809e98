"""Arrays and settings in one file (NumPy's npz): written whole or not at all, read without
pickle."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from symvi.checks import described, expected
from symvi.files import whole_file

DAMAGE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile)
DAMAGE = (*DAMAGE, zlib.error)


def as_path(argument: str, value) -> Path:
    """`value` as the path of a file; ValueError for folders and for what is no path."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise expected(argument, "a path", described(value), "pass for example 'fit.npz'")
    path = Path(value)
    if path.is_dir():
        raise expected(argument, "a file", f"the folder {path}", "name a file in it")
    return path


def write_arrays(path: Path, arrays: dict) -> None:
    """Write named arrays to `path`, all of them or nothing. OSError, which names `path`, where that
    is impossible."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: Path, argument: str, wanted: str, remedy: str) -> dict:
    """The named arrays in `path`; ValueError, with `wanted` and `remedy`, if it is damaged or of
    another kind."""
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except DAMAGE:
        got = "a damaged file or one of another kind"
        raise expected(argument, f"{wanted} in {path}", got, remedy) from None
