"""Networks stated in PyTorch: an ``nn.Module`` becomes a symvi network with its permutation symmetry."""

from __future__ import annotations

import copy
from dataclasses import replace

import jax
import numpy as np

from symvi.checks import needs, one_of
from symvi.symmetry import Symmetry
from symvi.torch_bridge.network import WAY_ROUND, Ref, Step, TorchNetwork, fill
from symvi.torch_bridge.ops import ALIASES, MODULES, Traced, pin_rule
from symvi.torch_bridge.shapes import OPS
from symvi.torch_bridge.unit_labels import Labels

TOLERANCE = 1e-10  # of both checks, in float64
STATISTICS = ("fixed", "travelling")


def from_torch(
    module,
    example_input,
    *,
    statistics: str = "fixed",
    functions: dict | None = None,
    symmetry: Symmetry | None = None,
) -> TorchNetwork:
    """Turn a PyTorch module into a network with a permutation symmetry, by tracing it with ``torch.fx``.

    The forward pass is that of eval mode, rewritten in JAX. Symmetry is found by labelling units and following them through the
    operations; what cannot be analysed keeps its units in place and is listed in ``notes``. Before returning, outputs are
    compared with the module's and the symmetry is verified, both in float64 with random inputs, weights and buffers.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied, not changed. Parameters need one floating dtype.
    example_input : tensor or array (N, ...)
        A batch of inputs; only its shape and dtype matter.
    statistics : "fixed" or "travelling"
        Running statistics of BatchNorm as fixed data, which keeps apart units whose statistics differ, or as parameters
        that move with their units (for comparing trained networks; not for a :class:`BNN`, since variances have no Gaussian prior).
    functions : dict, optional
        JAX functions for operations that are not supported, by the function that the module calls, the name of a tensor's
        method, or a class of layers; the last are called with a dict of the layer's own parameters first. All that they touch stays in place.
    symmetry : Symmetry, optional
        A symmetry written by hand, instead of the one found by tracing. It is verified too.

    Raises
    ------
    ValueError
        No module, control flow that depends on data, unsupported operations or settings (named, with the way round), parameters of several
        dtypes, an example that does not fit, rows that influence each other, or a symmetry that is none.
    """
    torch = needs("torch", "torch", "symvi.from_torch")
    one_of("statistics", statistics, STATISTICS)
    functions = {} if functions is None else dict(functions)
    example = _checked(torch, module, example_input)
    try:
        module = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:
        raise ValueError(
            f"module: expected one that can be copied, got {error}; remove hooks that compute weights, as weight_norm does"
        ) from error
    double = copy.deepcopy(module).double()
    graph = _trace(torch, double, functions)
    records = _record(torch, double, graph, example.double())

    weights, buffers = dict(double.named_parameters()), dict(double.named_buffers())
    travelling = (
        tuple(sorted(b for b in buffers if b.rpartition(".")[2] in ("running_mean", "running_var")))
        if statistics == "travelling"
        else ()
    )
    weights.update({name: buffers[name] for name in travelling})
    data = {}
    steps, output = _lower(torch, double, graph, functions, weights, data)
    if not isinstance(records[output.name], torch.Tensor) or records[output.name].ndim < 1:
        raise ValueError(
            f"module: expected one output tensor of shape (N, ...), got {type(records[output.name]).__name__}; return one tensor with a row for each datum"
        )

    values = {name: weights[name].detach().numpy() for name in sorted(weights)}
    shapes = {name: value.shape for name, value in values.items()}
    net = TorchNetwork(
        shapes,
        symmetry,
        tuple(example.shape[1:]),
        tuple(records[output.name].shape[1:]),
        (),
        travelling,
        steps,
        output,
        values,
        data,
        module,
    )
    jax.eval_shape(
        net._run, values, data, example.double().numpy()
    )  # refuses settings that are not supported
    found, notes = _label(torch, steps, output, records, shapes, data)
    net = replace(net, symmetry=found if symmetry is None else symmetry, notes=notes)
    _verify(torch, net, double, {name for name in buffers if name in data}, traced=symmetry is None)
    return net


