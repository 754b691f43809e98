"""Networks stated in PyTorch: an ``nn.Module`` becomes a network with its permutation symmetry."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from symvi.checks import expected, needs, one_of
from symvi.symmetry import Symmetry
from symvi.torch_bridge.network import WAY_ROUND, Ref, Step, TorchNetwork, fill
from symvi.torch_bridge.ops import ALIASES, MODULES, Traced, pin_rule
from symvi.torch_bridge.shapes import OPS
from symvi.torch_bridge.unit_labels import Labels

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-10  # of both checks, in float64
STATISTICS = ("fixed", "travelling")
ONE_OUTPUT = "return one tensor with a row for each datum"


def from_torch(
    module,
    example_input,
    *,
    statistics: str = "fixed",
    functions: dict | None = None,
    symmetry: Symmetry | None = None,
) -> TorchNetwork:
    """Turn a PyTorch module into a network with a permutation symmetry, traced by ``torch.fx``.

    The forward pass is that of eval mode, rewritten in JAX. Symmetry is found by labelling units
    and following them through the operations; what cannot be analysed keeps its units in place and
    is listed in ``notes``. Before returning, outputs are compared with the module's and the
    symmetry is verified, both in float64 with random inputs, weights and buffers.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied, not changed. Parameters need one floating dtype.
    example_input : tensor or array (N, ...)
        A batch of inputs; only its shape and dtype matter.
    statistics : "fixed" or "travelling"
        Running statistics of BatchNorm as fixed data, which keeps apart units whose statistics
        differ, or as parameters that move with their units (for comparing trained networks; not for
        a :class:`BNN`, since variances have no Gaussian prior).
    functions : dict, optional
        JAX functions for operations that are not supported, by the function that the module calls,
        the name of a tensor's method, or a class of layers; the last are called with a dict of the
        layer's own parameters first. All that they touch stays in place.
    symmetry : Symmetry, optional
        A symmetry written by hand, instead of the one found by tracing. It is verified too.

    Raises
    ------
    ValueError
        No module, control flow that depends on data, unsupported operations or settings (named,
        with the way round), parameters of several dtypes, an example that does not fit, rows that
        influence each other, or a symmetry that is none.
    """
    torch = needs("torch", "torch", "symvi.from_torch")
    one_of("statistics", statistics, STATISTICS)
    functions = {} if functions is None else dict(functions)
    example = _checked(torch, module, example_input)
    try:
        module = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:
        remedy = "remove hooks that compute weights, as weight_norm does"
        raise expected("module", "one that can be copied", error, remedy) from error
    double = copy.deepcopy(module).double()
    graph = _trace(torch, double, functions)
    records = _record(torch, double, graph, example.double())

    weights, buffers = dict(double.named_parameters()), dict(double.named_buffers())
    travelling = _statistics(buffers) if statistics == "travelling" else ()
    weights.update({name: buffers[name] for name in travelling})
    lowering = _Lowering(torch, double, functions, weights)
    steps, output = lowering.run(graph)
    made = records[output.name]
    if not isinstance(made, torch.Tensor) or made.ndim < 1:
        wanted = "one output tensor of shape (N, ...)"
        raise expected("module", wanted, type(made).__name__, ONE_OUTPUT)

    values = {name: weights[name].detach().numpy() for name in sorted(weights)}
    shapes = {name: value.shape for name, value in values.items()}
    data = lowering.data
    sizes = tuple(example.shape[1:]), tuple(made.shape[1:])
    net = TorchNetwork(
        shapes, symmetry, *sizes, (), travelling, steps, output, values, data, module
    )
    # refuses settings that are not supported
    jax.eval_shape(net._run, values, data, example.double().numpy())
    found, notes = _label(torch, steps, output, records, shapes, data)
    net = replace(net, symmetry=found if symmetry is None else symmetry, notes=notes)
    random = [name for name in buffers if name in data] if symmetry is None else []
    _verify(torch, net, double, {name for name in buffers if name in data}, random)
    return net


def _statistics(buffers) -> tuple:
    """The names of BatchNorm's running statistics."""
    own = ("running_mean", "running_var")
    return tuple(sorted(name for name in buffers if name.rpartition(".")[2] in own))


def _checked(torch, module, example) -> torch.Tensor:
    """The example as a tensor, if module and example are of the right kind."""
    if not isinstance(module, torch.nn.Module):
        remedy = "pass an instance, for example torch.nn.Sequential(...)"
        raise expected("module", "a torch.nn.Module", type(module).__name__, remedy)
    dtypes = {p.dtype for p in module.parameters()}
    if len(dtypes) != 1 or not all(d.is_floating_point for d in dtypes):
        got = ", ".join(sorted(map(str, dtypes))) or "no parameters"
        remedy = "convert them with module.float() or module.double()"
        raise expected("module", "parameters of one floating dtype", got, remedy)
    if isinstance(example, torch.Tensor):
        example = example.detach().cpu()
    else:
        example = torch.as_tensor(np.array(example))
    if not example.is_floating_point() or example.ndim < 2 or not len(example):
        wanted = "floating numbers of shape (N, ...), N >= 1"
        got = f"{example.dtype} of shape {tuple(example.shape)}"
        raise expected("example_input", wanted, got, "pass a batch of inputs")
    return example


