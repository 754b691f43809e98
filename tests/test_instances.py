"""What must hold of every network, group, posterior, likelihood and method: the tables of
instances.py.

A case is a function of arrays. Each is held to the same: it has the shape that it says; it stays
in the precision of its arguments; compiled and vectorised it equals itself; and its gradient is
that of finite differences. Then come what objects owe: invariance, pytrees, pickles, hashes, short
reprs.
"""

import functools
import pickle
from collections.abc import Callable
from typing import NamedTuple

import instances
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi

KEY = jax.random.key(3)
STEP = 1e-5  # of finite differences


class Case(NamedTuple):
    """A function and its arguments in a given precision, with the shapes of what it returns."""

    make: Callable  # dtype -> (function, args)
    shape: Callable  # args -> the shapes of the result, a pytree of tuples
    tolerance: float = 1e-6  # of the gradient; 0 where finite differences are not its gradient
    keeps_precision: bool = True


CASES: dict[str, Case] = {}


def shapes(tree) -> dict:
    return jax.tree.map(jnp.shape, tree)


def scalar(*_) -> tuple:
    return ()


# --- networks ---


@functools.cache
def network(name):
    return instances.NETWORKS[name]()


def apply_case(name, dtype):
    net = network(name)
    return net.apply, (instances.weights(net.shapes, 0, dtype), instances.inputs(net, 4, dtype))


for name in instances.NETWORKS:
    CASES[f"{name}: apply"] = Case(
        functools.partial(apply_case, name), lambda args, name=name: (4, network(name).widths[-1])
    )

# --- groups ---


def act_case(name, dtype):
    symmetry, group_shapes = instances.GROUPS[name]()
    moved = functools.partial(symmetry.act, instances.element(symmetry))
    return moved, (instances.weights(group_shapes, 0, dtype),)


for name in instances.GROUPS:
    CASES[f"{name}: act"] = Case(functools.partial(act_case, name), lambda args: shapes(args[0]))

# --- posteriors ---


def base_of(q):
    return q.base if isinstance(q, symvi.Symmetrized) else q


def log_prob_case(name, dtype):
    q = instances.POSTERIORS[name](dtype)
    params = instances.weights(shapes(base_of(q).loc), 5, dtype)
    return lambda q, params: q.log_prob(params), (q, params)


def sample_case(name, dtype):
    return lambda q: q.sample(KEY, 2), (instances.POSTERIORS[name](dtype),)


def entropy_case(name, dtype):
    return lambda q: q.entropy(), (instances.BASES[name](dtype),)


def two_draws(args):
    return jax.tree.map(lambda a: (2, *jnp.shape(a)), base_of(args[0]).loc)


for name in instances.POSTERIORS:
    CASES[f"{name}: log_prob"] = Case(functools.partial(log_prob_case, name), scalar)
    CASES[f"{name}: sample"] = Case(functools.partial(sample_case, name), two_draws)
for name in instances.BASES:
    CASES[f"{name}: entropy"] = Case(functools.partial(entropy_case, name), scalar)

# --- likelihoods ---

LIKELIHOODS = tuple(instances.LIKELIHOODS)


def model_and_data(name, dtype):
    bnn = instances.model(name)
    x, y = instances.inputs(bnn.net, 4, dtype), jnp.asarray(instances.targets(name))
    return bnn, x, y if name == "Categorical" else y.astype(dtype)


def log_joint_case(name, dtype):
    bnn, x, y = model_and_data(name, dtype)
    return lambda w: bnn.log_joint(w, x, y), (instances.weights(bnn.shapes, 0, dtype),)


def mean_case(name, dtype):
    bnn, x, _ = model_and_data(name, dtype)
    args = (instances.weights(bnn.shapes, 0, dtype),)
    return lambda w: bnn.likelihood.mean(bnn.net.apply(w, x), w), args


for name in LIKELIHOODS:
    CASES[f"{name}: log_joint"] = Case(  # priors are of JAX's default precision
        functools.partial(log_joint_case, name), scalar, keeps_precision=False
    )
    tolerance = 0.0 if name == "Student t" else 1e-6  # its mean jumps to infinity at df = 1
    CASES[f"{name}: mean"] = Case(
        functools.partial(mean_case, name), lambda args: (4, 2), tolerance
    )

