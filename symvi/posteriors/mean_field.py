r"""Variational posteriors over named weights: mean field, and its average over the symmetry group.

The symmetrized posterior (Gelberg et al. 2024, equation 4) is :math:`q_G(w) = |G|^{-1} \sum_g q(g^{-1} w)`. For one
hidden layer of n units the sum is a matrix permanent: :math:`q_G(w) = \mathrm{perm}(A) / n!` with
:math:`A_{ij} = q_i(u_j)`, the density of unit vector j under the posterior of unit i. Odd activations also flip signs:
then :math:`A_{ij} = (q_i(u_j) + q_i(-u_j)) / 2`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from symvi.checks import is_concrete, positive_int
from symvi.estimates import Estimate, from_samples
from symvi.permanents.core import MAX_EXACT, log_permanent, log_sum_exp
from symvi.symmetry import Symmetry

MAX_SUMMED = 50_000  # largest group summed element by element (several hidden layers)


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


def log_symmetrized(q: MeanField, params: dict) -> jax.Array:
    """log q_G(w) in nats for one set of weights, exactly (equation 4).

    By permanent for one hidden layer of at most 16 units, by the sum over all elements for |G| <= 50,000.
    Raises ValueError beyond that.
    """
    group = q.symmetry
    if len(group.groups) == 1 and group.groups[0].size <= MAX_EXACT and group.factorises:
        rest = q.rest_log_prob(params)
        return (
            log_permanent(log_unit_densities(q, params))
            - math.lgamma(group.groups[0].size + 1)
            + rest
        )
    if group.order > MAX_SUMMED:
        raise ValueError(
            f"exact: expected one hidden layer of n <= {MAX_EXACT} units or |G| <= {MAX_SUMMED}, got widths {[g.size for g in group.groups]} "
            f"(log |G| = {group.log_order:.1f} nats); use symmetrize='pairwise' or method='guided'"
        )
    copies = jax.vmap(lambda g: q.log_prob(group.act(g, params)), axis_size=group.order)(
        group.elements()
    )  # G is a group: summing over g or its inverse is the same
    return log_sum_exp(copies, axis=0) - group.log_order


class Symmetrized(dist.Distribution):
    """q averaged over its symmetry group: q_G(w) = mean over g of q(g^-1 w). A NumPyro distribution and a pytree.

    Two views of the same distribution: with a number of draws or a dict it speaks named weights
    (``sample(key, 100)``, ``log_prob({"W1": ...})``); with a shape tuple or an array it speaks flat vectors, as NumPyro
    does (``sample(key, ())``, ``log_prob(vector)``), with ``event_shape == (num_weights,)`` and names in sorted order.

    The mixture weights are uniform and fixed, so pathwise gradients with respect to loc and scale are unbiased
    (``has_rsample`` is true for that reason).

    Parameters
    ----------
    base : MeanField
    order : tuple of str, optional
        Names in the order of the flat view, when it is not the sorted order.
    """

    pytree_data_fields = ("base",)
    pytree_aux_fields = ("order",)
    support = dist.constraints.real_vector
    reparametrized_params = ("base",)

    def __init__(self, base: MeanField, order: tuple | None = None, *, validate_args=None):
        self.base = base
        self.order = tuple(sorted(base.loc)) if order is None else tuple(order)
        if sorted(self.order) != sorted(base.loc):
            raise ValueError(
                f"order: expected the names {sorted(base.loc)}, got {self.order}; name each parameter once"
            )
        super().__init__(
            (),
            (sum(int(np.prod(np.shape(v))) for v in base.loc.values()),),
            validate_args=validate_args,
        )

    @property
    def has_rsample(self) -> bool:
        """True, since draws are differentiable in loc and scale."""
        return True

    @property
    def symmetry(self) -> Symmetry:
        """The group that is averaged over."""
        return self.base.symmetry

    def sample(self, key, sample_shape=()):
        """Draw from q, then act with a uniform g. An int gives named weights ``(num, *shape)``; a tuple gives flat vectors."""
        flat = not isinstance(sample_shape, (int, np.integer))
        num = max(1, math.prod(sample_shape)) if flat else positive_int("num", sample_shape)
        k_base, k_group = jax.random.split(key)
        draws = jax.vmap(self.symmetry.act)(
            self.symmetry.sample(k_group, num), self.base.sample(k_base, num)
        )
        return (
            self._flatten(draws)[: math.prod(sample_shape)].reshape(
                *sample_shape, *self.event_shape
            )
            if flat
            else draws
        )

    def log_prob(self, value, intermediates=None):
        """log q_G in nats; exact. A dict ``(*batch, *shape)`` or a flat array ``(*batch, num_weights)`` gives ``(*batch,)``.

        Raises ValueError for more than 16 units in one hidden layer, or |G| > 50,000 for several.
        """
        value = value if isinstance(value, dict) else self._unflatten(value)
        return over_draws(partial(log_symmetrized, self.base), self.base.loc, value)

    def entropy(self, key=None, num_samples: int = 1000) -> Estimate:
        """H(q_G) = H(q) + I(g; w) in nats, by Monte Carlo over draws of q (Theorem 4.1)."""
        w = self.base.sample(jax.random.key(0) if key is None else key, num_samples)
        return from_samples(-self.log_prob(w), "exact")

    @property
    def mean(self):
        """E[w] under q_G, flat. It is each weight's loc averaged over its orbit. It sums all elements, and raises ValueError for |G| > 100,000."""
        return self._flatten(jax.tree.map(lambda a: a.mean(0), self._orbit(self.base.loc)))

    @property
    def variance(self):
        """Var[w] under q_G, flat, elementwise."""
        second = self._orbit(
            jax.tree.map(lambda m, s: s**2 + m**2, self.base.loc, self.base.scale), squared=True
        )
        return self._flatten(jax.tree.map(lambda a: a.mean(0), second)) - self.mean**2

    def _orbit(self, params, squared=False):
        group = (
            Symmetry(self.symmetry.groups) if squared else self.symmetry
        )  # squares have no sign to flip
        return jax.vmap(lambda g: group.act(g, params), axis_size=group.order)(group.elements())

    def _flatten(self, params: dict):
        return jnp.concatenate(
            [
                jnp.reshape(
                    params[k],
                    (*jnp.shape(params[k])[: jnp.ndim(params[k]) - jnp.ndim(self.base.loc[k])], -1),
                )
                for k in self.order
            ],
            axis=-1,
        )

    def _unflatten(self, flat):
        if jnp.shape(flat)[-1:] != self.event_shape:
            raise ValueError(
                f"value: expected {self.event_shape[0]} weights on the last axis, got shape {jnp.shape(flat)}; pass flat vectors of all weights in the order {self.order}, or a dict"
            )
        out, start = {}, 0
        for name in self.order:
            shape = jnp.shape(self.base.loc[name])
            size = int(np.prod(shape))
            out[name] = jnp.reshape(
                flat[..., start : start + size], (*jnp.shape(flat)[:-1], *shape)
            )
            start += size
        return out
