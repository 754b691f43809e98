"""symvi's posterior inside NumPyro: SVI, Predictive, and gradients through the distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import SVI, Predictive, Trace_ELBO
from numpyro.infer.initialization import init_to_value

from symvi import (
    BNN,
    MLP,
    AutoSymmetrizedNormal,
    Gaussian,
    Symmetrized,
    Symmetry,
    UnitGroup,
    elbo,
    fit,
)
from symvi.data import absolute

DATA = absolute(1.0, num=20)
BNN_TWO = BNN(MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0), Gaussian(0.3))
SAMPLES = 1000


@pytest.fixture(scope="module")
def fitted():
    guide = AutoSymmetrizedNormal(BNN_TWO.numpyro_model, BNN_TWO.symmetry)
    svi = SVI(BNN_TWO.numpyro_model, guide, numpyro.optim.Adam(0.02), Trace_ELBO(num_particles=8))
    result = svi.run(jax.random.key(0), 1000, DATA.x, DATA.y, progress_bar=False)
    return guide, result.params


def test_svi_reaches_the_bound_of_fit(fitted):
    guide, params = fitted
    ours = fit(
        BNN_TWO,
        DATA.x,
        DATA.y,
        symmetrize="exact",
        steps=1000,
        restarts=4,
        learning_rate=0.02,
        progress=False,
    )
    best = max(ours.elbos, key=lambda e: e.value)
    theirs = elbo(BNN_TWO, guide.get_posterior(params), DATA.x, DATA.y, num_samples=SAMPLES)
    assert (
        abs(theirs.value - best.value) < 4 * math.hypot(theirs.std_error, best.std_error) + 0.05
    )  # 0.05: what is left of the optimisation
    # and NumPyro's own estimate of its loss is the negative of ours
    loss = jax.jit(
        lambda key: Trace_ELBO(num_particles=SAMPLES).loss(
            key, params, BNN_TWO.numpyro_model, guide, DATA.x, DATA.y
        )
    )(jax.random.key(1))
    assert abs(float(loss) + theirs.value) < 5 * math.sqrt(2) * theirs.std_error


def test_get_posterior(fitted):
    guide, params = fitted
    q = guide.get_posterior(params)
    assert isinstance(q, Symmetrized) and q.symmetry == BNN_TWO.symmetry
    assert np.allclose(q.base.loc["W1"].ravel(), params["auto_loc"])
    assert np.allclose(q.base.scale["W1"].ravel(), params["auto_scale"])
    draws = q.sample(jax.random.key(0), (500,))
    assert np.allclose(q.log_prob(draws), q.log_prob(draws[:, ::-1]), atol=1e-12)


def test_predictive(fitted):
    guide, params = fitted
    x_new = DATA.x[:7]
    predicted = Predictive(BNN_TWO.numpyro_model, guide=guide, params=params, num_samples=50)(
        jax.random.key(0), x_new
    )
    assert predicted["y"].shape == (50, 7, 1)
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(50,))
    assert draws["W1"].shape == (50, 1, 2)
    from_draws = Predictive(BNN_TWO.numpyro_model, posterior_samples=draws)(
        jax.random.key(2), x_new
    )
    assert from_draws["y"].shape == (50, 7, 1)
    assert np.abs(predicted["y"].mean(0) - from_draws["y"].mean(0)).max() < 0.5


def test_both_copies_are_drawn(fitted):
    guide, params = fitted
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(400,))["W1"][:, 0]
    share = float((draws[:, 0] > draws[:, 1]).mean())
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_gradient_of_the_loss_against_finite_differences():
    # the group element drawn does not depend on the parameters, so with common random numbers the
    # loss is a smooth function of them
    model, guide = (
        BNN_TWO.numpyro_model,
        AutoSymmetrizedNormal(BNN_TWO.numpyro_model, BNN_TWO.symmetry),
    )
    handlers.seed(guide, jax.random.key(0))(DATA.x, DATA.y)
    params = {"auto_loc": jnp.array([0.9, -0.7]), "auto_scale": jnp.array([0.2, 0.35])}

    @jax.jit
    def loss(params):
        return Trace_ELBO(num_particles=20).loss(
            jax.random.key(5), params, model, guide, DATA.x, DATA.y
        )

    slope, step = jax.grad(loss)(params), 1e-6
    for name, value in params.items():
        for i in range(2):
            up, down = (loss({**params, name: value.at[i].add(sign * step)}) for sign in (1, -1))
            assert float(slope[name][i]) == pytest.approx(
                float(up - down) / (2 * step), rel=1e-5, abs=1e-5
            )


# another process, and what the guide asks of a model


def test_stored_parameters_are_read_by_a_guide_that_has_not_run(fitted):
    guide, params = fitted
    fresh = AutoSymmetrizedNormal(BNN_TWO.numpyro_model, BNN_TWO.symmetry)
    stored = {name: np.asarray(value) for name, value in params.items()}
    q, before = fresh.get_posterior(stored, DATA.x, DATA.y), guide.get_posterior(params)
    assert np.array_equal(q.base.loc["W1"], before.base.loc["W1"])
    assert np.array_equal(q.base.scale["W1"], before.base.scale["W1"])
    fresh = AutoSymmetrizedNormal(BNN_TWO.numpyro_model, BNN_TWO.symmetry)
    with pytest.raises(
        ValueError,
        match=r"get_posterior: expected the model's arguments.*get_posterior\(params, x, y\)",
    ):
        fresh.get_posterior(stored)
    with pytest.raises(ValueError, match=r"params\['auto_loc'\]: expected shape \(2,\), got no"):
        fresh.get_posterior({}, DATA.x, DATA.y)
    with pytest.raises(ValueError, match=r"params\['auto_scale'\]: expected shape \(2,\), got"):
        fresh.get_posterior({**stored, "auto_scale": np.ones(3)}, DATA.x, DATA.y)


def at_work(model, symmetry, *args, **options):
    """A guide that has seen the model's arguments."""
    guide = AutoSymmetrizedNormal(model, symmetry, **options)
    handlers.seed(guide, jax.random.key(0))(*args)
    return guide


