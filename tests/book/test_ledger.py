"""The claims ledger: what is recorded, shown, raised and compared."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from symvi import files
from symvi.book import Chapter, chapter, ledger, ledger_table, paper
from symvi.book import claims as claims_module
from symvi.book.names import readable
from symvi.estimates import Estimate


@pytest.fixture(autouse=True)
def claims(tmp_path, monkeypatch):
    """A fresh ledger folder, and no chapter open."""
    monkeypatch.setenv("SYMVI_CLAIMS", str(tmp_path / "claims"))
    monkeypatch.setattr(chapter._Open, "chapter", None)
    return tmp_path / "claims"


def record(folder, monkeypatch, claim_id="own-a", holds=True, name="01-test", **rest):
    """A ledger in `folder` with one claim."""
    monkeypatch.setenv("SYMVI_CLAIMS", str(folder))
    Chapter(name).claim(claim_id, "a statement", holds, asserted=False, **{"n": 1, **rest})
    return folder


def test_a_claim_survives_writing_and_reading(claims, capsys):
    page = Chapter("03-mode-seeking")
    page.claim(
        "sec-3",
        "The threshold is linear in s",
        np.bool_(True),
        paper="about 5 at s = 1 (Fig. 3)",
        caveat="one start only",
        tolerance={"alpha": 0.1},
        alpha=4.8412345678,
        seeds=np.int64(10),
        exact=np.True_,
        start="left",
        gap=Estimate(1.23456789, 0.0123456789, "lower"),
        interval=(-1, 2.5),
        slopes=np.array([0.5, -1.5]),
        several=[Estimate(1.0, 0.1, "exact"), (0.0, 1.0), 3],
        small=jnp.float32(0.5),
        zero=-0.0,
    )
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and line.startswith(
        "≈ reproduced with a caveat: sec-3. The threshold"
    )
    assert (
        "[paper: about 5 at s = 1 (Fig. 3)]" in line
        and "alpha = 4.841" in line
        and "exact = yes" in line
    )
    (read,) = ledger.read_ledger(claims)
    assert [read] == page.claims
    assert read.numbers == {
        "alpha": 4.84123,
        "seeds": 10,
        "exact": True,
        "start": "left",
        "gap": Estimate(1.23457, 0.0123457, "lower"),
        "interval": (-1.0, 2.5),
        "slopes": [0.5, -1.5],
        "several": [Estimate(1.0, 0.1, "exact"), (0.0, 1.0), 3],
        "small": 0.5,
        "zero": 0.0,
    }
    assert read.chapter == "03-mode-seeking" and read.tolerance == {"alpha": 0.1}


@pytest.mark.parametrize(
    ("holds", "improved", "caveat", "verdict"),
    [
        (True, False, None, "reproduced"),
        (True, False, "but", "reproduced with a caveat"),
        (True, True, "but", "improved"),
        (False, True, "but", "not reproduced"),
        (False, False, None, "not reproduced"),
    ],
)
def test_verdict_is_computed(claims, monkeypatch, holds, improved, caveat, verdict):
    record(claims, monkeypatch, holds=holds, improved=improved, caveat=caveat)
    assert (
        ledger.read_ledger(claims)[0].verdict == verdict == ledger.verdict(holds, caveat, improved)
    )


def test_the_old_file_stays_until_the_first_claim(claims, monkeypatch):
    record(claims, monkeypatch, "own-old")
    before = (claims / "01-test.json").read_text(encoding="utf-8")
    page = Chapter("01-test")
    assert (claims / "01-test.json").read_text(encoding="utf-8") == before
    page.claim("own-new", "new", True, n=1)
    assert [c.id for c in ledger.read_ledger(claims)] == ["own-new"]


def test_the_file_is_the_same_for_the_same_claims(claims, monkeypatch):
    texts = []
    for order in ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0 + 1e-9}):
        record(claims, monkeypatch, **order)
        texts.append((claims / "01-test.json").read_bytes())
    assert texts[0] == texts[1] and texts[0].endswith(b"\n")
    assert [path.name for path in claims.iterdir()] == ["01-test.json"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(claims, monkeypatch):
    record(claims, monkeypatch, "own-old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        record(claims, monkeypatch, "own-new")
    assert [path.name for path in claims.iterdir()] == ["01-test.json"]
    assert ledger.read_ledger(claims)[0].id == "own-old"


@pytest.mark.parametrize(
    ("arguments", "numbers", "message"),
    [
        (("thm-9.9", "a", True), {}, r"claim_id: expected one of the paper's ids .*got 'thm-9.9'"),
        ((3, "a", True), {}, r"claim_id: expected .*got 3"),
        (("own-", "a", True), {}, r"claim_id: expected .*got 'own-'"),
        (("own-a", "  ", True), {}, r"statement: expected a non-empty string, got '  '"),
        (("own-a", None, True), {}, r"statement: expected a non-empty string, got None"),
        (("own-a", "a", True), {"caveat": ""}, r"caveat: expected a non-empty string or None"),
        (
            ("own-a", "a", True),
            {"caveat": True},
            r"caveat: expected a non-empty string or None, got True",
        ),
        (("own-a", "a", True), {"paper": 5}, r"paper: expected a non-empty string or None, got 5"),
        (("own-a", "a", 1), {}, r"holds: expected a bool, got 1; compute it"),
        (("own-a", "a", np.array([True])), {}, r"holds: expected a bool"),
        (("own-a", "a", True), {"improved": "yes"}, r"improved: expected a bool, got 'yes'"),
        (("own-a", "a", True), {"x": float("nan")}, r"x: expected finite numbers, got nan"),
        (("own-a", "a", True), {"x": jnp.inf}, r"x: expected finite numbers, got inf"),
        (
            ("own-a", "a", True),
            {"x": Estimate(float("inf"), 0.0, "exact")},
            r"x: expected finite numbers",
        ),
        (
            ("own-a", "a", True),
            {"x": Estimate(1.0, float("nan"), "exact")},
            r"x: expected std_error >= 0",
        ),
        (
            ("own-a", "a", True),
            {"x": Estimate(1.0, 0.1, "exact")._replace(kind="sure")},
            r"x: expected std_error >= 0 and a kind among exact",
        ),
        (
            ("own-a", "a", True),
            {"x": (2.0, 1.0)},
            r"x: expected an interval .*low <= high, got \(2.0, 1.0\)",
        ),
        (("own-a", "a", True), {"x": (1.0, 2.0, 3.0)}, r"x: expected an interval"),
        (("own-a", "a", True), {"x": ("a", "b")}, r"x: expected an interval"),
        (
            ("own-a", "a", True),
            {"x": np.ones((2, 2))},
            r"x: expected a float, int, bool, str, Estimate, .*got ndarray",
        ),
        (("own-a", "a", True), {"x": 1j}, r"x: expected a float.*got complex"),
        (("own-a", "a", True), {"x": None}, r"x: expected a float.*got NoneType"),
        (("own-a", "a", True), {"tolerance": -1.0}, r"tolerance: expected numbers >= 0, got -1.0"),
        (("own-a", "a", True), {"tolerance": "5%"}, r"tolerance: expected numbers >= 0"),
        (
            ("own-a", "a", True),
            {"x": 1.0, "tolerance": {"y": 0.1}},
            r"tolerance: expected names among \['n', 'x'\], got \['y'\]",
        ),
        (
            ("own-a", "a", True),
            {"x": 1.0, "tolerance": {"x": float("nan")}},
            r"tolerance: expected numbers >= 0",
        ),
    ],
)
def test_bad_claims(claims, arguments, numbers, message):
    page = Chapter("01-test")
    with pytest.raises(ValueError, match=message):
        page.claim(*arguments, **{"n": 1, **numbers})
    assert ledger.read_ledger(claims) == []


def test_a_claim_needs_numbers():
    page = Chapter("01-test")
    with pytest.raises(
        ValueError, match=r"claim 'own-a': expected numbers, got none; pass what was measured"
    ):
        page.claim("own-a", "a", True, paper="5")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda row: row.update(verdict="improved"),
        lambda row: row.pop("holds"),
        lambda row: row.update(numbers={"x": {}}),
    ],
)
def test_a_typed_verdict_or_a_broken_file_is_refused(claims, monkeypatch, break_it):
    record(claims, monkeypatch)
    file = claims / "01-test.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    break_it(content["claims"][0])
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(
        ValueError,
        match=r"01-test.json: expected a file that symvi.claim wrote.*; run the chapter again",
    ):
        ledger.read_ledger(claims)


def test_half_a_file_is_refused(claims, monkeypatch):
    record(claims, monkeypatch)
    file = claims / "01-test.json"
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(ValueError, match=r"01-test.json: expected"):
        ledger.read_ledger(claims)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(-400.209, 0.0351184, "approximate"), "-400.209 [-400.278, -400.140]"),
        (Estimate(24.683, 1.2, "lower"), "24.7 [22.3, 27.0] (lower bound)"),
        (Estimate(0.69315, 0.0, "exact"), "0.6932"),
        (Estimate(41.1532, 4.5e-14, "upper"), "41.15 (upper bound)"),  # rounding, no interval
    ],
)
def test_an_estimate_has_as_many_digits_as_its_interval(estimate, text):
    assert claims_module.show(estimate).removesuffix(" (approximate)") == text


def compared(tmp_path, monkeypatch, fresh: dict, committed: dict):
    return ledger.compare(
        record(tmp_path / "fresh", monkeypatch, **fresh),
        record(tmp_path / "committed", monkeypatch, **committed),
    )


@pytest.mark.parametrize(
    ("fresh", "committed"),
    [
        ({"x": 1.04}, {"x": 1.0}),
        ({"x": 100}, {"x": 103}),
        ({"x": 1}, {"x": 1.01}),
        ({"x": 3e-13}, {"x": 1e-15}),
        ({"x": 1.4, "tolerance": 0.5}, {"x": 1.0, "tolerance": 0.5}),
        ({"x": 0.3}, {"x": -0.1, "tolerance": {"x": 0.5}}),
        ({"x": (-0.01, 1.0)}, {"x": (0.02, 1.02)}),
        ({"x": [1.0, 2.0]}, {"x": [1.04, 2.0]}),
        ({"x": Estimate(1.23456, 0.0, "exact")}, {"x": Estimate(1.23457, 0.0, "exact")}),
        ({"x": Estimate(1.0, 0.3, "exact")}, {"x": Estimate(2.9, 0.4, "exact")}),
        ({"x": Estimate(1.0, 0.0, "exact")}, {"x": Estimate(1.0, 0.0, "exact")}),
        (
            {"x": Estimate(1.0, 0.0, "exact")},
            {"x": Estimate(2.0, 0.0, "exact"), "tolerance": {"x": 1.5}},
        ),
        ({"x": "left", "y": True}, {"x": "left", "y": True}),
    ],
)
def test_runs_that_agree(tmp_path, monkeypatch, fresh, committed):
    assert compared(tmp_path, monkeypatch, fresh, committed) == []


@pytest.mark.parametrize(
    ("fresh", "committed", "message"),
    [
        ({"x": 1.06}, {"x": 1.0}, "01-test/own-a: x was 1, is 1.06"),
        ({"x": 1.4, "tolerance": 0.5}, {"x": 1.0}, "x was 1, is 1.4"),
        ({"x": -1.0}, {"x": 1.0}, "x was 1, is -1"),
        ({"x": 0.3}, {"x": -0.1, "tolerance": {"x": 0.3}}, "x was -0.1, is 0.3"),
        ({"x": (0.0, 1.0)}, {"x": (0.1, 1.0)}, r"x was [0.1, 1], is [0, 1]"),
        ({"x": Estimate(1.0, 0.3, "exact")}, {"x": Estimate(3.1, 0.4, "exact")}, "x was 3.10 "),
        ({"x": Estimate(1.0, 0.3, "lower")}, {"x": Estimate(1.0, 0.3, "exact")}, "(lower bound)"),
        ({"x": Estimate(1.0, 0.3, "lower")}, {"x": 1.0}, "x was 1, is"),
        ({"x": [1.0, 2.0]}, {"x": [1.1, 2.0]}, "x was 1.1, 2, is 1, 2"),
        ({"x": [1.0]}, {"x": [1.0, 2.0]}, "x was 1, 2, is 1"),
        ({"x": True}, {"x": 1}, "x was 1, is yes"),
        ({"x": "left"}, {"x": "right"}, "x was right, is left"),
        ({"x": 1.0}, {}, "x only in the fresh ledger"),
        ({}, {"x": 1.0}, "x only in the committed ledger"),
        ({"holds": False}, {}, "verdict 'reproduced' became 'not reproduced'"),
        ({"caveat": "but"}, {}, "verdict 'reproduced' became 'reproduced with a caveat'"),
    ],
)
def test_runs_that_differ(tmp_path, monkeypatch, fresh, committed, message):
    (line,) = compared(tmp_path, monkeypatch, fresh, committed)
    assert message in line


def test_a_missing_claim_is_a_difference_on_either_side(tmp_path, monkeypatch):
    lines = compared(tmp_path, monkeypatch, {"claim_id": "own-a"}, {"claim_id": "own-b"})
    assert lines == [
        "01-test/own-a: only in the fresh ledger",
        "01-test/own-b: only in the committed ledger",
    ]


@pytest.mark.parametrize(("side", "first"), [("fresh", "nothing"), ("committed", "fresh")])
@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_records_is_no_agreement(tmp_path, monkeypatch, capsys, side, first, make):
    """Two missing folders once had no difference, and the check passed without a check."""
    record(tmp_path / "fresh", monkeypatch)
    if make:
        (tmp_path / "nothing").mkdir()
    folders = [tmp_path / first, tmp_path / "nothing"]
    message = f"{side}: expected a folder with the claims of chapters, got none in .*nothing"
    with pytest.raises(ValueError, match=message):
        ledger.compare(*folders)
    assert ledger.main(["compare", *map(str, folders)]) == 2
    assert side in capsys.readouterr().err


def test_command_line(tmp_path, monkeypatch, capsys):
    fresh, same = (
        record(tmp_path / "a", monkeypatch, x=1.0),
        record(tmp_path / "b", monkeypatch, x=1.0),
    )
    other = record(tmp_path / "c", monkeypatch, x=2.0)
    capsys.readouterr()
    assert ledger.main(["compare", str(fresh), str(same)]) == 0
    assert capsys.readouterr().out == "claims: 1 fresh records agree with the committed ones\n"
    assert ledger.main(["compare", str(fresh), str(other)]) == 1
    assert capsys.readouterr().out == "01-test/own-a: x was 2, is 1\n"
    assert ledger.main(["compare", str(fresh)]) == 2
    assert "usage" in capsys.readouterr().err


def test_command_line_exit_code(tmp_path, monkeypatch):
    fresh, other = (
        record(tmp_path / "a", monkeypatch, x=1.0),
        record(tmp_path / "c", monkeypatch, x=2.0),
    )
    run = subprocess.run(
        [sys.executable, "-m", "symvi.book.ledger", "compare", str(fresh), str(other)],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (1, "01-test/own-a: x was 2, is 1\n")


class Page(HTMLParser):
    """Collects tags and text; fails on a tag that is closed out of order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.links, self.words = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in {"br", "input"}:  # they have no end
            self.open.append(tag)
        self.ids += [v for k, v in attrs if k == "id"]
        self.links += [v for k, v in attrs if k == "href"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_box_has_an_anchor_and_no_colours(claims, monkeypatch):
    record(claims, monkeypatch, "thm-3.1", paper="a < b & c", caveat='"quoted"', x_low=1.0)
    (made,) = ledger.read_ledger(claims)
    html = made._repr_html_()
    page = Page(html)
    assert page.ids == ["claim-thm-3.1"] and "style=" not in html
    text = " ".join(page.words)
    assert (
        "a < b & c" in text
        and '"quoted"' in text
        and "x low:  1" in text
        and "reproduced with a caveat" in text
    )
    assert repr(made).count("\n") == 0 and "Caveat" in repr(made)


def test_the_table_links_to_the_box(claims, monkeypatch):
    record(claims, monkeypatch, "thm-3.1", name="02-b", x=Estimate(1.0, 0.1, "upper"), caveat="<b>")
    record(claims, monkeypatch, "own-a", name="03-c", holds=False)
    page = Page(ledger.table(ledger.read_ledger(claims)))
    assert page.links == ["02-b.html#claim-thm-3.1", "03-c.html#claim-own-a"]
    text = " ".join(page.words)
    assert (
        "1.00 [0.80, 1.20] (upper bound)" in text
        and "not reproduced" in text
        and "The paper." not in text
    )
    record(claims, monkeypatch, "sec-3", name="03-c", paper="about 5")
    text = " ".join(Page(ledger.table(ledger.read_ledger(claims))).words)
    assert text.count("The paper.") == text.count("Ours.") == 1 and "about 5" in text
    assert "No claims recorded" in ledger.table([])


def test_the_table_has_data_to_sort_and_filter_by_and_is_whole_without_the_script(
    claims, monkeypatch
):
    record(claims, monkeypatch, "own-closer", name="02-b")
    record(claims, monkeypatch, "own-a", name="11-c", holds=False)
    html = ledger.table(ledger.read_ledger(claims), "findings")
    assert Page(html).ids == ["ledger-own-closer", "ledger-own-a"]
    assert '<tr id="ledger-own-a" data-id="own-a" data-chapter="11-c" data-rank="3"' in html
    assert 'data-verdict="not reproduced" data-kind="finding"' in html
    assert 'data-kind="identity check"' in html
    assert html.count("<form hidden") == 1 and html.count("<select") == 3
    rows = html.split("<tbody>")[1].split("</tbody>")[0]
    assert "hidden" not in rows
    assert 'tabindex="0" role="region" aria-label="Table of findings"' in html


def test_the_papers_number_stands_beside_ours_with_the_meaning(claims, monkeypatch):
    intervals = {"gain": [0.1, 0.2, 0.3, 0.4], "gain_low": [0.0] * 4, "gain_high": [0.5] * 4}
    record(claims, monkeypatch, "tab-1", paper="Table 1", **intervals)
    html = ledger.table(ledger.read_ledger(claims))
    text = " ".join(Page(html).words)
    assert "0.1 [0, 0.5], 0.2 [0, 0.5]" in text and "gain low" not in text
    assert "(paper: 0.029, 0.004, 0.069, 0.12)" in text
    assert "What it means." in text and "classifies digits better" in text
    assert html.count("<circle") == 4


def test_more_numbers_than_a_few_are_folded(claims, monkeypatch):
    numbers = {f"x{i}": i for i in range(6)}
    record(claims, monkeypatch, z=(1.0, 2.0), **numbers)
    html = ledger.table(ledger.read_ledger(claims))
    Page(html)
    shown, folded = html.split("<details>")
    assert "4 more" in folded and "z:" in shown and "x5:" in folded


def test_an_interval_plot_contains_zero_and_every_end():
    svg = ledger_table.interval_plot([(2.0, 4.0), (-4.0, -4.0)], [1.0], (-4.0, 4.0))
    places = [float(x) for x in re.findall(r'x[12]="([\d.]+)"', svg)]
    zero, low, high, start, end = places[0], places[2], places[3], places[4], places[5]
    middle = (6 + 114) / 2
    assert zero == places[1] == middle
    assert (low, high) == (middle + 27, 114.0)
    assert (start, end) == (6.0, 8.0), "an interval of no width is still seen"
    assert 'cx="73.5"' in svg


def test_plots_of_a_claim_share_an_axis_unless_a_number_is_tiny_there(claims, monkeypatch):
    record(claims, monkeypatch, large=(50.0, 100.0), half=(25.0, 50.0), tiny=(0.5, 1.0))
    html = ledger.table(ledger.read_ledger(claims))
    bars = re.findall(r'<line x1="([\d.]+)" y1="6.0" x2="([\d.]+)" y2="6.0"', html)
    assert bars == [("33.0", "60.0"), ("60.0", "114.0"), ("60.0", "114.0")]  # half, large, tiny


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("difference_a_0_05", "difference, a = 0.05"),
        ("mean_field_position_at_a_0_05_sigma_3", "mean field position at a = 0.05, σ = 3"),
        ("information_1_2_2_1_signed", "information 1-2-2-1 signed"),
        ("overlapping_K20", "overlapping, K = 20"),
        ("largest_rhat", "largest R-hat"),
        ("lower_30", "lower, 30 units"),
        ("log_20", "log 20"),
        ("above_1_01_in", "above 1.01 in"),
        ("agrees_to_1e_5", "agrees to 1e-5"),
        ("mean_change_of_L_G", "mean change of L_G"),
        ("twice_I_2", "twice I_2"),
        ("plain_I", "I, mean field"),
        ("seeds", "seeds"),
    ],
)
def test_names_of_numbers_in_words(name, wanted):
    assert readable(name) == wanted


