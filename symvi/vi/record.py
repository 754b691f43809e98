"""What a fit returns: posteriors, and what one does with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from symvi.checks import arviz, as_key, positive_int
from symvi.draws import inference_data
from symvi.estimates import Estimate
from symvi.information.method import Method
from symvi.information.symmetrized import Symmetrized, as_base, as_posterior
from symvi.models import BNN, check_model
from symvi.posteriors.mean_field import MeanField
from symvi.vi import stored

if TYPE_CHECKING:
    import arviz as az

MIN_STEPS = 1000  # of a fit, to tell from its losses whether the ELBO still rises
DRAWS_AT_ONCE = 100


class Monitor(NamedTuple):
    """What :func:`symvi.fit` measured every ``monitor_every`` steps, in nats.

    Arrays have shape ``(times,)`` or ``(times, restarts)``.

    ``elbo`` is L by 100 fresh draws; ``lower`` and ``upper`` are the certified pairwise bounds of
    I(g; w);
    ``log_order`` is log |G|, the most that I can be.
    """

    steps: np.ndarray
    elbo: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    log_order: float


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """What :func:`symvi.fit` returns. It can be passed wherever a posterior is taken.

    Attributes
    ----------
    posterior : MeanField, UnitNormal or Symmetrized
        The best restart by its own objective, evaluated afresh; symmetrized if the fit was.
    posteriors : list of MeanField or UnitNormal
        The restarts that stayed finite, in order; ``kept`` holds their numbers.
    elbos : list of Estimate
        Their own objective in nats, on 1000 fresh draws (100 for "guided", 20 beyond 10,000 data).
    losses : array (restarts, steps)
        The Monte Carlo loss (negative ELBO, nats) along training, of all restarts.
    symmetrize : None, str or Method
        What was maximised, as it was asked for.
    monitor : Monitor or None
        What ``monitor_every`` asked for, of all restarts.
    """

    bnn: BNN
    posterior: MeanField | Symmetrized
    posteriors: list
    elbos: list
    losses: np.ndarray
    kept: tuple
    symmetrize: str | Method | None
    monitor: Monitor | None = None

    def __repr__(self) -> str:
        restarts, steps = self.losses.shape
        weights = sum(int(np.prod(shape)) for shape in self.bnn.shapes.values())
        return (
            f"Fit({type(as_base(self.posterior)).__name__} of {weights} weights, "
            f"symmetrize={self.symmetrize!r}, {steps} steps, {len(self.kept)} of {restarts} "
            f"restarts, ELBO {self.elbos[self._best]})"
        )

    @property
    def _best(self) -> int:
        """The place of the best restart in `posteriors` and `elbos`."""
        return int(np.argmax([elbo.value for elbo in self.elbos]))

    def last_rise(self) -> Estimate | None:
        """How much the ELBO of the best restart still rose over the last tenth of its steps, in
        nats.

        The mean loss of the last tenth's first half minus that of its second half; the standard
        error takes the steps as independent. None for fits of fewer than 1000 steps.
        """
        loss = self.losses[self.kept[self._best]]
        if len(loss) < MIN_STEPS:
            return None
        half = len(loss) // 20
        before, after = loss[-2 * half : -half], loss[-half:]
        std_error = np.hypot(before.std(ddof=1), after.std(ddof=1)) / np.sqrt(half)
        return Estimate(float(before.mean() - after.mean()), float(std_error), "exact")

    def sample(self, key=None, num: int = 1000) -> dict:
        """`num` draws of the posterior: weights by name, arrays ``(num, *shape)``."""
        return self.posterior.sample(as_key(key), positive_int("num", num))

    def predict(self, x_new, *, num: int = 1000, key=None) -> jax.Array:
        """Network outputs at `x_new` under `num` draws of the posterior, shape ``(num, N, d_out)``.

        These are functions, without noise: intervals from them say where the function is, not where
        data fall. For those see :meth:`predictive`. q and q_G give the same distribution over
        functions (Gelberg et al. 2024, Appendix C), so q is drawn from.
        """
        return predict(self.bnn, as_base(self.posterior), x_new, num=num, key=key)

    def predictive(self, x_new, *, num: int = 1000, key=None) -> jax.Array:
        """New data at `x_new`, one for each of `num` draws of the posterior: ``(num, N,
        *event_shape)``, with the likelihood's event shape: (d_out,) for :class:`Gaussian`, () for
        labels.

        With the likelihood's noise, so that quantiles over the first axis are predictive intervals.
        """
        x_new = self.bnn.check_inputs(x_new)
        k_weights, k_data = jax.random.split(as_key(key))
        num = positive_int("num", num)
        draws = as_base(self.posterior).sample(k_weights, num)
        return _simulated(self.bnn, draws, jax.random.split(k_data, num), x_new)

    def predictive_mean(self, x_new, *, num: int = 1000, key=None) -> jax.Array:
        """The mean of new data at `x_new`, averaged over `num` draws: ``(N, *event_shape)`` as in
        :meth:`predictive`; for labels, class probabilities ``(N, d_out)``."""
        x_new = self.bnn.check_inputs(x_new)
        draws = as_base(self.posterior).sample(as_key(key), positive_int("num", num))
        return _means(self.bnn, draws, x_new).mean(axis=0)

    def to_inference_data(self, x, y, *, num: int = 1000, key=None) -> az.InferenceData:
        """`num` draws of the posterior, in one chain, as ArviZ reads them.

        Returns
        -------
        arviz.InferenceData
            Groups posterior, posterior_predictive and log_likelihood (nats) of y, observed_data and
            constant_data, for
            ``az.plot_ppc``, ``az.loo`` and ``az.compare``. These trust the draws: what a posterior
            misses, they miss.
        """
        x, y = self.bnn.check_data(x, y)
        num = positive_int("num", num)
        k_weights, k_data = jax.random.split(as_key(key))
        draws = self.posterior.sample(k_weights, num)
        data = inference_data(self.bnn, draws, x, y)
        simulated = _simulated(self.bnn, draws, jax.random.split(k_data, num), x)
        data.extend(arviz().from_dict(posterior_predictive={"y": np.asarray(simulated)[None]}))
        return data

    def save(self, path) -> None:
        """Write the fit to one file (NumPy's npz, no pickle), which :func:`symvi.load` reads in any
        process.

        A model of :class:`MLP` with :class:`Gaussian` or :class:`Categorical` is stored too; any
        other has to be given to `load` again. OSError, which names `path`, where the file can't be
        written.
        """
        stored.write(self, path)


def load(path, *, bnn: BNN | None = None) -> Fit:
    """The fit that :meth:`Fit.save` wrote to `path`, in this or in another process.

    Parameters
    ----------
    path : path
    bnn : BNN, optional
        The model of the fit, where the file does not hold it: a network from PyTorch, or a
        likelihood of your own.

    Raises
    ------
    ValueError
        For a file that is damaged, of another kind or of a later version of symvi, and where `bnn`
        is missing or is not the model of this fit: another network, likelihood or prior.
    FileNotFoundError
        If there is no such file.
    """
    attributes = stored.read(path, bnn)
    monitor = attributes.pop("monitor")
    return Fit(**attributes, monitor=None if monitor is None else Monitor(**monitor))


def predict(bnn: BNN, q, x_new, *, num: int = 1000, key=None) -> jax.Array:
    """Network outputs at `x_new`, ``(N, d_in)``, under `num` draws of `q` (a posterior or Fit):
    ``(num, N, d_out)``."""
    check_model(bnn)
    x_new = bnn.check_inputs(x_new)
    q = as_posterior(q)
    return _outputs(bnn, q.sample(as_key(key), positive_int("num", num)), x_new)


@partial(jax.jit, static_argnames="bnn")
def _outputs(bnn, draws, x):
    return jax.vmap(lambda w: bnn.net.apply(w, x))(draws)


@partial(jax.jit, static_argnames="bnn")
def _simulated(bnn, draws, keys, x):
    """One draw of the data for each draw of the weights."""

    def one(draw_and_key):
        draw, key = draw_and_key
        return bnn.distribution(draw, x).sample(key)

    return jax.lax.map(one, (draws, keys), batch_size=DRAWS_AT_ONCE)


@partial(jax.jit, static_argnames="bnn")
def _means(bnn, draws, x):
    def one(draw):
        return bnn.likelihood.mean(bnn.net.apply(draw, x), draw)

    return jax.lax.map(one, draws, batch_size=DRAWS_AT_ONCE)
