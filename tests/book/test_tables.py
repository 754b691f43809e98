"""Tables: what their entries look like, in print, in Markdown and in HTML."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import symvi
from symvi.book import table


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("mean field", "mean field"),
        ("a|b", "a|b"),
        (1234, "1,234"),
        (-3, "−3"),
        (np.int64(7), "7"),
        (1.256, "1.26"),
        (np.float32(-0.5), "−0.50"),
        (-0.001, "0.00"),
        (float("nan"), "–"),
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (symvi.Estimate(-1.0, 0.25, "lower"), "−1.00\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.25"),
        # an error is never shown as 0: more digits for a small one, none for a closed form
        (
            symvi.Estimate(-400.209, 0.0035, "exact"),
            "−400.209\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.004",
        ),
        (symvi.Estimate(-400.209, 0.0, "exact"), "−400.21"),
        (symvi.Estimate(41.1532, 4e-14, "lower"), "41.15"),
        (symvi.Estimate(2.0, np.inf, "exact"), "2.00\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}–"),
        ((-1.0, 2.0), "[−1.00, 2.00]"),
        (symvi.mean_interval([1.0, 1.0, 1.0]), "[1.00, 1.00]"),
    ],
)
def test_an_entry_is_shown(entry, shown):
    assert table({"a": [entry]}).rows == ((shown,),)


def test_numbers_stand_to_the_right_and_text_to_the_left():
    made = table({"method": ["mean field", "exact"], "KL (nats)": [1.5, None]}, digits=1)
    assert repr(made).splitlines() == [
        "method      KL (nats)",
        "mean field        1.5",
        "exact               –",
    ]
    assert made.to_markdown().splitlines()[1] == "| :--- | ---: |"


def test_a_caption_numbers_the_table_on_the_page():
    made = table({"a": [1]}, caption="What to see.", name="tab-a")
    lines = made.to_markdown().splitlines()
    assert lines[:3] == [":::{table} What to see.", ":class: symvi-table", ":name: tab-a"]
    assert lines[-1] == ":::"
    assert "<caption>What to see.</caption>" in made._repr_html_()


def test_bars_do_not_end_a_cell():
    made = table({"$|G|$": ["|x|"]})
    assert made.to_markdown().splitlines()[::2] == [r"| $\|G\|$ |", r"| \|x\| |"]
    assert "<td" in made._repr_html_() and "\\|" not in made._repr_html_()


def test_html_is_escaped():
    assert "<b>" not in table({"<b>": ["<b>"]}, caption="<b>")._repr_html_()


def test_a_data_frame_keeps_its_index():
    frame = pd.DataFrame({"ess": [10.0, 20.0]}, index=["W1", "b1"])
    made = table(frame, digits=0)
    assert made.headings[1:] == ("ess",)
    assert made.rows == (("W1", "10"), ("b1", "20"))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": [1], "b": [1, 2]}, {}, "columns: expected columns of one length"),
        ({}, {}, "columns: expected a dict"),
        ([1, 2], {}, "columns: expected a dict"),
        ({"a": [object()]}, {}, "a: expected text, a number"),
        ({"a": [[1, 2, 3]]}, {}, "a: expected text, a number"),
        ({"a": [1]}, {"digits": -1}, "digits"),
        ({"a": [1]}, {"name": "Tab A"}, "name: expected lower-case"),
    ],
)
def test_bad_input_is_named(columns, options, message):
    with pytest.raises(ValueError, match=message):
        table(columns, **options)
