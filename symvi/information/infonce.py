r"""InfoNCE: a lower bound of I(g; w) from K uniform elements (Gelberg et al. 2024, Theorem 4.3).

1. w = g w_0 with g uniform and w_0 from q: I(g; w) is the information between g and w, and log
   q(g^-1 w) is the ideal critic. Its InfoNCE bound (van den Oord, Li and Vinyals 2018) contrasts
   the true g with K - 1 others.
2. q_G is invariant, so the true g may be taken as the identity, and the others as g_j uniform:

   I >= I_K = E[-log (1/K) (1 + sum_{j<K} q(g_j^-1 w) / q(w))].

3. The sum is at least 1, so I_K <= log K: the bound saturates there, however large I is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp
from symvi.checks import positive_int
from symvi.information.method import Method
from symvi.posteriors.mean_field import MeanField


def pointwise_infonce(q: MeanField, params: dict, key, num_permutations: int) -> Float[Array, ""]:
    """One draw of -log (1/K)[1 + sum_{j<K} q(g_j^-1 w) / q(w)] in nats, with g_j uniform.

    Never above log K. K = `num_permutations` counts the identity, so K = 1 gives 0.
    """
    base = q.log_prob(params)
    if not q.symmetry.groups:  # the identity alone: all K elements are equal
        return jnp.zeros_like(base)
    log_ratios = jnp.zeros(1, base.dtype)
    if num_permutations > 1:
        # uniform, so g and its inverse have the same law
        g = q.symmetry.sample(key, num_permutations - 1)

        def copy(element):
            return q.log_prob(q.symmetry.act(element, params))

        # one at a time: memory traffic is what costs
        copies = jax.lax.map(copy, g)
        log_ratios = jnp.concatenate([log_ratios, copies - base])
    return jnp.log(num_permutations) - log_sum_exp(log_ratios, axis=0)


@dataclass(frozen=True)
class InfoNCE(Method):
    """The lower bound by K = `num_permutations` uniform elements; any group; at most log K.

    K counts the identity.
    """

    num_permutations: int = 20

    name: ClassVar[str] = "infonce"
    kind: ClassVar[str] = "lower"
    needs_key: ClassVar[bool] = True

    def __post_init__(self):
        number = positive_int("num_permutations", self.num_permutations)
        object.__setattr__(self, "num_permutations", number)

    def pointwise(self, q: MeanField, params: dict, key):
        """One draw of I_K, in nats."""
        return pointwise_infonce(q, params, key, self.num_permutations)
