"""Empty the cache of executed notebooks when what they import has changed.

jupyter-cache looks only at the code cells of a notebook, so it would keep numbers that an older symvi computed. `make book` runs

    python book/_ext/stale_cache.py

before each build: the cache goes when symvi's files or requirements.txt differ from those it was filled with.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cache_key(root: Path) -> str:
    """SHA-256 over the names and contents of symvi's files and requirements.txt, and the Python version."""
    files = sorted(p for p in (root / "symvi").rglob("*") if p.suffix in {".py", ".csv"})
    digest = hashlib.sha256(sys.version.encode())
    for path in [*files, root / "requirements.txt"]:
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def drop_stale_cache(root: Path, build: Path) -> bool:
    """Remove ``build/.jupyter_cache`` unless it belongs to the present key; True if it was removed."""
    cache, record, key = build / ".jupyter_cache", build / "cache-key.txt", cache_key(root)
    stale = cache.exists() and not (record.exists() and record.read_text().strip() == key)
    if stale:
        shutil.rmtree(cache)
    build.mkdir(parents=True, exist_ok=True)
    record.write_text(key + "\n")
    return stale


if __name__ == "__main__" and drop_stale_cache(ROOT, ROOT / "_build"):
    print("symvi or a pin has changed since the last build: every chapter is executed again")
