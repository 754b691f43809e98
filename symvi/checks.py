"""Checks of what the user passes in: each error says what was expected, what came and what to do."""

from __future__ import annotations

import sys

import jax
import numpy as np


def positive_int(name: str, value, least: int = 1) -> int:
    """Return `value` as an int; ValueError unless it is a whole number >= `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}: expected a whole number >= {least}, got {value!r}; pass for example {name}={max(least, 10)}")
    return int(value)


def seed_to_key(seed) -> jax.Array:
    """A JAX key from an int seed; ValueError for anything else."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed: expected an int, got {type(seed).__name__}; pass for example seed=0 (keys go to arguments named key)")
    return jax.random.key(int(seed))


def one_of(name: str, value, options) -> None:
    """ValueError unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, options))}, got {value!r}; choose one of these")


def shows_progress(progress: bool) -> bool:
    """Whether to draw a bar: asked for, and somebody looks (a terminal or a notebook)."""
    return bool(progress) and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def is_concrete(*values) -> bool:
    """Whether all `values` are real arrays, not traced ones (whose entries cannot be looked at)."""
    return not any(isinstance(v, jax.core.Tracer) for v in values)
