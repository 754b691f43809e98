"""Networks stated in PyTorch: an ``nn.Module`` becomes a network with its permutation symmetry.

PyTorch's own export reduces the module to core operations, which are run by JAX; the symmetry is
read from JAX's program as for any other function, and verified.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import jax
import numpy as np

from symvi.checks import described, expected, flag, needs, one_of
from symvi.symmetry import Symmetry
from symvi.torch_bridge.network import TorchNetwork
from symvi.torch_bridge.torch_export import Exported, exported, in_double
from symvi.tracing import verify as checking
from symvi.tracing.choice import Choice
from symvi.tracing.found import label

STATISTICS = ("fixed", "travelling")
ROWS = 5  # of the comparison with the module


def from_torch(
    module,
    example_input,
    *,
    statistics: str = "fixed",
    functions: dict | None = None,
    symmetry: Symmetry | None = None,
    signed: bool = False,
    exact: bool = False,
) -> TorchNetwork:
    """Turn a PyTorch module into a network with a permutation symmetry.

    The forward pass is that of eval mode: ``torch.export`` reduces it to PyTorch's core operations,
    which are rewritten in JAX. Symmetry is read from the program as :func:`find_symmetry` does;
    what cannot be analysed keeps its units in place and is listed in ``notes``. Before returning,
    outputs are compared with the module's and the symmetry is verified, both in float64 with random
    inputs, weights and buffers.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied, not changed. Parameters need one floating dtype.
    example_input : tensor or array (N, ...)
        A batch of inputs, or of whole numbers (tokens); only its shape and dtype matter.
    statistics : "fixed" or "travelling"
        Running statistics of BatchNorm as fixed data, which keeps apart units whose statistics
        differ, or as parameters that move with their units (for comparing trained networks; not for
        a :class:`BNN`, since variances have no Gaussian prior).
    functions : dict, optional
        JAX functions for operations that are not supported, by the function that the module calls,
        the name of a tensor's method, or a class of layers; the last are called with a dict of the
        layer's own parameters first. All that they touch stays in place.
    symmetry : Symmetry, optional
        A symmetry written by hand, instead of the one that is found. It is verified too.
    signed : bool
        Whether groups whose units may change sign hold these changes too, as in
        :func:`find_symmetry`.
    exact : bool
        Whether to count the whole permutation group as well, as :func:`find_symmetry` does. Not
        together with a symmetry written by hand, for which nothing is read.

    Raises
    ------
    ValueError
        No module, control flow that depends on data, unsupported operations or settings (named,
        with the way round), parameters of several dtypes, an example that does not fit, rows that
        influence each other, a network too large to count its group, or a symmetry that is none.
    ImportError
        ``exact=True`` without igraph.
    """
    torch = needs("torch", "torch", "symvi.from_torch")
    one_of("statistics", statistics, STATISTICS)
    signed, exact = flag("signed", signed), flag("exact", exact)
    if signed and symmetry is not None:
        remedy = "pass symvi.Symmetry(groups, signed=True) as symmetry"
        raise expected("signed", "False beside a symmetry written by hand", signed, remedy)
    if exact and symmetry is not None:
        remedy = "leave the symmetry out to count the group, and compare its log_order with that"
        raise expected("exact", "False beside a symmetry written by hand", exact, remedy)
    made = exported(module, example_input, functions)
    travelling = _statistics(made) if statistics == "travelling" else ()
    weights = made.weights | {name: made.data[name] for name in travelling}
    data = {name: value for name, value in made.data.items() if name not in travelling}
    values = {name: weights[name] for name in sorted(weights)}
    if symmetry is not None:
        if not isinstance(symmetry, Symmetry):
            remedy = "pass symvi.Symmetry(groups), or leave it out"
            raise expected("symmetry", "a symvi.Symmetry", described(symmetry), remedy)
        symmetry.check_weights(values)
    net = TorchNetwork(
        {name: value.shape for name, value in values.items()},
        symmetry,
        symmetry,
        made.input_shape,
        made.output_shape,
        (),
        travelling,
        made,
        values,
        data,
        _scales(torch, module, travelling),
        copy.deepcopy(module).cpu().eval(),
    )
    if symmetry is None:
        net = replace(net, **_found(net, signed, exact)._asdict())
    random = [name for name in made.buffers if name in data] if symmetry is None else []
    _verify(torch, net, example_input, random)
    return net


def _found(net: TorchNetwork, signed: bool, exact: bool) -> Choice:
    """The symmetry by its labels, in float64."""
    made, named, known = net._made, {}, {}
    for name, value in net._data.items():
        if value.dtype.kind == "f":
            kind = "buffer" if name in made.buffers else "fixed tensor"
            named[name] = (value, f"{kind} {name!r}")
        else:
            known[name] = value  # indices and masks are part of the program

    def run(params, data, row):
        return net._run(params, data | known, row)

    with jax.enable_x64(True):
        x = jax.ShapeDtypeStruct((1, *made.input_shape), made.dtype)
        return label(run, net.shapes, x, named, signed=signed, exact=exact)


def _statistics(made: Exported) -> tuple:
    """The names of BatchNorm's running statistics."""
    own = ("running_mean", "running_var")
    return tuple(sorted(name for name in made.buffers if name.rpartition(".")[2] in own))


