"""Every method of the table, in all the places that take one: the same number from each of them."""

import functools
import itertools
import math
import pickle
from dataclasses import FrozenInstanceError, dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from symvi import (
    BNN,
    MLP,
    Bounds,
    Gaussian,
    MeanField,
    Symmetrized,
    Symmetry,
    UnitGroup,
    UnitNormal,
    elbo,
    fit,
    load,
)
from symvi.information import (
    METHODS,
    Exact,
    Guided,
    InfoNCE,
    Method,
    Pairwise,
    Plain,
    as_method,
    log_bhattacharyya,
    orbit_information,
    pairwise,
)
from symvi.information.closed_form import ClosedForm

X = np.linspace(-1, 1, 5)[:, None]
Y = np.sin(2 * X)
KEY = jax.random.key(3)
DRAWS = 20
NETS = {
    "one layer": MLP([1, 3, 1], "relu"),
    "signed": MLP([1, 2, 1], "tanh", signed=True),
    "deep": MLP([1, 3, 2, 1], "tanh"),
    "deep signed": MLP([1, 2, 2, 1], "tanh", signed=True),
    "covariance": MLP([1, 2, 2, 1], "tanh"),
}


@functools.cache
def posterior(case):
    """Units that partly overlap, so that I(g; w) is strictly between 0 and log |G|."""
    net, rng = NETS[case], np.random.default_rng(0)
    loc = {name: jnp.asarray(0.5 * rng.normal(size=shape)) for name, shape in net.shapes.items()}
    scale = {
        name: jnp.asarray(0.4 * np.exp(0.3 * rng.normal(size=shape)))
        for name, shape in net.shapes.items()
    }
    if case != "covariance":
        return MeanField(loc, scale, net.symmetry)
    lower = {}
    for group in net.symmetry.groups:
        n, d = net.symmetry.own_units(loc, group.name).shape
        lower[group.name] = jnp.tril(jnp.asarray(0.5 * rng.normal(size=(n, d, d))), -1)
    return UnitNormal(loc, scale, net.symmetry, lower)


@functools.cache
def bound(case, method):
    """The ELBO with a method, which is None, a string or an object."""
    bnn = BNN(NETS[case], Gaussian(0.3))
    return elbo(bnn, posterior(case), X, Y, symmetrize=method, key=KEY, num_samples=DRAWS)


@functools.cache
def information(case, method):
    return orbit_information(posterior(case), method, KEY, num_samples=DRAWS)


def trained_with(found):
    """The side of I that training with the method takes."""
    return found.lower if isinstance(found, Bounds) else found


def fits(case, name):
    """ "bethe" knows one hidden layer only."""
    return name != "bethe" or len(NETS[case].symmetry.groups) == 1


PAIRS = [pair for pair in itertools.product(NETS, METHODS) if fits(*pair)]


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_the_bound_gains_what_orbit_information_says(case, name):
    gain = trained_with(information(case, name))
    assert bound(case, name).value - bound(case, None).value == pytest.approx(gain.value, abs=1e-10)
    assert bound(case, name).kind == gain.kind == METHODS[name].kind
    assert gain.value > 0.01


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_strings_and_objects_agree(case, name):
    assert information(case, METHODS[name]()) == information(case, name)
    assert bound(case, METHODS[name]()) == bound(case, name)


def exactly(case):
    """log q(w) - log q_G(w) at the same draws, by the sum over all group elements."""
    q = posterior(case)
    w = q.sample(jax.random.split(KEY)[0], DRAWS)
    elements = q.symmetry.elements()
    copies = []
    for number in range(q.symmetry.order):
        g = jax.tree.map(lambda a, n=number: a[n], elements)
        copies.append(q.log_prob(jax.vmap(q.symmetry.act, in_axes=(None, 0))(g, w)))
    log_mean = np.logaddexp.reduce(np.asarray(copies), axis=0) - math.log(q.symmetry.order)
    return np.asarray(q.log_prob(w)) - log_mean


@pytest.mark.parametrize("case", NETS)
def test_exact_is_the_mean_over_all_copies_and_the_bounds_are_on_their_sides(case):
    values = exactly(case)
    found = information(case, "exact")
    assert found.value == pytest.approx(values.mean(), rel=1e-10)
    assert found.std_error == pytest.approx(values.std(ddof=1) / math.sqrt(DRAWS), rel=1e-8)
    slack = 4 * found.std_error
    assert information(case, "infonce").value <= math.log(20)
    for name in METHODS:
        if fits(case, name):
            assert trained_with(information(case, name)).value <= found.value + slack + (
                NETS[case].symmetry.groups[0].size / 2 * math.log(2) if name == "bethe" else 0
            )
    if fits(case, "bethe"):
        assert information(case, "bethe").value >= found.value - 1e-9  # draw by draw
    for name in ("guided", "pairwise", "subadditive", "tightest"):
        assert information(case, name).upper.value >= found.value - slack


