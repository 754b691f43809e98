"""What a network stated in PyTorch is on the JAX side: a forward pass of named arrays."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import as_numbers, check_parameters, expected, needs, required_key
from symvi.symmetry import Nested, Symmetry
from symvi.tracing.exact import beside_exact


@dataclass(frozen=True, eq=False)
class TorchNetwork:
    """A network made by :func:`symvi.from_torch`, used like :class:`MLP`.

    Parameters have the module's own names, as ``"0.weight"``.

    Attributes
    ----------
    shapes : dict
        The shape of each parameter by name, in sorted order of names.
    symmetry : Symmetry
        The units that may be exchanged, verified; a group is called after the first layer that it
        moves. A product, which all of symvi takes. With ``signed=True`` it changes signs too.
    nested : Nested or Symmetry
        The same group with exchanges of whole blocks, such as heads; verified too.
    input_shape : tuple
        The shape of one datum's input.
    output_shape : tuple
        The shape of one datum's output.
    notes : tuple of str
        What keeps units in place besides inputs and outputs, and what the product does not hold:
        exchanges of blocks, signs, scales.
    travelling : tuple of str
        The BatchNorm statistics that count as parameters.
    exact_log_order : float or None
        With ``exact=True``, the log number (nats) of all permutations of the model of the network
        that is read from its program; signs are not counted. Where it equals the log order of the
        permutations in ``nested``, these are provably all. It is counted, and not verified.
    """

    shapes: dict
    symmetry: Symmetry
    nested: Symmetry | Nested
    input_shape: tuple
    output_shape: tuple
    notes: tuple
    travelling: tuple
    _made: object = field(repr=False)
    _values: dict = field(repr=False)
    _data: dict = field(repr=False)
    _scales: frozenset = field(repr=False)
    _module: object = field(repr=False)
    exact_log_order: float | None = None

    def __repr__(self) -> str:
        num_weights = sum(math.prod(shape) for shape in self.shapes.values())
        sizes = f"{self.input_shape} to {self.output_shape}, {num_weights} weights"
        group = f"{self.symmetry!r}{beside_exact(self.nested, self.exact_log_order)}"
        return f"TorchNetwork({sizes}, {group}, {len(self.notes)} notes)"

    @property
    def widths(self) -> tuple:
        """The numbers of inputs and of outputs."""
        return int(np.prod(self.input_shape)), int(np.prod(self.output_shape))

    @property
    def params(self) -> dict:
        """The weights of the module when it was traced, as arrays of JAX's default float type."""
        return {name: jnp.asarray(self._values[name], float) for name in self.shapes}

    def init(self, key) -> dict:
        """Random weights.

        N(0, 1 / fan-in) for matrices and kernels, N(0, 1) times 0.1 for vectors, exp of that for
        scales of a norm. Raises ValueError unless `key` is one JAX key.
        """
        key, noise = required_key(key), {}
        for index, (name, shape) in enumerate(self.shapes.items()):
            noise[name] = jax.random.normal(jax.random.fold_in(key, index), shape)
        return self._from_noise(noise)

    def _from_noise(self, noise: dict) -> dict:
        out = {}
        for name, shape in self.shapes.items():
            if name in self._scales:
                out[name] = jnp.exp(0.1 * noise[name])  # as a variance must be
            else:
                scale = 0.1 if len(shape) < 2 else 1 / np.sqrt(np.prod(shape[1:]))
                out[name] = noise[name] * scale
        return out

    def apply(self, params: dict, x) -> jax.Array:
        """The module's forward pass in eval mode, shape ``(N, *output_shape)``.

        Inputs have shape ``(N, *input_shape)``. Raises ValueError when x or a parameter has the
        wrong shape.
        """
        x = as_numbers("x", x)
        if x.ndim == 0 or x.shape[1:] != self.input_shape:
            sizes = ", ".join(map(str, self.input_shape))
            remedy = f"reshape it, for example x.reshape(-1, {sizes})"
            raise expected("x", f"shape (N, {sizes})", x.shape, remedy)
        check_parameters(self.shapes, params)
        data = {}
        for name, value in self._data.items():
            data[name] = _floats(value) if value.dtype.kind == "f" else jnp.asarray(value)
        return self._rows(params, data, x)

    def _run(self, params: dict, data: dict, row) -> jax.Array:
        """The output for one datum, with its axis of data."""
        return self._made.run(*self._parted(params, data), row)

    def _rows(self, params: dict, data: dict, x) -> jax.Array:
        """The outputs for the rows of `x`."""
        return self._made.apply(*self._parted(params, data), x)

    def _parted(self, params: dict, data: dict) -> tuple:
        """Parameters and data as the module has them: statistics that travel are its data."""
        moved = {name: params[name] for name in self.travelling}
        return {name: params[name] for name in self.shapes if name not in moved}, data | moved

    def to_torch(self, params: dict) -> dict:
        """One set of weights as a state_dict, buffers included, for ``module.load_state_dict``.

        The module's own dtype is kept. The network is the module in eval mode: call
        ``module.eval()`` to predict.
        """
        torch = needs("torch", "torch", "to_torch")
        check_parameters(self.shapes, params)
        tensors = (*self._module.named_parameters(), *self._module.named_buffers())
        names = {id(tensor): name for name, tensor in tensors}
        out = {}
        for key, value in self._module.state_dict(keep_vars=True).items():
            name = names.get(id(value), key)  # a shared parameter has several keys
            if name in params:
                out[key] = torch.tensor(np.array(params[name]), dtype=value.dtype)
            else:
                out[key] = copy.deepcopy(value)
        return out

    def predict_torch(self, samples: dict, x):
        """The PyTorch module's outputs for each of `samples`, arrays ``(num, *shape)``.

        A tensor ``(num, N, *output_shape)``, by one call of ``torch.func.functional_call`` under
        ``torch.func.vmap``; `x` has shape ``(N, *input_shape)``.
        """
        torch = needs("torch", "torch", "predict_torch")
        check_parameters(self.shapes, samples, lead=1)
        dtype = next(self._module.parameters()).dtype
        samples = {name: torch.tensor(np.array(samples[name]), dtype=dtype) for name in self.shapes}
        x = torch.as_tensor(x if isinstance(x, torch.Tensor) else np.array(x))
        x = x.to(dtype) if self._made.dtype.kind == "f" else x

        def outputs(weights):
            return torch.func.functional_call(self._module, weights, (x,))

        with torch.no_grad():
            try:
                return torch.func.vmap(outputs)(samples)
            except RuntimeError:  # layers such as LSTM cannot be mapped
                num = len(next(iter(samples.values())))
                rows = ({name: value[i] for name, value in samples.items()} for i in range(num))
                return torch.stack([outputs(row) for row in rows])


def _floats(value: np.ndarray) -> jax.Array:
    """An array of JAX's float type, its finite entries within what that holds."""
    most = float(jnp.finfo(jnp.result_type(float)).max)
    return jnp.asarray(np.where(np.isfinite(value), np.clip(value, -most, most), value), float)
