"""The symmetry of any function of JAX: its program is read, and what is found is verified."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from symvi.arrays import leaf_names
from symvi.checks import as_numbers, check_parameters, described, expected, flag, required_key
from symvi.symmetry import Nested, Symmetry
from symvi.tracing import factor_rules, indexing, loops, moving, products  # noqa: F401 (rules)
from symvi.tracing.beside import with_factors
from symvi.tracing.cells import Cells
from symvi.tracing.choice import Choice, choose
from symvi.tracing.exact import beside_exact, with_exact
from symvi.tracing.reading import Traced, blocks_of, read
from symvi.tracing.verify import TOLERANCE, compiled, like, verify

PURE = (
    "pass a function (params, x) of JAX operations that returns arrays, whose types follow the "
    "weights (param_dtype=float in Flax)"
)


@dataclass(frozen=True, eq=False)
class Found:
    """What :func:`symvi.find_symmetry` returns: a symmetry, and a network to use it with.

    It is a network as :class:`MLP` is, on a flat dict of named arrays: pass it to :class:`BNN`.

    Attributes
    ----------
    symmetry : Symmetry
        The units that may be exchanged, verified; a group is called after the first layer that it
        moves. It acts on the arrays of :meth:`flatten`. A product, which all of symvi takes. With
        ``signed=True`` it changes signs too.
    nested : Nested or Symmetry
        The same group with exchanges of whole blocks, such as heads; verified too.
    notes : tuple of str
        What keeps units in place besides inputs and outputs, and what the product does not hold:
        exchanges of blocks, signs, scales.
    shapes : dict
        The shape of each parameter by name: the keys on its way in the tree, joined by dots.
    params : dict
        The weights that were passed, by name.
    exact_log_order : float or None
        With ``exact=True``, the log number (nats) of all permutations of the model of the network
        that is read from its program; signs are not counted. Where it equals the log order of the
        permutations in ``nested``, these are provably all. It is counted, and not verified.
    """

    symmetry: Symmetry
    nested: Symmetry | Nested
    notes: tuple
    shapes: dict
    params: dict = field(repr=False)
    _apply: object = field(repr=False)
    _tree: object = field(repr=False)
    _order: tuple = field(repr=False)
    _fixed: dict = field(repr=False)
    _sizes: tuple = field(repr=False)
    exact_log_order: float | None = None

    def __repr__(self) -> str:
        num_weights = sum(math.prod(shape) for shape in self.shapes.values())
        group = f"{self.symmetry!r}{beside_exact(self.nested, self.exact_log_order)}"
        return f"Found({num_weights} weights, {group}, {len(self.notes)} notes)"

    @property
    def widths(self) -> tuple:
        """The numbers of inputs and of outputs of one datum."""
        return self._sizes

    def flatten(self, params) -> dict:
        """A tree of weights, as the function takes it, as a flat dict of named arrays.

        Raises ValueError if it has another structure.
        """
        leaves, tree = jax.tree.flatten(params)
        if tree != self._tree:
            remedy = "pass weights of the network that was read"
            raise expected("params", f"the structure {self._tree}", tree, remedy)
        return {n: leaf for n, leaf in zip(self._order, leaves, strict=True) if n in self.shapes}

    def unflatten(self, named: dict):
        """The tree of weights, as the function takes it, from a flat dict of named arrays.

        Raises ValueError if one is missing or has another shape.
        """
        check_parameters(self.shapes, named)
        leaves = [named[n] if n in self.shapes else self._fixed[n] for n in self._order]
        return jax.tree.unflatten(self._tree, leaves)

    def apply(self, params: dict, x):
        """The function's outputs for named arrays `params` and inputs `x`."""
        return self._apply(self.unflatten(params), x)

    def init(self, key) -> dict:
        """Random weights by name, of the size of those that were passed.

        Arrays that were all positive stay so. Raises ValueError unless `key` is one JAX key.
        """
        return _random(required_key(key), self.params)


