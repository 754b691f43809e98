"""Draws of weights: where they come from, what they predict, and the form that ArviZ reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np

from symvi.checks import arviz, as_key, as_numbers, described, expected
from symvi.models import BNN, check_model

if TYPE_CHECKING:
    from arviz import InferenceData

NUM = 1000  # draws taken of a posterior where draws are asked for


def check_pairs(bnn: BNN, x, y) -> tuple:
    """x and y as the arrays of `bnn`; ValueError if either is wrong, missing or empty."""
    check_model(bnn)
    if y is None:
        raise expected("y", "the observed outputs", "None", "pass y beside x")
    return bnn.check_data(x, y)


def posterior_draws(drawn: InferenceData) -> dict:
    """The weights in the group posterior of `drawn`: arrays ``(chains, draws, *shape)`` by name."""
    group = getattr(drawn, "posterior", None)
    if not hasattr(group, "data_vars"):
        remedy = "pass what symvi.nuts or symvi.reference_posterior returns"
        raise expected("drawn", "an InferenceData with posterior draws", described(drawn), remedy)
    return {str(name): values.values for name, values in group.data_vars.items()}


def as_draws(source, num: int = NUM, key=None) -> dict:
    """Draws of weights by name, from whatever holds them.

    Parameters
    ----------
    source : dict, InferenceData, posterior or Fit
        Arrays ``(*batch, *shape)`` are taken as they are; an InferenceData gives all its draws,
        ``(chains, draws, *shape)``; a posterior, or what :func:`symvi.fit` returns, is sampled.
    num, key
        Of a posterior: how many draws, and by which JAX key (``jax.random.key(0)`` by default).

    Raises
    ------
    ValueError
        For anything else.
    """
    if isinstance(source, Mapping) and not hasattr(source, "groups"):
        return dict(source)
    fitted = getattr(source, "posterior", source)  # a Fit holds its posterior
    if hasattr(fitted, "sample") and not isinstance(fitted, type):
        sampled = fitted.sample(as_key(key), num)
        if isinstance(sampled, Mapping):
            return dict(sampled)
    if hasattr(fitted, "data_vars"):
        return posterior_draws(source)
    wanted = "a dict of draws by name, an InferenceData, a posterior or a Fit"
    remedy = "pass for example what symvi.nuts or symvi.fit returns"
    raise expected("draws", wanted, described(source), remedy)


def check_draws(bnn: BNN, draws) -> tuple[dict, tuple]:
    """Draws as arrays ``(*batch, *shape)`` of the parameters of `bnn`, and their batch shape.

    Parameters
    ----------
    draws : what :func:`as_draws` takes

    Raises
    ------
    ValueError
        For names or shapes that are not the model's, for no draws, and for draws not finite.
    """
    shapes = check_model(bnn).shapes
    draws = as_draws(draws)
    if set(draws) != set(shapes):
        wanted = f"the parameters {sorted(shapes)}"
        raise expected("draws", wanted, sorted(map(str, draws)), "pass draws of this model")
    arrays = {}
    batch = None
    for name, shape in shapes.items():
        arrays[name] = finite_numbers(f"draws[{name!r}]", draws[name])
        batch = _batch(f"draws[{name!r}]", arrays[name], tuple(shape), batch)
    if 0 in batch:
        raise expected("draws", "at least one draw", f"batch shape {batch}", "pass some draws")
    return arrays, batch


def finite_numbers(name: str, value) -> np.ndarray:
    """`value` as a NumPy array in its own precision; ValueError unless it holds finite numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        value = np.asarray(as_numbers(name, value))
    if not np.all(np.isfinite(value)):
        remedy = "drop the diverged draws"
        raise expected(name, "finite numbers", "NaN or infinity", remedy)
    return value


def _batch(name, value, shape, batch) -> tuple:
    """The leading axes of `value`, which must be those of the parameters before it."""
    lead = value.shape[: max(value.ndim - len(shape), 0)]
    if value.shape[len(lead) :] != shape or not lead or batch not in (None, lead):
        sizes = "".join(f", {size}" for size in shape)
        wanted = f"shape (*batch{sizes}) with one batch shape for all parameters"
        raise expected(name, wanted, value.shape, "stack the draws on leading axes")
    return lead


