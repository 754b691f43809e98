"""A NumPyro guide whose posterior is symmetrized mean field, for SVI with Trace_ELBO and for Predictive."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_uniform

from symvi.information.symmetrized import Symmetrized
from symvi.posteriors.mean_field import MeanField
from symvi.symmetry import Symmetry


class AutoSymmetrizedNormal(AutoContinuous):
    """An automatic guide: independent Gaussians averaged over a symmetry group (Gelberg et al. 2024, equation 4).

    ``SVI(model, AutoSymmetrizedNormal(model, symmetry), optimiser, Trace_ELBO())`` maximises L_G; its log density is
    exact, so the group must be one hidden layer of at most 16 units or have at most 50,000 elements.

    Parameters
    ----------
    model : callable
        A NumPyro model whose sample sites are the named weights that `symmetry` moves, with real support.
    symmetry : Symmetry
    init_scale : float
        Starting standard deviation of every weight.
    """

    def __init__(
        self,
        model,
        symmetry: Symmetry,
        *,
        prefix: str = "auto",
        init_loc_fn=init_to_uniform,
        init_scale: float = 0.1,
    ):
        if not init_scale > 0:
            raise ValueError(
                f"init_scale: expected a positive number, got {init_scale!r}; pass for example 0.1"
            )
        self.symmetry, self._init_scale = symmetry, init_scale
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn)

    def _setup_prototype(self, *args, **kwargs):
        super()._setup_prototype(*args, **kwargs)
        for group in self.symmetry.groups:
            for name, axis, places in group.entries:
                shape = jnp.shape(self._init_locs[name]) if name in self._init_locs else None
                fits = (
                    shape is not None
                    and len(shape) > axis
                    and (
                        shape[axis] == group.size if places is None else shape[axis] > places.max()
                    )
                )
                if not fits:
                    raise ValueError(
                        f"model: expected a site {name!r} with size {group.size} along axis {axis}, got {shape}; name the sites after the symmetry's parameters"
                    )

    def _get_posterior(self) -> Symmetrized:
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        scale = numpyro.param(
            f"{self.prefix}_scale",
            jnp.full(self.latent_dim, self._init_scale),
            constraint=dist.constraints.softplus_positive,
        )
        loc, scale = self._unpack_latent(loc), self._unpack_latent(scale)
        return Symmetrized(MeanField(loc, scale, self.symmetry), order=tuple(loc))

    def get_posterior(self, params) -> Symmetrized:
        """The fitted posterior, given the parameters that ``svi.get_params`` or ``svi.run(...).params`` returns."""
        return handlers.substitute(self._get_posterior, params)()
