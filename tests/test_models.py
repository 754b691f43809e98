"""The log densities against scipy, the NumPyro model against them, and what a model refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.infer.util import log_density

import symvi
from symvi import BNN, MLP, Gaussian, MeanField, elbo
from symvi.vi.objective import pointwise_elbo

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.random.default_rng(1).normal(size=(6, 1))
NET = symvi.MLP([2, 3, 1], "tanh")


def test_log_joint_equals_scipy():
    bnn = symvi.BNN(
        NET,
        symvi.Gaussian(0.7),
        prior_scale={"W1": 2.0, "b1": 0.5, "W2": np.full((3, 1), 1.5), "b2": 1.0},
    )
    w = NET.init(jax.random.key(0))
    prior = sum(
        scipy.stats.norm.logpdf(np.asarray(w[k]), 0, s).sum()
        for k, s in (("W1", 2.0), ("b1", 0.5), ("W2", 1.5), ("b2", 1.0))
    )
    likelihood = scipy.stats.norm.logpdf(Y, np.asarray(NET.apply(w, X)), 0.7)
    assert float(bnn.log_prior(w)) == pytest.approx(prior, rel=1e-12)
    assert float(bnn.log_likelihood(w, X, Y)) == pytest.approx(likelihood.sum(), rel=1e-12)
    np.testing.assert_allclose(bnn.pointwise_log_likelihood(w, X, Y), likelihood[:, 0], rtol=1e-12)
    assert float(bnn.log_joint(w, X, Y)) == pytest.approx(prior + likelihood.sum(), rel=1e-12)


def test_inferred_noise():
    bnn = symvi.BNN(NET, symvi.Gaussian())
    w = {**NET.init(jax.random.key(0)), "log_noise": jnp.array(-0.4)}
    assert set(bnn.shapes) == set(w) == set(bnn.init(jax.random.key(0)))
    likelihood = scipy.stats.norm.logpdf(Y, np.asarray(NET.apply(w, X)), np.exp(-0.4)).sum()
    assert float(bnn.log_likelihood(w, X, Y)) == pytest.approx(likelihood, rel=1e-12)
    rest = {k: v for k, v in w.items() if k != "log_noise"}
    assert float(bnn.log_prior(w)) == pytest.approx(
        sum(scipy.stats.norm.logpdf(np.asarray(v)).sum() for v in rest.values())
        + scipy.stats.norm.logpdf(-0.4),
        rel=1e-12,
    )


def test_categorical_is_a_softmax():
    net = symvi.MLP([2, 3, 4], "relu")
    bnn = symvi.BNN(net, symvi.Categorical())
    w, labels = net.init(jax.random.key(0)), np.array([0, 3, 1, 2, 2, 0])
    logits = np.asarray(net.apply(w, X))
    expected = logits[np.arange(6), labels] - np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(bnn.pointwise_log_likelihood(w, X, labels), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("likelihood", "y"),
    [(symvi.Gaussian(0.3), Y), (symvi.Gaussian(), Y), (symvi.Categorical(), np.zeros(6, int))],
)
def test_numpyro_model_has_the_same_density(likelihood, y):
    bnn = symvi.BNN(NET, likelihood)
    w = bnn.init(jax.random.key(3))
    density, _ = log_density(bnn.numpyro_model, (X, y), {}, w)
    assert float(density) == pytest.approx(float(bnn.log_joint(w, X, y)), rel=1e-12)


def test_numpyro_model_without_y_draws_data():
    import numpyro

    trace = numpyro.handlers.trace(
        numpyro.handlers.seed(symvi.BNN(NET, symvi.Gaussian(0.3)).numpyro_model, 0)
    ).get_trace(X)
    assert trace["y"]["value"].shape == (6, 1)


GAUSSIAN, LABELS = (
    symvi.BNN(NET, symvi.Gaussian(1.0)),
    symvi.BNN(symvi.MLP([2, 3, 4]), symvi.Categorical()),
)


class Squeezed:
    """A network that says its outputs are numbers, not rows."""

    shapes, symmetry, widths = NET.shapes, NET.symmetry, NET.widths
    output_shape = ()
    init, apply = NET.init, NET.apply


class Misshapen:
    """A network that returns numbers where it should return rows, and does not say so."""

    shapes, symmetry, widths = NET.shapes, NET.symmetry, NET.widths
    init = NET.init

    def apply(self, params, x):
        return NET.apply(params, x)[:, 0]


def test_weights_as_one_vector():
    bnn = symvi.BNN(NET, symvi.Gaussian())
    w = bnn.init(jax.random.key(0))
    vector = bnn.ravel(w)
    parts = [np.ravel(w[name]) for name in sorted(w)]
    np.testing.assert_array_equal(vector, np.concatenate(parts))
    back = bnn.unravel(vector)
    assert list(back) == sorted(w)
    assert all(np.array_equal(back[name], w[name]) for name in w)


def test_data_of_any_kind_that_converts():
    import pandas as pd

    frame = pd.DataFrame(X)
    for x, y in ((frame, pd.Series(Y[:, 0])), (X.tolist(), Y.tolist()), (jnp.asarray(X), Y)):
        made = GAUSSIAN.check_data(x, y)
        np.testing.assert_array_equal(made[0], X)
        np.testing.assert_array_equal(made[1], Y)
    assert LABELS.check_data(X, np.array([0, 1, 2, 3, 0, 1], np.uint8))[1].dtype == np.uint8


def test_large_integers_do_not_wrap():
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="y: expected whole numbers of at most 32 bits"):
            LABELS.check_data(X.astype(np.float32), np.array([0, 1, 2, 3, 0, 2**32 + 1]))
        with pytest.raises(ValueError, match="x: expected whole numbers of at most 32 bits"):
            GAUSSIAN.check_inputs(np.full((6, 2), 2**40))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.BNN(NET, symvi.Gaussian(), prior_scale={"W1": 1.0}),
            r"prior_scale: expected one entry for each of .*name every parameter",
        ),
        (
            lambda: symvi.BNN(NET, symvi.Gaussian(), prior_scale=-1.0),
            "prior_scale: expected positive finite numbers, got -1.0; pass",
        ),
        (
            lambda: symvi.BNN(
                NET,
                symvi.Gaussian(),
                prior_scale={"W1": np.ones(5), "b1": 1.0, "W2": 1.0, "b2": 1.0},
            ),
            r"expected a number or shape \(2, 3\), got shape \(5,\); match",
        ),
        (
            lambda: symvi.BNN(
                NET,
                symvi.Gaussian(),
                prior_scale={"W1": 1.0, "b1": np.array([1.0, 1.0, 2.0]), "W2": 1.0, "b2": 1.0},
            ),
            r"prior_scale\['b1'\]: expected a prior invariant under the .*got different values",
        ),
        (
            lambda: GAUSSIAN.check_data(X[:, 0], Y),
            r"x: expected shape \(N, 2\), got \(6,\); reshape",
        ),
        (lambda: GAUSSIAN.check_data(X[:, :1], Y), r"x: expected shape \(N, 2\), got \(6, 1\)"),
        (
            lambda: GAUSSIAN.check_data(np.full((6, 2), np.nan), Y),
            "x: expected finite numbers, got NaN or infinity; drop",
        ),
        (
            lambda: GAUSSIAN.check_data(X, np.ones((6, 2))),
            r"y: expected shape \(6, 1\), got \(6, 2\); give each datum one number, or choose",
        ),
        (lambda: GAUSSIAN.check_data(X, Y[:5]), r"y: expected shape \(6, 1\), got \(5, 1\)"),
        (
            lambda: GAUSSIAN.check_data(X, np.full((6, 1), np.inf)),
            "y: expected finite numbers, got NaN or infinity; drop",
        ),
        (
            lambda: LABELS.check_data(X, np.array([0, 1, 2, 3, 4, 0])),
            r"y: expected labels in 0..3, got values from 0 to 4; widen",
        ),
        (
            lambda: LABELS.check_data(X, np.array([0, -1, 2, 3, 1, 0])),
            r"y: expected labels in 0..3, got values from -1 to 3",
        ),
        (
            lambda: LABELS.check_data(X, np.eye(6)[:, :4]),
            r"y: expected labels of shape \(6,\), got shape \(6, 4\); pass class numbers, not one",
        ),
        (
            lambda: LABELS.check_data(X, np.zeros(6)),
            r"y: expected integer labels, got labels of float64; convert class numbers",
        ),
        (
            lambda: LABELS.check_data(X, np.zeros(6, bool)),
            r"y: expected integer labels, got labels of bool; convert class numbers",
        ),
        (lambda: GAUSSIAN.check_data(X[:0], Y[:0]), "x: expected at least one row"),
        (lambda: GAUSSIAN.check_data(None, Y), "x: expected an array of numbers, got NoneType"),
        (lambda: GAUSSIAN.check_data("text", Y), "x: expected an array of numbers, got str"),
        (lambda: GAUSSIAN.check_data(X, None), "y: expected an array of numbers, got NoneType"),
        (lambda: GAUSSIAN.check_inputs({"x": X}), "x: expected an array of numbers, got dict"),
        (
            lambda: GAUSSIAN.unravel(np.zeros(3)),
            r"vector: expected all 13 weights on one axis, got shape \(3,\)",
        ),
        (lambda: symvi.BNN("net", symvi.Gaussian()), "net: expected a network with shapes"),
        (lambda: symvi.BNN(symvi.MLP, symvi.Gaussian()), "net: expected a network with shapes"),
        (
            lambda: symvi.BNN(NET, symvi.Gaussian(), prior_scale="wide"),
            "prior_scale: expected an array of numbers, got .*; pass the standard deviation",
        ),
        (lambda: symvi.BNN(Squeezed(), symvi.Gaussian()), "net: .*leave out its last squeeze"),
        (
            lambda: symvi.BNN(Misshapen(), symvi.Gaussian()).log_likelihood(
                NET.init(jax.random.key(0)), X, Y
            ),
            r"net.apply: expected outputs \(N, d_out\) = \(6, 1\), got \(6,\)",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


class TestEqualModels:
    """Equal models share compiled programs, so they must be equal in all that a program reads."""

    def test_they_are_values(self):
        def made():
            return BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3), prior_scale=2)

        assert made() == made()
        assert hash(made()) == hash(made())
        assert made() != "a model"
        scales = {name: np.full(shape, 2.0) for name, shape in made().net.shapes.items()}
        by_name = BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3), scales)
        assert by_name == BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3), dict(scales))

    @pytest.mark.parametrize(
        "other",
        [
            BNN(MLP([1, 3, 1], "relu"), Gaussian(0.3)),
            BNN(MLP([1, 4, 1], "tanh"), Gaussian(0.3)),
            BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.4)),
            BNN(MLP([1, 3, 1], "tanh"), Gaussian(None)),
            BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3), prior_scale=1.5),
            BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3), {"W1": 1, "b1": 1.5, "W2": 1, "b2": 1}),
        ],
    )
    def test_another_net_likelihood_or_prior_is_another_model(self, other):
        assert BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.3)) != other

    def test_what_fields_do_not_show_keeps_models_apart(self):
        """Else the first one's program would answer for the second."""

        class Shifted(Gaussian):  # no decorator: equality would compare the scale alone
            def __init__(self, shift):
                super().__init__(0.3)
                object.__setattr__(self, "shift", shift)

            def distribution(self, outputs, params):
                return super().distribution(outputs + self.shift, params)

        net = MLP([1, 3, 1], "tanh")
        one, two = BNN(net, Shifted(0.0)), BNN(net, Shifted(1.0))
        assert one != two
        weights = one.init(jax.random.key(0))
        log_likelihood = jax.jit(BNN.log_likelihood, static_argnums=0)
        x, y = np.zeros((4, 1)), np.ones((4, 1))
        assert float(log_likelihood(one, weights, x, y)) != float(
            log_likelihood(two, weights, x, y)
        )

    def test_what_equality_does_not_compare_keeps_models_apart(self):
        @dataclasses.dataclass(frozen=True)
        class Blind(Gaussian):
            shift: float = dataclasses.field(default=0.0, compare=False)

        @dataclasses.dataclass(frozen=True, eq=False)
        class Inherited(Gaussian):
            shift: float = 0.0

        @dataclasses.dataclass(frozen=True)
        class Wrapped(symvi.Likelihood):
            inner: symvi.Likelihood

            def distribution(self, outputs, params):
                return self.inner.distribution(outputs, params)

        net = MLP([1, 3, 1], "tanh")
        for one, two in (
            (Blind(0.3, 0.0), Blind(0.3, 1.0)),
            (Inherited(0.3, 0.0), Inherited(0.3, 1.0)),
            (Wrapped(Inherited(0.3, 0.0)), Wrapped(Inherited(0.3, 1.0))),
            (Wrapped(Gaussian(0.3)), Wrapped(Gaussian(0.4))),
        ):
            assert BNN(net, one) != BNN(net, two)
        assert BNN(net, Inherited(0.3, 1.0)) == BNN(net, Inherited(0.3, 1.0))

    def test_fields_that_can_not_be_hashed_keep_models_apart(self):
        @dataclasses.dataclass(frozen=True)
        class Weighted(Gaussian):
            weights: np.ndarray = dataclasses.field(default_factory=lambda: np.ones(4))

        net, likelihood = MLP([1, 3, 1], "tanh"), Weighted(0.3)
        assert BNN(net, likelihood) == BNN(net, likelihood) != BNN(net, Weighted(0.3))

    def test_an_evaluation_is_compiled_once_for_equal_models(self):
        def evaluate():
            bnn = BNN(MLP([1, 3, 1], "tanh"), Gaussian(0.37))
            loc = bnn.init(jax.random.key(0))
            q = MeanField(loc, jax.tree.map(jnp.ones_like, loc), bnn.symmetry)
            return elbo(bnn, q, np.zeros((4, 1)), np.ones((4, 1)), num_samples=3)

        evaluate()
        before = pointwise_elbo._cache_size()
        evaluate()
        assert pointwise_elbo._cache_size() == before
