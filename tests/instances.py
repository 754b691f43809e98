"""One small instance of every class: the tables that the generic tests go through.

Each table maps a name to a constructor without arguments. To have a new network, group, posterior,
likelihood or method tested in all general ways, add one row.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import symvi
from symvi import MLP, Symmetry, UnitGroup


def weights(shapes: dict, seed: int = 0, dtype=jnp.float64) -> dict:
    """Random arrays of the given shapes, by name."""
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    rows = zip(keys, sorted(shapes.items()), strict=True)
    return {name: jax.random.normal(key, shape, dtype) for key, (name, shape) in rows}


def element(symmetry: Symmetry, seed: int = 1):
    """One random element of a group."""
    return jax.tree.map(lambda a: a[0], symmetry.sample(jax.random.key(seed), 1))


# ---------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------


def torch_network():
    """A network of convolutions traced from PyTorch, whose channels own several places."""
    nn = pytest.importorskip("torch").nn
    module = nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 1)
    )
    return symvi.from_torch(module, np.ones((2, 3)))


NETWORKS = {
    "relu": lambda: MLP([2, 3, 1], "relu"),
    "tanh": lambda: MLP([2, 3, 1], "tanh"),
    "gelu": lambda: MLP([2, 3, 1], "gelu"),
    "erf": lambda: MLP([2, 3, 1], "erf"),
    "sin": lambda: MLP([2, 3, 1], "sin"),
    "deep": lambda: MLP([1, 2, 3, 2], "gelu"),
    "no bias": lambda: MLP([2, 3, 1], "tanh", bias=False),
    "fixed output": lambda: MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0),
    "one unit": lambda: MLP([1, 1, 1], "tanh"),
    "signed": lambda: MLP([2, 3, 1], "tanh", signed=True),
    "signed deep": lambda: MLP([1, 2, 2, 1], "erf", signed=True),
    "torch": torch_network,
}


def inputs(net, num: int = 4, dtype=jnp.float64):
    """Inputs for a network, shape ``(num, d_in)``."""
    return jax.random.normal(jax.random.key(7), (num, net.widths[0]), dtype)


# ---------------------------------------------------------------------------------------------
# Groups, with the shapes of the parameters that they act on; "free" is moved by none
# ---------------------------------------------------------------------------------------------

LAYER = (UnitGroup("a", 3, (("A", 0), ("B", 1))),)
LAYERS = (UnitGroup("a", 2, (("A", 0), ("B", 1))), UnitGroup("b", 3, (("B", 0), ("C", 1))))
CHANNELS = (UnitGroup("a", 2, (("A", 0), ("B", 1, ((0, 2), (3, 1))))),)
CHANNELS_AND_UNITS = (
    UnitGroup("a", 2, (("A", 0), ("B", 1, ((0, 1), (2, 3))))),
    UnitGroup("b", 3, (("B", 0), ("C", 1))),
)
SHARED = (UnitGroup("a", 3, (("A", 0), ("B", 0), ("B", 1), ("C", 1))),)

GROUPS = {
    "plain": lambda: (Symmetry(LAYER), {"A": (3, 2), "B": (1, 3), "free": (2,)}),
    "signed": lambda: (Symmetry(LAYER, signed=True), {"A": (3, 2), "B": (1, 3), "free": (2,)}),
    "layers": lambda: (Symmetry(LAYERS), {"A": (2, 1), "B": (3, 2), "C": (1, 3)}),
    "signed layers": lambda: (Symmetry(LAYERS, True), {"A": (2, 1), "B": (3, 2), "C": (1, 3)}),
    "first layer signed": lambda: (
        Symmetry(LAYERS, ("a",)),
        {"A": (2, 1), "B": (3, 2), "C": (1, 3)},
    ),
    "places": lambda: (Symmetry(CHANNELS), {"A": (2, 1), "B": (2, 5), "free": (1,)}),
    "signed places": lambda: (Symmetry(CHANNELS, signed=True), {"A": (2, 1), "B": (2, 5)}),
    "places and layers": lambda: (
        Symmetry(CHANNELS_AND_UNITS),
        {"A": (2, 1), "B": (3, 4), "C": (1, 3)},
    ),
    "two axes": lambda: (Symmetry(SHARED), {"A": (3, 1), "B": (3, 3), "C": (1, 3)}),
    "one unit": lambda: (Symmetry((UnitGroup("a", 1, (("A", 0),)),)), {"A": (1, 2)}),
    "trivial": lambda: (Symmetry(), {"A": (2, 2)}),
}

# ---------------------------------------------------------------------------------------------
# Posteriors
# ---------------------------------------------------------------------------------------------


def mean_field(group: str, dtype=jnp.float64) -> symvi.MeanField:
    symmetry, shapes = GROUPS[group]()
    scale = jax.tree.map(lambda a: 0.2 + jnp.exp(0.3 * a), weights(shapes, 1, dtype))
    return symvi.MeanField(weights(shapes, 0, dtype), scale, symmetry)


def unit_normal(group: str, dtype=jnp.float64) -> symvi.UnitNormal:
    q = mean_field(group, dtype)
    lower = {}
    for index, unit_group in enumerate(q.symmetry.groups):
        size, width = q.symmetry.own_units(q.loc, unit_group.name).shape
        noise = jax.random.normal(jax.random.key(index), (size, width, width), dtype)
        lower[unit_group.name] = 0.3 * jnp.tril(noise, -1)
    return symvi.UnitNormal(q.loc, q.scale, q.symmetry, lower)


def over_all(made, groups) -> dict:
    return {group: lambda dtype=jnp.float64, group=group: made(group, dtype) for group in groups}


UNIT_NORMAL = ("plain", "signed layers", "first layer signed", "places and layers", "trivial")
BASES = {
    **{f"MeanField, {k}": v for k, v in over_all(mean_field, GROUPS).items()},
    **{f"UnitNormal, {k}": v for k, v in over_all(unit_normal, UNIT_NORMAL).items()},
}


def symmetrized(base):
    return lambda dtype=jnp.float64: symvi.Symmetrized(base(dtype))


POSTERIORS = {**BASES, **{f"Symmetrized {k}": symmetrized(v) for k, v in BASES.items()}}

# ---------------------------------------------------------------------------------------------
# Likelihoods: ours, and two as a reader would write them
# ---------------------------------------------------------------------------------------------


class Poisson(symvi.Likelihood):
    """Counts whose log rate is the network's output."""

    def distribution(self, outputs, params):
        return dist.Poisson(jnp.exp(outputs)).to_event(1)

    def mean(self, outputs, params):
        return jnp.exp(outputs)


