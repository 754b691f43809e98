r"""What every method has: how it takes the orbit information into account, exactly or by a bound.

Symmetrizing a posterior q adds I(g; w) = E_q[log q(w) - log q_G(w)] to its evidence lower bound. A
method is a small frozen object that says what it puts in place of I: a value for each draw of w
(:meth:`Method.pointwise`), a closed form of the whole posterior (:meth:`Method.closed_form`), or
both.

**How to add a bound.** Copy one file, ``infonce.py`` for a bound by draws or ``pairwise.py`` for
one in closed form. Put your derivation at its top, say what the bound is (`name`, `kind`) and what
it needs of the group (`check`), and write its value. Keep ``@dataclass(frozen=True)`` above the
class and every setting a field of it: compiled functions tell methods apart by their fields, and
take two that differ in anything else for the same. Then add one row to the table in ``methods.py``.
A method that stays outside the package needs no row: pass the object itself.
``fit``, ``elbo``, ``orbit_information``, :class:`Symmetrized` and the NumPyro guide ask nothing but
what stands in :class:`Method`, and the tests go through the table.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import numpy as np

from symvi.checks import expected
from symvi.estimates import Bounds, Estimate, from_samples
from symvi.posteriors.mean_field import MeanField
from symvi.symmetry import Symmetry

DRAWS_AT_ONCE = 100
MATRIX_ENTRIES_AT_ONCE = 10**6


@dataclass(frozen=True)
class Method:
    """A way to take I(g; w) into account; a value, and a static argument of compiled functions.

    Attributes
    ----------
    name : str
        The string that stands for the method with its default settings; every class has its own.
    kind : str
        What training with it maximises: L_G itself ("exact"), a "lower" or an "upper" bound of it,
        or neither ("approximate"). There is no default.
    needs_key : bool
        Whether `pointwise` draws random numbers.
    evaluation_draws : int
        Draws of w that evaluate a finished fit.
    """

    name: ClassVar[str | None] = None
    kind: ClassVar[str]
    needs_key: ClassVar[bool] = False
    evaluation_draws: ClassVar[int] = 1000

    def check(self, symmetry: Symmetry, argument: str) -> None:
        """ValueError about the user's `argument` unless the method can do the group."""

    def draws_at_once(self, symmetry: Symmetry) -> int:
        """How many draws of w to work on together."""
        return DRAWS_AT_ONCE

    def pointwise(self, q: MeanField, params: dict, key):
        """What one draw w of q adds in nats: log q(w) - log q_G(w), or its bound. A scalar."""
        return 0.0

    def start(self, q: MeanField):
        """The state, a pytree, from which :meth:`closed_form` begins in the first step."""
        return {}

    def closed_form(self, q: MeanField, state) -> tuple:
        """What needs no draws, in nats, for a step of training: ``(value, next state)``.

        Warm starts make it cheap, and it may be looser than :meth:`final_closed_form`, on the same
        side. Without one of its own it is that.
        """
        return self.final_closed_form(q), state

    def final_closed_form(self, q: MeanField):
        """What needs no draws, in nats, for a posterior as it is: as tight as it goes. A scalar."""
        return 0.0

    def log_density(self, q: MeanField, params: dict):
        """log q(w) less the method's log q(w) - log q_G(w), in nats; for methods without a key."""
        return q.log_prob(params) - self.pointwise(q, params, None) - self.final_closed_form(q)

    def measure(self, q: MeanField, params: dict, key):
        """What :meth:`estimate` averages of one draw: :meth:`pointwise`, or a tuple of bounds."""
        return self.pointwise(q, params, key)

    def estimate(self, q: MeanField, key, num_samples: int) -> Estimate | Bounds:
        """I(g; w) by `num_samples` draws of w, in nats."""
        drawn = np.asarray(measured(q, key, self, num_samples))
        return from_samples(drawn + float(self.final_closed_form(q)), self.kind)


@dataclass(frozen=True)
class Plain(Method):
    """No symmetrizing: L itself. What ``symmetrize=None`` stands for."""

    kind: ClassVar[str] = "exact"

    def __str__(self) -> str:
        return "None"  # as the argument spells it

    def estimate(self, q: MeanField, key, num_samples: int) -> Estimate:
        """Refused: L has no orbit information."""
        wanted = "a method that takes I(g; w) into account"
        raise expected("method", wanted, "Plain()", "pass for example method='exact'")


@partial(jax.jit, static_argnames=("method", "num_samples"))
def measured(q: MeanField, key, method: Method, num_samples: int):
    """``method.measure`` of `num_samples` draws of q: arrays of shape ``(num_samples,)``."""
    k_weights, k_group = jax.random.split(key)
    draws = q.sample(k_weights, num_samples)
    keys = jax.random.split(k_group, num_samples)

    def one(draw_and_key):
        return method.measure(q, *draw_and_key)

    return jax.lax.map(one, (draws, keys), batch_size=method.draws_at_once(q.symmetry))


def matrices_at_once(symmetry: Symmetry) -> int:
    """How many draws to work on together, each with n x n matrices: a million entries at most."""
    size = max((group.size for group in symmetry.groups), default=1)
    return max(1, min(DRAWS_AT_ONCE, MATRIX_ENTRIES_AT_ONCE // size**2))


def warn_if_trivial(symmetry: Symmetry, stacklevel: int = 3) -> None:
    """Say that a group of the identity alone has nothing to average: I(g; w) = 0."""
    if symmetry.log_order == 0:
        text = (
            "the symmetry of q holds only the identity, so symmetrizing changes nothing and "
            "I(g; w) = 0; give the posterior its network's symmetry if it should have one"
        )
        warnings.warn(text, stacklevel=stacklevel)
