"""The maximisation of the ELBO: restarts side by side, in equal chunks of one compiled scan."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from symvi.checks import (
    as_numbers,
    as_scalar,
    described,
    expected,
    flag,
    one_of,
    positive_int,
    positive_number,
    seed_to_key,
    shows_progress,
)
from symvi.information.method import Method, Plain, warn_if_trivial
from symvi.information.methods import as_method, check_at
from symvi.information.symmetrized import Symmetrized, as_base
from symvi.models import BNN, check_model
from symvi.posteriors.mean_field import MeanField
from symvi.vi.archive import as_path
from symvi.vi.checkpoint import Checkpoint, fingerprint, software
from symvi.vi.objective import evaluated
from symvi.vi.record import Fit, Monitor
from symvi.vi.steps import (
    ADAM,
    State,
    Theta,
    batch_rows,
    measure,
    next_draws,
    posterior_of,
    run,
    shared_out,
)

COVARIANCES = ("diagonal", "unit")
CHUNKS = 20  # how often a fit saves its state and updates its bar
LARGE = 10_000  # data; beyond, few draws evaluate a fit
DRAWS_OF_LARGE = 20
RISING = 1.0  # nats over the last tenth of the steps, beyond noise: then a fit is not done
NO_START = (
    "check the parameters of the likelihood (a rate or a scale needs jnp.exp of the outputs), "
    "the scale of y, and where the weights start"
)
ADVICE = "lower learning_rate or initial_scale, or standardise the data"


@dataclass(frozen=True)
class _Plan:
    """What is to be done: the arguments of :func:`fit`, checked."""

    bnn: BNN
    x: jax.Array
    y: jax.Array
    symmetrize: str | Method | None
    method: Method
    steps: int
    restarts: int
    num_samples: int
    batch_size: int | None
    learning_rate: float
    initial_scale: float
    covariance: str
    monitor_every: int | None
    checkpoint: object
    init: MeanField | None
    seed: int
    progress: bool

    def keys(self) -> tuple:
        """The keys of starting weights, of steps and of what is measured."""
        return jax.random.split(seed_to_key(self.seed), 3)


@dataclass(frozen=True)
class _Trained:
    """What training left: the state, the losses ``(restarts, done)`` and what was monitored."""

    state: State
    losses: np.ndarray
    seen: list


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
    init=None,
    seed: int = 0,
    progress: bool = True,
) -> Fit:
    """Fit a Gaussian posterior, plain or under symmetrization, by stochastic gradient ascent on the
    ELBO (Adam).

    All restarts run side by side in one compiled scan, shared out over JAX's devices where these
    divide them. Restart r starts from ``bnn.init`` with its own key, and uses the same draws for
    the same `seed` whatever `symmetrize` is, so two fits are paired restart by restart.

    Parameters
    ----------
    bnn : BNN
    x, y : arrays (N, d_in) and (N, d_out) or, for labels, (N,)
    symmetrize : None, str or Method
        None, "exact", "infonce", "guided", "pairwise", "subadditive", "tightest", "bethe", or an
        object of :mod:`symvi.information`. What is maximised: L, L_G (small groups), or L plus a
        bound of I(g; w): the paper's with K = `num_permutations` ("infonce"; Gelberg et al. 2024,
        Theorem 4.3), guided permutations (gradient through the importance weights, not through
        their proposal), a bound without sampling (pairwise, subadditive, or the better of the two),
        or the Bethe permanent of each draw (one hidden layer).
    steps, restarts, num_samples : int
        Adam steps, independent starts, weight draws a step.
    batch_size : int or None
        Data a step (drawn by shuffled epochs, likelihood scaled by N / batch_size); None uses all.
        Ten epochs are
        ``steps=10 * (N // batch_size)``.
    learning_rate, initial_scale : float
        Adam's rate; the standard deviation every weight starts with.
    covariance : "diagonal" or "unit"
        Independent weights (:class:`MeanField`), or full covariance inside each hidden unit
        (:class:`UnitNormal`).
    monitor_every : int, optional
        Record L and certified bounds of I(g; w) every so many steps (a divisor of `steps`). Nothing
        is computed without it.
    checkpoint : path, optional
        A file to keep the state in, about twenty times along the way. If it is there, the fit goes
        on from it and ends as it would have without the interruption, bit for bit on the same
        machine; with more `steps` than it has, a finished fit goes on too. It stays; delete it to
        begin anew.
    init : dict of arrays, posterior or Fit, optional
        Where to start instead: weights by name (the likelihood's own may be missing), or a
        posterior, whose scales stand in place of `initial_scale`. Restart 0 starts there; the means
        of the others are draws of this start.
    seed : int
    progress : bool
        Show a bar, with the ELBO of the best restart, in a notebook or terminal.

    Raises
    ------
    ValueError
        For arguments or data out of range, for a checkpoint that is damaged or of another fit, and
        as soon as every restart has diverged (with the first bad step).
    OSError
        Before any work, if the checkpoint can't be written.

    Warns
    -----
    UserWarning
        If some restarts diverged, which are left out; and if the ELBO of the best restart still
        rose over the last tenth of at least 1000 steps (see :meth:`Fit.last_rise`) by more than 1
        nat and 4 standard errors.
    """
    plan = _checked(
        bnn,
        x,
        y,
        symmetrize=symmetrize,
        num_permutations=num_permutations,
        steps=steps,
        restarts=restarts,
        num_samples=num_samples,
        batch_size=batch_size,
        learning_rate=learning_rate,
        initial_scale=initial_scale,
        covariance=covariance,
        monitor_every=monitor_every,
        checkpoint=checkpoint,
        init=init,
        seed=seed,
        progress=progress,
    )
    start = _start(plan)
    trained = _train(plan, start)
    result = _judged(plan, trained)
    _warn_if_rising(result, plan.steps)
    return result


# what is asked for


def _checked(bnn, x, y, *, symmetrize, num_permutations, init, checkpoint, seed, **options):
    """The arguments of :func:`fit` as a plan, or ValueError."""
    check_model(bnn)
    method = as_method(symmetrize, "symmetrize", num_permutations)
    method.check(bnn.symmetry, "symmetrize")
    seed_to_key(seed)
    x, y = bnn.check_data(x, y)
    plan = _Plan(
        bnn=bnn,
        x=x,
        y=y,
        symmetrize=symmetrize,
        method=method,
        checkpoint=None if checkpoint is None else as_path("checkpoint", checkpoint),
        init=None if init is None else _as_start(bnn, init, options["initial_scale"]),
        seed=as_scalar(seed),
        **_checked_options(**options),
    )
    if plan.monitor_every is not None and plan.steps % plan.monitor_every:
        wanted = f"a divisor of steps = {plan.steps}"
        remedy = f"pass for example {_divisor(plan.steps, plan.steps // CHUNKS)}"
        raise expected("monitor_every", wanted, plan.monitor_every, remedy)
    if plan.batch_size is not None and plan.batch_size > len(x):
        remedy = "pass None for all data"
        raise expected("batch_size", f"at most N = {len(x)}", plan.batch_size, remedy)
    if not isinstance(method, Plain):
        warn_if_trivial(bnn.symmetry, stacklevel=4)
    return plan


def _divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`; 1 if there is none."""
    return next((part for part in range(most, 1, -1) if number % part == 0), 1)


def _checked_options(
    *,
    steps,
    restarts,
    num_samples,
    batch_size,
    learning_rate,
    initial_scale,
    covariance,
    monitor_every,
    progress,
) -> dict:
    one_of("covariance", covariance, COVARIANCES)
    if batch_size is not None:
        batch_size = positive_int("batch_size", batch_size)
    if monitor_every is not None:
        monitor_every = positive_int("monitor_every", monitor_every)
    return {
        "steps": positive_int("steps", steps),
        "restarts": positive_int("restarts", restarts),
        "num_samples": positive_int("num_samples", num_samples),
        "batch_size": batch_size,
        "learning_rate": positive_number("learning_rate", learning_rate),
        "initial_scale": positive_number("initial_scale", initial_scale),
        "covariance": covariance,
        "monitor_every": monitor_every,
        "progress": flag("progress", progress),
    }


def _as_start(bnn, init, initial_scale) -> MeanField:
    """What the user gives as `init`, as a posterior."""
    if not isinstance(init, dict):
        if not isinstance(getattr(init, "posterior", init), (MeanField, Symmetrized)):
            wanted = "a MeanField, UnitNormal, Symmetrized, Fit or dict of weights by name"
            remedy = 'pass for example {"W1": array} or a posterior'
            raise expected("init", wanted, described(init), remedy)
        q = as_base(init, "init")
        bnn.check_params(q.loc, "init")
        return q
    own = bnn.own_starts()
    loc = {name: as_numbers(f"init[{name!r}]", value) for name, value in {**own, **init}.items()}
    bnn.check_params(loc, "init")
    loc = {name: jnp.asarray(value, float) for name, value in sorted(loc.items())}
    scale = positive_number("initial_scale", initial_scale)
    return MeanField(loc, jax.tree.map(lambda a: jnp.full_like(a, scale), loc), bnn.symmetry)


# where it starts


def _start(plan: _Plan) -> State:
    """The state before the first step."""
    k_init, k_steps, _ = plan.keys()
    theta = _first_theta(plan, jax.random.split(k_init, plan.restarts))

    def looked_at(theta):
        check_at(plan.method, posterior_of(plan.bnn, _only(theta, 0)), "symmetrize")
        return theta

    jax.eval_shape(looked_at, theta)  # abstract: a start may be infinite

    def method_state(theta):
        return plan.method.start(posterior_of(plan.bnn, theta))

    def draws(key):
        return next_draws(key, plan.num_samples, theta.loc[0])

    kept_by_method = jax.jit(jax.vmap(method_state))(theta)
    keys, first_draws = jax.vmap(draws)(jax.random.split(k_steps, plan.restarts))
    adam = jax.vmap(ADAM.init)(theta)
    return shared_out(State(theta, adam, keys, first_draws, kept_by_method), plan.restarts)


def _first_theta(plan, keys) -> Theta:
    """Means by the network's initialiser, or about `init`; scales of `initial_scale`, or those of
    `init`."""
    bnn = plan.bnn
    if plan.init is None:
        loc = jax.vmap(bnn.ravel)(jax.vmap(bnn.init)(keys))
        log_scale = jnp.full_like(loc, np.log(plan.initial_scale))
        return Theta(loc, log_scale, _no_correlation(plan, bnn.unravel(loc[0])))
    center, scale = bnn.ravel(plan.init.loc), bnn.ravel(plan.init.scale)

    def about(key):
        return center + scale * jax.random.normal(key, center.shape, center.dtype)

    loc = jax.vmap(about)(keys).at[0].set(center)
    log_scale = jnp.broadcast_to(jnp.log(scale), loc.shape)
    lower = _no_correlation(plan, plan.init.loc)
    for name in lower:
        given = plan.init.unit_gaussians(name).lower
        if given is not None:
            lower[name] = jnp.broadcast_to(given, lower[name].shape)
    return Theta(loc, log_scale, lower)


def _no_correlation(plan, params) -> dict:
    """Zero factors for every unit group, with a leading axis for the restarts; none of them for
    mean field."""
    if plan.covariance != "unit":
        return {}
    lower = {}
    for group in plan.bnn.symmetry.groups:
        num_units, num_weights = plan.bnn.symmetry.own_units(params, group.name).shape
        lower[group.name] = jnp.zeros((plan.restarts, num_units, num_weights, num_weights))
    return lower


# training


def _train(plan: _Plan, state: State) -> _Trained:
    """Run the steps in equal chunks; stop early if no restart is left."""
    file = None if plan.checkpoint is None else _checkpoint(plan)
    losses, seen = np.zeros((plan.restarts, 0)), []
    if file is not None and file.path.exists():
        state, losses, seen = file.load(state, plan.steps)
        state = shared_out(state, plan.restarts)
    elif file is not None:
        file.save(state, losses, seen)  # a folder that can't be written to: say so before any work
    with _bar(plan, losses.shape[1]) as bar:
        try:
            for chunk in _chunks(plan, losses.shape[1]):
                state, loss = _run_chunk(plan, state, chunk)
                losses = np.concatenate([losses, loss], axis=1)
                if not np.isfinite(loss).all(axis=1).any():  # no restart is left: say so now
                    break
                if plan.monitor_every is not None:
                    seen = [*seen, _measured(plan, state)]
                if file is not None:
                    file.save(state, losses, seen)
                bar.set_postfix_str(f"ELBO {-np.nanmin(loss.mean(axis=1)):.1f}", refresh=False)
                bar.update(loss.shape[1])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_where_it_stopped(plan, losses.shape[1])) from None
    return _Trained(state, losses, seen)


@dataclass(frozen=True)
class _Chunk:
    """Some steps: row numbers of their data, and how many of the rows are steps (None: all)."""

    rows: np.ndarray
    limit: int | None


def _chunks(plan, done: int):
    """The steps that are left in chunks of one length, so that they compile once; the last may have
    spare rows."""
    length = _chunk_length(plan)
    rows = batch_rows(len(plan.x), plan.batch_size, plan.steps, plan.seed)[done:]
    has_spare = len(rows) % length > 0
    for first in range(0, len(rows), length):
        part = rows[first : first + length]
        limit = len(part) if has_spare else None
        spare = np.zeros((length - len(part), *rows.shape[1:]), rows.dtype)
        yield _Chunk(np.concatenate([part, spare]), limit)


def _chunk_length(plan) -> int:
    """Of about twenty chunks, without spare rows where steps can be divided so."""
    if plan.monitor_every is not None:
        return plan.monitor_every
    most = min(CHUNKS, plan.steps)
    for num in range(most, most // 2, -1):
        if plan.steps % num == 0:
            return plan.steps // num
    return -(-plan.steps // most)


def _run_chunk(plan, state, chunk) -> tuple:
    """The state after a chunk, and its losses ``(restarts, steps done)``."""
    settings = (plan.bnn, plan.method, plan.num_samples)
    rows = jnp.asarray(chunk.rows)
    state, loss = run(*settings, state, plan.x, plan.y, rows, plan.learning_rate, limit=chunk.limit)
    return state, np.asarray(loss)[: chunk.limit].T


def _measured(plan, state) -> np.ndarray:
    """L and the bounds of I(g; w) now, ``(3, restarts)``."""
    _, _, k_eval = plan.keys()
    return np.stack(measure(plan.bnn, state.theta, plan.x, plan.y, k_eval))


def _checkpoint(plan) -> Checkpoint:
    """The file of this fit, with all that its numbers depend on."""
    bnn = plan.bnn
    first = bnn.init(jax.random.key(0))
    init = () if plan.init is None else tuple(jax.tree.leaves(plan.init))
    group = bnn.symmetry.groups, bnn.symmetry.signed  # in full: the repr of the whole is short
    hashed = {
        "model": fingerprint(bnn.shapes, *group, bnn.log_joint(first, plan.x, plan.y)),
        "x": fingerprint(plan.x),
        "y": fingerprint(plan.y),
        "init": fingerprint(*init),
    }
    names = ("restarts", "num_samples", "batch_size", "learning_rate", "initial_scale")
    names = (*names, "covariance", "monitor_every", "seed")
    settings = {name: repr(getattr(plan, name)) for name in names}
    return Checkpoint(
        plan.checkpoint,
        {"symmetrize": str(plan.method), **settings, **hashed, **software()},
    )


def _bar(plan, done: int):
    return tqdm(
        total=plan.steps,
        initial=done,
        desc="fit",
        unit="step",
        disable=not shows_progress(plan.progress),
        leave=False,
    )


def _where_it_stopped(plan, done: int) -> str:
    """What the user who interrupts a fit wants to know."""
    text = f"fit: stopped after step {done} of {plan.steps}"
    if plan.checkpoint is None:
        return f"{text}; pass checkpoint='fit.npz' to be able to go on"
    return f"{text}; its state is in {plan.checkpoint}, and the same call goes on from there"


# what came of it


def _judged(plan: _Plan, trained: _Trained) -> Fit:
    """The restarts that stayed finite, evaluated by fresh draws, and the best of them."""
    good = _finite_restarts(plan, trained)
    if not np.isfinite(trained.losses[:, :1]).any():  # before any step
        _check_log_joint(plan)
    _report_diverged(trained.losses, good)
    kept = tuple(int(restart) for restart in np.flatnonzero(good))
    posteriors = [posterior_of(plan.bnn, _only(trained.state.theta, r)) for r in kept]
    elbos = [_evaluated(plan, q) for q in posteriors]
    best = posteriors[int(np.argmax([elbo.value for elbo in elbos]))]
    return Fit(
        bnn=plan.bnn,
        posterior=best if isinstance(plan.method, Plain) else Symmetrized(best),
        posteriors=posteriors,
        elbos=elbos,
        losses=trained.losses,
        kept=kept,
        symmetrize=plan.symmetrize,
        monitor=_monitor(plan, trained.seen),
    )


def _evaluated(plan, q):
    """The objective of one restart by fresh draws, the same for all."""
    _, _, k_eval = plan.keys()
    is_large = len(plan.x) > LARGE
    num_samples = DRAWS_OF_LARGE if is_large else plan.method.evaluation_draws
    return evaluated(plan.bnn, q, plan.x, plan.y, plan.method, k_eval, num_samples)


def _monitor(plan, seen: list) -> Monitor | None:
    if not seen:
        return None
    steps = np.arange(1, len(seen) + 1) * plan.monitor_every
    return Monitor(steps, *np.stack(seen, axis=1), plan.bnn.symmetry.log_order)


def _only(theta, restart: int):
    return jax.tree.map(lambda a: a[restart], theta)


def _finite_restarts(plan, trained) -> np.ndarray:
    """Which restarts have finite losses and parameters: booleans ``(restarts,)``."""
    good = np.isfinite(trained.losses).all(axis=1)
    for leaf in jax.tree.leaves(trained.state.theta):
        good &= np.isfinite(leaf).reshape(plan.restarts, -1).all(axis=1)
    return good


def _check_log_joint(plan) -> None:
    """ValueError if the log joint is nowhere finite where the restarts start: no step did that."""
    starts = _start(plan).theta.loc

    def log_joint(loc):
        return plan.bnn.log_joint(plan.bnn.unravel(loc), plan.x, plan.y)

    found = np.asarray(jax.lax.map(log_joint, starts))
    if not np.isfinite(found).any():
        wanted, got = "a finite log joint at the starting weights", str(found[0])
        raise expected("fit", wanted, got, NO_START)


def _report_diverged(losses, good) -> None:
    """Warn of restarts that diverged, with their first bad step; ValueError if that is all of
    them."""
    bad = {}
    for restart in np.flatnonzero(~good):
        finite = np.isfinite(losses[restart])
        bad[int(restart)] = losses.shape[1] if finite.all() else int(np.argmin(finite))
    if not bad:
        return
    if len(bad) == len(good):
        got = f"none; the first non-finite loss is at step {min(bad.values())}"
        raise expected("fit", "at least one restart with finite loss", got, ADVICE)
    listed = ", ".join(f"{restart} (step {step})" for restart, step in bad.items())
    text = f"fit: restarts {listed} diverged and are left out; {ADVICE}"
    warnings.warn(text, stacklevel=4)


def _warn_if_rising(result: Fit, steps: int) -> None:
    """Say so if the ELBO of the best restart had not stopped rising: see :meth:`Fit.last_rise`."""
    rise = result.last_rise()
    if rise is None or rise.value < RISING + 4 * rise.std_error:
        return
    text = (
        f"fit: the ELBO of the best restart still rose by {rise.value:.2g} ± {rise.std_error:.1g} "
        f"nats over the last tenth of {steps} steps; raise steps (a checkpoint lets a fit go on)"
    )
    warnings.warn(text, stacklevel=3)
