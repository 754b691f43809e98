"""Diagnostics in three views: copies of a mode must fail in weights and pass in functions."""

import arviz as az
import jax
import numpy as np
import pytest

from symvi import BNN, MLP, Gaussian, convergence
from symvi.draws import inference_data, log_joints, log_likelihoods, outputs
from symvi.truth.diagnostics import (
    acceptance,
    aligned,
    function_space,
    posteriordb_rule,
    saturation,
    stretched,
)

NET = MLP([1, 3, 1], "tanh", signed=True)
MODEL = BNN(NET, Gaussian())
X = np.linspace(-1, 1, 7)[:, None]
Y = np.sin(X)


def one_mode(chains=4, draws=300, seed=0, sd=0.05):
    """Independent draws around one set of weights, the same for all chains."""
    rng = np.random.default_rng(seed)
    centre = {
        name: 2 * np.random.default_rng(9).normal(size=shape)
        for name, shape in MODEL.shapes.items()
    }
    return {
        name: value + sd * rng.normal(size=(chains, draws, *value.shape))
        for name, value in centre.items()
    }


def scattered(draws):
    """Chain c moved by a group element of its own: the same functions in other copies."""
    elements = NET.symmetry.sample(jax.random.key(5), len(draws["W1"]))
    return {
        k: np.asarray(v)
        for k, v in jax.vmap(lambda g, w: jax.vmap(lambda u: NET.symmetry.act(g, u))(w))(
            elements, draws
        ).items()
    }


def drawn(draws, **stats):
    made = inference_data(MODEL, draws, X, Y)
    shape = draws["W1"].shape[:2]
    rng = np.random.default_rng(1)
    made.add_groups(
        sample_stats=az.from_dict(
            sample_stats={
                "diverging": np.zeros(shape, bool),
                "energy": rng.normal(size=shape),
                **stats,
            }
        ).sample_stats
    )
    return made


def test_copies_fail_in_weights_and_pass_in_functions():
    table = convergence(MODEL, drawn(scattered(one_mode())), X, Y)
    assert list(table.index) == ["weights", "aligned", "functions"]
    assert table.loc["weights", "rhat"] > 1.5
    assert table.loc["weights", "ess_bulk"] < 30
    for view in ("aligned", "functions"):
        assert table.loc[view, "rhat"] < 1.02
        assert table.loc[view, "ess_bulk"] > 600
    assert table.loc["weights", "quantities"] == 3 + 3 + 3 + 1 + 1
    assert table.loc["functions", "quantities"] == 7 + 1 + 1


def test_functions_fail_where_the_functions_differ():
    draws = one_mode()
    draws["b2"][1] += 1.0
    assert convergence(MODEL, drawn(draws), X, Y).loc["functions", "rhat"] > 1.5


def test_a_constant_quantity_is_left_out():
    """A ReLU unit that is off at an input gives 0 there in every draw."""
    bnn = BNN(MLP([1, 1, 1], "relu", bias=False), Gaussian(0.5))
    rng = np.random.default_rng(0)
    draws = {
        "W1": 1 + 0.1 * np.abs(rng.normal(size=(4, 100, 1, 1))),
        "W2": 1 + 0.1 * rng.normal(size=(4, 100, 1, 1)),
    }
    table = convergence(bnn, inference_data(bnn, draws, X, Y), X, Y)
    assert table.loc["functions", "rhat"] < 1.05
    assert (
        table.loc["functions", "quantities"] == 3 + 1
    )  # the inputs above 0, and the log joint density


def test_values_are_arviz_own():
    draws = one_mode()
    table = convergence(MODEL, drawn(draws), X, Y)
    assert table.loc["weights", "rhat"] == pytest.approx(
        max(float(v.max()) for v in az.rhat(drawn(draws)).values())
    )
    assert table.loc["weights", "ess_tail"] == pytest.approx(
        min(float(v.min()) for v in az.ess(drawn(draws), method="tail").values())
    )


def test_function_space_is_invariant_and_naive():
    draws = one_mode(2, 5, sd=0.5)
    assert np.allclose(
        function_space(MODEL, draws, X, Y),
        function_space(MODEL, scattered(draws), X, Y),
        atol=1e-10,
    )
    w = {k: v[1, 3] for k, v in draws.items()}
    assert np.allclose(outputs(MODEL, draws, X)[1, 3], NET.apply(w, X), atol=1e-12)
    assert np.allclose(log_joints(MODEL, draws, X, Y)[1, 3], MODEL.log_joint(w, X, Y), atol=1e-10)
    assert np.allclose(
        log_likelihoods(MODEL, draws, X, Y)[1, 3],
        MODEL.pointwise_log_likelihood(w, X, Y),
        atol=1e-10,
    )


