"""Bad input to every public name: a ValueError in three parts, or the right value where the input
is good.

One table. A row is one call, with what must come of it: either the message

    name: expected what is wanted, got what came; what to do

(`bad`, and `each` for a list of values), or a value that `right` accepts (`good`).
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import pandas as pd
import pytest

import symvi

NAN, INF = float("nan"), float("inf")
KEY = jax.random.key(0)


class Row(NamedTuple):
    """One call, and either three patterns of its error or a function that knows the right value."""

    id: str
    call: Callable
    name: str = ""
    wanted: str = ""
    remedy: str = ""
    right: Callable | None = None


ROWS: list[Row] = []


def bad(label: str, call: Callable, name: str, wanted: str, remedy: str = "") -> None:
    """A row whose call ends in an error about `name`, which says that it expected `wanted`."""
    ROWS.append(Row(label, call, name, wanted, remedy))


def each(label: str, call: Callable, values, name: str, wanted: str) -> None:
    """A row for each of `values`, all refused with the same words."""
    for value in values:
        text = f"{label}={shown(value)}"
        alike = sum(row.id.split(" #")[0] == text for row in ROWS)
        text += f" #{alike + 1}" if alike else ""
        bad(text, functools.partial(call, value), name, wanted)


def good(label: str, call: Callable, right: Callable) -> None:
    """A row whose call is right: `right` of its value is true."""
    ROWS.append(Row(label, call, right=right))


def shown(value) -> str:
    """A value as a short name, for the id of its row."""
    if isinstance(value, np.ndarray | jax.Array | pd.DataFrame):
        return f"{type(value).__name__}{value.shape}"
    text = re.sub(r" at 0x\w+", "", repr(value))
    return text if len(text) < 40 else type(value).__name__


class Anything:
    """An object that is nothing that anybody asked for."""


# Values that are wrong for every argument of a kind.
NOT_WHOLE = (0, -1, 2.5, NAN, "3", True, None, [1], np.array([1, 2]))
NOT_POSITIVE = (0, -1.0, NAN, INF, "0.1", True, [0.1, 0.2], Anything())
NOT_FRACTION = (0, 1, -0.5, NAN, "0.5", True, None)
NOT_SEED = (-1, 1.5, "0", True, None, [0])
NOT_KEY = (0, "key", 1.5, jax.random.split(KEY, 2), np.zeros(3, np.uint32), Anything())
NOT_FLAG = ("no", 1, None, [True])
NOT_NUMBERS = ("text", [["a"]], np.array([[None]]), {"x": 1}, [[1.0], [2.0, 3.0]], Anything())
NOT_COUNT = r"whole number"
ONE_KEY = r"JAX key"


def tensor(value, **options):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.asarray(value), **options)


# What the rows are about: 4 data, 3 hidden units.
X = np.linspace(-1, 1, 4)[:, None]
Y = np.abs(X)
LABELS = np.array([0, 1, 2, 1])
NET = symvi.MLP([1, 3, 1], "tanh")
WIDE = symvi.MLP([1, 20, 1], "tanh")
DEEP = symvi.MLP([1, 2, 2, 1], "tanh")
GROUP = NET.symmetry
BNN = symvi.BNN(NET, symvi.Gaussian(0.5))
CLASSES = symvi.BNN(symvi.MLP([1, 3, 3], "tanh"), symvi.Categorical())
W = NET.init(KEY)
OTHER = symvi.MLP([1, 5, 1]).init(KEY)
PLAIN = symvi.MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
TWO = symvi.BNN(PLAIN, symvi.Gaussian(1.0))


def mean_field(net=NET) -> symvi.MeanField:
    loc = net.init(KEY)
    return symvi.MeanField(loc, jax.tree.map(jnp.ones_like, loc), net.symmetry)


Q = mean_field()
QG = symvi.Symmetrized(Q)
SCALE = Q.scale


@functools.cache
def a_fit(symmetrize=None) -> symvi.Fit:
    """A fit of one step: its numbers do not matter here."""
    return symvi.fit(
        BNN, X, Y, symmetrize=symmetrize, steps=1, restarts=2, num_samples=1, progress=False
    )


def fit(bnn=BNN, x=X, y=Y, **options):
    return symvi.fit(bnn, x, y, **{"steps": 1, "restarts": 2, "num_samples": 1} | options)


@functools.cache
def draws(chains=2, num=4) -> dict:
    """Draws of the weights of BNN, shape ``(chains, num, *shape)``."""
    flat = Q.sample(KEY, chains * num)
    return {k: np.asarray(v).reshape(chains, num, *v.shape[1:]) for k, v in flat.items()}


def draws_of(net) -> dict:
    """Draws ``(2, 4, *shape)`` of the weights of a network."""
    return {k: np.zeros((2, 4, *shape)) for k, shape in net.shapes.items()}


def replaced(params: dict, **changes) -> dict:
    return {**params, **changes}


def spoiled(params: dict, value) -> dict:
    """`params` with one entry of W1 replaced by `value`."""
    array = np.array(params["W1"])
    array[(0,) * array.ndim] = value
    return replaced(params, W1=array)


NOT_WEIGHTS = (OTHER, {}, {"W1": W["W1"]}, None, "weights", [1.0], 3)

# ---------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------

each(
    "MLP(widths)",
    symvi.MLP,
    ([1, 1], [1, 0, 1], [1, -3, 1], [1, 2.5, 1], [1, True, 1], [1, NAN, 1], [], 3, None),
    "widths",
    "three whole numbers >= 1",
)
bad("MLP(1, 50, 1)", lambda: symvi.MLP(1, 50, 1), "widths", "whole numbers", r"one list.*\[1, 50")
each("MLP(widths)", symvi.MLP, ("131", {1: 2}, [1, "3", 1], Anything()), "widths", "whole numbers")
good("MLP(numpy integers)", lambda: symvi.MLP([1, 3, LABELS.max() + 1]).widths, (1, 3, 3).__eq__)
good("MLP(numpy array)", lambda: symvi.MLP(np.array([1, 3, 1])).widths, (1, 3, 1).__eq__)
good("MLP(jax integer)", lambda: symvi.MLP([1, jnp.array(3), 1]).widths, (1, 3, 1).__eq__)
good("MLP hashes alike", lambda: hash(symvi.MLP(np.array([1, 3, 1]), "tanh")), hash(NET).__eq__)
each(
    "MLP(activation)",
    lambda v: symvi.MLP([1, 3, 1], v),
    ("swish", None, 3, jnp.tanh, ["tanh"], np.array(["relu", "tanh"])),
    "activation",
    "one of 'relu'",
)
each("MLP(bias)", lambda v: symvi.MLP([1, 3, 1], bias=v), NOT_FLAG, "bias", "True or False")
each(
    "MLP(fixed_output)",
    lambda v: symvi.MLP([1, 3, 1], fixed_output=v),
    (NAN, INF, "1", True, [1.0, 2.0]),
    "fixed_output",
    "finite number",
)
each(
    "MLP(signed)",
    lambda v: symvi.MLP([1, 3, 1], "tanh", signed=v),
    NOT_FLAG,
    "signed",
    "True or False",
)
good(
    "MLP(bias=numpy)",
    lambda: symvi.MLP([1, 3, 1], bias=np.bool_(False)).shapes,
    lambda s: len(s) == 2,
)
good(
    "MLP(fixed_output=numpy)",
    lambda: symvi.MLP([1, 2, 1], bias=False, fixed_output=np.float32(1)).apply(
        {"W1": np.ones((1, 2))}, X
    ),
    lambda v: np.allclose(v, 2 * np.maximum(X, 0)),
)
bad(
    "MLP(signed relu)",
    lambda: symvi.MLP([1, 3, 1], "relu", signed=True),
    "signed",
    "odd activation",
)
bad(
    "MLP(signed fixed)",
    lambda: symvi.MLP([1, 3, 1], "tanh", signed=True, fixed_output=1.0),
    "signed",
    "learned output layer",
)
bad("MLP(two fixed)", lambda: symvi.MLP([1, 3, 2], fixed_output=1.0), "fixed_output", "one output")
each("MLP.init(key)", NET.init, NOT_KEY, "key", ONE_KEY)
each("MLP.apply(params)", lambda v: NET.apply(v, X), NOT_WEIGHTS, "params", "shape|dict")
each(
    "MLP.apply(x)",
    lambda v: NET.apply(W, v),
    (X[:, 0], X[0], X.T, 1.0, None),
    "x",
    r"shape \(N, 1\)|numbers",
)
each("MLP.apply(x)", lambda v: NET.apply(W, v), NOT_NUMBERS, "x", "numbers")
good("MLP.apply(DataFrame)", lambda: NET.apply(W, pd.DataFrame(X)), lambda v: v.shape == (4, 1))
good(
    "MLP.apply(tensor)", lambda: NET.apply(W, tensor(X)), lambda v: np.allclose(v, NET.apply(W, X))
)
good("MLP.apply(whole numbers)", lambda: NET.apply(W, [[1], [2]]), lambda v: v.dtype == jnp.float64)
bad("MLP.apply(many sets)", lambda: NET.apply(Q.sample(KEY, 5), X), "params", "shape")

# ---------------------------------------------------------------------------------------------
# Symmetry
# ---------------------------------------------------------------------------------------------

AXES = (("W1", 1), ("b1", 0), ("W2", 0))
each("UnitGroup(size)", lambda v: symvi.UnitGroup("h", v, AXES), NOT_WHOLE, "size", NOT_COUNT)
bad(
    "UnitGroup(size, remedy)",
    lambda: symvi.UnitGroup("h", 0, AXES),
    "^size of group",
    "",
    "e size=10$",
)
good("UnitGroup(numpy size)", lambda: symvi.UnitGroup("h", np.int64(3), AXES).size, (3).__eq__)
each(
    "UnitGroup(name)",
    lambda v: symvi.UnitGroup(v, 3, AXES),
    (None, 3, ["h"], ""),
    "name",
    "name|string|text",
)
each(
    "UnitGroup(axes)",
    lambda v: symvi.UnitGroup("h", 3, v),
    (None, 3, "W1", (("W1",),), (("W1", "1"),), ((1, "W1"),), (("W1", 1.5),), (("W1", True),)),
    "axes|axis|group|UnitGroup|param",
    "axis|axes|parameter|triple|entries|whole|an int >= 0",
)
each(
    "UnitGroup(places)",
    lambda v: symvi.UnitGroup("h", 2, (("W1", 1, v),)),
    (((0,), (0,)), ((0,), (-1,)), ((0,),), ((0, 1), (2,)), ((0.5,), (1,)), 3, "ab"),
    "group|places|axes",
    "rows|places",
)
each(
    "Symmetry(groups)",
    symvi.Symmetry,
    (None, 3, "ab", (3,), (AXES,), symvi.UnitGroup),
    "groups",
    "UnitGroup",
)
bad(
    "Symmetry(groups of one name)",
    lambda: symvi.Symmetry(
        (symvi.UnitGroup("h", 3, (("a", 0),)), symvi.UnitGroup("h", 2, (("b", 0),)))
    ),
    "groups",
    "names|once",
)
each(
    "Symmetry(signed)",
    lambda v: symvi.Symmetry(GROUP.groups, v),
    (*NOT_FLAG, ("hidden7",), (1,)),
    "signed",
    "True, False or a tuple of names",
)
good(
    "Symmetry(some signed)",
    lambda: symvi.Symmetry(GROUP.rename("a.").groups + GROUP.groups, ["a.hidden1"]).order,
    (6 * 6 * 8).__eq__,
)
good("Symmetry(list)", lambda: hash(symvi.Symmetry(list(GROUP.groups))), hash(GROUP).__eq__)
each("Symmetry.sample(key)", lambda v: GROUP.sample(v, 2), NOT_KEY, "key", ONE_KEY)
each("Symmetry.sample(num)", lambda v: GROUP.sample(KEY, v), NOT_WHOLE, "num", NOT_COUNT)
good(
    "Symmetry.sample(numpy num)",
    lambda: GROUP.sample(KEY, np.int32(2)).perms["hidden1"].shape,
    (2, 3).__eq__,
)
bad("Symmetry.elements", WIDE.symmetry.elements, "elements", "at most 100000 elements", "sample")
SIGNED = symvi.MLP([1, 3, 1], "tanh", signed=True).symmetry
E = GROUP.identity()


def element(perm, sign=None) -> symvi.symmetry.Element:
    signs = {} if sign is None else {"hidden1": np.asarray(sign)}
    return symvi.symmetry.Element({"hidden1": np.asarray(perm)}, signs)


NO_ELEMENTS = (
    lambda: element([0, 1]),
    lambda: element([0, 0, 1]),
    lambda: element([0, 1, 3]),
    lambda: element([-1, 0, 1]),
    lambda: element([0.0, 1.0, 2.5]),
    lambda: symvi.symmetry.Element({}, {}),
    lambda: GROUP.sample(KEY, 2),
    lambda: None,
    lambda: "e",
    lambda: symvi.symmetry.Element,
)
for number, made in enumerate(NO_ELEMENTS):
    bad(
        f"Symmetry.act(g {number})",
        lambda made=made: GROUP.act(made(), W),
        "group element|g",
        "permutation|each of|Element|whole numbers|element",
    )
each(
    "Symmetry.act(signs)",
    lambda v: SIGNED.act(element([0, 1, 2], v), W),
    (None, [1, -1], [3, 0, 1], [1, 1, NAN], [0.5, 1.0, 1.0]),
    "group element|signs",
    "signs|1",
)
each("Symmetry.act(params)", lambda v: GROUP.act(E, v), NOT_WEIGHTS, "params", "size 3|dict")
for number, made in enumerate(NO_ELEMENTS[:1] + NO_ELEMENTS[5:]):
    if number != 2:  # a batch composes
        bad(
            f"Symmetry.compose({number})",
            lambda made=made: GROUP.compose(E, made()),
            "group element|g|h|compose",
            "permutation|shape|Element|size|element|leading",
        )
each(
    "Symmetry.inverse",
    lambda v: GROUP.inverse(v),
    (None, "e", symvi.symmetry.Element),
    "group element|g",
    "permutation|Element|element",
)
each("Symmetry.group", GROUP.group, ("hidden9", 3, ["hidden1"], NAN), "group|name", "one of")
bad("Symmetry.group of two", DEEP.symmetry.group, "group|name", "one of", "name")
each("Symmetry.units", GROUP.units, NOT_WEIGHTS, "params", "size 3|dict")
each("Symmetry.own_units", GROUP.own_units, NOT_WEIGHTS, "params", "size 3|dict")
each(
    "Symmetry.with_own_units",
    lambda v: GROUP.with_own_units(W, v),
    (np.ones((3, 2)), np.ones((2, 3)), np.ones(9), None, "units"),
    "units",
    r"shape \(3, 3\)|numbers",
)
SHARED = symvi.Symmetry((symvi.UnitGroup("r", 3, (("W", 0), ("W", 1))),))
bad("Symmetry.units of a shared layer", lambda: SHARED.units({"W": np.eye(3)}), "group", "one axis")
each("Symmetry.rename", lambda v: GROUP.rename(v), (3, None, ["a"]), "prefix", "string|text|str")
each(
    "Symmetry +",
    lambda v: GROUP + v,
    (3, None, "G", symvi.Symmetry),
    r"\+|symmetry|other",
    "Symmetry",
)
bad("Symmetry + itself", lambda: GROUP + GROUP, "", "", "rename")
good("Symmetry + signed", lambda: (GROUP.rename("a.") + SIGNED).order, (6 * 48).__eq__)
good("Symmetry + renamed", lambda: (GROUP.rename("a.") + GROUP.rename("b.")).order, (36).__eq__)
WRONG = symvi.Symmetry((symvi.UnitGroup("hidden1", 3, (("W1", 1),)),))
bad("Symmetry.verify(wrong)", lambda: WRONG.verify(NET.apply, W, X), "verify", "unchanged to 1e-10")
bad(
    "Symmetry.verify(wrong, times 1e9)",
    lambda: WRONG.verify(lambda w, x: 1e9 * NET.apply(w, x), W, X),
    "verify",
    "unchanged to 1e-10",
)
good(
    "Symmetry.verify(right, times 1e9)",
    lambda: GROUP.verify(lambda w, x: 1e9 * NET.apply(w, x), W, X),
    lambda v: v < 1e-12,
)
each(
    "Symmetry.verify(num)",
    lambda v: GROUP.verify(NET.apply, W, X, num=v),
    (0, 2.5, "3", True),
    "num",
    NOT_COUNT,
)
each(
    "Symmetry.verify(key)",
    lambda v: GROUP.verify(NET.apply, W, X, key=v),
    (0, "key"),
    "key",
    ONE_KEY,
)
each(
    "Symmetry.verify(tolerance)",
    lambda v: GROUP.verify(NET.apply, W, X, tolerance=v),
    (NAN, -1.0, "0.1", True, INF),
    "tolerance",
    "positive",
)
each(
    "Symmetry.verify(params)",
    lambda v: GROUP.verify(NET.apply, v, X),
    (OTHER, None, {}),
    "params",
    "shape|size|dict",
)
each(
    "swap",
    lambda v: symvi.symmetry.swap(GROUP, 0, v),
    (3, -1, 0.0, "1", True, None, NAN),
    "swap|i|j",
    r"units in 0..2|unit",
)
good(
    "swap(numpy integers)",
    lambda: symvi.symmetry.swap(GROUP, np.int64(0), np.int8(2)).perms["hidden1"].tolist(),
    [2, 1, 0].__eq__,
)
each(
    "swap(symmetry)",
    lambda v: symvi.symmetry.swap(v, 0, 1),
    (None, NET, symvi.Symmetry),
    "symmetry",
    "Symmetry",
)

# ---------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------

each("Gaussian(scale)", symvi.Gaussian, NOT_POSITIVE, "scale", "positive finite number or None")
good("Gaussian(numpy)", lambda: symvi.Gaussian(np.float32(0.5)), symvi.Gaussian(0.5).__eq__)
good(
    "Gaussian(0-d)", lambda: hash(symvi.Gaussian(jnp.array(0.5))), hash(symvi.Gaussian(0.5)).__eq__
)
each(
    "BNN(net)",
    lambda v: symvi.BNN(v, symvi.Gaussian()),
    (None, "mlp", symvi.MLP, 3, [1, 3, 1], np.tanh),
    "net",
    "network|MLP",
)
each(
    "BNN(likelihood)",
    lambda v: symvi.BNN(NET, v),
    (None, "gaussian", symvi.Gaussian, 0.1, Anything(), {}),
    "likelihood",
    "likelihood|Likelihood|Gaussian",
)
each(
    "BNN(prior_scale)",
    lambda v: symvi.BNN(NET, symvi.Gaussian(), v),
    (0, -1.0, NAN, INF, "1", Anything()),
    "prior_scale",
    "positive finite numbers|numbers",
)
each(
    "BNN(prior_scale)",
    lambda v: symvi.BNN(NET, symvi.Gaussian(), v),
    ({}, {"W1": 1.0}, {"W1": 1.0, "b1": 1.0, "W2": 1.0, "b2": 1.0, "b3": 1.0}),
    "prior_scale",
    "one entry for each",
)
for text, value in {"distribution": numpyro.distributions.Normal(0, 1), "number": -1.0}.items():
    bad(
        f"BNN(prior_scale={text}, said of all)",
        lambda value=value: symvi.BNN(NET, symvi.Gaussian(), value),
        "^prior_scale$",
        "numbers",
        "^pass the standard deviation",
    )
ONES = dict.fromkeys(NET.shapes, 1.0)
bad(
    "BNN(prior_scale of one)",
    lambda: symvi.BNN(NET, symvi.Gaussian(), ONES | {"b1": numpyro.distributions.Normal(0, 1)}),
    r"^prior_scale\['b1'\]$",
    "numbers",
    "^pass the standard deviation",
)
bad(
    "BNN(prior_scale shape)",
    lambda: symvi.BNN(NET, symvi.Gaussian(), ONES | {"W1": np.ones(5)}),
    "prior_scale",
    "shape",
)
bad(
    "BNN(prior_scale moves)",
    lambda: symvi.BNN(NET, symvi.Gaussian(), ONES | {"b1": np.array([1.0, 1.0, 2.0])}),
    "prior_scale",
    "invariant under the group",
)
good(
    "BNN(prior_scale numpy)",
    lambda: symvi.BNN(NET, symvi.Gaussian(0.5), np.float32(1)).log_prior(W),
    lambda v: np.isclose(v, BNN.log_prior(W)),
)
each("BNN.init(key)", BNN.init, NOT_KEY, "key", ONE_KEY)
each("BNN.sample_prior(key)", BNN.sample_prior, NOT_KEY, "key", ONE_KEY)
each("BNN.log_prior(params)", BNN.log_prior, NOT_WEIGHTS, "params", "shape|dict")
each("BNN.log_joint(params)", lambda v: BNN.log_joint(v, X, Y), NOT_WEIGHTS, "params", "shape|dict")

# Each of these takes the data of a model: x and y must be refused alike.
READERS = {
    "check_data": BNN.check_data,
    "log_likelihood": lambda x, y: BNN.log_likelihood(W, x, y),
    "fit": lambda x, y: fit(x=x, y=y),
    "elbo": lambda x, y: symvi.elbo(BNN, Q, x, y, num_samples=2),
    "nuts": lambda x, y: symvi.nuts(BNN, x, y, chains=1, warmup=1, draws=1),
    "log_evidence": lambda x, y: symvi.log_evidence(BNN, x, y, particles=2, repeats=2),
    "bridge_evidence": lambda x, y: symvi.truth.bridge_evidence(BNN, draws(2, 20), x, y),
    "grid_posterior": lambda x, y: symvi.grid_posterior(TWO, x, y, panels=2, order=2),
    "inference_data": lambda x, y: symvi.draws.inference_data(BNN, draws(), x, y),
}
for reader, read in READERS.items():
    each(
        f"{reader}(x)",
        lambda v, read=read: read(v, Y),
        (X[:, 0], X[:, [0, 0]], X[0]),
        "x",
        r"shape \(N, 1\)",
    )
    each(
        f"{reader}(x)",
        lambda v, read=read: read(v, Y),
        (spoiled({"W1": X}, NAN)["W1"], spoiled({"W1": X}, INF)["W1"]),
        "x",
        "finite numbers",
    )
    each(
        f"{reader}(x)",
        lambda v, read=read: read(v, Y),
        (None, "text", np.array([[None]] * 4)),
        "x",
        "numbers",
    )
    bad(
        f"{reader}(fewer y)",
        lambda read=read: read(X, Y[:3]),
        "y",
        "shape",
        "x has 4 rows, y has 3: give both one row a datum",
    )
    bad(f"{reader}(no data)", lambda read=read: read(X[:0], Y[:0]), "x", "at least one|N >= 1")
    each(
        f"{reader}(y)",
        lambda v, read=read: read(X, v),
        (Y[:3], np.ones((4, 2)), Y[None]),
        "y",
        r"shape \(4, 1\)",
    )
    each(
        f"{reader}(y)",
        lambda v, read=read: read(X, v),
        (spoiled({"W1": Y}, NAN)["W1"], spoiled({"W1": Y}, INF)["W1"]),
        "y",
        "finite",
    )
    each(
        f"{reader}(y)",
        lambda v, read=read: read(X, v),
        ("text", np.array([[None]] * 4)),
        "y",
        "numbers",
    )
    if reader != "check_data":
        bad(
            f"{reader}(y=None)",
            lambda read=read: read(X, None),
            "y",
            "numbers|shape|observed outputs",
        )

each("check_data(x)", lambda v: BNN.check_data(v, Y), NOT_NUMBERS, "x", "numbers")
bad("check_data(complex)", lambda: BNN.check_data(jnp.asarray(X) * 1j, Y), "x", "numbers")
bad(
    "check_data(mixed DataFrame)",
    lambda: BNN.check_data(pd.DataFrame({"x": list("abcd")}), Y),
    "x",
    "numbers",
)
bad(
    "check_data(tensor with gradient)",
    lambda: BNN.check_data(tensor(X, requires_grad=True), Y),
    "x",
    "numbers",
)
good(
    "check_data(DataFrame)",
    lambda: BNN.check_data(pd.DataFrame(X), pd.DataFrame(Y))[1],
    lambda y: np.allclose(y, Y),
)
good(
    "check_data(tensor)",
    lambda: BNN.check_data(tensor(X), tensor(Y))[0],
    lambda x: np.allclose(x, X),
)
good(
    "check_data(lists)",
    lambda: BNN.check_data(X.tolist(), Y.tolist())[1],
    lambda y: np.allclose(y, Y),
)
good("check_data(flat y)", lambda: BNN.check_data(X, Y[:, 0])[1], lambda y: y.shape == (4, 1))
good(
    "check_data(Series)",
    lambda: BNN.check_data(X, pd.Series(Y[:, 0]))[1],
    lambda y: y.shape == (4, 1),
)
good(
    "check_data(bool x)",
    lambda: BNN.log_joint(W, X > 0, Y),
    lambda v: np.isclose(v, BNN.log_joint(W, 1.0 * (X > 0), Y)),
)


def single(call):
    """`call` in single precision, where JAX wraps large whole numbers round."""
    with jax.enable_x64(False):
        return call()


bad(
    "check_data(int64 x, single)",
    lambda: single(lambda: BNN.check_data(np.full((4, 1), 2**40), Y)),
    "x",
    "32 bits",
)
bad(
    "check_data(int64 label, single)",
    lambda: single(lambda: CLASSES.check_data(X, np.array([0, 1, 2, 2**32 + 1]))),
    "y",
    r"32 bits|labels in 0\.\.2",
)
each(
    "labels",
    lambda v: CLASSES.check_data(X, v),
    (np.array([0, 1, 2, 3]), np.array([0, 1, 2, -1]), np.array([0, 1, 2, 2**40])),
    "y",
    r"labels in 0\.\.2",
)
each(
    "labels",
    lambda v: CLASSES.check_data(X, v),
    (np.eye(4)[:, :3], LABELS[:3], np.array(["a"] * 4), np.array([None] * 4)),
    "y",
    "labels|numbers",
)
bad(
    "labels(float)",
    lambda: CLASSES.check_data(X, LABELS * 1.0),
    "y",
    "integer labels",
    "astype|int",
)
bad("labels(bool)", lambda: CLASSES.check_data(X, LABELS > 0), "y", "integer labels", "astype|int")
bad(
    "labels(one-hot)",
    lambda: CLASSES.check_data(X, np.eye(3, dtype=int)[LABELS]),
    "y",
    "labels",
    "one-hot",
)
good(
    "labels(list)",
    lambda: CLASSES.check_data(X, LABELS.tolist())[1],
    lambda y: np.array_equal(y, LABELS),
)
good(
    "labels(int8)",
    lambda: CLASSES.log_likelihood(CLASSES.init(KEY), X, LABELS.astype(np.int8)),
    np.isfinite,
)
each(
    "numpyro_model(x)",
    lambda v: BNN.numpyro_model(v),
    (None, X[:, 0], "text"),
    "x",
    "shape|numbers",
)

# ---------------------------------------------------------------------------------------------
# Posteriors
# ---------------------------------------------------------------------------------------------

POSTERIORS = {"MeanField": symvi.MeanField, "UnitNormal": symvi.UnitNormal}
for name, made in POSTERIORS.items():
    each(
        f"{name}(loc)",
        lambda v, made=made: made(v, SCALE, GROUP),
        (None, "w", [1.0], 3, W["W1"], Anything()),
        "loc",
        "dict",
    )
    each(
        f"{name}(scale)",
        lambda v, made=made: made(W, v, GROUP),
        (None, "w", 1.0, OTHER, {}),
        "scale",
        "dict|names and shapes",
    )
    each(
        f"{name}(loc entry)",
        lambda v, made=made: made(spoiled(W, v), SCALE, GROUP),
        (NAN, INF),
        "loc",
        "finite",
    )
    each(
        f"{name}(scale entry)",
        lambda v, made=made: made(W, spoiled(SCALE, v), GROUP),
        (NAN, INF, 0.0, -1.0),
        "scale",
        "positive finite",
    )
    bad(
        f"{name}(text)",
        lambda made=made: made(replaced(W, b2="a"), replaced(SCALE, b2="a"), GROUP),
        "loc",
        "numbers",
    )
    bad(
        f"{name}(objects)",
        lambda made=made: made(replaced(W, b2=None), replaced(SCALE, b2=None), GROUP),
        "loc",
        "numbers",
    )
    each(
        f"{name}(symmetry)",
        lambda v, made=made: made(W, SCALE, v),
        (None, NET, symvi.Symmetry, "S3"),
        "symmetry",
        "Symmetry",
    )
    bad(
        f"{name}(other symmetry)",
        lambda made=made: made(W, SCALE, symvi.MLP([1, 10, 1]).symmetry),
        "params|loc",
        "size 10",
    )
    bad(
        f"{name}(deeper symmetry)",
        lambda made=made: made(W, SCALE, DEEP.symmetry),
        "params|loc",
        "size 2",
    )

SAMPLERS = {"MeanField": Q, "UnitNormal": symvi.UnitNormal(W, SCALE, GROUP), "Symmetrized": QG}
for name, q in SAMPLERS.items():
    each(f"{name}.sample(key)", lambda v, q=q: q.sample(v, 2), NOT_KEY, "key", ONE_KEY)
    each(
        f"{name}.sample(num)",
        lambda v, q=q: q.sample(KEY, v),
        (0, -1, 2.5, "3", True, NAN),
        "num|sample_shape",
        NOT_COUNT,
    )
    good(
        f"{name}.sample(numpy num)",
        lambda q=q: q.sample(KEY, np.int64(2))["W1"].shape,
        (2, 1, 3).__eq__,
    )
    each(
        f"{name}.log_prob",
        q.log_prob,
        (
            OTHER,
            {},
            {"W1": W["W1"]},
            replaced(W, W1=np.ones((1, 1))),
            replaced(W, b1=np.ones((2, 4))),
        ),
        "params|value|loc",
        "shape|names|parameter",
    )
    each(
        f"{name}.log_prob",
        q.log_prob,
        (None, "w", Anything()),
        "params|value",
        "dict|numbers|weights",
    )

each(
    "UnitNormal(lower)",
    lambda v: symvi.UnitNormal(W, SCALE, GROUP, v),
    ({"hidden1": np.ones((3, 2, 2))}, {"hidden1": np.ones(3)}, {"hidden1": "a"}, {"hidden1": None}),
    "lower",
    "shape|numbers",
)
each(
    "UnitNormal(lower entry)",
    lambda v: symvi.UnitNormal(W, SCALE, GROUP, {"hidden1": np.full((3, 3, 3), v)}),
    (NAN, INF),
    "lower",
    "finite",
)
each(
    "UnitNormal(lower)",
    lambda v: symvi.UnitNormal(W, SCALE, GROUP, v),
    (None, 3, "L", {"hidden9": np.ones((3, 3, 3))}),
    "lower|group",
    "dict|one of",
)
each(
    "Symmetrized(base)",
    symvi.Symmetrized,
    (None, {}, W, GROUP, symvi.MeanField, "q", 3),
    "base|q",
    "MeanField",
)
each(
    "Symmetrized(method)",
    lambda v: symvi.Symmetrized(Q, method=v),
    ("nonsense", 3, [], Anything()),
    "method",
    "one of|method|exact",
)
each(
    "Symmetrized(order)",
    lambda v: symvi.Symmetrized(Q, order=v),
    (("W1",), ("W1", "W1", "b1", "b2"), 3, "W1"),
    "order",
    "names",
)
each(
    "Symmetrized.log_prob(flat)",
    QG.log_prob,
    (np.ones(9), np.ones((2, 11)), 1.0),
    "value",
    "10 weights",
)
each(
    "Symmetrized.sample(shape)",
    lambda v: QG.sample(KEY, v),
    ((-1,), (2.5,), ("a",), Anything()),
    "num|sample_shape",
    "whole number|shape",
)
WIDE_QG = symvi.Symmetrized(mean_field(WIDE))
bad(
    "Symmetrized.log_prob(wide)",
    lambda: WIDE_QG.log_prob(WIDE.init(KEY)),
    "method",
    "n <= 16|one hidden layer",
)
bad("Symmetrized.mean(wide)", lambda: WIDE_QG.mean, "elements", "at most 100000")
each(
    "Symmetrized.entropy(num_samples)",
    lambda v: QG.entropy(KEY, v),
    (0, 2.5, "3", True),
    "num_samples|num",
    NOT_COUNT,
)
each("Symmetrized.entropy(key)", lambda v: QG.entropy(v, 2), (0, "key"), "key", ONE_KEY)

# ---------------------------------------------------------------------------------------------
# The orbit information, and its methods
# ---------------------------------------------------------------------------------------------

NOT_POSTERIOR = (None, {}, W, "q", 3, GROUP, symvi.MeanField, Anything())
each("orbit_information(q)", symvi.orbit_information, NOT_POSTERIOR, "q", "MeanField|posterior")
each(
    "orbit_information(method)",
    lambda v: symvi.orbit_information(Q, v),
    ("nonsense", 3, ["exact"], Anything(), NAN),
    "method",
    "one of|'exact'",
)
bad(
    "orbit_information(method=class)",
    lambda: symvi.orbit_information(Q, symvi.information.Guided),
    "method",
    "",
    r"Guided\(|instance|one of",
)
each(
    "orbit_information(key)",
    lambda v: symvi.orbit_information(Q, "exact", v),
    NOT_KEY,
    "key",
    ONE_KEY,
)
for count in ("num_samples", "num_permutations"):
    each(
        f"orbit_information({count})",
        lambda v, count=count: symvi.orbit_information(Q, "infonce", KEY, **{count: v}),
        NOT_WHOLE[:6],
        count,
        NOT_COUNT,
    )
bad(
    "orbit_information(wide, exact)",
    lambda: symvi.orbit_information(WIDE_QG),
    "exact|method",
    "n <= 16|one hidden layer",
    "guided|pairwise",
)
bad(
    "orbit_information(deep, bethe)",
    lambda: symvi.orbit_information(mean_field(DEEP), "bethe"),
    "method",
    "one hidden layer",
    "method=",
)
good(
    "orbit_information(Fit)",
    lambda: symvi.orbit_information(a_fit(), "pairwise"),
    lambda v: 0 <= v.lower.value <= v.upper.value,
)
good(
    "orbit_information(Symmetrized)",
    lambda: symvi.orbit_information(QG, "pairwise"),
    symvi.orbit_information(Q, "pairwise").__eq__,
)
good(
    "orbit_information(method object)",
    lambda: symvi.orbit_information(Q, symvi.information.InfoNCE(3), KEY, num_samples=5),
    lambda v: v == symvi.orbit_information(Q, "infonce", KEY, num_samples=5, num_permutations=3),
)
good(
    "orbit_information(numpy counts)",
    lambda: symvi.orbit_information(
        Q, "infonce", KEY, num_samples=np.int64(5), num_permutations=np.int64(3)
    ),
    lambda v: v == symvi.orbit_information(Q, "infonce", KEY, num_samples=5, num_permutations=3),
)
each("InfoNCE", lambda v: symvi.information.InfoNCE(v), NOT_WHOLE, "num_permutations", NOT_COUNT)
each("Guided", lambda v: symvi.information.Guided(v), NOT_WHOLE, "num_permutations", NOT_COUNT)
good(
    "InfoNCE(numpy)",
    lambda: symvi.information.InfoNCE(np.int64(3)),
    lambda v: v == symvi.information.InfoNCE(3),
)
good(
    "Guided hashes alike",
    lambda: hash(symvi.information.Guided(np.int64(3))),
    lambda v: v == hash(symvi.information.Guided(3)),
)

# ---------------------------------------------------------------------------------------------
# Fits
# ---------------------------------------------------------------------------------------------

NOT_BNN = (None, NET, symvi.BNN, "bnn", {})
bad("fit(seed=key)", lambda: fit(seed=KEY), "seed", "int >= 0", "seed=0")
bad("fit(init=list)", lambda: fit(init=[1, 2]), "init", "dict of weights", "array|posterior")
each("fit(bnn)", lambda v: fit(v), NOT_BNN, "bnn", "BNN")
each(
    "fit(symmetrize)",
    lambda v: fit(symmetrize=v),
    ("nonsense", 3, True, ["exact"], Anything()),
    "symmetrize",
    "one of|'exact'",
)
bad(
    "fit(symmetrize=class)",
    lambda: fit(symmetrize=symvi.information.Guided),
    "symmetrize",
    "",
    r"Guided\(|instance|one of",
)
bad(
    "fit(deep, bethe)",
    lambda: fit(symvi.BNN(DEEP, symvi.Gaussian()), symmetrize="bethe"),
    "symmetrize",
    "one hidden layer",
    "symmetrize=",
)
bad(
    "fit(wide, exact)",
    lambda: fit(symvi.BNN(WIDE, symvi.Gaussian()), symmetrize="exact"),
    "exact|symmetrize",
    "n <= 16|one hidden layer",
)
for count in ("steps", "restarts", "num_samples"):
    each(f"fit({count})", lambda v, count=count: fit(**{count: v}), NOT_WHOLE, count, NOT_COUNT)
each(
    "fit(num_permutations)",
    lambda v: fit(symmetrize="infonce", num_permutations=v),
    NOT_WHOLE[:6],
    "num_permutations",
    NOT_COUNT,
)
each(
    "fit(batch_size)",
    lambda v: fit(batch_size=v),
    (0, -1, 2.5, "2", True, NAN),
    "batch_size",
    NOT_COUNT,
)
bad("fit(batch_size > N)", lambda: fit(batch_size=5), "batch_size", "at most N = 4")
for rate in ("learning_rate", "initial_scale"):
    each(
        f"fit({rate})",
        lambda v, rate=rate: fit(**{rate: v}),
        (*NOT_POSITIVE, None),
        rate,
        "positive",
    )
    for value in (np.array(0.01), jnp.float32(0.01), np.float64(0.01)):
        good(
            f"fit({rate}={type(value).__name__})",
            lambda rate=rate, value=value: fit(**{rate: value}).losses.shape,
            (2, 1).__eq__,
        )
each(
    "fit(covariance)",
    lambda v: fit(covariance=v),
    ("full", None, 3, ["unit"]),
    "covariance",
    "one of 'diagonal'",
)
each(
    "fit(monitor_every)",
    lambda v: fit(steps=4, monitor_every=v),
    (0, -1, 2.5, "2", True),
    "monitor_every",
    NOT_COUNT,
)
bad(
    "fit(monitor_every=3)",
    lambda: fit(steps=4, monitor_every=3),
    "monitor_every",
    "divisor of steps = 4",
)
each("fit(seed)", lambda v: fit(seed=v), NOT_SEED, "seed", "int >= 0")
each("fit(seed, batches)", lambda v: fit(seed=v, batch_size=2), (-1, 1.5, "0"), "seed", "int >= 0")
good(
    "fit(numpy seed)",
    lambda: fit(seed=np.int64(3)).losses,
    lambda v: np.array_equal(v, fit(seed=3).losses),
)
each("fit(progress)", lambda v: fit(progress=v), ("no", 3, None), "progress", "True or False")
each(
    "fit(init)",
    lambda v: fit(init=v),
    (OTHER, "w", 3, spoiled(W, NAN)),
    "init|loc",
    "shape|parameters|dict|finite|names|MeanField",
)


def in_folder(action):
    """A call that gets an empty folder of its own."""

    def call(folder):
        return action(folder)

    call.needs_folder = True
    return call


def junk(path):
    path.write_bytes(b"not what you think")
    return path


@in_folder
def checkpoint_of_another_fit(folder):
    fit(checkpoint=folder / "c.npz", seed=1)
    fit(checkpoint=folder / "c.npz", seed=2)


bad("fit(checkpoint=folder)", in_folder(lambda f: fit(checkpoint=f)), "checkpoint", "file", "file")
bad(
    "fit(checkpoint=junk)",
    in_folder(lambda f: fit(checkpoint=junk(f / "c"))),
    "checkpoint",
    "checkpoint",
    "delete",
)
bad("fit(checkpoint of another)", checkpoint_of_another_fit, "checkpoint", "this fit", "delete")
each(
    "fit(checkpoint)",
    lambda v: fit(checkpoint=v),
    (3, Anything(), ["c"]),
    "checkpoint",
    "path|file",
)

each("elbo(bnn)", lambda v: symvi.elbo(v, Q, X, Y), NOT_BNN, "bnn", "BNN")
each("elbo(q)", lambda v: symvi.elbo(BNN, v, X, Y), NOT_POSTERIOR, "q", "MeanField|posterior")
bad(
    "elbo(q of another)",
    lambda: symvi.elbo(BNN, mean_field(symvi.MLP([1, 5, 1])), X, Y),
    "q|params",
    "shape|parameters",
)
each(
    "elbo(symmetrize)",
    lambda v: symvi.elbo(BNN, Q, X, Y, symmetrize=v),
    ("nonsense", 3, ["exact"]),
    "symmetrize",
    "one of|'exact'",
)
each("elbo(key)", lambda v: symvi.elbo(BNN, Q, X, Y, key=v), NOT_KEY, "key", ONE_KEY)
each(
    "elbo(num_samples)",
    lambda v: symvi.elbo(BNN, Q, X, Y, num_samples=v),
    NOT_WHOLE,
    "num_samples",
    NOT_COUNT,
)
good(
    "elbo(Fit)",
    lambda: symvi.elbo(BNN, a_fit(), X, Y, num_samples=3),
    lambda v: v == symvi.elbo(BNN, a_fit().posterior, X, Y, num_samples=3),
)

FIT_CALLS = {
    "predict": lambda x=X, **options: a_fit().predict(x, **options),
    "predictive": lambda x=X, **options: a_fit().predictive(x, **options),
}
for name, call in FIT_CALLS.items():
    each(
        f"Fit.{name}(x)",
        lambda v, call=call: call(v),
        (X[:, 0], np.ones((4, 2)), None, "x", np.full((2, 1), NAN)),
        "x",
        "shape|numbers",
    )
    each(f"Fit.{name}(num)", lambda v, call=call: call(num=v), NOT_WHOLE, "num", NOT_COUNT)
    each(f"Fit.{name}(key)", lambda v, call=call: call(key=v), NOT_KEY, "key", ONE_KEY)
    good(
        f"Fit.{name}(DataFrame)",
        lambda call=call: call(pd.DataFrame(X), num=2).shape,
        lambda v: v[:2] == (2, 4),
    )
each("Fit.sample(key)", lambda v: a_fit().sample(v, 2), NOT_KEY, "key", ONE_KEY)
each("Fit.sample(num)", lambda v: a_fit().sample(KEY, v), NOT_WHOLE, "num", NOT_COUNT)
each(
    "Fit.to_inference_data(y)",
    lambda v: a_fit().to_inference_data(X, v),
    (None, Y[:3], "y"),
    "y",
    "shape|numbers",
)
bad("Fit.save(folder)", in_folder(lambda f: a_fit().save(f)), "path", "file", "file")
each("Fit.save", lambda v: a_fit().save(v), (None, 3, Anything()), "path", "path|file")
bad("load(folder)", in_folder(lambda f: symvi.load(f)), "path|load", "fit|file")
bad("load(junk)", in_folder(lambda f: symvi.load(junk(f / "c"))), "path|load", "fit|file")
each("load", lambda v: symvi.load(v), (None, 3, Anything()), "path", "path|file")

# ---------------------------------------------------------------------------------------------
# The truth, and draws
# ---------------------------------------------------------------------------------------------


def nuts(bnn=BNN, **options):
    return symvi.nuts(
        bnn, X, Y, **{"chains": 1, "warmup": 1, "draws": 1, "progress": False} | options
    )


each("nuts(bnn)", lambda v: nuts(v), NOT_BNN, "bnn", "BNN")
for count in ("chains", "warmup", "draws", "max_tree_depth"):
    each(
        f"nuts({count})", lambda v, count=count: nuts(**{count: v}), NOT_WHOLE[:6], count, NOT_COUNT
    )
each(
    "nuts(target_accept)",
    lambda v: nuts(target_accept=v),
    NOT_FRACTION,
    "target_accept",
    "number between 0 and 1",
)
each("nuts(seed)", lambda v: nuts(seed=v), NOT_SEED, "seed", "int >= 0")
each("nuts(progress)", lambda v: nuts(progress=v), ("no", 3), "progress", "True or False")


def evidence(bnn=BNN, **options):
    return symvi.log_evidence(bnn, X, Y, **{"particles": 2, "repeats": 2} | options)


each("log_evidence(bnn)", lambda v: evidence(v), NOT_BNN, "bnn", "BNN")
for count in ("particles", "repeats"):
    each(
        f"log_evidence({count})",
        lambda v, count=count: evidence(**{count: v}),
        (1, *NOT_WHOLE[:6]),
        count,
        "whole number >= 2",
    )
each(
    "log_evidence(target_ess)",
    lambda v: evidence(target_ess=v),
    NOT_FRACTION,
    "target_ess",
    "number between 0 and 1",
)
each("log_evidence(seed)", lambda v: evidence(seed=v), NOT_SEED, "seed", "int >= 0")


def bridged(bnn=BNN, of=None, **options):
    of = draws(2, 20) if of is None else of
    return symvi.truth.bridge_evidence(bnn, of, X, Y, **options)


each("bridge_evidence(bnn)", lambda v: bridged(v), NOT_BNN, "bnn", "BNN")
each("bridge_evidence(seed)", lambda v: bridged(seed=v), NOT_SEED, "seed", "int >= 0")
each("bridge_evidence(drawn)", lambda v: bridged(of=v), ("draws", [1.0], 3), "draws", "dict")
bad(
    "bridge_evidence(one chain)",
    lambda: bridged(of=draws(1, 40)),
    "drawn",
    "at least 2 chains of 4 draws",
    "more chains",
)
bad("bridge_evidence(few)", lambda: bridged(of=draws(2, 19)), "drawn", "40 draws", "longer")
bad(
    "bridge_evidence(20 units)",
    lambda: bridged(symvi.BNN(WIDE, symvi.Gaussian(0.5)), draws_of(WIDE)),
    "bnn",
    r"\|G\| <= 5000",
    "log_evidence",
)


def grid(bnn=TWO, **options):
    return symvi.grid_posterior(bnn, X, Y, **{"panels": 2, "order": 2} | options)


each("grid_posterior(bnn)", lambda v: grid(v), NOT_BNN, "bnn", "BNN")
bad("grid_posterior(10 parameters)", lambda: grid(BNN), "bnn", "2 parameters", "nuts")
each("grid_posterior(limit)", lambda v: grid(limit=v), (*NOT_POSITIVE, None), "limit", "positive")
for count in ("panels", "order"):
    each(
        f"grid_posterior({count})",
        lambda v, count=count: grid(**{count: v}),
        NOT_WHOLE[:6],
        count,
        NOT_COUNT,
    )
good(
    "grid_posterior(numpy limit)",
    lambda: grid(limit=np.float32(6)).log_evidence,
    lambda v: v == grid().log_evidence,
)
each(
    "GridPosterior.expect",
    lambda v: grid().expect(v),
    (np.ones(8), np.ones((3, 3)), None, "w"),
    "values",
    r"shape \(8, 8\)|numbers",
)
each(
    "reference_model",
    symvi.reference_model,
    ("nonsense", None, 3, ["digits"]),
    "name",
    "one of 'two-weight'",
)
each(
    "reference_posterior",
    symvi.reference_posterior,
    ("nonsense", None, 3, ["digits"]),
    "name",
    "one of 'two-weight'",
)


@functools.cache
def drawn(chains=2, num=4):
    return symvi.draws.inference_data(BNN, draws(chains, num), X, Y)


each(
    "convergence(drawn)",
    lambda v: symvi.convergence(BNN, v, X, Y),
    (None, "draws", [1.0], symvi.BNN, 3),
    "drawn|draws",
    "InferenceData",
)
bad(
    "convergence(one chain)",
    lambda: symvi.convergence(BNN, drawn(1), X, Y),
    "convergence|drawn",
    "at least 2 chains",
)
bad(
    "convergence(3 draws)",
    lambda: symvi.convergence(BNN, drawn(2, 3), X, Y),
    "convergence|drawn",
    "at least 2 chains of 4",
)
bad(
    "convergence(draws of another)",
    lambda: symvi.convergence(CLASSES, drawn(), X, LABELS),
    "draws",
    "shape|parameters",
)
each(
    "convergence(x_new)",
    lambda v: symvi.convergence(BNN, drawn(), X, Y, v),
    (X[:, 0], np.ones((4, 2)), np.full((2, 1), NAN), np.ones((0, 1)), "x"),
    "x_new",
    "shape|numbers|row",
)
each(
    "acceptance(full)",
    lambda v: symvi.truth.acceptance(BNN, drawn(), X, Y, v),
    ([], [{}], [{"divergences": 0}]),
    "full",
    "divergences and bfmi",
)
bad(
    "posteriordb_rule(no sample_stats)",
    lambda: symvi.truth.posteriordb_rule(BNN, drawn()),
    "drawn",
    "sample_stats with diverging and energy",
)
each(
    "export_posteriordb(names)",
    lambda v: symvi.truth.export_posteriordb("never-written", v),
    ("mnist", ["mnist"], ["two-weight", 3]),
    "name",
    "one of 'two-weight'",
)
each(
    "export_posteriordb(no names)",
    lambda v: symvi.truth.export_posteriordb("never-written", v),
    ([], ()),
    "names",
    "at least one reference posterior",
)
bad(
    "export_posteriordb(folder)",
    in_folder(lambda f: symvi.truth.export_posteriordb(junk(f / "c"), ["two-weight"])),
    "folder",
    "new or empty folder",
)
each("convergence(bnn)", lambda v: symvi.convergence(v, drawn(), X, Y), NOT_BNN, "bnn", "BNN")
each(
    "inference_data(bnn)",
    lambda v: symvi.draws.inference_data(v, draws(), X, Y),
    NOT_BNN,
    "bnn",
    "BNN",
)
each(
    "inference_data(draws)",
    lambda v: symvi.draws.inference_data(BNN, v, X, Y),
    (W, {}, OTHER, {"W1": draws()["W1"]}, None, [1.0], "draws", 3),
    "draws",
    "parameters|shape|dict",
)
each(
    "inference_data(draw)",
    lambda v: symvi.draws.inference_data(BNN, spoiled(draws(), v), X, Y),
    (NAN, INF),
    "draws",
    "finite",
)
bad(
    "inference_data(text)",
    lambda: symvi.draws.inference_data(BNN, replaced(draws(), b2=np.full((2, 4, 1), "a")), X, Y),
    "draws",
    "numbers|finite",
)
bad(
    "inference_data(three axes)",
    lambda: symvi.draws.inference_data(BNN, {k: v[None] for k, v in draws().items()}, X, Y),
    "draws",
    "batch axes",
)
bad(
    "inference_data(infinite density)",
    lambda: symvi.draws.inference_data(
        BNN, spoiled(draws(), 1e308) | {"W2": np.full((2, 4, 3, 1), 1e308)}, X, Y
    ),
    "log_likelihood|draws",
    "finite",
)


def aligned(samples=None, reference=W, symmetry=GROUP):
    return symvi.align(draws() if samples is None else samples, reference, symmetry)


each("align(samples)", aligned, ({"W1": W["W1"]}, "w", [1.0], 3), "samples", "names|dict")
each("align(sample)", lambda v: aligned(spoiled(draws(), v)), (NAN, INF), "samples", "finite")
bad("align(other width)", lambda: aligned(symvi.MLP([1, 5, 1]).init(KEY)), "samples", "shape")
bad(
    "align(text)",
    lambda: aligned(replaced(draws(), b2=np.full((2, 4, 1), "a"))),
    "samples",
    "numbers|finite",
)
each(
    "align(reference)",
    lambda v: aligned(reference=v),
    ({"W1": W["W1"]}, None, "w", [1.0]),
    "samples|reference",
    "names|dict",
)
each(
    "align(reference entry)",
    lambda v: aligned(reference=spoiled(W, v)),
    (NAN, INF),
    "reference",
    "finite",
)
each(
    "align(symmetry)",
    lambda v: aligned(symmetry=v),
    (None, NET, symvi.Symmetry, "S3"),
    "symmetry",
    "Symmetry",
)
bad("align(other symmetry)", lambda: aligned(symmetry=WIDE.symmetry), "params|reference", "size 20")
good(
    "align(trivial group)",
    lambda: aligned(symmetry=symvi.Symmetry())["W1"],
    lambda v: np.array_equal(v, draws()["W1"]),
)


def compare(methods, **options):
    data = {"x": X, "y": Y, "x_test": X, "y_test": Y} | options
    return symvi.compare(
        BNN, methods, *(data.pop(k) for k in ("x", "y", "x_test", "y_test")), **data
    )


each(
    "compare(methods)",
    compare,
    ({}, None, [], "q", Q, {"a": None}, {"a": "q"}, {"a": 3}),
    "methods|draws",
    "posterior",
)
bad("compare(class)", lambda: compare({"a": symvi.MeanField}), "methods|q|draws", "posterior")
bad("compare(draws of another)", lambda: compare({"a": OTHER}), "draws|methods", "parameters|shape")
bad("compare(infinite draws)", lambda: compare({"a": spoiled(draws(), NAN)}), "draws", "finite")
each(
    "compare(num)",
    lambda v: compare({"a": Q}, num=v),
    (1, 99, *NOT_WHOLE[:6]),
    "num",
    "whole number >= 100",
)
each("compare(seed)", lambda v: compare({"a": Q}, seed=v), NOT_SEED, "seed", "int >= 0")
each(
    "compare(x_test)",
    lambda v: compare({"a": draws()}, x_test=v),
    (None, X[:, 0], np.full((4, 1), NAN)),
    "x",
    "shape|numbers",
)
each(
    "compare(y_test)",
    lambda v: compare({"a": draws()}, y_test=v),
    (None, Y[:3], np.full((4, 1), NAN)),
    "y",
    "shape|numbers|finite|observed outputs",
)
each(
    "compare(reference)",
    lambda v: compare({"a": draws()}, reference=v),
    (3, "r", drawn(1)),
    "reference|draws",
    "InferenceData|2 chains",
)
each(
    "compare(log_evidence)",
    lambda v: compare({"a": Q}, log_evidence=v),
    (3.0, "e", NAN),
    "log_evidence",
    "Estimate",
)
each("compare(bnn)", lambda v: symvi.compare(v, {"a": Q}, X, Y, X, Y), NOT_BNN, "bnn", "BNN")


class Own:
    """A posterior of one's own, but for what `log_prob` and `sample` give."""

    model = None

    def __init__(self, log_prob=None, sample=Q.sample):
        self.log_prob = log_prob or Q.log_prob
        self.sample = sample


