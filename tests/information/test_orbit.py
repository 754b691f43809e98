"""The orbit information: its exact values, and its bounds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi.information import Symmetrized, orbit_information, pointwise_infonce
from symvi.networks import MLP
from symvi.posteriors.mean_field import MeanField

PLAIN = MLP([1, 3, 1], "tanh")
SIGNED = MLP([1, 3, 1], "tanh", signed=True)
LAYERS = MLP([1, 3, 2, 1], "tanh")


def random_posterior(net, seed=0, spread=0.3, scale=0.3):
    """Units that partly overlap: I(g; w) is strictly between 0 and log |G|."""
    rng = np.random.default_rng(seed)
    loc = {k: jnp.asarray(spread * rng.normal(size=s)) for k, s in net.shapes.items()}
    return MeanField(
        loc,
        {
            k: jnp.asarray(scale * np.exp(0.3 * rng.normal(size=np.shape(v))))
            for k, v in loc.items()
        },
        net.symmetry,
    )


def separated_posterior(net, seed=1):
    """Units that lie many standard deviations apart."""
    rng = np.random.default_rng(seed)
    loc = {k: jnp.asarray(10 * rng.normal(size=s)) for k, s in net.shapes.items()}
    return MeanField(loc, {k: jnp.full(v.shape, 0.01) for k, v in loc.items()}, net.symmetry)


@pytest.mark.parametrize("net", [SIGNED, MLP([1, 10, 1], "relu")])
def test_log_order_when_separated(net):
    q = separated_posterior(net)
    assert orbit_information(q, num_samples=20).value == pytest.approx(
        net.symmetry.log_order, abs=1e-9
    )


@pytest.mark.parametrize(("n", "p"), [(5, 3), (4, 2)])
def test_identical_units_do_not_count(n, p):
    net = MLP([1, n, 1], "relu")
    rng = np.random.default_rng(2)
    loc = {k: 10 * rng.normal(size=s) for k, s in net.shapes.items()}
    loc["W1"][:, :p], loc["b1"][:p], loc["W2"][:p] = 1.0, 2.0, 3.0
    loc = jax.tree.map(jnp.asarray, loc)
    q = MeanField(loc, jax.tree.map(lambda a: jnp.full_like(a, 0.01), loc), net.symmetry)
    expected = math.lgamma(n + 1) - math.lgamma(p + 1)
    assert orbit_information(q, num_samples=20).value == pytest.approx(expected, abs=1e-9)


def test_infonce_agrees_with_its_formula():
    net = SIGNED
    q = random_posterior(net)
    w, key, k = jax.tree.map(lambda a: a[0], q.sample(jax.random.key(1), 1)), jax.random.key(2), 6
    g = net.symmetry.sample(key, k - 1)
    ratios = [1.0] + [
        math.exp(
            q.log_prob(net.symmetry.act(jax.tree.map(lambda a, j=j: a[j], g), w)) - q.log_prob(w)
        )
        for j in range(k - 1)
    ]
    assert float(pointwise_infonce(q, w, key, k)) == pytest.approx(
        -math.log(sum(ratios) / k), rel=1e-10
    )


def test_infonce_of_one_is_zero():
    estimate = orbit_information(
        random_posterior(PLAIN), "infonce", num_permutations=1, num_samples=50
    )
    assert (estimate.value, estimate.std_error) == (0.0, 0.0)


def test_two_permutations_of_two_units_give_half():
    # S_2 holds the identity e and one swap; with g uniform, the K = 2 bound is 0 for g = e and
    # log q - log q_G for the swap
    net = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
    q = MeanField({"W1": jnp.array([[0.2, 1.1]])}, {"W1": jnp.array([[0.5, 0.8]])}, net.symmetry)
    exact = orbit_information(q, key=jax.random.key(3), num_samples=200).value
    w = q.sample(jax.random.split(jax.random.key(3))[0], 200)
    swapped = {"W1": w["W1"][:, :, ::-1]}
    bound = [
        -np.log((1 + np.exp(q.log_prob(copy) - q.log_prob(w))) / 2) for copy in (w, swapped)
    ]  # both elements, each of probability 1/2
    assert np.mean(bound) == pytest.approx(exact / 2, rel=1e-10)
    drawn = orbit_information(
        q, "infonce", key=jax.random.key(4), num_samples=20_000, num_permutations=2
    )
    truth = orbit_information(q, key=jax.random.key(5), num_samples=20_000)
    assert abs(drawn.value - truth.value / 2) < 4 * math.hypot(drawn.std_error, truth.std_error / 2)


@pytest.mark.parametrize(("net", "k"), [(SIGNED, 5), (LAYERS, 5)])
def test_infonce_is_a_lower_bound(net, k):
    q = random_posterior(net)
    exact = orbit_information(q, key=jax.random.key(7), num_samples=2000)
    bound = orbit_information(
        q, "infonce", key=jax.random.key(7), num_samples=2000, num_permutations=k
    )
    assert bound.kind == "lower"
    assert bound.value <= math.log(k) + 1e-12
    assert bound.value <= exact.value + 4 * math.hypot(exact.std_error, bound.std_error)


def test_infonce_tightens_with_k():
    q = random_posterior(PLAIN)
    values = [
        orbit_information(q, "infonce", num_samples=2000, num_permutations=k).value for k in (2, 20)
    ]
    assert values[0] < values[1]


def test_symmetrized_and_its_base_give_the_same():
    q = random_posterior(PLAIN)
    assert orbit_information(Symmetrized(q), num_samples=20) == orbit_information(q, num_samples=20)


def test_same_key_same_estimate_and_other_key_another():
    q = random_posterior(PLAIN)
    first = orbit_information(q, num_samples=20)
    assert first == orbit_information(q, key=jax.random.key(0), num_samples=20)
    assert first != orbit_information(q, key=jax.random.key(1), num_samples=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "bogus"}, "method: expected"),
        ({"num_permutations": 0, "method": "infonce"}, "num_permutations: expected"),
        ({"num_samples": 0}, "num_samples: expected"),
        ({"num_samples": 2.5}, "num_samples: expected"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        orbit_information(random_posterior(PLAIN), **arguments)


@pytest.mark.parametrize("net", [MLP([1, 17, 1]), MLP([1, 8, 8, 1])])
def test_group_too_large_for_exact(net):
    with pytest.raises(
        ValueError, match=r"method: expected one hidden layer of n <= 16 .*use method='pairwise'"
    ):
        orbit_information(separated_posterior(net))
