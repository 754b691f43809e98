"""Permanents at their edges: one row, no matrices, resumed rounds, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi.permanents import (
    bethe,
    draw_permutation,
    entropy_bound,
    log_permanent,
    log_permanent_bethe,
    log_permanent_bounds,
    sample_permutations,
    sinkhorn,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("entry", [2.5, -np.inf])
def test_one_entry_is_its_own_permanent(entry):
    log_a = jnp.full((1, 1), entry)
    found = bethe(log_a)
    probability = float(np.isfinite(entry))
    assert float(log_permanent(log_a)) == float(found.value) == entry
    assert float(jnp.exp(found.log_beliefs)[0, 0]) == probability
    assert float(found.gap) == 0
    assert float(entropy_bound(log_a).value) == pytest.approx(entry)
    assert jax.grad(lambda a: bethe(a).value)(log_a).tolist() == [[probability]]


def test_no_matrices_have_no_permanents():
    assert log_permanent(jnp.zeros((0, 3, 3))).shape == (0,)
    assert bethe(jnp.zeros((0, 3, 3))).log_beliefs.shape == (0, 3, 3)


def test_two_rounds_are_one_round_twice():
    log_a = jnp.asarray(2 * np.random.default_rng(0).normal(size=(6, 6)))
    for function in (bethe, entropy_bound):
        settings = {"tolerance": 1e-15}
        once = function(log_a, max_iter=1, **settings)
        twice = function(log_a, max_iter=1, start=once.messages, **settings)
        both = function(log_a, max_iter=2, **settings)
        np.testing.assert_allclose(twice.value, both.value, rtol=1e-12)
        np.testing.assert_allclose(twice.log_beliefs, both.log_beliefs, rtol=1e-10)
        assert abs(float(once.value - both.value)) > 1e-6


def test_one_round_of_scaling_is_rows_then_columns():
    log_a = np.random.default_rng(1).normal(size=(4, 4))  # too narrow a range to start hot
    p = np.exp(log_a)
    p = p / p.sum(1, keepdims=True)
    p = p / p.sum(0)
    found = sinkhorn(log_a, max_iter=1, tolerance=1e-15)
    np.testing.assert_allclose(np.exp(found.log_p), p, rtol=1e-12)
    assert float(found.error) == pytest.approx(np.abs(p.sum(1) - 1).max(), rel=1e-9)


def test_whole_numbers_and_lists_are_matrices_too():
    assert float(log_permanent([[0, 1], [2, 0]])) == pytest.approx(np.logaddexp(0, 3))


MATRIX = np.zeros((3, 3))
START = entropy_bound(MATRIX).messages


@pytest.mark.parametrize("function", [log_permanent, bethe, entropy_bound, log_permanent_bounds])
@pytest.mark.parametrize("value", [None, "text", {"a": 1.0}, object(), [[1.0], [1.0, 2.0]]])
def test_what_is_no_array_is_refused(function, value):
    with pytest.raises(ValueError, match="log_a: expected an array of numbers, got"):
        function(value)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: log_permanent(jnp.ones((2, 2), complex)), "log_a: expected an array of numbers"),
        (lambda: bethe(MATRIX, tolerance=0), "tolerance: expected a positive finite number, got 0"),
        (
            lambda: log_permanent_bethe(MATRIX, max_iter=-1),
            "max_iter: expected a whole number >= 1",
        ),
        (lambda: bethe(MATRIX, start="x"), "start: expected an array of numbers"),
        (lambda: sinkhorn(MATRIX, max_iter=1.5), "max_iter: expected a whole number >= 1"),
        (lambda: sinkhorn(MATRIX, tolerance=-1), "tolerance: expected a positive finite number"),
        (lambda: entropy_bound(MATRIX, start=MATRIX), "start: expected three arrays of shapes"),
        (lambda: entropy_bound(np.zeros((2, 2)), start=START), "start: expected three arrays"),
        (lambda: log_permanent_bounds(MATRIX, max_exact=17), "max_exact: expected at most 16"),
        (lambda: log_permanent_bounds(MATRIX, max_exact=-1), "max_exact: expected a whole number"),
        (lambda: sample_permutations(0, MATRIX, 2), "key: expected one JAX key, got 0; pass"),
        (lambda: sample_permutations(None, MATRIX, 2), "key: expected one JAX key, got None"),
        (lambda: draw_permutation(KEY, np.zeros((2, 3))), "log_p: expected square matrices"),
        (lambda: draw_permutation(KEY, MATRIX, [0, 1]), "given: expected 3 columns"),
        (lambda: draw_permutation(KEY, MATRIX, [0, 0, 1]), "at most once .*got .0, 0, 1"),
        (lambda: draw_permutation(KEY, MATRIX, [0, 3, 1]), "given: expected 3 columns, each of"),
    ],
)
def test_bad_arguments_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
