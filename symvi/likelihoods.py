"""Likelihoods: how the data are distributed, given a network's outputs. A new one is one class with
one method.

::

    class Poisson(symvi.Likelihood):
        def distribution(self, outputs, params):
            return numpyro.distributions.Poisson(jnp.exp(outputs[:, 0]))

is a likelihood for counts, and is used as ``symvi.BNN(net, Poisson())`` everywhere: in ``fit``,
``elbo``, ``nuts`` and ``compare``. What else a model or a comparison wants to know, the likelihood
answers itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from symvi.checks import as_numbers, as_scalar, described, expected, is_concrete, is_finite
from symvi.estimates import Estimate

NOISE = "log_noise"  # name of the inferred log noise scale in params


class Likelihood:
    """The base class of all likelihoods. Write :meth:`distribution`; everything else has a default.

    N data, network outputs of shape ``(N, d_out)``, and one set of parameters at a time. Batches of
    draws are handled by the callers.

    Attributes
    ----------
    calibration : "pit", "confidence" or None
        How to tell whether predictions are calibrated: by the probability integral transform (needs
        :meth:`cdf`, and is uniform for continuous data only), by the confidence of labels, or not
        at all (the default).
    error_name : str
        What :meth:`point_error` is called: "RMSE" here.
    """

    calibration: str | None = None
    error_name: str = "RMSE"

    def distribution(self, outputs, params: dict) -> dist.Distribution:
        """The NumPyro distribution of the data given network outputs ``(N, d_out)``: batch shape
        ``(N,)``.

        The event shape is that of one datum: ``()`` for a number, ``(d,)`` for a vector (end with
        ``.to_event(1)``).
        `params` holds the network's weights and the likelihood's own :meth:`latents`.
        """
        raise NotImplementedError(f"{type(self).__name__}.distribution must be written")

    def latents(self) -> dict:
        """The likelihood's own parameters: name to NumPyro prior on the real line. None by
        default."""
        return {}

    def check(self, y, num: int, d_out: int):
        """`y` as an array of shape ``(num, *event_shape)`` inside the distribution's support.

        One number a datum may come as ``(num,)`` or as ``(num, 1)``. Raises ValueError for anything
        else: a wrong shape, no numbers, NaN or infinity, values outside the support.
        """
        y = as_numbers("y", y)
        event_shape, support = self._event(num, d_out)
        wanted = (num, *event_shape)
        if y.shape != wanted:
            one_number = event_shape in ((), (1,)) and y.shape in ((num,), (num, 1))
            if not one_number:
                raise expected("y", f"shape {wanted}", y.shape, _of_shape(y, num, event_shape))
            y = y.reshape(wanted)
        if not is_finite(y):
            raise expected("y", "finite numbers", "NaN or infinity", "drop these rows")
        _check_support(y, support)
        return y

    def mean(self, outputs, params: dict) -> jax.Array:
        """E[y | x, w], shape ``(N, *event_shape)``."""
        return self.distribution(outputs, params).mean

    def cdf(self, outputs, params: dict, y) -> jax.Array:
        """P(Y <= y | x, w) of each number, in the shape of `y`. NotImplementedError where the
        distribution has none."""
        law = self.distribution(outputs, params)
        while isinstance(law, dist.Independent):
            law = law.base_dist
        return law.cdf(y)

    def point_error(self, mean, y) -> Estimate:
        """How far the predictive mean ``(N, *event_shape)`` is from the data: here the root mean
        squared error, in the unit of y, with its standard error over data."""
        square = np.square(np.asarray(mean) - np.asarray(y))
        square = square.reshape(len(square), -1).mean(axis=1)
        rmse = np.sqrt(square.mean())
        std_error = square.std(ddof=1) / np.sqrt(len(square)) / (2 * rmse)
        return Estimate(float(rmse), float(std_error), "approximate")

    def _event(self, num: int, d_out: int) -> tuple:
        """The event shape, and the support where it does not depend on weights or inputs (otherwise
        None)."""
        found = []

        def look(outputs, params):
            law = self.distribution(outputs, _Latents(self, params))
            check_law(self, law, num)
            found.append((law.event_shape, law.support))
            return outputs

        latents = own_latents(self)
        params = {name: jnp.zeros(prior.shape()) for name, prior in latents.items()}
        with _columns_seen(self, d_out):
            jax.eval_shape(look, jnp.zeros((num, d_out)), params)
            _read_numpy(self, np.zeros((num, d_out)), params)
        event_shape, support = found[-1]
        return event_shape, support if is_concrete(*jax.tree.leaves(support)) else None


class _Latents(dict):
    """A likelihood's own parameters; a ValueError says which one it reads but does not have."""

    def __init__(self, likelihood: Likelihood, params: dict):
        super().__init__(params)
        self.likelihood = type(likelihood).__name__

    def __missing__(self, name):
        wanted = f"parameters that {self.likelihood}.latents() names ({sorted(self) or 'none'})"
        remedy = "give it a NumPyro prior in latents()"
        raise expected(f"{self.likelihood}.distribution", wanted, f"params[{name!r}]", remedy)


