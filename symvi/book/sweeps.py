"""A grid of experiments on all cores of a machine, or on a cluster, by Dask; what is finished is kept and never run again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from symvi.checks import positive_int, shows_progress

PATIENCE = 20  # seconds to wait for a scheduler


def sweep(
    function,
    cells,
    folder,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> list:
    """Call ``function(**cell)`` for every cell and keep each result in a file of its own, as soon as it is there.

    A sweep that was interrupted goes on where it stopped: cells whose file is in `folder` are read, not run. A worker
    that dies loses only the cell it was working on, which is given to another one (three times at most).

    Parameters
    ----------
    function : callable
        Returns a dict of numbers, strings, lists or arrays. It is sent to other processes, so it must not rely on
        anything set outside it (it sets JAX's precision itself, for example).
    cells : sequence of dict
        Keyword arguments: numbers, strings, booleans, None or lists of these. No two alike.
    folder : path
        Where the results are kept, one JSON file a cell; written whole or not at all.
    workers : int, optional
        Processes on this machine; by default one for each core.
    scheduler : str, optional
        Address of a Dask scheduler to use instead, for example ``"tcp://host:8786"``; by default ``$SYMVI_SCHEDULER``
        if it is set. Its workers need symvi and the same data.

    Returns
    -------
    list of dict
        The results in the order of `cells`, arrays as lists.

    Raises
    ------
    ValueError
        No cells, repeated cells, cells that are not JSON, or a damaged result file.
    ConnectionError
        The scheduler does not answer within 20 seconds.
    RuntimeError
        Some cells failed; all others are stored.
    """
    folder, cells = Path(folder), list(cells)
    paths = [folder / f"{_name(cell)}.json" for cell in cells]
    if not cells or len(set(paths)) != len(paths):
        raise ValueError(
            f"cells: expected different dicts, at least one, got {len(cells)} with {len(cells) - len(set(paths))} repeated; list each setting once"
        )
    todo = [(cell, path) for cell, path in zip(cells, paths, strict=True) if not path.exists()]
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        stems = {path.stem for _, path in todo}
        for left in folder.glob(".*-*.tmp"):  # a sweep was killed while it wrote
            if left.name[1:].split("-")[0] in stems:
                left.unlink()
        failures = _run(
            function,
            todo,
            workers,
            scheduler or os.environ.get("SYMVI_SCHEDULER"),
            progress,
            len(cells),
        )
        if failures:
            cell, error = failures[0]
            raise RuntimeError(
                f"sweep: expected all of {len(todo)} cells to run, {len(failures)} failed, the first, {cell}, with {error!r}; the others are kept in {folder}, so mend this and run again"
            )
    return [read_cell(path)["result"] for path in paths]


def _run(function, todo, workers, address, progress, total) -> list:
    """Work through the cells still to do; returns those that failed, with their errors."""
    from distributed import (
        Client,
        LocalCluster,
        as_completed,
    )  # slow to import, and not needed to read results

    if address:
        try:
            client = cluster = Client(address, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConnectionError(
                f"scheduler: expected a Dask scheduler at {address!r}, got no answer in {PATIENCE} s ({error}); start one with 'dask scheduler', or unset SYMVI_SCHEDULER"
            ) from error
    else:
        workers = positive_int("workers", os.cpu_count() if workers is None else workers)
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs="ERROR",
        )
        client = Client(cluster)
    failures = []
    try:
        with tqdm(
            total=total,
            initial=total - len(todo),
            desc="sweep",
            unit="cell",
            disable=not shows_progress(progress),
        ) as bar:
            waiting = {
                client.submit(_call, function, cell, pure=False): (cell, path)
                for cell, path in todo
            }
            for future in as_completed(waiting):
                cell, path = waiting[future]
                error = future.exception()
                if error is None:
                    _write(path, {"cell": cell, "result": future.result()})
                else:
                    failures.append((cell, error))
                future.release()
                bar.update()
    finally:
        client.close()
        cluster.close()
    return failures


def _call(function, cell):
    return _plain(function(**cell))


def _plain(value):
    """`value` as JSON has it."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return (
        value
        if value is None or isinstance(value, (str, bool, int, float))
        else np.asarray(value).tolist()
    )


def _name(cell) -> str:
    try:
        return hashlib.sha256(
            json.dumps(cell, sort_keys=True, allow_nan=False).encode()
        ).hexdigest()[:16]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cells: expected dicts of numbers, strings, booleans, None or lists, got {cell!r} ({error}); pass plain values"
        ) from error


def _write(path: Path, record: dict) -> None:
    """All of the file or none of it."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def read_cell(path) -> dict:
    """The record of one cell: ``{"cell": ..., "result": ...}``. ValueError if the file is damaged."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["cell"], record["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"sweep: expected the record of a cell in {path}, got something else ({error}); delete the file and run again"
        ) from error
    return record