@pytest.mark.parametrize("case", ["one layer", "signed", "deep", "deep signed"])
def test_pairwise_lower_is_its_formula(case):
    """log n! - log sum over permutations of prod BC, layer by layer, with the mean over signs."""
    q = posterior(case)
    total = 0.0
    for group in q.symmetry.groups:
        units = [q.symmetry.own_units(side, group.name) for side in (q.loc, q.scale)]
        overlap = np.exp(np.asarray(log_bhattacharyya(*units)))
        if q.symmetry.signed:
            overlap = (overlap + np.exp(np.asarray(log_bhattacharyya(*units, sign=-1)))) / 2
        rows = range(group.size)
        products = [
            math.prod(overlap[i, perm[i]] for i in rows) for perm in itertools.permutations(rows)
        ]
        total += math.lgamma(group.size + 1) - math.log(sum(products))
    assert information(case, "pairwise").lower.value == pytest.approx(total, rel=1e-10)
    assert information(case, "pairwise").lower.std_error == 0


def layer_of(loc, scale, signed=False):
    symmetry = Symmetry((UnitGroup("units", 4, (("W1", 1),)),), signed)
    return MeanField({"W1": loc}, {"W1": jnp.full(loc.shape, scale)}, symmetry)


SAME = layer_of(jnp.full((1, 4), 0.3), 0.5)
APART = layer_of(jnp.array([[10.0, 20.0, 30.0, 40.0]]), 0.01)
APART_WITH_SIGNS = layer_of(jnp.array([[10.0, 20.0, 30.0, 40.0]]), 0.01, signed=True)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("q", "truth"),
    [
        pytest.param(SAME, 0.0, id="equal units"),
        pytest.param(APART, math.log(24), id="units told apart"),
        pytest.param(APART_WITH_SIGNS, math.log(24 * 16), id="units told apart, signed"),
    ],
)
def test_closed_forms_of_the_ends(q, truth, name):
    """I = 0 where all units are equal, and log |G| where they are told apart.

    Draws differ only for guided permutations of equal units, and for uniform ones where they
    happen to be the identity.
    """
    num_samples = 400 if name in ("infonce", "guided") else 5
    found = orbit_information(q, name, num_samples=num_samples)
    wanted = uniform_end(q) if name == "infonce" and truth > 0 else truth
    loosest = 2 * math.log(2) if name == "bethe" and truth == 0 else 0  # n / 2 log 2
    if name == "subadditive" and truth > 0:
        assert 0 < found.lower.value < truth  # it is loose where units are told apart
        found = found.upper
    for estimate in found if isinstance(found, Bounds) else (found,):
        slack = 5 * estimate.std_error + 1e-8
        assert wanted - slack <= estimate.value <= wanted + loosest + slack
        assert estimate.std_error < 0.05
        if name not in ("infonce", "guided"):
            assert estimate.std_error == pytest.approx(0, abs=1e-9)


def uniform_end(q, num_permutations=20):
    """E[log K - log(1 + B)] where units are told apart: B of the K - 1 others are the identity."""
    others = scipy.stats.binom(num_permutations - 1, 1 / q.symmetry.order)
    hits = np.arange(num_permutations)
    return float(others.pmf(hits) @ (math.log(num_permutations) - np.log1p(hits)))


@pytest.mark.parametrize("case", ["deep", "deep signed", "covariance"])
def test_bethe_wants_one_hidden_layer(case):
    with pytest.raises(ValueError, match="method: expected one hidden layer for 'bethe'"):
        orbit_information(posterior(case), "bethe")
    with pytest.raises(ValueError, match="symmetrize: expected one hidden layer for 'bethe'"):
        elbo(BNN(NETS[case], Gaussian(0.3)), posterior(case), X, Y, symmetrize="bethe")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_value(name):
    method = METHODS[name]()
    assert method.name == name
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(method) == hash(METHODS[name]())
    assert {method: 1}[METHODS[name]()] == 1
    assert as_method(name, "method") == as_method(method, "method") == method
    assert method.evaluation_draws == (100 if name == "guided" else 1000)
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        method.num_permutations = 3