class Elsewhere(Own):
    """One that predicts by another network."""

    model = symvi.BNN(symvi.MLP([1, 5, 1], "tanh"), symvi.Gaussian(0.5))


good("compare(own)", lambda: compare({"a": Own()}, num=100).table, len)
bad("compare(own model)", lambda: compare({"a": Elsewhere()}), "q.model", "parameters of bnn")
bad(
    "compare(own log_prob)",
    lambda: compare({"a": Own(lambda w: jnp.zeros(3))}, num=100),
    "q.log_prob",
    "one number a draw",
)
good("elbo(own)", lambda: symvi.elbo(BNN, Own(), X, Y).value, np.isfinite)
bad(
    "elbo(own draws)",
    lambda: symvi.elbo(BNN, Own(sample=lambda key, num: jnp.zeros(num)), X, Y),
    "draws",
    "a dict of draws",
)
bad(
    "elbo(own, symmetrize)",
    lambda: symvi.elbo(BNN, Own(), X, Y, symmetrize="exact"),
    "symmetrize",
    "None beside",
)

baselines = symvi.baselines
BASELINES = {
    "modes": baselines.modes,
    "laplace": baselines.laplace,
    "swag": baselines.swag,
    "multiswag": baselines.multiswag,
    "low_rank_gaussian": baselines.low_rank_gaussian,
}
for label, function in BASELINES.items():
    each(f"{label}(bnn)", lambda v, f=function: f(v, X, Y), NOT_BNN, "bnn", "BNN")
    bad(f"{label}(y)", lambda f=function: f(BNN, X, Y[:3]), "y", "shape")
    each(
        f"{label}(learning_rate)",
        lambda v, f=function: f(BNN, X, Y, learning_rate=v),
        NOT_POSITIVE,
        "learning_rate",
        "positive",
    )
    each(f"{label}(seed)", lambda v, f=function: f(BNN, X, Y, seed=v), NOT_SEED, "seed", "int >= 0")
