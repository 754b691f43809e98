"""The table of distances to the truth, each quantity against a closed form or a naive twin."""

import arviz as az
import jax
import numpy as np
import pytest
import scipy.stats

from symvi import (
    BNN,
    MLP,
    Categorical,
    Estimate,
    Gaussian,
    MeanField,
    Symmetrized,
    compare,
    elbo,
    fit,
    grid_posterior,
    nuts,
)
from symvi.comparison import (
    calibration_error,
    function_distance,
    held_out,
    importance_weights,
    loo,
    pareto_khat,
    pit,
    point_error,
)
from symvi.comparison.distance import quantiles
from symvi.data import absolute
from symvi.draws import inference_data

TWO = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
DATA = absolute(0.1, num=30)
MODEL = BNN(TWO, Gaussian(2.0))
CLASSES = BNN(MLP([2, 2, 3], "tanh"), Categorical())


@pytest.fixture(scope="module")
def truth():
    return nuts(MODEL, DATA.x, DATA.y, chains=4, warmup=300, draws=500, progress=False)


@pytest.fixture(scope="module")
def approximation():
    return fit(
        MODEL, DATA.x, DATA.y, steps=400, restarts=2, learning_rate=0.03, progress=False
    ).posterior


def some_draws(bnn, num, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(num, *shape)) for name, shape in bnn.shapes.items()}


def test_held_out_against_a_loop():
    draws, (x, y) = some_draws(MODEL, 7), (DATA.x_test[:5], DATA.y_test[:5])
    points = []
    for i in range(5):
        means = [float(TWO.apply({"W1": w}, x[i : i + 1])[0, 0]) for w in draws["W1"]]
        points.append(np.log(np.mean(scipy.stats.norm(means, 2.0).pdf(y[i, 0]))))
    found = held_out(MODEL, draws, x, y)
    assert found.value == pytest.approx(np.mean(points), abs=1e-10)
    assert found.std_error == pytest.approx(np.std(points, ddof=1) / np.sqrt(5), abs=1e-10)


def test_point_error_of_numbers_and_labels():
    zero = {name: np.zeros((3, *shape)) for name, shape in MODEL.shapes.items()}
    y = np.array([[3.0], [4.0]])
    assert point_error(MODEL, zero, np.ones((2, 1)), y).value == pytest.approx(np.sqrt(12.5))
    sure = {name: np.zeros((2, *shape)) for name, shape in CLASSES.shapes.items()}
    sure["b2"][:, 1] = 3.0  # class 1 always
    found = point_error(CLASSES, sure, np.zeros((4, 2)), np.array([1, 1, 1, 0]))
    assert found.value == 0.75
    assert found.std_error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))


def test_pit_of_the_true_model_is_uniform_and_of_a_shifted_one_is_not():
    rng = np.random.default_rng(0)
    exact = {"W1": np.zeros((2, 1, 2))}
    x, y = np.zeros((400, 1)), 2.0 * rng.normal(size=(400, 1))
    assert np.allclose(pit(MODEL, exact, x, y), scipy.stats.norm.cdf(y[:, 0] / 2))
    assert scipy.stats.kstest(pit(MODEL, exact, x, y), "uniform").pvalue > 0.01
    calibrated, shifted = (
        calibration_error(MODEL, exact, x, y),
        calibration_error(MODEL, exact, x, y + 1),
    )
    assert calibrated.value < 0.08 < shifted.value
    assert 0 < shifted.std_error < 0.05
    with pytest.raises(ValueError, match="pit: expected a likelihood of numbers"):
        pit(CLASSES, some_draws(CLASSES, 3), np.zeros((4, 2)), np.array([0, 1, 2, 0]))


def test_calibration_error_of_labels():
    """Logits (log 8, 0, 0) give class 0 probability 0.8; it is right in 60 % of rows."""
    draws = {name: np.zeros((2, *shape)) for name, shape in CLASSES.shapes.items()}
    draws["b2"][:, 0] = np.log(8)
    assert calibration_error(
        CLASSES, draws, np.zeros((5, 2)), np.array([0, 0, 0, 1, 2])
    ).value == pytest.approx(0.2)


def test_importance_weights_average_to_the_evidence(approximation):
    exact = grid_posterior(MODEL, DATA.x, DATA.y).log_evidence
    weights = importance_weights(MODEL, Symmetrized(approximation), DATA.x, DATA.y, num=4000)[1]
    z = np.exp(weights - exact)
    assert abs(z.mean() - 1) < 4 * z.std() / np.sqrt(z.size)


def test_khat_tells_a_good_proposal_from_a_narrow_one():
    rng = np.random.default_rng(0)
    w = rng.normal(size=4000)
    same = scipy.stats.norm.logpdf(w, 0, 0.95) - scipy.stats.norm.logpdf(w)
    narrow = scipy.stats.norm.logpdf(w, 0, 3.0) - scipy.stats.norm.logpdf(w)
    assert pareto_khat(same) < 0.5 < 0.7 < pareto_khat(narrow)