@jax.jit
def _random(key, params: dict) -> dict:
    """Random numbers as large as those of each array, positive where all of its are."""
    found = {}
    for index, (name, value) in enumerate(params.items()):
        noise = jax.random.normal(jax.random.fold_in(key, index), value.shape)
        value = jnp.asarray(value, float)
        positive = jnp.mean(value) * jnp.exp(0.1 * noise)
        either = jnp.maximum(jnp.sqrt(jnp.mean(value**2)), 0.1) * noise
        found[name] = jnp.where(jnp.all(value > 0), positive, either)
    return found


def find_symmetry(apply, params, x, *, signed: bool = False, exact: bool = False) -> Found:
    """Find which units of a network may be exchanged, from the program of its forward pass.

    The function is traced by JAX and its equations are read one by one (chapter 15): units that
    play the same role may be exchanged. What cannot be analysed keeps its units in place and is
    listed in ``notes``. Before returning the symmetry is verified in float64, with random weights,
    inputs and elements.

    Parameters
    ----------
    apply : callable
        ``apply(params, x)``, a pure function of JAX operations: an ``apply`` of Flax or Haiku, a
        split module of Equinox or nnx put together again, or a function of your own. Its outputs
        are an array, or a tree of arrays.
    params : tree of arrays
        Weights. Arrays that are not of floating numbers are fixed data.
    x : array or tree of arrays
        One batch of inputs, which do not move.
    signed : bool
        Whether groups whose units may change sign (odd activations, features of attention) hold
        these changes too. Without it, ``notes`` name them.
    exact : bool
        Whether to count all permutations as well, by graph automorphisms (igraph's
        BLISS, Junttila and Kaski 2007): ``exact_log_order``, in nats. Where ``nested`` holds
        fewer, a note says by how much. They are those *of the model of the network*: all
        permutations of the entries of axes with which every operation commutes by its rule. It
        takes a second for a layer of a thousand units, a minute for one of four thousand, and is
        refused beyond.

    Raises
    ------
    ValueError
        No function, parameters without an array of floating numbers, a function that JAX cannot
        trace, in float64 too, outputs that are not finite, a network too large to count its group,
        or (an error of ours) a symmetry that is none.
    ImportError
        ``exact=True`` without igraph.
    """
    if not callable(apply):
        raise expected("apply", "a function (params, x)", described(apply), PURE)
    signed, exact = flag("signed", signed), flag("exact", exact)
    leaves, tree = jax.tree.flatten(params)
    order = leaf_names(params)
    _check_names(order)
    arrays = {
        name: as_numbers(f"params[{name!r}]", leaf)
        for name, leaf in zip(order, leaves, strict=True)
    }
    moving_ones = {n: v for n, v in arrays.items() if jnp.issubdtype(v.dtype, jnp.floating)}
    if not moving_ones:
        remedy = "pass the weights of the network, a tree of arrays"
        raise expected("params", "arrays of floating numbers", described(params), remedy)
    fixed = {name: value for name, value in arrays.items() if name not in moving_ones}
    shapes = {name: tuple(value.shape) for name, value in sorted(moving_ones.items())}
    found = Found(
        Symmetry(),
        Symmetry(),
        (),
        shapes,
        moving_ones,
        apply,
        tree,
        order,
        fixed,
        _sizes(apply, params, x),
    )
    with jax.enable_x64(True):
        choice = label(found.apply, shapes, x, signed=signed, exact=exact)
        found = replace(found, **choice._asdict())
        _verify(found, x)
    return found


def _check_names(order: tuple) -> None:
    """ValueError if two leaves have one name, as {"a": {"b": ...}, "a.b": ...} has."""
    double = sorted({name for name in order if order.count(name) > 1})
    if double:
        remedy = "rename keys that hold dots"
        raise expected("params", "leaves of different names", double, remedy)


def _sizes(apply, params, x) -> tuple:
    """The numbers of inputs and outputs of one datum."""
    try:
        with jax.enable_x64(True):
            outputs = jax.eval_shape(apply, *jax.tree.map(_in_double, (params, x)))
    except Exception as error:  # whatever the function does to what has no values
        got = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        wanted = "a function that JAX can trace, with weights in float64 too"
        raise expected("apply", wanted, got, PURE) from error
    sizes = []
    for values in (x, outputs):
        sizes.append(sum(math.prod(jnp.shape(leaf)[1:]) for leaf in jax.tree.leaves(values)))
    return tuple(sizes)


