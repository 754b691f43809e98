"""The maximisation of the evidence lower bound."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from symvi import (
    BNN,
    MLP,
    Gaussian,
    Likelihood,
    MeanField,
    Symmetrized,
    elbo,
    fit,
)
from symvi.vi import steps, training

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
    rows = steps.batch_rows(10, 3, 7, seed=0)
    assert rows.shape == (7, 3)
    for epoch in (rows[:3], rows[3:6]):
        assert len(set(epoch.ravel())) == 9 and set(epoch.ravel()) <= set(range(10))
    assert np.array_equal(rows, steps.batch_rows(10, 3, 8, seed=0)[:7])
    assert steps.batch_rows(10, None, 7, seed=0).shape == (7, 0)


def test_minibatch_loss_is_unbiased():
    # batches of 3 out of 12 make one epoch of 4: scaled by 12 / 3, their mean is the loss of all
    # the data, at fixed weights
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
        ValueError,
        match=r"a finite log joint at the starting weights, got .*where the weights start",
    ):
        fit(BNN(Erratic(always=True), Gaussian(0.3)), X, Y, **QUICK)


class RawRate(Likelihood):
    """A rate without exp: it is negative."""

    def distribution(self, outputs, params):
        return dist.Poisson(outputs[:, 0])


@pytest.mark.parametrize("symmetrize", [None, "pairwise"])
def test_a_start_without_a_density_is_no_fault_of_the_optimiser(symmetrize):
    match = "fit: expected a finite log joint at the starting weights, got .*jnp.exp.*scale of y"
    net = MLP([1, 3, 1], "tanh")
    with pytest.raises(ValueError, match=match):
        fit(BNN(net, RawRate()), X, np.arange(12), symmetrize=symmetrize, **QUICK)
    with pytest.raises(ValueError, match=match):
        fit(BNN(net, Gaussian(0.3)), X, 1e200 * Y, symmetrize=symmetrize, **QUICK)


@pytest.mark.parametrize("steps", [1, 7, 40, 97, 60, 1000])
def test_the_number_that_is_proposed_divides_the_steps(steps):
    with pytest.raises(ValueError, match=f"divisor of steps = {steps}") as caught:
        fit(TINY, X, Y, **{**QUICK, "steps": steps}, monitor_every=steps + 1)
    proposed = int(str(caught.value).split()[-1])
    divisors = [d for d in range(1, max(1, steps // 20) + 1) if steps % d == 0]
    assert proposed == divisors[-1]


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
        ({"seed": 1.5}, "seed: expected an int >= 0, got 1.5"),
        ({"seed": -1, "batch_size": 4}, "seed: expected an int >= 0, got -1"),
        ({"monitor_every": 7}, "monitor_every: expected a divisor of steps = 40, got 7"),
        ({"progress": "yes"}, "progress: expected True or False"),
        ({"init": 3}, "init: expected a MeanField, .*dict of weights by name, got 3; pass for"),
        ({"init": [1, 2]}, r"init: expected a MeanField, .*dict of weights by name, got \[1, 2\]"),
        ({"steps": 1e3}, r"steps: expected a whole number >= 1, got 1000.0; pass steps=1000$"),
        (
            {"init": {"W1": np.zeros((1, 3))}},
            r"init\['W1'\]: expected shape \(1, 2\), got \(1, 3\)",
        ),
        ({"init": {"W1": "text"}}, r"init\['W1'\]: expected an array of numbers"),
        ({"checkpoint": 3}, "checkpoint: expected a path, got 3"),
        ({"covariance": "full"}, "covariance: expected one of 'diagonal', 'unit'"),
        ({"seed": jax.random.key(0)}, "seed: expected an int"),
        ({"learning_rate": -0.1}, "learning_rate: expected a positive finite number"),
        ({"learning_rate": math.inf}, "learning_rate: expected a positive finite number"),
        ({"initial_scale": 0.0}, "initial_scale: expected a positive finite number"),
        ({"batch_size": 13}, "batch_size: expected at most N = 12"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        (
            {"symmetrize": "yes"},
            "symmetrize: expected one of None, 'exact', 'infonce'.*or pass an object of symvi.info",
        ),
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


# where it starts


def first_step(**options):
    """A fit that has hardly moved."""
    return fit(TINY, X, Y, **{**QUICK, "steps": 1, **options}, learning_rate=1e-12)


def test_start_at_given_weights():
    weights = {"W1": np.array([[1.3, -1.3]])}
    first, second = first_step(init=weights, initial_scale=0.2).posteriors
    np.testing.assert_allclose(first.loc["W1"], weights["W1"], rtol=1e-9)
    np.testing.assert_allclose(first.scale["W1"], 0.2, rtol=1e-9)
    np.testing.assert_allclose(second.scale["W1"], 0.2, rtol=1e-9)
    away = np.abs(second.loc["W1"] - weights["W1"])
    assert 1e-3 < away.max() < 5 * 0.2
    noisy = fit(TANH, X, Y, **{**QUICK, "steps": 1}, init=TANH.net.init(jax.random.key(0)))
    assert set(noisy.posterior.loc) == set(TANH.shapes)  # log_noise starts at its prior mean


@pytest.mark.parametrize("wrapped", [False, True])
def test_start_at_a_posterior_or_a_fit(wrapped):
    before = fit(TINY, X, Y, **QUICK, covariance="unit")
    after = first_step(init=before if wrapped else before.posterior, covariance="unit", seed=8)
    assert close_to(after.posteriors[0], before.posterior)
    assert not close_to(after.posteriors[1], before.posterior)


def close_to(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.allclose(a, np.tril(b, -1) if a.ndim == 3 else b, rtol=1e-8) for a, b in pairs)


# chunks


def test_prime_numbers_of_steps_are_cut_too(monkeypatch):
    """About twenty pieces of one length, so one program; the spare rows of the last are no
    steps."""
    limits, run_chunk = [], training._run_chunk

    def counted(plan, state, chunk):
        limits.append((len(chunk.rows), chunk.limit))
        return run_chunk(plan, state, chunk)

    whole = fit(TINY, X, Y, **{**QUICK, "steps": 43}, batch_size=5, monitor_every=43)
    monkeypatch.setattr(training, "_run_chunk", counted)
    cut = fit(TINY, X, Y, **{**QUICK, "steps": 43}, batch_size=5)
    assert limits == [(3, 3)] * 14 + [(3, 1)]
    np.testing.assert_allclose(cut.losses, whole.losses, rtol=1e-12)
    assert close(cut.posteriors, whole.posteriors)


@pytest.mark.parametrize(
    ("steps", "length"), [(1, 1), (7, 1), (20, 1), (40, 2), (60, 3), (2000, 100), (2003, 101)]
)
def test_about_twenty_chunks(steps, length, monkeypatch):
    lengths = []

    def skipped(plan, state, chunk):
        lengths.append(len(chunk.rows))
        done = len(chunk.rows) if chunk.limit is None else chunk.limit
        return state, np.zeros((plan.restarts, done))

    monkeypatch.setattr(training, "_run_chunk", skipped)
    assert fit(TINY, X, Y, **{**QUICK, "steps": steps}).losses.shape == (2, steps)
    assert set(lengths) == {length}
    assert len(lengths) <= 20


def test_nan_is_reported_before_the_end(monkeypatch):
    """All restarts diverge in the first twentieth: the rest is not run."""
    calls, run = [], training.run

    def counted(*args, **options):
        calls.append(1)
        return run(*args, **options)

    monkeypatch.setattr(training, "run", counted)
    with pytest.raises(ValueError, match="at least one restart with finite loss, got none"):
        fit(TINY, X, Y, **{**QUICK, "steps": 2000}, learning_rate=1e3)
    assert len(calls) == 1


# what is reported


@pytest.mark.parametrize(
    ("method", "num_data", "draws"),
    [
        (None, 12, 1000),
        ("infonce", 12, 1000),
        ("guided", 12, 100),
        (None, 10_000, 1000),
        (None, 10_001, 20),
    ],
)
def test_draws_that_evaluate_a_fit(method, num_data, draws):
    x = np.resize(X, (num_data, 1))
    y = np.resize(Y, (num_data, 1))
    result = fit(TINY, x, y, symmetrize=method, **{**QUICK, "steps": 1}, seed=5)
    k_eval = jax.random.split(jax.random.key(5), 3)[2]
    for q, found in zip(result.posteriors, result.elbos, strict=True):
        again = elbo(TINY, q, x, y, symmetrize=method, key=k_eval, num_samples=draws)
        assert found == again


def test_a_rising_bound_is_reported():
    slow = {**QUICK, "steps": 1000, "learning_rate": 1e-3, "init": {"W1": np.array([[9.0, -9.0]])}}
    with pytest.warns(
        UserWarning, match=r"fit: the ELBO .* still rose by .* raise steps"
    ) as caught:
        result = fit(TINY, X, Y, **slow)
    assert caught[0].filename == __file__
    loss = result.losses[result.kept[np.argmax([e.value for e in result.elbos])]]
    rise = loss[-100:-50].mean() - loss[-50:].mean()
    assert result.last_rise().value == pytest.approx(rise)
    assert result.last_rise().std_error == pytest.approx(
        math.sqrt((loss[-100:-50].var(ddof=1) + loss[-50:].var(ddof=1)) / 50)
    )


def test_a_fit_that_is_done_says_nothing():
    """Warnings are errors here."""
    result = fit(TINY, X, Y, **{**QUICK, "steps": 1000}, learning_rate=0.03)
    assert abs(result.last_rise().value) < 1
    assert fit(TINY, X, Y, **QUICK).last_rise() is None


class Interrupted:
    """A bar at which the user presses Ctrl-C after so many updates."""

    def __init__(self, left):
        self.left = left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def set_postfix_str(self, text, refresh):
        assert text.startswith("ELBO -")

    def update(self, num):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("file", [None, "fit.npz"])
def test_an_interrupted_fit_says_where_it_stands(monkeypatch, tmp_path, file):
    monkeypatch.setattr(training, "_bar", lambda plan, done: Interrupted(3))
    checkpoint = None if file is None else tmp_path / file
    text = "pass checkpoint=" if file is None else r"its state is in .*fit.npz, and the same call"
    with pytest.raises(KeyboardInterrupt, match=f"fit: stopped after step 6 of 40; {text}"):
        fit(TINY, X, Y, **QUICK, checkpoint=checkpoint)
