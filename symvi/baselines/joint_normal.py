"""A Gaussian over all weights jointly, with correlations between any two of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpyro.distributions as dist
from jaxtyping import Array, Float

from symvi.checks import described, expected, positive_int, required_key
from symvi.estimates import Estimate
from symvi.models import BNN, check_model
from symvi.posteriors.mean_field import over_draws


@dataclass(frozen=True, eq=False, repr=False)
class JointNormal:
    """A Gaussian over the vector of all weights, spoken of by their names. A pytree.

    Parameters
    ----------
    bnn : BNN
        The model whose posterior it approximates; ``bnn.ravel`` gives the order of the vector.
    law : numpyro.distributions.Distribution
        Over vectors ``(num_weights,)``: a MultivariateNormal or a LowRankMultivariateNormal.
    model : BNN or None
        What it predicts by, where that is not `bnn`.
    elbo : Estimate or None
        Its ELBO in nats, where the fit that made it maximised that.

    Raises
    ------
    ValueError
        For a `law` that is not over all weights of `bnn`.
    """

    bnn: BNN
    law: dist.Distribution
    model: BNN | None = None
    elbo: Estimate | None = None

    def __post_init__(self):
        check_model(self.bnn)
        num_weights = sum(math.prod(shape) for shape in self.bnn.shapes.values())
        if getattr(self.law, "event_shape", None) != (num_weights,):
            wanted = f"a NumPyro distribution of vectors of all {num_weights} weights"
            remedy = "order the weights as bnn.ravel does"
            raise expected("law", wanted, described(self.law), remedy)

    def __repr__(self) -> str:
        return f"JointNormal({self.law.event_shape[0]} weights, {type(self.law).__name__})"

    @property
    def loc(self) -> dict:
        """The means of the weights by name, arrays of their shapes."""
        return self.bnn.unravel(self.law.mean)

    def sample(self, key, num: int) -> dict:
        """`num` independent draws: a dict of arrays of shape ``(num, *shape)``.

        Raises ValueError unless `key` is a JAX key and num >= 1.
        """
        vectors = self.law.sample(required_key(key), (positive_int("num", num),))
        return jax.vmap(self.bnn.unravel)(vectors)

    def log_prob(self, params: dict) -> Float[Array, "*batch"]:
        """log q(w) in nats, over leading batch axes: ``(num, *shape)`` gives ``(num,)``.

        Raises ValueError unless `params` has the names and shapes of ``loc``.
        """
        return over_draws(self._log_prob, self.loc, params)

    def _log_prob(self, params: dict) -> Float[Array, ""]:
        return self.law.log_prob(self.bnn.ravel(params))

    def entropy(self) -> Float[Array, ""]:
        """H(q) in nats, in closed form: a scalar."""
        return self.law.entropy()


def _flatten(q: JointNormal):
    return (q.law,), (q.bnn, q.model, q.elbo)


def _rebuild(settings, children) -> JointNormal:
    q = object.__new__(JointNormal)
    names = ("bnn", "model", "elbo")
    q.__dict__.update(zip(names, settings, strict=True), law=children[0])
    return q


jax.tree_util.register_pytree_node(JointNormal, _flatten, _rebuild)
