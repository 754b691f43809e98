r"""Wide networks on twenty data sets: what an approximation's mean costs (an appendix of the book).

    .venv/bin/python book/reproduce/width_collapse.py

The network is f(x) = sum_j v_j tanh(a_j x + b_j) with n units, priors a, b ~ N(0, 1) and
v ~ N(0, 1/n), noise of sd 0.3, and twelve inputs. Each data set has a seed, and the rule that makes
it was fixed before any was looked at: 0 to 9 are sines of random amplitude, frequency and phase,
10 to 19 functions drawn from the prior of the infinitely wide network. On each it computes

* the posterior of the infinitely wide network, a Gaussian process, exactly, and that of the network
  of the same width by Bayesian linear regressions weighted by their evidence;
* mean field, and mean field trained with the pairwise and with the subadditive bound of the orbit
  information, from one start whose seed is the data set's;
* the best posterior of a family that quadrature handles at any width: units of `KINDS` kinds, the
  kinds and their numbers of units free (:func:`certified_elbo`).

It writes book/results/width_collapse.json, and goes on where it was interrupted; what is finished
is kept in _build/results/width_collapse.
"""

import json
import math
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

import symvi
from symvi import files
from symvi.book.sweeps import rounded

ROOT = Path(__file__).resolve().parents[2]
SIGMA = 0.3
INPUTS = np.linspace(-1.5, 1.5, 12)
X = np.stack([INPUTS, np.ones(12)], axis=1)
HALVES = {"sines": range(10), "prior": range(10, 20)}  # seeds of the data sets
SEEDS = range(20)
WIDTHS = (16, 64, 256)
BOUNDED = (16, 64)  # where both bounds are trained with; at 256 the subadditive one alone
WIDEST = 1024  # mean field and the family of kinds alone: the bounds of I cost n^2 a step
METHODS = {"mean field": None, "pairwise": "pairwise", "subadditive": "subadditive"}
STEPS, RATE = 600, 0.03
KINDS, KIND_STARTS, KIND_STEPS = 3, 2, 1000
NARROWEST, SPAN = 0.6, 0.6  # scales of a kind lie between 0.6 and 1.2 prior scales: for quadrature
NODES, CHECK_NODES = 12, 20  # quadrature nodes a weight, in training and in what is reported
GUIDED_WIDTH, GUIDED_DRAWS = 64, 40  # where and with how many draws guided bounds are computed
BATCHES = {16: 200, 64: 40, 256: 20}  # of 500 regressions: few count in narrow networks


