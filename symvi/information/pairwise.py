r"""Pairwise bounds: I(g; w) from how much every two units overlap, without draws.

1. One layer, n units. q_G is a mixture of n! copies of q, and I its information. For mixtures, the
   pairwise bounds of Kolchinsky and Tracey (2017) need only divergences of two components: the
   Bhattacharyya coefficient below and Kullback and Leibler's above.
2. Two copies differ by a permutation, and both divergences add up over independent units. So the
   sum over all copies is a permanent again:

   log n! - log perm(BC) <= I <= log n! - log perm(exp(-KL)),

   with the matrices of :mod:`symvi.information.overlaps`. A signed group averages them over the
   signs.
3. Several layers: I(g; w) = sum over layers l of I(g_l; w | g_1..g_{l-1}). A layer's own unit
   vectors give a lower bound of its term, all its weights (in and out) an upper bound. With
   covariances inside units the weights of a layer before the last are not independent over units,
   and log |G_l| stands above.
4. Beyond 16 units the permanents are bounded too, each on the side that keeps the bound of I one,
   rounding included (:mod:`symvi.permanents.certificates`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from symvi.information.closed_form import ClosedForm, summed_bounds, summed_objective
from symvi.information.overlaps import overlap_matrices
from symvi.information.permanent_above import permanent_above
from symvi.permanents import log_permanent_bounds
from symvi.posteriors.mean_field import MeanField


def _own_overlaps(q, group):
    """log BC and -KL between the own unit vectors of one layer."""
    return overlap_matrices(*q.unit_gaussians(group.name), signed=q.symmetry.flips(group.name))


def _log_likeness(q, group):
    """-KL between all weights of a layer's units, or None where units are not independent."""
    every = q.joint_unit_gaussians(group.name)
    if every is None:
        return None
    return overlap_matrices(*every, signed=q.symmetry.flips(group.name))[1]


def layer_objective(q: MeanField, group, messages, max_iter: int) -> tuple:
    """The lower bound of one layer's term to train with, in nats, and the messages of perm(BC).

    Beyond 8 units an upper bound stands for perm, so the value stays a lower bound.
    """
    log_bc, _ = _own_overlaps(q, group)
    log_perm, messages = permanent_above(log_bc, messages, max_iter)
    return math.lgamma(group.size + 1) - log_perm, messages


def layer_bounds(q: MeanField, group) -> tuple:
    """The bounds of one layer's term, in nats: I is at least 0 and at most log |G_l| anyway."""
    log_factorial = math.lgamma(group.size + 1)
    most = log_factorial + q.symmetry.flips(group.name) * group.size * math.log(2)
    log_bc, _ = _own_overlaps(q, group)
    below = jnp.maximum(log_factorial - log_permanent_bounds(log_bc)[1], 0.0)
    log_like = _log_likeness(q, group)
    if log_like is None:
        return below, jnp.asarray(most, below.dtype)
    return below, jnp.minimum(log_factorial - log_permanent_bounds(log_like)[0], most)


def pairwise_objective(q: MeanField, messages: dict | None = None, max_iter: int = 100):
    """The pairwise lower bound of I(g; w) to train with, in nats: ``(value, messages)``.

    sum over layers of log n! - log perm(BC). Beyond 8 units the upper bound of
    :func:`symvi.permanents.entropy_bound` stands for perm, so the value stays a lower bound of I.
    `messages` of an earlier call start the next one; give `max_iter` = a few rounds then.
    """
    return summed_objective(layer_objective, q, messages, max_iter)


@jax.jit
def pairwise_bounds(q: MeanField) -> tuple:
    """``(lower, upper)`` of I(g; w) in nats, two scalars, without sampling.

    log n! - log perm(BC) <= I <= log n! - log perm(exp(-KL)), summed over layers. Permanents are
    exact up to 16 units and otherwise bounded on the safe side.
    """
    return summed_bounds(layer_bounds, q)


@dataclass(frozen=True)
class Pairwise(ClosedForm):
    """Both bounds by overlaps, without sampling; any width and depth. Training: the lower one."""

    name: ClassVar[str] = "pairwise"

    layer_objective = staticmethod(layer_objective)
    layer_bounds = staticmethod(layer_bounds)