NET = MLP([1, 3, 1], "tanh")
BNN_THREE = BNN(NET, Gaussian(0.3))


def without(symmetry, name):
    """The symmetry as someone would state it who forgot one parameter."""
    (group,) = symmetry.groups
    kept = tuple(entry for entry in group.axes if entry[0] != name)
    return Symmetry((UnitGroup(group.name, group.size, kept),), symmetry.signed)


@pytest.mark.parametrize("name", ["W1", "b1", "W2"])
def test_a_group_that_is_no_symmetry_of_the_model_is_refused(name):
    with pytest.raises(
        ValueError, match="symmetry: expected a group that leaves the model's log dens"
    ):
        at_work(BNN_THREE.numpyro_model, without(NET.symmetry, name), DATA.x, DATA.y)


def test_signs_that_are_no_symmetry_of_the_model_are_refused():
    relu = BNN(MLP([1, 3, 1], "relu"), Gaussian(0.3))
    signed = MLP([1, 3, 1], "tanh", signed=True).symmetry
    with pytest.raises(ValueError, match="symmetry: expected a group that leaves"):
        at_work(relu.numpyro_model, signed, DATA.x, DATA.y)
    at_work(BNN(MLP([1, 3, 1], "tanh", signed=True), Gaussian(0.3)).numpyro_model, signed, DATA.x)


def own_model(weights, with_scale=True):
    """Two weights that may change places, and a scale of the noise."""

    def model(x, y=None):
        w = numpyro.sample("W1", weights.expand((1, 2)).to_event(2))
        scale = numpyro.sample("scale", dist.HalfNormal(1.0)) if with_scale else 1.0
        numpyro.sample("y", dist.Normal(jnp.tanh(x @ w).sum(-1), scale).to_event(1), obs=y)

    return model