class StudentT(symvi.Likelihood):
    """Noise with heavy tails, whose scale and degrees of freedom are inferred."""

    def latents(self):
        return {"log_df": dist.Normal(1.0, 1.0), "log_scale": dist.Normal(0.0, 1.0)}

    def distribution(self, outputs, params):
        df, scale = jnp.exp(params["log_df"]), jnp.exp(params["log_scale"])
        return dist.StudentT(df, outputs, scale).to_event(1)


LIKELIHOODS = {
    "Gaussian fixed": lambda: symvi.Gaussian(0.5),
    "Gaussian inferred": lambda: symvi.Gaussian(),
    "Categorical": lambda: symvi.Categorical(),
    "Poisson": Poisson,
    "Student t": StudentT,
}


def model(likelihood: str) -> symvi.BNN:
    """A network with two outputs under a likelihood."""
    return symvi.BNN(MLP([1, 3, 2], "tanh"), LIKELIHOODS[likelihood]())


def targets(likelihood: str, num: int = 4):
    """Data y that a likelihood may see."""
    if likelihood == "Categorical":
        return np.arange(num) % 2
    counts = np.arange(2 * num).reshape(num, 2) % 3
    return counts if likelihood == "Poisson" else counts - 0.7


# ---------------------------------------------------------------------------------------------
# Methods
# ---------------------------------------------------------------------------------------------

METHODS = {
    "plain": lambda: symvi.information.Plain(),
    "exact": lambda: symvi.information.Exact(),
    "infonce": lambda: symvi.information.InfoNCE(3),
    "guided": lambda: symvi.information.Guided(3),
    "pairwise": lambda: symvi.information.Pairwise(),
    "subadditive": lambda: symvi.information.Subadditive(),
    "tightest": lambda: symvi.information.Tightest(),
    "bethe": lambda: symvi.information.Bethe(),
}