def gauss_hermite(num):
    """Nodes and weights of the mean under N(0, 1), shape ``(num,)`` each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num)
    return nodes, weights / weights.sum()


def product_rule(num, dims):
    """The product rule of the mean under N(0, I): nodes ``(num**dims, dims)`` and weights."""
    nodes, weights = gauss_hermite(num)
    points = np.stack(np.meshgrid(*[nodes] * dims, indexing="ij"), -1).reshape(-1, dims)
    masses = np.stack(np.meshgrid(*[weights] * dims, indexing="ij"), -1).reshape(-1, dims)
    return points, masses.prod(1)


def kernel(points, phi=np.tanh, num=64):
    """E phi(u . x) phi(u . x') under u ~ N(0, I), shape ``(N, N)``; rows of `points` are (x, 1)."""
    nodes, weights = product_rule(num, points.shape[1])
    hidden = phi(points @ nodes.T)
    return (hidden * weights) @ hidden.T


class GaussianProcess(NamedTuple):
    """What is exact in the limit of infinite width, on one data set; in nats but for `mean`.

    Attributes
    ----------
    log_evidence, prior_elbo : float
        log p(y), and the ELBO of the prior: what the ELBO of mean field tends to.
    shifted_elbo : float
        The ELBO of the prior moved to the posterior's mean, its covariance kept: what symmetrized
        mean field can reach at every large width (the theorem of the appendix).
    no_mean_elbo : float
        The largest ELBO of any distribution of functions whose mean is 0 at the data.
    mean : array (N,)
        The posterior's mean at the data.
    """

    log_evidence: float
    prior_elbo: float
    shifted_elbo: float
    no_mean_elbo: float
    mean: np.ndarray


def gaussian_process(y, covariance, sigma=SIGMA):
    """The :class:`GaussianProcess` of targets `y` ``(N,)`` and prior covariance ``(N, N)``."""
    noisy = covariance + sigma**2 * np.eye(len(y))
    coefficients = np.linalg.solve(noisy, y)
    log_det = np.linalg.slogdet(2 * np.pi * noisy)[1]
    log_scale = len(y) * math.log(2 * math.pi * sigma**2)
    trace = np.trace(covariance) / sigma**2
    square = y @ y / sigma**2
    return GaussianProcess(
        log_evidence=float(-0.5 * (y @ coefficients + log_det)),
        prior_elbo=float(-0.5 * (square + trace + log_scale)),
        shifted_elbo=float(-0.5 * (y @ coefficients + trace + log_scale)),
        no_mean_elbo=float(-0.5 * (square + log_det)),
        mean=covariance @ coefficients,
    )


def targets(seed):
    """The data set of a seed, shape ``(12,)``: a noisy sine, or from 10 on a draw of the prior."""
    numbers = np.random.default_rng(seed)
    if seed < 10:
        amplitude, frequency = numbers.uniform(0.5, 1.5), numbers.uniform(1, 3)
        function = amplitude * np.sin(frequency * INPUTS + numbers.uniform(0, 2 * math.pi))
    else:
        root = np.linalg.cholesky(kernel(X) + 1e-9 * np.eye(12))
        function = root @ numbers.normal(size=12)
    return function + SIGMA * numbers.normal(size=12)


def regressions(w1, ys):
    """Log evidences and means at the data given incoming weights ``(num, 2, n)``.

    Shapes ``(num, sets)`` and ``(num, N, sets)``; `ys` ``(N, sets)``.
    """
    hidden = np.tanh(X @ w1) / math.sqrt(w1.shape[-1])
    covariance = hidden @ hidden.swapaxes(1, 2)
    noisy = covariance + SIGMA**2 * np.eye(12)
    coefficients = np.linalg.solve(noisy, np.broadcast_to(ys, (len(w1), *ys.shape)))
    misfit = np.einsum("is,nis->ns", ys, coefficients)
    log_det = np.linalg.slogdet(2 * np.pi * noisy)[1]
    return -0.5 * (misfit + log_det[:, None]), covariance @ coefficients


def true_posteriors(width):
    """Of every data set: mean at the data, log evidence and effective number of regressions."""
    numbers = np.random.default_rng(width)
    ys = np.stack([targets(seed) for seed in SEEDS], axis=1)
    found = [regressions(numbers.normal(size=(500, 2, width)), ys) for _ in range(BATCHES[width])]
    log_z, mean = (np.concatenate(v) for v in zip(*found, strict=True))
    highest = log_z.max(0)
    weight = np.exp(log_z - highest)
    share = weight / weight.sum(0)
    return {
        "mean": np.einsum("ns,nis->si", share, mean).tolist(),
        "log evidence": (highest + np.log(weight.mean(0))).tolist(),
        "effective": (1 / (share**2).sum(0)).tolist(),
    }


# Mean field: theta = (means, log scales), in units of the prior's scales.


@lru_cache  # one object a width, so that what is compiled for it is used again
def symmetry(width):
    """Signed permutations of the units."""
    return symvi.MLP([2, width, 1], "tanh", bias=False, signed=True).symmetry


def posterior(theta):
    """The :class:`symvi.MeanField` of theta, with signs."""
    n = theta[0]["W2"].shape[0]
    tau = {"W1": 1.0, "W2": n**-0.5}
    loc = {k: tau[k] * theta[0][k] for k in tau}
    scale = {k: tau[k] * jnp.exp(theta[1][k]) for k in tau}
    return symvi.MeanField(loc, scale, symmetry(n))


@jax.jit
def moments(q):
    """Mean and variance of f at the data under mean field q, by 16 quadrature nodes."""
    nodes, weights = gauss_hermite(16)
    center = X @ q.loc["W1"]
    spread = jnp.sqrt(X**2 @ q.scale["W1"] ** 2)
    hidden = jnp.tanh(center[..., None] + spread[..., None] * nodes)
    first, second = hidden @ weights, hidden**2 @ weights
    m, s = q.loc["W2"][:, 0], q.scale["W2"][:, 0]
    return first @ m, second @ (m**2 + s**2) - first**2 @ m**2


def expected_fit(y, mean, variance):
    """E log p(y | f), in nats, for functions of this mean and variance at the data."""
    misfit = ((y - mean) ** 2 + variance).sum() / SIGMA**2
    return -0.5 * (misfit + len(y) * math.log(2 * math.pi * SIGMA**2))


@jax.jit
def price(theta):
    """KL(q || prior), in nats."""
    means, log_scales = (ravel_pytree(part)[0] for part in theta)
    return (0.5 * (means**2 + jnp.exp(2 * log_scales) - 1) - log_scales).sum()


@jax.jit
def elbo(theta, y):
    """The ELBO, in nats, without draws."""
    return expected_fit(y, *moments(posterior(theta))) - price(theta)


def start(width, seed):
    """Means drawn from the prior, scales half as wide as the prior's."""
    one, two = jax.random.split(jax.random.key(seed))
    means = {"W1": jax.random.normal(one, (2, width)), "W2": jax.random.normal(two, (width, 1))}
    return means, jax.tree.map(lambda v: jnp.full_like(v, -math.log(2)), means)


@partial(jax.jit, static_argnames="method")
def climb(theta, y, method=None):
    """Theta after `STEPS` of Adam on the ELBO, plus a lower bound of I if a method is named.

    Also the objective's path, shape ``(STEPS,)``, in nats.
    """
    bound = symvi.information.METHODS[method]() if method else None
    adam = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def loss(theta, state):
        if bound is None:
            return -elbo(theta, y), state
        information, state = bound.closed_form(posterior(theta), state)
        return -elbo(theta, y) - information, state

    value_and_slope = jax.value_and_grad(loss, has_aux=True)

    def step(carry, _):
        theta, moments, state = carry
        (value, state), slope = value_and_slope(theta, state)
        update, moments = adam.update(slope, moments)
        return (optax.apply_updates(theta, update), moments, state), -value

    state = bound.start(posterior(theta)) if bound else ()
    carry, path = jax.lax.scan(step, (theta, adam.init(theta), state), None, length=STEPS)
    return carry[0], path


def root_mean_square(v):
    """Size of a function by its values at the data."""
    return float(np.sqrt(np.mean(np.square(np.asarray(v)))))


def trained(seed, width, arm):
    """Mean field on one data set, plain or with a bound of I."""
    y = jnp.asarray(targets(seed))
    theta, path = climb(start(width, seed), y, METHODS[arm])
    q = posterior(theta)
    mean, variance = moments(q)
    below, above = symvi.orbit_information(q, "tightest")
    return {
        "mean": np.asarray(mean).tolist(),
        "sd": root_mean_square(np.sqrt(variance)),
        "elbo": float(elbo(theta, y)),
        "price": float(price(theta)),
        "information": [below.value, above.value],
        "last change": float(path[-1] - path[-50]),
    }


def guided_bounds(arm, width, half):
    """One cell: both ends of I by guided permutations, for the fits of ten data sets; in nats.

    They hold in expectation. `tightest` holds always, but leaves wide intervals here.
    """
    jax.config.update("jax_enable_x64", True)
    begun, found = time.time(), []
    for seed in HALVES[half]:
        theta, _ = climb(start(width, seed), jnp.asarray(targets(seed)), METHODS[arm])
        bounds = symvi.orbit_information(
            posterior(theta),
            "guided",
            jax.random.key(13),
            num_samples=GUIDED_DRAWS,
            num_permutations=20,
        )
        found.append([[end.value, end.std_error] for end in bounds])
    return {"bounds": found, "seconds": round(time.time() - begun, 1)}


# Units of a few kinds, in coordinates (a, b, sqrt(n) v), in which the prior of a unit is N(0, I).


class Kinds(NamedTuple):
    """A posterior with `KINDS` kinds of units, each with a share of the units.

    Attributes
    ----------
    loc, scale : array (kinds, 3)
    share : array (kinds,)
        Positive, with sum 1.
    """

    loc: jax.Array
    scale: jax.Array
    share: jax.Array


def log_ratios(kinds, z):
    """log of each kind's density over the prior's, both signs averaged, at `z` ``(..., 3)``.

    Shape ``(..., kinds)``. The factor that all Gaussians share is left out on both sides.
    """
    points = z[..., None, :]
    log_prior = -0.5 * (points**2).sum(-1)
    log_scale = jnp.log(kinds.scale).sum(-1)
    logs = [
        -0.5 * (((points - sign * kinds.loc) / kinds.scale) ** 2).sum(-1) - log_scale - log_prior
        for sign in (1, -1)
    ]
    return logsumexp(jnp.stack(logs), axis=0) - math.log(2)


@jax.jit
def divergence_and_overlaps(kinds, rule):
    """KL(average unit || prior of a unit), in nats, and the overlaps' matrix ``(kinds, kinds)``.

    Its entries are sqrt(s_k s_l) times the integral of r_k r_l / r, r the average unit and s the
    shares. Its eigenvalues are those of A_ij = integral of q_i q_j / (n r), but for zeros.
    """
    nodes, weights = rule
    z = kinds.loc[:, None] + kinds.scale[:, None] * nodes
    logs = log_ratios(kinds, z)
    log_average = logsumexp(logs + jnp.log(kinds.share), axis=-1)
    divergence = kinds.share @ (log_average @ weights)
    products = jnp.einsum("kpl,p->kl", jnp.exp(logs - log_average[..., None]), weights)
    root = jnp.sqrt(kinds.share)
    return divergence, root[:, None] * 0.5 * (products + products.T) * root


def dependence_bound(overlaps, share):
    """-sum log(1 - lambda) over the eigenvalues but the largest, which is 1; in nats."""
    root = jnp.sqrt(share)
    rest = overlaps - jnp.outer(root, root)
    return -jnp.linalg.slogdet(jnp.eye(len(share)) - rest)[1]


@jax.jit
def moments_of_kinds(kinds, width):
    """Mean and variance of f at the data."""
    nodes, weights = gauss_hermite(16)
    center = X @ kinds.loc[:, :2].T
    spread = jnp.sqrt(X**2 @ kinds.scale[:, :2].T ** 2)
    hidden = jnp.tanh(center[..., None] + spread[..., None] * nodes)
    first, second = hidden @ weights, hidden**2 @ weights
    m, s = kinds.loc[:, 2], kinds.scale[:, 2]
    mean = jnp.sqrt(width) * first @ (kinds.share * m)
    return mean, second @ (kinds.share * (m**2 + s**2)) - first**2 @ (kinds.share * m**2)


@jax.jit
def certified_elbo(kinds, width, y, rule):
    """A lower bound of ELBO_G of n units of these kinds, in nats, up to the quadrature's error.

    The expected fit, less n KL(average unit || prior of a unit), less the bound of what the units
    of q_G depend on each other.
    """
    divergence, overlaps = divergence_and_overlaps(kinds, rule)
    fit = expected_fit(y, *moments_of_kinds(kinds, width))
    return fit - width * divergence - dependence_bound(overlaps, kinds.share)


def unconstrained(free):
    """Kinds from free numbers: locations, scales within their limits, shares."""
    loc, scale, share = free
    return Kinds(loc, NARROWEST + SPAN * jax.nn.sigmoid(scale), jax.nn.softmax(share))


@jax.jit
def climb_kinds(free, width, y):
    """Free numbers after `KIND_STEPS` of Adam on the certified ELBO."""
    rule = product_rule(NODES, 3)
    adam = optax.adam(optax.cosine_decay_schedule(RATE, KIND_STEPS))
    slope = jax.grad(lambda free: -certified_elbo(unconstrained(free), width, y, rule))

    def step(carry, _):
        free, moments = carry
        update, moments = adam.update(slope(free), moments)
        return (optax.apply_updates(free, update), moments), None

    (free, _), _ = jax.lax.scan(step, (free, adam.init(free)), None, length=KIND_STEPS)
    return free


def whole_units(kinds, width):
    """The same with whole numbers of units of each kind (largest remainders); no empty kinds."""
    exact = np.asarray(kinds.share) * width
    counts = np.floor(exact).astype(int)
    most = np.argsort(counts - exact)[: width - counts.sum()]
    counts[most] += 1
    kept = counts > 0
    parts = (np.asarray(part)[kept] for part in kinds[:2])
    return Kinds(*map(jnp.asarray, parts), jnp.asarray(counts[kept] / width))


def of_kinds(seed, width):
    """The best posterior of a few kinds of units, from `KIND_STARTS` starts."""
    y, found = jnp.asarray(targets(seed)), []
    for number in range(KIND_STARTS):
        draws = np.random.default_rng([seed, number]).normal(size=(KINDS, 3))
        free = (jnp.asarray(0.4 * draws), jnp.full((KINDS, 3), 0.6), jnp.zeros(KINDS))
        kinds = whole_units(unconstrained(climb_kinds(free, float(width), y)), width)
        values = [
            float(certified_elbo(kinds, width, y, product_rule(num, 3)))
            for num in (NODES, CHECK_NODES)
        ]
        found.append((values[1], abs(values[1] - values[0]), kinds))
    value, apart, kinds = max(found, key=lambda f: f[0])
    divergence, overlaps = divergence_and_overlaps(kinds, product_rule(CHECK_NODES, 3))
    mean, variance = moments_of_kinds(kinds, width)
    own = 0.5 * (kinds.loc**2 + kinds.scale**2 - 1) - jnp.log(kinds.scale)
    return {
        "mean": np.asarray(mean).tolist(),
        "sd": root_mean_square(np.sqrt(variance)),
        "certified": value,
        "rules apart": apart,
        "price": float(width * kinds.share @ own.sum(1)),
        "of average": float(width * divergence),
        "dependence": float(dependence_bound(overlaps, kinds.share)),
        "starts": [f[0] for f in found],
        "kinds": {k: np.asarray(v).tolist() for k, v in kinds._asdict().items()},
    }


def work(arm, width, half):
    """One cell: an approximation on the ten data sets of a half, or the true posteriors of all.

    Ten together, since a program is compiled once a cell.
    """
    jax.config.update("jax_enable_x64", True)
    begun = time.time()
    if arm == "truth":
        rows = true_posteriors(width)
    elif arm == "kinds":
        rows = {"sets": [of_kinds(seed, width) for seed in HALVES[half]]}
    else:
        rows = {"sets": [trained(seed, width, arm) for seed in HALVES[half]]}
    made = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"rows": rows | {"seconds": round(time.time() - begun, 1)}, "made": made}


