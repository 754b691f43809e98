"""The other objectives of book/reproduce/mnist_causes.py: each is what its name says."""

import itertools
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "book" / "reproduce"))
import mnist_causes as causes

PRIOR = 0.7
NET = symvi.MLP([2, 3, 2], "tanh")
BNN = symvi.BNN(NET, symvi.Categorical(), prior_scale=PRIOR)


def posterior(seed=0):
    loc = BNN.init(jax.random.key(seed))
    scale = {name: 0.3 + 0.1 * jnp.abs(value) for name, value in loc.items()}
    return symvi.MeanField(loc, scale, BNN.symmetry)


def draw(q):
    return jax.tree.map(lambda a: a[0], q.sample(jax.random.key(7), 1))


def test_a_closed_prior_changes_no_expectation():
    q, method = posterior(), causes.ClosedPrior(BNN)
    draws = q.sample(jax.random.key(1), 20_000)
    drawn = np.asarray(jax.vmap(lambda w: method.pointwise(q, w, None))(draws))
    error = drawn.std() / math.sqrt(len(drawn))
    assert abs(drawn.mean() + method.final_closed_form(q)) < 4 * error


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_a_weight_of_the_kl_term(weight):
    """KL(q || p) of Gaussians, by its formula."""
    q = posterior()
    kl = sum(
        float((jnp.log(PRIOR / s) + (s**2 + m**2) / (2 * PRIOR**2) - 0.5).sum())
        for m, s in zip(q.loc.values(), q.scale.values(), strict=True)
    )
    found = causes.KLWeight(weight, BNN).final_closed_form(q)
    assert found == pytest.approx((1 - weight) * kl, rel=1e-12, abs=1e-12)


def all_log_ratios(q, w, move):
    """log q of each moved copy, less log q(w), over all of S_3."""
    copies = [move(w, list(order)) for order in itertools.permutations(range(3))]
    return np.array([float(q.log_prob(copy) - q.log_prob(w)) for copy in copies])


def whole_units(w, order):
    return {**incoming(w, order), "W2": w["W2"][jnp.array(order)]}


def incoming(w, order):
    order = jnp.array(order)
    return {**w, "W1": w["W1"][:, order], "b1": w["b1"][order]}


@pytest.mark.parametrize(
    ("method", "move", "with_identity"),
    [
        (causes.NoIdentity(5), whole_units, False),
        (causes.IncomingOnly(5), incoming, True),
    ],
)
def test_permutations_are_weighed_as_said(method, move, with_identity):
    """One value is log K less the log of a sum of K ratios, each that of a permutation; the mean
    over many keys is that over all permutations, drawn by NumPy."""
    q = posterior()
    w = draw(q)
    keys = jax.random.split(jax.random.key(3), 4000)
    found = np.asarray(jax.vmap(lambda key: method.pointwise(q, w, key))(keys))
    ratios = np.exp(all_log_ratios(q, w, move))
    rng = np.random.default_rng(0)
    drawn = ratios[rng.integers(6, size=(40_000, 5 - with_identity))].sum(1) + with_identity
    wanted = math.log(5) - np.log(drawn)
    error = math.hypot(found.std() / math.sqrt(4000), wanted.std() / math.sqrt(40_000))
    assert abs(found.mean() - wanted.mean()) < 4 * error + 1e-9


def test_cells_are_drawn_once_and_for_all():
    """What is committed belongs to these settings."""
    results = Path(__file__).resolve().parents[2] / "book" / "results"
    stored = json.loads((results / "mnist.json").read_text(encoding="utf-8"))
    kept = json.loads((results / "mnist_causes.json").read_text(encoding="utf-8"))
    for task, cells in causes.cells(stored).items():
        assert [record["cell"] for record in kept[task]] == cells
    for task, chosen, source in (
        ("trained", causes.as_accurate, "setting"),
        ("seeds", causes.moved_by_the_bound, "trained"),
    ):
        assert [record["cell"] for record in kept[task]] == chosen(kept[source])
