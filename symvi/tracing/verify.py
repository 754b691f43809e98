"""The last step of every search: elements leave the outputs for random weights unchanged.

In float64 and with NumPy around one compiled forward pass. An element that is no symmetry changes
the outputs for almost all weights and inputs. Elements are drawn so that a false group of any size
has one: cycles through all units (which move every unit, so that a unit that must stay is found),
exchanges of two units, and uniform permutations, two of each. Where units change sign, all do in a
cycle, a single one in an exchange, and each or not by chance in a uniform element.
"""

from __future__ import annotations

import jax
import numpy as np

from symvi.checks import expected
from symvi.symmetry import Nested, Symmetry

TOLERANCE = 1e-10  # relative, in float64
KINDS = ("cycle", "exchange", "uniform") * 2
# Programs that run four times are compiled as quickly as is sound.
QUICK = {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}


def verify(
    symmetry: Symmetry | Nested, outputs, weights: dict, seed: int = 0, tolerance=TOLERANCE
) -> None:
    """ValueError unless ``outputs(g w) == outputs(w)`` to `tolerance` for six random g.

    `outputs` takes a flat dict of NumPy arrays and returns one; the change is relative to the
    larger of 1 and the largest output.
    """
    rng = np.random.default_rng(seed)
    before = outputs(weights)
    size = np.abs(before).max(initial=0)
    if not np.isfinite(size):
        remedy = "pass weights and inputs of a usual size, or a function that is finite everywhere"
        raise expected("outputs", "finite numbers for random weights", "NaN or infinity", remedy)
    for kind in KINDS if symmetry.groups else ():
        after = outputs(moved(symmetry, weights, rng, kind))
        change = np.abs(after - before).max() / max(1.0, size)
        if not change <= tolerance:
            wanted = f"outputs unchanged to {tolerance:g}"
            remedy = "the group is no symmetry of this network: correct its axes"
            raise expected("verify", wanted, f"a relative change of {change:.3g}", remedy)


def moved(symmetry: Symmetry | Nested, weights: dict, rng, kind: str) -> dict:
    """The weights after a random element of one of `KINDS`, in NumPy.

    Groups on one axis are joined to one permutation of it, so that an array is copied once for each
    of its axes that moves, however many groups stand there.
    """
    sources, factors = {}, {}  # by parameter and axis: where an entry comes from, and its sign
    for group in symmetry.groups:
        order = permutation(group.size, rng, kind)
        flips = symmetry.flips(group.name)
        signs = signs_of(group.size, rng, kind) if flips else np.ones(group.size)
        for axis in group.entries:
            here, length = (axis.param, axis.axis), weights[axis.param].shape[axis.axis]
            source = sources.setdefault(here, np.arange(length))
            factor = factors.setdefault(here, np.ones(length))
            places = axis.indices(group.size)
            source[places] = source[places[order]]
            factor[places] = factor[places[order]] * signs[:, None]
    out = dict(weights)
    for (name, axis), source in sources.items():
        out[name] = np.take(out[name], source, axis=axis)
        factor = factors[name, axis]
        if (factor < 0).any():
            out[name] *= factor.reshape(-1, *[1] * (out[name].ndim - axis - 1))
    return out


def permutation(size: int, rng, kind: str) -> np.ndarray:
    """A random permutation of one of `KINDS`; none but the uniform one leaves all in place."""
    random = rng.permutation(size)
    if kind == "uniform" or size == 1:
        return random
    order = np.arange(size)
    if kind == "cycle":
        order[random] = np.roll(random, 1)
    else:
        order[random[:2]] = random[1::-1]
    return order


def signs_of(size: int, rng, kind: str) -> np.ndarray:
    """Signs for an element of one of `KINDS`: of all units, of a single one, or of any."""
    if kind == "cycle":
        return -np.ones(size)
    if kind == "exchange":
        signs = np.ones(size)
        signs[rng.integers(size)] = -1.0
        return signs
    return rng.choice([-1.0, 1.0], size)


def compiled(function, *given):
    """`function`, compiled quickly for arguments like these, as one from NumPy to NumPy."""
    ready = jax.jit(function).lower(*given).compile(compiler_options=QUICK)
    return lambda *arguments: np.asarray(ready(*arguments))


def like(value: np.ndarray, rng) -> np.ndarray:
    """Random numbers as large as those of `value`, positive where all of them are."""
    value = np.asarray(value, np.float64)
    if value.size == 0:
        return value
    if (value > 0).all():
        return value.mean() * np.exp(0.1 * rng.normal(size=value.shape))
    return max(np.sqrt((value**2).mean()), 0.1) * rng.normal(size=value.shape)
