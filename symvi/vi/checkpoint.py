"""The state of a long fit on disk: read back bit for bit, and refused if anything it depends on has
changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import expected
from symvi.vi.archive import read_arrays, write_arrays

FORMAT = 2  # of the file
SOFTWARE = ("jax", "optax", "numpyro")
ANEW = "delete the file to begin anew, or name another"


def fingerprint(*parts) -> str:
    """A hash of settings (by their repr) and arrays (by dtype, shape and bytes)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, (np.ndarray, jax.Array)):
            value = np.asarray(part)
            digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def software() -> dict:
    """The versions that the numbers of a fit depend on."""
    own = import_module("symvi").__version__
    return {"symvi": own, **{name: version(name) for name in SOFTWARE}}


@dataclass(frozen=True)
class Checkpoint:
    """A file with the state of a fit.

    Attributes
    ----------
    path : Path
    settings : dict
        Name to text: all that must be equal for a fit to go on from the file. The number of steps
        is not among them.
    """

    path: Path
    settings: dict

    def save(self, state, losses, seen) -> None:
        """Write the pytree `state`, the losses ``(restarts, done)`` so far and what was monitored,
        in one step."""
        arrays = {f"leaf{i}": _plain(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        settings = json.dumps({"format": FORMAT, **self.settings})
        write_arrays(
            self.path, {**arrays, "settings": settings, "losses": losses, "seen": np.array(seen)}
        )

    def load(self, like, steps: int) -> tuple:
        """The stored ``(state, losses, seen)``, with the state as a pytree like `like`.

        Raises
        ------
        ValueError
            If the file is damaged or of another kind, belongs to a fit with other settings, data or
            software (each that differs is named), or has more than `steps` steps.
        """
        wanted = "a checkpoint of fit"
        arrays = read_arrays(self.path, "checkpoint", wanted, ANEW)
        try:
            settings = dict(json.loads(str(arrays["settings"])))
            first, tree = jax.tree.flatten(like)
            self._check_settings(settings)
            leaves = [_as_leaf(arrays[f"leaf{i}"], old) for i, old in enumerate(first)]
            losses, seen = arrays["losses"], list(arrays["seen"])
        except (KeyError, TypeError, json.JSONDecodeError):
            got = "a file of another kind"
            raise expected("checkpoint", f"{wanted} in {self.path}", got, ANEW) from None
        if losses.shape[1] > steps:
            got = f"one after {losses.shape[1]} steps in {self.path}"
            remedy = f"ask for steps={losses.shape[1]} or more, or {ANEW}"
            raise expected("checkpoint", f"a state after at most steps={steps}", got, remedy)
        return jax.tree.unflatten(tree, leaves), losses, seen

    def _check_settings(self, found: dict) -> None:
        now = {"format": FORMAT, **self.settings}
        names = [name for name in {**now, **found} if now.get(name) != found.get(name)]
        data = [name for name in ("x", "y") if name in names]
        if data and "model" in names:
            names.remove("model")  # it is known by its density of the data
        if not names:
            return
        differ = ", ".join(_difference(name, found.get(name), now.get(name)) for name in names)
        wanted = f"{self.path} to belong to this fit"
        raise expected("checkpoint", wanted, f"one with {differ}", ANEW)


def _difference(name, there, here) -> str:
    """One setting that differs, in words; of hashed ones the values say nothing."""
    hashed = name in ("x", "y", "model", "init")
    return f"another {name}" if hashed else f"{name} {there} (here {here})"


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _as_leaf(stored, like):
    return jax.random.wrap_key_data(stored) if _is_key(like) else jnp.asarray(stored)
