"""Exact posteriors on a grid, against closed forms on the quadrants."""

import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

from symvi import BNN, MLP, Gaussian, fit, grid_posterior
from symvi.data import absolute

TWO = MLP([1, 2, 1], "relu", bias=False, fixed_output=1.0)
DATA = absolute(1.0, num=40)
BNN_TWO = BNN(TWO, Gaussian(0.3))


def data(slope, noise, num=20, seed=0):
    x = np.linspace(-1, 1, num)[:, None]
    return x, np.abs(slope * x) + noise * np.random.default_rng(seed).normal(size=x.shape)


def quadrant_log_evidence(x, y, noise):
    """log p(y | x) of f = relu(w1 x) + relu(w2 x), w ~ N(0, 1): quadratic on each quadrant.

    Unit k is on where sign(x) = sign(w_k), so f = a_1 w_1 + a_2 w_2 with a_k = x [x w_k > 0].
    The inner integral over w_2 is a Gaussian tail, the outer one over w_1 a quadrature.
    """
    x, y = x[:, 0], y[:, 0]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0, 12, 2401)
    half = np.diff(edges)[:, None] / 2
    t, log_weight = (edges[:-1, None] + half * (1 + nodes)).ravel(), np.log(half * weights).ravel()
    constant = (
        -0.5 * y @ y / noise**2 - len(y) * np.log(noise * np.sqrt(2 * np.pi)) - np.log(2 * np.pi)
    )
    total = []
    for s1 in (-1, 1):
        for s2 in (-1, 1):
            a = np.stack([x * (x * s1 > 0), x * (x * s2 > 0)], axis=1)
            precision, linear = np.eye(2) + a.T @ a / noise**2, a.T @ y / noise**2
            w1 = s1 * t
            mean = (linear[1] - precision[0, 1] * w1) / precision[1, 1]  # of w2 given w1
            inner = (
                0.5 * mean**2 * precision[1, 1]
                + 0.5 * np.log(2 * np.pi / precision[1, 1])
                + log_ndtr(s2 * mean * np.sqrt(precision[1, 1]))
            )
            total.append(
                logsumexp(
                    constant - 0.5 * precision[0, 0] * w1**2 + linear[0] * w1 + inner + log_weight
                )
            )
    return logsumexp(total)


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.5, 3.0])
@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_grid_against_the_quadrants(slope, noise):
    x, y = data(slope, noise)
    grid = grid_posterior(BNN(TWO, Gaussian(noise)), x, y, limit=8.0)
    assert grid.log_evidence == pytest.approx(quadrant_log_evidence(x, y, noise), abs=1e-6)
    assert grid.expect(np.ones_like(grid.log_joint)) == pytest.approx(1, abs=1e-12)


def test_grid_without_information_is_the_prior():
    grid = grid_posterior(BNN(TWO, Gaussian(1.0)), np.zeros((3, 1)), np.ones((3, 1)), limit=8.0)
    first, second = grid.nodes[:, None], grid.nodes[None, :]
    assert grid.log_evidence == pytest.approx(3 * (-0.5 - 0.5 * np.log(2 * np.pi)), abs=1e-10)
    moments = [
        grid.expect(v + 0 * grid.log_joint) for v in (first, first**2, second**2, first * second)
    ]
    assert moments == pytest.approx([0, 1, 1, 0], abs=1e-8)


def test_grid_is_symmetric_and_refines():
    bnn, (x, y) = BNN(TWO, Gaussian(0.2)), data(1.0, 0.2)
    fine, coarse = (grid_posterior(bnn, x, y, panels=p) for p in (120, 60))
    assert np.allclose(fine.log_joint, fine.log_joint.T, atol=1e-9)
    assert fine.log_evidence == pytest.approx(coarse.log_evidence, abs=1e-9)


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.0])
def test_bounds_do_not_exceed_the_evidence(slope):
    bnn, (x, y) = BNN_TWO, data(slope, 0.3)
    evidence = grid_posterior(bnn, x, y).log_evidence
    for symmetrize in (None, "exact"):
        result = fit(
            bnn,
            x,
            y,
            symmetrize=symmetrize,
            steps=400,
            restarts=2,
            learning_rate=0.03,
            progress=False,
        )
        for reached in result.elbos:
            assert reached.value <= evidence + 3 * reached.std_error
        assert max(e.value for e in result.elbos) > evidence - 3  # and is not far below


@pytest.mark.parametrize(
    ("bnn", "arguments", "message"),
    [
        (BNN(MLP([1, 3, 1]), Gaussian(0.3)), {}, "expected a model with 2 parameters, got 10"),
        (BNN(TWO, Gaussian()), {}, "expected a model with 2 parameters, got 3"),
        (BNN_TWO, {"limit": -1.0}, "limit: expected a positive finite number, got -1.0"),
        (BNN_TWO, {"limit": np.inf}, "limit: expected a positive finite number, got inf"),
        (BNN_TWO, {"limit": np.nan}, "limit: expected"),
        (BNN_TWO, {"limit": "6"}, "limit: expected"),
        (BNN_TWO, {"panels": 0}, "panels: expected"),
        (BNN_TWO, {"order": 0}, "order: expected"),
        (BNN_TWO, {"y": None}, "y: expected the observed outputs, got None"),
        (BNN_TWO, {"y": DATA.y[:3]}, "y: expected shape"),
        (TWO, {}, "bnn: expected a symvi.BNN"),
    ],
)
def test_bad_arguments_of_the_grid(bnn, arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_posterior(bnn, **{"x": DATA.x, "y": DATA.y, **arguments})


def test_values_of_another_shape_are_not_broadcast():
    grid = grid_posterior(BNN_TWO, DATA.x, DATA.y, panels=5)
    with pytest.raises(ValueError, match=r"values: expected one number for each node"):
        grid.expect(grid.nodes)