for label in ("modes", "laplace", "multiswag", "low_rank_gaussian"):
    each(
        f"{label}(restarts)",
        lambda v, f=BASELINES[label]: f(BNN, X, Y, restarts=v),
        NOT_WHOLE,
        "restarts",
        NOT_COUNT,
    )
for label in ("modes", "laplace", "low_rank_gaussian"):
    each(
        f"{label}(steps)",
        lambda v, f=BASELINES[label]: f(BNN, X, Y, steps=v),
        NOT_WHOLE,
        "steps",
        NOT_COUNT,
    )
for name in ("rank", "epochs"):
    each(
        f"swag({name})",
        lambda v, name=name: baselines.swag(BNN, X, Y, **{name: v}),
        (1, *NOT_WHOLE),
        name,
        "whole number >= 2",
    )
each(
    "swag(warmup)",
    lambda v: baselines.swag(BNN, X, Y, warmup=v),
    (-1, 2.5, "3"),
    "warmup",
    NOT_COUNT,
)
each(
    "swag(batch_size)",
    lambda v: baselines.swag(BNN, X, Y, batch_size=v),
    (0, 5, 2.5, "3"),
    "batch_size",
    "whole number|at most N",
)
bad("swag(rank of too few)", lambda: baselines.swag(BNN, X, Y, epochs=5), "rank", "at most epochs")
each(
    "low_rank_gaussian(rank)",
    lambda v: baselines.low_rank_gaussian(BNN, X, Y, rank=v),
    (*NOT_WHOLE, 99),
    "rank",
    "whole number|at most the number of weights",
)
each(
    "low_rank_gaussian(num_samples)",
    lambda v: baselines.low_rank_gaussian(BNN, X, Y, num_samples=v),
    NOT_WHOLE,
    "num_samples",
    NOT_COUNT,
)
each(
    "low_rank_gaussian(initial_scale)",
    lambda v: baselines.low_rank_gaussian(BNN, X, Y, initial_scale=v),
    NOT_POSITIVE,
    "initial_scale",
    "positive",
)
each("mixture(posteriors)", baselines.mixture, (None, [], "q", 3, Q), "posteriors", "list")
each(
    "mixture(member)",
    lambda v: baselines.mixture([Q, v]),
    (*NOT_POSTERIOR, draws()),
    r"posteriors\[1\]",
    "MeanField|posterior",
)
bad(
    "mixture(of two networks)",
    lambda: baselines.mixture([Q, mean_field(WIDE)]),
    r"posteriors\[1\]",
    "weights of the first",
)
bad(
    "mixture(Symmetrized by a bound)",
    lambda: baselines.mixture([symvi.Symmetrized(Q, method="pairwise")]),
    r"posteriors\[0\]",
    "normalised density",
)
bad(
    "mixture(own model)",
    lambda: baselines.mixture([Elsewhere()]),
    r"posteriors\[0\]",
    "predicts by the network",
)
each(
    "mixture(weights)",
    lambda v: baselines.mixture([Q, Q], v),
    ([1.0], [1.0, -1.0], [0, 0], [NAN, 1.0], "ab", 1.0),
    "weights",
    "numbers",
)
each(
    "elbo_weights",
    baselines.elbo_weights,
    ([], [NAN], "ab", None, 3.0, [[1.0]]),
    "elbos",
    "numbers",
)
bad(
    "JointNormal(law)",
    lambda: baselines.JointNormal(BNN, numpyro.distributions.Normal(jnp.zeros(3), 1.0)),
    "law",
    "all 10 weights",
)
MIXED = baselines.mixture([Q, Q])
each("Mixture.sample(key)", lambda v: MIXED.sample(v, 3), (None, *NOT_KEY), "key", ONE_KEY)
each("Mixture.sample(num)", lambda v: MIXED.sample(KEY, v), NOT_WHOLE, "num", NOT_COUNT)
FUNCTIONS = np.ones((5, 3))
each(
    "function_distance",
    lambda v: symvi.comparison.function_distance(FUNCTIONS, v),
    (np.ones((5, 2)), np.ones(5), np.ones((1, 3)), None, "f", np.full((5, 3), NAN)),
    "function_distance|second|first",
    "array|values|numbers|finite",
)

