"""The mean field posterior over named weights, and the densities of its units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from symvi.arrays import over_leading_axes
from symvi.checks import (
    as_numbers,
    described,
    expected,
    is_concrete,
    is_finite,
    positive_int,
    required_key,
)
from symvi.symmetry import Symmetry


class UnitGaussians(NamedTuple):
    """Independent Gaussian units: unit i has mean loc_i and covariance S (1 + N)(1 + N)^T S.

    Attributes
    ----------
    loc, scale : arrays (n, d)
        S = diag(scale_i).
    lower : array (n, d, d) or None
        N of each unit, strictly lower triangular; None where weights inside a unit are independent.
    """

    loc: Float[Array, "n d"]
    scale: Float[Array, "n d"]
    lower: Float[Array, "n d d"] | None = None


@dataclass(frozen=True)
class MeanField:
    """A Gaussian with independent weights: q(w) = prod_k N(w_k; loc_k, scale_k^2). A pytree.

    Parameters
    ----------
    loc, scale : dict of arrays
        Same names and shapes, finite; scale > 0. At least one name.
    symmetry : Symmetry
        The group that :class:`Symmetrized` averages over; parameters that it does not move may be
        present.

    Raises
    ------
    ValueError
        If `loc` and `scale` are not such dicts, or the weights are not those of `symmetry`.
    """

    loc: dict
    scale: dict
    symmetry: Symmetry = Symmetry()

    def __post_init__(self):
        loc = _as_named_floats("loc", self.loc)
        scale = _as_named_floats("scale", self.scale)
        _check_same_shapes(loc, scale)
        for name in loc:
            _check_values(name, loc[name], scale[name])
        if not isinstance(self.symmetry, Symmetry):
            got = described(self.symmetry)
            raise expected("symmetry", "a Symmetry", got, "pass for example net.symmetry")
        self.symmetry.check_weights(loc)
        object.__setattr__(self, "loc", loc)
        object.__setattr__(self, "scale", scale)

    def __repr__(self) -> str:
        num_weights = sum(jnp.size(value) for value in self.loc.values())
        return f"{type(self).__name__}({num_weights} weights, {self.symmetry!r})"

    def sample(self, key, num: int) -> dict:
        """`num` independent draws: a dict of arrays of shape ``(num, *shape)``.

        Raises ValueError unless `key` is a JAX key and num >= 1.
        """
        key = required_key(key)
        num = positive_int("num", num)
        noise = {}
        for i, name in enumerate(sorted(self.loc)):
            loc = self.loc[name]
            noise[name] = jax.random.normal(
                jax.random.fold_in(key, i), (num, *jnp.shape(loc)), jnp.result_type(loc)
            )
        return jax.vmap(self.from_noise)(noise)

    def from_noise(self, noise: dict) -> dict:
        """The draw loc + scale * noise, for standard normal `noise` shaped as ``loc``."""
        return {name: loc + self.scale[name] * noise[name] for name, loc in self.loc.items()}

    def log_prob(self, params: dict) -> Float[Array, "*batch"]:
        """log q(w) in nats, over leading batch axes: ``(num, *shape)`` gives ``(num,)``.

        Raises ValueError unless `params` has the names and shapes of ``loc``.
        """
        params, num_axes = weights_like(self.loc, params)
        total = 0.0
        for name, loc in self.loc.items():
            terms = log_normal(params[name], loc, self.scale[name])
            total = total + terms.sum(axis=tuple(range(num_axes, terms.ndim)))
        return total

    def variance(self) -> dict:
        """Var[w] of each weight."""
        return {name: scale**2 for name, scale in self.scale.items()}

    def unit_log_density(self, units, name: str | None = None) -> Float[Array, "n m"]:
        """log q_i(u_j) in nats for own unit vectors `units` ``(m, d)``: shape ``(n, m)``."""
        loc, scale, _ = self.unit_gaussians(name)
        units = as_units(units, loc.shape[1])
        return log_normal(units[None, :, :], loc[:, None, :], scale[:, None, :]).sum(-1)

    def unit_gaussians(self, name: str | None = None) -> UnitGaussians:
        """The Gaussians of the own weights of each unit of one group; units are independent."""
        loc = self.symmetry.own_units(self.loc, name)
        scale = self.symmetry.own_units(self.scale, name)
        return UnitGaussians(loc, scale)

    def joint_unit_gaussians(self, name: str | None = None) -> UnitGaussians | None:
        """The Gaussians of all weights that move with a unit, own or not.

        None where the units are not independent in these.
        """
        loc = self.symmetry.units(self.loc, name)
        scale = self.symmetry.units(self.scale, name)
        return UnitGaussians(loc, scale)

    def rest_log_prob(self, params: dict) -> Float[Array, ""]:
        """log q in nats of the weights that no group moves: a scalar."""
        params, loc, scale = (self.symmetry.rest(p) for p in (params, self.loc, self.scale))
        total = jnp.zeros((), precision_of(self.loc))
        for name in loc:
            total = total + log_normal(params[name], loc[name], scale[name]).sum()
        return total

    def entropy(self) -> Float[Array, ""]:
        """H(q) in nats, in closed form: a scalar."""
        total = 0
        for scale in self.scale.values():
            constants = 0.5 * jnp.size(scale) * math.log(2 * math.pi * math.e)
            total = total + (jnp.log(scale).sum() + constants)
        return total


def log_normal(
    value: Float[Array, " ..."], loc: Float[Array, " ..."], scale: Float[Array, " ..."]
) -> Float[Array, " ..."]:
    """log N(value; loc, scale^2), elementwise, in nats."""
    z = (value - loc) / scale
    return -0.5 * z * z - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


def log_unit_densities(q: MeanField, params: dict, name: str | None = None) -> Float[Array, "n n"]:
    """The matrix log A[i, j] = log q_i(u_j) in nats, shape ``(n, n)``.

    It holds unit j of `params` under unit i of `q`. For a signed group, log of the mean over the
    two signs of u_j. With several unit groups, `name` says which, and the unit vectors are those of
    :meth:`Symmetry.own_units`.
    """
    units = q.symmetry.own_units(params, name)
    if not q.symmetry.flips(q.symmetry.group(name).name):
        return q.unit_log_density(units, name)
    both = jnp.logaddexp(q.unit_log_density(units, name), q.unit_log_density(-units, name))
    return both - math.log(2)


def precision_of(loc: dict):
    """The floating dtype of the weights in `loc`, the default one where there are none."""
    return jnp.result_type(*loc.values()) if loc else jnp.result_type(float)


def over_draws(function, loc: dict, params: dict):
    """`function` of one set of weights, shaped as `loc`, over the leading batch axes of `params`.

    Raises ValueError unless `params` has the names and shapes of `loc`.
    """
    params, num_axes = weights_like(loc, params)
    return over_leading_axes(function, num_axes, params)


def weights_like(loc: dict, params) -> tuple:
    """`params` as arrays, in the order of `loc`, and the number of their leading batch axes.

    Raises ValueError unless the names are those of `loc`, and the shapes too but for the batch
    axes, which all arrays share.
    """
    if not isinstance(params, dict) or set(params) != set(loc):
        got = sorted(map(str, params)) if isinstance(params, dict) else described(params)
        wanted = f"a dict of the names {sorted(loc)}"
        raise expected("params", wanted, got, "pass weights of the same network")
    arrays = {name: as_numbers(f"params[{name!r}]", params[name]) for name in loc}
    first = next(iter(loc))
    batch = arrays[first].shape[: max(0, arrays[first].ndim - jnp.ndim(loc[first]))]
    for name, array in arrays.items():
        if array.shape != (*batch, *jnp.shape(loc[name])):
            remedy = "pass weights of the same network, with the same batch axes on each"
            wanted = f"shape {(*batch, *jnp.shape(loc[name]))}"
            raise expected(f"params[{name!r}]", wanted, array.shape, remedy)
    return arrays, len(batch)


def as_units(units, d: int) -> Float[Array, "m d"]:
    """`units` as an array; ValueError unless it holds vectors of `d` weights, ``(m, d)``."""
    units = as_numbers("units", units)
    if units.ndim != 2 or units.shape[1] != d:
        remedy = "pass vectors from own_units(params)"
        raise expected("units", f"unit vectors of shape (m, {d})", units.shape, remedy)
    return units


def _as_named_floats(name: str, values) -> dict:
    if not isinstance(values, dict) or not values:
        raise expected(
            name, "a dict of named arrays", described(values), 'pass for example {"W1": array}'
        )
    return {key: as_floats(f"{name}[{key!r}]", value) for key, value in values.items()}


def as_floats(name: str, value) -> Float[Array, " ..."]:
    """`value` as an array of floats; whole numbers are converted. ValueError for anything else."""
    array = as_numbers(name, value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _check_same_shapes(loc: dict, scale: dict) -> None:
    shapes = {name: jnp.shape(value) for name, value in loc.items()}
    got = {name: jnp.shape(value) for name, value in scale.items()}
    if got != shapes:
        wanted = f"names and shapes of loc {shapes}"
        raise expected("scale", wanted, got, "pass one scale for each loc")


def _check_values(name: str, loc, scale) -> None:
    """ValueError for means that are not finite and for scales that are not positive."""
    if not is_finite(loc):
        raise expected(f"loc[{name!r}]", "finite numbers", "NaN or infinity", "pass means")
    if is_concrete(scale) and not (is_finite(scale) and np.all(np.asarray(scale) > 0)):
        got = f"down to {np.min(scale):g}, up to {np.max(scale):g}"
        remedy = "pass standard deviations"
        raise expected(f"scale[{name!r}]", "positive finite numbers", got, remedy)


def register_posterior(cls, fields: tuple) -> None:
    """Make `cls` a pytree of `fields`, rebuilt without checks.

    So a gradient with respect to q is a `cls` too, with any sign.
    """

    def flatten(q):
        children = tuple((jax.tree_util.GetAttrKey(name), getattr(q, name)) for name in fields)
        return children, q.symmetry

    def rebuild(symmetry, children):
        q = object.__new__(cls)
        q.__dict__.update(zip(fields, children, strict=True), symmetry=symmetry)
        return q

    jax.tree_util.register_pytree_with_keys(cls, flatten, rebuild)


register_posterior(MeanField, ("loc", "scale"))
