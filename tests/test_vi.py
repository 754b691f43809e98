"""The evidence lower bound and its maximisation."""

import math
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi import (
    BNN,
    MLP,
    Categorical,
    Gaussian,
    MeanField,
    Symmetrized,
    elbo,
    fit,
    orbit_information,
    predict,
)
from symvi.vi import fit as vi

X = np.linspace(-1, 1, 12)[:, None]
Y = np.abs(1.3 * X) + 0.1 * np.random.default_rng(0).normal(size=X.shape)
TINY = BNN(MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0), Gaussian(0.3))
TANH = BNN(MLP([1, 3, 1], "tanh"), Gaussian())
QUICK = {"steps": 40, "restarts": 2, "num_samples": 4, "progress": False}


def start(bnn, seed=0, scale=0.2):
    rng = np.random.default_rng(seed)
    loc = {name: jnp.asarray(0.7 * rng.normal(size=shape)) for name, shape in bnn.shapes.items()}
    return MeanField(
        loc,
        {name: jnp.asarray(np.full(shape, scale)) for name, shape in bnn.shapes.items()},
        bnn.symmetry,
    )


def same(left, right):
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


def close(left, right):
    return all(
        np.allclose(a, b, rtol=1e-9, atol=1e-11)
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


# the bound


def log_normal(value, loc, scale):
    return -0.5 * ((value - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def test_elbo_against_a_loop():
    # L = E_q[log p(y, w | x)] + H(q), one datum and one weight at a time
    q, key, num = start(TANH), jax.random.key(3), 5
    w = {k: np.asarray(v) for k, v in q.sample(jax.random.split(key)[0], num).items()}
    values = []
    for s in range(num):
        noise = math.exp(w["log_noise"][s])
        total = 0.0
        for name in w:
            for value in np.ravel(w[name][s]):
                total += log_normal(value, 0, 1)
        for x, y in zip(X[:, 0], Y[:, 0], strict=True):
            f = w["b2"][s][0]
            for i in range(3):
                f += w["W2"][s][i, 0] * math.tanh(w["W1"][s][0, i] * x + w["b1"][s][i])
            total += log_normal(y, f, noise)
        values.append(total)
    entropy = sum(
        math.log(scale * math.sqrt(2 * math.pi * math.e))
        for s in q.scale.values()
        for scale in np.ravel(s)
    )
    estimate = elbo(TANH, q, X, Y, key=key, num_samples=num)
    assert estimate.value == pytest.approx(np.mean(values) + entropy, rel=1e-10)
    assert estimate.std_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(num), rel=1e-8)
    assert estimate.kind == "exact"


def test_symmetrizing_adds_the_orbit_information():
    q, key = start(TANH), jax.random.key(3)
    plain, symmetrized = (
        elbo(TANH, q, X, Y, symmetrize=s, key=key, num_samples=500) for s in (None, "exact")
    )
    information = orbit_information(q, key=key, num_samples=500)  # the same draws
    assert symmetrized.value == pytest.approx(plain.value + information.value, rel=1e-10)
    assert information.value > 0.1
    assert elbo(TANH, Symmetrized(q), X, Y, key=key, num_samples=500) == symmetrized


def test_infonce_bound_lies_between():
    q, key = start(TANH), jax.random.key(3)
    plain, bound, exact = (
        elbo(TANH, q, X, Y, symmetrize=s, key=key, num_samples=500)
        for s in (None, "infonce", "exact")
    )
    assert plain.value < bound.value < exact.value
    assert bound.kind == "lower" and exact.kind == "exact"


def test_elbo_of_labels():
    bnn = BNN(MLP([1, 2, 3], "tanh"), Categorical())
    labels = np.arange(12) % 3
    q = start(bnn, scale=1e-6)
    logits = np.asarray(bnn.net.apply(q.loc, X))
    likelihood = sum(
        row[k] - np.log(np.exp(row).sum()) for row, k in zip(logits, labels, strict=True)
    )
    expected = likelihood + float(bnn.log_prior(q.loc)) + float(q.entropy())
    assert elbo(bnn, q, X, labels, num_samples=10).value == pytest.approx(expected, abs=1e-3)


# the fit


@pytest.mark.parametrize("symmetrize", [None, "exact", "infonce"])
def test_the_bound_rises_and_losses_are_its_negative(symmetrize):
    result = fit(
        TINY,
        X,
        Y,
        symmetrize=symmetrize,
        **{**QUICK, "steps": 400},
        num_permutations=4,
        learning_rate=0.05,
    )
    assert result.losses.shape == (2, 400)
    for restart, reached in enumerate(result.elbos):
        assert result.losses[restart, -50:].mean() < result.losses[restart, :10].mean() - 1
        spread = result.losses[restart, -100:].std() / 10
        assert (
            abs(reached.value + result.losses[restart, -100:].mean())
            < 5 * math.hypot(spread, reached.std_error) + 0.2
        )
        assert reached.kind == ("lower" if symmetrize == "infonce" else "exact")
    best = result.posteriors[int(np.argmax([e.value for e in result.elbos]))]
    if symmetrize is None:
        assert result.posterior is best
    else:
        assert isinstance(result.posterior, Symmetrized) and result.posterior.base is best
    assert (result.symmetrize, result.kept) == (symmetrize, (0, 1))


def test_same_seed_same_fit_and_other_seed_another():
    first, second, other = (fit(TINY, X, Y, **QUICK, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.losses, second.losses)
    assert same(first.posteriors, second.posteriors)
    assert not np.array_equal(first.losses, other.losses)


def test_fits_are_paired():
    # with K = 1 the InfoNCE bound adds nothing: same starts and draws must then give the same fit
    plain, paired = (
        fit(TINY, X, Y, symmetrize=s, num_permutations=1, **QUICK, seed=4)
        for s in (None, "infonce")
    )
    assert np.allclose(plain.losses, paired.losses, rtol=1e-9)
    assert close(plain.posteriors, paired.posteriors)
    assert np.allclose([e.value for e in plain.elbos], [e.value for e in paired.elbos], rtol=1e-9)


def test_each_restart_is_its_own_fit():
    result = fit(TINY, X, Y, **QUICK)
    assert not np.array_equal(result.losses[0], result.losses[1])
    assert not same(result.posteriors[0], result.posteriors[1])


def test_first_loss_is_that_of_the_starting_posterior():
    result = fit(
        TINY, X, Y, **{**QUICK, "num_samples": 4000, "steps": 1}, initial_scale=0.3, seed=5
    )
    keys = jax.random.split(jax.random.split(jax.random.key(5), 3)[0], 2)
    for restart, key in enumerate(keys):
        loc = TINY.init(key)
        expected = elbo(
            TINY,
            MeanField(loc, jax.tree.map(lambda a: jnp.full_like(a, 0.3), loc), TINY.symmetry),
            X,
            Y,
            num_samples=4000,
        )
        assert abs(result.losses[restart, 0] + expected.value) < 6 * expected.std_error


# minibatches


def test_batches_are_shuffled_epochs():
    rows = vi._batches(10, 3, 7, seed=0)
    assert rows.shape == (7, 3)
    for epoch in (rows[:3], rows[3:6]):
        assert len(set(epoch.ravel())) == 9 and set(epoch.ravel()) <= set(range(10))
    assert np.array_equal(rows, vi._batches(10, 3, 7, seed=0))
    assert vi._batches(10, None, 7, seed=0) is None


def test_minibatch_loss_is_unbiased():
    # batches of 3 out of 12 make one epoch of 4: scaled by 12 / 3, their mean is the loss of all the data, at fixed weights
    tiny_step = {
        "learning_rate": 1e-12,
        "initial_scale": 1e-9,
        "num_samples": 1,
        "restarts": 2,
        "progress": False,
    }
    batched = fit(TINY, X, Y, steps=4, batch_size=3, **tiny_step)
    full = fit(TINY, X, Y, steps=4, **tiny_step)
    assert batched.losses.mean(axis=1) == pytest.approx(full.losses.mean(axis=1), rel=1e-6)
    assert np.ptp(batched.losses, axis=1).min() > 1e-3


def test_minibatches_reach_the_bound():
    full, batched = (
        fit(TINY, X, Y, **{**QUICK, "steps": 400}, batch_size=size) for size in (None, 4)
    )
    assert max(e.value for e in batched.elbos) == pytest.approx(
        max(e.value for e in full.elbos), abs=0.5
    )


# predictions


def test_predict():
    bnn = BNN(MLP([1, 3, 2], "tanh"), Gaussian(0.3))
    result = fit(bnn, X, np.hstack([Y, -Y]), **{**QUICK, "steps": 5})
    outputs, base = result.predict(X[:5], num=7, key=jax.random.key(1)), result.posterior
    assert outputs.shape == (7, 5, 2)
    assert np.array_equal(outputs, predict(bnn, base, X[:5], num=7, key=jax.random.key(1)))
    assert np.array_equal(
        outputs,
        replace(result, posterior=Symmetrized(base)).predict(X[:5], num=7, key=jax.random.key(1)),
    )
    w = jax.tree.map(lambda a: a[3], base.sample(jax.random.key(1), 7))
    assert np.allclose(outputs[3], bnn.net.apply(w, X[:5]))
    with pytest.raises(ValueError, match="num: expected"):
        result.predict(X, num=0)
    with pytest.raises(ValueError, match="x: expected shape"):
        result.predict(X[:, 0])


def test_predictions_do_not_see_the_group():
    q = start(TANH)
    plain, symmetrized = (
        predict(TANH, p, X, num=4000, key=jax.random.key(k))
        for k, p in enumerate((q, Symmetrized(q)))
    )
    error = np.hypot(plain.std(0), symmetrized.std(0)) / math.sqrt(4000)
    assert np.all(np.abs(plain.mean(0) - symmetrized.mean(0)) < 5 * error)


# divergence


class Erratic:
    """A two-weight network whose starting weights are infinite when `bad(key)` says so."""

    widths, shapes = (1, 2, 1), {"W1": (1, 2)}
    symmetry = TINY.net.symmetry

    def __init__(self, always):
        self.always = always

    def init(self, key):
        bad = jax.random.uniform(key) < (2.0 if self.always else 0.5)
        return {"W1": jnp.where(bad, jnp.inf, 0.1 * jax.random.normal(key, (1, 2)))}

    def apply(self, params, x):
        return TINY.net.apply(params, x)


def test_a_diverged_restart_is_reported_and_left_out():
    bnn = BNN(Erratic(always=False), Gaussian(0.3))
    with pytest.warns(
        UserWarning, match=r"fit: restarts .*\(step 0\).* diverged and are left out"
    ) as caught:
        result = fit(bnn, X, Y, **{**QUICK, "restarts": 8})
    assert 0 < len(result.kept) < 8
    assert len(result.posteriors) == len(result.elbos) == len(result.kept)
    assert result.losses.shape == (8, 40)
    assert np.isfinite(result.losses[list(result.kept)]).all()
    lost = sorted(set(range(8)) - set(result.kept))
    assert not np.isfinite(result.losses[lost]).any()
    assert all(f"{r} (step 0)" in str(caught[0].message) for r in lost)
    assert all(np.isfinite(e.value) for e in result.elbos)
    assert caught[0].filename == __file__


def test_all_diverged():
    with pytest.raises(
        ValueError, match="the first non-finite loss is at step 0; lower learning_rate"
    ):
        fit(BNN(Erratic(always=True), Gaussian(0.3)), X, Y, **QUICK)


def test_divergence_along_the_way_names_the_step():
    with pytest.raises(ValueError, match=r"the first non-finite loss is at step [1-9]"):
        fit(TINY, X, Y, **QUICK, learning_rate=1e3)  # the log scale overflows after the first step


# bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: expected"),
        ({"restarts": 0}, "restarts: expected"),
        ({"num_samples": 0}, "num_samples: expected"),
        ({"num_permutations": 0}, "num_permutations: expected"),
        ({"seed": 1.5}, "seed: expected an int, got float"),
        ({"seed": jax.random.key(0)}, "seed: expected an int"),
        ({"learning_rate": -0.1}, "learning_rate: expected a positive number"),
        ({"learning_rate": math.inf}, "learning_rate: expected a positive number"),
        ({"initial_scale": 0.0}, "initial_scale: expected a positive number"),
        ({"batch_size": 13}, "batch_size: expected at most N = 12"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        ({"symmetrize": "yes"}, "symmetrize: expected one of None, 'exact', 'infonce'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(TINY, X, Y, **{**QUICK, **arguments})


def test_bad_data():
    with pytest.raises(ValueError, match="x: expected shape"):
        fit(TINY, X[:, 0], Y, **QUICK)
    with pytest.raises(ValueError, match="y: expected shape"):
        fit(TINY, X, Y[:-1], **QUICK)
    with pytest.raises(ValueError, match="y: expected finite"):
        elbo(TINY, start(TINY), X, np.where(X > 0, np.nan, Y))


@pytest.mark.parametrize(
    "arguments", [{"symmetrize": "yes"}, {"num_samples": 0}, {"num_permutations": 0}]
)
def test_bad_arguments_of_elbo(arguments):
    with pytest.raises(ValueError, match="expected"):
        elbo(TINY, start(TINY), X, Y, **arguments)


def test_exact_refuses_17_units_before_any_work():
    bnn = BNN(MLP([1, 17, 1]), Gaussian(0.3))
    with pytest.raises(
        ValueError,
        match=r"symmetrize: expected one hidden layer of n <= 16 .* use symmetrize='pairwise'",
    ):
        fit(bnn, X, Y, symmetrize="exact", **{**QUICK, "steps": 10**9})


def test_progress_is_quiet_away_from_a_terminal(capsys, monkeypatch):
    monkeypatch.delitem(
        sys.modules, "ipykernel", raising=False
    )  # a plug-in of pytest may have imported it
    fit(TINY, X, Y, **{**QUICK, "progress": True})
    assert capsys.readouterr() == ("", "")
