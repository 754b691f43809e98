r"""SWAG: a Gaussian through the iterates of stochastic gradient descent at a constant rate.

With one iterate w_t at the end of each of T epochs (Maddox et al. 2019, sections 3.2 and 3.3):

1. the mean is w_SWA = sum_t w_t / T;
2. the diagonal part is sum_t w_t^2 / T - w_SWA^2, elementwise;
3. the columns of D, for the last K epochs, are w_t less the mean of the iterates up to t;
4. q = N(w_SWA, diag / 2 + D D^T / (2 (K - 1))).

An epoch takes each datum once, so most of the noise of its steps cancels by its end: at small rates
q is far narrower than the posterior.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from symvi.baselines.joint_normal import JointNormal
from symvi.baselines.local_modes import modes
from symvi.baselines.mixtures import Mixture, mixture
from symvi.checks import expected, positive_int, positive_number
from symvi.draws import check_pairs
from symvi.models import BNN
from symvi.vi.steps import batch_rows

MIN_VARIANCE = 1e-30  # of the diagonal part, for weights that stand still


def swag(
    bnn: BNN,
    x,
    y,
    *,
    rank: int = 20,
    warmup: int = 100,
    epochs: int = 100,
    learning_rate: float = 0.03,
    batch_size: int | None = None,
    seed: int = 0,
) -> JointNormal:
    """SWAG (Maddox et al. 2019): diagonal plus low rank, from the iterates of gradient descent.

    Starts from one of the :func:`modes`. Descends log p(y, w | x) / N in minibatches at a constant
    rate, without momentum; one iterate an epoch counts, after `warmup` epochs.

    Parameters
    ----------
    rank : int
        K, at least 2 and at most `epochs`: the columns of the low-rank part.
    warmup, epochs : int
        Passes through the data before the first iterate that counts, and with one that does.
    learning_rate : float
        The constant rate, of which the covariance depends strongly: choose it on data that are
        neither trained nor tested on.
    batch_size : int, optional
        Data a step, at most N; a tenth of N by default.

    Returns
    -------
    JointNormal

    Raises
    ------
    ValueError
        For arguments or data out of range, and where the iterates diverge.
    """
    settings = dict(rank=rank, warmup=warmup, epochs=epochs, learning_rate=learning_rate)
    (only,) = _of_restarts(bnn, x, y, 1, batch_size=batch_size, seed=seed, **settings)
    return only


def multiswag(
    bnn: BNN,
    x,
    y,
    *,
    restarts: int = 8,
    rank: int = 20,
    warmup: int = 100,
    epochs: int = 100,
    learning_rate: float = 0.03,
    batch_size: int | None = None,
    seed: int = 0,
) -> Mixture:
    """MultiSWAG (Wilson and Izmailov 2020): SWAG from several starts, in equal parts.

    The restarts run side by side. See :func:`swag` for the arguments and the errors.

    Returns
    -------
    Mixture
        Its ``members`` are the :class:`JointNormal` of the restarts.
    """
    settings = dict(rank=rank, warmup=warmup, epochs=epochs, learning_rate=learning_rate)
    return mixture(_of_restarts(bnn, x, y, restarts, batch_size=batch_size, seed=seed, **settings))


def _of_restarts(
    bnn, x, y, restarts, *, rank, warmup, epochs, learning_rate, batch_size, seed
) -> list[JointNormal]:
    """The Gaussian of each restart."""
    x, y = check_pairs(bnn, x, y)
    warmup = positive_int("warmup", warmup, least=0)
    epochs = positive_int("epochs", epochs, least=2)
    rank = positive_int("rank", rank, least=2)
    learning_rate = positive_number("learning_rate", learning_rate)
    if rank > epochs:
        raise expected("rank", f"at most epochs = {epochs}", rank, "raise epochs or lower rank")
    batch_size = _batch_size(batch_size, len(x))
    starts, _ = modes(bnn, x, y, restarts=restarts, seed=seed)
    per_epoch = len(x) // batch_size
    rows = batch_rows(len(x), batch_size, (warmup + epochs) * per_epoch, seed)
    rows = rows.reshape(warmup + epochs, per_epoch, batch_size)
    iterates = np.asarray(_descend(bnn, starts, x, y, rows, learning_rate))[:, warmup:]
    diverged = ~np.isfinite(iterates).all(axis=(1, 2))
    if diverged.any():
        got = f"{diverged.sum()} of {len(diverged)} restarts that diverged"
        raise expected("swag", "finite iterates", got, "lower learning_rate")
    return [JointNormal(bnn, law_of_iterates(path, rank)) for path in iterates]


def _batch_size(batch_size, num: int) -> int:
    if batch_size is None:
        return max(1, num // 10)
    batch_size = positive_int("batch_size", batch_size)
    if batch_size > num:
        raise expected("batch_size", f"at most N = {num}", batch_size, "pass None for a tenth of N")
    return batch_size


@partial(jax.jit, static_argnames="bnn")
def _descend(bnn, starts, x, y, rows, learning_rate):
    """The weights at the end of each epoch, ``(restarts, epochs, num_weights)``."""
    num = len(x)

    def loss(vector, row):
        w = bnn.unravel(vector)
        log_likelihood = num / row.size * bnn.log_likelihood(w, x[row], y[row])
        return -(bnn.log_prior(w) + log_likelihood) / num

    def step(vector, row):
        return vector - learning_rate * jax.grad(loss)(vector, row), None

    def epoch(vector, rows_of_epoch):
        vector, _ = jax.lax.scan(step, vector, rows_of_epoch)
        return vector, vector

    def path(start):
        return jax.lax.scan(epoch, bnn.ravel(start), rows)[1]

    return jax.vmap(path)(starts)


def law_of_iterates(iterates: np.ndarray, rank: int) -> dist.LowRankMultivariateNormal:
    """SWAG's Gaussian of iterates ``(T, num_weights)``, the last `rank` of which give D."""
    counts = np.arange(1, len(iterates) + 1)[:, None]
    means_so_far = np.cumsum(iterates, axis=0) / counts
    deviations = (iterates - means_so_far)[-rank:]
    diagonal = np.maximum(iterates.var(axis=0), MIN_VARIANCE)
    factor = deviations.T / np.sqrt(2 * (rank - 1))
    mean = jnp.asarray(means_so_far[-1], iterates.dtype)
    return dist.LowRankMultivariateNormal(mean, jnp.asarray(factor), jnp.asarray(diagonal / 2))
