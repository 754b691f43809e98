"""Empty the cache of executed notebooks when something that they read has changed.

jupyter-cache looks only at the code cells of a notebook, so it would keep numbers that an older
symvi computed. `make book` runs

    python book/_ext/stale_cache.py

before each build: the cache goes when a file of symvi (its data and reference draws too), of
book/results or of book/reproduce, or requirements.txt differs from those it was filled with, or
when a claims file is not as the build that filled the cache left it. Chapters write their claims
while they are built, so these are noted after each page: this file is an extension of Sphinx too.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = ("symvi", "book/results", "book/reproduce", "requirements.txt")
WRITTEN = ("book/claims",)
NOT_READ = {".pyc", ".tmp"}


def inputs(root: Path, places=READ) -> list[Path]:
    """The files under `places`, except compiled and temporary ones."""
    found = []
    for place in places:
        path = root / place
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    found = [path for path in found if ".ruff_cache" not in path.parts]
    return sorted(path for path in found if path.suffix not in NOT_READ)


def key_of(root: Path, places) -> str:
    """SHA-256 over the names and contents of the files, and the Python version."""
    digest = hashlib.sha256(sys.version.encode())
    for path in inputs(root, places):
        content = path.read_bytes()
        name = path.relative_to(root).as_posix()
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def drop_stale_cache(root: Path, build: Path) -> bool:
    """Remove ``build/.jupyter_cache`` unless it belongs to the present files; True if removed."""
    cache = build / ".jupyter_cache"
    record, claims = build / "cache-key.txt", build / "claims-key.txt"
    key = key_of(root, READ)
    fresh = _reads(record) == key and _reads(claims) == key_of(root, WRITTEN)
    stale = cache.exists() and not fresh
    if stale:
        shutil.rmtree(cache)
    build.mkdir(parents=True, exist_ok=True)
    record.write_text(key + "\n", encoding="utf-8")
    note_claims(root, build)
    return stale


def note_claims(root: Path, build: Path) -> None:
    """Note the claims files as they are now: what a later change is held against."""
    key = key_of(root, WRITTEN)
    (build / "claims-key.txt").write_text(key + "\n", encoding="utf-8")


def _reads(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def setup(app) -> dict:
    """Called by Sphinx; a chapter is executed just before its page is read."""
    build = Path(app.outdir).parent
    app.connect("doctree-read", lambda *_: note_claims(ROOT, build))
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}


if __name__ == "__main__" and drop_stale_cache(ROOT, ROOT / "_build"):
    print("A file that chapters read has changed since the last build: all are executed again")
