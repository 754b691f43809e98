"""What one does with a fit: draws, predictions, ArviZ, saving and loading."""

import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special

import symvi
from symvi import BNN, MLP, Categorical, Gaussian, Likelihood, fit
from symvi.vi import predict

RNG = np.random.default_rng(0)
X = np.linspace(-1, 1, 12)[:, None]
Y = np.hstack([np.abs(1.3 * X), -X])
LABELS = np.arange(12) % 3
QUICK = {"steps": 20, "restarts": 2, "num_samples": 2, "progress": False}
KEY = jax.random.key(1)
REGRESSION = BNN(MLP([1, 3, 2], "tanh"), Gaussian(), prior_scale=2.0)
CLASSES = BNN(MLP([1, 3, 3], "tanh"), Categorical())


@pytest.fixture(scope="module")
def regression():
    return fit(REGRESSION, X, Y, symmetrize="exact", **QUICK)


@pytest.fixture(scope="module")
def classes():
    return fit(CLASSES, X, LABELS, **QUICK)


def same(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# draws and predictions


def test_a_fit_in_one_line(regression):
    text = repr(regression)
    assert text.startswith(
        "Fit(MeanField of 15 weights, symmetrize='exact', 20 steps, 2 of 2 restarts"
    )
    assert len(text) < 150


def test_sample(regression):
    draws = regression.sample(KEY, 5)
    assert {name: value.shape for name, value in draws.items()} == {
        name: (5, *shape) for name, shape in REGRESSION.shapes.items()
    }
    assert same(draws, regression.posterior.sample(KEY, 5))


def test_predict(regression):
    outputs, base = regression.predict(X[:5], num=7, key=KEY), regression.posterior.base
    assert outputs.shape == (7, 5, 2)
    assert np.array_equal(outputs, predict(REGRESSION, base, X[:5], num=7, key=KEY))
    plain = replace(regression, posterior=base)
    assert np.array_equal(outputs, plain.predict(X[:5], num=7, key=KEY))
    w = jax.tree.map(lambda a: a[3], base.sample(KEY, 7))
    assert np.allclose(outputs[3], REGRESSION.net.apply(w, X[:5]))


def test_predictions_do_not_see_the_group(regression):
    plain = predict(REGRESSION, regression.posterior.base, X, num=4000, key=jax.random.key(0))
    copies = predict(REGRESSION, regression, X, num=4000, key=jax.random.key(1))
    error = np.hypot(plain.std(0), copies.std(0)) / math.sqrt(4000)
    assert np.all(np.abs(plain.mean(0) - copies.mean(0)) < 5 * error)


def test_predictive_has_the_noise(regression):
    """Var[y] = Var[f] + E[noise^2]."""
    draws = regression.predictive(X, num=4000, key=KEY)
    assert draws.shape == (4000, 12, 2)
    functions = regression.predict(X, num=4000, key=jax.random.key(2))
    noise = np.exp(2 * np.asarray(regression.sample(KEY, 4000)["log_noise"])).mean()
    np.testing.assert_allclose(draws.var(0), functions.var(0) + noise, rtol=0.15)
    np.testing.assert_allclose(draws.mean(0), functions.mean(0), atol=6 * math.sqrt(noise / 2000))
    means = regression.predictive_mean(X, num=4000, key=jax.random.key(2))
    np.testing.assert_allclose(means, functions.mean(0), rtol=1e-9, atol=1e-12)


def test_predictive_of_labels(classes):
    probabilities = classes.predictive_mean(X, num=4000, key=KEY)
    outputs = np.asarray(classes.predict(X, num=4000, key=KEY))
    expected = scipy.special.softmax(outputs, axis=-1).mean(0)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9)
    labels = np.asarray(classes.predictive(X, num=4000, key=KEY))
    assert labels.shape == (4000, 12)
    shares = np.stack([(labels == k).mean(0) for k in range(3)], axis=-1)
    np.testing.assert_allclose(shares, probabilities, atol=5 / math.sqrt(4 * 4000))