def _trace(torch, module, functions):
    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m, name):
            return type(m) in functions or super().is_leaf_module(m, name)

    try:
        graph = Tracer().trace(module)
    except Exception as error:  # whatever the module does to a tensor that has no values yet
        wanted = "a forward pass that torch.fx can trace"
        got = f"{type(error).__name__}: {error}"
        remedy = "avoid control flow that depends on data"
        raise expected("module", wanted, got, remedy) from error
    inputs = [n.name for n in graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1:
        remedy = "wrap it in a module whose forward takes one tensor"
        raise expected("module", "one input", inputs, remedy)
    return graph


def _record(torch, module, graph, example) -> dict:
    """The value of each node for the example."""
    records = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, node):
            records["" if node.op == "placeholder" else node.name] = value = super().run_node(node)
            return value

    try:
        with torch.no_grad():
            Recorder(torch.fx.GraphModule(module, graph)).run(example)
    except Exception as error:
        got = f"shape {tuple(example.shape)} ({type(error).__name__}: {_first_line(error)})"
        remedy = "pass inputs of shape (N, ...)"
        raise expected("example_input", "a batch that the module accepts", got, remedy) from error
    return records


class _Lowering:
    """The graph's nodes as steps of the forward pass; fixed tensors are collected in `data`."""

    def __init__(self, torch, module, functions, weights):
        self.torch, self.module, self.functions = torch, module, functions
        self.names = {id(tensor): name for name, tensor in weights.items()}
        self.fixed = {id(tensor): name for name, tensor in module.named_buffers()}
        self.data, self.nodes, self.steps = {}, {}, []

    def run(self, graph) -> tuple:
        """The steps, and where the output of the last stands."""
        for node in graph.nodes:
            if node.op == "placeholder":
                self.nodes[node] = Ref("node", "")
            elif node.op == "get_attr":
                owner, _, name = node.target.rpartition(".")
                value = getattr(self.module.get_submodule(owner), name)
                self.nodes[node] = self._tensor(value, node.target)
            elif node.op == "output":
                return tuple(self.steps), self._output(node.args[0])
            else:
                self.steps.append(self._step(node))
                self.nodes[node] = Ref("node", node.name)
        raise expected("module", "a forward pass that returns", "none", ONE_OUTPUT)

    def _output(self, value) -> Ref:
        if isinstance(value, self.torch.fx.Node) and self.nodes[value].kind == "node":
            return self.nodes[value]
        wanted = "one output tensor that depends on the input"
        raise expected("module", wanted, value, ONE_OUTPUT)

    def _step(self, node) -> Step:
        """One operation, by hand or known."""
        args = tuple(self._refs(value) for value in node.args)
        kwargs = {name: self._refs(value) for name, value in node.kwargs.items()}
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        called = self.module.get_submodule(node.target) if node.op == "call_module" else None
        key = node.target if called is None else type(called)
        if key in self.functions:
            own = () if called is None else (self._own(node, called),)
            function = self.functions[key]
            return Step(node.name, str(key), function, pin_rule, (*own, *args), kwargs)
        known = _operation(node, called)
        if known is None:
            layers = ", ".join(sorted(MODULES))
            remedy = f"use one of {', '.join(sorted(OPS))} or the layers {layers}; {WAY_ROUND}"
            name = f"module: node {node.name!r}"
            raise expected(name, "a supported operation", key, remedy)
        if called is not None:
            kwargs |= self._settings(node, called)
        return Step(node.name, known, *OPS[known], args, kwargs)

    def _own(self, node, called) -> dict:
        """A layer's own parameters by name, for a function given by hand."""
        own = {}
        for name, value in called.named_parameters():
            own[name] = self._tensor(value, f"{node.target}.{name}")
        return own

    def _settings(self, node, called) -> dict:
        """What an operation takes from its layer: tensors and settings."""
        _, tensors, settings = MODULES[type(called).__name__]
        out = {}
        for name in tensors:
            value = getattr(called, name)
            if value is not None:
                out[name] = self._tensor(value, f"{node.target}.{name}")
        for name in settings:
            out[name] = getattr(called, name)
        return out

    def _tensor(self, value, target: str) -> Ref | None:
        """A tensor of the module by name: a weight, or data under `target` if it has none."""
        if value is None:
            return None
        if id(value) in self.names:
            return Ref("weight", self.names[id(value)])
        name = self.fixed.get(id(value), target)
        self.data[name] = value.detach().numpy()
        return Ref("data", name)

    def _refs(self, value) -> Any:
        return self.torch.fx.node.map_arg(value, lambda node: self.nodes[node])


