"""Alignment of draws that lie in different copies of a mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi import MLP, align

NETS = {
    "plain": MLP([2, 4, 1], "relu"),
    "signed": MLP([2, 4, 1], "tanh", signed=True),
    "layers": MLP([1, 4, 3, 2], "relu"),
    "signed layers": MLP([1, 3, 4, 1], "tanh", signed=True),
}
X = np.linspace(-2, 2, 9)[:, None]


def draws(net, seed, num):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(num, *shape)) for name, shape in net.shapes.items()}


def first(batch):
    return {name: value[0] for name, value in batch.items()}


def squared_distance(samples, reference):
    return sum(
        np.square(np.asarray(v) - reference[k]).reshape(len(v), -1).sum(1)
        for k, v in samples.items()
    )


def moved(net, w, num, key=0):
    return jax.jit(jax.vmap(lambda g: net.symmetry.act(g, w)))(
        net.symmetry.sample(jax.random.key(key), num)
    )


# two layers are aligned in turn, so the first must be told apart by its inputs: with 30 of them it is
WIDE = {
    "layers": MLP([30, 4, 3, 2], "relu"),
    "signed layers": MLP([30, 3, 4, 1], "tanh", signed=True),
}


@pytest.mark.parametrize(
    "net", [NETS["plain"], NETS["signed"], *WIDE.values()], ids=["plain", "signed", *WIDE]
)
def test_recovers_a_random_group_element(net):
    w = first(draws(net, 0, 1))
    copies = moved(net, w, 12)
    assert not np.array_equal(copies["W1"][0], w["W1"])
    back = align(copies, w, net.symmetry)
    assert all(np.array_equal(back[k], np.broadcast_to(w[k], back[k].shape)) for k in w)


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_functions_stay_and_distance_never_grows(net):
    samples, reference = draws(net, 1, 20), first(draws(net, 2, 1))
    aligned = align(samples, reference, net.symmetry)
    x = np.tile(X, (1, net.widths[0]))
    f = jax.jit(jax.vmap(lambda w: net.apply(w, x)))
    assert np.allclose(f(samples), f(aligned), rtol=1e-10, atol=1e-12)
    before, after = squared_distance(samples, reference), squared_distance(aligned, reference)
    assert np.all(after <= before * (1 + 1e-12))
    assert (after < before - 1e-6).mean() > 0.8


@pytest.mark.parametrize("net", [NETS["plain"], NETS["signed"]], ids=["plain", "signed"])
def test_one_layer_is_optimal_over_the_whole_group(net):
    samples, reference = draws(net, 3, 6), first(draws(net, 4, 1))
    aligned = squared_distance(align(samples, reference, net.symmetry), reference)
    act = jax.jit(jax.vmap(net.symmetry.act, in_axes=(0, None)))
    for s in range(6):
        copies = act(net.symmetry.elements(), {k: jnp.asarray(v[s]) for k, v in samples.items()})
        assert aligned[s] == pytest.approx(squared_distance(copies, reference).min(), rel=1e-12)


def test_two_layers_end_where_no_layer_alone_can_improve():
    net = NETS["layers"]
    samples, reference = draws(net, 5, 10), first(draws(net, 6, 1))
    aligned = align(samples, reference, net.symmetry)
    again = align(aligned, reference, net.symmetry)
    assert all(np.array_equal(aligned[k], again[k]) for k in aligned)  # a fixed point


def test_an_aligned_posterior_has_one_mode():
    net = NETS["plain"]
    w = first(draws(net, 7, 1))
    copies = moved(net, w, 200)
    noisy = {
        k: np.asarray(v) + 0.01 * np.random.default_rng(8).normal(size=v.shape)
        for k, v in copies.items()
    }
    aligned = align(noisy, w, net.symmetry)
    assert max(np.std(v, axis=0).max() for v in aligned.values()) < 0.02
    assert np.std(noisy["W1"], axis=0).min() > 0.1


@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_batch_shapes_and_weights_no_group_moves(batch):
    net = NETS["plain"]
    rng = np.random.default_rng(9)
    samples = {k: rng.normal(size=(*batch, *s)) for k, s in net.shapes.items()} | {
        "log_noise": rng.normal(size=batch)
    }
    reference = first(draws(net, 10, 1)) | {"log_noise": np.zeros(())}
    aligned = align(samples, reference, net.symmetry)
    assert {k: v.shape for k, v in aligned.items()} == {k: np.shape(v) for k, v in samples.items()}
    assert np.array_equal(aligned["log_noise"], samples["log_noise"]) and np.array_equal(
        aligned["b2"], samples["b2"]
    )


def test_bad_input():
    net = NETS["plain"]
    samples, reference = draws(net, 11, 3), first(draws(net, 12, 1))
    with pytest.raises(ValueError, match="samples: expected the names"):
        align({k: samples[k] for k in ("W1", "b1")}, reference, net.symmetry)
    with pytest.raises(ValueError, match="expected shape"):
        align(samples | {"W1": samples["W1"][:, :, :3]}, reference, net.symmetry)
    with pytest.raises(ValueError, match="use one batch shape"):
        align(samples | {"W2": samples["W2"][:2]}, reference, net.symmetry)
    with pytest.raises(ValueError, match="expected finite draws"):
        align(samples | {"b2": np.full_like(samples["b2"], np.nan)}, reference, net.symmetry)