# --- methods ---

ORBITS = ("MeanField, signed", "MeanField, places", "UnitNormal, signed layers")


def suits(method, base) -> bool:
    """Whether the method can do the group; if not, it must say so as a ValueError."""
    try:
        method.check(base.symmetry, "method")
    except ValueError:
        return False
    return True


def method_case(method_name, base_name, dtype):
    """The value of one draw, and what needs no draws."""
    method, q = instances.METHODS[method_name](), instances.BASES[base_name](dtype)
    params = instances.weights(shapes(q.loc), 5, dtype)

    def value(q, params):
        sure, _ = method.closed_form(q, method.start(q))
        return method.pointwise(q, params, KEY) + sure

    return value, (q, params)


# Guided permutations are proposed without a gradient; Bethe's is that of a converged fixed point.
TOLERANCES = {"guided": 0.0, "bethe": 1e-3}
PAIRS = [
    (method_name, base_name)
    for method_name, made in instances.METHODS.items()
    if method_name != "plain"
    for base_name in ORBITS
    if suits(made(), instances.BASES[base_name]())
    # two units: the fixed point lies in a corner, which messages reach too slowly for its gradient
    and (method_name, base_name) != ("bethe", "MeanField, places")
]
for method_name, base_name in PAIRS:
    CASES[f"{method_name} of {base_name}"] = Case(
        functools.partial(method_case, method_name, base_name),
        scalar,
        TOLERANCES.get(method_name, 1e-6),
    )

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Every test here compiles something small and runs it once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def same(a, b, tolerance=1e-12):
    for first, second in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(first, second, rtol=tolerance, atol=tolerance)


@every_case
def test_shape_and_precision(case):
    """Without running anything: the shapes, and 32 bits in, 32 bits out."""
    for dtype in (jnp.float64, jnp.float32):
        function, args = case.make(dtype)
        found = jax.eval_shape(function, *args)
        assert jax.tree.map(lambda a: a.shape, found) == case.shape(args)
        if dtype == jnp.float64 or case.keeps_precision:
            assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(dtype)}


@every_case
def test_compiled_and_vectorised_it_equals_itself_and_its_gradient_its_slope(case):
    """One program for both, since compilation is what takes the time. The gradient is that of the
    outputs with random weights; its slope along a random direction is the finite difference."""
    function, args = case.make(jnp.float64)
    weights = random_like(jax.eval_shape(function, *args), seed=1)
    direction = random_like(args, seed=2)

    def weighted(args):
        value = function(*args)
        return inner(weights, value), value

    def moved(step):
        return jax.tree.map(lambda a, d: a + step * d, args, direction)

    alone = [args, jax.tree.map(lambda a: 0.9 * a, args)]
    points = jax.tree.map(lambda *a: jnp.stack(a), *alone, moved(STEP), moved(-STEP))
    if case.tolerance:
        program = jax.value_and_grad(weighted, has_aux=True)
        (heights, values), slopes = jax.jit(jax.vmap(program))(points)
        slope = inner(jax.tree.map(lambda a: a[0], slopes), direction)
        difference = (heights[2] - heights[3]) / (2 * STEP)
        np.testing.assert_allclose(slope, difference, rtol=case.tolerance, atol=case.tolerance)
    else:
        _, values = jax.jit(jax.vmap(weighted))(points)
    for index, point in enumerate(alone):
        same(jax.tree.map(lambda a, index=index: a[index], values), function(*point))


def random_like(tree, seed: int):
    """Normal numbers in the place of each array."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), tree)


def inner(one, other):
    """The inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, one, other)))


@pytest.mark.parametrize("name", instances.NETWORKS)
def test_networks_are_invariant(name):
    net = network(name)
    w, x = instances.weights(net.shapes), instances.inputs(net)
    g = instances.element(net.symmetry)
    same(net.apply(net.symmetry.act(g, w), x), net.apply(w, x))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_joint_densities_are_invariant(name):
    bnn, x, y = model_and_data(name, jnp.float64)
    w = instances.weights(bnn.shapes)
    g = instances.element(bnn.symmetry)
    same(bnn.log_joint(bnn.symmetry.act(g, w), x, y), bnn.log_joint(w, x, y))


