"""What methods have in common that bound I(g; w) from both sides in closed form, layer by layer.

By the chain rule I(g; w) = sum over layers l of I(g_l; w | g_1..g_{l-1}). Such a method bounds each
term by a formula, without draws: copy ``pairwise.py`` or ``subadditive.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax

from symvi.estimates import Bounds, Estimate
from symvi.information.method import Method
from symvi.posteriors.mean_field import MeanField

ROUNDS = 2  # of messages a step: they start from the last step's, and the matrix has hardly moved
MOST_ROUNDS = 100


def summed_objective(layer_objective, q: MeanField, messages: dict | None, max_iter: int) -> tuple:
    """The sum over layers of a lower bound to train with, in nats, and the messages of each."""
    total, after = 0.0, {}
    for group in q.symmetry.groups:
        before = None if messages is None else messages[group.name]
        value, after[group.name] = layer_objective(q, group, before, max_iter)
        total = total + value
    return total, after


@partial(jax.jit, static_argnames="layer_bounds")
def summed_bounds(layer_bounds, q: MeanField) -> tuple:
    """``(lower, upper)``: the sums over layers, in nats. Compiled once for each `layer_bounds`."""
    below, above = 0.0, 0.0
    for group in q.symmetry.groups:
        ends = layer_bounds(q, group)
        below, above = below + ends[0], above + ends[1]
    return below, above


@dataclass(frozen=True)
class ClosedForm(Method):
    """A method of two functions of one layer: `layer_objective` and `layer_bounds`.

    Training takes the lower bound.
    """

    kind: ClassVar[str] = "lower"

    @staticmethod
    def layer_objective(q: MeanField, group, messages, max_iter: int) -> tuple:
        """A lower bound of one layer's term to train with, in nats, and what makes it cheap to
        compute again (`messages`, None at first) for a posterior close by."""
        raise NotImplementedError

    @staticmethod
    def layer_bounds(q: MeanField, group) -> tuple:
        """Bounds of one layer's term, in nats, as tight as they go: ``(lower, upper)``."""
        raise NotImplementedError

    def start(self, q: MeanField) -> dict:
        """Converged messages of every layer."""
        return summed_objective(self.layer_objective, q, None, MOST_ROUNDS)[1]

    def closed_form(self, q: MeanField, state: dict) -> tuple:
        """The lower bound after a few more rounds of messages, in nats, and the messages."""
        return summed_objective(self.layer_objective, q, state, ROUNDS)

    def final_closed_form(self, q: MeanField):
        """The lower bound, in nats, with permanents exact up to 16 units."""
        return summed_bounds(self.layer_bounds, q)[0]

    def estimate(self, q: MeanField, key, num_samples: int) -> Bounds:
        """Both bounds, in nats; std_error 0, since nothing is drawn."""
        lower, upper = summed_bounds(self.layer_bounds, q)
        return Bounds(Estimate(float(lower), 0.0, "lower"), Estimate(float(upper), 0.0, "upper"))
