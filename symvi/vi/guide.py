"""A NumPyro guide whose posterior is symmetrized mean field, for SVI and for Predictive."""

from __future__ import annotations

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import IdentityTransform, IndependentTransform
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import log_density

from symvi.checks import described, expected, is_concrete, positive_number
from symvi.information.method import Method, warn_if_trivial
from symvi.information.symmetrized import Symmetrized, keyless
from symvi.posteriors.mean_field import MeanField
from symvi.symmetry import Symmetry

VERIFIED_ELEMENTS = 8  # of the smallest group, S_2, half are the identity


class AutoSymmetrizedNormal(AutoContinuous):
    """An automatic guide: Gaussians averaged over a group (Gelberg et al. 2024, equation 4).

    ``SVI(model, AutoSymmetrizedNormal(model, symmetry), optimiser, Trace_ELBO())`` maximises L_G,
    or with a `method` that bounds I(g; w) a bound of it. When the guide first sees the model's
    arguments, it checks on the model's log density that the group is a symmetry.

    Parameters
    ----------
    model : callable
        A NumPyro model whose sample sites are the named weights that `symmetry` moves, with real
        support.
    symmetry : Symmetry
    method : str or an object of :mod:`symvi.information`
        ``"exact"``: L_G, for one hidden layer of at most 16 units or |G| <= 50,000. ``"pairwise"``,
        ``"subadditive"`` and ``"tightest"``: lower bounds at any width and depth.
        ``"bethe"``: an upper bound for one hidden layer. See :class:`Symmetrized`.
    prefix : str
        What the names of the guide's parameters begin with.
    init_loc_fn : callable
        NumPyro's strategy for the starting means.
    init_scale : float
        Starting standard deviation of every weight.

    Raises
    ------
    ValueError
        For arguments out of range and a group that the method cannot do; at the first call for
        sites that do not fit the symmetry, and for a group that changes the model's log density.
    """

    def __init__(
        self,
        model,
        symmetry: Symmetry,
        *,
        method: str | Method = "exact",
        prefix: str = "auto",
        init_loc_fn=init_to_uniform,
        init_scale: float = 0.1,
    ):
        if not callable(model):
            remedy = "pass for example bnn.numpyro_model"
            raise expected("model", "a NumPyro model, a function", described(model), remedy)
        if not isinstance(symmetry, Symmetry):
            remedy = "pass for example net.symmetry"
            raise expected("symmetry", "a Symmetry", described(symmetry), remedy)
        self.symmetry = symmetry
        self.method = keyless(method, "method")
        self.method.check(symmetry, "method")
        self._init_scale = positive_number("init_scale", init_scale, example=0.1)
        warn_if_trivial(symmetry)
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn)

    def _setup_prototype(self, *args, **kwargs):
        super()._setup_prototype(*args, **kwargs)
        self._check_sites()
        self._verify_group(args, kwargs)

    def _constrained_sites(self) -> list:
        """The latent sites whose values are not all real numbers, such as those of a HalfNormal."""
        sites = self.prototype_trace
        return [name for name in self._init_locs if not _is_real(sites[name]["fn"].support)]

    def _check_sites(self) -> None:
        """ValueError unless the symmetry's sites are there, with its sizes and real support."""
        try:
            self.symmetry.check_weights(self._init_locs)
        except ValueError as error:
            text = f"model: {error} (sites are named after the symmetry's parameters)"
            raise ValueError(text) from error
        rest = self.symmetry.rest(self._init_locs)
        constrained = [
            name
            for name in self._constrained_sites()
            if name not in rest or jnp.size(rest[name]) != jnp.size(self._init_locs[name])
        ]
        if constrained:
            wanted = "real support for the sites that the symmetry moves"
            remedy = "give them a prior on all real numbers and transform inside the model"
            raise expected("model", wanted, f"constrained sites {constrained}", remedy)

    def _verify_group(self, args, kwargs) -> None:
        """ValueError if random elements change the model's log density at random values."""
        values = self._random_values()

        def log_joint(params):
            # a fresh seed each time, so that minibatches are the same
            model = handlers.seed(self.model, rng_seed=0)
            with handlers.block():  # whoever runs the guide is not to see these sites
                return log_density(model, args, kwargs, params)[0]

        def log_joint_of_copy(element):
            return log_joint(self.symmetry.act(element, values))

        elements = self.symmetry.sample(jax.random.key(1), VERIFIED_ELEMENTS)
        before, after = log_joint(values), jax.lax.map(log_joint_of_copy, elements)
        if is_concrete(before, after):
            _check_unchanged(np.asarray(before), np.asarray(after))

    def _random_values(self) -> dict:
        """Random values for real sites, and the starting values of constrained ones."""
        constrained, values = self._constrained_sites(), {}
        for index, (name, value) in enumerate(self._init_locs.items()):
            if name in constrained:
                values[name] = biject_to(self.prototype_trace[name]["fn"].support)(value)
                continue
            key = jax.random.fold_in(jax.random.key(0), index)
            values[name] = value + jax.random.normal(key, jnp.shape(value), jnp.result_type(value))
        return values

    def _get_posterior(self) -> Symmetrized:
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        scale = numpyro.param(
            f"{self.prefix}_scale",
            jnp.full(self.latent_dim, self._init_scale),
            constraint=dist.constraints.softplus_positive,
        )
        loc, scale = self._unpack_latent(loc), self._unpack_latent(scale)
        base = MeanField(loc, scale, self.symmetry)
        return Symmetrized(base, order=tuple(loc), method=self.method)

    def get_posterior(self, params, *args, **kwargs) -> Symmetrized:
        """The fitted posterior, from what ``svi.get_params`` or ``svi.run(...).params`` gives.

        With parameters that were stored by another process, pass the model's arguments too:
        ``guide.get_posterior(params, x, y)``. They tell the shapes of the sites.

        Raises
        ------
        ValueError
            For missing arguments, for parameters of another model, and for a model with constrained
            sites: their draws would be unconstrained numbers. ``guide.sample_posterior`` draws
            those.
        """
        if self.prototype_trace is None:
            self._set_up(args, kwargs)
        if constrained := self._constrained_sites():
            wanted = "real support for every site, so that draws are values of the sites"
            remedy = "use guide.sample_posterior(key, params, sample_shape=(num,))"
            raise expected("model", wanted, f"constrained sites {constrained}", remedy)
        self._check_params(params)
        return handlers.substitute(self._get_posterior, params)()

    def _set_up(self, args, kwargs) -> None:
        """See the model once, outside of SVI."""
        try:
            inspect.signature(self.model).bind(*args, **kwargs)
        except TypeError as error:
            wanted = "the model's arguments, since the guide has not seen the model yet"
            got = f"{len(args)} positional and {len(kwargs)} named ones ({error})"
            remedy = "write for example guide.get_posterior(params, x, y)"
            raise expected("get_posterior", wanted, got, remedy) from error
        handlers.seed(self._setup_prototype, rng_seed=0)(*args, **kwargs)

    def _check_params(self, params) -> None:
        """ValueError unless the guide's parameters are in `params`, one for each weight."""
        for name in (f"{self.prefix}_loc", f"{self.prefix}_scale"):
            shape = jnp.shape(params[name]) if name in params else None
            if shape != (self.latent_dim,):
                got = "no such parameter" if shape is None else f"shape {shape}"
                remedy = (
                    "pass the parameters and the model's arguments of one and the same training"
                )
                raise expected(f"params[{name!r}]", f"shape ({self.latent_dim},)", got, remedy)


def _is_real(support) -> bool:
    """Whether a site's support is all real numbers, so that its values need no transformation."""
    transform = biject_to(support)
    while isinstance(transform, IndependentTransform):
        transform = transform.base_transform
    return isinstance(transform, IdentityTransform)


def _check_unchanged(before, after) -> None:
    """ValueError unless the log densities after group elements equal that before, to rounding."""
    if not np.isfinite(before):
        text = (
            "AutoSymmetrizedNormal: the model's log density is not finite at random weights, so "
            "its symmetry could not be verified"
        )
        warnings.warn(text, stacklevel=2)
        return
    change = np.max(np.abs(after - before))
    tolerance = 1e-8 if before.dtype == np.float64 else 1e-4
    if not change <= tolerance * max(1.0, abs(before)):
        wanted = "a group that leaves the model's log density as it is"
        got = f"a change of {change:.3g} from {before:.6g} nats"
        remedy = "name every site that its units own, such as biases, and give units equal priors"
        raise expected("symmetry", wanted, got, remedy)