def test_methods_differ_by_class_and_settings():
    made = {Exact(), InfoNCE(), InfoNCE(3), Guided(), Guided(3), Pairwise(), Plain()}
    assert len(made) == 7
    assert InfoNCE(np.int64(3)) == InfoNCE(3)
    assert eval(repr(Guided(3))) == Guided(3)


def test_the_number_of_permutations_goes_to_the_methods_that_have_one():
    assert as_method("infonce", "method", 7) == InfoNCE(7)
    assert as_method("guided", "symmetrize", np.int64(7)) == Guided(7)
    assert as_method("exact", "method", 7) == Exact()
    assert as_method(None, "symmetrize", 7) == Plain()
    assert as_method("infonce", "method").num_permutations == 20
    q = posterior("one layer")
    assert orbit_information(q, "infonce", KEY, num_permutations=5) == orbit_information(
        q, InfoNCE(5), KEY
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("best", "method"), "method: expected one of None, 'exact', 'infonce', .*got 'best'"),
        (
            (Guided, "symmetrize"),
            r"symmetrize: expected a method, got the class Guided; .*Guided\(\)",
        ),
        ((Guided(), "method", 5), r"num_permutations: expected None beside Guided\(.*got 5; write"),
        (("infonce", "method", 0), "num_permutations: expected a whole number >= 1, got 0"),
    ],
)
def test_what_is_no_method(arguments, match):
    with pytest.raises(ValueError, match=match):
        as_method(*arguments)


@pytest.mark.parametrize("method", [None, Plain()])
def test_orbit_information_wants_a_method(method):
    with pytest.raises(ValueError, match="method: expected"):
        orbit_information(posterior("one layer"), method)


@pytest.mark.parametrize("symmetry", [Symmetry(), MLP([1, 1, 1], "relu").symmetry])
@pytest.mark.parametrize("name", METHODS)
def test_a_trivial_group_has_no_information_and_says_so(symmetry, name):
    loc = MLP([1, 1, 1], "relu").init(jax.random.key(0))
    q = MeanField(loc, jax.tree.map(jnp.ones_like, loc), symmetry)
    with pytest.warns(UserWarning, match=r"only the identity.*I\(g; w\) = 0"):
        found = orbit_information(q, name, num_samples=5)
    for estimate in found if isinstance(found, Bounds) else (found,):
        assert estimate.value == pytest.approx(0, abs=1e-12)


def test_the_elbo_of_a_trivial_group_says_so_where_it_is_symmetrized():
    net = MLP([1, 1, 1], "relu")
    loc = net.init(jax.random.key(0))
    q, bnn = MeanField(loc, jax.tree.map(jnp.ones_like, loc), net.symmetry), BNN(net, Gaussian(1.0))
    plain = elbo(bnn, q, X, Y, num_samples=5)
    with pytest.warns(UserWarning, match="only the identity"):
        assert elbo(bnn, q, X, Y, symmetrize="pairwise", num_samples=5) == plain._replace(
            kind="lower"
        )


@dataclass(frozen=True)
class Halved(Method):
    """A user's own bound: half of the exact value."""

    name, kind = "halved", "lower"

    def pointwise(self, q, params, key):
        return Exact().pointwise(q, params, key) / 2


def test_a_method_of_ones_own_works_everywhere():
    q, bnn = posterior("one layer"), BNN(NETS["one layer"], Gaussian(0.3))
    found = orbit_information(q, Halved(), KEY, num_samples=DRAWS)
    assert found.value == pytest.approx(information("one layer", "exact").value / 2, rel=1e-12)
    gained = elbo(bnn, q, X, Y, symmetrize=Halved(), key=KEY, num_samples=DRAWS)
    assert gained.kind == "lower"
    assert gained.value - bound("one layer", None).value == pytest.approx(found.value, abs=1e-10)


@dataclass(frozen=True)
class Share(Method):
    """A share of the exact value; the share is a setting."""

    share: float = 0.5

    name, kind = "share", "lower"

    def pointwise(self, q, params, key):
        return self.share * Exact().pointwise(q, params, key)


@dataclass(frozen=True)
class Constant(Method):
    """A closed form without draws."""

    value: float = 0.25

    name, kind = "constant", "lower"

    def final_closed_form(self, q):
        return self.value


QUICK = {"steps": 2, "restarts": 1, "num_samples": 2, "progress": False}
SMALL = BNN(NETS["one layer"], Gaussian(0.3))


def test_settings_of_ones_own_are_told_apart_by_compiled_functions():
    for share in (0.5, 0.25):
        found = orbit_information(posterior("one layer"), Share(share), KEY, num_samples=DRAWS)
        assert found.value == pytest.approx(share * information("one layer", "exact").value)


