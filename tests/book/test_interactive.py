"""Interactive figures: what Python draws, and the numbers that the browser must show too."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from figures import FIGURES, RESULTS, table
from scipy.stats import norm

import symvi
from symvi.book import interactive, mode_seeking
from symvi.book.interactive import two_weights
from symvi.book.interactive.pair import _two_unit_bounds
from symvi.information.pairwise import pairwise_bounds

PAIR = symvi.MLP([1, 2, 1], activation="relu", bias=False, fixed_output=1.0)
TWO_WEIGHTS, WIDTHS = table("two-weights"), table("widths")


def pair(separation: float):
    loc = {"W1": jnp.array([[separation, 0.0]])}
    return symvi.MeanField(loc, {"W1": jnp.ones((1, 2))}, PAIR.symmetry)


@pytest.mark.parametrize("separation", [0.0, 0.8, 2.5, 6.0])
def test_pairwise_bounds_are_those_of_symvi(separation):
    shown = interactive.two_units().at(separation=separation)
    lower, upper = pairwise_bounds(pair(separation))
    assert shown["lower"] == interactive.number(float(lower), 3)
    assert shown["upper"] == interactive.number(float(upper), 3)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_information_is_that_of_symvi(k):
    q, figure = pair(1.5), interactive.two_units()
    shown = figure.at(separation=1.5, num_permutations=k)
    exact = symvi.orbit_information(q, num_samples=20_000)
    infonce = symvi.orbit_information(q, "infonce", num_samples=20_000, num_permutations=k)
    for estimate, value in ((exact, shown["exact"]), (infonce, shown["infonce"])):
        assert abs(estimate.value - float(value)) < 4 * estimate.std_error + 5e-4


def test_slopes_are_derivatives():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    step, at = 1e-5, np.array([0.3, 1.1, 2.0, 4.0])
    below, above, here = (
        _two_unit_bounds(at + move, 5, nodes, weights) for move in (-step, step, 0)
    )
    for bound in ("exact", "infonce", "lower", "upper"):
        differences = (above[bound] - below[bound]) / (2 * step)
        assert np.allclose(here[f"{bound}_slope"], differences, atol=1e-7)


def test_two_permutations_report_half_of_the_information():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    found = _two_unit_bounds([0.5, 2.0, 5.0], 2, nodes, weights / weights.sum())
    assert np.allclose(found["infonce"], found["exact"] / 2, rtol=1e-12)


def test_two_units_at_the_ends():
    figure = interactive.two_units()
    together = figure.at(separation=0)
    assert {together[n] for n in ("exact", "infonce", "lower", "upper", "exact_slope")} == {"0.000"}
    apart = figure.at(separation=6, num_permutations=2)
    assert apart["exact"] == interactive.number(math.log(2), 3)
    assert apart["infonce"] == interactive.number(math.log(2) / 2, 3)  # half the draws are swaps


@pytest.mark.parametrize(
    ("alpha", "r"), [(2, 1), (4.5, 1), (4.9, 1), (7, 1), (3, 4), (3.5, 4), (5, 8)]
)
def test_downhill_from_a_mode_ends_at_the_optimum(alpha, r):
    shown = interactive.downhill().at(alpha=alpha, coordinates=r)
    best = mode_seeking.optimum(alpha, coordinates=r)
    assert abs(float(shown["end_mean"]) - best.m) < 0.006
    assert abs(float(shown["end_sd"]) - best.sigma) < 0.006
    assert shown["end_kl"] == interactive.number(best.value, 3)
    assert shown["kl"] == interactive.number(float(mode_seeking.reverse_kl(0, 1, alpha, r)), 3)


def test_downhill_from_half_way_stays_there():
    shown = interactive.downhill().at(alpha=6, coordinates=4, mean=3, sd=1)  # a saddle
    assert (shown["end_mean"], shown["share"]) == ("3.00", "0.50")


def test_the_map_is_shaded_where_it_is_low():
    panel = interactive.downhill().panels[0]
    inside = np.array([[True, True, False, True], [False] * 4])
    # the lower row: two cells from the left margin, one at the right end
    outline = panel.cells(inside)["d"]
    assert outline == "M44.0 102.0h143.0v80.3h-143.0zM258.5 102.0h71.5v80.3h-71.5z"


def test_the_buttons_reach_all_copies_of_one_function():
    figure = interactive.copies()
    net = symvi.MLP([1, 3, 1], "tanh", signed=True)
    x = np.linspace(-3, 3, 7)[:, None]
    seen, new = {}, [()]
    while new:
        found = {figure.at(*pressed)["copy"]: pressed for pressed in new}
        found = {copy: pressed for copy, pressed in found.items() if copy not in seen}
        seen |= found
        new = [(*pressed, button) for pressed in found.values() for button in figure.buttons]
    assert {int(copy) for copy in seen} == set(range(1, net.symmetry.order + 1))
    weights = []
    for pressed in seen.values():
        shown = {k: float(v.replace("−", "-")) for k, v in figure.at(*pressed).items()}
        w_in, bias, w_out = ([shown[f"{n}_{i}"] for i in (1, 2, 3)] for n in ("in", "bias", "out"))
        w = {"W1": [w_in], "b1": bias, "W2": np.array(w_out)[:, None], "b2": [0.0]}
        outputs = net.apply({k: jnp.asarray(v) for k, v in w.items()}, x)
        weights.append((*w_in, *bias, *w_out))
        assert np.allclose(outputs, weights_applied(weights[0], x), atol=1e-5)
        assert abs(shown["distance"] - math.dist(weights[0], weights[-1])) < 0.006
        assert shown["change"] == 0
    assert len(set(weights)) == 48


def weights_applied(weights, x):
    w_in, bias, w_out = np.split(np.array(weights), 3)
    return np.tanh(x * w_in + bias) @ w_out[:, None]


def script(name):
    path = RESULTS.parent / "reproduce" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(table, **wanted):
    return [s for s in table["settings"] if all(s[n] == v for n, v in wanted.items())]


def smallest_network(slope, noise):
    """The exact posterior of a setting on a grid, and its data."""
    bnn, data = symvi.BNN(PAIR, symvi.Gaussian(noise)), symvi.data.absolute(slope, seed=0)
    grid = symvi.grid_posterior(bnn, data.x, data.y, limit=slope + 0.7, panels=40, order=8)
    return grid, bnn, data


def divergences(grid, optimum):
    """KL of a mean field posterior and of its symmetrized one, by sums over the grid."""
    means, sds = optimum[:2], optimum[2:4]
    one, two = (norm.logpdf(grid.nodes, m, s) for m, s in zip(means, sds, strict=True))
    log_q = one[:, None] + two
    log_q_both = np.logaddexp(log_q, log_q.T) - np.log(2)
    mass = np.exp(log_q) * np.outer(grid.weights, grid.weights)
    return (
        grid.log_evidence - (mass * (grid.log_joint - log_q)).sum(),
        grid.log_evidence - (mass * (grid.log_joint - log_q_both)).sum(),
    )


@pytest.mark.parametrize(("slope", "noise"), [(0.05, 2.0), (0.1, 3.0), (0.12, 3.5), (0.15, 2.5)])
def test_the_kept_optima_of_two_weights_are_optima(slope, noise):
    (kept,) = settings_of(TWO_WEIGHTS, slope=slope, noise=noise)
    grid, _, _ = smallest_network(slope, noise)
    for method, which, after in (("mean field", 0, "afterwards"), ("symmetrized", 1, None)):
        *optimum, kl = kept[method]
        found = divergences(grid, optimum)
        assert found[which] == pytest.approx(kl, abs=2e-5)
        if after:
            assert found[1] == pytest.approx(kept[after], abs=2e-5)
        for i in range(4):
            for step in (-0.004, 0.004):
                beside = [v + step * (i == j) for j, v in enumerate(optimum)]
                assert divergences(grid, beside)[which] > found[which]


def test_the_two_weights_are_shaded_where_their_posterior_is():
    figure = interactive.smallest(TWO_WEIGHTS)
    _, bnn, data = smallest_network(0.1, 3.0)
    w = np.linspace(-0.5, 0.5, 257)[1::2]  # the cells' centres
    density = two_weights._density(figure.panels[0], 0.1, 3.0, TWO_WEIGHTS["squares"])
    at = [(10, 80), (48, 48), (38, 57), (60, 61)]
    log_joint = [float(bnn.log_joint({"W1": w[[[j, i]]]}, data.x, data.y)) for j, i in at]
    differences = [
        np.log(density[j, i]) - value for (j, i), value in zip(at, log_joint, strict=True)
    ]
    assert np.ptp(differences) < 1e-4
    assert density.max() == 1
    assert np.allclose(density, density.T)


def test_a_setting_of_two_weights_again():
    (kept,) = settings_of(TWO_WEIGHTS, slope=0.12, noise=3.5)
    made = script("two_weights").row(0.12, 3.5)
    for name in ("distance", "mean field", "afterwards", "symmetrized"):
        assert np.allclose(made[name], kept[name], atol=2e-5)


def test_two_weights_by_regime():
    figure = interactive.smallest(TWO_WEIGHTS)
    close, apart = figure.at(slope=0.05, noise=3), figure.at(slope=0.2, noise=1)
    assert (close["mean_field_off"], apart["mean_field_off"]) == ("0.00", "1.00")
    assert close["mean_field_kl"] == close["afterwards_kl"] > close["symmetrized_kl"]
    assert apart["mean_field_kl"] == interactive.number(math.log(2), 3)
    assert apart["afterwards_kl"] == apart["symmetrized_kl"] == "0.000"


def test_outlines_of_two_weights_hold_the_density_they_say():
    figure = interactive.smallest(TWO_WEIGHTS)
    (kept,) = settings_of(TWO_WEIGHTS, slope=0.1, noise=3.0)
    x, y, a, _, _ = kept["symmetrized"]
    outline = figure.scene().parts["symmetrized"]["d"]
    assert outline.count("M") == 2
    left = float(outline[1:].split()[0])  # where the first ellipse begins
    panel = figure.panels[0]
    edge = panel.x[0] + (left - 44) / 286 * (panel.x[1] - panel.x[0])
    assert norm.pdf(edge, x, a) / norm.pdf(x, x, a) == pytest.approx(0.2, abs=0.01)
    assert f" {panel.down(y):.1f}a" in outline


@pytest.mark.parametrize("num", [2, 8])
def test_kept_bounds_are_those_of_symvi(num):
    made = script("widths")
    for factor in (0.4, 1.0):
        (kept,) = settings_of(WIDTHS, units=num, factor=factor)
        q = made.posterior(num, factor)
        assert np.allclose(pairwise_bounds(q), (kept["lower"], kept["upper"]), atol=2e-3)
        exact = symvi.orbit_information(q, key=jax.random.key(7), num_samples=500)
        assert abs(exact.value - kept["exact"]) < 4 * exact.std_error + 0.01
    loc, scale = made.all_units()
    assert np.allclose(loc[:, :2], WIDTHS["loc"], atol=1e-3)
    assert np.allclose(scale[:, :2], WIDTHS["scale"], atol=1e-3)


@pytest.mark.parametrize("setting", WIDTHS["settings"], ids=lambda s: f"{s['units']}-{s['factor']}")
def test_kept_bounds_are_in_order(setting):
    most, error = math.lgamma(setting["units"] + 1), 4 * setting["std_error"] + 1e-3
    assert 0 <= setting["lower"] <= setting["upper"] <= most + 1e-3
    assert setting["lower"] <= setting["guided_upper"] + error
    assert setting["guided_lower"] <= min(setting["upper"], setting["guided_upper"]) + error
    for k, value in zip(WIDTHS["permutations"], setting["infonce"], strict=True):
        assert value <= min(math.log(k) + 1e-3, setting["upper"] + error)
    assert ("exact" in setting) == (setting["units"] <= 16)
    if "exact" in setting:
        lowest = max(setting["lower"], setting["guided_lower"] - error, *setting["infonce"])
        assert lowest - error <= setting["exact"]
        assert setting["exact"] <= min(setting["upper"], setting["guided_upper"]) + error


def test_widths_show_the_table():
    figure = interactive.widths(WIDTHS)
    (kept,) = settings_of(WIDTHS, units=64, factor=1.4)
    shown = figure.at(place=5, factor=1.4, num_permutations=30)
    assert shown["units"] == "64" and shown["exact"] == shown["exact_share"] == ""
    assert shown["infonce"] == interactive.number(kept["infonce"][2], 2)
    for bound in ("lower", "upper", "guided_lower", "guided_upper"):
        assert shown[bound] == interactive.number(kept[bound], 2)
        share = 100 * kept[bound] / math.lgamma(65)
        assert shown[f"{bound}_share"] == interactive.number(share, 0)
    parts = figure.scene(place=5).parts
    assert parts["ovals"]["d"].count("M") == 64
    assert parts["exact_marks"]["d"].count("M") == 4
    assert len(parts["exact_curve"]["points"].split()) == 4


def test_a_control_says_what_its_place_stands_for():
    html = interactive.widths(WIDTHS, units=32)._repr_html_()
    control = re.search(r"<input [^>]*name=\"place\"[^>]*>", html)[0]
    assert 'value="4"' in control and 'aria-valuetext="32"' in control
    assert re.search(r"<output [^>]*place\">32<", html)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_without_the_script(name):
    html = FIGURES[name]()._repr_html_()
    assert len(html.encode()) < 300_000
    assert "http" not in html and "<form hidden" in html
    figure = re.search(r"<figure.*?</figure>", html, re.S)[0]
    figure = re.sub(
        r"<input ([^>]*)>", r"<input \1></input>", figure.replace("<form hidden", "<form")
    )
    tree = ET.fromstring(figure)
    for line in tree.iter("polyline"):
        assert len(line.get("points").split()) >= 2
    data = json.loads(tree.find("script").text)
    assert set(data["planes"]) == {p.name for p in FIGURES[name]().panels}
    for cell in tree.iter("td"):
        assert cell.text is None or re.fullmatch(r"−?\d+(\.\d+)?", cell.text)
    labels = {label.get("for") for label in tree.iter("label")}
    assert labels == {control.get("id") for control in tree.iter("input")}


def test_in_print_a_figure_is_its_sentence():
    assert repr(interactive.two_units()).startswith("At a separation of 1.50 sd and K = 2, I is ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interactive.two_units(7), "separation: expected a number from 0 to 6, got 7"),
        (lambda: interactive.two_units("1"), "separation: expected a number from 0 to 6"),
        (lambda: interactive.two_units(1, 1), "num_permutations: expected a whole number from 2"),
        (lambda: interactive.two_units(1, 2.5), "num_permutations: expected a whole number"),
        (lambda: interactive.downhill(1), "alpha: expected a number from 2 to 7, got 1"),
        (lambda: interactive.downhill(3, 0), "coordinates: expected a whole number from 1 to 8"),
        (lambda: interactive.downhill(mean=9), "mean: expected a number from -1 to 8"),
        (lambda: interactive.downhill(sd=0), "sd: expected a number from 0.4 to 4.4"),
        (lambda: interactive.two_units().at(separation=math.nan), "separation: expected"),
        (lambda: interactive.copies().at("flip_4"), "button: expected one of 'swap_1', 'swap_2'"),
        (lambda: interactive.two_units().at("flip_1"), "button: expected one of"),
        (lambda: interactive.two_units().at(alpha=1), "alpha: expected one of the sliders sep"),
        (lambda: interactive.smallest(TWO_WEIGHTS, 0.3), "slope: expected a number from 0.05 to 0"),
        (lambda: interactive.smallest(TWO_WEIGHTS, noise=0), "noise: expected a number from 1 to"),
        (lambda: interactive.widths(WIDTHS, 12), "units: expected one of 2, 4, 8, 16, 32, 64, 128"),
        (lambda: interactive.widths(WIDTHS, 16, 3), "factor: expected a number from 0.2 to 2"),
        (lambda: interactive.widths(WIDTHS).at(place=0.5), "place: expected a whole number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_minus_signs_are_true_ones():
    assert [interactive.number(v, 1) for v in (-1.25, -0.01, 2)] == ["−1.2", "0.0", "2.0"]
