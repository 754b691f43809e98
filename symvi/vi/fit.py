"""Variational inference: the evidence lower bound, and its maximisation with restarts in one compiled scan."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from tqdm.auto import tqdm

from symvi.checks import as_key, one_of, positive_int, seed_to_key, shows_progress
from symvi.estimates import Estimate, from_samples
from symvi.information.method import Method, warn_if_trivial
from symvi.information.methods import as_method
from symvi.information.pairwise import pairwise_bounds
from symvi.information.symmetrized import Symmetrized, as_posterior
from symvi.models import BNN
from symvi.posteriors.mean_field import MeanField
from symvi.posteriors.unit_normal import UnitNormal
from symvi.vi.checkpoint import fingerprint, load, save

COVARIANCES = ("diagonal", "unit")
MONITOR_SAMPLES = 100
LARGE = 10_000  # data; beyond, 20 draws evaluate a fit


@partial(jax.jit, static_argnames=("bnn", "method", "num_samples"))
def _pointwise_elbo(bnn, q, x, y, key, method, num_samples):
    k_weights, k_group = jax.random.split(key)
    w, keys = q.sample(k_weights, num_samples), jax.random.split(k_group, num_samples)
    at_once = method.draws_at_once(q.symmetry)

    def one(draw_and_key):
        draw, draw_key = draw_and_key
        return bnn.log_joint(draw, x, y) + method.pointwise(q, draw, draw_key)

    drawn = jax.lax.map(one, (w, keys), batch_size=at_once)
    return q.entropy() + method.final_closed_form(q) + drawn


def elbo(
    bnn: BNN,
    q,
    x,
    y,
    *,
    symmetrize: str | Method | None = None,
    key=None,
    num_samples: int = 1000,
    num_permutations: int | None = None,
) -> Estimate:
    """The evidence lower bound of `q` (or of `q` symmetrized), in nats, by Monte Carlo.

    L = E_q[log p(y, w | x)] + H(q); L_G = L + I(g; w) (Gelberg et al. 2024, Theorem 4.1).

    Parameters
    ----------
    bnn : BNN
    q : MeanField, UnitNormal, Symmetrized or Fit
        A Symmetrized posterior is evaluated with its own method unless told otherwise.
    x, y : arrays (N, d_in) and (N, d_out) or, for labels, (N,)
    symmetrize : None or a method of :func:`orbit_information`
        None: L. "exact": L_G, unbiased. "infonce", "guided" (K = `num_permutations`, 20 by default) and "pairwise":
        lower bounds of L_G. "bethe": an upper bound of L_G.
    key : JAX key, optional

    Returns
    -------
    Estimate
        kind "exact" for None and "exact" (unbiased for the bound named), otherwise "lower" or "upper".

    Raises
    ------
    ValueError
        Unknown `symmetrize`, num_samples < 1, K < 1, bad data, or a group too large for "exact".
    """
    method = as_method(symmetrize, "symmetrize", num_permutations)
    num_samples = positive_int("num_samples", num_samples)
    x, y = bnn.check_data(x, y)
    q = as_posterior(q)
    if isinstance(q, Symmetrized):
        method = q.method if symmetrize is None else method
        q = q.base
    method.check(q.symmetry, "symmetrize")
    if method.name is not None:
        warn_if_trivial(q.symmetry)
    values = _pointwise_elbo(bnn, q, x, y, as_key(key), method, num_samples)
    return from_samples(np.asarray(values), method.kind)


class Monitor(NamedTuple):
    """What :func:`fit` measured along training, every ``monitor_every`` steps: arrays ``(times,)`` or ``(times, restarts)``, in nats.

    ``elbo`` is L by 100 fresh draws; ``lower`` and ``upper`` are the certified pairwise bounds of I(g; w);
    ``log_order`` is log |G|, the most that I can be.
    """

    steps: np.ndarray
    elbo: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    log_order: float


@dataclass(frozen=True)
class Fit:
    """What :func:`fit` returns.

    Attributes
    ----------
    posterior : MeanField, UnitNormal or Symmetrized
        The best restart by its own objective, evaluated afresh; symmetrized if the fit was.
    posteriors : list of MeanField or UnitNormal
        The restarts that stayed finite, in order; ``kept`` holds their numbers.
    elbos : list of Estimate
        Their own objective in nats, on 1000 fresh draws (100 for "guided", 20 beyond 10,000 data).
    losses : array (restarts, steps)
        The Monte Carlo loss (negative ELBO, nats) along training, of all restarts.
    monitor : Monitor or None
        What ``monitor_every`` asked for, of all restarts.
    """

    bnn: BNN
    posterior: MeanField | Symmetrized
    posteriors: list
    elbos: list
    losses: np.ndarray
    kept: tuple
    symmetrize: str | Method | None
    monitor: Monitor | None = None

    def predict(self, x_new, *, num: int = 1000, key=None) -> jax.Array:
        """Network outputs at `x_new` under `num` draws of the posterior, shape ``(num, N, d_out)``.

        q and q_G give the same distribution over functions (Gelberg et al. 2024, Appendix C), so q is drawn from.
        """
        base = self.posterior.base if isinstance(self.posterior, Symmetrized) else self.posterior
        return predict(self.bnn, base, x_new, num=num, key=key)


def predict(bnn: BNN, q, x_new, *, num: int = 1000, key=None) -> jax.Array:
    """Network outputs at `x_new` of shape ``(N, d_in)`` under `num` draws of `q`: shape ``(num, N, d_out)``."""
    x_new = bnn.check_inputs(x_new)
    return _outputs(
        bnn, q.sample(jax.random.key(0) if key is None else key, positive_int("num", num)), x_new
    )


@partial(jax.jit, static_argnames="bnn")
def _outputs(bnn, draws, x):
    return jax.vmap(lambda w: bnn.net.apply(w, x))(draws)


def fit(
    bnn: BNN,
    x,
    y,
    *,
    symmetrize: str | Method | None = None,
    steps: int = 5000,
    restarts: int = 8,
    num_samples: int = 8,
    num_permutations: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 1e-2,
    initial_scale: float = 0.05,
    covariance: str = "diagonal",
    monitor_every: int | None = None,
    checkpoint=None,
    seed: int = 0,
    progress: bool = True,
) -> Fit:
    """Fit a Gaussian posterior, plain or under symmetrization, by stochastic gradient ascent on the ELBO (Adam).

    All restarts run side by side in one compiled scan, shared out over JAX's devices where these divide them. Restart r starts from ``bnn.init`` with its own key, and uses
    the same draws for the same `seed` whatever `symmetrize` is, so two fits are paired restart by restart.

    Parameters
    ----------
    bnn : BNN
    x, y : arrays (N, d_in) and (N, d_out) or, for labels, (N,)
    symmetrize : None, "exact", "infonce", "guided", "pairwise" or "bethe"
        What is maximised: L, L_G (small groups), or L plus a bound of I(g; w): the paper's with K = `num_permutations`
        ("infonce"; Gelberg et al. 2024, Theorem 4.3), guided permutations (gradient through the importance weights, not
        through their proposal), the pairwise bound (no sampling), or the Bethe
        permanent of each draw (one hidden layer).
    steps, restarts, num_samples : int
        Adam steps, independent starts, weight draws a step.
    batch_size : int or None
        Data a step (drawn by shuffled epochs, likelihood scaled by N / batch_size); None uses all. Ten epochs are ``steps=10 * (N // batch_size)``.
    learning_rate, initial_scale : float
        Adam's rate; the standard deviation every weight starts with.
    covariance : "diagonal" or "unit"
        Independent weights (:class:`MeanField`), or full covariance inside each hidden unit (:class:`UnitNormal`).
    monitor_every : int, optional
        Record L and certified bounds of I(g; w) every so many steps (a divisor of `steps`). Nothing is computed without it.
    checkpoint : path, optional
        A file to keep the state in, about twenty times along the way. If it is there, the fit goes on from it and ends
        as it would have without the interruption, bit for bit on the same machine. It stays; delete it to begin anew.
    seed : int
    progress : bool
        Show a bar in a notebook or terminal.

    Raises
    ------
    ValueError
        For arguments or data out of range, for a checkpoint that is damaged or of another fit, and as soon as every restart
        has diverged (with the first bad step). A restart that diverges alone is reported by a warning and left out.
    """
    method = as_method(symmetrize, "symmetrize", num_permutations)
    steps, restarts = positive_int("steps", steps), positive_int("restarts", restarts)
    num_samples = positive_int("num_samples", num_samples)
    for name, value in (("learning_rate", learning_rate), ("initial_scale", initial_scale)):
        if not (np.isscalar(value) and value > 0 and np.isfinite(value)):
            raise ValueError(
                f"{name}: expected a positive number, got {value!r}; pass for example {name}=0.01"
            )
    one_of("covariance", covariance, COVARIANCES)
    method.check(bnn.symmetry, "symmetrize")
    if monitor_every is not None and steps % positive_int("monitor_every", monitor_every):
        raise ValueError(
            f"monitor_every: expected a divisor of steps = {steps}, got {monitor_every}; pass for example {max(1, steps // 20)}"
        )
    key = seed_to_key(seed)
    x, y = bnn.check_data(x, y)
    batches = _batches(len(x), batch_size, steps, seed)

    k_init, k_steps, k_eval = jax.random.split(key, 3)
    starts = jax.vmap(bnn.init)(jax.random.split(k_init, restarts))
    settings = (bnn, method, num_samples)
    loc = jax.vmap(lambda w: ravel_pytree(w)[0])(starts)
    lower = {}
    if covariance == "unit":
        lower = {
            g.name: jnp.zeros(
                (
                    restarts,
                    g.size,
                    *2
                    * (
                        bnn.symmetry.own_units(jax.tree.map(lambda a: a[0], starts), g.name).shape[
                            1
                        ],
                    ),
                )
            )
            for g in bnn.symmetry.groups
        }
    theta = (loc, jnp.full_like(loc, np.log(initial_scale)), lower)
    messages = jax.jit(jax.vmap(lambda t: method.start(_posterior(bnn, t))))(theta)
    keys, draws = jax.vmap(lambda k: _draw(k, num_samples, loc[0]))(
        jax.random.split(k_steps, restarts)
    )
    state = _shared_out(
        (theta, jax.vmap(optax.adam(1.0).init)(theta), keys, draws, messages), restarts
    )

    # equal chunks compile once
    chunks = (
        next(c for c in range(min(20, steps), 0, -1) if steps % c == 0)
        if monitor_every is None
        else steps // monitor_every
    )
    losses, seen, done = [], [], 0
    if checkpoint is not None:
        model = (
            bnn.shapes,
            bnn.symmetry,
            bnn.log_joint(jax.tree.map(lambda a: a[0], starts), x, y),
        )
        mark = fingerprint(
            *model,
            *settings[1:],
            steps,
            restarts,
            batch_size,
            learning_rate,
            initial_scale,
            covariance,
            seed,
            monitor_every,
            jax.__version__,
            x,
            y,
        )
        if Path(checkpoint).exists():
            state, past = load(checkpoint, mark, state)
            losses, seen, done, state = (
                [past["losses"]],
                list(past["seen"]),
                past["losses"].shape[1],
                _shared_out(state, restarts),
            )
    with tqdm(
        total=steps,
        initial=done,
        desc="fit",
        unit="step",
        disable=not shows_progress(progress),
        leave=False,
    ) as bar:
        for chunk in np.split(np.arange(steps), chunks)[done * chunks // steps :]:
            rows = (
                jnp.zeros((len(chunk), 0), int) if batches is None else jnp.asarray(batches[chunk])
            )
            state, loss = _run(*settings, state, x, y, rows, learning_rate)
            losses.append(np.asarray(loss).T)
            if not np.isfinite(losses[-1]).all(axis=1).any():  # no restart is left: say so now
                break
            if monitor_every is not None:
                seen.append(np.stack(_measure(bnn, state[0], x, y, k_eval)))
            if checkpoint is not None:
                save(
                    checkpoint,
                    mark,
                    state,
                    losses=np.concatenate(losses, axis=1),
                    seen=np.array(seen),
                )
            bar.update(len(chunk))
    losses = np.concatenate(losses, axis=1)
    monitor = (
        Monitor(
            np.arange(1, len(seen) + 1) * monitor_every,
            *np.stack(seen, axis=1),
            bnn.symmetry.log_order,
        )
        if seen
        else None
    )

    good = np.isfinite(losses).all(axis=1) & np.array(
        [np.isfinite(leaf).reshape(restarts, -1).all(axis=1) for leaf in jax.tree.leaves(state[0])]
    ).all(axis=0)
    kept = tuple(int(r) for r in np.flatnonzero(good))
    _report_diverged(losses, good)
    posteriors = [_posterior(bnn, jax.tree.map(lambda a, r=r: a[r], state[0])) for r in kept]
    draws = 20 if len(x) > LARGE else method.evaluation_draws
    elbos = [
        elbo(
            bnn,
            q,
            x,
            y,
            symmetrize=method,
            key=k_eval,
            num_samples=draws,
        )
        for q in posteriors
    ]
    best = posteriors[int(np.argmax([e.value for e in elbos]))]
    return Fit(
        bnn,
        best if symmetrize is None else Symmetrized(best),
        posteriors,
        elbos,
        losses,
        kept,
        symmetrize,
        monitor,
    )


def _shared_out(state, restarts):
    """`state` with its leading axis, the restarts, over all devices, if they divide it."""
    devices = np.array(jax.devices())
    if devices.size == 1 or restarts % devices.size:
        return state
    return jax.device_put(
        state,
        jax.sharding.NamedSharding(
            jax.sharding.Mesh(devices, ("restarts",)), jax.sharding.PartitionSpec("restarts")
        ),
    )


def _posterior(bnn, theta):
    """The posterior that the unconstrained `theta` = (flat loc, flat log scale, lower factors) describes; none of the last: mean field."""
    shapes = jax.eval_shape(bnn.init, jax.random.key(0))
    unravel = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes))[1]
    loc, scale = unravel(theta[0]), jax.tree.map(jnp.exp, unravel(theta[1]))
    return (
        UnitNormal(loc, scale, bnn.symmetry, theta[2])
        if theta[2]
        else MeanField(loc, scale, bnn.symmetry)
    )


@partial(jax.jit, static_argnums=0)
def _measure(bnn, theta, x, y, key):
    """L and the certified bounds of I(g; w), each of shape (restarts,)."""

    def one(theta):
        q = _posterior(bnn, theta)
        return q.entropy() + jax.vmap(lambda w: bnn.log_joint(w, x, y))(
            q.sample(key, MONITOR_SAMPLES)
        ).mean(), *pairwise_bounds(q)

    return jax.vmap(one)(theta)


def _draw(key, num_samples, like):
    """The next key, and one step's randomness: standard normal noise ``(num_samples, num_weights)`` and a key for each draw of the weights."""
    key, k = jax.random.split(key)
    k_weights, k_group = jax.random.split(k)
    return key, (
        jax.random.normal(k_weights, (num_samples, like.size), like.dtype),
        jax.random.split(k_group, num_samples),
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(bnn, method, num_samples, state, x, y, rows, learning_rate):
    """`len(rows)` Adam steps on every restart; returns the new state and the losses, shape (steps, restarts).

    A step's noise was drawn by the step before: drawn in the step that uses it, the compiler would fuse the random
    numbers into every place that reads them and draw them again there, ten times slower.
    """
    unravel = ravel_pytree(
        jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(bnn.init, jax.random.key(0))
        )
    )[1]
    adam = optax.adam(1.0)

    def loss(theta, messages, draws, x, y, weight):
        q = _posterior(bnn, theta)
        sure, messages = method.closed_form(q, messages)

        def pointwise(noise, key):
            w = q.from_noise(unravel(noise))
            return (
                bnn.log_prior(w)
                + weight * bnn.log_likelihood(w, x, y)
                + method.pointwise(q, w, key)
            )

        return -q.entropy() - sure - jax.vmap(pointwise)(*draws).mean(), messages

    def step(state, row):
        batch = (x, y, 1.0) if row.size == 0 else (x[row], y[row], len(x) / row.size)

        def one(theta, adam_state, key, draws, messages):
            (value, messages), slope = jax.value_and_grad(loss, has_aux=True)(
                theta, messages, draws, *batch
            )
            update, adam_state = adam.update(slope, adam_state)
            theta = jax.tree.map(lambda t, u: t + learning_rate * u, theta, update)
            return (theta, adam_state, *_draw(key, num_samples, theta[0]), messages), value

        return jax.vmap(one)(*state)

    return jax.lax.scan(step, state, rows)


def _batches(num_data, batch_size, steps, seed):
    """Row numbers of each step's minibatch, shape (steps, batch_size): shuffled epochs, shared by all restarts. None for all data."""
    if batch_size is None:
        return None
    batch_size = positive_int("batch_size", batch_size)
    if batch_size > num_data:
        raise ValueError(
            f"batch_size: expected at most N = {num_data}, got {batch_size}; pass None for all data"
        )
    rng, per_epoch = np.random.default_rng(seed), num_data // batch_size
    epochs = [
        rng.permutation(num_data)[: per_epoch * batch_size].reshape(per_epoch, batch_size)
        for _ in range(-(-steps // per_epoch))
    ]
    return np.concatenate(epochs)[:steps]


def _report_diverged(losses, good):
    bad = {
        int(r): int(np.argmax(~np.isfinite(losses[r])))
        if not np.isfinite(losses[r]).all()
        else losses.shape[1]
        for r in np.flatnonzero(~good)
    }
    advice = "lower learning_rate or initial_scale, or standardise the data"
    if bad and len(bad) == len(good):
        raise ValueError(
            f"fit: expected at least one restart with finite loss, got none; the first non-finite loss is at step {min(bad.values())}; {advice}"
        )
    if listed := ", ".join(f"{r} (step {s})" for r, s in bad.items()):
        warnings.warn(f"fit: restarts {listed} diverged and are left out; {advice}", stacklevel=3)
