r"""The log evidence by bridge sampling, from draws of the posterior: a second estimate.

With f(w) = p(y, w | x), the evidence Z = int f, draws w_i of the posterior f / Z, and as many draws
v_j of a proposal q with a known density:

1. For every function a for which the integrals exist, Z = E_q[a f] / E_posterior[a q] (Meng and
   Wong 1996).
2. The mean square error is least for a = 1 / (f + Z q). With l = log f - log q and the logistic
   function s, Z = E_q[s(l - log Z)] Z / E_posterior[s(log Z - l)], so log Z is the root r of

   .. math:: \sum_j s(l(v_j) - r) = \sum_i s(r - l(w_i)).

   The left side falls in r and the right side rises: there is one root. It is where Meng and Wong's
   iteration ends. With N independent draws of each and p = f / Z the variance of r is about (2 / N)
   (1 / H - 1), where H = int 2 p q / (p + q), from 0 to 1, is the overlap of posterior and
   proposal; and either side is N H / 2.
3. A normal sits in one copy of the posterior, which has |G|. So it is averaged over the group:
   q_G(w) = mean over g of q(g^-1 w), exactly. No copies need be apart.
4. f and q_G are the same at w and at g w, hence so is l: it does not matter which copy a draw is
   in, and draws of q serve as those of q_G. Frühwirth-Schnatter (2004) relabels draws at random to
   fill all copies alike; here this would change no term.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.arrays import log_sum_exp
from symvi.checks import expected, seed_to_key
from symvi.draws import check_draws, check_pairs, joined, log_joints
from symvi.estimates import Estimate
from symvi.information.exact import is_permanent, log_symmetrized
from symvi.models import BNN
from symvi.permanents.exact import MAX_EXACT
from symvi.posteriors.unit_normal import UnitNormal
from symvi.truth.diagnostics import aligned

MIN_SHARED = 100  # N H; a standard error of sqrt(2 / 100) = 0.14 nats if draws are independent
MAX_LISTED = 5000  # largest group whose copies of a normal are summed one by one
MIN_DRAWS = 4  # of a chain: two to fit, two to estimate
BATCH = 20  # draws whose densities are computed at once


def bridge_evidence(bnn: BNN, drawn, x, y, *, seed: int = 0) -> Estimate:
    """log p(y | x) in nats, by bridge sampling from draws of the posterior (Meng and Wong 1996).

    The first half of each chain is brought into one copy (:func:`symvi.align`), and a normal is
    fitted to it; the other half gives the estimate, with as many draws of the normal. Its density
    is averaged over the symmetry group exactly, so copies may overlap (see the head of this
    module). Where the group has at most 5000 elements, the normal has a full covariance; beyond, a
    full covariance inside each unit and none between, and the density is a permanent.

    Parameters
    ----------
    drawn : InferenceData or dict of arrays ``(chains, draws, *shape)``
        From :func:`symvi.nuts` or :func:`symvi.reference_posterior`: at least 2 chains of 4 draws,
        and four times as many draws in all as there are weights.
    seed : int
        Of the draws of the normal.

    Returns
    -------
    Estimate
        From all chains together. Its standard error is that of the mean of the chains' own
        estimates, from their spread: all use one fitted normal, but other draws of it. Uncertain
        with few chains; too small where no chain finds a part of the posterior. Kind
        "approximate": the bias falls as draws grow.

    Raises
    ------
    ValueError
        A group too large for the exact density: more than 5000 elements, and not one hidden layer
        of at most 16 units; too few draws, draws that do not move in all directions, draws of
        another model, a seed that is no int, or bad data.

    Warns
    -----
    UserWarning
        Where fewer than 100 draws lie where both posterior and normal do, as with a posterior that
        no normal fits.
    """
    key = seed_to_key(seed)
    x, y = check_pairs(bnn, x, y)
    draws, batch = check_draws(bnn, drawn)
    _check_group(bnn.symmetry)
    _check_enough(bnn, batch)
    half = batch[1] // 2
    first = {name: value[:, :half] for name, value in draws.items()}
    second = {name: value[:, -half:] for name, value in draws.items()}
    proposal = _fitted(bnn, joined(bnn, aligned(bnn, first, x, y)))
    chosen = {
        name: value.reshape(batch[0], half, *value.shape[1:])
        for name, value in proposal.sample(key, batch[0] * half).items()
    }
    of_posterior = _log_ratios(bnn, proposal, second, x, y)
    of_proposal = _log_ratios(bnn, proposal, chosen, x, y)
    value = bridge(of_posterior, of_proposal)
    common = shared(of_proposal, value)
    if common < MIN_SHARED:
        warnings.warn(_complaint(common, of_proposal.size), stacklevel=2)
    pairs = zip(of_posterior, of_proposal, strict=True)
    chains = np.array([bridge(*pair) for pair in pairs])
    return Estimate(value, chains.std(ddof=1) / math.sqrt(len(chains)), "approximate")


def _complaint(common: float, num: int) -> str:
    wanted = f"at least {MIN_SHARED} draws where both posterior and fitted normal lie"
    got = f"{common:.1f} of {num}, so the estimate may be far off"
    return f"bridge_evidence: expected {wanted}, got {got}; use symvi.log_evidence"


def bridge(of_posterior, of_proposal) -> float:
    """log Z by step 2, from l at as many draws of the posterior as of the proposal.

    Both are arrays of one shape, finite, in nats.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    def surplus(r):
        return expit(of_proposal - r).sum() - expit(r - of_posterior).sum()

    # one nat outside of all values the surplus has its sign for certain
    low = min(of_posterior.min(), of_proposal.min()) - 1
    high = max(of_posterior.max(), of_proposal.max()) + 1
    return float(brentq(surplus, low, high, xtol=1e-10))