def _operation(node, called) -> str | None:
    """The name in OPS of what a node does, or None."""
    if called is not None:
        kind = type(called)
        known = kind.__module__.startswith("torch.nn.modules.") and kind.__name__ in MODULES
        return MODULES[kind.__name__][0] if known else None
    if callable(node.target):
        module = node.target.__module__ or ""
        if not module.startswith(("torch", "_operator", "builtins")):
            return None
    name = node.target if isinstance(node.target, str) else node.target.__name__
    name = ALIASES.get(name.removesuffix("_"), name.removesuffix("_"))
    return name if name in OPS else None


@dataclass
class _Following:
    """What is known of each value while units are followed through the steps."""

    labels: Labels
    shapes: dict
    data: dict
    env: dict
    fixed: dict

    def look(self, ref: Ref):
        if ref.kind == "node":
            return self.env[ref.name]
        if ref.kind == "weight":
            return Traced(self.labels.weight(ref.name, self.shapes[ref.name]), False)
        if ref.name not in self.fixed:
            axes = self.labels.data(ref.name, self.data[ref.name])
            self.fixed[ref.name] = Traced(axes, False)
        return self.fixed[ref.name]

    def step(self, step: Step, shape) -> None:
        """Label the result of one step, and say in its notes which step it was."""
        args, kwargs = fill((step.args, step.kwargs), self.look)
        name, notes = f"node {step.name!r} ({step.op})", self.labels.notes
        noted = len(notes)
        try:
            self.env[step.name] = step.rule(self.labels, shape, *args, **kwargs)
        except (TypeError, ValueError) as error:
            raise ValueError(f"module: {name}: {error}; {WAY_ROUND}") from error
        notes[noted:] = [f"{name}: {note}" for note in notes[noted:]]


def _label(torch, steps, output, records, shapes, data) -> tuple:
    """Follow units through the steps: the symmetry and notes on what was left in place."""
    labels = Labels()
    inputs = Traced([labels.fresh(n, pinned=True) for n in records[""].shape], True)
    following = _Following(labels, shapes, data, {"": inputs}, {})
    for step in steps:
        value = records[step.name]
        if isinstance(value, torch.Tensor):
            following.step(step, value.shape)
        elif _tensors(torch, value):
            following.step(step, [v.shape for v in value])
        else:
            following.env[step.name] = value  # a size
    for cells in following.env[output.name].axes:
        labels.pin(cells)
    symmetry = labels.symmetry()
    unused = [f"parameter {name!r} is not used" for name in shapes if name not in labels.slots]
    return symmetry, (*labels.notes, *unused)


def _tensors(torch, value) -> bool:
    """Whether a step gave several tensors."""
    return isinstance(value, (tuple, list)) and all(isinstance(v, torch.Tensor) for v in value)


def _verify(torch, net, module, buffers, random) -> None:
    """Outputs equal to the module's, rows independent and the symmetry true.

    In float64 with random inputs, weights and buffers (those named in `random`).
    """
    rng, data = np.random.default_rng(0), dict(net._data)
    for name in random:
        data[name] = _random_buffer(rng, data[name])
    x = rng.normal(size=(5, *net.input_shape))
    with jax.enable_x64(True), torch.no_grad():
        noise = {name: rng.normal(size=shape) for name, shape in net.shapes.items()}
        params = net._from_noise(noise)
        state = {**params, **{name: data[name] for name in buffers}}
        state = {name: torch.tensor(np.array(value)) for name, value in state.items()}
        wanted = _module_outputs(torch, module, state, x)
        size = max(1.0, np.abs(wanted).max())
        run = jax.jit(net._run)
        change = float(np.abs(np.asarray(run(params, data, x)) - wanted).max() / size)
        if not change <= TOLERANCE:
            want = f"the JAX function to equal the module's outputs to {TOLERANCE:g}"
            got = f"a relative difference of {change:.3g}"
            raise expected("module", want, got, "avoid in-place changes and hooks")
        net.symmetry.verify(lambda w, rows: run(w, data, rows), params, x, tolerance=TOLERANCE)


def _random_buffer(rng, value: np.ndarray) -> np.ndarray:
    """Random numbers, equal where `value` is: that is all that the labels know of a buffer."""
    if value.dtype.kind != "f":
        return value
    distinct, index = np.unique(value, return_inverse=True)
    return rng.uniform(0.5, 1.5, distinct.shape)[index].reshape(value.shape)


def _module_outputs(torch, module, state, x) -> np.ndarray:
    """The module's own outputs; ValueError unless rows are free in number and independent."""

    def outputs(rows):
        return torch.func.functional_call(module, state, (torch.tensor(rows),)).numpy()

    try:
        wanted, first = outputs(x), outputs(x[:2])
    except Exception as error:
        got = f"{type(error).__name__} for 5 and 2: {_first_line(error)}"
        remedy = "use x.shape[0] or -1 for the number of data"
        raise expected("module", "any number of rows", got, remedy) from error
    if not np.abs(wanted[:2] - first).max() <= TOLERANCE * max(1.0, np.abs(wanted).max()):
        want = "each row of the output to depend on its own row of the input"
        got = "rows that influence each other"
        raise expected("module", want, got, "keep the first axis apart")
    return wanted


def _first_line(error) -> str:
    return (str(error).splitlines() or [""])[0]