def own_latents(likelihood: Likelihood) -> dict:
    """The likelihood's own parameters, or ValueError: a dict of NumPyro priors on the real line."""
    name = f"{type(likelihood).__name__}.latents()"
    latents = likelihood.latents()
    if not isinstance(latents, dict) or not all(isinstance(key, str) for key in latents):
        remedy = 'return for example {"log_scale": numpyro.distributions.Normal(0, 1)}'
        raise expected(name, "a dict of NumPyro priors by name", described(latents), remedy)
    for key, prior in latents.items():
        support = prior.support if isinstance(prior, dist.Distribution) else None
        while isinstance(support, type(dist.constraints.independent(dist.constraints.real, 1))):
            support = support.base_constraint
        if support not in (dist.constraints.real, dist.constraints.real_vector):
            wanted = "a NumPyro prior on the real line"
            remedy = "take for example the log of a scale as the parameter, with a Normal prior"
            raise expected(f"latents()[{key!r}]", wanted, described(prior), remedy)
    return latents


@contextlib.contextmanager
def _columns_seen(likelihood: Likelihood, d_out: int) -> Iterator[None]:
    """ValueError for a column of outputs that the network lacks.

    JAX reads the last column in its place, unless it is told to check the indices that it knows.
    """
    option = "jax_check_static_indices"
    before = getattr(jax.config, option, None)  # None: this JAX has no such check
    try:
        if before is not None:
            jax.config.update(option, True)
        yield
    except IndexError as error:
        name = f"{type(likelihood).__name__}.distribution"
        wanted, got = f"outputs of the network ({d_out} a datum)", f"an index beyond them ({error})"
        remedy = "widen the network: the last of its widths is the number of outputs"
        raise expected(name, wanted, got, remedy) from error
    finally:
        if before is not None:
            jax.config.update(option, before)


def _read_numpy(likelihood: Likelihood, outputs: np.ndarray, params: dict) -> None:
    """IndexError where NumPy sees one; what else NumPy's arrays cannot do does not matter."""

    def look(params):
        likelihood.distribution(outputs, params)
        return params

    try:
        jax.eval_shape(look, params)
    except IndexError:
        raise
    except Exception:
        return


def _of_rows(y, num: int) -> str | None:
    """What to do about a `y` of another number of rows; None where that is not its fault."""
    rows = y.shape[0] if y.ndim else None
    if rows == num:
        return None
    shown = "is one number" if rows is None else f"has {rows}"
    return f"x has {num} rows, y {shown}: give both one row a datum"


def _of_shape(y, num: int, event_shape: tuple) -> str:
    """What to do about a `y` of another shape than ``(num, *event_shape)``."""
    if y.size == math.prod((num, *event_shape)):
        sizes = ", ".join(str(size) for size in (-1, *event_shape))
        return f"reshape it, for example y.reshape({sizes})"
    one = {(): "one number", (1,): "one number"}.get(
        event_shape, f"an entry of shape {event_shape}"
    )
    return _of_rows(y, num) or f"give each datum {one}, or choose another model for such y"