# ---------------------------------------------------------------------------------------------
# Numbers, permanents, data
# ---------------------------------------------------------------------------------------------

each(
    "mean_interval(differences)",
    symvi.mean_interval,
    ([1.0], [], 1.0, [1.0, NAN], [1.0, INF], np.ones((2, 2)), "ab", ["a", "b"], None, {"a": 1}),
    "differences",
    "at least 2 finite numbers|numbers",
)
each(
    "mean_interval(level)",
    lambda v: symvi.mean_interval([1.0, 2.0], v),
    NOT_FRACTION,
    "level",
    "number between 0 and 1",
)
good("mean_interval(whole numbers)", lambda: symvi.mean_interval([1, 2, 3]).mean, (2.0).__eq__)
good("mean_interval(Series)", lambda: symvi.mean_interval(pd.Series([1, 2, 3])).mean, (2.0).__eq__)

MATRIX_READERS = {
    name: getattr(symvi.permanents, name)
    for name in ("log_permanent", "log_permanent_bethe", "log_permanent_bounds", "sinkhorn")
}
MATRIX_READERS["sample_permutations"] = lambda a: symvi.permanents.sample_permutations(KEY, a, 2)
for name, read in MATRIX_READERS.items():
    each(
        f"{name}(shape)",
        read,
        (1.0, np.ones(3), np.ones((2, 3)), np.ones((0, 0))),
        "log_a",
        "matri",
    )
    each(
        f"{name}(entries)",
        read,
        (np.full((2, 2), NAN), np.full((2, 2), INF)),
        "log_a",
        r"below \+inf",
    )
    each(f"{name}(kind)", read, NOT_NUMBERS[:5], "log_a", "numbers|matri")
    bad(f"{name}(None)", lambda read=read: read(None), "log_a", "numbers|matri")
    good(f"{name}(takes whole numbers)", lambda read=read: read([[0, 0], [0, 0]]), lambda v: True)
