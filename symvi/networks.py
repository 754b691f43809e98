"""Networks: an initialiser, a forward pass and a symmetry, on a flat dict of named arrays."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from symvi.checks import one_of
from symvi.symmetry import Symmetry, UnitGroup

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "erf": jax.scipy.special.erf,
    "sin": jnp.sin,
}
ODD = ("tanh", "erf", "sin")


@dataclass(frozen=True)
class MLP:
    """A fully connected network with interchangeable hidden units.

    Weights are called W1 (d_in, d_1), b1 (d_1,), W2, b2, ... and applied as ``x @ W + b``.

    Parameters
    ----------
    widths : sequence of int
        ``[d_in, hidden..., d_out]``.
    activation : str
        One of relu, tanh, gelu, erf, sin.
    bias : bool
        Whether layers have biases.
    fixed_output : float or None
        If given, the last layer is not learned: its weights all equal this number and it has no bias, so
        f(x) = c sum_i act(w_i . x + b_i). With ``MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)`` this is the
        tractable network of Gelberg et al. (2024), section 5.1.
    signed : bool
        Whether :attr:`symmetry` has sign flips too; the activation must be odd.
    """

    widths: tuple
    activation: str = "relu"
    bias: bool = True
    fixed_output: float | None = None
    signed: bool = False

    def __post_init__(self):
        try:
            widths = tuple(self.widths)
            good = len(widths) >= 3 and all(
                isinstance(w, int) and not isinstance(w, bool) and w >= 1 for w in widths
            )
        except TypeError:
            good, widths = False, self.widths
        if not good:
            raise ValueError(
                f"widths: expected at least three whole numbers >= 1 [inputs, hidden..., outputs], got {self.widths!r}; pass for example [1, 50, 1]"
            )
        object.__setattr__(self, "widths", widths)
        one_of("activation", self.activation, tuple(ACTIVATIONS))
        if self.signed and self.activation not in ODD:
            raise ValueError(
                f"signed: expected an odd activation {ODD}, got {self.activation!r}, for which flipping signs changes the function; use signed=False"
            )
        if self.signed and self.fixed_output is not None:
            raise ValueError(
                "signed: expected a learned output layer, got fixed_output, which cannot undo a sign flip; use signed=False"
            )
        if self.fixed_output is not None and widths[-1] != 1:
            raise ValueError(
                f"fixed_output: expected one output, got widths {widths}; end widths with 1 or learn the output layer"
            )

    @property
    def shapes(self) -> dict:
        """The shape of each parameter by name, in sorted order of names."""
        out = {}
        layers = len(self.widths) - 1 - (self.fixed_output is not None)
        for layer in range(1, layers + 1):
            out[f"W{layer}"] = self.widths[layer - 1 : layer + 1]
            if self.bias:
                out[f"b{layer}"] = (self.widths[layer],)
        return dict(sorted(out.items()))

    @property
    def symmetry(self) -> Symmetry:
        """The group S_{d_1} x ... x S_{d_{L-1}} (Gelberg et al. 2024, Definition 2.1), signed if asked."""
        groups = []
        for layer in range(1, len(self.widths) - 1):
            axes = [(f"W{layer}", 1), (f"b{layer}", 0), (f"W{layer + 1}", 0)]
            groups.append(
                UnitGroup(
                    f"hidden{layer}",
                    self.widths[layer],
                    tuple(a for a in axes if a[0] in self.shapes),
                )
            )
        return Symmetry(tuple(groups), self.signed)

    def init(self, key) -> dict:
        """Random weights: N(0, 1 / fan-in) for matrices and N(0, 1) times 0.1 for biases."""
        params = {}
        for index, (name, shape) in enumerate(self.shapes.items()):
            scale = shape[0] ** -0.5 if len(shape) == 2 else 0.1
            params[name] = scale * jax.random.normal(jax.random.fold_in(key, index), shape)
        return params

    def apply(self, params: dict, x) -> jax.Array:
        """The outputs f_w(x), shape ``(N, d_out)``, for inputs `x` of shape ``(N, d_in)``.

        Raises ValueError when x or a parameter has the wrong shape.
        """
        if jnp.ndim(x) != 2 or jnp.shape(x)[1] != self.widths[0]:
            raise ValueError(
                f"x: expected shape (N, {self.widths[0]}), got {jnp.shape(x)}; reshape it, for example x.reshape(-1, {self.widths[0]})"
            )
        for name, shape in self.shapes.items():
            if name not in params or jnp.shape(params[name]) != tuple(shape):
                got = jnp.shape(params[name]) if name in params else "no such parameter"
                raise ValueError(
                    f"params[{name!r}]: expected shape {tuple(shape)}, got {got}; pass weights of this network, one set at a time"
                )
        activation, last = ACTIVATIONS[self.activation], len(self.widths) - 1
        hidden = x
        for layer in range(1, last + 1):
            if layer == last and self.fixed_output is not None:
                return self.fixed_output * hidden.sum(axis=1, keepdims=True)
            hidden = hidden @ params[f"W{layer}"]
            if self.bias:
                hidden = hidden + params[f"b{layer}"]
            if layer < last:
                hidden = activation(hidden)
        return hidden
