"""Alignment of draws that lie in different copies of a mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi import BNN, MLP, Gaussian, Symmetry, UnitGroup, align, convergence
from symvi.draws import inference_data

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


# layers are aligned in turn, so the first must be told apart by its inputs: with 30 of them it is
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


# Groups on two axes of one weight: h + tanh(W h), and a recurrent cell with gates in one matrix.


def shared_group(kind, size, inputs):
    """The group and its shapes. "gates": unit i owns rows i and n + i of the recurrent weights."""
    if kind == "residual":
        axes = (("A", 1), ("W", 0), ("W", 1), ("C", 0))
        shapes = {"A": (inputs, size), "W": (size, size), "C": (size, 1)}
    elif kind == "alone":
        axes, shapes = (("W", 0), ("W", 1)), {"W": (size, size)}
    else:
        pairs = tuple((i, size + i) for i in range(size))
        columns = tuple((inputs + i,) for i in range(size))
        axes = (("W", 0, pairs), ("W", 1, columns), ("C", 0))
        shapes = {"W": (2 * size, inputs + size), "C": (size, 1)}
    return Symmetry((UnitGroup("h", size, axes),)), shapes


def residual(w, x):
    hidden = jnp.tanh(x @ w["A"])
    return (hidden + jnp.tanh(hidden @ w["W"])) @ w["C"]


def normal(shapes, seed, *batch):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(*batch, *shape)) for name, shape in shapes.items()}


def copies_of(symmetry, w, num, key=0):
    elements = symmetry.sample(jax.random.key(key), num)
    act = jax.jit(jax.vmap(symmetry.act, in_axes=(0, None)))
    return {name: np.asarray(value) for name, value in act(elements, w).items()}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["residual", "gates"])
@pytest.mark.parametrize("seed", range(4))
def test_recovers_an_element_that_moves_two_axes_of_a_weight(kind, signed, seed):
    symmetry, shapes = shared_group(kind, 7, 2)
    symmetry, w = Symmetry(symmetry.groups, signed), normal(shapes, seed)
    copies = copies_of(symmetry, w, 8, seed)
    assert not np.array_equal(copies["W"][0], w["W"])
    back = align(copies, w, symmetry)
    assert all(np.array_equal(back[k], np.broadcast_to(w[k], back[k].shape)) for k in w)


def test_recovers_an_element_from_the_shared_weight_alone():
    symmetry, shapes = shared_group("alone", 6, 0)
    w = normal(shapes, 3)
    back = align(copies_of(symmetry, w, 8), w, symmetry)
    assert np.array_equal(back["W"], np.broadcast_to(w["W"], back["W"].shape))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["residual", "gates", "alone"])
def test_two_axes_of_a_weight_never_move_away(kind, signed):
    symmetry, shapes = shared_group(kind, 5, 2)
    symmetry = Symmetry(symmetry.groups, signed)
    samples, reference = normal(shapes, 1, 30), normal(shapes, 2)
    aligned = align(samples, reference, symmetry)
    before, after = squared_distance(samples, reference), squared_distance(aligned, reference)
    assert np.all(after <= before)
    assert (after < before - 1e-6).mean() > 0.6  # of draws that are no copies: a local optimum
    again = align(aligned, reference, symmetry)
    assert all(np.array_equal(aligned[k], again[k]) for k in aligned)
    if kind == "residual":
        f = jax.jit(jax.vmap(residual, in_axes=(0, None)))
        x = np.random.default_rng(3).normal(size=(6, 2))
        assert np.allclose(f(samples, x), f(aligned, x), rtol=1e-10, atol=1e-12)


def test_draws_near_copies_end_at_the_nearest_element_of_all():
    symmetry, shapes = shared_group("residual", 5, 2)
    w = normal(shapes, 1)
    copies = copies_of(symmetry, w, 8)
    noise = normal(shapes, 5, 8)
    samples = {name: value + 0.1 * noise[name] for name, value in copies.items()}
    found = squared_distance(align(samples, w, symmetry), w)
    act = jax.jit(jax.vmap(symmetry.act, in_axes=(0, None)))
    for s in range(8):
        every = act(symmetry.elements(), {k: v[s] for k, v in samples.items()})
        assert found[s] == pytest.approx(squared_distance(every, w).min(), rel=1e-12)


def test_other_layers_are_aligned_beside_a_shared_one():
    axes = (("A", 1), ("W", 0), ("W", 1), ("B", 0))
    after = UnitGroup("after", 4, (("B", 1), ("C", 0)))
    symmetry = Symmetry((UnitGroup("h", 3, axes), after))
    shapes = {"A": (20, 3), "W": (3, 3), "B": (3, 4), "C": (4, 1)}
    w = normal(shapes, 6)
    back = align(copies_of(symmetry, w, 8), w, symmetry)
    assert all(np.array_equal(back[k], np.broadcast_to(w[k], back[k].shape)) for k in w)


class Residual:
    """h + tanh(W h) as a network that a BNN takes."""

    widths = (1, 1)
    symmetry, shapes = shared_group("residual", 3, 1)

    def init(self, key):
        return {k: jax.random.normal(key, s) for k, s in self.shapes.items()}

    def apply(self, params, x):
        return residual(params, x)


def test_convergence_aligns_a_group_on_two_axes():
    """Chains in different copies: weights disagree, aligned weights and functions do not."""
    model, x = BNN(Residual(), Gaussian(1.0)), np.linspace(-1, 1, 5)[:, None]
    w = normal(Residual.shapes, 4)
    near = {k: w[k] + 0.05 * v for k, v in normal(Residual.shapes, 5, 4, 50).items()}
    elements = Residual.symmetry.sample(jax.random.key(2), 4)
    move = jax.vmap(lambda g, chain: jax.vmap(lambda u: Residual.symmetry.act(g, u))(chain))
    chains = {k: np.asarray(v) for k, v in jax.jit(move)(elements, near).items()}
    table = convergence(model, inference_data(model, chains, x, x), x, x)
    assert table.loc["weights", "rhat"] > 1.5
    assert table.loc["aligned", "rhat"] < 1.1
    assert table.loc["functions", "rhat"] < 1.1


def test_nothing_to_move_and_no_draws():
    net = NETS["plain"]
    samples, reference = draws(net, 11, 3), first(draws(net, 12, 1))
    still = align(samples, reference, Symmetry())
    assert all(np.array_equal(still[k], samples[k]) for k in samples)
    none = align({k: v[:0] for k, v in samples.items()}, reference, net.symmetry)
    assert {k: v.shape for k, v in none.items()} == {k: (0, *s) for k, s in net.shapes.items()}


NET = NETS["plain"]
SAMPLES, REFERENCE = draws(NET, 11, 3), first(draws(NET, 12, 1))
NAN = {"b2": np.array([np.nan])}


@pytest.mark.parametrize(
    ("samples", "reference", "symmetry", "match"),
    [
        (
            {k: SAMPLES[k] for k in ("W1", "b1")},
            REFERENCE,
            NET.symmetry,
            r"samples: expected the names \['W1', 'W2', 'b1', 'b2'\], got \['W1', 'b1'\]; pass",
        ),
        (
            SAMPLES | {"W1": SAMPLES["W1"][:, :, :3]},
            REFERENCE,
            NET.symmetry,
            r"samples\['W1'\]: expected shape \(\*batch, \*\(2, 4\)\), got \(3, 2, 3\); use one",
        ),
        (SAMPLES | {"W2": SAMPLES["W2"][:2]}, REFERENCE, NET.symmetry, "use one batch shape"),
        (
            SAMPLES | {"b2": np.full((3, 1), np.nan)},
            REFERENCE,
            NET.symmetry,
            r"samples\['b2'\]: expected finite draws, got NaN or infinity; drop the diverged",
        ),
        (
            SAMPLES,
            REFERENCE | NAN,
            NET.symmetry,
            r"reference\['b2'\]: expected finite weights, got NaN or infinity; pass one good",
        ),
        (
            SAMPLES,
            REFERENCE | {"b2": ["x"]},
            NET.symmetry,
            r"reference\['b2'\]: expected an array of numbers, got",
        ),
        (SAMPLES, None, NET.symmetry, "reference: expected a dict of named arrays, got None; pass"),
        (3, REFERENCE, NET.symmetry, "samples: expected a dict of named arrays, got 3; pass"),
        ({}, {}, NET.symmetry, r"reference: expected a dict of named arrays, got \{\}; pass"),
        (
            SAMPLES,
            REFERENCE,
            MLP([2, 5, 1]).symmetry,
            r"params\['W1'\]: expected size 5 along axis 1 for the units 'hidden1', got \(2, 4\)",
        ),
        (
            SAMPLES,
            REFERENCE,
            NET,
            r"symmetry: expected a symvi.Symmetry, got .*; pass net.symmetry",
        ),
    ],
)
def test_bad_input(samples, reference, symmetry, match):
    with pytest.raises(ValueError, match=match):
        align(samples, reference, symmetry)