good(
    "log_permanent(whole numbers)",
    lambda: symvi.permanents.log_permanent([[0, 0], [0, 0]]),
    lambda v: np.isclose(v, np.log(2)),
)
good(
    "log_permanent(DataFrame)",
    lambda: symvi.permanents.log_permanent(pd.DataFrame(np.zeros((2, 2)))),
    lambda v: np.isclose(v, np.log(2)),
)
good(
    "log_permanent(one zero)", lambda: symvi.permanents.log_permanent([[-INF]]), lambda v: v == -INF
)
good(
    "log_permanent_bethe(one zero)",
    lambda: symvi.permanents.log_permanent_bethe([[-INF]]),
    lambda v: v == -INF,
)
bad(
    "log_permanent(17)",
    lambda: symvi.permanents.log_permanent(np.zeros((17, 17))),
    "log_a",
    "n <= 16",
    "log_permanent_bounds",
)
each(
    "sample_permutations(key)",
    lambda v: symvi.permanents.sample_permutations(v, np.zeros((2, 2)), 2),
    NOT_KEY,
    "key",
    ONE_KEY,
)
each(
    "sample_permutations(num)",
    lambda v: symvi.permanents.sample_permutations(KEY, np.zeros((2, 2)), v),
    NOT_WHOLE,
    "num",
    NOT_COUNT,
)
bad(
    "sample_permutations(batch)",
    lambda: symvi.permanents.sample_permutations(KEY, np.zeros((3, 2, 2)), 2),
    "log_a",
    "one matrix",
    "vmap",
)
each(
    "sinkhorn(max_iter)",
    lambda v: symvi.permanents.sinkhorn(np.zeros((2, 2)), max_iter=v),
    NOT_WHOLE,
    "max_iter",
    NOT_COUNT,
)
each(
    "sinkhorn(tolerance)",
    lambda v: symvi.permanents.sinkhorn(np.zeros((2, 2)), tolerance=v),
    (NAN, -1.0, "a", None),
    "tolerance",
    "positive",
)
each(
    "log_permanent_bethe(max_iter)",
    lambda v: symvi.permanents.log_permanent_bethe(np.zeros((2, 2)), max_iter=v),
    NOT_WHOLE[:6],
    "max_iter",
    NOT_COUNT,
)
each(
    "log_permanent_bethe(tolerance)",
    lambda v: symvi.permanents.log_permanent_bethe(np.zeros((2, 2)), tolerance=v),
    (NAN, -1.0, "a"),
    "tolerance",
    "positive",
)
each(
    "fractional_bound(log_a)",
    symvi.permanents.fractional_bound,
    (np.zeros((2, 3)), np.zeros(3), [[NAN, 0.0], [0.0, 0.0]], "a", None),
    "log_a",
    "",
)
each(
    "fractional_bound(max_iter)",
    lambda v: symvi.permanents.fractional_bound(np.zeros((2, 2)), max_iter=v),
    NOT_WHOLE,
    "max_iter",
    NOT_COUNT,
)
each(
    "fractional_bound(tolerance)",
    lambda v: symvi.permanents.fractional_bound(np.zeros((2, 2)), tolerance=v),
    (NAN, -1.0, "a"),
    "tolerance",
    "positive",
)
each(
    "log_permanent_bounds(max_exact)",
    lambda v: symvi.permanents.log_permanent_bounds(np.zeros((2, 2)), max_exact=v),
    (2.5, "3", True, NAN),
    "max_exact",
    NOT_COUNT,
)

