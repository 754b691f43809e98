r"""Guided permutations: a lower and an upper bound of I(g; w) that do not stop at log K.

1. q_G(w) = E_r[v(g)] with the importance weight v(g) = q(g^-1 w) / (|G| r(g | w)), for any proposal
   r.
2. r is made from q: which unit of w each unit of q accounts for is drawn row by row from the
   Sinkhorn-scaled matrix of unit densities (:func:`symvi.permanents.sample_permutations`). Layers
   are drawn one after the other, each undone before the next is looked at. Signs are summed over in
   the last layer and drawn from their exact conditional before it.
3. Lower bound. log q(w) - log mean v over K elements, one of which is the identity, which truly
   gave w, and K - 1 from r, is below I in expectation: importance-weighted InfoNCE.
4. Upper bound. E[-log X] >= -log E[X] for any unbiased estimate X of q_G(w) (Jensen). Here X takes
   K draws of r and the identity with the balance heuristic, v(g) r(g) / (K r(g) + [g = e]) (Veach
   and Guibas 1995), so that a draw is never above log |G| + log(K + 1).

Both tend to I as K grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp
from symvi.checks import positive_int
from symvi.estimates import Bounds, from_samples
from symvi.information.method import Method, matrices_at_once, measured
from symvi.permanents import draw_permutation
from symvi.permanents.scaling import scale_matrix
from symvi.posteriors.mean_field import MeanField, log_unit_densities
from symvi.symmetry import Element, Symmetry


class _Guess(NamedTuple):
    """What is known of g after some layers.

    `params` is w with those layers undone, `log_v` log q(g^-1 w) / (|G| r(g | w)) so far, `log_r`
    log r(g | w), and `is_identity` whether g is the identity so far.
    """

    params: dict
    log_v: jax.Array
    log_r: jax.Array | float
    is_identity: jax.Array | bool


def _drawn_signs(q, params, group, perm, key, identity):
    """A sign for each unit from its exact conditional: ``(signs, log odds of +1)``, ``(n,)``."""
    units = q.symmetry.own_units(params, group.name)[perm]
    plus = jnp.diagonal(q.unit_log_density(units, group.name))
    minus = jnp.diagonal(q.unit_log_density(-units, group.name))
    log_odds = plus - minus
    is_plus = identity | jax.random.bernoulli(key, jax.nn.sigmoid(log_odds))
    return jnp.where(is_plus, 1, -1), log_odds


def _undone(q, guess, group, perm, key, identity):
    """The guess with this layer's permutation and signs (if any) taken off the weights."""
    symmetry = q.symmetry
    nothing = symmetry.identity()
    signs, log_r, is_identity = nothing.signs, guess.log_r, guess.is_identity
    if symmetry.flips(group.name):
        drawn, log_odds = _drawn_signs(q, guess.params, group, perm, key, identity)
        at_places = jnp.zeros_like(perm).at[perm].set(drawn)
        signs = {**signs, group.name: at_places}
        log_r = log_r + jax.nn.log_sigmoid(drawn * log_odds).sum()
        is_identity = is_identity & jnp.all(drawn == 1)
    back = Element({**nothing.perms, group.name: jnp.argsort(perm)}, signs)
    return _Guess(symmetry.act(back, guess.params), guess.log_v, log_r, is_identity)


def _guess_layer(q, guess, group, key, identity, is_last):
    """The guess after one more layer."""
    k_perm, k_sign = jax.random.split(key)
    log_a = log_unit_densities(q, guess.params, group.name)
    log_p = scale_matrix(jax.lax.stop_gradient(log_a)).log_p
    rows = jnp.arange(group.size)
    given = jnp.where(identity, rows, -1)
    perm, log_r_perm = draw_permutation(k_perm, log_p, given)
    guess = guess._replace(
        log_v=guess.log_v + log_a[rows, perm].sum() - math.lgamma(group.size + 1) - log_r_perm,
        log_r=guess.log_r + log_r_perm,
        is_identity=guess.is_identity & jnp.all(perm == rows),
    )
    return guess if is_last else _undone(q, guess, group, perm, k_sign, identity)


def _guess_element(q, params, key, identity):
    """One g drawn layer by layer from r; where `identity` is true, g is the identity instead."""
    guess = _Guess(params, q.rest_log_prob(params), 0.0, True)
    groups = q.symmetry.groups
    for index, group in enumerate(groups):
        is_last = index + 1 == len(groups)
        layer_key = jax.random.fold_in(key, index)
        guess = _guess_layer(q, guess, group, layer_key, identity, is_last)
    return guess.log_v, guess.log_r, guess.is_identity


def pointwise_guided(
    q: MeanField, params: dict, key, num_permutations: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """One draw of a lower and an upper bound of I(g; w) in nats, from K = `num_permutations`."""
    keys = jax.random.split(key, num_permutations + 1)
    first = jnp.arange(num_permutations + 1) == 0  # the identity; then K draws of r

    def guess(element_key, identity):
        return _guess_element(q, params, element_key, identity)

    log_v, log_r, is_identity = jax.vmap(guess)(keys, first)
    log_k = jnp.log(num_permutations)
    log_also_identity = jnp.where(is_identity, 0.0, -jnp.inf)
    log_balanced = log_v + log_r - jnp.logaddexp(log_k + log_r, log_also_identity)
    base = q.log_prob(params)
    lower = base - (log_sum_exp(log_v[:-1], axis=0) - log_k)
    upper = base - log_sum_exp(log_balanced, axis=0)
    return lower, upper


@dataclass(frozen=True)
class Guided(Method):
    """Both bounds by K = `num_permutations` guided elements; any width and depth.

    Training takes the lower one.
    """

    num_permutations: int = 20

    name: ClassVar[str] = "guided"
    kind: ClassVar[str] = "lower"
    needs_key: ClassVar[bool] = True
    evaluation_draws: ClassVar[int] = 100

    def __post_init__(self):
        number = positive_int("num_permutations", self.num_permutations)
        object.__setattr__(self, "num_permutations", number)

    def draws_at_once(self, symmetry: Symmetry) -> int:
        """Fewer for wide layers: each draw needs an n x n matrix."""
        return matrices_at_once(symmetry)

    def pointwise(self, q: MeanField, params: dict, key):
        """One draw of the lower bound, in nats."""
        return self.measure(q, params, key)[0]

    def measure(self, q: MeanField, params: dict, key):
        """One draw of the lower and of the upper bound, in nats."""
        return pointwise_guided(q, params, key, self.num_permutations)

    def estimate(self, q: MeanField, key, num_samples: int) -> Bounds:
        """Both bounds of I(g; w) by `num_samples` draws of w, in nats."""
        lower, upper = measured(q, key, self, num_samples)
        return Bounds(
            from_samples(np.asarray(lower), "lower"), from_samples(np.asarray(upper), "upper")
        )