def joined(bnn: BNN, draws: dict) -> dict:
    """Checked `draws` with their batch axes joined into one: arrays ``(num, *shape)``."""
    return {name: draws[name].reshape(-1, *shape) for name, shape in bnn.shapes.items()}


@partial(jax.jit, static_argnames=("bnn", "function"))
def _mapped(bnn, function, rows, data):
    return jax.lax.map(lambda w: function(bnn, w, *data), rows, batch_size=250)


def map_draws(bnn: BNN, function: Callable, draws, *data) -> np.ndarray:
    """``function(bnn, w, *data)`` for each draw w: shape ``(*batch, ...)``.

    `function` is compiled once, so it must be defined at module level.
    """
    draws, batch = check_draws(bnn, draws)
    values = np.asarray(_mapped(bnn, function, joined(bnn, draws), data))
    return values.reshape(*batch, *values.shape[1:])


def network_outputs(bnn: BNN, w: dict, x) -> jax.Array:
    """The network's outputs ``(N, d_out)`` for one draw `w`, which may hold a log noise too."""
    return bnn.net.apply({name: w[name] for name in bnn.net.shapes}, x)


def _pointwise(bnn, w, x, y):
    return bnn.pointwise_log_likelihood(w, x, y)


def _joint(bnn, w, x, y):
    return bnn.log_joint(w, x, y)


def outputs(bnn: BNN, draws, x) -> np.ndarray:
    """The network outputs f_w(x) of every draw, shape ``(*batch, N, d_out)``.

    `draws` are what :func:`as_draws` takes: arrays ``(*batch, *shape)``, an InferenceData, or a
    posterior or Fit, of which 1000 draws are taken. So for the functions below.
    """
    return map_draws(bnn, network_outputs, draws, check_model(bnn).check_inputs(x))


def log_likelihoods(bnn: BNN, draws, x, y) -> np.ndarray:
    """log p(y_i | x_i, w) in nats of every draw, shape ``(*batch, N)``."""
    return map_draws(bnn, _pointwise, draws, *check_pairs(bnn, x, y))


def log_joints(bnn: BNN, draws, x, y) -> np.ndarray:
    """log p(y, w | x) in nats of every draw, shape ``(*batch,)``."""
    return map_draws(bnn, _joint, draws, *check_pairs(bnn, x, y))


def inference_data(bnn: BNN, draws, x, y) -> InferenceData:
    """Draws of weights with the log likelihood of each datum, for ArviZ.

    Parameters
    ----------
    draws : dict, InferenceData, posterior or Fit
        Arrays ``(chains, draws, *shape)``, or ``(num, *shape)`` for independent draws, which are
        taken as one chain.

    Returns
    -------
    arviz.InferenceData
        Groups posterior, log_likelihood (nats), observed_data, constant_data (x).

    Raises
    ------
    ValueError
        Draws of another model, draws whose log likelihood is not finite (ArviZ would carry NaN
        through every sum), or bad data.
    """
    draws, batch = check_draws(bnn, draws)
    x, y = check_pairs(bnn, x, y)
    if len(batch) not in (1, 2):
        wanted = "batch axes (chains, draws) or (num,)"
        raise expected("draws", wanted, batch, "reshape the draws")
    if len(batch) == 1:
        draws = {name: value[None] for name, value in draws.items()}
    terms = map_draws(bnn, _pointwise, draws, x, y)
    finite = np.isfinite(terms)
    if not finite.all():
        got = f"{(~finite).any(axis=-1).sum()} of {finite[..., 0].size} draws with others"
        remedy = "drop these draws, or check that y is in the support of the likelihood"
        raise expected("draws", "finite log likelihoods of all data", got, remedy)
    return arviz().from_dict(
        posterior=draws,
        log_likelihood={"y": terms},
        observed_data={"y": np.asarray(y)},
        constant_data={"x": np.asarray(x)},
    )
