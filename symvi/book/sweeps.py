"""A grid of experiments on all cores of a machine, or on a cluster, by Dask.

What is finished is kept and never run again: each cell of the grid has a file of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from symvi import files
from symvi.book.fingerprints import fingerprint, unguarded_line
from symvi.checks import described, expected, needs, positive_int, shows_progress

PATIENCE = 20  # seconds to wait for a scheduler
VERSION = 1  # of the records


def sweep(
    function,
    cells,
    folder,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> list:
    """Call ``function(**cell)`` for every cell and keep each result, as soon as it is there.

    A sweep that was interrupted goes on where it stopped: cells whose file is in `folder` are read,
    not run. A worker that dies loses only the cell it was working on, which is given to another one
    (three times at most). Two sweeps may share a folder.

    A result belongs to its cell (whatever the order of its keys), to symvi's version and to the
    function: its name, its code, and what it uses from its own file, functions and values that JSON
    has. When one of these is edited, cells are run again, into new files beside the old ones;
    results of an unchanged function stay valid. Other files that the function imports are not
    looked at: when they change what it returns, use another folder.

    Parameters
    ----------
    function : callable
        Returns a dict of numbers, strings, lists or arrays. It is sent to other processes, so it
        must not rely on anything set outside it (it sets JAX's precision itself, for example).
    cells : sequence of dict
        Keyword arguments: numbers, strings, booleans, None or lists of these. No two alike.
    folder : path
        Where the results are kept, one JSON file a cell; written whole or not at all.
    workers : int, optional
        Processes on this machine; by default one for each core. A script must start its sweep under
        ``if __name__ == "__main__":``, because each of these processes reads the script.
    scheduler : str, optional
        Address of a Dask scheduler to use instead, for example ``"tcp://host:8786"``; by default
        ``$SYMVI_SCHEDULER`` if it is set. Its workers need symvi and the same data.

    Returns
    -------
    list of dict
        The results in the order of `cells`, arrays as lists.

    Raises
    ------
    ValueError
        No cells, repeated cells, cells that are not JSON, or a file that is damaged or another's.
    ImportError
        Cells have to run and Dask is not installed: ``pip install 'symvi[sweep]'``.
    ConnectionError
        The scheduler does not answer within 20 seconds.
    RuntimeError
        Some cells failed, or returned what JSON has no form for; all others are stored. Or the
        script lacks its guard.
    """
    folder, cells = Path(folder), _as_cells(cells)
    if not callable(function):
        remedy = "pass the function itself, defined in a module or script"
        raise expected("function", "a function", described(function), remedy)
    _check_folder(folder)
    made_by = _maker(function)
    paths = [_path(folder, cell, made_by) for cell in cells]
    if not cells or len(set(paths)) != len(paths):
        got = f"{len(cells)} with {len(cells) - len(set(paths))} repeated"
        raise expected("cells", "different dicts, at least one", got, "list each setting once")
    todo = [(cell, path) for cell, path in zip(cells, paths, strict=True) if not path.exists()]
    if todo:
        failures = _run(function, todo, made_by, workers, scheduler, progress, len(cells))
        _check_failures(failures, len(todo), folder)
    return [_stored(path, cell) for path, cell in zip(paths, cells, strict=True)]


def _as_cells(cells) -> list:
    """`cells` as a list of dicts by names of arguments, or ValueError."""
    listed = list(cells) if isinstance(cells, Iterable) and not isinstance(cells, str) else [cells]
    for cell in listed:
        if not isinstance(cell, dict) or not all(isinstance(name, str) for name in cell):
            remedy = 'pass for example [{"seed": 0}, {"seed": 1}]'
            raise expected("cells", "dicts of keyword arguments", described(cell), remedy)
    return listed


def _check_failures(failures, num: int, folder: Path) -> None:
    if not failures:
        return
    cell, error = failures[0]
    raise RuntimeError(
        f"sweep: expected all of {num} cells to run, {len(failures)} failed, "
        f"the first, {cell}, with {error!r}; "
        f"the others are kept in {folder}, so mend this and run again"
    )


# --- running ---


def _check_folder(folder: Path) -> None:
    """ValueError where a file stands in the way of the folder."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise expected("folder", "a folder", f"the file {place}", "name another folder")


def _run(function, todo, made_by, workers, scheduler, progress, total) -> list:
    """Work through the cells still to do; returns those that failed, with their errors."""
    address = scheduler or os.environ.get("SYMVI_SCHEDULER")
    if not address:
        _check_guard()
    todo[0][1].parent.mkdir(parents=True, exist_ok=True)
    # once for the whole folder: what a sweep left that was killed while it wrote
    files.remove_leftovers(todo[0][1].with_name("*.json"))
    bar = tqdm(
        total=total,
        initial=total - len(todo),
        desc="sweep",
        unit="cell",
        disable=not shows_progress(progress),
    )
    failures = []
    with _client(workers, address) as (client, as_completed), bar:
        waiting = {
            client.submit(_call, function, cell, pure=False): (cell, path) for cell, path in todo
        }
        for future in as_completed(waiting):
            cell, path = waiting[future]
            error = future.exception()
            if error is None:
                _keep(path, cell, made_by, future.result())
            else:
                failures.append((cell, error))
            future.release()
            bar.update()
    return failures


def _check_guard() -> None:
    """Before processes are started that read the script: RuntimeError if they would start over."""
    line = unguarded_line()
    if line is not None:
        raise RuntimeError(
            f"sweep: expected {line} to stand under a guard, got none; "
            'put it under if __name__ == "__main__":, because the processes that a sweep starts '
            "read the script and would all start sweeps of their own"
        )


@contextmanager
def _client(workers, address):
    """A Dask client, of a scheduler that runs or of processes started here, with as_completed."""
    distributed = needs("distributed", "sweep", "symvi.sweep")
    if address:
        client = cluster = _connected(distributed, address)
    else:
        cluster = _processes(distributed, workers)
        client = distributed.Client(cluster)
    try:
        yield client, distributed.as_completed
    finally:
        client.close()
        cluster.close()


def _connected(distributed, address: str):
    try:
        return distributed.Client(address, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConnectionError(
            f"scheduler: expected a Dask scheduler at {address!r}, "
            f"got no answer in {PATIENCE} s ({error}); "
            "start one with 'dask scheduler', or unset SYMVI_SCHEDULER"
        ) from error


def _processes(distributed, workers):
    """A cluster of single-threaded processes on this machine."""
    workers = positive_int("workers", os.cpu_count() if workers is None else workers)
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        silence_logs="ERROR",
    )


def _call(function, cell) -> str:
    """The result of one cell as JSON; an error here is this cell's alone."""
    return json.dumps(_plain(function(**cell)))


def _plain(value):
    """`value` as JSON has it; TypeError if it has no form for it."""
    if isinstance(value, dict):
        return _plain_dict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        raise TypeError(
            f"result: expected numbers, strings, lists, arrays or dicts, got {value!r}; convert it"
        )
    return array.tolist()


def _plain_dict(value: dict) -> dict:
    names = [str(name) for name in value]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"result: expected keys that differ as text, got {twice!r} twice; rename one of them"
        )
    return {name: _plain(v) for name, v in zip(names, value.values(), strict=True)}