@pytest.mark.parametrize("name", [k for k in instances.POSTERIORS if k.startswith("Symmetrized")])
def test_symmetrized_densities_are_invariant(name):
    q = instances.POSTERIORS[name]()
    w = instances.weights(shapes(q.base.loc), 5)
    g = instances.element(q.symmetry)
    same(q.log_prob(q.symmetry.act(g, w)), q.log_prob(w))


def relabelled(q: symvi.MeanField, g) -> symvi.MeanField:
    """q of relabelled units: the same distribution, moved by g."""
    without_signs = symvi.Symmetry(q.symmetry.groups)
    scale = without_signs.act(symvi.symmetry.Element(g.perms, {}), q.scale)
    return symvi.MeanField(q.symmetry.act(g, q.loc), scale, q.symmetry)


@pytest.mark.parametrize(
    ("method_name", "base_name"),
    [(m, b) for m, b in PAIRS if m in ("exact", "pairwise", "bethe") and b.startswith("MeanField")],
)
def test_methods_do_not_care_which_unit_is_first(method_name, base_name):
    value, (q, w) = method_case(method_name, base_name, jnp.float64)
    g = instances.element(q.symmetry)
    tolerance = 1e-6 if method_name == "bethe" else 1e-12  # messages stop at a tolerance
    same(value(relabelled(q, g), q.symmetry.act(g, w)), value(q, w), tolerance)


@pytest.mark.parametrize("name", instances.POSTERIORS)
def test_posteriors_are_pytrees(name):
    q = instances.POSTERIORS[name]()
    leaves, tree = jax.tree.flatten(q)
    again = jax.tree.unflatten(tree, leaves)
    assert type(again) is type(q)
    assert again.symmetry == q.symmetry
    assert {leaf.dtype for leaf in leaves} == {np.dtype(float)}
    same(again, q)
    w = instances.weights(shapes(base_of(q).loc), 5)
    same(again.log_prob(w), q.log_prob(w))


STATIC = {
    **{k: v for k, v in instances.NETWORKS.items() if k != "torch"},
    **{f"group {k}": lambda v=v: v()[0] for k, v in instances.GROUPS.items()},
    **{k: v for k, v in instances.LIKELIHOODS.items() if k not in ("Poisson", "Student t")},
    **{f"method {k}": v for k, v in instances.METHODS.items()},
}


@pytest.mark.parametrize("made", STATIC.values(), ids=STATIC)
def test_static_objects_are_equal_by_value(made):
    """Otherwise every new one would be compiled anew."""
    assert made() == made()
    assert hash(made()) == hash(made())
    others = [other() for other in STATIC.values()]
    assert others.count(made()) == 1


@pytest.mark.parametrize("made", STATIC.values(), ids=STATIC)
def test_static_objects_can_be_pickled(made):
    again = pickle.loads(pickle.dumps(made()))
    assert again == made()
    assert hash(again) == hash(made())


@pytest.mark.parametrize("name", instances.POSTERIORS)
def test_posteriors_can_be_pickled(name):
    q = instances.POSTERIORS[name]()
    again = pickle.loads(pickle.dumps(q))
    assert type(again) is type(q)
    assert again.symmetry == q.symmetry
    same(again, q, 0.0)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_models_can_be_pickled(name):
    bnn, x, y = model_and_data(name, jnp.float64)
    again = pickle.loads(pickle.dumps(bnn))
    w = instances.weights(bnn.shapes)
    same(again.log_joint(w, x, y), bnn.log_joint(w, x, y), 0.0)


WIDE = symvi.MLP([3, 60, 60, 2])
WIDE_LOC = WIDE.init(KEY)
WIDE_Q = symvi.MeanField(WIDE_LOC, jax.tree.map(jnp.ones_like, WIDE_LOC), WIDE.symmetry)
NAMED = {
    **STATIC,
    "BNN": lambda: symvi.BNN(WIDE, symvi.Gaussian()),
    "MeanField": lambda: WIDE_Q,
    "Symmetrized": lambda: symvi.Symmetrized(WIDE_Q),
    "element": lambda: WIDE.symmetry.identity(),
    "TorchNetwork": lambda: network("torch"),
}


@pytest.mark.parametrize("made", NAMED.values(), ids=NAMED)
def test_reprs_fit_two_lines(made):
    text = repr(made())
    assert "\n" not in text
    assert len(text) <= 200
