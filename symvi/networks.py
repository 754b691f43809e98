"""Networks: an initialiser, a forward pass and a symmetry, on a flat dict of named arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp

from symvi.checks import (
    as_numbers,
    as_scalar,
    described,
    expected,
    flag,
    is_finite,
    one_of,
    required_key,
)
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
        If given, the last layer is not learned: its weights all equal this number and it has no
        bias, so f(x) = c sum_i act(w_i . x + b_i). With
        ``MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)`` this is the tractable network of
        Gelberg et al. (2024), section 5.1.
    signed : bool
        Whether :attr:`symmetry` has sign flips too; the activation must be odd.

    Raises
    ------
    ValueError
        Fewer than three widths, an activation that is not listed, or settings that do not go
        together.
    """

    widths: tuple
    activation: str = "relu"
    bias: bool = True
    fixed_output: float | None = None
    signed: bool = False

    def __post_init__(self):
        widths = _widths(self.widths)
        one_of("activation", self.activation, tuple(ACTIVATIONS))
        checked = {
            "widths": widths,
            "bias": flag("bias", self.bias),
            "fixed_output": _number_or_none(self.fixed_output),
            "signed": flag("signed", self.signed),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.signed:
            self._check_signed()
        if self.fixed_output is not None and self.widths[-1] != 1:
            remedy = "end widths with 1 or learn the output layer"
            raise expected("fixed_output", "one output", f"widths {self.widths}", remedy)

    def _check_signed(self) -> None:
        if self.activation not in ODD:
            got = f"{self.activation!r}, for which flipping signs changes the function"
            raise expected("signed", f"an odd activation {ODD}", got, "use signed=False")
        if self.fixed_output is not None:
            got = "fixed_output, which cannot undo a sign flip"
            raise expected("signed", "a learned output layer", got, "use signed=False")

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

    @cached_property
    def symmetry(self) -> Symmetry:
        """The group S_{d_1} x ... x S_{d_{L-1}} (Gelberg et al. 2024, Definition 2.1).

        Signed if asked.
        """
        groups = []
        for layer in range(1, len(self.widths) - 1):
            axes = [(f"W{layer}", 1), (f"b{layer}", 0), (f"W{layer + 1}", 0)]
            learned = tuple(axis for axis in axes if axis[0] in self.shapes)
            groups.append(UnitGroup(f"hidden{layer}", self.widths[layer], learned))
        return Symmetry(tuple(groups), self.signed)

    def init(self, key) -> dict:
        """Random weights: N(0, 1 / fan-in) for matrices and N(0, 1) times 0.1 for biases.

        Raises ValueError unless `key` is one JAX key.
        """
        key, params = required_key(key), {}
        for index, (name, shape) in enumerate(self.shapes.items()):
            scale = shape[0] ** -0.5 if len(shape) == 2 else 0.1
            params[name] = scale * jax.random.normal(jax.random.fold_in(key, index), shape)
        return params

    def apply(self, params: dict, x) -> jax.Array:
        """The outputs f_w(x), shape ``(N, d_out)``, for inputs `x` of shape ``(N, d_in)``.

        Raises ValueError when x or a parameter is missing, no array of numbers or has the wrong
        shape.
        """
        hidden = as_numbers("x", x)
        if hidden.ndim != 2 or hidden.shape[1] != self.widths[0]:
            remedy = f"reshape it, for example x.reshape(-1, {self.widths[0]})"
            raise expected("x", f"shape (N, {self.widths[0]})", hidden.shape, remedy)
        params = self._checked(params)
        activation, last = ACTIVATIONS[self.activation], len(self.widths) - 1
        for layer in range(1, last + 1):
            if layer == last and self.fixed_output is not None:
                return self.fixed_output * hidden.sum(axis=1, keepdims=True)
            hidden = hidden @ params[f"W{layer}"]
            if self.bias:
                hidden = hidden + params[f"b{layer}"]
            if layer < last:
                hidden = activation(hidden)
        return hidden

    def _checked(self, params: dict) -> dict:
        """The weights as arrays; ValueError unless each has its shape."""
        if not isinstance(params, dict):
            remedy = "pass a dict, as net.init(key) returns"
            raise expected("params", "a dict of named arrays", described(params), remedy)
        arrays = {}
        for name, shape in self.shapes.items():
            got = "no such parameter"
            if name in params:
                arrays[name] = as_numbers(f"params[{name!r}]", params[name])
                got = arrays[name].shape
            if got != shape:
                remedy = "pass weights of this network, one set at a time"
                raise expected(f"params[{name!r}]", f"shape {shape}", got, remedy)
        return arrays


def _widths(widths) -> tuple:
    """`widths` as a tuple of ints; ValueError unless they are at least three whole numbers."""
    try:
        sizes = tuple(as_scalar(width) for width in widths)
    except TypeError:
        sizes = ()
    if len(sizes) < 3 or not all(isinstance(size, int) and size >= 1 for size in sizes):
        wanted = "at least three whole numbers >= 1 [inputs, hidden..., outputs]"
        raise expected("widths", wanted, described(widths), "pass one list, for example [1, 50, 1]")
    return sizes


def _number_or_none(value) -> float | None:
    """`fixed_output` as it was given, if it is a finite number or None."""
    if value is None:
        return None
    number = as_scalar(value)
    if number is None or not is_finite(number):
        remedy = "pass for example fixed_output=1.0"
        raise expected("fixed_output", "a finite number or None", described(value), remedy)
    return number
