"""A network that is linear in its weights: the first-order expansion of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax

from symvi.models import BNN
from symvi.symmetry import Symmetry


@dataclass(frozen=True, eq=False)
class LinearizedNetwork:
    """f(x; w) = f(x; w*) + J(x) (w - w*), with J(x) = df/dw at w*.

    With it in place of the network, a BNN is a generalised linear model (Immer, Korzepa and Bauer
    2021). It has the network's parameters, but not its symmetry: relabelled weights give another
    function.

    Parameters
    ----------
    net : a network
    center : dict of arrays
        w*: one set of weights of `net`.
    """

    net: object
    center: dict
    symmetry: ClassVar[Symmetry] = Symmetry()

    @property
    def shapes(self) -> dict:
        """The shape of each parameter by name, as in the network."""
        return self.net.shapes

    @property
    def widths(self) -> tuple:
        """The widths of the network."""
        return self.net.widths

    @property
    def input_shape(self) -> tuple:
        """The shape of one input."""
        return tuple(getattr(self.net, "input_shape", self.net.widths[:1]))

    def init(self, key) -> dict:
        """Random weights, by the network's own initialiser."""
        return self.net.init(key)

    def apply(self, params: dict, x) -> jax.Array:
        """The outputs, shape ``(N, d_out)``, for inputs `x` of the network."""

        def outputs(weights):
            return self.net.apply(weights, x)

        center = {name: self.center[name] for name in self.shapes}
        move = {name: params[name] - value for name, value in center.items()}
        value, slope = jax.jvp(outputs, (center,), (move,))
        return value + slope


def linearized(bnn: BNN, center: dict) -> BNN:
    """`bnn` with its network linearised at the weights `center`."""
    return BNN(LinearizedNetwork(bnn.net, center), bnn.likelihood, bnn.prior_scale)
