"""With $SYMVI_KEEP_RUNS, chapters that pass as tests need not run again.

Their outputs go to the cache that ``make book`` reads, so that a check of
everything runs each chapter once. Without the variable nothing is kept: the
run times on the pages are then those of a build.
"""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbval.plugin import IPyNbCell

CACHE = Path(__file__).resolve().parents[1] / "_build" / ".jupyter_cache"
KEEP = bool(os.environ.get("SYMVI_KEEP_RUNS"))

outputs: dict[
    Path, dict[int, list]
] = {}  # of each notebook's code cells that have run
failed: set[Path] = set()


def pytest_runtest_logreport(report):
    if report.failed:
        failed.add(Path(report.fspath).name)


def pytest_runtest_teardown(item, nextitem):
    """After a notebook's last cell, keep what it put out."""
    if not KEEP or not isinstance(item, IPyNbCell):
        return
    path = Path(item.parent.path)
    outputs.setdefault(path, {})[item.cell_num] = item.test_outputs
    is_last = nextitem is None or nextitem.parent is not item.parent
    if is_last and path.name not in failed:
        keep(path, item.parent.nb, outputs.pop(path))


def keep(path: Path, notebook, found: dict[int, list]) -> None:
    """Put a notebook with its outputs into the cache, if all cells have run."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn
    from sqlalchemy.exc import SQLAlchemyError

    executed = nbformat.from_dict(notebook)
    code = [
        cell
        for cell in executed.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]
    if len(found) != len(code):
        return
    for count, (cell, number) in enumerate(
        zip(code, sorted(found), strict=True), start=1
    ):
        cell.outputs = found[number] or []
        cell.execution_count = count
    bundle = CacheBundleIn(executed, str(path))
    cache = get_cache(str(CACHE))
    try:
        cache.cache_notebook_bundle(
            bundle, check_validity=False, overwrite=True
        )
    except SQLAlchemyError:  # two processes at once: the page runs it again
        return
