"""Reverse KL of a Gaussian to two equal Gaussians, and its thresholds.

Quadrature against closed forms, grids and sampling; thresholds against their equations.
"""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from symvi.book import mode_seeking as ms

jax.config.update("jax_enable_x64", True)

# Computed again below by adaptive quadrature; three decimals.
MIDPOINT = {2: 3.742, 3: 3.345, 4: 3.207, 8: 3.045, np.inf: 2.922}


def naive_kl(m, sigma, alpha, r):
    """KL(q || p) in nats on a grid over all r displaced coordinates (r = 1 or 2)."""
    z = np.linspace(-9, 9, 601)
    grids = np.meshgrid(*[z] * r, indexing="ij")
    w = [m / r**0.5 + sigma * g for g in grids]
    log_q = sum(norm.logpdf(x, m / r**0.5, sigma) for x in w)
    first, second = sum(norm.logpdf(x) for x in w), sum(norm.logpdf(x, alpha / r**0.5) for x in w)
    return float(
        (np.exp(log_q) * (log_q - np.logaddexp(first, second) + np.log(2))).sum()
        * (sigma * (z[1] - z[0])) ** r
    )


def test_equal_modes_give_the_closed_form_of_two_gaussians():
    for m, sigma, r in ((0.0, 1.0, 1), (0.7, 1.3, 3), (-2.0, 0.4, 2)):
        closed = -r * np.log(sigma) + 0.5 * (m**2 + r * (sigma**2 - 1))
        assert float(ms.reverse_kl(m, sigma, 0.0, r)) == pytest.approx(closed, abs=1e-13)


@pytest.mark.parametrize("r", [1, 2])
@pytest.mark.parametrize(
    ("m", "sigma", "alpha"), [(0.1, 1.1, 5.0), (2.5, 2.4, 5.0), (1.0, 0.8, 2.0), (-0.5, 1.7, 8.0)]
)
def test_quadrature_agrees_with_a_brute_force_grid(m, sigma, alpha, r):
    assert float(ms.reverse_kl(m, sigma, alpha, r)) == pytest.approx(
        naive_kl(m, sigma, alpha, r), abs=1e-9
    )


def test_a_mode_far_away_costs_log_two():
    assert float(ms.reverse_kl(0.0, 1.0, 40.0)) == pytest.approx(np.log(2), abs=1e-10)


def test_the_two_modes_are_mirror_images():
    assert float(ms.reverse_kl(0.3, 1.2, 4.0, 3)) == pytest.approx(
        float(ms.reverse_kl(3.7, 1.2, 4.0, 3)), abs=1e-12
    )


def test_quadrature_agrees_with_sampling_in_five_dimensions():
    alpha, r, m, sigma, s = (
        4.0,
        3,
        1.4,
        1.25,
        0.5,
    )  # s != 1 checks the scaling, two coordinates outside u the dimension
    u = np.where(np.arange(5) < r, r**-0.5, 0.0)
    scale = s * np.where(np.arange(5) < r, sigma, 1.0)
    w = m * s * u + scale * np.random.default_rng(0).normal(size=(100_000, 5))
    log_q = norm.logpdf(w, m * s * u, scale).sum(1)
    log_p = np.logaddexp(
        norm.logpdf(w, 0, s).sum(1), norm.logpdf(w, alpha * s * u, s).sum(1)
    ) - np.log(2)
    terms = log_q - log_p
    assert (
        abs(terms.mean() - float(ms.reverse_kl(m, sigma, alpha, r)))
        < 4 * terms.std() / len(terms) ** 0.5
    )


@pytest.mark.parametrize("start", ["mode", "midpoint"])
@pytest.mark.parametrize(
    ("alpha", "r"), [(2.0, 1), (4.7, 1), (5.3, 1), (7.0, 1), (3.5, 2), (4.5, 2), (3.5, 8)]
)
def test_optima_are_stationary(start, alpha, r):
    best = ms.optimum(alpha, start=start, coordinates=r)
    slope = jax.grad(lambda v: ms.reverse_kl(v[0], v[1], alpha, r))(np.array([best.m, best.sigma]))
    assert np.abs(slope).max() < 1e-8
    assert best.value == pytest.approx(
        float(ms.reverse_kl(best.m, best.sigma, alpha, r)), abs=1e-12
    )
    if start == "midpoint":
        assert best.m == alpha / 2


def test_one_coordinate_the_thresholds_and_the_hysteresis():
    basin, switch = ms.basin_threshold(), ms.switch_threshold()
    assert basin == pytest.approx(4.824, abs=5e-4)
    assert switch == pytest.approx(5.600, abs=5e-4)
    assert ms.optimum(basin - 0.01).m == pytest.approx(
        (basin - 0.01) / 2, abs=1e-6
    )  # no basin: the descent ends at the midpoint
    assert ms.optimum(basin + 0.01).m < 0.5  # a basin: the mode is kept
    for alpha, better in ((switch - 0.05, "midpoint"), (switch + 0.05, "mode")):
        values = {start: ms.optimum(alpha, start=start).value for start in ("mode", "midpoint")}
        assert min(values, key=values.get) == better