# ArviZ


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # ArviZ with this Matplotlib
@pytest.mark.filterwarnings("ignore:Estimated shape parameter:UserWarning")  # of a short fit
def test_arviz_reads_a_fit(regression, classes):
    mpl.use("Agg")
    for result, y, event in ((regression, Y, (2,)), (classes, LABELS, ())):
        data = result.to_inference_data(X, y, num=150, key=KEY)
        assert data.posterior_predictive["y"].shape == (1, 150, 12, *event)
        assert data.observed_data["y"].shape == (12, *event)
        assert data.constant_data["x"].shape == (12, 1)
        assert data.log_likelihood["y"].shape == (1, 150, 12)
        draw = {name: values.values[0, 7] for name, values in data.posterior.items()}
        expected = result.bnn.pointwise_log_likelihood(draw, X, y)
        np.testing.assert_allclose(data.log_likelihood["y"][0, 7], expected, rtol=1e-9)
        az.plot_ppc(data, num_pp_samples=5, random_seed=0)
        assert np.isfinite(az.loo(data).elpd_loo)
    mpl.pyplot.close("all")
    other = regression.to_inference_data(X, Y, num=150, key=jax.random.key(9))
    table = az.compare({"one": other, "two": regression.to_inference_data(X, Y, num=150)})
    assert set(table.index) == {"one", "two"}


# saving and loading


class Poisson(Likelihood):
    """A likelihood that is not symvi's own."""

    def distribution(self, outputs, params):
        return dist.Poisson(jnp.exp(outputs[:, 0]))


def equal_fits(left, right):
    assert same(left.posteriors, right.posteriors)
    assert same(left.posterior, right.posterior)
    assert type(left.posterior) is type(right.posterior)
    assert np.array_equal(left.losses, right.losses)
    assert (left.elbos, left.kept, left.symmetrize) == (right.elbos, right.kept, right.symmetrize)
    assert repr(left) == repr(right)


def test_loaded_in_another_process(regression, tmp_path):
    path = tmp_path / "a fit.npz"
    regression.save(path)
    script = (
        "import jax, sys, symvi; jax.config.update('jax_enable_x64', True);"
        "print(symvi.load(sys.argv[1]).predict([[0.3]], num=2).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == regression.predict([[0.3]], num=2).tolist()


@pytest.mark.parametrize(
    ("bnn", "y", "options"),
    [
        (REGRESSION, Y, {"symmetrize": "pairwise", "covariance": "unit", "monitor_every": 10}),
        (CLASSES, LABELS, {"symmetrize": symvi.information.InfoNCE(4)}),
    ],
    ids=["unit normal", "labels"],
)
def test_saved_and_pickled(bnn, y, options, tmp_path):
    result = fit(bnn, X, y, **QUICK, **options)
    result.save(tmp_path / "fit")
    for again in (symvi.load(tmp_path / "fit"), pickle.loads(pickle.dumps(result))):
        equal_fits(result, again)
        assert again.bnn.likelihood == bnn.likelihood
        assert again.bnn.net == bnn.net
        w = bnn.init(KEY)
        assert float(again.bnn.log_joint(w, X, y)) == float(bnn.log_joint(w, X, y))
        if result.monitor is not None:
            assert same(again.monitor, result.monitor)
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]


def test_a_model_of_ones_own_is_given_again(tmp_path):
    bnn = BNN(MLP([1, 3, 1], "tanh"), Poisson())
    result = fit(bnn, X, LABELS, **QUICK)
    result.save(tmp_path / "fit.npz")
    equal_fits(result, symvi.load(tmp_path / "fit.npz", bnn=bnn))
    with pytest.raises(ValueError, match=r"bnn: expected the model of the fit.*pass bnn="):
        symvi.load(tmp_path / "fit.npz")
    with pytest.raises(ValueError, match=r"bnn\[.*\]: expected shape"):
        symvi.load(tmp_path / "fit.npz", bnn=CLASSES)
    signed = BNN(MLP([1, 3, 1], "tanh", signed=True), Poisson())
    with pytest.raises(ValueError, match=r"bnn: expected the symmetry .* pass the model"):
        symvi.load(tmp_path / "fit.npz", bnn=signed)


class Rate(Likelihood):
    """Counts, with a factor that is inferred, at a rate that is a setting."""

    def __init__(self, base=1.0, prior=1.0, law=dist.Poisson):
        self.base, self.prior, self.law = base, prior, law

    def latents(self):
        return {"log_factor": dist.Normal(0.0, self.prior)}

    def distribution(self, outputs, params):
        return self.law(self.base * jnp.exp(outputs[:, 0] + params["log_factor"]))


class Speed(Rate):
    """The same under another name."""


def counts(activation="tanh", prior_scale=1.0, likelihood=None):
    net = MLP([1, 3, 1], activation)
    return BNN(net, Rate() if likelihood is None else likelihood, prior_scale)