def cells():
    """All cells."""
    found = [{"arm": "truth", "width": width, "half": "both"} for width in WIDTHS]
    arms = [("kinds", WIDEST), *(("mean field", width) for width in (*WIDTHS, WIDEST))]
    arms += [(arm, width) for width in BOUNDED for arm in METHODS if METHODS[arm]]
    arms += [("subadditive", WIDTHS[-1])]
    return found + [
        {"arm": arm, "width": width, "half": half} for arm, width in arms for half in HALVES
    ]


def main():
    """Run what is missing, then write the results."""
    its_cells = cells()
    folder = ROOT / "_build" / "results" / "width_collapse"
    guided_cells = [
        {"arm": arm, "width": GUIDED_WIDTH, "half": half}
        for arm in ("mean field", "pairwise")
        for half in HALVES
    ]
    guided = symvi.sweep(guided_bounds, guided_cells, folder, workers=1)
    found = symvi.sweep(work, its_cells, folder, workers=1)
    limit = {
        seed: gaussian_process(targets(seed), kernel(X))._asdict() | {"y": targets(seed)}
        for seed in SEEDS
    }
    record = {
        "made": {"command": "book/reproduce/width_collapse.py", "symvi": symvi.__version__},
        "limit": [
            rounded({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()})
            for row in limit.values()
        ],
        "cells": [
            {"cell": cell, "rows": rounded(result["rows"]), "made": result["made"]}
            for cell, result in zip(its_cells, found, strict=True)
        ],
        "guided": [
            {"cell": cell, "rows": rounded(result)}
            for cell, result in zip(guided_cells, guided, strict=True)
        ],
    }
    target = ROOT / "book" / "results" / "width_collapse.json"
    files.write_text(target, json.dumps(record) + "\n")
    print(f"{len(its_cells)} cells in {target}")


if __name__ == "__main__":
    main()
