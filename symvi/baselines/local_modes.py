"""Local maxima of the posterior density, from many random starts side by side."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symvi.checks import expected, positive_int, positive_number, seed_to_key
from symvi.draws import check_pairs
from symvi.models import BNN


def modes(
    bnn: BNN,
    x,
    y,
    *,
    restarts: int = 8,
    steps: int = 3000,
    learning_rate: float = 0.02,
    seed: int = 0,
) -> tuple[dict, np.ndarray]:
    """Local maxima of log p(y, w | x), by Adam on all data with a rate that falls to 0.

    Taken as draws of equal weight they are a deep ensemble (Lakshminarayanan, Pritzel and Blundell
    2017, without their adversarial training), which :func:`symvi.compare` takes too.

    Parameters
    ----------
    restarts, steps : int
        Starts by ``bnn.init``, Adam steps.
    learning_rate : float
        Adam's rate in the first step; it falls along a half cosine.

    Returns
    -------
    (dict, array)
        Weights ``(restarts, *shape)`` by name, and their log joint densities ``(restarts,)`` in
        nats.

    Raises
    ------
    ValueError
        For arguments or data out of range, and where a restart diverges.
    """
    restarts = positive_int("restarts", restarts)
    steps = positive_int("steps", steps)
    learning_rate = positive_number("learning_rate", learning_rate)
    keys = jax.random.split(seed_to_key(seed), restarts)
    x, y = check_pairs(bnn, x, y)
    found, heights = _climb(bnn, steps, learning_rate, x, y, keys)
    heights = np.asarray(heights)
    if not np.isfinite(heights).all():
        got = f"{(~np.isfinite(heights)).sum()} of {restarts} restarts that diverged"
        raise expected("modes", "finite log joint densities", got, "lower learning_rate")
    return found, heights


@partial(jax.jit, static_argnames=("bnn", "steps"))
def _climb(bnn, steps, learning_rate, x, y, keys):
    """All restarts: weights ``(restarts, *shape)`` and log joints ``(restarts,)``."""
    adam = optax.adam(optax.cosine_decay_schedule(1.0, steps))

    def loss(w):
        return -bnn.log_joint(w, x, y)

    def step(carry, _):
        w, state = carry
        update, state = adam.update(jax.grad(loss)(w), state)
        w = jax.tree.map(lambda a, u: a + learning_rate * u, w, update)
        return (w, state), None

    def climbed(key):
        start = bnn.init(key)
        (w, _), _ = jax.lax.scan(step, (start, adam.init(start)), None, length=steps)
        return w, -loss(w)

    return jax.vmap(climbed)(keys)


def best_of(found: dict, heights) -> dict:
    """The highest of the `found` modes: one set of weights."""
    best = int(np.argmax(heights))
    return {name: jnp.asarray(value[best]) for name, value in found.items()}
