"""Bayesian neural networks: network + prior + likelihood, written once and used by NUTS and by VI alike."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from symvi.checks import is_concrete

NOISE = "log_noise"  # name of the inferred log noise scale in params


@dataclass(frozen=True)
class Gaussian:
    """y = f(x) + N(0, scale^2). With ``scale=None`` the scale is inferred: log scale ~ N(0, 1), as ``params["log_noise"]``."""

    scale: float | None = None

    def __post_init__(self):
        scale = np.asarray(self.scale)
        if self.scale is not None and not (
            scale.ndim == 0 and scale.dtype.kind in "fiu" and 0 < scale < np.inf
        ):
            raise ValueError(
                f"scale: expected a positive finite number or None, got {self.scale!r}; pass the noise standard deviation, or None to infer it"
            )

    def distribution(self, outputs, params) -> dist.Distribution:
        """The distribution of y given network outputs ``(N, d_out)``: batch shape (N,), event shape (d_out,)."""
        scale = jnp.exp(params[NOISE]) if self.scale is None else self.scale
        return dist.Normal(outputs, scale).to_event(1)


@dataclass(frozen=True)
class Categorical:
    """y in 0..d_out-1 with probabilities softmax(f(x))."""

    def distribution(self, outputs, params) -> dist.Distribution:
        """The distribution of the labels given logits ``(N, d_out)``: batch shape (N,)."""
        return dist.Categorical(logits=outputs)


@dataclass(frozen=True, eq=False)
class BNN:
    """A Bayesian neural network: weights ~ N(0, prior_scale^2), data ~ likelihood(net(x)).

    Parameters
    ----------
    net : MLP, TorchNetwork or any object with ``init``, ``apply``, ``shapes``, ``symmetry`` and ``widths``
        Inputs have shape ``(N, widths[0])``, or ``(N, *input_shape)`` if the net has an ``input_shape``.
    likelihood : Gaussian or Categorical
    prior_scale : float or dict
        Prior standard deviation of every weight, or by parameter name (floats or arrays). It must be unchanged
        by the network's symmetry, otherwise the posterior is not symmetric (Proposition 2.2) and ValueError is raised.
    """

    net: object
    likelihood: Gaussian | Categorical
    prior_scale: float | dict = 1.0
    _scales: dict = field(init=False, repr=False)

    def __post_init__(self):
        shapes = self.net.shapes
        if travelling := getattr(self.net, "travelling", ()):
            raise ValueError(
                f"net: expected parameters that can have a Gaussian prior, got the statistics {list(travelling)}; use statistics='fixed' in from_torch"
            )
        if len(outputs := getattr(self.net, "output_shape", (1,))) != 1:
            raise ValueError(
                f"net: expected outputs of shape (N, d_out), got (N, {', '.join(map(str, outputs))}); end the network with a flatten"
            )
        given = (
            self.prior_scale
            if isinstance(self.prior_scale, dict)
            else dict.fromkeys(shapes, self.prior_scale)
        )
        if set(given) != set(shapes):
            raise ValueError(
                f"prior_scale: expected one entry for each of {sorted(shapes)}, got {sorted(given)}; name every parameter"
            )
        scales = {}
        for name, shape in shapes.items():
            value = np.asarray(given[name], float)
            if not np.all(value > 0) or not np.all(np.isfinite(value)):
                raise ValueError(
                    f"prior_scale[{name!r}]: expected positive finite numbers, got {given[name]!r}; pass standard deviations"
                )
            try:
                scales[name] = np.broadcast_to(value, shape)
            except ValueError as error:
                raise ValueError(
                    f"prior_scale[{name!r}]: expected a number or shape {tuple(shape)}, got shape {value.shape}; match the parameter"
                ) from error
        for group in self.net.symmetry.groups:
            for name, axis, places in group.entries:
                rows = np.moveaxis(scales[name], axis, 0)
                rows = rows if places is None else rows[places]
                if not np.all(rows == rows[:1]):
                    raise ValueError(
                        f"prior_scale[{name!r}]: expected a prior invariant under the group (equal along axis {axis}, units {group.name!r}), got different values; use one number for all units"
                    )
        object.__setattr__(self, "_scales", scales)

    @property
    def symmetry(self):
        """The symmetry of the network, hence of the posterior."""
        return self.net.symmetry

    @property
    def shapes(self) -> dict:
        """Shapes of all latent parameters by name, in sorted order. These are the weights, and ``log_noise`` where inferred."""
        noise = {NOISE: ()} if self._infers_noise else {}
        return dict(sorted({**self.net.shapes, **noise}.items()))

    @property
    def _infers_noise(self) -> bool:
        return isinstance(self.likelihood, Gaussian) and self.likelihood.scale is None

    def priors(self) -> dict:
        """The prior of each parameter as a NumPyro distribution over its whole array."""
        out = {
            name: dist.Normal(0.0, jnp.asarray(scale, float)).to_event(scale.ndim)
            for name, scale in self._scales.items()
        }
        if self._infers_noise:
            out[NOISE] = dist.Normal(0.0, 1.0)
        return dict(sorted(out.items()))

    def init(self, key) -> dict:
        """Random starting values: the network's own initialiser, and log noise 0."""
        start = self.net.init(key)
        if self._infers_noise:
            start[NOISE] = jnp.zeros(())
        return dict(sorted(start.items()))

    def sample_prior(self, key) -> dict:
        """One draw from the prior: a dict of arrays by name."""
        return {
            name: prior.sample(jax.random.fold_in(key, i))
            for i, (name, prior) in enumerate(self.priors().items())
        }

    def log_prior(self, params: dict) -> jax.Array:
        """log p(w) in nats, a scalar, for one set of weights."""
        return sum(prior.log_prob(params[name]) for name, prior in self.priors().items())

    def log_likelihood(self, params: dict, x, y) -> jax.Array:
        """log p(y | x, w) in nats for each datum, summed over the N data: a scalar."""
        return self.pointwise_log_likelihood(params, x, y).sum()

    def pointwise_log_likelihood(self, params: dict, x, y) -> jax.Array:
        """log p(y_i | x_i, w) in nats, shape ``(N,)``."""
        x, y = self.check_data(x, y)
        return self.likelihood.distribution(self.net.apply(params, x), params).log_prob(y)

    def log_joint(self, params: dict, x, y) -> jax.Array:
        """log p(y, w | x) = log prior + log likelihood, in nats."""
        return self.log_prior(params) + self.log_likelihood(params, x, y)

    def numpyro_model(self, x, y=None) -> None:
        """The same model in NumPyro's language; pass the bound method to NUTS, SVI or Predictive."""
        x = self.check_data(x)[0] if y is None else self.check_data(x, y)[0]
        params = {name: numpyro.sample(name, prior) for name, prior in self.priors().items()}
        with numpyro.plate("data", x.shape[0]):
            numpyro.sample(
                "y", self.likelihood.distribution(self.net.apply(params, x), params), obs=y
            )

    def check_data(self, x, y=None) -> tuple:
        """Return x and y as arrays; ValueError for wrong shapes, NaN or infinite entries, or labels out of range."""
        d_out = self.net.widths[-1]
        x, wanted = jnp.asarray(x), tuple(getattr(self.net, "input_shape", self.net.widths[:1]))
        if x.shape[1:] != wanted or x.ndim == 0:
            sizes = ", ".join(map(str, wanted))
            raise ValueError(
                f"x: expected shape (N, {sizes}), got {x.shape}; reshape it, for example x.reshape(-1, {sizes})"
            )
        if is_concrete(x) and not np.all(np.isfinite(np.asarray(x))):
            raise ValueError(
                "x: expected finite numbers, got NaN or infinity; drop or impute these rows"
            )
        if y is None:
            return x, None
        y = jnp.asarray(y)
        if isinstance(self.likelihood, Categorical):
            if y.shape != x.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
                raise ValueError(
                    f"y: expected integer labels of shape ({x.shape[0]},), got {y.dtype} of shape {y.shape}; pass class numbers, not one-hot rows"
                )
            if is_concrete(y) and not np.all((np.asarray(y) >= 0) & (np.asarray(y) < d_out)):
                raise ValueError(
                    f"y: expected labels in 0..{d_out - 1}, got values from {int(y.min())} to {int(y.max())}; widen the network's output or relabel"
                )
            return x, y
        if y.shape != (x.shape[0], d_out):
            raise ValueError(
                f"y: expected shape ({x.shape[0]}, {d_out}), got {y.shape}; reshape it, for example y.reshape(-1, {d_out})"
            )
        if is_concrete(y) and not np.all(np.isfinite(np.asarray(y))):
            raise ValueError("y: expected finite numbers, got NaN or infinity; drop these rows")
        return x, y