# --- the files ---


def _maker(function) -> dict:
    """What a result depends on beside its cell."""
    version = importlib.import_module("symvi").__version__
    return {"symvi": version, "function": fingerprint(function)}


def _path(folder: Path, cell, made_by: dict) -> Path:
    """A cell's file: the name says the cell, the function and the version of the record."""
    return folder / f"{_digest(cell)[:16]}-{_digest([VERSION, made_by])[:8]}.json"


def _digest(value) -> str:
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        wanted = "dicts of numbers, strings, booleans, None or lists"
        raise expected("cells", wanted, f"{value!r} ({error})", "pass plain values") from error
    return hashlib.sha256(text.encode()).hexdigest()


def _keep(path: Path, cell, made_by: dict, result: str) -> None:
    """Write a cell's record; `result` is JSON already."""
    head = {"version": VERSION, **made_by, "cell": cell}
    files.write_text(path, f'{json.dumps(head)[:-1]}, "result": {result}}}')


def _stored(path: Path, cell):
    """The result of `cell` from its file; ValueError if the file is another cell's."""
    record = read_cell(path)
    if _digest(record["cell"]) != _digest(cell):
        remedy = "delete the file and run again"
        raise expected("sweep", f"the record of {cell} in {path}", record["cell"], remedy)
    return record["result"]


def read_cell(path) -> dict:
    """The record of a cell: "version", "symvi", "function", "cell" and "result".

    ValueError if the file is damaged.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["cell"], record["result"]
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}, this symvi writes {VERSION}")
    except (ValueError, KeyError, TypeError) as error:
        got = f"something else ({error})"
        remedy = "delete the file and run again"
        raise expected("sweep", f"the record of a cell in {path}", got, remedy) from error
    return record


def rounded(value):
    """Dicts, lists and numbers with six significant digits, as results are committed."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
