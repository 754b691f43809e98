r"""Mixtures of posteriors, such as the restarts of one fit.

With L_k the ELBO of q_k, that of q = sum_k a_k q_k is sum_k a_k (L_k + E_{q_k}[log q_k - log q]).

1. log q >= log a_k + log q_k, so ELBO(q) <= sum_k a_k (L_k - log a_k), with equality where the
   members do not overlap: equal weights then add log K to the mean of the L_k.
2. That sum is largest for a = softmax(L), where it is log sum_k exp L_k.
3. ELBO(q) >= sum_k a_k L_k, since the mean of log q_k - log q under q_k is a KL divergence. Members
   that are all the same add nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from symvi.checks import as_numbers, described, expected, is_finite, positive_int, required_key
from symvi.information.symmetrized import Symmetrized
from symvi.posteriors.protocol import as_measurable


@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """q = sum_k a_k q_k. A pytree; :func:`mixture` makes one.

    Attributes
    ----------
    members : tuple of posteriors
    weights : array (K,)
        a_k, which add up to 1.
    """

    members: tuple
    weights: Float[Array, " K"]

    def __repr__(self) -> str:
        return f"Mixture({len(self.members)} members, the first {self.members[0]!r})"

    def sample(self, key, num: int) -> dict:
        """`num` independent draws: a dict of arrays of shape ``(num, *shape)``.

        Raises ValueError unless `key` is a JAX key and num >= 1.
        """
        num = positive_int("num", num)
        k_choice, k_members = jax.random.split(required_key(key))
        chosen = jax.random.choice(k_choice, len(self.members), (num,), p=self.weights)
        keys = jax.random.split(k_members, len(self.members))
        drawn = [q.sample(k, num) for q, k in zip(self.members, keys, strict=True)]

        def picked(*of_members):
            return jnp.stack(of_members)[chosen, jnp.arange(num)]

        return jax.tree.map(picked, *drawn)

    def log_prob(self, params: dict) -> Float[Array, "*batch"]:
        """log q(w) in nats, over leading batch axes: ``(num, *shape)`` gives ``(num,)``.

        Raises ValueError unless `params` has the names and shapes of the members.
        """
        terms = jnp.stack([q.log_prob(params) for q in self.members], axis=-1)
        return jax.scipy.special.logsumexp(terms + jnp.log(self.weights), axis=-1)

    def strata(self) -> list:
        """The pairs (a_k, q_k) with a_k > 0, for an ELBO that is estimated member by member."""
        pairs = zip(np.asarray(self.weights).tolist(), self.members, strict=True)
        return [(weight, member) for weight, member in pairs if weight > 0]


def _flatten(q: Mixture):
    return (q.members, q.weights), None


def _rebuild(_, children) -> Mixture:
    q = object.__new__(Mixture)
    q.__dict__.update(zip(("members", "weights"), children, strict=True))
    return q


jax.tree_util.register_pytree_node(Mixture, _flatten, _rebuild)


def mixture(posteriors, weights=None) -> Mixture:
    """The mixture of `posteriors`, plain or symmetrized.

    ``mixture(fit.posteriors)`` mixes the restarts of a fit. :func:`symvi.elbo` draws from each
    member alike.

    Parameters
    ----------
    posteriors : sequence
        Each with ``sample`` and ``log_prob`` and over the same weights; a Symmetrized one with the
        method "exact", since bounds are no densities.
    weights : array (K,), optional
        Numbers >= 0, of which their shares are taken; equal ones by default.
        ``elbo_weights(fit.elbos)`` gives the best ones for members that do not overlap.

    Raises
    ------
    ValueError
        For no posteriors, for members of different weights, without a density or with a model of
        their own to predict by, and for other `weights`.
    """
    if not isinstance(posteriors, (list, tuple)) or not posteriors:
        remedy = "pass for example fit.posteriors"
        raise expected("posteriors", "a list of posteriors", described(posteriors), remedy)
    members = tuple(_checked_member(i, q) for i, q in enumerate(posteriors))
    shapes = [_shapes(q) for q in members]
    for index, found in enumerate(shapes):
        if found != shapes[0]:
            wanted = f"the weights of the first, {shapes[0]}"
            raise expected(f"posteriors[{index}]", wanted, found, "mix posteriors of one model")
    return Mixture(members, _checked_weights(weights, len(members)))


def elbo_weights(elbos) -> Float[Array, " K"]:
    """softmax of `elbos` ``(K,)`` in nats, numbers or Estimates: a mixture's best weights where its
    members do not overlap.

    Raises ValueError for anything but finite numbers.
    """
    values = [getattr(elbo, "value", elbo) for elbo in elbos] if _is_row(elbos) else elbos
    values = as_numbers("elbos", values)
    if values.ndim != 1 or values.size == 0 or not is_finite(values):
        remedy = "pass for example fit.elbos"
        raise expected("elbos", "finite numbers, one a posterior", described(elbos), remedy)
    return jax.nn.softmax(values.astype(float))


def _is_row(values) -> bool:
    return isinstance(values, (list, tuple))


def _checked_member(index: int, q):
    label = f"posteriors[{index}]"
    member = as_measurable(q, label)
    if isinstance(member, Symmetrized) and member.method.kind != "exact":
        got = f"one with method {member.method.name!r}"
        raise expected(label, "a normalised density", got, "symmetrize it with method='exact'")
    if getattr(member, "model", None) is not None:
        got = "one that predicts by a model of its own"
        remedy = "compare linearised Laplace by itself"
        raise expected(label, "a posterior that predicts by the network", got, remedy)
    return member


def _shapes(q) -> dict:
    drawn = jax.eval_shape(lambda: q.sample(jax.random.key(0), 1))
    return {name: value.shape[1:] for name, value in sorted(drawn.items())}


def _checked_weights(weights, num: int) -> Float[Array, " K"]:
    if weights is None:
        return jnp.full(num, 1 / num)
    values = as_numbers("weights", weights).astype(float)
    if values.shape != (num,) or not is_finite(values) or values.min() < 0 or values.sum() <= 0:
        wanted = f"{num} numbers >= 0 that are not all 0"
        raise expected("weights", wanted, described(weights), "pass one for each posterior")
    return values / values.sum()
