"""The tightest closed form: layer by layer, the better of the pairwise and subadditive bounds.

Each of the two is a bound whatever the posterior is, and nothing is drawn, so the larger lower end
and the smaller upper end are bounds too. Where units stand apart the pairwise ones win, where many
overlap the subadditive ones do, and log |G| is never exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from symvi.information import pairwise, subadditive
from symvi.information.closed_form import ClosedForm
from symvi.posteriors.mean_field import MeanField


def layer_objective(q: MeanField, group, messages, max_iter: int) -> tuple:
    """The larger of the two lower bounds of one layer's term, in nats, and the messages of both."""
    before = (None, None) if messages is None else messages
    by_pairs, pair_messages = pairwise.layer_objective(q, group, before[0], max_iter)
    by_reference, reference_messages = subadditive.layer_objective(q, group, before[1], max_iter)
    return jnp.maximum(by_pairs, by_reference), (pair_messages, reference_messages)


def layer_bounds(q: MeanField, group) -> tuple:
    """The larger lower and the smaller upper bound of one layer's term, in nats."""
    below, above = pairwise.layer_bounds(q, group)
    other_below, other_above = subadditive.layer_bounds(q, group)
    return jnp.maximum(below, other_below), jnp.minimum(above, other_above)


@dataclass(frozen=True)
class Tightest(ClosedForm):
    """The better of the pairwise and the subadditive bounds, without sampling; any width and depth.

    Training takes the lower one.
    """

    name: ClassVar[str] = "tightest"

    layer_objective = staticmethod(layer_objective)
    layer_bounds = staticmethod(layer_bounds)