def check_law(likelihood, law, num: int) -> None:
    """ValueError unless `law` is a NumPyro distribution of `num` independent data."""
    name = f"{type(likelihood).__name__}.distribution"
    if not isinstance(law, dist.Distribution):
        remedy = "return for example numpyro.distributions.Normal(outputs, 1.0).to_event(1)"
        raise expected(name, "a NumPyro distribution", described(law), remedy)
    if law.batch_shape != (num,):
        if law.batch_shape[:1] == (num,):
            remedy = (
                f"end with .to_event({len(law.batch_shape) - 1}) or take one column of the outputs"
            )
        else:
            remedy = "give each of the N data one distribution"
        got = f"batch shape {law.batch_shape}"
        raise expected(name, f"batch shape (N,) = ({num},)", got, remedy)


def _check_support(y, support) -> None:
    """ValueError for values of `y` that can be seen to lie outside `support`."""
    if support is None or not is_concrete(y):
        return
    values = np.asarray(y)
    if not np.all(np.asarray(support(values))):
        got = f"values from {values.min()} to {values.max()}"
        remedy = "correct these rows, or choose a likelihood for such data"
        raise expected("y", f"values in the likelihood's support {support}", got, remedy)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """y = f(x) + N(0, scale^2), independent over data and outputs.

    Parameters
    ----------
    scale : float or None
        The noise standard deviation, in the unit of y. With None it is inferred: log scale ~
        N(0, 1), as ``params["log_noise"]``.

    Raises
    ------
    ValueError
        A scale that is not a positive finite number or None.
    """

    scale: float | None = None
    calibration = "pit"

    def __post_init__(self):
        if self.scale is None:
            return
        scale = as_scalar(self.scale)
        if scale is None or not 0 < scale < np.inf:
            wanted, got = "a positive finite number or None", described(self.scale)
            remedy = "pass the noise standard deviation, or None to infer it"
            raise expected("scale", wanted, got, remedy)
        object.__setattr__(self, "scale", float(scale))

    def latents(self) -> dict:
        """The log noise scale where it is inferred."""
        return {NOISE: dist.Normal(0.0, 1.0)} if self.scale is None else {}

    def distribution(self, outputs, params: dict) -> dist.Distribution:
        """The distribution of y given network outputs ``(N, d_out)``: batch shape (N,), event shape
        (d_out,)."""
        scale = jnp.exp(params[NOISE]) if self.scale is None else self.scale
        return dist.Normal(outputs, scale).to_event(1)


@dataclass(frozen=True)
class Categorical(Likelihood):
    """y in 0..d_out-1 with probabilities softmax(f(x))."""

    calibration = "confidence"
    error_name = "accuracy"

    def distribution(self, outputs, params: dict) -> dist.Distribution:
        """The distribution of the labels given logits ``(N, d_out)``: batch shape (N,)."""
        return dist.Categorical(logits=outputs)

    def check(self, y, num: int, d_out: int):
        """`y` as integer labels of shape ``(num,)`` in 0..d_out-1, or ValueError."""
        y = as_numbers("y", y)
        if y.shape == (num, 1):
            y = y[:, 0]
        if y.shape != (num,):
            one_hot = "pass class numbers, not one-hot rows (for example y.argmax(1))"
            remedy = _of_rows(y, num) or one_hot
            raise expected("y", f"labels of shape ({num},)", f"shape {y.shape}", remedy)
        if not jnp.issubdtype(y.dtype, jnp.integer):
            remedy = "convert class numbers, for example y.astype(int)"
            raise expected("y", "integer labels", f"labels of {y.dtype}", remedy)
        if is_concrete(y):
            labels = np.asarray(y)  # in NumPy: inside a transformation JAX would trace the minimum
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= d_out:
                got = f"values from {low} to {high}"
                remedy = "widen the network's output or relabel"
                raise expected("y", f"labels in 0..{d_out - 1}", got, remedy)
        return y

    def mean(self, outputs, params: dict) -> jax.Array:
        """The probability of each class, shape ``(N, d_out)``."""
        return jax.nn.softmax(outputs, axis=-1)

    def cdf(self, outputs, params: dict, y) -> jax.Array:
        """Labels have no order, so there is no distribution function."""
        raise NotImplementedError("labels have no order, so Categorical has no cdf")

    def point_error(self, mean, y) -> Estimate:
        """The accuracy of the most probable class, from mean probabilities ``(N, d_out)``."""
        hit = (np.asarray(mean).argmax(axis=-1) == np.asarray(y)).mean()
        return Estimate(float(hit), float(np.sqrt(hit * (1 - hit) / len(y))), "approximate")