def test_constrained_sites_are_trained_and_drawn_but_have_no_flat_posterior():
    guide = at_work(own_model(dist.Normal(0, 1)), BNN_TWO.symmetry, DATA.x, DATA.y[:, 0])
    params = {"auto_loc": -jnp.ones(3), "auto_scale": jnp.full(3, 0.1)}
    draws = guide.sample_posterior(jax.random.key(0), params, sample_shape=(20,))
    assert (draws["scale"] > 0).all()
    with pytest.raises(
        ValueError, match=r"constrained sites \['scale'\]; use guide.sample_posterior"
    ):
        guide.get_posterior(params)


def test_constrained_sites_cannot_move():
    positive = own_model(dist.LogNormal(0, 1), with_scale=False)
    with pytest.raises(
        ValueError, match=r"model: expected real support.*got constrained sites \['W1'\]"
    ):
        at_work(positive, BNN_TWO.symmetry, DATA.x, DATA.y[:, 0])


def test_a_density_that_is_not_finite_is_said_not_to_be_verified():
    def model():
        w = numpyro.sample("W1", dist.Normal(0, 1).expand((1, 2)).to_event(2))
        numpyro.factor("support", jnp.where(jnp.abs(w).max() < 0.5, 0.0, -jnp.inf))

    near = init_to_value(values={"W1": jnp.zeros((1, 2))})
    with pytest.warns(UserWarning, match=r"not finite at random weights.*not be verified"):
        at_work(model, BNN_TWO.symmetry, init_loc_fn=near)


WIDE = BNN(MLP([1, 17, 1], "tanh"), Gaussian(0.3))


def test_wide_groups_train_with_a_bound():
    """Trace_ELBO estimates our bound of L_G, and its gradient pulls units apart."""
    with pytest.raises(
        ValueError, match=r"method: expected one hidden layer of n <= 16.*'pairwise'"
    ):
        AutoSymmetrizedNormal(WIDE.numpyro_model, WIDE.symmetry)
    guide = at_work(WIDE.numpyro_model, WIDE.symmetry, DATA.x, DATA.y, method="pairwise")
    loc = 0.5 * jax.random.normal(jax.random.key(0), (guide.latent_dim,))
    params = {"auto_loc": loc, "auto_scale": jnp.full(guide.latent_dim, 0.5)}
    q = guide.get_posterior(params)
    ours = elbo(WIDE, q, DATA.x, DATA.y, num_samples=200)
    assert ours.kind == "lower"
    assert ours.value > elbo(WIDE, q.base, DATA.x, DATA.y, num_samples=200).value + 1

    def loss(params):
        losses = Trace_ELBO(num_particles=200)
        return losses.loss(jax.random.key(1), params, WIDE.numpyro_model, guide, DATA.x, DATA.y)

    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    assert abs(float(value) + ours.value) < 5 * math.sqrt(2) * ours.std_error
    assert np.isfinite(slope["auto_loc"]).all() and np.isfinite(slope["auto_scale"]).all()


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (
            MLP([1, 3, 1], bias=False, fixed_output=1.0).symmetry,
            r"model: .*expected size 3 along axis 1 .*got \(1, 2\)",
        ),
        (MLP([1, 2, 1]).symmetry, r"model: .*'b1'.*expected size 2 along axis 0 .*got no such par"),
    ],
)
def test_sites_must_fit_the_symmetry(symmetry, message):
    with pytest.raises(ValueError, match=message):
        at_work(BNN_TWO.numpyro_model, symmetry, DATA.x, DATA.y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init_scale": 0.0}, "init_scale: expected a positive finite number"),
        ({"method": "guided"}, "method: expected a method whose density needs no random numbers"),
        ({"model": BNN_TWO}, "model: expected a NumPyro model, a function"),
        ({"symmetry": BNN_TWO}, "symmetry: expected a Symmetry"),
    ],
)
def test_bad_arguments(arguments, message):
    given = {"model": BNN_TWO.numpyro_model, "symmetry": BNN_TWO.symmetry, **arguments}
    with pytest.raises(ValueError, match=message):
        AutoSymmetrizedNormal(given.pop("model"), given.pop("symmetry"), **given)


def test_a_trivial_group_is_said_to_change_nothing():
    with pytest.warns(UserWarning, match="only the identity"):
        AutoSymmetrizedNormal(BNN_TWO.numpyro_model, Symmetry())