def test_aligned_draws_share_a_copy():
    draws = scattered(one_mode())
    spread = {
        name: value.reshape(-1, *value.shape[2:]).std(axis=0).max()
        for name, value in aligned(MODEL, draws, X, Y).items()
    }
    assert max(spread.values()) < 0.1 < draws["W1"].reshape(-1, 3).std(axis=0).max()


def test_acceptance_by_each_rule():
    good = acceptance(MODEL, drawn(one_mode()), X, Y)
    assert good["accepted"]
    diverging = np.zeros((4, 300), bool)
    diverging[2, 7] = True
    slow = np.cumsum(np.random.default_rng(0).normal(size=(4, 300)) * 0.1, axis=1)
    few = {k: v[:, :50] for k, v in one_mode().items()}
    for bad in (drawn(one_mode(), diverging=diverging), drawn(one_mode(), energy=slow), drawn(few)):
        assert not acceptance(MODEL, bad, X, Y)["accepted"]
    assert not acceptance(MODEL, drawn(one_mode()), X, Y, [{"divergences": 1, "bfmi": 1.0}])[
        "accepted"
    ]


def limited(made, n_steps, max_tree_depth=10):
    made.sample_stats["n_steps"] = (("chain", "draw"), n_steps)
    made.sample_stats.attrs["max_tree_depth"] = max_tree_depth
    return made


@pytest.mark.parametrize(("share", "slow"), [(0.0, False), (0.05, False), (0.07, True)])
def test_draws_at_the_limit_are_a_flag(share, slow):
    n_steps = np.full((4, 300), 2**10 - 2)
    n_steps.ravel()[: round(1200 * share)] = 2**10 - 1
    made = limited(drawn(one_mode()), n_steps)
    assert saturation(made) == pytest.approx(share)
    found = acceptance(MODEL, made, X, Y)
    assert found["saturated"] == pytest.approx(share) and found["slow"] is slow
    assert found["accepted"]
    assert saturation(limited(made, n_steps, 11)) == 0.0


def test_a_tree_that_was_not_recorded():
    found = acceptance(MODEL, drawn(one_mode()), X, Y)
    assert found["saturated"] == "not recorded" and found["slow"] is False
    without = limited(drawn(one_mode()), np.ones((4, 300)))
    del without.sample_stats.attrs["max_tree_depth"]
    assert saturation(without) == "not recorded"


def test_posteriordb_by_each_rule():
    good = posteriordb_rule(MODEL, drawn(one_mode(4, 2500)))
    assert good["passes"] and (good["draws"], good["chains"]) == (10_000, 4)
    assert acceptance(MODEL, drawn(one_mode(4, 2500)), X, Y)["posteriordb"]
    diverging = np.zeros((4, 2500), bool)
    diverging[2, 7] = True
    sticky = one_mode(4, 2500)
    sticky["b2"] = 1 + 0.05 * autoregressive(0.08, (4, 2500, 1))
    slow = autoregressive(0.95, (4, 2500, 1))[..., 0]
    bad = {
        "draws": drawn(one_mode(4, 2501)),
        "chains": drawn(one_mode(2, 5000)),
        "rhat": drawn(scattered(one_mode(4, 2500))),
        "lag1": drawn(sticky),
        "bfmi": drawn(one_mode(4, 2500), energy=slow),
        "divergences": drawn(one_mode(4, 2500), diverging=diverging),
    }
    for name, made in bad.items():
        found = posteriordb_rule(MODEL, made)
        assert not found["passes"]
        differs = [k for k in good if k != "passes" and broken(k, found[k])]
        assert differs == [name]
    assert not posteriordb_rule(
        MODEL, drawn(one_mode(4, 2500)), [{"divergences": 0, "bfmi": 0.19}]
    )["passes"]


def broken(name, value):
    """Whether a number is outside the rule, as posteriordb's R package says it."""
    return {
        "draws": value != 10_000,
        "chains": value < 4,
        "rhat": value > 1.01,
        "lag1": value > 0.05,
        "divergences": value > 0,
        "bfmi": value < 0.2,
    }[name]