def label(
    apply,
    shapes: dict,
    x,
    data: dict | None = None,
    *,
    signed: bool = False,
    exact: bool = False,
) -> Choice:
    """The symmetry of ``apply(params, x)`` by its labels alone, with notes; `signed` with signs.

    With `data`, pairs (fixed array, what notes call it) by name, of ``apply(params, data, x)``.
    With `exact`, the order of the whole group is counted too; parameters that are not used stay in
    place.
    """
    cells = Cells()
    weights = {name: jax.ShapeDtypeStruct(shape, jnp.float64) for name, shape in shapes.items()}
    fixed = {name: value for name, (value, _) in (data or {}).items()}
    x = jax.tree.map(_in_double, x)
    given = (weights, x) if data is None else (weights, fixed, x)
    program = jax.make_jaxpr(apply)(*given)
    used = _used(program, sorted(shapes))
    inputs = []
    for name in sorted(shapes):
        shape = shapes[name]
        blocks = cells.parameter(name, shape) if name in used else cells.pinned(shape)
        inputs.append(Traced(blocks))
    for name in sorted(fixed):
        inputs.append(Traced(cells.data(np.asarray(fixed[name]), data[name][1])))
    for leaf in jax.tree.leaves(x):
        inputs.append(Traced(cells.pinned(jnp.shape(leaf))))
    for value in read(cells, program, inputs):
        for block in blocks_of(cells, value):
            cells.pin(block.cells)
    choice = choose(cells, {name: shapes[name] for name in used})
    if exact:
        choice = with_exact(choice, cells)
    unused = [f"parameter {name!r} is not used" for name in shapes if name not in used]
    weighed = [*sorted(shapes), *[None] * (len(inputs) - len(shapes))]
    choice = with_factors(choice, program, weighed, shapes, signed)
    return choice._replace(notes=(*choice.notes, *unused))


def _in_double(leaf):
    """An input's shape in float64, as the weights are; whole numbers and keys as they are."""
    is_float = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.float64) if is_float else leaf


def _used(program, names: list) -> list:
    """The parameters that the program uses, in the order in which it first does."""
    atoms = [atom for equation in program.jaxpr.eqns for atom in equation.invars]
    first = {}
    for place, atom in enumerate([*atoms, *program.jaxpr.outvars]):
        first.setdefault(id(atom), place)
    invars = dict(zip(names, program.jaxpr.invars, strict=False))
    used = [name for name in names if id(invars[name]) in first]
    return sorted(used, key=lambda name: first[id(invars[name])])


def _verify(found: Found, x) -> None:
    rng = np.random.default_rng(0)
    weights = {name: like(value, rng) for name, value in found.params.items()}
    x = jax.tree.map(lambda leaf: _random_inputs(leaf, rng), x)

    def outputs(named, x):
        leaves = jax.tree.leaves(found.apply(named, x))
        parts = [part for leaf in leaves for part in (jnp.real(leaf), jnp.imag(leaf))]
        return jnp.concatenate([jnp.ravel(part).astype(jnp.float64) for part in parts])

    run = compiled(outputs, weights, x)
    tolerance = max(TOLERANCE, 1000 * _rounding(jax.make_jaxpr(outputs)(weights, x).jaxpr))
    verify(found.nested, lambda named: run(named, x), weights, tolerance=tolerance)


def _rounding(program) -> float:
    """The rounding of the narrowest floating type in a program: of a cast within a network."""
    found = [0.0]
    for equation in program.eqns:
        for variable in equation.outvars:
            if jnp.issubdtype(variable.aval.dtype, jnp.floating):
                found.append(float(jnp.finfo(variable.aval.dtype).eps))
        found += map(_rounding, jaxprs_in_params(equation.params))
    return max(found)


def _random_inputs(leaf, rng):
    """Random numbers as large as the inputs; whole numbers and keys as they are."""
    if jax.dtypes.issubdtype(jnp.result_type(leaf), jax.dtypes.extended):
        return leaf
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        return np.asarray(leaf)
    leaf = np.asarray(leaf, np.float64)
    return like(leaf, rng) if np.isfinite(leaf).all() else leaf


__all__ = ["Found", "find_symmetry"]