LOADERS = {
    "mcycle": symvi.data.mcycle,
    "diabetes": symvi.data.diabetes,
    "digits": symvi.data.digits,
}
for name, load in LOADERS.items():
    each(
        f"{name}(test_fraction)",
        lambda v, load=load: load(test_fraction=v),
        NOT_FRACTION,
        "test_fraction",
        "number between 0 and 1",
    )
    each(f"{name}(seed)", lambda v, load=load: load(seed=v), NOT_SEED, "seed", "int >= 0")
good(
    "mcycle(numpy numbers)",
    lambda: symvi.data.mcycle(np.float32(0.25), np.int64(1)).x.shape,
    (100, 1).__eq__,
)
each(
    "absolute(slope)",
    symvi.data.absolute,
    (NAN, INF, "0.1", True, None, [0.1]),
    "slope",
    "finite number",
)
each("absolute(num)", lambda v: symvi.data.absolute(0.1, num=v), NOT_WHOLE, "num", NOT_COUNT)
each("absolute(seed)", lambda v: symvi.data.absolute(0.1, seed=v), NOT_SEED, "seed", "int >= 0")
good(
    "absolute(0-d slope)", lambda: symvi.data.absolute(np.array(0.1), num=3).y.shape, (3, 1).__eq__
)
each("uci(name)", symvi.data.uci, ("boston", None, 3, ["yacht"]), "name", "yacht")
each(
    "uci(split)",
    lambda v: symvi.data.uci("yacht", v),
    (-1, 20, 1.5, NAN, "0", True, None, [0]),
    "split",
    "int from 0 to 19",
)
good("uci(numpy split)", lambda: symvi.data.uci("yacht", np.int64(2)).x.shape, (277, 6).__eq__)
each(
    "mnist(download)", lambda v: symvi.data.mnist(download=v), NOT_FLAG, "download", "True or False"
)

