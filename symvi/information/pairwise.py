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
4. Beyond 16 units the permanents are bounded too, each on the side that keeps the bound of I one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from symvi.estimates import Bounds, Estimate
from symvi.information.method import Method
from symvi.information.overlaps import overlap_matrices
from symvi.permanents import entropy_bound, log_permanent, log_permanent_bounds
from symvi.posteriors.mean_field import MeanField

SMALL = 8  # up to this many units the exact permanent costs no more than messages
ROUNDS = 2  # of messages a step: they start from the last step's, and the matrix has hardly moved


def _own_overlaps(q, group):
    """log BC and -KL between the own unit vectors of one layer."""
    return overlap_matrices(*q.unit_gaussians(group.name), signed=q.symmetry.signed)


def _log_likeness(q, group):
    """-KL between all weights of a layer's units, or None where units are not independent."""
    every = q.joint_unit_gaussians(group.name)
    if every is None:
        return None
    return overlap_matrices(*every, signed=q.symmetry.signed)[1]


def pairwise_objective(q: MeanField, messages: dict | None = None, max_iter: int = 100):
    """The pairwise lower bound of I(g; w) to train with, in nats: ``(value, messages)``.

    sum over layers of log n! - log perm(BC). Beyond 8 units the upper bound of
    :func:`symvi.permanents.entropy_bound` stands for perm, so the value stays a lower bound of I.
    `messages` of an earlier call start the next one; give `max_iter` = a few rounds then.
    """
    total, after = 0.0, {}
    for group in q.symmetry.groups:
        log_bc, _ = _own_overlaps(q, group)
        total = total + math.lgamma(group.size + 1)
        if group.size <= SMALL:
            total = total - log_permanent(log_bc)
            continue
        before = None if messages is None else messages[group.name]
        found = entropy_bound(log_bc, start=before, max_iter=max_iter)
        total = total - found.value
        after[group.name] = found.messages
    return total, after


@jax.jit
def pairwise_bounds(q: MeanField) -> tuple:
    """``(lower, upper)`` of I(g; w) in nats, two scalars, without sampling.

    log n! - log perm(BC) <= I <= log n! - log perm(exp(-KL)), summed over layers. Permanents are
    exact up to 16 units and otherwise bounded on the safe side.
    """
    below, above = 0.0, 0.0
    for group in q.symmetry.groups:
        log_factorial = math.lgamma(group.size + 1)
        log_signs = group.size * math.log(2) if q.symmetry.signed else 0.0
        most = log_factorial + log_signs
        log_bc, _ = _own_overlaps(q, group)
        below = below + jnp.clip(log_factorial - log_permanent_bounds(log_bc)[1], 0.0, most)
        log_like = _log_likeness(q, group)
        if log_like is None:
            above = above + most
        else:
            above = above + jnp.clip(log_factorial - log_permanent_bounds(log_like)[0], 0.0, most)
    return below, above


@dataclass(frozen=True)
class Pairwise(Method):
    """Both bounds by overlaps, without sampling; any width and depth. Training: the lower one."""

    name: ClassVar[str] = "pairwise"
    kind: ClassVar[str] = "lower"

    def start(self, q: MeanField) -> dict:
        """Converged messages of every layer of more than 8 units."""
        return pairwise_objective(q)[1]

    def closed_form(self, q: MeanField, state: dict) -> tuple:
        """The lower bound after a few more rounds of messages, in nats, and the messages."""
        return pairwise_objective(q, state, ROUNDS)

    def final_closed_form(self, q: MeanField):
        """The lower bound, in nats, with permanents exact up to 16 units."""
        return pairwise_bounds(q)[0]

    def estimate(self, q: MeanField, key, num_samples: int) -> Bounds:
        """Both bounds, in nats; std_error 0, since nothing is drawn."""
        lower, upper = pairwise_bounds(q)
        return Bounds(Estimate(float(lower), 0.0, "lower"), Estimate(float(upper), 0.0, "upper"))
