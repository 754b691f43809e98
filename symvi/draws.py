"""Draws of weights: their network outputs, and the form that ArviZ reads."""

from __future__ import annotations

from functools import partial

import arviz as az
import jax
import numpy as np

from symvi.models import BNN


def check_draws(bnn: BNN, draws: dict) -> tuple[dict, tuple]:
    """`draws` as arrays ``(*batch, *shape)`` of the parameters of `bnn`, and their batch shape.

    Raises ValueError for names or shapes that are not the model's, and for draws that are not finite.
    """
    shapes = bnn.shapes
    if set(draws) != set(shapes):
        raise ValueError(
            f"draws: expected the parameters {sorted(shapes)}, got {sorted(draws)}; pass draws of this model"
        )
    draws, batch = {name: np.asarray(draws[name]) for name in shapes}, None
    for name, shape in shapes.items():
        lead = draws[name].shape[: draws[name].ndim - len(shape)]
        if (
            draws[name].shape[len(lead) :] != tuple(shape)
            or not lead
            or (batch is not None and lead != batch)
        ):
            raise ValueError(
                f"draws[{name!r}]: expected shape (*batch, *{tuple(shape)}) with one batch shape for all parameters, got {draws[name].shape}; stack the draws on leading axes"
            )
        if not np.all(np.isfinite(draws[name])):
            raise ValueError(
                f"draws[{name!r}]: expected finite draws, got NaN or infinity; drop the diverged draws"
            )
        batch = lead
    return draws, batch


@partial(jax.jit, static_argnames=("bnn", "function"))
def _map(bnn, function, rows, data):
    return jax.lax.map(lambda w: function(bnn, w, *data), rows, batch_size=250)


def over(bnn: BNN, function, draws: dict, *data) -> np.ndarray:
    """``function(bnn, w, *data)`` for each draw w: shape ``(*batch, ...)``. `function` must be defined at module level (it is compiled once)."""
    draws, batch = check_draws(bnn, draws)
    rows = {name: draws[name].reshape(-1, *shape) for name, shape in bnn.shapes.items()}
    values = np.asarray(_map(bnn, function, rows, data))
    return values.reshape(*batch, *values.shape[1:])


def _outputs(bnn, w, x):
    return bnn.net.apply({name: w[name] for name in bnn.net.shapes}, x)


def _pointwise(bnn, w, x, y):
    return bnn.pointwise_log_likelihood(w, x, y)


def _joint(bnn, w, x, y):
    return bnn.log_joint(w, x, y)


def outputs(bnn: BNN, draws: dict, x) -> np.ndarray:
    """The network outputs f_w(x) of every draw, shape ``(*batch, N, d_out)``, for draws ``(*batch, *shape)``."""
    return over(bnn, _outputs, draws, bnn.check_inputs(x))


def log_likelihoods(bnn: BNN, draws: dict, x, y) -> np.ndarray:
    """log p(y_i | x_i, w) in nats of every draw, shape ``(*batch, N)``."""
    return over(bnn, _pointwise, draws, *bnn.check_data(x, y))


def log_joints(bnn: BNN, draws: dict, x, y) -> np.ndarray:
    """log p(y, w | x) in nats of every draw, shape ``(*batch,)``."""
    return over(bnn, _joint, draws, *bnn.check_data(x, y))


def inference_data(bnn: BNN, draws: dict, x, y) -> az.InferenceData:
    """Draws of weights with the log likelihood of each datum, for ArviZ.

    Parameters
    ----------
    draws : dict of arrays ``(chains, draws, *shape)``, or ``(num, *shape)`` for independent draws, taken as one chain

    Returns
    -------
    arviz.InferenceData
        Groups posterior, log_likelihood (nats), observed_data, constant_data (x).
    """
    draws, batch = check_draws(bnn, draws)
    if len(batch) not in (1, 2):
        raise ValueError(
            f"draws: expected batch axes (chains, draws) or (num,), got {batch}; reshape the draws"
        )
    if len(batch) == 1:
        draws = {name: value[None] for name, value in draws.items()}
    return az.from_dict(
        posterior=draws,
        log_likelihood={"y": log_likelihoods(bnn, draws, x, y)},
        observed_data={"y": np.asarray(y)},
        constant_data={"x": np.asarray(x)},
    )


def posterior_draws(drawn: az.InferenceData) -> dict:
    """The weights in the group posterior of `drawn`: a dict of arrays ``(chains, draws, *shape)``."""
    return {name: values.values for name, values in drawn.posterior.items()}