def shared(of_proposal, log_z: float) -> float:
    """N H: how many of the N draws of the proposal are in common with the posterior (step 2)."""
    from scipy.special import expit

    return float(2 * expit(of_proposal - log_z).sum())


def _check_group(symmetry) -> None:
    """ValueError for a group over which no density can be averaged exactly."""
    if symmetry.order <= MAX_LISTED or is_permanent(symmetry):
        return
    wanted = f"|G| <= {MAX_LISTED}, or one hidden layer of n <= {MAX_EXACT} units"
    widths = [group.size for group in symmetry.groups]
    got = f"widths {widths} (log |G| = {symmetry.log_order:.1f} nats)"
    raise expected("bnn", wanted, got, "use symvi.log_evidence, which needs no density over G")


def _check_enough(bnn: BNN, batch: tuple) -> None:
    """ValueError unless chains have a spread and half of their draws have a covariance."""
    weights = sum(math.prod(shape) for shape in bnn.shapes.values())
    wanted = f"at least 2 chains of {MIN_DRAWS} draws, and {4 * weights} draws of {weights} weights"
    chains = len(batch) == 2 and batch[0] >= 2 and batch[1] >= MIN_DRAWS
    if chains and batch[0] * (batch[1] // 2) >= 2 * weights:
        return
    got = " of ".join(map(str, batch))
    raise expected("drawn", wanted, got, "draw longer, or more chains")


def _log_ratios(bnn: BNN, proposal, draws: dict, x, y) -> np.ndarray:
    """l = log p(y, w | x) - log q_G(w) in nats of draws ``(chains, num, *shape)``."""
    joint = log_joints(bnn, draws, x, y)
    density = proposal.log_prob(joined(bnn, draws))
    return joint - np.asarray(density).reshape(joint.shape)


def _fitted(bnn: BNN, rows: dict):
    """A normal fitted to aligned draws ``(num, *shape)``, with its density averaged over G."""
    if bnn.symmetry.order <= MAX_LISTED:
        return _whole_normal(bnn, rows)
    return _unit_normal(bnn.symmetry, rows)


@dataclass(frozen=True)
class _WholeNormal:
    """A normal with full covariance, averaged over all elements of a group.

    loc ``(d,)`` and lower triangular factor ``(d, d)``; element g of the group takes the vector w
    to ``signs[g] * w[places[g]]``, both ``(|G|, d)``.
    """

    bnn: BNN
    loc: jax.Array
    factor: jax.Array
    places: jax.Array
    signs: jax.Array

    def sample(self, key, num: int) -> dict:
        """Draws ``(num, *shape)`` of the normal itself."""
        noise = jax.random.normal(key, (num, len(self.loc)), self.loc.dtype)
        return jax.vmap(self.bnn.unravel)(self.loc + noise @ self.factor.T)

    def log_prob(self, rows: dict) -> jax.Array:
        """log q_G in nats, shape ``(num,)``."""
        vectors = jax.vmap(self.bnn.ravel)(rows)
        return _log_listed(self.loc, self.factor, self.places, self.signs, vectors)


@jax.jit
def _log_listed(loc, factor, places, signs, vectors):
    whiten = jax.scipy.linalg.solve_triangular(factor, jnp.eye(len(loc)), lower=True)
    constants = jnp.log(jnp.diagonal(factor)).sum() + 0.5 * len(loc) * math.log(2 * math.pi)

    def one(vector):
        z = (signs * vector[places] - loc) @ whiten.T
        return log_sum_exp(-0.5 * jnp.square(z).sum(1), axis=0) - math.log(len(places)) - constants

    return jax.lax.map(one, vectors, batch_size=BATCH)


def _whole_normal(bnn: BNN, rows: dict) -> _WholeNormal:
    vectors = np.asarray(jax.vmap(bnn.ravel)(rows))
    loc, factor = _moments(vectors)
    # where each weight goes, and with which sign, from what becomes of the numbers 1 to d
    numbered = bnn.unravel(jnp.arange(1.0, len(loc) + 1))

    def moved(g):
        return bnn.ravel(bnn.symmetry.act(g, numbered))

    copies = jax.vmap(moved, axis_size=bnn.symmetry.order)(bnn.symmetry.elements())
    places = jnp.abs(copies).astype(int) - 1
    return _WholeNormal(bnn, jnp.asarray(loc), jnp.asarray(factor), places, jnp.sign(copies))


@dataclass(frozen=True)
class _PermanentNormal:
    """A normal with independent units, averaged over the permutations of one hidden layer."""

    base: UnitNormal

    def sample(self, key, num: int) -> dict:
        """Draws ``(num, *shape)`` of the normal itself."""
        return self.base.sample(key, num)

    def log_prob(self, rows: dict) -> jax.Array:
        """log q_G in nats, shape ``(num,)``."""
        return _log_permanents(self.base, rows)


@jax.jit
def _log_permanents(base, rows):
    return jax.lax.map(partial(log_symmetrized, base), rows, batch_size=BATCH)


def _unit_normal(symmetry, rows: dict) -> _PermanentNormal:
    loc = {name: jnp.asarray(value.mean(axis=0)) for name, value in rows.items()}
    scale = {name: jnp.asarray(value.std(axis=0, ddof=1)) for name, value in rows.items()}
    (group,) = symmetry.groups
    units = np.asarray(jax.vmap(symmetry.own_units)(rows))
    factors = np.stack([_moments(units[:, i])[1] for i in range(group.size)])
    diagonal = np.diagonal(factors, axis1=1, axis2=2)
    # S (1 + N) is the factor: S its diagonal, and N what is left below it
    lower = np.tril(factors / diagonal[:, :, None], -1)
    scale = symmetry.with_own_units(scale, jnp.asarray(diagonal))
    return _PermanentNormal(UnitNormal(loc, scale, symmetry, {group.name: jnp.asarray(lower)}))


def _moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of vectors ``(num, d)`` and the Cholesky factor of their covariance."""
    covariance = np.atleast_2d(np.cov(vectors, rowvar=False))
    try:
        return vectors.mean(axis=0), np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        wanted = "draws whose covariance has full rank"
        remedy = "draw longer, or look for weights that stand still"
        raise expected("drawn", wanted, "a singular one", remedy) from error
