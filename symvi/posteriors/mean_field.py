"""The mean field posterior over named weights, and the densities of its units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import is_concrete, positive_int
from symvi.symmetry import Symmetry


def log_normal(value, loc, scale):
    """log N(value; loc, scale^2), elementwise, in nats."""
    z = (value - loc) / scale
    return -0.5 * z * z - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class MeanField:
    """A Gaussian with independent weights: q(w) = prod_k N(w_k; loc_k, scale_k^2). A pytree.

    Parameters
    ----------
    loc, scale : dict of arrays
        Same names and shapes, finite; scale > 0.
    symmetry : Symmetry
        The group that :class:`Symmetrized` averages over; parameters that it does not move may be present.
    """

    loc: dict
    scale: dict
    symmetry: Symmetry = Symmetry()

    def __post_init__(self):
        leaves = jax.tree.leaves((self.loc, self.scale))
        if not all(
            isinstance(leaf, (jax.Array, np.ndarray, float, int)) for leaf in leaves
        ) or not is_concrete(*leaves):
            return  # made inside a transformation
        loc, scale = ({k: np.shape(v) for k, v in side.items()} for side in (self.loc, self.scale))
        if loc != scale:
            raise ValueError(
                f"scale: expected names and shapes of loc {loc}, got {scale}; pass one scale for each loc"
            )
        self.symmetry.check_weights(self.loc)
        for name in loc:
            if not np.all(np.isfinite(self.loc[name])):
                raise ValueError(
                    f"loc[{name!r}]: expected finite numbers, got NaN or infinity; pass means"
                )
            if not np.all((np.asarray(self.scale[name]) > 0) & np.isfinite(self.scale[name])):
                raise ValueError(
                    f"scale[{name!r}]: expected positive finite numbers, got down to {np.min(self.scale[name]):g}, up to {np.max(self.scale[name]):g}; pass standard deviations"
                )

    def sample(self, key, num: int) -> dict:
        """`num` independent draws: a dict of arrays of shape ``(num, *shape)``."""
        num = positive_int("num", num)
        noise = {
            name: jax.random.normal(
                jax.random.fold_in(key, i), (num, *jnp.shape(loc)), jnp.result_type(loc)
            )
            for i, (name, loc) in enumerate(sorted(self.loc.items()))
        }
        return jax.vmap(self.from_noise)(noise)

    def from_noise(self, noise: dict) -> dict:
        """The draw that standard normal `noise` (one array for each array of weights) gives: loc + scale * noise."""
        return {name: loc + self.scale[name] * noise[name] for name, loc in self.loc.items()}

    def log_prob(self, params: dict) -> jax.Array:
        """log q(w) in nats. Leading batch axes of `params` are kept: ``(num, *shape)`` gives ``(num,)``."""
        total = 0.0
        for name, loc in self.loc.items():
            terms = log_normal(params[name], loc, self.scale[name])
            total = total + terms.sum(axis=tuple(range(terms.ndim - jnp.ndim(loc), terms.ndim)))
        return total

    def variance(self) -> dict:
        """Var[w] of each weight."""
        return {name: scale**2 for name, scale in self.scale.items()}

    def unit_log_density(self, units, name: str | None = None) -> jax.Array:
        """log q_i(u_j) for own unit vectors `units` of shape ``(m, d)``: shape ``(n, m)``."""
        loc, scale = (self.symmetry.own_units(p, name) for p in (self.loc, self.scale))
        return log_normal(units[None, :, :], loc[:, None, :], scale[:, None, :]).sum(-1)

    def unit_lower(self, name: str | None = None) -> None:
        """None: weights inside a unit are independent. See :class:`UnitNormal`."""

    def rest_log_prob(self, params: dict) -> jax.Array:
        """log q of the weights that no group moves."""
        params, loc, scale = (self.symmetry.rest(p) for p in (params, self.loc, self.scale))
        return sum(
            (log_normal(params[k], loc[k], scale[k]).sum() for k in loc), start=jnp.zeros(())
        )

    def entropy(self) -> jax.Array:
        """H(q) in nats, in closed form: a scalar."""
        return sum(
            jnp.log(s).sum() + 0.5 * jnp.size(s) * math.log(2 * math.pi * math.e)
            for s in self.scale.values()
        )


def over_draws(function, loc: dict, params: dict):
    """`function` of one set of weights, shaped as `loc`, over the leading batch axes of `params`."""
    name = next(iter(loc))
    batch = jnp.shape(params[name])[: jnp.ndim(params[name]) - jnp.ndim(loc[name])]
    if not batch:
        return function(params)
    rows = {k: jnp.reshape(params[k], (-1, *jnp.shape(v))) for k, v in loc.items()}
    return jax.vmap(function)(rows).reshape(batch)


def register_posterior(cls, fields: tuple) -> None:
    """Make `cls` a pytree of `fields`. It is rebuilt without checks: a gradient with respect to q is a `cls` too, with any sign."""

    def flatten(q):
        return tuple((jax.tree_util.GetAttrKey(k), getattr(q, k)) for k in fields), q.symmetry

    def rebuild(symmetry, children):
        q = object.__new__(cls)
        q.__dict__.update(zip(fields, children, strict=True), symmetry=symmetry)
        return q

    jax.tree_util.register_pytree_with_keys(cls, flatten, rebuild)


register_posterior(MeanField, ("loc", "scale"))


def log_unit_densities(q: MeanField, params: dict, name: str | None = None) -> jax.Array:
    """The matrix log A[i, j] = log q_i(u_j), shape ``(n, n)``: unit vector j of `params` under unit i of `q`.

    For a signed group, log of the mean over the two signs of u_j. With several unit groups, `name` says which, and the
    unit vectors are those of :meth:`Symmetry.own_units`.
    """
    u = q.symmetry.own_units(params, name)
    if not q.symmetry.signed:
        return q.unit_log_density(u, name)
    return jnp.logaddexp(q.unit_log_density(u, name), q.unit_log_density(-u, name)) - math.log(2)
