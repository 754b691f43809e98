"""Bayesian neural networks: network + prior + likelihood, written once and used by NUTS and by VI
alike."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from symvi.checks import as_key, as_numbers, as_scalar, described, expected, is_finite
from symvi.likelihoods import Likelihood, check_law, own_latents

NETWORK = ("shapes", "symmetry", "widths", "init", "apply")  # what a network must have


@dataclass(frozen=True, eq=False)
class BNN:
    """A Bayesian neural network: weights ~ N(0, prior_scale^2), data ~ likelihood(net(x)).

    Two of them are equal if their networks, likelihoods and priors are, and then they share what
    is compiled.

    Parameters
    ----------
    net : MLP, TorchNetwork or another network
        Any object with ``init``, ``apply``, ``shapes``, ``symmetry`` and ``widths``. Inputs have
        shape ``(N, widths[0])``, or ``(N, *input_shape)`` if the net has an ``input_shape``.
    likelihood : Likelihood
        :class:`Gaussian`, :class:`Categorical` or your own subclass of :class:`Likelihood`.
    prior_scale : float or dict
        Prior standard deviation of every weight, or by parameter name (floats or arrays). It must
        be unchanged by the network's symmetry, otherwise the posterior is not symmetric
        (Proposition 2.2).

    Raises
    ------
    ValueError
        No network or likelihood, outputs that are no vector a datum, or a prior that does not fit
        the weights, is not positive or is not invariant.
    """

    net: object
    likelihood: Likelihood
    prior_scale: float | dict = 1.0
    _scales: dict = field(init=False, repr=False)
    _own_starts: dict = field(init=False, repr=False)
    _prior_key: object = field(init=False, repr=False)

    def __post_init__(self):
        _check_network(self.net)
        _check_likelihood(self.likelihood)
        scales = _prior_scales(self.prior_scale, self.net.shapes)
        _check_invariance(scales, self.net.symmetry)
        object.__setattr__(self, "_scales", scales)
        object.__setattr__(self, "_own_starts", _starts(self.likelihood, self.net.shapes))
        object.__setattr__(self, "_prior_key", _key_of_prior(self.prior_scale, scales))

    def _key(self) -> tuple:
        """What two equal models have in common."""
        return _key_of_value(self.net), _key_of_value(self.likelihood), self._prior_key

    def __eq__(self, other) -> bool:
        return type(other) is type(self) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def symmetry(self):
        """The symmetry of the network, hence of the posterior."""
        return self.net.symmetry

    @property
    def shapes(self) -> dict:
        """Shapes of all latent parameters by name, in sorted order, the likelihood's own among
        them."""
        own = {name: start.shape for name, start in self._own_starts.items()}
        return dict(sorted({**self.net.shapes, **own}.items()))

    def priors(self) -> dict:
        """The prior of each parameter as a NumPyro distribution over its whole array."""
        out = {
            name: dist.Normal(0.0, jnp.asarray(scale, float)).to_event(scale.ndim)
            for name, scale in self._scales.items()
        }
        for name, prior in self.likelihood.latents().items():
            out[name] = prior.to_event(len(prior.batch_shape))
        return dict(sorted(out.items()))

    def init(self, key) -> dict:
        """Random starting values: the network's own initialiser, and the prior means of the
        likelihood's parameters."""
        return dict(sorted({**self.net.init(key), **self.own_starts()}.items()))

    def prior_scales(self) -> dict:
        """The prior standard deviation of every weight: arrays of the network's shapes."""
        return dict(self._scales)

    def own_starts(self) -> dict:
        """Where the likelihood's own parameters start: their prior means, or 0 where there is
        none."""
        return {name: jnp.asarray(value, float) for name, value in self._own_starts.items()}

    def ravel(self, params: dict) -> jax.Array:
        """All parameters as one vector ``(num_weights,)``, in sorted order of names."""
        return jnp.concatenate([jnp.ravel(params[name]) for name in self.shapes])

    def unravel(self, vector) -> dict:
        """The parameters that :meth:`ravel` turned into `vector`. ValueError for a vector of
        another length."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        if jnp.shape(vector) != (sum(sizes),):
            wanted, got = f"all {sum(sizes)} weights on one axis", f"shape {jnp.shape(vector)}"
            raise expected("vector", wanted, got, "pass what bnn.ravel returns")
        parts = jnp.split(jnp.asarray(vector), np.cumsum(sizes)[:-1])
        pairs = zip(parts, self.shapes.items(), strict=True)
        return {name: part.reshape(shape) for part, (name, shape) in pairs}

    def sample_prior(self, key) -> dict:
        """One draw from the prior: a dict of arrays by name."""
        key = as_key(key)
        return {
            name: prior.sample(jax.random.fold_in(key, i))
            for i, (name, prior) in enumerate(self.priors().items())
        }

    def log_prior(self, params: dict) -> jax.Array:
        """log p(w) in nats, a scalar, for one set of weights. ValueError for weights of another
        model."""
        self.check_params(params)
        return sum(prior.log_prob(params[name]) for name, prior in self.priors().items())

    def check_params(self, params: dict, argument: str = "params") -> None:
        """ValueError, in the name of `argument`, unless `params` holds one set of this model's
        parameters."""
        if not isinstance(params, dict):
            remedy = "pass for example bnn.init(key)"
            raise expected(argument, "a dict of named arrays", described(params), remedy)
        for name, shape in self.shapes.items():
            got = jnp.shape(params[name]) if name in params else "no such parameter"
            if got != tuple(shape):
                label, remedy = (
                    f"{argument}[{name!r}]",
                    "pass weights of this model, one set at a time",
                )
                raise expected(label, f"shape {tuple(shape)}", got, remedy)

    def log_likelihood(self, params: dict, x, y) -> jax.Array:
        """log p(y | x, w) in nats for each datum, summed over the N data: a scalar."""
        return self.pointwise_log_likelihood(params, x, y).sum()

    def pointwise_log_likelihood(self, params: dict, x, y) -> jax.Array:
        """log p(y_i | x_i, w) in nats, shape ``(N,)``."""
        x, y = self.check_data(x, y)
        return self.distribution(params, x).log_prob(y)

    def log_joint(self, params: dict, x, y) -> jax.Array:
        """log p(y, w | x) = log prior + log likelihood, in nats."""
        return self.log_prior(params) + self.log_likelihood(params, x, y)

    def distribution(self, params: dict, x) -> dist.Distribution:
        """The distribution of the data at inputs `x`, for one set of weights: a NumPyro
        distribution, batch shape (N,)."""
        outputs = self.net.apply(params, x)
        wanted = (x.shape[0], self.net.widths[-1])
        if jnp.shape(outputs) != wanted:
            remedy = "keep one row of outputs for each datum"
            raise expected("net.apply", f"outputs (N, d_out) = {wanted}", outputs.shape, remedy)
        law = self.likelihood.distribution(outputs, params)
        check_law(self.likelihood, law, x.shape[0])
        return law

    def numpyro_model(self, x, y=None) -> None:
        """The same model in NumPyro's language; pass the bound method to NUTS, SVI or
        Predictive."""
        x = self.check_inputs(x)
        if y is not None:
            x, y = self.check_data(x, y)
        params = {name: numpyro.sample(name, prior) for name, prior in self.priors().items()}
        with numpyro.plate("data", x.shape[0]):
            numpyro.sample("y", self.distribution(params, x), obs=y)

    def check_inputs(self, x) -> jax.Array:
        """`x` as an array ``(N, widths[0])`` or ``(N, *input_shape)`` of finite numbers, or
        ValueError."""
        x = as_numbers("x", x)
        wanted = tuple(getattr(self.net, "input_shape", self.net.widths[:1]))
        if x.ndim == 0 or x.shape[1:] != wanted:
            sizes = ", ".join(str(size) for size in wanted)
            remedy = f"reshape it, for example x.reshape(-1, {sizes})"
            raise expected("x", f"shape (N, {sizes})", x.shape, remedy)
        if not is_finite(x):
            remedy = "drop or impute these rows"
            raise expected("x", "finite numbers", "NaN or infinity", remedy)
        return x

    def check_data(self, x, y) -> tuple:
        """`x` and `y` as arrays of N >= 1 data that fit network and likelihood, or ValueError."""
        x = self.check_inputs(x)
        if x.shape[0] == 0:
            raise expected("x", "at least one row", f"shape {x.shape}", "pass the training data")
        return x, self.likelihood.check(y, x.shape[0], self.net.widths[-1])


def check_model(bnn) -> BNN:
    """`bnn` itself; ValueError unless it is a :class:`BNN` (and not, for example, its network)."""
    if not isinstance(bnn, BNN):
        remedy = "write symvi.BNN(net, likelihood)"
        raise expected("bnn", "a symvi.BNN", described(bnn), remedy)
    return bnn


def _check_network(net) -> None:
    """ValueError unless `net` can be the network of a model."""
    missing = [name for name in NETWORK if not hasattr(net, name)]
    if missing or isinstance(net, type):
        remedy = "pass for example symvi.MLP([1, 50, 1]); PyTorch modules go through from_torch"
        raise expected("net", f"a network with {', '.join(NETWORK)}", described(net), remedy)
    travelling = getattr(net, "travelling", ())
    if travelling:
        wanted, got = "parameters that can have a Gaussian prior", f"the statistics {[*travelling]}"
        raise expected("net", wanted, got, "use statistics='fixed' in from_torch")
    outputs = getattr(net, "output_shape", (1,))
    if len(outputs) != 1:
        got = f"(N, {', '.join(str(size) for size in outputs)})" if outputs else "(N,)"
        remedy = (
            "end the network with a flatten"
            if outputs
            else "leave out its last squeeze, so that a datum has a row of outputs"
        )
        raise expected("net", "outputs of shape (N, d_out)", got, remedy)


def _check_likelihood(likelihood) -> None:
    """ValueError unless `likelihood` is an instance, and its own parameters live on the real
    line."""
    if not isinstance(likelihood, Likelihood):
        wanted = "a likelihood (symvi.Gaussian(), symvi.Categorical() or your own symvi.Likelihood)"
        is_class = isinstance(likelihood, type) and issubclass(likelihood, Likelihood)
        got = f"the class {likelihood.__name__}" if is_class else described(likelihood)
        remedy = f"write {likelihood.__name__}()" if is_class else "pass an instance"
        raise expected("likelihood", wanted, got, remedy)
    own_latents(likelihood)


def _starts(likelihood: Likelihood, taken) -> dict:
    """Where fits start the likelihood's own parameters: their prior means, as arrays (0 where there
    is no mean)."""
    starts = {}
    for name, prior in likelihood.latents().items():
        if name in taken:
            remedy = "give the likelihood's parameter another name"
            raise expected("latents()", "names that the network does not use", repr(name), remedy)
        mean = np.broadcast_to(np.asarray(prior.mean, float), prior.shape())
        starts[name] = np.where(np.isfinite(mean), mean, 0.0)
    return starts


def _key_of_prior(prior_scale, scales: dict):
    """A number where all weights share it; otherwise a digest of the arrays."""
    number = as_scalar(prior_scale)
    if number is not None:
        return float(number)
    digest = hashlib.sha256()
    for name, scale in sorted(scales.items()):
        digest.update(f"\0{name}\0{scale.shape}\0".encode() + np.asarray(scale, float).tobytes())
    return digest.hexdigest()


def _key_of_value(thing):
    """All that a network or a likelihood holds; where that can't be hashed, what tells it apart.

    Its own equality might compare less: a subclass of a dataclass without the decorator inherits
    one that does not see its attributes.
    """
    if not hasattr(thing, "__dict__"):
        return thing
    held = [
        (name, type(value), _key_of_value(value) if is_dataclass(value) else value)
        for name, value in vars(thing).items()
        if not isinstance(getattr(type(thing), name, None), cached_property)
    ]
    key = (type(thing), *sorted(held, key=lambda one: one[0]))
    try:
        hash(key)
    except TypeError:
        return id(thing)
    return key


def _prior_scales(prior_scale, shapes: dict) -> dict:
    """The prior standard deviation of every weight, as arrays of the parameters' shapes."""
    by_name = isinstance(prior_scale, dict)
    given = prior_scale if by_name else dict.fromkeys(shapes, prior_scale)
    if set(given) != set(shapes):
        wanted = f"one entry for each of {sorted(shapes)}"
        raise expected("prior_scale", wanted, sorted(given, key=str), "name every parameter")
    scales = {}
    for name, shape in shapes.items():
        label = f"prior_scale[{name!r}]" if by_name else "prior_scale"
        remedy = "pass the standard deviation, for example 1.0"
        value = np.asarray(as_numbers(label, given[name], remedy), float)
        if not np.all(value > 0) or not np.all(np.isfinite(value)):
            raise expected(label, "positive finite numbers", described(given[name]), remedy)
        try:
            scales[name] = np.broadcast_to(value, shape)
        except ValueError as error:
            wanted, got = f"a number or shape {tuple(shape)}", f"shape {value.shape}"
            raise expected(label, wanted, got, "match the parameter") from error
    return scales


def _check_invariance(scales: dict, symmetry) -> None:
    """ValueError unless the prior is the same for all units that `symmetry` exchanges."""
    for group in symmetry.groups:
        for axis in group.entries:
            rows = axis.rows(scales[axis.param])
            if not np.all(rows == rows[:1]):
                wanted = (
                    f"a prior invariant under the group (equal along axis {axis.axis}, "
                    f"units {group.name!r})"
                )
                remedy = "use one number for all units"
                raise expected(f"prior_scale[{axis.param!r}]", wanted, "different values", remedy)
