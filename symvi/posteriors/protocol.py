"""What is asked of a posterior that is to be measured: draws, and their log densities.

:class:`MeanField`, :class:`Symmetrized` and the baselines all have it, and so may an object of
one's own. ``symvi.elbo``, ``symvi.comparison.importance_weights`` and ``symvi.compare`` ask for
nothing else of it. Two attributes are used where they are there:

1. ``model``, a BNN with the same parameters: what the draws predict by, in place of the model whose
   posterior is approximated. Linearised Laplace predicts by the linearised network.
2. ``strata()``, a list of pairs (weight, posterior) that make up a mixture: the ELBO is then
   estimated part by part, with less noise.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
import numpy as np

from symvi.checks import as_numbers, described, expected

DRAWS_AT_ONCE = 100


@runtime_checkable
class Posterior(Protocol):
    """A normalised density over named weights from which one can draw."""

    def sample(self, key, num: int) -> dict:
        """`num` independent draws: a dict of arrays of shape ``(num, *shape)``."""

    def log_prob(self, params: dict):
        """The log density in nats, over leading batch axes: ``(num, *shape)`` gives ``(num,)``."""


def is_posterior(value) -> bool:
    """Whether `value`, or what it holds as ``posterior``, has draws and a density."""
    found = getattr(value, "posterior", value)
    return isinstance(found, Posterior) and not isinstance(found, type)


def as_measurable(q, argument: str = "q") -> Posterior:
    """`q`, or the posterior of a fit; ValueError for what has no draws or no density."""
    if not is_posterior(q):
        wanted = "a MeanField, UnitNormal, Symmetrized or Fit, or a posterior with sample, log_prob"
        raise expected(argument, wanted, described(q), "pass one of these")
    return getattr(q, "posterior", q)


def log_densities(q: Posterior, draws: dict) -> np.ndarray:
    """log q in nats of each draw, ``(num,)``; a posterior that is a pytree is compiled.

    Raises ValueError where ``q.log_prob`` gives anything but one number for each draw.
    """
    is_pytree = not jax.tree_util.all_leaves([q])
    values = _log_densities(q, draws) if is_pytree else q.log_prob(draws)
    values = np.asarray(as_numbers("q.log_prob", values))
    num = len(next(iter(draws.values())))
    if values.shape != (num,):
        remedy = "let log_prob work over the leading axis of all weights"
        raise expected("q.log_prob", f"one number a draw, ({num},)", values.shape, remedy)
    return values


@jax.jit
def _log_densities(q, draws):
    return jax.lax.map(q.log_prob, draws, batch_size=DRAWS_AT_ONCE)
