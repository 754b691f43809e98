"""State of a long fit on disk: written whole or not at all, and read back bit for bit."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np


def fingerprint(*parts) -> str:
    """A hash of settings (by their repr) and arrays (by dtype, shape and bytes): what a checkpoint belongs to."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, (np.ndarray, jax.Array)):
            value = np.asarray(part)
            digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def save(path, mark: str, state, **arrays) -> None:
    """Write the pytree `state` and named `arrays` to `path` (NumPy's npz) in one step, under the fingerprint `mark`."""
    leaves = {
        f"leaf{i}": np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for i, leaf in enumerate(jax.tree.leaves(state))
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, mark=np.array(mark), **leaves, **arrays)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def load(path, mark: str, like) -> tuple:
    """The state (a pytree as `like`) and the dict of arrays in `path`. ValueError if it is damaged or has another fingerprint."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        found = str(arrays.pop("mark"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"checkpoint: expected a checkpoint of fit in {path}, got something else ({error}); delete the file to begin anew"
        ) from error
    if found != mark:
        raise ValueError(
            f"checkpoint: expected {path} to belong to this fit, got one of other settings, data or software; delete the file to begin anew, or name another"
        )
    first, tree = jax.tree.flatten(like)
    leaves = [arrays.pop(f"leaf{i}") for i in range(len(first))]
    return jax.tree.unflatten(
        tree,
        [
            jax.random.wrap_key_data(new) if _is_key(old) else jnp.asarray(new)
            for old, new in zip(first, leaves, strict=True)
        ],
    ), arrays


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
