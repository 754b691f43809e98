"""The one way that symvi writes a file, or a folder of files: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

STALE = 600.0  # seconds


@contextlib.contextmanager
def whole_file(path) -> Iterator[Path]:
    """Give the name of a temporary file to write to; it becomes `path` when the block ends well.

    If the block raises, or the process dies, `path` is as it was before. The file's permissions
    follow the umask, as those of any new file do. Leftovers of processes that were killed while
    they wrote this same file are removed.

    Raises
    ------
    OSError
        The folder cannot be made or written to, or the disk is full; the message names `path`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    except OSError as error:
        raise _named(error, path) from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename is None:
            raise _named(error, path) from error
        raise


@contextlib.contextmanager
def whole_folder(path) -> Iterator[Path]:
    """Give a temporary folder to fill; it becomes the folder `path` when the block ends well.

    If the block raises, or the process dies, `path` is as it was before. Leftovers of processes
    that were killed while they filled this same folder are removed.

    Raises
    ------
    OSError
        `path` exists and is not an empty folder, or it cannot be made; the message names `path`.
    """
    path = Path(os.path.abspath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    except OSError as error:
        raise _named(error, path) from error
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        if path.exists():
            path.rmdir()  # an error unless it is empty
        os.replace(partial, path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:
            raise _named(error, path) from error
        raise


def write_text(path, text: str) -> None:
    """Write `text` to `path` in UTF-8, all of it or nothing."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def remove_leftovers(path) -> None:
    """Remove what was to become `path` and is older than ten minutes: its writer was killed.

    Younger ones may belong to another process, here or on a machine that shares the folder.
    """
    path = Path(path)
    for left in path.parent.glob(f".{path.name}-*.tmp"):
        with contextlib.suppress(OSError):  # somebody else may have removed it
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _named(error: OSError, path: Path) -> OSError:
    """The same kind of error, with the file it is about."""
    return type(error)(error.errno, error.strerror or str(error), str(path))
