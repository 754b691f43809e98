"""Figures: the palette in greyscale, the style, and the shared helpers."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.colors as colors
import matplotlib.pyplot as plt
import numpy as np
import pytest

from symvi.book import plots


@pytest.fixture
def ax():
    with matplotlib.rc_context():
        plots.style()
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


def lightness(colour) -> float:
    """CIE L*, 0 to 100: what is left of a colour in greyscale."""
    rgb = np.array(colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else 24389 / 27 * y


def test_the_first_colours_differ_in_greyscale():
    blue, orange, black, *_ = (lightness(c) for c in plots.COLOURS.values())
    assert orange - blue > 20 and blue - black > 20


def test_style_is_opaque_legible_and_distinct_without_colour(ax):
    rc = matplotlib.rcParams
    assert (
        rc["figure.facecolor"] == rc["savefig.facecolor"] == "white"
        and not rc["savefig.transparent"]
    )
    assert (
        min(
            rc[name]
            for name in (
                "font.size",
                "axes.labelsize",
                "xtick.labelsize",
                "ytick.labelsize",
                "legend.fontsize",
            )
        )
        >= 10
    )
    assert rc["figure.figsize"][0] <= 7.2
    cycle = rc["axes.prop_cycle"].by_key()
    assert cycle["color"] == list(plots.COLOURS.values()) and len(set(cycle["linestyle"])) == len(
        plots.COLOURS
    )


def test_band_holds_the_central_draws(ax):
    x = np.array([2.0, 0.0, 1.0])[:, None]  # unsorted, as a column
    draws = np.arange(101.0)[:, None, None] + 10 * x
    line = plots.band(
        ax, x, draws, label="draws", colour="sky", level=0.8, hatch="//", linestyle="-."
    )
    assert line.get_xdata().tolist() == [0, 1, 2] and line.get_ydata().tolist() == [50, 60, 70]
    assert (
        line.get_label() == "draws: mean, 80% band"
        and line.get_linestyle() == "-."
        and line.get_color() == plots.COLOURS["sky"]
    )
    (fill,) = ax.collections
    corners = fill.get_paths()[0].vertices
    at_zero = corners[np.isclose(corners[:, 0], 0), 1]
    assert (
        np.isclose(at_zero.min(), 10) and np.isclose(at_zero.max(), 90) and fill.get_hatch() == "//"
    )
    ax.figure.canvas.draw()


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 3, 2)])
def test_band_refuses_wrong_shapes(ax, shape):
    with pytest.raises(
        ValueError,
        match=r"draws: expected shape \(num, N\).*got draws .* and x \(3,\); pass one output",
    ):
        plots.band(ax, np.arange(3.0), np.ones(shape), label="a")


@pytest.mark.parametrize("level", [0, 1, 90])
def test_band_refuses_a_bad_level(ax, level):
    with pytest.raises(ValueError, match=r"level: expected a number between 0 and 1, got"):
        plots.band(ax, np.arange(3.0), np.ones((4, 3)), label="a", level=level)


def test_paired_joins_each_seed(ax):
    plots.paired(ax, [1.0, 2.0, 3.0], [2.0, 2.5, 3.5], ("before", "after"))
    joined = [line for line in ax.lines if line.get_color() == "0.6"]
    assert [line.get_ydata().tolist() for line in joined] == [[1, 2], [2, 2.5], [3, 3.5]]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before", "after"]
    with pytest.raises(
        ValueError, match=r"second: expected as many numbers as first, shape \(3,\), got \(2,\)"
    ):
        plots.paired(ax, [1.0, 2.0, 3.0], [2.0, 2.5], ("a", "b"))