def _scales(torch, module, travelling) -> frozenset:
    """The names of the scales and variances of norms."""
    norms = [torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.RMSNorm]
    norms.append(torch.nn.modules.batchnorm._NormBase)
    scales = {name for name in travelling if name.endswith("running_var")}
    for name, layer in module.named_modules():
        if isinstance(layer, tuple(norms)):
            scales.add(f"{name}.weight" if name else "weight")
    return frozenset(scales)


def _verify(torch, net: TorchNetwork, example, random: list) -> None:
    """Outputs equal to the module's, rows independent and the symmetry true.

    In float64 with random inputs, weights and buffers (those named in `random`).
    """
    rng, data = np.random.default_rng(0), dict(net._data)
    for name in random:
        data[name] = _random_buffer(rng, data[name])
    x = _random_inputs(rng, net, example)
    weights = {name: checking.like(value, rng) for name, value in net._values.items()}
    wanted = _module_outputs(torch, net, weights | {n: data[n] for n in random}, x)
    if not np.isfinite(wanted).all():
        remedy = "give the module weights for which its outputs are finite"
        raise expected("module", "finite outputs for random weights", "NaN or infinity", remedy)
    with jax.enable_x64(True):
        # Two rows a call: for one, XLA would copy each weight of a product to turn it.
        run = checking.compiled(net._rows, weights, data, x[:2])
        pairs = np.arange(ROWS + ROWS % 2).reshape(-1, 2) % ROWS
        ours = np.concatenate([run(weights, data, x[pair]) for pair in pairs])[:ROWS]
        size = max(1.0, np.abs(wanted).max())
        change = float(np.abs(ours - wanted).max() / size)
        if not change <= checking.TOLERANCE:
            want = f"the JAX function to equal the module's outputs to {checking.TOLERANCE:g}"
            got = f"a relative difference of {change:.3g}"
            raise expected("module", want, got, "avoid in-place changes and hooks")
        checking.verify(net.nested, lambda w: run(w, data, x[:2]), weights)


def _random_inputs(rng, net: TorchNetwork, example) -> np.ndarray:
    shape = (ROWS, *net.input_shape)
    if net._made.dtype.kind == "f":
        return rng.normal(size=shape)
    example = np.asarray(example)
    most = int(example.max()) + 1
    return rng.integers(int(example.min()), most, size=shape).astype(net._made.dtype)


def _random_buffer(rng, value: np.ndarray) -> np.ndarray:
    """Random numbers, equal where `value` is: that is all that the labels know of a buffer."""
    if value.dtype.kind != "f":
        return value
    distinct, index = np.unique(value, return_inverse=True)
    return rng.uniform(0.5, 1.5, distinct.shape)[index].reshape(value.shape)


def _module_outputs(torch, net: TorchNetwork, state: dict, x) -> np.ndarray:
    """The module's own outputs; ValueError unless rows are free in number and independent."""
    module = copy.deepcopy(net._module).double()
    state = {name: torch.tensor(np.array(value)) for name, value in state.items()}

    def outputs(rows):
        return torch.func.functional_call(module, state, (torch.tensor(rows),)).numpy()

    try:
        with in_double(torch):
            wanted, first = outputs(x), outputs(x[:2])
    except Exception as error:
        got = f"{type(error).__name__} for {ROWS} and 2: {(str(error).splitlines() or [''])[0]}"
        remedy = "use x.shape[0] or -1 for the number of data"
        raise expected("module", "any number of rows", got, remedy) from error
    close = checking.TOLERANCE * max(1.0, np.abs(wanted).max())
    if not np.abs(wanted[:2] - first).max() <= close:
        want = "each row of the output to depend on its own row of the input"
        got = "rows that influence each other"
        raise expected("module", want, got, "keep the first axis apart")
    return wanted