def test_identity_checks_are_counted_apart(claims, monkeypatch):
    record(claims, monkeypatch, "own-closer", name="01-a")
    record(claims, monkeypatch, "own-b", name="02-b", holds=False)
    record(claims, monkeypatch, "thm-4.1", name="03-c")
    counts = ledger.summary(ledger.read_ledger(claims))
    assert counts["verdict"][0] == "✓ reproduced" and counts["verdict"][-1] == "all"
    assert counts["our own: findings"] == [0, 0, 0, 1, 1]
    assert counts["our own: identity checks"] == [1, 0, 0, 0, 1]
    assert counts["the paper's: identity checks"] == [1, 0, 0, 0, 1]
    assert counts["the paper's: findings"] == [0, 0, 0, 0, 0]


COMMITTED = Path(__file__).parents[2] / "book" / "claims"


def test_the_committed_ledger_can_be_read_and_holds_the_papers_claims_once():
    ids = [c.id for c in ledger.read_ledger(COMMITTED) if c.id in ledger.PAPER_IDS]
    assert sorted(ids) == sorted(ledger.PAPER_IDS)


def test_the_tables_of_ids_and_of_the_papers_numbers_fit_the_committed_ledger():
    """A claim that is renamed must not lose its kind or the paper's number."""
    records = {c.id: c for c in ledger.read_ledger(COMMITTED)}
    assert set(ledger.IDENTITIES) <= set(records)
    for claim_id, numbers in paper.NUMBERS.items():
        for name, beside in numbers.items():
            ours = records[claim_id].numbers[name]
            assert isinstance(beside, list) == isinstance(ours, list), (claim_id, name)
            assert not isinstance(beside, list) or len(beside) == len(ours)


def test_no_number_of_the_committed_ledger_has_underscores_between_numbers():
    names = {n.name for c in ledger.read_ledger(COMMITTED) for n in ledger_table.numbers_of(c)}
    assert [name for name in names if re.search(r"\d_|_\d|__", name.replace("I_2", ""))] == []