def test_loo_is_arviz_own_and_corrects_draws_of_another_distribution(truth):
    own = az.loo(truth, reff=1.0)
    found, worst = loo(truth.log_likelihood["y"].values.reshape(-1, 30))
    assert found.value == pytest.approx(own.elpd_loo)
    assert found.std_error == pytest.approx(own.se, rel=0.05)
    assert worst < 0.7
    wide = MeanField({"W1": np.zeros((1, 2))}, {"W1": np.full((1, 2), 0.4)}, TWO.symmetry)
    draws, weights = importance_weights(MODEL, wide, DATA.x, DATA.y, num=20_000)
    corrected, _ = loo(
        inference_data(MODEL, draws, DATA.x, DATA.y).log_likelihood["y"].values[0], weights
    )
    assert corrected.value == pytest.approx(own.elpd_loo, abs=0.1)


def test_function_distance():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(3000, 6))
    assert function_distance(f, f).value == 0
    assert function_distance(f, f + 2.0).value == pytest.approx(2.0, rel=0.15)
    one = function_distance(f[:, :1], 3.0 * rng.normal(size=(3000, 1)))
    assert one.value == pytest.approx(
        2.0, abs=4 * one.std_error
    )  # W2 of N(0, 1) and N(0, 9) is 3 - 1
    assert function_distance(f[:1500], f[1500:]).value < 0.1
    with pytest.raises(ValueError, match="two arrays"):
        function_distance(f, f[:, :2])


def test_quantiles_are_numpys():
    values = np.random.default_rng(0).normal(size=(37, 3))
    levels = (np.arange(1000) + 0.5) / 1000
    assert np.allclose(quantiles(values), np.quantile(values, levels, axis=0), atol=1e-12)


@pytest.mark.filterwarnings(
    "ignore:Estimated shape parameter", "ignore:The inplace keyword"
)  # ArviZ warns of mean field's tail, and pandas of ArviZ
def test_compare(truth, approximation):
    exact = Estimate(grid_posterior(MODEL, DATA.x, DATA.y).log_evidence, 0.0, "exact")
    methods = {
        "mean field": approximation,
        "symmetrized": Symmetrized(approximation),
        "HMC": truth,
        "one": some_draws(MODEL, 5),
    }
    made = compare(
        MODEL,
        methods,
        DATA.x,
        DATA.y,
        DATA.x_test,
        DATA.y_test,
        reference=truth,
        log_evidence=exact,
    )
    table = made.table.set_index(["method", "quantity"])
    kl = {name: table.loc[(name, "KL to the posterior")] for name in ("mean field", "symmetrized")}
    direct = elbo(MODEL, approximation, DATA.x, DATA.y)
    assert abs(kl["mean field"].value - (exact.value - direct.value)) < 4 * np.hypot(
        direct.std_error, kl["mean field"].std_error
    )
    assert (
        -4 * kl["symmetrized"].std_error < kl["symmetrized"].value < kl["mean field"].value + 0.02
    )
    distance = (
        made.table[made.table.quantity == "distance to the reference"].set_index("method").value
    )
    assert distance["HMC"] < 2 * distance["reference"] < distance["one"]
    assert ("HMC", "k-hat") not in table.index
    assert ("one", "LOO") not in table.index
    assert np.isfinite(made.table.value).all()
    assert {"posterior", "log_likelihood", "observed_data"} <= set(
        made.inference_data["mean field"].groups()
    )
    ranked = az.compare({name: made.inference_data[name] for name in ("mean field", "HMC")})
    assert set(ranked.index) == {"mean field", "HMC"}


def test_compare_labels():
    q = MeanField(
        *({k: v * np.ones(s) for k, s in CLASSES.shapes.items()} for v in (0.3, 0.5)),
        CLASSES.symmetry,
    )
    x, y = np.random.default_rng(0).normal(size=(12, 2)), np.arange(12) % 3
    made = compare(CLASSES, {"q": q}, x, y, x, y, num=200)
    assert {"accuracy", "calibration error", "ELBO", "k-hat", "LOO"} < set(made.table.quantity)


@pytest.mark.parametrize(
    ("methods", "arguments", "message"),
    [
        ({}, {}, "methods: expected a dict from names"),
        (
            {"a": {"W2": np.zeros((5, 1))}},
            {},
            r"draws: expected the parameters \['W1'\], got \['W2'\]",
        ),
        ({"a": {"W1": np.full((5, 1, 2), np.inf)}}, {}, r"draws\['W1'\]: expected finite numbers"),
        ({"a": some_draws(MODEL, 5)}, {"num": 10}, "num: expected a whole number >= 100"),
        (
            {"a": some_draws(MODEL, 5)},
            {"reference": az.from_dict(posterior={"W1": np.zeros((1, 50, 1, 2))})},
            "reference: expected at least 2 chains",
        ),
    ],
)
def test_bad_arguments(methods, arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(MODEL, methods, DATA.x, DATA.y, DATA.x_test, DATA.y_test, **arguments)


def test_symmetrized_draws_are_the_same_functions(approximation):
    key = jax.random.key(3)
    first, second = (
        {"W1": np.asarray(q.sample(key, 2000)["W1"])}
        for q in (approximation, Symmetrized(approximation))
    )
    one, two = (held_out(MODEL, d, DATA.x_test, DATA.y_test) for d in (first, second))
    assert one.value == pytest.approx(two.value, abs=0.01)
