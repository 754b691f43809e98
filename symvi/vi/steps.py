"""The steps of training: Adam on every restart side by side, in one compiled scan."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symvi.information.method import Method
from symvi.information.pairwise import pairwise_bounds
from symvi.models import BNN
from symvi.posteriors.mean_field import MeanField
from symvi.posteriors.unit_normal import UnitNormal

ADAM = optax.adam(
    1.0
)  # its updates are scaled by the learning rate, which is then no part of what is compiled
MONITOR_SAMPLES = 100


class Theta(NamedTuple):
    """What is trained, unconstrained: one posterior, or with a leading axis one for each restart.

    `loc` and `log_scale` have shape ``(num_weights,)``; `lower` holds the factors ``(n, d, d)`` of
    :class:`UnitNormal` by unit group, and nothing for mean field.
    """

    loc: jax.Array
    log_scale: jax.Array
    lower: dict


class State(NamedTuple):
    """All that a fit remembers from one step to the next; every leaf has a leading axis
    ``(restarts,)``.

    `draws` is the next step's randomness, made by :func:`next_draws`; `method` what the method
    keeps between steps.
    """

    theta: Theta
    adam: tuple
    key: jax.Array
    draws: tuple
    method: dict


class Batch(NamedTuple):
    """The data of one step, and N over their number."""

    x: jax.Array
    y: jax.Array
    weight: float


def posterior_of(bnn: BNN, theta: Theta) -> MeanField:
    """The posterior that `theta` describes, for one restart."""
    loc = bnn.unravel(theta.loc)
    scale = jax.tree.map(jnp.exp, bnn.unravel(theta.log_scale))
    if theta.lower:
        return UnitNormal(loc, scale, bnn.symmetry, theta.lower)
    return MeanField(loc, scale, bnn.symmetry)


def next_draws(key, num_samples: int, loc) -> tuple:
    """The next key, and one step's randomness: normal noise ``(num_samples, num_weights)`` and a
    key for each draw."""
    key, k_step = jax.random.split(key)
    k_weights, k_group = jax.random.split(k_step)
    noise = jax.random.normal(k_weights, (num_samples, loc.size), loc.dtype)
    return key, (noise, jax.random.split(k_group, num_samples))


def _loss(theta, method_state, bnn, method, draws, batch):
    """The negative ELBO of one restart by its draws, in nats, and the method's next state."""
    q = posterior_of(bnn, theta)
    sure, method_state = method.closed_form(q, method_state)

    def drawn(noise, key):
        w = q.from_noise(bnn.unravel(noise))
        log_likelihood = batch.weight * bnn.log_likelihood(w, batch.x, batch.y)
        return bnn.log_prior(w) + log_likelihood + method.pointwise(q, w, key)

    return -q.entropy() - sure - jax.vmap(drawn)(*draws).mean(), method_state


def _step_of_one(state, bnn, method, num_samples, learning_rate, batch):
    """One step of one restart: its new state and its loss."""
    loss = jax.value_and_grad(_loss, has_aux=True)
    (value, method_state), slope = loss(state.theta, state.method, bnn, method, state.draws, batch)
    update, adam = ADAM.update(slope, state.adam)
    theta = jax.tree.map(lambda t, u: t + learning_rate * u, state.theta, update)
    key, draws = next_draws(state.key, num_samples, theta.loc)
    return State(theta, adam, key, draws, method_state), value


@partial(jax.jit, static_argnames=("bnn", "method", "num_samples"))
def run(
    bnn: BNN, method: Method, num_samples: int, state: State, x, y, rows, learning_rate, limit=None
) -> tuple:
    """Adam steps on every restart: the new state, and the losses ``(len(rows), restarts)`` in nats.

    `rows` are the numbers of each step's data, ``(steps, batch_size)``, or ``(steps, 0)`` for all
    data. With a `limit` only so many steps are done, and the other losses are NaN: chunks of all
    lengths then share one program.

    A step's noise was drawn by the step before: drawn in the step that uses it, the compiler would
    fuse the random numbers into every place that reads them and draw them again there, ten times
    slower.
    """

    def step(state, row):
        batch = Batch(x, y, 1.0)
        if row.size:
            batch = Batch(x[row], y[row], len(x) / row.size)
        one = partial(
            _step_of_one,
            bnn=bnn,
            method=method,
            num_samples=num_samples,
            learning_rate=learning_rate,
            batch=batch,
        )
        return jax.vmap(one)(state)

    if limit is None:
        return jax.lax.scan(step, state, rows)
    losses = jax.eval_shape(step, state, rows[0])[1]

    def wait(state, row):
        return state, jnp.full(losses.shape, jnp.nan, losses.dtype)

    def step_or_wait(state, numbered):
        number, row = numbered
        return jax.lax.cond(number < limit, step, wait, state, row)

    return jax.lax.scan(step_or_wait, state, (jnp.arange(len(rows)), rows))


@partial(jax.jit, static_argnames="bnn")
def measure(bnn: BNN, theta: Theta, x, y, key) -> tuple:
    """L by 100 draws and the certified bounds of I(g; w), each of shape ``(restarts,)``, in
    nats."""

    def one(theta):
        q = posterior_of(bnn, theta)
        draws = q.sample(key, MONITOR_SAMPLES)
        log_joints = jax.vmap(lambda w: bnn.log_joint(w, x, y))(draws)
        return q.entropy() + log_joints.mean(), *pairwise_bounds(q)

    return jax.vmap(one)(theta)


def batch_rows(num_data: int, batch_size: int | None, steps: int, seed: int):
    """Row numbers of each step's data, ``(steps, batch_size)``: shuffled epochs, shared by all
    restarts.

    ``(steps, 0)`` stands for all data. The first rows are the same whatever `steps` is.
    """
    if batch_size is None:
        return np.zeros((steps, 0), int)
    rng = np.random.default_rng(seed)
    per_epoch = num_data // batch_size
    epochs = []
    for _ in range(-(-steps // per_epoch)):
        shuffled = rng.permutation(num_data)[: per_epoch * batch_size]
        epochs.append(shuffled.reshape(per_epoch, batch_size))
    return np.concatenate(epochs)[:steps]


def shared_out(state: State, restarts: int) -> State:
    """`state` with its leading axis, the restarts, over all devices, if they divide it."""
    devices = np.array(jax.devices())
    if devices.size == 1 or restarts % devices.size:
        return state
    mesh = jax.sharding.Mesh(devices, ("restarts",))
    spec = jax.sharding.PartitionSpec("restarts")
    return jax.device_put(state, jax.sharding.NamedSharding(mesh, spec))
