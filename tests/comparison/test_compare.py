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
    function_distance,
    held_out,
    importance_weights,
    loo,
    pareto_khat,
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
    with pytest.raises(ValueError, match="second: expected values at the 6 inputs of first"):
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
    groups = set(made.inference_data["mean field"].groups())
    assert {"posterior", "observed_data"} <= groups
    assert "log_likelihood" not in groups  # az.loo would take these draws for the posterior's
    assert "log_likelihood" in made.inference_data["HMC"].groups()


def test_compare_labels():
    q = MeanField(
        *({k: v * np.ones(s) for k, s in CLASSES.shapes.items()} for v in (0.3, 0.5)),
        CLASSES.symmetry,
    )
    x, y = np.random.default_rng(0).normal(size=(12, 2)), np.arange(12) % 3
    made = compare(CLASSES, {"q": q}, x, y, x, y, num=200)
    assert {"accuracy", "calibration error", "ELBO", "k-hat", "LOO"} < set(made.table.quantity)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter", "ignore:The inplace keyword")
def test_arvizs_loo_is_the_row_or_there_is_none(truth, approximation):
    methods = {"NUTS": truth, "q": approximation, "draws": some_draws(MODEL, 400)}
    made = compare(MODEL, methods, *(DATA.x, DATA.y, DATA.x_test, DATA.y_test), num=400)
    table = made.table.set_index(["method", "quantity"])
    for name in ("NUTS", "draws"):
        found = az.loo(made.inference_data[name], pointwise=True)
        assert table.loc[(name, "LOO"), "value"] == pytest.approx(found.elpd_loo, abs=1e-9)
        worst = float(found.pareto_k.max())
        assert table.loc[(name, "LOO worst k-hat"), "value"] == pytest.approx(worst, abs=1e-9)
        assert table.loc[(name, "LOO"), "reliable"] == (worst <= 0.7)
    assert "log_likelihood" not in made.inference_data["q"].groups()
    with pytest.raises(TypeError, match="log likelihood not found"):
        az.loo(made.inference_data["q"])


def test_nuts_keeps_its_chains_and_statistics(truth):
    made = compare(MODEL, {"NUTS": truth}, DATA.x, DATA.y, DATA.x_test, DATA.y_test, num=400)
    kept = made.inference_data["NUTS"]
    assert kept.posterior["W1"].shape == (4, 100, 1, 2)
    places = np.linspace(0, 499, 100).astype(int)
    assert np.array_equal(kept.posterior["W1"], truth.posterior["W1"][:, places])
    assert np.array_equal(kept.sample_stats["energy"], truth.sample_stats["energy"][:, places])
    assert np.isfinite(az.rhat(kept)["W1"]).all()


def test_khat_above_the_limit_is_flagged():
    """A posterior far too narrow: its importance weights have no second moment."""
    narrow = MeanField({"W1": np.zeros((1, 2))}, {"W1": np.full((1, 2), 0.02)}, TWO.symmetry)
    made = compare(MODEL, {"q": narrow}, DATA.x, DATA.y, DATA.x_test, DATA.y_test, num=400)
    table = made.table.set_index("quantity")
    assert table.loc["k-hat", "value"] > 0.7
    flagged = set(table.index[~table.reliable])
    assert "k-hat" in flagged
    assert flagged <= {"k-hat", "LOO", "LOO worst k-hat"}


def test_a_fit_is_taken_for_its_posterior(approximation):
    made = fit(MODEL, DATA.x, DATA.y, steps=5, restarts=1, progress=False)
    data = (DATA.x, DATA.y, DATA.x_test, DATA.y_test)
    first = compare(MODEL, {"q": made}, *data, num=200).table
    second = compare(MODEL, {"q": made.posterior}, *data, num=200).table
    assert first.equals(second)
    assert held_out(MODEL, made, DATA.x_test, DATA.y_test) == held_out(
        MODEL, made.posterior.sample(jax.random.key(0), 1000), DATA.x_test, DATA.y_test
    )
    assert inference_data(MODEL, made, DATA.x, DATA.y).posterior["W1"].shape == (1, 1000, 1, 2)


@pytest.mark.parametrize(
    ("methods", "arguments", "message"),
    [
        ({}, {}, "methods: expected a dict from names"),
        ([], {}, "methods: expected a dict from names"),
        ({"a": None}, {}, "draws: expected a dict of draws by name.*got None"),
        ({"a": MeanField}, {}, "expected a"),
        ({"a": some_draws(MODEL, 5)}, {"y_test": None}, "y: expected the observed outputs"),
        ({"a": some_draws(MODEL, 5)}, {"log_evidence": -3.0}, "log_evidence: expected an Estimate"),
        ({"a": some_draws(MODEL, 5)}, {"seed": -1}, "seed: expected an int >= 0"),
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
    data = {"x": DATA.x, "y": DATA.y, "x_test": DATA.x_test, "y_test": DATA.y_test}
    with pytest.raises(ValueError, match=message):
        compare(MODEL, methods, **(data | arguments))


def test_symmetrized_draws_are_the_same_functions(approximation):
    key = jax.random.key(3)
    first, second = (
        {"W1": np.asarray(q.sample(key, 2000)["W1"])}
        for q in (approximation, Symmetrized(approximation))
    )
    one, two = (held_out(MODEL, d, DATA.x_test, DATA.y_test) for d in (first, second))
    assert one.value == pytest.approx(two.value, abs=0.01)