each(
    "nearest_copy(name)",
    lambda v: symvi.copies.nearest_copy(GROUP, W, v),
    ("hidden9", 3),
    "group|name",
    "one of",
)
each(
    "nearest_copy(params)",
    lambda v: symvi.copies.nearest_copy(GROUP, v),
    (OTHER, None, "w", spoiled(W, NAN)),
    "params",
    "size 3|finite|dict",
)
each(
    "nearest_copy(symmetry)",
    lambda v: symvi.copies.nearest_copy(v, W),
    (None, NET),
    "symmetry",
    "Symmetry",
)
ONE_UNIT = symvi.MLP([1, 1, 1])
bad(
    "nearest_copy(one unit)",
    lambda: symvi.copies.nearest_copy(ONE_UNIT.symmetry, ONE_UNIT.init(KEY)),
    "group",
    "at least two units",
)

# ---------------------------------------------------------------------------------------------
# The wings: torch, the guide, the book
# ---------------------------------------------------------------------------------------------


def linear(**options):
    nn = pytest.importorskip("torch").nn
    return nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))


def program(w, x):
    return jnp.tanh(x @ w["W1"]) @ w["W2"]


each(
    "find_symmetry(apply)",
    lambda v: symvi.find_symmetry(v, W, X),
    (None, "net", 3, NET),
    "apply",
    r"a function \(params, x\)",
)
each(
    "find_symmetry(params)",
    lambda v: symvi.find_symmetry(program, v, X),
    (None, {}, "weights", {"W1": np.ones((1, 3), int)}, {"W1": object()}),
    "params",
    "floating numbers|an array of numbers|numbers",
)
each(
    "find_symmetry(x)",
    lambda v: symvi.find_symmetry(program, W, v),
    (None, np.ones((2, 5)), "rows"),
    "apply",
    "a function that JAX can trace",
)
bad(
    "find_symmetry(control flow)",
    lambda: symvi.find_symmetry(lambda w, x: x @ w["W1"] if x.sum() > 0 else x, W, X),
    "apply",
    "a function that JAX can trace",
    "JAX operations",
)
good(
    "find_symmetry",
    lambda: symvi.find_symmetry(program, W, X),
    lambda found: [g.size for g in found.symmetry.groups] == [3],
)
each(
    "find_symmetry(signed)",
    lambda v: symvi.find_symmetry(program, W, X, signed=v),
    (None, 1, "yes", np.ones(2)),
    "signed",
    "True or False",
)
each(
    "find_symmetry(exact)",
    lambda v: symvi.find_symmetry(program, W, X, exact=v),
    (None, 1, "yes", np.ones(2)),
    "exact",
    "True or False",
)
each(
    "Found.unflatten",
    lambda v: symvi.find_symmetry(program, W, X).unflatten(v),
    (None, {}, {**W, "W1": np.ones((2, 3))}),
    "params",
    "a dict of named arrays|shape",
)
each(
    "Found.flatten",
    lambda v: symvi.find_symmetry(program, W, X).flatten(v),
    (None, {}, [1.0]),
    "params",
    "the structure",
)
each(
    "from_torch(module)",
    lambda v: symvi.from_torch(v, X),
    (None, "net", 3, NET, np.tanh),
    "module",
    "torch.nn.Module",
)
bad(
    "from_torch(class)",
    lambda: symvi.from_torch(type(linear()), X),
    "module",
    "torch.nn.Module",
    "instance",
)
each(
    "from_torch(example)",
    lambda v: symvi.from_torch(linear(), v),
    (X[:0], np.ones(3), np.ones((3, 1), complex)),
    "example_input",
    "numbers of shape",
)
bad(
    "from_torch(whole numbers)",
    lambda: symvi.from_torch(linear(), np.ones((3, 1), int)),
    "example_input",
    "a batch that the module accepts",
)
each(
    "from_torch(statistics)",
    lambda v: symvi.from_torch(linear(), X, statistics=v),
    ("nonsense", None, 3),
    "statistics",
    "one of 'fixed'",
)
each(
    "from_torch(signed)",
    lambda v: symvi.from_torch(linear(), X, signed=v),
    (None, 1, "yes"),
    "signed",
    "True or False",
)
bad(
    "from_torch(signed and symmetry)",
    lambda: symvi.from_torch(linear(), X, symmetry=symvi.Symmetry(), signed=True),
    "signed",
    "False beside a symmetry written by hand",
)
each(
    "from_torch(exact)",
    lambda v: symvi.from_torch(linear(), X, exact=v),
    (None, 1, "yes"),
    "exact",
    "True or False",
)