@pytest.mark.parametrize("r", list(MIDPOINT))
def test_midpoint_thresholds_solve_their_equation(r):
    alpha = ms.midpoint_threshold(r)
    sigma = 1.0 if np.isinf(r) else np.sqrt(r / (r - 1))
    expected = quad(
        lambda x: norm.pdf(x, 0, sigma) * 0.25 / np.cosh(alpha * x / 2) ** 2,
        -30,
        30,
        points=[0],
        epsabs=1e-13,
        limit=200,
    )[0]
    assert alpha**2 * expected == pytest.approx(1, abs=1e-9)
    assert alpha == pytest.approx(MIDPOINT[r], abs=6e-4)


@pytest.mark.parametrize("r", [2, 3, 4, 8])
def test_the_midpoint_turns_into_a_saddle_at_the_threshold(r):
    edge = ms.midpoint_threshold(r)
    for alpha, is_minimum in ((edge - 0.01, True), (edge + 0.01, False)):
        best = ms.optimum(alpha, start="midpoint", coordinates=r)
        hessian = jax.hessian(lambda v, a=alpha: ms.reverse_kl(v[0], v[1], a, r))(
            np.array([best.m, best.sigma])
        )
        assert (np.linalg.eigvalsh(hessian)[0] > 0) == is_minimum
        assert (
            abs(ms.optimum(alpha, coordinates=r).m - alpha / 2) < 1e-5
        ) == is_minimum  # no hysteresis: the start on a mode agrees


def test_one_coordinate_keeps_the_midpoint_a_minimum():
    assert ms.midpoint_threshold(1) == np.inf
    for alpha in (4.0, 8.0, 16.0):
        best = ms.optimum(alpha, start="midpoint")
        hessian = jax.hessian(lambda v, a=alpha: ms.reverse_kl(v[0], v[1], a))(
            np.array([best.m, best.sigma])
        )
        assert np.linalg.eigvalsh(hessian)[0] > 0


@pytest.mark.parametrize("dim", [2, 6])
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_monte_carlo_finds_the_exact_optima_for_each_scale_and_dimension(dim, s):
    alphas = np.array([3.0, 6.0])
    for start in ("mode", "midpoint"):
        loc, scale = ms.monte_carlo(
            alphas * s, s=s, dim=dim, num_samples=1000, steps=1500, start=start, seed=3
        )
        for a, found, spread in zip(alphas, loc, scale, strict=True):
            best = ms.optimum(a, start=start)
            assert found[0] / s == pytest.approx(best.m, abs=0.15)
            assert spread[0] / s == pytest.approx(best.sigma, abs=0.1)
            assert spread[1:] / s == pytest.approx(np.ones(dim - 1), abs=0.1)


def test_monte_carlo_with_the_displacement_spread_over_all_coordinates():
    loc, scale = ms.monte_carlo([4.5], dim=4, coordinates=4, num_samples=1000, steps=1500, seed=5)
    best = ms.optimum(4.5, coordinates=4)
    assert loc[0].sum() / 2 == pytest.approx(best.m, abs=0.15)
    assert scale[0] == pytest.approx(np.full(4, best.sigma), abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ms.optimum(3.0, start="left"),
            "start: expected one of 'mode', 'midpoint', got 'left'",
        ),
        (lambda: ms.optimum(0.0), "alpha: expected a positive finite number, got 0.0"),
        (lambda: ms.optimum(float("nan")), "alpha: expected a positive finite number, got nan"),
        (
            lambda: ms.optimum(3.0, coordinates=0),
            "coordinates: expected a whole number >= 1, got 0",
        ),
        (lambda: ms.midpoint_threshold(0.5), "coordinates: expected a number >= 1, got 0.5"),
        (
            lambda: ms.monte_carlo([3.0], s=0.0),
            "s: expected a positive finite number, got 0.0",
        ),
        (
            lambda: ms.monte_carlo([3.0], dim=2, coordinates=3),
            "coordinates: expected at most dim = 2, got 3",
        ),
        (lambda: ms.monte_carlo([3.0], steps=0), "steps: expected a whole number >= 1, got 0"),
        (lambda: ms.monte_carlo([3.0], start="left"), "start: expected one of"),
        (lambda: ms.monte_carlo([3.0], seed=0.5), "seed: expected an int >= 0, got 0.5"),
    ],
)
def test_bad_input_says_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
