r"""Subadditive bounds: I(g; w) from how far each unit is from one reference unit, without draws.

1. One layer, n independent units q_i; q_G mixes their n! orders. Let m be any density of one unit
   (with signs: one that is the same at u and -u), and m^n its product over the units. No order
   changes m^n, so q and q_G have the same cross-entropy with it, and

   I = H(q_G) - H(q) = sum_i KL(q_i || m) - KL(q_G || m^n).

2. Upper end: the last term is not negative, so I <= sum_i KL(q_i || m). (For m the mean of the
   units this is the subadditivity of entropy.)
3. Lower end: KL <= log(1 + chi^2), and chi^2 of a mixture needs only pairs of copies. Two copies
   differ by a permutation, and their integrals multiply over units:

   KL(q_G || m^n) <= log perm(B) - log n!,   B_ij = integral of q_i q_j / m.

   A signed group averages B over the sign of unit j.
4. m is the Gaussian with the mean and covariance of the average unit: it makes sum_i KL(q_i || m)
   smallest. At the lower end it is widened where a unit is so wide that B would be infinite.
   Everything is then a closed form, and so is its gradient.
5. Several layers: as in :mod:`symvi.information.pairwise`, a layer's own unit vectors below, all
   its weights above.

Where units overlap this is far tighter than the pairwise bounds, which look at two units at a time;
where they stand apart, B overstates KL(q_G || m^n) and the pairwise bounds win.
:mod:`symvi.information.tightest` takes the better of both.

The use of chi^2 follows Han and Niles-Weed (2024, arXiv:2408.09341), who bound KL(q_G || m^n) for
the m that is the mean of the units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.information.closed_form import ClosedForm, summed_bounds
from symvi.information.overlaps import covariances, row_by_row
from symvi.information.permanent_above import permanent_above
from symvi.permanents import log_permanent_bounds
from symvi.posteriors.elimination import inverse_of_positive, log_det_and_square
from symvi.posteriors.mean_field import MeanField, UnitGaussians

WIDEST = 1.5  # a unit's variance over the reference's, at the lower end; B is infinite from 2 on
POWERS = 4  # squarings: the trace of the 16th power bounds the largest eigenvalue's from above


class Reference(NamedTuple):
    """The Gaussian m of one unit.

    Attributes
    ----------
    mean : array (d,)
    cov : array (d,) or (d, d)
        Variances where weights are independent, otherwise the covariance matrix.
    """

    mean: Float[Array, " d"]
    cov: jax.Array


def average_unit(units: UnitGaussians, signed: bool = False) -> Reference:
    """The Gaussian with the mean and covariance of the average unit; of both signs if `signed`."""
    mean = jnp.zeros_like(units.loc[0]) if signed else units.loc.mean(0)
    off = units.loc - mean
    if units.lower is None:
        return Reference(mean, (units.scale**2 + off**2).mean(0))
    within = covariances(units.scale, units.lower).mean(0)
    return Reference(mean, within + off.T @ off / len(off))


def divergence_from_reference(units: UnitGaussians, reference: Reference) -> Float[Array, ""]:
    """sum_i KL(q_i || m) in nats, a scalar."""
    off = units.loc - reference.mean
    if units.lower is None:
        ratio = units.scale**2 / reference.cov
        square = off**2 / reference.cov
        return 0.5 * (ratio + square - 1 - jnp.log(ratio)).sum()
    n, d = units.loc.shape
    log_det = 2 * jnp.log(units.scale).sum()
    log_dets, squares = log_det_and_square(jnp.broadcast_to(reference.cov, (n, d, d)), off)
    within = covariances(units.scale, units.lower).sum(0)
    trace = (inverse_of_positive(reference.cov) * within).sum()
    return 0.5 * (log_dets.sum() - log_det + trace - n * d + squares.sum())


def widened(units: UnitGaussians, reference: Reference) -> Reference:
    """The reference, widened until no unit's variance is more than 1.5 times its own."""
    if units.lower is None:
        return reference._replace(cov=jnp.maximum(reference.cov, (units.scale**2).max(0) / WIDEST))
    ratios = inverse_of_positive(reference.cov) @ covariances(units.scale, units.lower)
    log_size = jnp.zeros(len(ratios), ratios.dtype)
    for _ in range(POWERS):  # each power is divided by its trace, or it would overflow
        trace = jnp.trace(ratios, axis1=-2, axis2=-1)
        root = ratios / trace[:, None, None]
        ratios, log_size = root @ root, 2 * (log_size + jnp.log(trace))
    log_trace = log_size + jnp.log(jnp.trace(ratios, axis1=-2, axis2=-1))
    largest = jnp.exp(log_trace.max() / 2**POWERS)
    return reference._replace(cov=reference.cov * jnp.maximum(1.0, largest / WIDEST))


