"""The log evidence log p(y | x) by tempered sequential Monte Carlo, repeated for an error."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import fraction, positive_int, seed_to_key
from symvi.draws import check_pairs
from symvi.estimates import Estimate
from symvi.models import BNN

LEAPFROGS = 8  # steps of a Hamiltonian move
MOVES = 5  # moves of each particle at each temperature
TARGET_ACCEPTANCE = 0.8
FIRST_STEP = 0.2  # step size of the moves, in standard deviations of the particles
# Where log Z of a run is normal with standard deviation s, R runs are worth about R exp(-s^2), and
# their mean is made by runs s standard deviations above the typical one. Half of R is s = 0.83:
# one run in five lies there, so that some of eight do. Beyond, the runs that matter may be missing,
# and then the standard error is too small as well.
MIN_SHARE = 0.5  # of the runs that the mean must rest on
MIN_RUNS = 2.0  # and no fewer than these: one run has no spread
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Estimate):
    """An estimate of log p(y | x) in nats, with the runs that it is the mean of.

    An :class:`symvi.Estimate` in all: compared, shown and recorded by its value, standard error and
    kind, which is "approximate".

    Parameters
    ----------
    runs : array ``(repeats,)``
        log Z of each run, in nats.
    particles : dict of arrays ``(repeats, particles, *shape)``
        Draws of the posterior by name: those of a run all weigh the same, and runs weigh
        :attr:`run_weights`.
    """

    runs: np.ndarray
    particles: dict

    def __new__(cls, runs, particles):
        """The log of the mean of exp(`runs`), with its standard error from their spread."""
        top = runs.max()
        z = np.exp(runs - top)
        std_error = z.std(ddof=1) / z.mean() / np.sqrt(len(runs))
        return super().__new__(cls, top + np.log(z.mean()), std_error, "approximate")

    def __getnewargs__(self):
        """What copies and pickles are made from."""
        return self.runs, self.particles

    @classmethod
    def _make(cls, fields) -> Estimate:
        """With another value it is no longer the mean of these runs, but a plain estimate."""
        return Estimate(*fields)

    def __repr__(self) -> str:
        fields = f"value={self.value!r}, std_error={self.std_error!r}, kind={self.kind!r}"
        worth = f"effective_runs={self.effective_runs:.1f} of {len(self.runs)}"
        return f"Evidence({fields}, {worth}{'' if self.decided else ', not decided'})"

    def __str__(self) -> str:
        return super().__str__() if self.decided else f"{super().__str__()}, not decided"

    @property
    def run_weights(self) -> np.ndarray:
        """Z of each run over the sum of all, shape ``(repeats,)``."""
        z = np.exp(self.runs - self.runs.max())
        return z / z.sum()

    @property
    def effective_runs(self) -> float:
        """How many equal runs the mean is worth, from 1 to repeats, 1 / sum of squared weights."""
        return float(1 / np.square(self.run_weights).sum())

    @property
    def decided(self) -> bool:
        """Whether the mean rests on at least half of the runs, and on two or more.

        If not, a few runs carry it, and value and standard error may both be too small. If so, runs
        may still all have missed the same mass.
        """
        return self.effective_runs >= least_runs(len(self.runs)) - ROUNDING


def least_runs(repeats: int) -> float:
    """The effective number of runs below which an evidence is not decided."""
    return max(MIN_RUNS, MIN_SHARE * repeats)


def log_evidence(
    bnn: BNN,
    x,
    y,
    *,
    particles: int = 1000,
    repeats: int = 8,
    target_ess: float = 0.7,
    seed: int = 0,
) -> Evidence:
    """log p(y | x) in nats, by adaptive tempered sequential Monte Carlo.

    Particles go from the prior to the posterior through p(w) p(y | x, w)^t (Del Moral, Doucet and
    Jasra 2006; BlackJAX); each next t is chosen so that the weights keep an effective sample size
    of `target_ess`. After resampling, particles move by Hamiltonian steps whose step size follows
    the acceptance rate and whose mass follows the particles' variances. Independent `repeats` run
    one after the other in one compiled loop. At the end they are resampled and moved once more, so
    that those of a run all weigh the same.

    Parameters
    ----------
    particles, repeats : int
        At least 2 of each.
    target_ess : float
        Between 0 and 1, a share of the particles.

    Returns
    -------
    symvi.truth.evidence.Evidence
        An :class:`symvi.Estimate`: the log of the mean of the repeats' estimates of p(y | x), each
        nearly unbiased (the schedule adapts; the bias falls as particles grow); its standard error
        from their spread, itself uncertain with few repeats; kind "approximate". Beside these,
        ``runs`` ``(repeats,)``, the log of each repeat's estimate; ``effective_runs``, the number
        of equal runs that their mean is worth; ``decided``, whether these are at least half of the
        repeats, and two or more; and ``particles``, draws of the posterior by name, ``(repeats,
        particles, *shape)``.

    Raises
    ------
    ValueError
        particles or repeats < 2, target_ess outside (0, 1), a seed that is no int, or bad data.

    Warns
    -----
    UserWarning
        Where the evidence is not decided. Two repeats decide nothing unless they agree.
    """
    particles = positive_int("particles", particles, 2)
    repeats = positive_int("repeats", repeats, 2)
    target_ess = fraction("target_ess", target_ess, example=0.7)
    keys = jax.random.split(seed_to_key(seed), repeats)
    x, y = check_pairs(bnn, x, y)
    logs, vectors = _repeated(bnn, keys, x, y, particles, target_ess)
    found = Evidence(np.asarray(logs), _by_name(bnn, vectors))
    if not found.decided:
        warnings.warn(_complaint(found, particles), stacklevel=2)
    return found


def _complaint(found: Evidence, particles: int) -> str:
    repeats = len(found.runs)
    wanted = f"a mean that rests on at least {least_runs(repeats):g} of {repeats} runs"
    worth = math.floor(100 * found.effective_runs) / 100  # never rounded up to what is wanted
    got = f"{worth:.2f} effective runs, so it is not decided"
    remedy = f"pass particles={4 * particles}, or more repeats"
    return f"log_evidence: expected {wanted}, got {got}; {remedy}"


def _by_name(bnn: BNN, vectors) -> dict:
    """Parameters ``(repeats, particles, *shape)`` from vectors ``(repeats, particles, d)``."""
    unraveled = jax.vmap(jax.vmap(bnn.unravel))(vectors)
    return {name: np.asarray(value) for name, value in unraveled.items()}


@partial(jax.jit, static_argnames=("bnn", "particles"))
def _repeated(bnn, keys, x, y, particles, target_ess):
    """Of each repeat the estimate ``(repeats,)`` and the particles ``(repeats, particles, d)``."""
    return jax.lax.map(partial(_run, bnn, x, y, particles, target_ess), keys)


def _run(bnn, x, y, particles, target_ess, key):
    """One estimate of log p(y | x), the sum of the tempered steps' increments; and its draws.

    A step resamples and moves at the t that was reached, then weighs for the next one. The last
    starts at t = 1 and goes nowhere: it leaves particles that all weigh the same.
    """
    from blackjax.smc import adaptive_tempered, extend_params

    kernel = _kernel(bnn, x, y, target_ess)
    k_prior, key = jax.random.split(key)
    start = jax.vmap(partial(_from_prior, bnn))(jax.random.split(k_prior, particles))

    def step(carry):
        smc, log_z, step_size, key, _ = carry
        arrived = smc.tempering_param >= 1
        key, k_step = jax.random.split(key)
        tuned = {"step_size": step_size, "inverse_mass_matrix": jnp.var(smc.particles, axis=0)}
        smc, info = kernel(k_step, smc, MOVES, extend_params(tuned))
        increment = jnp.where(arrived, 0, info.log_likelihood_increment)
        accepted = jnp.mean(info.update_info.acceptance_rate)
        step_size = step_size * jnp.exp(accepted - TARGET_ACCEPTANCE)
        return smc, log_z + increment, step_size, key, arrived

    def unfinished(carry):
        return ~carry[-1]

    zero = jnp.zeros((), start.dtype)
    smc = adaptive_tempered.init(start)
    # one type throughout the loop
    smc = smc._replace(tempering_param=zero, weights=smc.weights.astype(start.dtype))
    begun = (smc, zero, zero + FIRST_STEP, key, jnp.array(False))
    smc, log_z, *_ = jax.lax.while_loop(unfinished, step, begun)
    return log_z, smc.particles


def _from_prior(bnn, key):
    return bnn.ravel(bnn.sample_prior(key))


def _kernel(bnn, x, y, target_ess):
    """BlackJAX's tempered step: reweighting to `target_ess`, resampling, Hamiltonian moves."""
    import blackjax
    from blackjax.smc import adaptive_tempered, resampling

    def log_prior(vector):
        return bnn.log_prior(bnn.unravel(vector))

    def log_likelihood(vector):
        return bnn.log_likelihood(bnn.unravel(vector), x, y)

    return adaptive_tempered.build_kernel(
        log_prior,
        log_likelihood,
        partial(blackjax.hmc.build_kernel(), num_integration_steps=LEAPFROGS),
        blackjax.hmc.init,
        resampling.systematic,
        target_ess,
    )