def _checked(torch, module, example):
    """The example as a tensor, if module and example are of the right kind."""
    if not isinstance(module, torch.nn.Module):
        raise ValueError(
            f"module: expected a torch.nn.Module, got {type(module).__name__}; pass an instance, for example torch.nn.Sequential(...)"
        )
    dtypes = {p.dtype for p in module.parameters()}
    if len(dtypes) != 1 or not all(d.is_floating_point for d in dtypes):
        got = ", ".join(sorted(map(str, dtypes))) or "no parameters"
        raise ValueError(
            f"module: expected parameters of one floating dtype, got {got}; convert them with module.float() or module.double()"
        )
    example = (
        example.detach().cpu()
        if isinstance(example, torch.Tensor)
        else torch.as_tensor(np.array(example))
    )
    if not example.is_floating_point() or example.ndim < 2 or not len(example):
        raise ValueError(
            f"example_input: expected floating numbers of shape (N, ...), N >= 1, got {example.dtype} of shape {tuple(example.shape)}; pass a batch of inputs"
        )
    return example


def _trace(torch, module, functions):
    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m, name):
            return type(m) in functions or super().is_leaf_module(m, name)

    try:
        graph = Tracer().trace(module)
    except Exception as error:  # whatever the module does to a tensor that has no values yet
        raise ValueError(
            f"module: expected a forward pass that torch.fx can trace, got {type(error).__name__}: {error}; avoid control flow that depends on data"
        ) from error
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1:
        raise ValueError(
            f"module: expected one input, got {[n.name for n in inputs]}; wrap it in a module whose forward takes one tensor"
        )
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
        raise ValueError(
            f"example_input: expected a batch that the module accepts, got shape {tuple(example.shape)} ({type(error).__name__}: {_first_line(error)}); pass inputs of shape (N, ...)"
        ) from error
    return records


def _lower(torch, module, graph, functions, weights, data):  # noqa: C901 - a branch a kind of node
    """The steps of the forward pass and where its output stands; fixed tensors are collected in `data`."""
    names = {id(t): name for name, t in weights.items()}
    fixed = {id(t): name for name, t in module.named_buffers()}

    def tensor(value, target):
        if value is None or id(value) in names:
            return value if value is None else Ref("weight", names[id(value)])
        name = fixed.get(id(value), target)
        data[name] = value.detach().numpy()
        return Ref("data", name)

    def refs(value):
        return torch.fx.node.map_arg(value, lambda n: nodes[n])

    nodes, steps = {}, []
    for node in graph.nodes:
        if node.op == "placeholder":
            nodes[node] = Ref("node", "")
        elif node.op == "get_attr":
            owner, _, name = node.target.rpartition(".")
            nodes[node] = tensor(getattr(module.get_submodule(owner), name), node.target)
        elif node.op == "output":
            if not isinstance(node.args[0], torch.fx.Node) or nodes[node.args[0]].kind != "node":
                raise ValueError(
                    f"module: expected one output tensor that depends on the input, got {node.args[0]}; return one tensor with a row for each datum"
                )
            return tuple(steps), nodes[node.args[0]]
        else:
            args, kwargs = tuple(map(refs, node.args)), {k: refs(v) for k, v in node.kwargs.items()}
            if "input" in kwargs:
                args = (kwargs.pop("input"), *args)
            called = module.get_submodule(node.target) if node.op == "call_module" else None
            known = _operation(node, called)
            if (key := node.target if called is None else type(called)) in functions:
                own = (
                    ()
                    if called is None
                    else (
                        {
                            name: tensor(p, f"{node.target}.{name}")
                            for name, p in called.named_parameters()
                        },
                    )
                )
                step = Step(node.name, str(key), functions[key], pin_rule, (*own, *args), kwargs)
            elif known is None:
                raise ValueError(
                    f"module: node {node.name!r}: expected a supported operation, got {key}; use one of {', '.join(sorted(OPS))} or the layers {', '.join(sorted(MODULES))}; {WAY_ROUND}"
                )
            else:
                if called is not None:
                    _, tensors, settings = MODULES[type(called).__name__]
                    kwargs |= {
                        name: tensor(value, f"{node.target}.{name}")
                        for name in tensors
                        if (value := getattr(called, name)) is not None
                    }
                    kwargs |= {name: getattr(called, name) for name in settings}
                step = Step(node.name, known, *OPS[known], args, kwargs)
            steps.append(step)
            nodes[node] = Ref("node", node.name)


