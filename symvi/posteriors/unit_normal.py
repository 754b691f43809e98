r"""A Gaussian with full covariance inside each hidden unit, and independent units.

Each unit's own weights (:meth:`symvi.Symmetry.own_units`) are jointly Gaussian: u_i = loc_i + S_i (1 + N_i) e with
S_i = diag(scale_i), N_i strictly lower triangular and e standard normal, so the covariance is S (1 + N)(1 + N)^T S.
N = 0 is mean field. Units stay independent, so the symmetrized density is still a permanent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from symvi.posteriors.elimination import inverse_of_unit_lower
from symvi.posteriors.mean_field import MeanField, over_draws, register_posterior


@dataclass(frozen=True)
class UnitNormal(MeanField):
    """q(w) = prod_i N(u_i; loc_i, S_i (1 + N_i)(1 + N_i)^T S_i) x independent Gaussians for the other weights. A pytree.

    Same methods as :class:`MeanField`, and as its base in :class:`Symmetrized`.

    Parameters
    ----------
    loc, scale : dict of arrays
        Same names and shapes. `scale` is the standard deviation of a weight given the weights of its unit before it.
    symmetry : Symmetry
    lower : dict
        For each unit group its N, shape ``(n, d, d)``, strictly lower triangular. A missing group has N = 0.
    """

    lower: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        for name, value in self.lower.items():
            n, d = self.symmetry.own_units(self.loc, name).shape
            if jnp.shape(value) != (n, d, d):
                raise ValueError(
                    f"lower[{name!r}]: expected shape {(n, d, d)}, got {jnp.shape(value)}; pass one strictly lower triangular matrix for each unit"
                )

    def from_noise(self, noise: dict) -> dict:
        """The draw that standard normal `noise` gives: units are loc + scale * ((1 + N) noise)."""
        for group in self.symmetry.groups:
            units = self.symmetry.own_units(noise, group.name)
            mixed = units + jnp.einsum("nij,nj->ni", self.unit_lower(group.name), units)
            noise = self.symmetry.with_own_units(noise, mixed, group.name)
        return super().from_noise(noise)

    def log_prob(self, params: dict) -> jax.Array:
        """log q(w) in nats. Leading batch axes of `params` are kept: ``(num, *shape)`` gives ``(num,)``."""
        return over_draws(self._log_prob, self.loc, params)

    def _log_prob(self, params):
        total = self.rest_log_prob(params)
        for group in self.symmetry.groups:
            z = self._whiten(self.symmetry.own_units(params, group.name)[:, None, :], group.name)
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

    def unit_log_density(self, units, name: str | None = None) -> jax.Array:
        """log q_i(u_j) for own unit vectors `units` of shape ``(m, d)``: shape ``(n, m)``."""
        n = self.symmetry.group(name).size
        z = self._whiten(jnp.broadcast_to(units, (n, *units.shape)), name)
        return self._density(jnp.swapaxes(z, 0, 1), name).T

    def _density(self, z, name):
        """Log densities of whitened units z ``(..., n, d)``: shape ``(..., n)``."""
        scale = self.symmetry.own_units(self.scale, name)
        return (
            -0.5 * (z**2).sum(-1)
            - jnp.log(scale).sum(-1)
            - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        )

    def _whiten(self, units, name):
        """(1 + N_i)^-1 (u - loc_i) / scale_i for units ``(n, m, d)``."""
        loc, scale = (self.symmetry.own_units(p, name)[:, None, :] for p in (self.loc, self.scale))
        return jnp.einsum(
            "nij,nmj->nmi", inverse_of_unit_lower(self.unit_lower(name)), (units - loc) / scale
        )

    def unit_lower(self, name: str | None = None) -> jax.Array:
        """N of one unit group, strictly lower triangular, shape ``(n, d, d)``."""
        group = self.symmetry.group(name)
        if group.name not in self.lower:
            d = self.symmetry.own_units(self.loc, group.name).shape[1]
            return jnp.zeros((group.size, d, d))
        return jnp.tril(self.lower[group.name], -1)


register_posterior(UnitNormal, ("loc", "scale", "lower"))