def autoregressive(coefficient, shape):
    """Standard normal series along axis 1 with this autocorrelation at lag 1."""
    noise = np.random.default_rng(2).normal(size=shape)
    series = noise.copy()
    for t in range(1, shape[1]):
        series[:, t] = coefficient * series[:, t - 1] + np.sqrt(1 - coefficient**2) * noise[:, t]
    return series


def test_lag_one_against_a_naive_twin():
    draws = one_mode(3, 50)
    values = np.concatenate([v.reshape(3, 50, -1) for v in draws.values()], axis=-1)
    naive = []
    for m in range(values.shape[-1]):
        each = []
        for chain in values[:, :, m]:
            z = chain - chain.mean()
            each.append(abs((z[:-1] * z[1:]).sum() / (z**2).sum()))
        naive.append(np.mean(each))
    assert posteriordb_rule(MODEL, drawn(draws))["lag1"] == pytest.approx(max(naive), abs=1e-12)


def test_functions_at_other_inputs():
    """Chains that agree on the data and differ beyond: a ReLU unit that turns on at x > 2."""
    bnn = BNN(MLP([1, 1, 1], "relu"), Gaussian(0.5))
    rng = np.random.default_rng(0)
    shape = (4, 300)
    draws = {k: 0.02 * rng.normal(size=(*shape, *v)) for k, v in bnn.shapes.items()}
    draws["W1"] += 1.0
    draws["b1"] -= 2.0
    draws["W2"] += np.arange(4)[:, None, None, None]  # silent on [-1, 1]
    made = inference_data(bnn, draws, X, Y)
    table = convergence(bnn, made, X, Y, np.linspace(-1, 1, 90)[:, None])
    assert list(table.index) == ["weights", "aligned", "functions", "held-out", "far"]
    assert table.loc["held-out", "rhat"] < 1.02 < 1.5 < table.loc["far", "rhat"]
    # 50 inputs and their squares, 7 and theirs, and the log likelihood of the data
    assert table.loc["held-out", "quantities"] == 2 * 50 + 1
    assert table.loc["far", "quantities"] == 2 * 7 + 1
    assert list(convergence(bnn, made, X, Y).index) == list(table.index)[:3]


def test_inputs_are_stretched_about_the_middle_of_their_range():
    assert np.allclose(stretched(X), 3 * X)
    shifted = np.stack([X[:, 0] + 5, np.full(7, 2.0)], axis=1)
    assert np.allclose(stretched(shifted), np.stack([3 * X[:, 0] + 5, np.full(7, 2.0)], axis=1))
    assert len(stretched(np.zeros((1000, 2)))) == 50


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (one_mode(1), "at least 2 chains of 4 draws for R-hat, got 1 of 300"),
        (one_mode(3, 3), "at least 2 chains of 4 draws for R-hat, got 3 of 3"),
        (
            {k: v for k, v in one_mode().items() if k != "b1"},
            r"expected the parameters \['W1', 'W2', 'b1', 'b2', 'log_noise'\]",
        ),
        (
            {**one_mode(), "W1": np.full((4, 300, 1, 3), np.nan)},
            r"draws\['W1'\]: expected finite numbers",
        ),
        ({**one_mode(), "W1": np.zeros((4, 300, 3, 1))}, r"draws\['W1'\]: expected shape"),
    ],
)
def test_bad_draws(draws, message):
    with pytest.raises(ValueError, match=message):
        convergence(MODEL, az.from_dict(posterior=draws), X, Y)


def test_batches_that_differ():
    with pytest.raises(ValueError, match="one batch shape for all parameters"):
        outputs(MODEL, {**one_mode(), "W1": np.zeros((4, 299, 1, 3))}, X)


def test_inference_data_takes_independent_draws():
    flat = {name: value[0] for name, value in one_mode().items()}
    made = inference_data(MODEL, flat, X, Y)
    assert made.posterior["W1"].shape == (1, 300, 1, 3)
    assert made.log_likelihood["y"].shape == (1, 300, 7)
    with pytest.raises(ValueError, match=r"expected batch axes \(chains, draws\) or \(num,\)"):
        inference_data(MODEL, {name: value[None] for name, value in one_mode().items()}, X, Y)
