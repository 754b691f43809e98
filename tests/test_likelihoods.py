"""Likelihoods: a user's own is one class, used everywhere; each answers what models and comparisons
ask."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.infer.util import log_density

import symvi
from symvi import MLP, Categorical, Gaussian, Likelihood

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 2))
NUMBERS = RNG.normal(size=6)
COUNTS = np.array([0, 3, 1, 2, 2, 0])


class Poisson(Likelihood):
    """Counts with rate exp(f)."""

    def distribution(self, outputs, params):
        return dist.Poisson(jnp.exp(outputs[:, 0]))


class StudentT(Likelihood):
    """Noise with heavy tails, one vector a datum."""

    calibration = "pit"

    def distribution(self, outputs, params):
        return dist.StudentT(4.0, outputs, 0.5).to_event(1)


class Heteroscedastic(Likelihood):
    """Two outputs a datum: the mean and the log standard deviation."""

    calibration = "pit"

    def distribution(self, outputs, params):
        return dist.Normal(outputs[:, 0], jnp.exp(outputs[:, 1]))


class OwnNoise(Likelihood):
    """Noise of its own for each of two outputs, inferred, with a prior."""

    def latents(self):
        return {"log_sd": dist.Normal(jnp.array([-1.0, 0.5]), 0.3)}

    def distribution(self, outputs, params):
        return dist.Normal(outputs, jnp.exp(params["log_sd"])).to_event(1)


def logpdf_own_noise(f, y, own):
    return scipy.stats.norm.logpdf(y, f, np.exp(own["log_sd"])).sum(1)


class Case(NamedTuple):
    likelihood: Likelihood
    outputs: int
    y: np.ndarray
    logpdf: object  # of outputs (N, d_out), y and own parameters: shape (N,)
    mean: object  # of outputs
    cdf: object = None  # of outputs and y


CASES = {
    "poisson": Case(
        Poisson(),
        1,
        COUNTS,
        lambda f, y, own: scipy.stats.poisson.logpmf(y, np.exp(f[:, 0])),
        lambda f: np.exp(f[:, 0]),
        lambda f, y: scipy.stats.poisson.cdf(y, np.exp(f[:, 0])),
    ),
    "student": Case(
        StudentT(),
        1,
        NUMBERS[:, None],
        lambda f, y, own: scipy.stats.t.logpdf(y, 4, f, 0.5)[:, 0],
        lambda f: f,
        lambda f, y: scipy.stats.t.cdf(y, 4, f, 0.5),
    ),
    "heteroscedastic": Case(
        Heteroscedastic(),
        2,
        NUMBERS,
        lambda f, y, own: scipy.stats.norm.logpdf(y, f[:, 0], np.exp(f[:, 1])),
        lambda f: f[:, 0],
        lambda f, y: scipy.stats.norm.cdf(y, f[:, 0], np.exp(f[:, 1])),
    ),
    "own noise": Case(
        OwnNoise(),
        2,
        RNG.normal(size=(6, 2)),
        logpdf_own_noise,
        lambda f: f,
    ),
    "gaussian": Case(
        Gaussian(0.7),
        1,
        NUMBERS[:, None],
        lambda f, y, own: scipy.stats.norm.logpdf(y, f, 0.7)[:, 0],
        lambda f: f,
        lambda f, y: scipy.stats.norm.cdf(y, f, 0.7),
    ),
    "labels": Case(
        Categorical(),
        4,
        COUNTS,
        lambda f, y, own: scipy.special.log_softmax(f, axis=1)[np.arange(6), y],
        lambda f: scipy.special.softmax(f, axis=1),
    ),
}


def model(case):
    return symvi.BNN(MLP([2, 3, case.outputs], "tanh"), case.likelihood)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_density_mean_and_distribution_function(case):
    bnn = model(case)
    w = bnn.init(jax.random.key(1))
    f = np.asarray(bnn.net.apply(w, X))
    own = {name: np.asarray(w[name]) for name in case.likelihood.latents()}
    found = bnn.pointwise_log_likelihood(w, X, case.y)
    np.testing.assert_allclose(found, case.logpdf(f, case.y, own), rtol=1e-9)
    np.testing.assert_allclose(case.likelihood.mean(f, w), case.mean(f), rtol=1e-12)
    if case.cdf is not None:
        found = case.likelihood.cdf(f, w, case.y)
        np.testing.assert_allclose(found, case.cdf(f, case.y), rtol=1e-6)


def test_numpyro_sees_the_same_density(case):
    bnn = model(case)
    w = bnn.init(jax.random.key(1))
    density, trace = log_density(bnn.numpyro_model, (X, case.y), {}, w)
    assert float(density) == pytest.approx(float(bnn.log_joint(w, X, case.y)), rel=1e-10)
    assert trace["y"]["value"].shape == case.y.shape


def test_fit_and_elbo(case):
    bnn = model(case)
    result = symvi.fit(
        bnn, X, case.y, steps=300, restarts=1, num_samples=4, learning_rate=0.03, progress=False
    )
    assert result.losses[0, -50:].mean() < result.losses[0, :10].mean()
    again = symvi.elbo(bnn, result.posterior, X, case.y, key=jax.random.key(7))
    difference = again.value - result.elbos[0].value
    assert abs(difference) < 6 * np.hypot(again.std_error, result.elbos[0].std_error)
    assert result.posterior.loc.keys() == bnn.shapes.keys()


def name_of(value) -> str:
    """The same in every process, unlike the text of an object."""
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("name", ["poisson", "heteroscedastic", "own noise"])
def test_nuts_takes_an_own_likelihood(name):
    case = CASES[name]
    drawn = symvi.nuts(
        model(case), X, case.y, chains=1, warmup=100, draws=20, target_accept=0.9, progress=False
    )
    assert set(drawn.posterior) == set(model(case).shapes)
    assert np.isfinite(drawn.log_likelihood["y"]).all()
    assert drawn.log_likelihood["y"].shape == (1, 20, 6)


def test_own_parameters_have_their_prior_and_start_at_its_mean():
    bnn = model(CASES["own noise"])
    w = bnn.init(jax.random.key(0))
    np.testing.assert_array_equal(w["log_sd"], [-1.0, 0.5])
    assert bnn.shapes["log_sd"] == (2,)
    away = {**w, "log_sd": jnp.array([0.2, -0.3])}
    expected = scipy.stats.norm.logpdf([0.2, -0.3], [-1.0, 0.5], 0.3).sum()
    expected -= scipy.stats.norm.logpdf([-1.0, 0.5], [-1.0, 0.5], 0.3).sum()
    difference = bnn.log_prior(away) - bnn.log_prior(w)
    assert float(difference) == pytest.approx(expected, rel=1e-12)


def test_errors_of_point_predictions():
    mean = RNG.normal(size=(50, 2))
    y = mean + RNG.normal(size=(50, 2))
    found = Gaussian().point_error(mean, y)
    assert found.value == pytest.approx(np.sqrt(np.mean((mean - y) ** 2)), rel=1e-12)
    resampled = [
        Gaussian().point_error(mean[i], y[i]).value for i in RNG.integers(0, 50, (400, 50))
    ]
    assert found.std_error == pytest.approx(np.std(resampled), rel=0.25)
    labels = RNG.integers(0, 2, 50)
    hits = (mean.argmax(1) == labels).mean()
    found = Categorical().point_error(mean, labels)
    assert found.value == hits
    assert found.std_error == pytest.approx(np.sqrt(hits * (1 - hits) / 50), rel=1e-12)
    assert (Gaussian().error_name, Categorical().error_name) == ("RMSE", "accuracy")


def test_one_number_a_datum_comes_flat_or_as_a_column():
    for likelihood in (Gaussian(0.3), StudentT()):
        bnn = symvi.BNN(MLP([2, 3, 1]), likelihood)
        _, y = bnn.check_data(X, NUMBERS)
        assert y.shape == (6, 1)
    bnn = model(CASES["heteroscedastic"])
    assert bnn.check_data(X, NUMBERS[:, None])[1].shape == (6,)
    labels = symvi.BNN(MLP([2, 3, 4]), Categorical())
    assert labels.check_data(X, COUNTS[:, None])[1].shape == (6,)


class Square(Likelihood):
    """Forgets that outputs are columns: log_prob of y (N, 1) would be (N, N)."""

    def distribution(self, outputs, params):
        return dist.Normal(outputs, 1.0)


class Number(Likelihood):
    def distribution(self, outputs, params):
        return 0.0


class Unfinished(Likelihood):
    pass


class PositiveScale(Likelihood):
    def latents(self):
        return {"sd": dist.HalfNormal(1.0)}


class SameName(Likelihood):
    def latents(self):
        return {"b1": dist.Normal(0.0, 1.0)}


def test_a_single_column_does_not_broadcast():
    class Column(Likelihood):
        def distribution(self, outputs, params):
            return dist.Normal(outputs[:, 0], 1.0)

    bnn = symvi.BNN(MLP([2, 3, 1]), Column())
    w = bnn.init(jax.random.key(0))
    f = np.asarray(bnn.net.apply(w, X))[:, 0]
    expected = scipy.stats.norm.logpdf(NUMBERS, f).sum()
    for y in (NUMBERS, NUMBERS[:, None]):
        assert float(bnn.log_likelihood(w, X, y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("likelihood", "y", "match"),
    [
        (Square(), NUMBERS, r"Square.distribution: expected batch shape .* \(6, 1\); end with"),
        (Number(), NUMBERS, "Number.distribution: expected a NumPyro distribution, got 0.0"),
        (Poisson(), COUNTS - 1, r"y: expected values in the likelihood's support .* from -1 to 2"),
        (Poisson(), COUNTS + 0.5, "y: expected values in the likelihood's support"),
        (
            Poisson(),
            np.ones((6, 2)),
            r"y: expected shape \(6,\), got \(6, 2\); give each datum one",
        ),
        (
            Poisson(),
            COUNTS[:5],
            r"y: expected shape \(6,\), got \(5,\); x has 6 rows, y has 5: give",
        ),
        (StudentT(), np.ones((8, 1)), r"y: expected shape \(6, 1\), .*x has 6 rows, y has 8: give"),
        (
            StudentT(),
            np.ones((1, 6)),
            r"y: .*got \(1, 6\); reshape it, for example y.reshape\(-1, 1",
        ),
        (StudentT(), 1.0, r"y: .*got \(\); x has 6 rows, y is one number: give both"),
        (Categorical(), COUNTS[:5], "y: expected labels .*; x has 6 rows, y has 5: give both one"),
        (Categorical(), np.eye(6, dtype=int), "y: expected labels .*; pass class numbers, not one"),
        (StudentT(), np.where(COUNTS > 2, np.nan, 0.0), "y: expected finite numbers"),
        (Gaussian(), None, "y: expected an array of numbers, got NoneType"),
        (Gaussian(), ["a"] * 6, "y: expected an array of numbers, got list of dtype <U1"),
        (Gaussian(), [{}] * 6, "y: expected an array of numbers, got list of dtype object"),
    ],
    ids=name_of,
)
def test_bad_data(likelihood, y, match):
    bnn = symvi.BNN(MLP([2, 3, 1]), likelihood)
    with pytest.raises(ValueError, match=match):
        symvi.fit(bnn, X, y, steps=1, restarts=1, progress=False)
    with pytest.raises(ValueError, match=match):
        bnn.log_likelihood(bnn.init(jax.random.key(0)), X, y)


@pytest.mark.parametrize(
    ("likelihood", "match"),
    [
        ("gaussian", r"likelihood: expected a likelihood .*, got 'gaussian'; pass an instance"),
        (Gaussian, r"likelihood: .*got the class Gaussian; write Gaussian\(\)"),
        (None, "likelihood: expected a likelihood"),
        (dist.Normal(0.0, 1.0), "likelihood: expected a likelihood"),
        (PositiveScale(), r"latents\(\)\['sd'\]: expected a NumPyro prior on the real line"),
        (SameName(), r"latents\(\): expected names that the network does not use, got 'b1'"),
    ],
    ids=name_of,
)
def test_bad_likelihoods(likelihood, match):
    with pytest.raises(ValueError, match=match):
        symvi.BNN(MLP([2, 3, 1]), likelihood)


def reads(read, latents=None):
    """A likelihood of counts whose log rate is what `read` takes of outputs and parameters."""

    class Reads(Likelihood):
        def latents(self):
            return {} if latents is None else latents

        def distribution(self, outputs, params):
            return dist.Poisson(jnp.exp(read(outputs, params)))

    return Reads()


BEYOND = {
    "a column": lambda f, w: f[:, 1],
    "an ellipsis": lambda f, w: f[..., 1],
    "from the end": lambda f, w: f[:, -2],
    "of the transpose": lambda f, w: f.T[1],
    "two columns": lambda f, w: f[:, [0, 1]].sum(1),
    "of a function": lambda f, w: jnp.tanh(f)[:, 1],
    "of each row": lambda f, w: jax.vmap(lambda row: row[1])(f),
}


@pytest.mark.parametrize("read", BEYOND)
def test_a_column_that_the_network_lacks_is_not_the_last_one(read):
    narrow, wide = (symvi.BNN(MLP([2, 3, d]), reads(BEYOND[read])) for d in (1, 2))
    match = r"Reads\.distribution: expected outputs of the network \(1 a datum\).*; widen the netw"
    with pytest.raises(ValueError, match=match):
        narrow.check_data(X, COUNTS)
    with pytest.raises(ValueError, match=match):
        jax.jit(lambda w: narrow.log_joint(w, X, COUNTS))(narrow.init(jax.random.key(0)))
    assert wide.check_data(X, COUNTS)[1].shape == (6,)
    assert not jax.config.jax_check_static_indices  # what was switched on for the look is off again


def test_what_numpy_cannot_do_is_no_fault_of_a_likelihood():
    added = symvi.BNN(MLP([2, 3, 2]), reads(lambda f, w: f.at[:, 0].add(1.0)[:, 1]))
    assert added.check_data(X, COUNTS)[1].shape == (6,)


@pytest.mark.parametrize("latents", [[], "sd", dist.Normal(0.0, 1.0), {1: dist.Normal(0.0, 1.0)}])
def test_latents_are_a_dict(latents):
    with pytest.raises(ValueError, match=r"Reads\.latents\(\): expected a dict of NumPyro priors"):
        symvi.BNN(MLP([2, 3, 1]), reads(lambda f, w: f[:, 0], latents))


@pytest.mark.parametrize("latents", [{}, {"log_df": dist.Normal(0.0, 1.0)}])
def test_a_parameter_that_latents_does_not_name(latents):
    bnn = symvi.BNN(MLP([2, 3, 1]), reads(lambda f, w: f[:, 0] + w["log_sd"], latents))
    match = (
        r"Reads\.distribution: expected parameters that Reads\.latents\(\) names .*"
        r"got params\['log_sd'\]; give it a NumPyro prior"
    )
    with pytest.raises(ValueError, match=match):
        bnn.check_data(X, COUNTS)


def test_an_unfinished_likelihood_says_what_is_missing():
    bnn = symvi.BNN(MLP([2, 3, 1]), Unfinished())
    with pytest.raises(NotImplementedError, match=r"Unfinished\.distribution must be written"):
        bnn.check_data(X, NUMBERS)
    with pytest.raises(NotImplementedError, match="labels have no order"):
        Categorical().cdf(X, {}, COUNTS)


@pytest.mark.parametrize("scale", [0.0, "a", np.inf, np.nan, -1, True, [0.1], {}])
def test_bad_noise(scale):
    with pytest.raises(ValueError, match="scale: expected a positive finite number or None"):
        Gaussian(scale)


@pytest.mark.parametrize("scale", [1, np.float32(0.5), np.array(0.5), jnp.float32(0.5)])
def test_every_kind_of_number_is_a_scale(scale):
    assert Gaussian(scale) == Gaussian(float(scale))
    assert hash(Gaussian(scale)) == hash(Gaussian(float(scale)))
