"""Inverses and determinants of many small matrices, against NumPy."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi.posteriors.elimination import inverse_of_unit_lower, log_det_and_square

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_inverse_of_unit_lower(d):
    lower = np.tril(RNG.normal(size=(3, 2, d, d)) / np.sqrt(d), -1)
    np.testing.assert_allclose(
        inverse_of_unit_lower(jnp.asarray(lower)),
        np.linalg.inv(np.eye(d) + lower),
        rtol=1e-9,
        atol=1e-9,
    )


def test_gradient_of_the_inverse():
    lower, weights = np.tril(RNG.normal(size=(4, 4)), -1), jnp.asarray(RNG.normal(size=(4, 4)))
    mine = jax.grad(lambda n: (weights * inverse_of_unit_lower(n)).sum())(jnp.asarray(lower))
    theirs = jax.grad(lambda n: (weights * jnp.linalg.inv(jnp.eye(4) + n)).sum())(
        jnp.asarray(lower)
    )
    np.testing.assert_allclose(np.tril(mine, -1), np.tril(theirs, -1), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_log_det_and_square(d):
    factor, vector = RNG.normal(size=(5, d, d)), RNG.normal(size=(5, d))
    matrix = factor @ factor.transpose(0, 2, 1) + 0.1 * np.eye(d)
    log_det, square = log_det_and_square(jnp.asarray(matrix), jnp.asarray(vector))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        square, np.einsum("bi,bij,bj->b", vector, np.linalg.inv(matrix), vector), rtol=1e-8
    )
    slope = jax.grad(lambda m: log_det_and_square(m, jnp.asarray(vector))[0].sum())(
        jnp.asarray(matrix)
    )
    np.testing.assert_allclose(
        slope + slope.transpose(0, 2, 1), 2 * np.linalg.inv(matrix), rtol=1e-7
    )  # d log det C = tr(C^-1 dC)


def test_correlated_units_do_not_hang_inside_a_loop():
    # with LAPACK's triangular solves this waited for ever on two cores
    program = textwrap.dedent(
        """
        import jax, jax.numpy as jnp
        import symvi
        from symvi.information import pointwise_guided
        net = symvi.MLP([1, 6, 6, 1], "tanh", signed=True)
        loc = net.init(jax.random.key(0))
        lower = {}
        for g in net.symmetry.groups:
            d = net.symmetry.own_units(loc, g.name).shape[1]
            lower[g.name] = jnp.zeros((g.size, d, d))
        scale = jax.tree.map(lambda a: jnp.full(a.shape, 0.3), loc)
        q = symvi.UnitNormal(loc, scale, net.symmetry, lower)
        w, keys = q.sample(jax.random.key(1), 30), jax.random.split(jax.random.key(0), 30)
        many = jax.tree.map(lambda a: jnp.stack([a] * 4), q)

        def of_one(q):
            return jax.vmap(lambda v, k: pointwise_guided(q, v, k, 20))(w, keys)

        f = jax.jit(lambda many: jax.lax.map(of_one, many))
        print(bool(jnp.isfinite(f(many)[0]).all()))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "True\n", done.stderr
