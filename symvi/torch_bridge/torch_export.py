"""A PyTorch module as a JAX function: ``torch.export``'s graph of core operations, run by JAX.

The module is exported for one datum (batches come by ``jax.vmap``) and reduced to core ATen, the
operations of :mod:`symvi.torch_bridge.aten`. What depends neither on inputs nor on
parameters and buffers (positions, masks) is computed once, by PyTorch, and becomes data.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import itertools
import logging
import math
import operator
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import expected, needs
from symvi.torch_bridge.aten import OPERATIONS, RANDOM

WAY_ROUND = (
    "way round: pass functions={operation: JAX function}, whose tensors then stay in place; "
    "to move them all the same, pass symmetry=symvi.Symmetry(...) written by hand, which is "
    "verified like any other"
)
ONE_OUTPUT = "return one tensor with a row for each datum"
OPAQUE = "symvi_opaque"  # the name of the jit around a function given by hand
MEMORY = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "implicit"}
SCOPE = re.compile(r"([^/|()]*)\|([^/|()]*)\|([^/|()]*)")


class Ref(NamedTuple):
    """A value by name: of kind "node", "weight" or "data"."""

    kind: str
    name: str


class Step(NamedTuple):
    """One operation of the graph, whose arguments may hold :class:`Ref`; see :func:`origin`.

    Its function is a name of the table, or for one given by hand the function itself.
    """

    name: str
    scope: str
    function: object
    args: tuple
    kwargs: dict


class Origin(NamedTuple):
    """Where an equation comes from: the graph's node, what was called there, and in which layer.

    ``str`` gives "node 'addmm_1' (linear in layer '1.linear1')".
    """

    node: str
    call: str
    layer: str

    def __str__(self) -> str:
        where = f" in layer {self.layer!r}" if self.layer else ""
        return f"node {self.node!r} ({self.call}{where})"


def origin(name_stack) -> Origin | None:
    """The node of PyTorch's graph that an equation of a jaxpr belongs to, or None.

    `name_stack` is ``equation.source_info.name_stack`` or its text. Each node runs in
    ``jax.named_scope("node|call|layer")``: the node's name, as ``addmm_1``; the function or method
    that the module called, as ``linear``; the dotted name of the layer that called it, as
    ``1.linear1``, empty for the module itself. Equations inside a jaxpr of an equation (jit,
    custom_jvp) carry the outer equation's scope only on the outer one.
    """
    found = SCOPE.search(str(name_stack))
    return Origin(*found.groups()) if found else None


@dataclass(frozen=True, eq=False)
class Exported:
    """A module's forward pass in JAX, made by :func:`exported`.

    Attributes
    ----------
    weights : dict
        The parameters by the module's own names (tied ones once), in float64.
    data : dict
        The buffers that are used, by their names, and fixed tensors under names of their own.
    buffers : tuple of str
        Those of `data` that are the module's buffers.
    input_shape, output_shape : tuple
        The shapes of one datum.
    dtype : numpy.dtype
        Of the inputs: float64, or that of tokens and masks.
    """

    weights: dict
    data: dict
    buffers: tuple
    input_shape: tuple
    output_shape: tuple
    dtype: np.dtype
    _steps: tuple = field(repr=False)
    _output: Ref = field(repr=False)

    def run(self, params: dict, data: dict, x) -> jax.Array:
        """The output for one datum, (1, *output_shape), from `x` of shape (1, *input_shape)."""
        params = {name: _as_jax(value) for name, value in params.items()}
        data = {name: _as_jax(value) for name, value in data.items()}
        env = {"": jnp.asarray(x)}
        look = {"node": env, "weight": params, "data": data}

        def find(ref):
            return look[ref.kind][ref.name]

        for step in self._steps:
            args, kwargs = _fill((step.args, step.kwargs), find)
            with jax.named_scope(step.scope):
                try:
                    function = OPERATIONS.get(step.function, step.function)
                    env[step.name] = function(*args, **kwargs)
                except (TypeError, ValueError, NotImplementedError) as error:
                    where = f"module: {origin(step.scope)}"
                    raise ValueError(f"{where}: {error}; {WAY_ROUND}") from error
        return find(self._output)

    def apply(self, params: dict, data: dict, x) -> jax.Array:
        """The outputs (N, *output_shape) for `x` of shape (N, *input_shape), row by row."""
        return jax.vmap(lambda row: self.run(params, data, row[None])[0])(jnp.asarray(x))


def exported(module, example, functions: dict | None = None) -> Exported:
    """The forward pass of a PyTorch module in eval mode, in float64, as a JAX function.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied, not changed. Parameters need one floating dtype.
    example : tensor or array (N, ...)
        A batch of inputs, N >= 1; numbers become float64, whole numbers (tokens) stay.
    functions : dict, optional
        JAX functions by what they stand for: a function that the module calls, as
        ``torch.linalg.det``; the name of a tensor's method; or a class of layers, whose function
        gets a dict of the layer's own parameters first. Each call is one equation of the jaxpr,
        a ``jit`` called "symvi_opaque".

    Raises
    ------
    ValueError
        No module, parameters of several dtypes or none, a copy that fails, an example that does not
        fit, several inputs or outputs, control flow that depends on data, buffers that change,
        random numbers, and operations or settings that are not supported (with the way round).
    """
    torch = needs("torch", "torch", "symvi.from_torch")
    module, example = _checked(torch, module, example)
    _try(torch, copy.deepcopy(module), example)  # what a module keeps of a pass is not exported
    with _calls_by_hand(torch, module, functions or {}) as calls:
        program = _program(torch, module, example[:1])
    made = _Lowering(torch, module, program, calls).run()
    _check_shape(made)
    return made


@contextlib.contextmanager
def in_double(torch: ModuleType) -> Iterator[None]:
    """PyTorch without gradients and in float64, as a module is exported.

    New tensors are float64, and so is what a module casts to a narrower type.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), _wide(torch):
            yield
    finally:
        torch.set_default_dtype(before)


