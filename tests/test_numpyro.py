"""symvi's posterior inside NumPyro: SVI, Predictive, and gradients through the distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import handlers
from numpyro.infer import SVI, Predictive, Trace_ELBO

from symvi import BNN, MLP, AutoSymmetrizedNormal, Gaussian, Symmetrized, elbo, fit
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
    # the group element drawn does not depend on the parameters, so with common random numbers the loss is a smooth function of them
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


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (
            MLP([1, 3, 1], bias=False, fixed_output=1.0).symmetry,
            r"expected a site 'W1' with size 3 along axis 1, got \(1, 2\)",
        ),
        (MLP([1, 2, 1]).symmetry, "expected a site 'b1' with size 2 along axis 0, got None"),
    ],
)
def test_wrong_symmetry(symmetry, message):
    guide = AutoSymmetrizedNormal(BNN_TWO.numpyro_model, symmetry)
    with pytest.raises(ValueError, match=message):
        handlers.seed(guide, jax.random.key(0))(DATA.x, DATA.y)


def test_bad_starting_scale():
    with pytest.raises(ValueError, match="init_scale: expected a positive number"):
        AutoSymmetrizedNormal(BNN_TWO.numpyro_model, BNN_TWO.symmetry, init_scale=0.0)
