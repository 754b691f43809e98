r"""Bethe: an upper bound of I(g; w) by an approximate permanent, for one hidden layer of any width.

1. For one hidden layer, q_G(w) = r(w) perm(A) / n! (:mod:`symvi.information.exact`).
2. The Bethe permanent is below: perm_B(A) <= perm(A) <= sqrt(2)^n perm_B(A) (Gurvits 2011; Anari
   and Rezaei 2019).
3. So log q(w) - log q_G(w) with perm_B for perm is never below its exact value, and at most n/2 log
   2 above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float

from symvi.checks import expected
from symvi.information.method import Method, matrices_at_once
from symvi.permanents import bethe
from symvi.posteriors.mean_field import MeanField, log_unit_densities
from symvi.symmetry import Symmetry

ROUNDS = 100  # of messages at most


def pointwise_bethe(q: MeanField, params: dict) -> Float[Array, ""]:
    """log q(w) - log q_G(w) or more, in nats: the Bethe permanent is below the permanent."""
    gain = q.log_prob(params) - q.rest_log_prob(params)
    for group in q.symmetry.groups:
        log_perm = bethe(log_unit_densities(q, params), max_iter=ROUNDS).value
        gain = gain - log_perm + math.lgamma(group.size + 1)
    return gain


@dataclass(frozen=True)
class Bethe(Method):
    """The upper bound by the Bethe permanent. One hidden layer of any width."""

    name: ClassVar[str] = "bethe"
    kind: ClassVar[str] = "upper"

    def check(self, symmetry: Symmetry, argument: str) -> None:
        """ValueError for several hidden layers."""
        if len(symmetry.groups) > 1:
            wanted = "one hidden layer for 'bethe' (q_G is one permanent only there)"
            got = f"{len(symmetry.groups)} unit groups"
            raise expected(argument, wanted, got, f"use {argument}='pairwise'")

    def draws_at_once(self, symmetry: Symmetry) -> int:
        """Fewer for wide layers: each draw needs an n x n matrix."""
        return matrices_at_once(symmetry)

    def pointwise(self, q: MeanField, params: dict, key):
        """log q(w) - log q_G(w) or more, in nats."""
        return pointwise_bethe(q, params)