def test_a_closed_form_of_ones_own_works_everywhere():
    """It is written once, as `final_closed_form`: training and estimates take it from there."""
    q = posterior("one layer")
    assert orbit_information(q, Constant(), KEY, num_samples=3) == (0.25, 0.0, "lower")
    gained = elbo(SMALL, q, X, Y, symmetrize=Constant(), key=KEY, num_samples=DRAWS)
    assert gained.value - bound("one layer", None).value == pytest.approx(0.25, abs=1e-10)
    plain, raised = (fit(SMALL, X, Y, symmetrize=s, **QUICK) for s in (None, Constant()))
    np.testing.assert_allclose(plain.losses - raised.losses, 0.25, rtol=1e-10)


@dataclass(frozen=True)
class ByLayers(ClosedForm):
    """Pairwise bounds, written again as two functions of a layer."""

    name = "by layers"

    layer_objective = staticmethod(pairwise.layer_objective)
    layer_bounds = staticmethod(pairwise.layer_bounds)


def test_bounds_of_layers_of_ones_own_work_everywhere():
    q = posterior("one layer")
    assert orbit_information(q, ByLayers()) == orbit_information(q, "pairwise")
    assert elbo(SMALL, q, X, Y, symmetrize=ByLayers(), key=KEY, num_samples=5) == elbo(
        SMALL, q, X, Y, symmetrize="pairwise", key=KEY, num_samples=5
    )
    ours, theirs = (fit(SMALL, X, Y, symmetrize=s, **QUICK) for s in ("pairwise", ByLayers()))
    np.testing.assert_array_equal(ours.losses, theirs.losses)


class Bare(Method):
    """Its setting is no field: without the check, two of them are equal."""

    name, kind = "bare", "lower"

    def __init__(self, share):
        self.share = share

    def pointwise(self, q, params, key):
        return self.share * Exact().pointwise(q, params, key)


class Slotted(Bare):
    """The same, in a slot."""

    name = "slotted"
    __slots__ = ("share",)


@dataclass(frozen=True, eq=False)
class Uncompared(Share):
    """A field more, which the equality of its parent does not look at."""

    power: int = 1

    name = "uncompared"


@dataclass(frozen=True)
class Ignored(Share):
    """A field that is left out of the comparison."""

    power: int = field(default=1, compare=False)

    name = "ignored"


class Kindless(Method):
    name = "kindless"

    def pointwise(self, q, params, key):
        return 1.0


class Sideways(Kindless):
    name, kind = "sideways", "sideways"


class Nameless(Method):
    kind = "lower"

    def pointwise(self, q, params, key):
        return 1.0


class Disguised(Exact):
    """Passes for its parent, whose name, kind and density it would have."""

    def pointwise(self, q, params, key):
        return 0.5 * super().pointwise(q, params, key)


class Taken(Nameless):
    name = "exact"


class OldKind(Exact):
    name = "old kind"
    log_density = Method.log_density

    def pointwise(self, q, params, key):
        return 0.5 * super().pointwise(q, params, key)


class OldDensity(Disguised):
    name, kind = "old density", "lower"


class OldBounds(Guided):
    """`orbit_information` would give its parent's bounds."""

    name, kind = "old bounds", "lower"

    def pointwise(self, q, params, key):
        return 0.0


class Quiet(Plain):
    name, kind = "quiet", "lower"

    def pointwise(self, q, params, key):
        return 1.0


class Empty(Method):
    name, kind = "empty", "lower"


class Half(Method):
    """A fit would be trained with the closed form and evaluated without it."""

    name, kind = "half", "lower"

    def closed_form(self, q, state):
        return 1.0, state


class NoLayers(ClosedForm):
    name = "no layers"


class HalfTheLayers(Pairwise):
    """A fit would be trained with its parent's objective and evaluated with its own bounds."""

    name = "half the layers"
    layer_bounds = staticmethod(lambda q, group: (0.0, 1.0))