OTHERS = {
    "network": (counts("sin"), "network"),
    "likelihood": (counts(likelihood=Rate(1.001)), "likelihood"),
    "name": (counts(likelihood=Speed()), r"likelihood \(Speed, not Rate\)"),
    "family": (counts(likelihood=Rate(law=dist.Exponential)), "distribution"),
    "prior": (counts(prior_scale=2.0), "prior_scale of W1"),
    "own prior": (counts(likelihood=Rate(prior=2.0)), "prior of the likelihood's parameters"),
}


@pytest.fixture(scope="module")
def saved_counts(tmp_path_factory):
    path = tmp_path_factory.mktemp("counts") / "fit.npz"
    fit(counts(), X, LABELS, **QUICK).save(path)
    return path


@pytest.mark.parametrize("case", OTHERS)
def test_another_model_of_the_same_shapes_is_refused(case, saved_counts):
    bnn, differs = OTHERS[case]
    assert symvi.load(saved_counts, bnn=counts()).kept
    match = f"bnn: expected the model of the fit, got another {differs}.*; pass the model that was"
    with pytest.raises(ValueError, match=match):
        symvi.load(saved_counts, bnn=bnn)


def test_a_stored_model_may_be_given_too(regression, tmp_path):
    """It is compared all the same. A file without fingerprints, as they once were, is read."""
    path = tmp_path / "fit.npz"
    regression.save(path)
    net, likelihood = regression.bnn.net, regression.bnn.likelihood
    equal_fits(regression, symvi.load(path, bnn=BNN(net, likelihood, regression.bnn.prior_scale)))
    other = BNN(net, likelihood, 17.0)
    with pytest.raises(ValueError, match="got another prior_scale of W1, prior_scale of W2"):
        symvi.load(path, bnn=other)
    with np.load(path) as stored:
        old = {name: stored[name] for name in stored if not name.startswith("model/")}
    np.savez(path, **old)
    assert symvi.load(path, bnn=other).kept == regression.kept


def test_a_likelihood_that_knows_its_own_data_only_is_saved(tmp_path):
    class Exposed(Likelihood):
        def distribution(self, outputs, params):
            return dist.Poisson(np.arange(1.0, 13.0) * jnp.exp(outputs[:, 0]))

    bnn = BNN(MLP([1, 3, 1], "tanh"), Exposed())
    result = fit(bnn, X, LABELS, **QUICK)
    result.save(tmp_path / "fit.npz")
    equal_fits(result, symvi.load(tmp_path / "fit.npz", bnn=bnn))


def test_files_that_are_no_fit(classes, tmp_path):
    path = tmp_path / "fit.npz"
    classes.save(path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    for damaged in (content[: len(content) // 2], bytes(flipped), b"text", b"", pickle.dumps(3)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"path: expected a fit saved by symvi in") as caught:
            symvi.load(path)
        assert "pickle" not in str(caught.value) + repr(caught.value.__cause__)
    np.savez(path, about=json.dumps({"kind": "other"}))
    with pytest.raises(ValueError, match="got a file of another kind"):
        symvi.load(path)
    np.savez(path, numbers=np.ones(3))
    with pytest.raises(ValueError, match="got a file of another kind"):
        symvi.load(path)
    np.savez(path, about=json.dumps({"kind": "symvi fit", "version": 99}))
    with pytest.raises(
        ValueError, match=r"of file version 1, got one of version 99 .* use the symvi"
    ):
        symvi.load(path)
    np.savez(path, about=json.dumps({"kind": "symvi fit", "version": 1}))
    with pytest.raises(ValueError, match="got a damaged one"):
        symvi.load(path)
    with pytest.raises(ValueError, match="path: expected a file, got the folder"):
        symvi.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        symvi.load(tmp_path / "missing")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda f: f.predict(X, num=0), "num: expected a whole number"),
        (lambda f: f.predict(X[:, 0]), "x: expected shape"),
        (lambda f: f.predict(X, key=3), "key: expected one JAX key, got 3"),
        (lambda f: f.predictive("x"), "x: expected an array of numbers"),
        (lambda f: f.predictive_mean(X, num=1.5), "num: expected a whole number"),
        (lambda f: f.sample(KEY, 0), "num: expected a whole number"),
        (lambda f: f.sample("key"), "key: expected one JAX key"),
        (lambda f: f.to_inference_data(X, None), "y: expected an array of numbers"),
        (lambda f: f.save(3), "path: expected a path, got 3"),
        (lambda f: predict("bnn", f, X), "bnn: expected a symvi.BNN"),
        (lambda f: predict(f.bnn, {}, X), "q: expected a MeanField"),
    ],
)
def test_bad_input(classes, call, match):
    with pytest.raises(ValueError, match=match):
        call(classes)