def guide(symmetry=GROUP, model=BNN.numpyro_model, **options):
    return symvi.AutoSymmetrizedNormal(model, symmetry, **options)


each(
    "AutoSymmetrizedNormal(symmetry)",
    guide,
    (None, NET, symvi.Symmetry, "S3"),
    "symmetry",
    "Symmetry",
)
each(
    "AutoSymmetrizedNormal(init_scale)",
    lambda v: guide(init_scale=v),
    (*NOT_POSITIVE, None),
    "init_scale",
    "positive",
)
each(
    "AutoSymmetrizedNormal(model)",
    lambda v: guide(model=v),
    (None, "model", BNN),
    "model",
    "function|callable|model",
)


def chapter(folder, **claims):
    made = symvi.book.Chapter("05-table")
    for name, options in claims.items():
        made.claim(f"own-{name}", "A claim.", **{"holds": True, "number": 1.0} | options)
    return made


each(
    "Chapter(name)",
    lambda v: symvi.book.Chapter(v),
    ("Chapter 5", "", None, 5, "a/b", "../x"),
    "chapter|name",
    "lower-case",
)


def claiming(**options):
    """A row that makes one claim, right but for `options`."""

    def call(folder):
        made = {
            "claim_id": "own-a",
            "statement": "A claim.",
            "holds": True,
            "number": 1.0,
        } | options
        symvi.book.Chapter("05-table").claim(**made)

    return in_folder(call)


BAD_CLAIMS = {
    "claim_id": (("nonsense", None, 3, ["own-a"]), "one of the paper's ids"),
    "statement": (("", None, 3), "non-empty string"),
    "holds": (("yes", None, 1, np.array([True, False])), "bool"),
    "caveat": (("", 3), "non-empty string"),
    "paper": (("", 3), "non-empty string"),
    "tolerance": ((-1.0, NAN, "a", True, {"other": 1.0}), "numbers >= 0|names among"),
    "number": (
        (NAN, INF, None, Anything(), (2.0, 1.0), (1.0, 2.0, 3.0)),
        "finite|float|interval",
    ),
}
for argument, (values, wanted) in BAD_CLAIMS.items():
    for value in values:
        bad(f"claim({argument}={shown(value)})", claiming(**{argument: value}), argument, wanted)


@in_folder
def two_claims_of_one_id(folder):
    made = symvi.book.Chapter("05-table")
    for _ in range(2):
        made.claim("own-a", "A claim.", True, number=1.0)


@in_folder
def a_claim_without_numbers(folder):
    symvi.book.Chapter("05-table").claim("own-a", "A claim.", True)


bad("claim(repeated)", two_claims_of_one_id, "claim_id", "not yet used")
bad("claim(no numbers)", a_claim_without_numbers, "claim", "numbers")
bad(
    "ledger.compare(missing folders)",
    in_folder(lambda f: symvi.book.ledger.compare(f / "a", f / "b")),
    "",
    "folder|claims",
)


def work(a):
    return {"a": a}


def sweep(cells, function=work, **options):
    return in_folder(
        lambda folder: symvi.sweep(function, cells, folder / "cells", progress=False, **options)
    )


REPEATED = [{"a": 1}, {"a": 1}]
for value in ([], None, 3, "cells", [3], [{"a": NAN}], [{"a": Anything()}], REPEATED, [{1: 2}]):
    bad(f"sweep(cells={shown(value)})", sweep(value), "cells", "dict")
for value in (None, "work", 3):
    bad(
        f"sweep(function={shown(value)})", sweep([{"a": 1}], value), "function", "function|callable"
    )
for value in (0, -1, 2.5, "2", True):
    bad(f"sweep(workers={shown(value)})", sweep([{"a": 1}], workers=value), "workers", NOT_COUNT)
bad(
    "sweep(folder=file)",
    in_folder(lambda f: symvi.sweep(work, [{"a": 1}], junk(f / "c"), progress=False)),
    "folder",
    "folder",
)


class OneNumber(symvi.Likelihood):
    def distribution(self, outputs, params):
        return outputs


bad(
    "Likelihood(distribution returns an array)",
    lambda: symvi.BNN(symvi.MLP([1, 3, 1]), OneNumber()).check_data(X, X),
    "OneNumber.distribution",
    "a NumPyro distribution",
)
bad(
    "Categorical(labels out of range)",
    lambda: CLASSES.check_data(X, LABELS + 5),
    "y",
    "labels|support|0",
)
# ---------------------------------------------------------------------------------------------

THREE_PARTS = re.compile(
    r"(?P<name>.+?): expected (?P<wanted>.+), got (?P<got>.+?); (?P<remedy>.+)"
)


def check_message(text: str, row: Row) -> None:
    """The message is one line in three parts, about the right thing."""
    assert "\n" not in text
    parts = THREE_PARTS.fullmatch(text)
    assert parts, f"not of the form 'name: expected ..., got ...; remedy': {text}"
    assert re.search(row.name, parts["name"]), f"about {parts['name']!r}, not {row.name!r}"
    assert re.search(row.wanted, parts["wanted"]), f"expected {row.wanted!r} in {text}"
    assert re.search(row.remedy, parts["remedy"]), f"advice {row.remedy!r} in {text}"
    assert len(parts["remedy"].split()) > 1


def test_the_table_is_long_and_names_every_row_once():
    labels = [row.id for row in ROWS]
    assert len(labels) == len(set(labels)) >= 160


def test_every_public_name_is_in_the_table():
    spoken = " ".join(row.id for row in ROWS)
    plain = {"Bounds", "Comparison", "Element", "Estimate", "Interval", "Monitor"}  # results
    names = {name for name in symvi.__all__ if not name.startswith("_")}
    rooms = {name for name in names if type(getattr(symvi, name)).__name__ == "module"}
    missing = {name for name in names - plain - rooms if name not in spoken}
    assert missing == set()


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Every call here compiles something small, and most of them stop before that."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_bad_input(row, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMVI_CLAIMS", str(tmp_path / "claims"))
    call = functools.partial(row.call, tmp_path) if hasattr(row.call, "needs_folder") else row.call
    if row.right is not None:
        assert row.right(call())
        return
    with pytest.raises(ValueError, match="expected") as caught:
        call()
    check_message(str(caught.value), row)