def _operation(node, called):
    """The name in OPS of what a node does, or None."""
    if called is not None:
        kind = type(called)
        return (
            MODULES[kind.__name__][0]
            if kind.__module__.startswith("torch.nn.modules.") and kind.__name__ in MODULES
            else None
        )
    if callable(node.target) and not (node.target.__module__ or "").startswith(
        ("torch", "_operator", "builtins")
    ):
        return None
    name = (node.target if isinstance(node.target, str) else node.target.__name__).removesuffix("_")
    return ALIASES.get(name, name) if ALIASES.get(name, name) in OPS else None


def _label(torch, steps, output, records, shapes, data):
    """Follow units through the steps: the symmetry and notes on what was left in place."""
    labels, env, fixed = Labels(), {}, {}
    env[""] = Traced([labels.fresh(n, pinned=True) for n in records[""].shape], True)

    def look(ref):
        if ref.kind == "weight":
            return Traced(labels.weight(ref.name, shapes[ref.name]), False)
        if ref.kind == "data" and ref.name not in fixed:
            fixed[ref.name] = Traced(labels.data(ref.name, data[ref.name]), False)
        return env[ref.name] if ref.kind == "node" else fixed[ref.name]

    for step in steps:
        value = records[step.name]
        many = isinstance(value, (tuple, list)) and all(isinstance(v, torch.Tensor) for v in value)
        if not many and not isinstance(value, torch.Tensor):
            env[step.name] = value  # a size
            continue
        args, kwargs = fill((step.args, step.kwargs), look)
        noted = len(labels.notes)
        try:
            env[step.name] = step.rule(
                labels, [v.shape for v in value] if many else value.shape, *args, **kwargs
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"module: node {step.name!r} ({step.op}): {error}; {WAY_ROUND}"
            ) from error
        labels.notes[noted:] = [
            f"node {step.name!r} ({step.op}): {note}" for note in labels.notes[noted:]
        ]
    for cells in env[output.name].axes:
        labels.pin(cells)
    symmetry = labels.symmetry()
    return symmetry, tuple(labels.notes) + tuple(
        f"parameter {name!r} is not used" for name in shapes if name not in labels.slots
    )


def _verify(torch, net, module, buffers, traced):
    """Outputs equal to the module's, rows independent and the symmetry true, in float64 with random inputs, weights and buffers."""
    rng, data = np.random.default_rng(0), dict(net._data)
    for name in (
        buffers if traced else ()
    ):  # equal entries stay equal: that is all that the labels know of a buffer
        if data[name].dtype.kind == "f":
            distinct, index = np.unique(data[name], return_inverse=True)
            data[name] = rng.uniform(0.5, 1.5, distinct.shape)[index].reshape(data[name].shape)
    x = rng.normal(size=(5, *net.input_shape))
    with jax.enable_x64(True), torch.no_grad():
        params = net._from_noise(
            {name: rng.normal(size=shape) for name, shape in net.shapes.items()}
        )
        state = {
            name: torch.tensor(np.array(value))
            for name, value in (*params.items(), *((name, data[name]) for name in buffers))
        }
        try:
            wanted, first = (
                torch.func.functional_call(module, state, (torch.tensor(rows),)).numpy()
                for rows in (x, x[:2])
            )
        except Exception as error:
            raise ValueError(
                f"module: expected any number of rows, got {type(error).__name__} for 5 and 2: {_first_line(error)}; use x.shape[0] or -1 for the number of data"
            ) from error
        size = max(1.0, np.abs(wanted).max())
        if not np.abs(wanted[:2] - first).max() <= TOLERANCE * size:
            raise ValueError(
                "module: expected each row of the output to depend on its own row of the input, got rows that influence each other; keep the first axis apart"
            )
        run = jax.jit(net._run)
        change = float(np.abs(np.asarray(run(params, data, x)) - wanted).max() / size)
        if not change <= TOLERANCE:
            raise ValueError(
                f"module: expected the JAX function to equal the module's outputs to {TOLERANCE:g}, got a relative difference of {change:.3g}; avoid in-place changes and hooks"
            )
        net.symmetry.verify(lambda w, rows: run(w, data, rows), params, x, tolerance=TOLERANCE)


def _first_line(error) -> str:
    return (str(error).splitlines() or [""])[0]
