"""Interactive figures: what Python draws, and the numbers that the browser must show too."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET

import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.book import interactive, mode_seeking
from symvi.information.pairwise import pairwise_bounds

PAIR = symvi.MLP([1, 2, 1], activation="relu", bias=False, fixed_output=1.0)
FIGURES = {f.__name__: f for f in (interactive.two_units, interactive.downhill, interactive.copies)}


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
        interactive._two_unit_bounds(at + move, 5, nodes, weights) for move in (-step, step, 0)
    )
    for bound in ("exact", "infonce", "lower", "upper"):
        differences = (above[bound] - below[bound]) / (2 * step)
        assert np.allclose(here[f"{bound}_slope"], differences, atol=1e-7)


def test_two_permutations_report_half_of_the_information():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    found = interactive._two_unit_bounds([0.5, 2.0, 5.0], 2, nodes, weights / weights.sum())
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
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_minus_signs_are_true_ones():
    assert [interactive.number(v, 1) for v in (-1.25, -0.01, 2)] == ["−1.2", "0.0", "2.0"]