NO_METHODS = {
    "a hidden setting": (lambda: Bare(0.5), "settings are dataclass fields", "frozen=True"),
    "a slot": (lambda: Slotted(0.5), "settings are dataclass fields", "frozen=True"),
    "a field not compared": (Uncompared, "settings are dataclass fields", "frozen=True"),
    "a field left out": (Ignored, "settings are dataclass fields", "frozen=True"),
    "a list": (lambda: Share([0.5]), "settings can be hashed", "tuples"),
    "an array": (lambda: Share(np.ones(2)), "settings can be hashed", "tuples"),
    "no kind": (Kindless, "kind is one of 'exact', 'lower'", "kind = "),
    "an unknown kind": (Sideways, "kind is one of 'exact', 'lower'", "kind = "),
    "no name": (Nameless, "a name of its own", "name = 'nameless'"),
    "a parent's name": (Disguised, "a name of its own", "name = 'disguised'"),
    "a taken name": (Taken, "a name of its own", "name = 'taken'"),
    "a parent's kind": (OldKind, "writes kind beside", "write kind too, or subclass Method"),
    "a parent's density": (OldDensity, "writes log_density beside", "write log_density"),
    "a parent's bounds": (OldBounds, "writes measure beside", "write measure"),
    "a kind of Plain": (Quiet, "adds something", "subclass Method"),
    "no value": (Empty, "writes one of pointwise", "write pointwise"),
    "half a closed form": (Half, "final_closed_form beside", "final_closed_form"),
    "no layers": (NoLayers, "writes layer_objective and layer_bounds", "pairwise"),
    "half the layers": (HalfTheLayers, "writes layer_objective and layer_bounds", "pairwise"),
}


@pytest.mark.parametrize("case", NO_METHODS)
def test_methods_of_ones_own_that_would_mislead(case):
    made, wanted, remedy = NO_METHODS[case]
    q = posterior("one layer")
    for argument, call in {
        "symmetrize": lambda: fit(SMALL, X, Y, symmetrize=made(), **QUICK),
        "symmetrize ": lambda: elbo(SMALL, q, X, Y, symmetrize=made()),
        "method": lambda: orbit_information(q, made()),
        "method ": lambda: Symmetrized(q, method=made()),
    }.items():
        match = f"^{argument.strip()}: expected .*{wanted}.*, got .*; .*{remedy}"
        with pytest.raises(ValueError, match=match):
            call()


def of_values(**values):
    """A method whose values are what is given."""
    written = {name: (lambda self, *given, v=v: v) for name, v in values.items()}
    return type("Odd", (Method,), {"name": "odd", "kind": "lower", **written})()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (
            {"pointwise": jnp.ones(2)},
            r"Odd.pointwise to be one number.*, got float64 of shape",
        ),
        ({"pointwise": (1.0, 2.0)}, "Odd.pointwise to be one number.*, got a tuple"),
        ({"pointwise": None}, "Odd.pointwise to be one number.*, got None"),
        ({"pointwise": "1"}, "Odd.pointwise to be one number.*, got '1'"),
        ({"pointwise": 1j}, "Odd.pointwise to be one number"),
        ({"final_closed_form": jnp.ones(2)}, "Odd.final_closed_form to be one number"),
        ({"closed_form": 1.0, "final_closed_form": 1.0}, r"Odd.closed_form to return a pair"),
        ({"closed_form": ([1.0], {}), "final_closed_form": 1.0}, "Odd.closed_form to be one numb"),
    ],
)
def test_values_that_are_no_number_are_seen_before_any_work(values, wanted):
    q, method = posterior("one layer"), of_values(**values)
    long = {**QUICK, "steps": 10**9}
    for argument, call in {
        "symmetrize": lambda: fit(SMALL, X, Y, symmetrize=method, **long),
        "symmetrize ": lambda: elbo(SMALL, q, X, Y, symmetrize=method),
        "method": lambda: orbit_information(q, method),
        "method ": lambda: Symmetrized(q, method=method).log_prob(q.loc),
    }.items():
        with pytest.raises(ValueError, match=f"^{argument.strip()}: expected {wanted}"):
            call()


def test_the_plain_method_is_what_none_stands_for(tmp_path):
    plain, none = (fit(SMALL, X, Y, symmetrize=s, **QUICK) for s in (Plain(), None))
    assert type(plain.posterior) is type(none.posterior) is MeanField
    np.testing.assert_array_equal(plain.losses, none.losses)
    plain.save(tmp_path / "fit.npz")
    assert load(tmp_path / "fit.npz").symmetrize is None
    q = Symmetrized(posterior("one layer"))
    found = (elbo(SMALL, q, X, Y, symmetrize=s, key=KEY, num_samples=5) for s in (Plain(), None))
    assert len(set(found)) == 1


def test_a_method_of_ones_own_warns_of_a_trivial_group():
    net = MLP([1, 1, 1], "relu")
    with pytest.warns(UserWarning, match="only the identity"):
        fit(BNN(net, Gaussian(0.3)), X, Y, symmetrize=Share(), **QUICK)