def _wide(torch):
    """A mode in which casts to float32 and narrower types are casts to float64."""
    narrow = (torch.float32, torch.float16, torch.bfloat16)
    casts = (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16)

    def widened(value):
        return torch.float64 if isinstance(value, torch.dtype) and value in narrow else value

    class Wide(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            function = torch.Tensor.double if function in casts else function
            kwargs = {name: widened(value) for name, value in (kwargs or {}).items()}
            return function(*map(widened, args), **kwargs)

    return Wide()


def _as_jax(value):
    """JAX's array of numbers; whole ones of NumPy stay, as indices that are known."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return jnp.asarray(value) if is_float else value


def _fill(value, find):
    """`value` with each Ref inside it replaced by what `find` returns for it."""
    if isinstance(value, Ref):
        return find(value)
    if isinstance(value, (tuple, list)):
        return [_fill(v, find) for v in value]
    if isinstance(value, dict):
        return {k: _fill(v, find) for k, v in value.items()}
    return in_range(value) if isinstance(value, float) else value


def in_range(value: float) -> float:
    """A finite number within what JAX's float type holds, as torch.finfo(torch.float64).min is not
    where that is float32."""
    info = jnp.finfo(jnp.result_type(float))
    if value == 0 or not math.isfinite(value):
        return value
    return math.copysign(min(max(abs(value), float(info.tiny)), float(info.max)), value)


def _first_line(error) -> str:
    line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {line}"


# Checks before the export.


def _checked(torch, module, example) -> tuple:
    """A copy of the module in float64 and eval mode, and the example as a tensor."""
    if not isinstance(module, torch.nn.Module):
        remedy = "pass an instance, for example torch.nn.Sequential(...)"
        raise expected("module", "a torch.nn.Module", type(module).__name__, remedy)
    if any(map(torch.nn.parameter.is_lazy, module.parameters())):
        remedy = "run it on a batch first, which sets their shapes"
        raise expected("module", "parameters with shapes", "a lazy module", remedy)
    dtypes = {p.dtype for p in module.parameters()}
    if len(dtypes) != 1 or not all(d.is_floating_point for d in dtypes):
        got = ", ".join(sorted(map(str, dtypes))) or "no parameters"
        remedy = "convert them with module.float() or module.double()"
        raise expected("module", "parameters of one floating dtype", got, remedy)
    if isinstance(example, torch.Tensor):
        example = example.detach().cpu()
    else:
        example = torch.as_tensor(np.array(example))
    if example.is_complex() or example.ndim < 2 or not len(example):
        wanted = "numbers of shape (N, ...), N >= 1"
        got = f"{example.dtype} of shape {tuple(example.shape)}"
        raise expected("example_input", wanted, got, "pass a batch of inputs")
    try:
        module = copy.deepcopy(module).cpu().eval().double()
    except Exception as error:  # whatever a module holds that cannot be copied
        wanted = "one that can be copied to the CPU in float64"
        remedy = (
            "remove hooks that compute weights, as the old weight_norm does; use those of "
            "torch.nn.utils.parametrizations"
        )
        raise expected("module", wanted, _first_line(error), remedy) from error
    return module, example.double() if example.is_floating_point() else example


def _try(torch, module, example) -> None:
    """Run the module on the example and on its first row."""
    _check_inputs(module)
    with in_double(torch):
        try:
            module(example.clone())
        except Exception as error:
            got = f"shape {tuple(example.shape)} ({_first_line(error)})"
            wanted, remedy = "a batch that the module accepts", "pass inputs of shape (N, ...)"
            raise expected("example_input", wanted, got, remedy) from error
        try:
            output = module(example[:1].clone())
        except Exception as error:
            wanted, got = "any number of rows", f"{_first_line(error)} for one"
            remedy = "use x.shape[0] or -1 for the number of data"
            raise expected("module", wanted, got, remedy) from error
    if not isinstance(output, torch.Tensor):
        wanted = "one output tensor that depends on the input"
        raise expected("module", wanted, type(output).__name__, ONE_OUTPUT)
    if output.ndim < 1 or len(output) != 1:
        wanted = "one output tensor of shape (N, ...)"
        got = f"shape {tuple(output.shape)} for N = 1"
        remedy = f"{ONE_OUTPUT}; squeeze only axes named by number"
        raise expected("module", wanted, got, remedy)


def _check_inputs(module) -> None:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except ValueError:  # compiled code has no signature
        return
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if len(needed) > 1:
        remedy = "wrap it in a module whose forward takes one tensor"
        raise expected("module", "one input", needed, remedy)


def _check_shape(made: Exported) -> None:
    """Trace the JAX function once: settings that are not supported are refused here."""
    with jax.enable_x64(True):
        x = jax.ShapeDtypeStruct((1, *made.input_shape), made.dtype)
        out = jax.eval_shape(made.run, made.weights, made.data, x)
    if out.shape != (1, *made.output_shape):
        wanted = f"an output of shape (1, {', '.join(map(str, made.output_shape))}) in JAX"
        raise expected("module", wanted, out.shape, WAY_ROUND)


# Functions given by hand: opaque operations while the module is exported.


class _Call(NamedTuple):
    """One call of a function given by hand.

    Its name, the function of a list of arrays, and what it returns: shapes in their structure.
    """

    name: str
    function: object
    made: object


class _ByHandError(ValueError):
    """A function given by hand that cannot take its arguments."""


_CALLS = {}  # those of exports under way, for the fake operator
_COUNT = itertools.count()


@cache
def _opaque(torch):
    """An operator that PyTorch cannot look into: from tensors and the number of a call."""
    library = torch.library.Library("symvi", "FRAGMENT")
    library.define("opaque(Tensor[] inputs, int call) -> Tensor[]")

    def outputs(inputs, call):
        made = jax.tree.leaves(_CALLS[call].made)
        return [inputs[0].new_empty(m.shape, dtype=getattr(torch, m.dtype.name)) for m in made]

    torch.library.register_fake("symvi::opaque", outputs, lib=library)
    return library, torch.ops.symvi.opaque.default


@contextlib.contextmanager
def _calls_by_hand(torch, module, functions) -> Iterator[dict]:
    """Within it the module calls an opaque operation for each of `functions`.

    Yields the calls by number, filled as the module is run.
    """
    if not functions:
        yield {}
        return
    _, opaque = _opaque(torch)
    calls = {}

    def call(name, function, args, kwargs):
        tensors, made = _prepare(torch, name, function, args, kwargs)
        number = next(_COUNT)
        _CALLS[number] = calls[number] = made
        return jax.tree.unflatten(jax.tree.structure(made.made), opaque(tensors, number))

    _replace_layers(module, functions, call)
    try:
        with _mode(torch, functions, call):
            yield calls
    finally:
        for number in calls:
            del _CALLS[number]


def _prepare(torch, name, function, args, kwargs) -> tuple:
    """The tensors among the arguments of a call, and the call with all else fixed."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    tensors = [leaves[i] for i in places]
    fixed = [None if i in places else leaf for i, leaf in enumerate(leaves)]

    def flat(arrays):
        filled = list(fixed)
        for i, array in zip(places, arrays, strict=True):
            filled[i] = array
        args, kwargs = jax.tree.unflatten(structure, filled)
        return function(*args, **kwargs)

    try:
        with jax.enable_x64(True):
            shapes = [jax.ShapeDtypeStruct(tuple(t.shape), _dtype(t.dtype)) for t in tensors]
            made = jax.eval_shape(flat, shapes)
    except Exception as error:  # whatever a function of the user's does
        wanted = "a JAX function that takes PyTorch's arguments"
        remedy = "write its arguments as the module passes them, one datum at a time"
        text = expected(f"functions: {name!r}", wanted, _first_line(error), remedy)
        raise _ByHandError(str(text)) from error
    return tensors, _Call(name, flat, made)


def _replace_layers(module, functions, call) -> None:
    """Layers of a class in `functions` call its function, with their own parameters first."""
    for layer in module.modules():
        function = functions.get(type(layer))
        if function is None:
            continue

        def forward(*args, layer=layer, function=function, **kwargs):
            own = dict(layer.named_parameters())
            return call(type(layer).__name__, function, (own, *args), kwargs)

        layer.forward = forward


def _mode(torch, functions, call):
    """A mode in which calls of `functions` are opaque."""
    known = {key: f for key, f in functions.items() if not isinstance(key, type)}
    for key in list(known):
        if getattr(key, "__module__", None) == "_operator":  # operator.matmul is a method here
            name = key.__name__.strip("_")
            for method in (f"__{name}__", name):
                known[getattr(torch.Tensor, method, None)] = known[key]

    class ByHand(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            name = getattr(function, "__name__", "")
            is_method = getattr(torch.Tensor, name, None) is function
            by_hand = known.get(function) or (known.get(name) if is_method else None)
            if by_hand is None:
                return function(*args, **kwargs)
            if "input" in kwargs:
                args = (kwargs.pop("input"), *args)
            return call(name, by_hand, args, kwargs)

    return ByHand()


# The export.


def _program(torch, module, example):
    """``torch.export``'s program in core operations."""
    try:
        with in_double(torch), _quietly():
            program = torch.export.export(module, (example,), strict=False)
            program = program.run_decompositions()
    except _ByHandError:
        raise
    except Exception as error:  # whatever the module does to a tensor that has no values yet
        wanted = "a forward pass that torch.export can trace"
        remedy = "avoid control flow that depends on data"
        raise expected("module", wanted, _first_line(error), remedy) from error
    changed = sorted(program.graph_signature.buffers_to_mutate.values())
    if changed:
        remedy = "update them in training mode only (if self.training)"
        raise expected("module", "buffers that stay as they are in eval mode", changed, remedy)
    return program


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without PyTorch's warnings about itself and its logs of what cannot be exported."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _dtype(dtype):
    """A PyTorch dtype as JAX's; the default ones as float and int, of JAX's own precision."""
    name = str(dtype).removeprefix("torch.")
    return {"float64": float, "int64": int}.get(name) or np.dtype(name)


class _Lowering:
    """The graph's nodes as steps of the forward pass."""

    def __init__(self, torch, module, program, calls):
        self.torch, self.module, self.program, self.calls = torch, module, program, calls
        names = {id(p): name for name, p in module.named_parameters()}
        everywhere = module.named_parameters(remove_duplicate=False)
        self.names = {name: names[id(p)] for name, p in everywhere}
        self.nodes, self.fixed, self.data, self.steps = {}, {}, {}, []
        self.buffers, self.reached = [], set()

    def run(self) -> Exported:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "call_function":
                self._call(node)
        weights = {name: p.detach().numpy() for name, p in self.module.named_parameters()}
        (x,) = (n for n, ref in self.nodes.items() if ref == Ref("node", ""))
        output = self._output()
        sizes = [tuple(n.meta["val"].shape[1:]) for n in (x, output)]
        dtype = np.dtype(_dtype(x.meta["val"].dtype))
        return Exported(
            weights,
            self.data,
            tuple(self.buffers),
            *sizes,
            dtype,
            tuple(self.steps),
            self.nodes[output],
        )

    def _output(self):
        """The node of the one output."""
        (end,) = (n for n in self.program.graph.nodes if n.op == "output")
        specs = self.program.graph_signature.output_specs
        kinds = [spec.kind.name for spec in specs]
        made = [n for n, kind in zip(end.args[0], kinds, strict=True) if kind == "USER_OUTPUT"]
        if len(made) != 1 or made[0] not in self.reached:
            wanted = "one output tensor that depends on the input"
            got = f"{len(made)} outputs" if len(made) != 1 else "one that does not"
            raise expected("module", wanted, got, ONE_OUTPUT)
        return made[0]

    def _placeholder(self, node) -> None:
        """An input of the graph: the datum, a parameter, a buffer or a fixed tensor."""
        (spec,) = (s for s in self.program.graph_signature.input_specs if s.arg.name == node.name)
        kind, target = spec.kind.name, spec.target
        if kind == "USER_INPUT":
            self.nodes[node] = Ref("node", "")
            self.reached.add(node)
        elif kind == "PARAMETER":
            self.nodes[node] = Ref("weight", self.names[target])
        elif kind == "BUFFER":
            if node.users:
                self.nodes[node] = Ref("data", target)
                self.data[target] = self.module.get_buffer(target).numpy()
                self.buffers.append(target)
        elif kind == "TOKEN":  # of operations with effects, which are refused
            self.nodes[node] = None
        else:
            self.fixed[node] = self.program.constants[target]

    def _call(self, node) -> None:
        name = _operation(node)
        if name in RANDOM:
            remedy = "pass training=self.training to dropout"
            wanted = "a forward pass without random numbers in eval mode"
            raise expected(f"module: {origin(_scope(node))}", wanted, name, remedy)
        if name.startswith("aten._assert") and not node.users:
            return
        if name != "symvi.opaque" and all(n in self.fixed for n in node.all_input_nodes):
            self._fix(node, name)
            return
        if any(n in self.reached for n in node.all_input_nodes):
            self.reached.add(node)
        args = tuple(self._refs(value) for value in node.args)
        kwargs = {k: self._refs(v) for k, v in node.kwargs.items() if k not in MEMORY}
        scope = _scope(node)
        if name == "symvi.opaque":
            call = self.calls[args[1]]
            scope = _scope(node, call.name)
            function, args = _by_hand(call), args[:1]
        else:
            function = self._function(node, name)
        self.steps.append(Step(node.name, scope, function, args, kwargs))
        self.nodes[node] = Ref("node", node.name)

    def _function(self, node, name):
        """The JAX function of an operation."""
        where = f"module: {origin(_scope(node))}"
        if name not in OPERATIONS:
            remedy = f"use other operations; {WAY_ROUND}"
            raise expected(where, "a supported operation", name, remedy)
        if name == "aten.as_strided" and not node.args[0].meta["val"].is_contiguous():
            remedy = f"call contiguous() first; {WAY_ROUND}"
            raise expected(where, "a view of contiguous memory", name, remedy)
        return name

    def _fix(self, node, name) -> None:
        """A value that depends on nothing, by PyTorch."""
        fixed = self.torch.fx.node.map_arg((node.args, dict(node.kwargs)), self.fixed.get)
        with in_double(self.torch):
            value = node.target(*fixed[0], **fixed[1])
            if name in ("aten.empty", "aten.empty_strided"):
                value.zero_()  # whatever is there is written over
        self.fixed[node] = value

    def _refs(self, value):
        """An argument of a node, as run takes it."""
        if isinstance(value, self.torch.fx.Node):
            return self._tensor(value) if value in self.fixed else self.nodes[value]
        if isinstance(value, (tuple, list)):
            return [self._refs(v) for v in value]
        if isinstance(value, self.torch.dtype):
            return _dtype(value)
        return value

    def _tensor(self, node) -> Ref:
        """A fixed tensor: data, or a step that fills it where all entries are equal."""
        if node not in self.nodes:
            tensor = self.fixed[node]
            if tensor.dtype == self.torch.bfloat16:  # unknown to NumPy, exact in float32
                tensor = tensor.float()
            value, dtype = tensor.numpy(), _dtype(tensor.dtype)
            if value.size and value.dtype.kind in "biuf" and (value == value.flat[0]).all():
                filled = (value.shape, value.flat[0].item(), dtype)
                self.steps.append(Step(node.name, _scope(node, "full"), jnp.full, filled, {}))
                self.nodes[node] = Ref("node", node.name)
            else:
                self.data[node.name] = value
                self.nodes[node] = Ref("data", node.name)
        return self.nodes[node]


def _by_hand(call):
    """A function given by hand as one equation of a jaxpr."""

    def function(arrays):
        return jax.tree.leaves(call.function(arrays))

    function.__name__ = function.__qualname__ = OPAQUE
    return jax.jit(function)


def _operation(node) -> str:
    """What a node does, as "aten.convolution", "getitem" or "symvi.opaque"."""
    if node.target is operator.getitem:
        return "getitem"
    packet = getattr(node.target, "overloadpacket", None)
    return str(packet if packet is not None else node.target)


def _scope(node, call: str | None = None) -> str:
    """A node's name, what was called there and in which layer; see :func:`origin`."""
    layers = list((node.meta.get("nn_module_stack") or {}).values())
    layer = layers[-1][0] if layers else ""
    if call is None:
        called = (node.meta.get("torch_fn") or ("", _operation(node)))[1]
        call = called.rpartition(".")[2]
    parts = (re.sub(r"[/|()]", "_", part) for part in (node.name, call, layer))
    return "|".join(parts)
