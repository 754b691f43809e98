r"""A Gaussian with full covariance inside each hidden unit, and independent units.

Each unit's own weights (:meth:`symvi.Symmetry.own_units`) are jointly Gaussian:
u_i = loc_i + S_i (1 + N_i) e with S_i = diag(scale_i), N_i strictly lower triangular and e standard
normal, so the covariance is S (1 + N)(1 + N)^T S. N = 0 is mean field. Units stay independent, so
the symmetrized density is still a permanent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax.numpy as jnp
from jaxtyping import Array, Float

from symvi.checks import described, expected, is_finite
from symvi.posteriors.elimination import inverse_of_unit_lower
from symvi.posteriors.mean_field import (
    MeanField,
    UnitGaussians,
    as_floats,
    as_units,
    over_draws,
    precision_of,
    register_posterior,
)


@dataclass(frozen=True, repr=False)
class UnitNormal(MeanField):
    """q(w) = prod_i N(u_i; loc_i, S_i (1 + N_i)(1 + N_i)^T S_i) x independent Gaussians. A pytree.

    The independent Gaussians are those of the weights that no group moves. Same methods as
    :class:`MeanField`, and as its base in :class:`Symmetrized`.

    Parameters
    ----------
    loc, scale : dict of arrays
        Same names and shapes. `scale` is the standard deviation of a weight given the weights of
        its unit before it.
    symmetry : Symmetry
    lower : dict
        For each unit group its N, shape ``(n, d, d)``, finite; entries on the diagonal and above
        are not used. A missing group has N = 0.

    Raises
    ------
    ValueError
        As :class:`MeanField`; or if `lower` names no group of `symmetry`, or has other shapes.
    """

    lower: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.lower, dict):
            got = described(self.lower)
            raise expected("lower", "a dict from unit groups to arrays", got, "name the groups")
        lower = {name: self._checked_lower(name, value) for name, value in self.lower.items()}
        object.__setattr__(self, "lower", lower)

    def _checked_lower(self, name, value) -> Float[Array, "n d d"]:
        n, d = self.symmetry.own_units(self.loc, name).shape
        value = as_floats(f"lower[{name!r}]", value)
        if value.shape != (n, d, d):
            remedy = "pass one strictly lower triangular matrix for each unit"
            raise expected(f"lower[{name!r}]", f"shape {(n, d, d)}", value.shape, remedy)
        if not is_finite(value):
            remedy = "look for diverged parameters"
            raise expected(f"lower[{name!r}]", "finite numbers", "NaN or infinity", remedy)
        return value

    def from_noise(self, noise: dict) -> dict:
        """The draw that standard normal `noise` gives: units are loc + scale * ((1 + N) noise)."""
        for group in self.symmetry.groups:
            units = self.symmetry.own_units(noise, group.name)
            mixed = units + jnp.einsum("nij,nj->ni", self._lower_of(group.name), units)
            noise = self.symmetry.with_own_units(noise, mixed, group.name)
        return super().from_noise(noise)

    def log_prob(self, params: dict) -> Float[Array, "*batch"]:
        """log q(w) in nats, over leading batch axes: ``(num, *shape)`` gives ``(num,)``.

        Raises ValueError unless `params` has the names and shapes of ``loc``.
        """
        return over_draws(self._log_prob, self.loc, params)

    def _log_prob(self, params: dict) -> Float[Array, ""]:
        total = self.rest_log_prob(params)
        for group in self.symmetry.groups:
            units = self.symmetry.own_units(params, group.name)
            z = self._whiten(units[:, None, :], group.name)
            total = total + self._density(z[:, 0], group.name).sum()
        return total

    def variance(self) -> dict:
        """Var[w] of each weight: the diagonal of S (1 + N)(1 + N)^T S within a unit."""
        out = super().variance()
        for name, lower in self.lower.items():
            given_before = self.symmetry.own_units(out, name)
            shared = 1 + (jnp.tril(lower, -1) ** 2).sum(-1)
            out = self.symmetry.with_own_units(out, given_before * shared, name)
        return out

    def unit_log_density(self, units, name: str | None = None) -> Float[Array, "n m"]:
        """log q_i(u_j) in nats for own unit vectors `units` ``(m, d)``: shape ``(n, m)``."""
        n, d = self.symmetry.own_units(self.loc, name).shape
        units = as_units(units, d)
        z = self._whiten(jnp.broadcast_to(units, (n, *units.shape)), name)
        return self._density(jnp.swapaxes(z, 0, 1), name).T

    def _density(self, z: Float[Array, "*batch n d"], name) -> Float[Array, "*batch n"]:
        """Log densities of whitened units z ``(..., n, d)``: shape ``(..., n)``."""
        scale = self.symmetry.own_units(self.scale, name)
        constants = 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return -0.5 * (z**2).sum(-1) - jnp.log(scale).sum(-1) - constants

    def _whiten(self, units: Float[Array, "n m d"], name) -> Float[Array, "n m d"]:
        """(1 + N_i)^-1 (u - loc_i) / scale_i for units ``(n, m, d)``."""
        loc, scale, lower = self.unit_gaussians(name)
        standard = (units - loc[:, None, :]) / scale[:, None, :]
        return jnp.einsum("nij,nmj->nmi", inverse_of_unit_lower(lower), standard)

    def unit_gaussians(self, name: str | None = None) -> UnitGaussians:
        """The Gaussians of the own weights of each unit of one group; units are independent."""
        return super().unit_gaussians(name)._replace(lower=self._lower_of(name))

    def joint_unit_gaussians(self, name: str | None = None) -> UnitGaussians | None:
        """The Gaussians of all weights that move with a unit, own or not.

        None where the units are not independent in these: before the last hidden layer, a unit's
        outgoing weights belong to the units of the next one, and are correlated there.
        """
        own = self.symmetry.own_units(self.loc, name)
        every = self.symmetry.units(self.loc, name)
        return self.unit_gaussians(name) if own.shape == every.shape else None

    def _lower_of(self, name: str | None) -> Float[Array, "n d d"]:
        """N of one unit group, strictly lower triangular, shape ``(n, d, d)``."""
        group = self.symmetry.group(name)
        if group.name not in self.lower:
            n, d = self.symmetry.own_units(self.loc, group.name).shape
            return jnp.zeros((n, d, d), precision_of(self.loc))
        return jnp.tril(self.lower[group.name], -1)


register_posterior(UnitNormal, ("loc", "scale", "lower"))