def log_products(units: UnitGaussians, reference: Reference, sign: int = 1) -> Float[Array, "n n"]:
    """log of the integral of q_i(u) q_j(sign u) / m(u), shape ``(n, n)``, in nats.

    q_i q_j is a Gaussian in the difference of their means times one in u, with mean mu and
    covariance C. Over m = N(c, S) that integrates to |S| |S - C|^(-1/2) exp((mu - c)^T (S - C)^-1
    (mu - c) / 2).
    """
    if units.lower is None:
        return _log_products_independent(units.loc, units.scale**2, reference, sign)

    log_det, _ = log_det_and_square(reference.cov, reference.mean)

    def pair(one, all_):
        (loc, cov), (locs, covs) = one, all_
        locs = sign * locs
        log_det_sum, square_apart = log_det_and_square(cov + covs, loc - locs)
        gain = cov @ inverse_of_positive(cov + covs)
        center = loc + jnp.einsum("nij,nj->ni", gain, locs - loc)
        left = reference.cov - (cov - gain @ cov)
        log_det_left, square_off = log_det_and_square(left, center - reference.mean)
        return log_det - 0.5 * (log_det_sum + square_apart + log_det_left - square_off)

    return row_by_row(pair, units.loc, covariances(units.scale, units.lower))


def _log_products_independent(loc, variance, reference, sign):
    """The same for independent weights: a sum over weights k of ``(n, n)`` terms."""

    @jax.checkpoint
    def add(total, weight):
        m, v, center, spread = weight
        together = v[:, None] + v
        apart = m[:, None] - sign * m
        shared = v[:, None] * v / together
        off = (m[:, None] * v + sign * m * v[:, None]) / together - center
        left = spread - shared
        log_dets = jnp.log(together) + jnp.log(left)
        squares = apart**2 / together - off**2 / left
        return total + jnp.log(spread) - 0.5 * (log_dets + squares), None

    start = jnp.zeros((len(loc), len(loc)), loc.dtype)
    weights = (loc.T, variance.T, reference.mean, reference.cov)
    return jax.lax.scan(add, start, weights)[0]


def divergence_and_products(units: UnitGaussians, signed: bool) -> tuple:
    """sum_i KL(q_i || m) in nats, and log B ``(n, n)``, of the lower bound."""
    reference = widened(units, average_unit(units, signed))
    log_b = log_products(units, reference)
    if signed:
        log_b = jnp.logaddexp(log_b, log_products(units, reference, -1)) - math.log(2)
    return divergence_from_reference(units, reference), log_b


def layer_objective(q: MeanField, group, messages, max_iter: int) -> tuple:
    """The lower bound of one layer's term to train with, in nats, and the messages of perm(B)."""
    divergence, log_b = divergence_and_products(
        q.unit_gaussians(group.name), q.symmetry.flips(group.name)
    )
    log_perm, messages = permanent_above(log_b, messages, max_iter)
    return divergence - log_perm + math.lgamma(group.size + 1), messages


def layer_bounds(q: MeanField, group) -> tuple:
    """The bounds of one layer's term, in nats: I is at least 0 and at most log |G_l| anyway."""
    log_factorial = math.lgamma(group.size + 1)
    most = log_factorial + q.symmetry.flips(group.name) * group.size * math.log(2)
    divergence, log_b = divergence_and_products(
        q.unit_gaussians(group.name), q.symmetry.flips(group.name)
    )
    penalty = log_permanent_bounds(log_b)[1] - log_factorial
    below = jnp.maximum(divergence - penalty, 0.0)
    every = q.joint_unit_gaussians(group.name)
    if every is None:
        return below, jnp.asarray(most, below.dtype)
    average = average_unit(every, q.symmetry.flips(group.name))
    return below, jnp.minimum(divergence_from_reference(every, average), most)


@jax.jit
def subadditive_bounds(q: MeanField) -> tuple:
    """``(lower, upper)`` of I(g; w) in nats, two scalars, without sampling.

    With m the Gaussian of the average unit's mean and covariance, and B_ij the integral of
    q_i q_j / m,

    sum_i KL(q_i || m) - log perm(B) + log n! <= I <= sum_i KL(q_i || m), summed over layers.
    Permanents are exact up to 16 units and otherwise bounded from above.
    """
    return summed_bounds(layer_bounds, q)


@dataclass(frozen=True)
class Subadditive(ClosedForm):
    """Both bounds by one reference unit, without sampling; any width and depth.

    Training takes the lower one.
    """

    name: ClassVar[str] = "subadditive"

    layer_objective = staticmethod(layer_objective)
    layer_bounds = staticmethod(layer_bounds)
