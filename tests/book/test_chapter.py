"""The record of a chapter: in a notebook, in another kernel and in a script."""

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import symvi
from symvi.book import Chapter, chapter, ledger


@pytest.fixture(autouse=True)
def claims(tmp_path, monkeypatch):
    """A fresh ledger folder, and no chapter open."""
    monkeypatch.setenv("SYMVI_CLAIMS", str(tmp_path / "claims"))
    monkeypatch.setattr(chapter._Open, "chapter", None)
    return tmp_path / "claims"


@pytest.fixture
def glued(monkeypatch):
    """What is handed to the text of the page, as if a notebook ran."""
    import myst_nb

    found = []
    monkeypatch.setattr(chapter, "_in_notebook", lambda: True)
    monkeypatch.setattr(myst_nb, "glue", lambda *pair, display: found.append((*pair, display)))
    return found


@pytest.mark.parametrize(
    ("name", "full"),
    [("05-symmetrization", "ch5_a"), ("14-mnist", "ch14_a"), ("cost", "cost_a"), ("a-b", "a_b_a")],
)
def test_notes_carry_the_chapters_number(glued, name, full):
    page = Chapter(name)
    page.note("a", 1.5)
    assert page.notes == {full: 1.5}
    assert glued == [(full, 1.5, False)]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float64(1.5), 1.5),
        (jnp.asarray(2.5), 2.5),
        (np.array([3.5]), 3.5),
        (4, 4),
        (np.int64(5), 5),
        (np.True_, 1.0),
        ("in words", "in words"),
    ],
)
def test_notes_are_plain_values(glued, value, kept):
    page = Chapter("01-test")
    page.note("a", value)
    assert page.notes["ch1_a"] == kept
    assert type(glued[0][1]) is type(kept)  # what its repr shows is what the page shows


@pytest.mark.parametrize("value", [None, np.ones(2), {"a": 1}, [1, 2]])
def test_a_note_is_one_number_or_text(value):
    message = r"ch1_a: expected one number or text, got .*; pass for example float\(value\)"
    with pytest.raises(ValueError, match=message):
        Chapter("01-test").note("a", value)


def test_a_chapter_ends_with_its_run_time(monkeypatch):
    clock = iter([100.0, 113.0, 200.0, 201.0])
    monkeypatch.setattr(chapter.time, "perf_counter", lambda: next(clock))
    for seconds in (15, 5):  # 13 s and 1 s, to the nearest 5, at least 5
        page = Chapter("02-test")
        page.close()
        assert page.notes["ch2_run_time"] == seconds
    with pytest.raises(ValueError, match="expected an open chapter"):
        symvi.claim("own-a", "a", True, n=1)


@pytest.mark.parametrize(("platform", "peak"), [("linux", 2_000_000), ("darwin", 2_048_000_000)])
def test_a_chapter_ends_with_its_peak_memory(monkeypatch, platform, peak):
    """2.048 GB, which the system states in KiB or, on macOS, in bytes."""
    resource = pytest.importorskip("resource")
    usage = SimpleNamespace(ru_maxrss=peak)
    monkeypatch.setattr(resource, "getrusage", {resource.RUSAGE_SELF: usage}.__getitem__)
    monkeypatch.setattr(chapter.sys, "platform", platform)
    page = Chapter("02-test")
    page.close()
    assert page.notes["ch2_peak_memory"] == pytest.approx(2.048)


def test_peak_memory_holds_what_was_filled():
    pytest.importorskip("resource")
    filled = np.ones(25_000_000)  # 0.2 GB
    assert filled.nbytes / 1e9 < chapter._peak_memory() < 1000


def test_a_chapter_ends_without_peak_memory_on_windows(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    page = Chapter("02-test")
    page.close()
    assert [*page.notes] == ["ch2_run_time"]


def test_the_public_claim_goes_to_the_open_chapter(claims):
    first = Chapter("01-test")
    second = Chapter("02-test")
    symvi.claim("own-a", "a", True, n=1, caveat="but")
    first.close()  # not the one that is open
    symvi.claim("own-b", "b", True, n=1)
    assert first.claims == []
    assert second.claims == ledger.read_ledger(claims)
    assert [c.id for c in second.claims] == ["own-a", "own-b"]


def test_claim_without_a_chapter():
    message = r"claim: expected an open chapter, got none; begin with .*symvi.book.Chapter"
    with pytest.raises(ValueError, match=message):
        symvi.claim("own-a", "a", True, n=1)


@pytest.mark.parametrize("name", ["", "book/01-test", "01-test.ipynb", "01 Test", None, "-a", 3])
def test_bad_chapter_names(name):
    message = r"chapter: expected lower-case.*got .*; pass the notebook's stem"
    with pytest.raises(ValueError, match=message):
        Chapter(name)


def test_an_asserted_claim_that_fails_is_recorded_then_raises(claims):
    page = Chapter("01-test")
    with pytest.raises(AssertionError, match=r"asserted claim does not hold.*own-a.*x = 3"):
        page.claim("own-a", "x is two", False, x=3)
    assert ledger.read_ledger(claims)[0].verdict == "not reproduced"


def test_an_id_comes_once_in_a_chapter():
    page = Chapter("01-test")
    page.claim("own-a", "a", True, n=1)
    message = r"expected an id not yet used in 01-test, got 'own-a' again"
    with pytest.raises(ValueError, match=message):
        page.claim("own-a", "b", True, n=1)


def test_without_the_variable_claims_go_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SYMVI_CLAIMS")
    monkeypatch.chdir(tmp_path)
    page = Chapter("01-test")
    monkeypatch.chdir("/")  # a later change of folder does not move the chapter's file
    page.claim("own-a", "a", True, n=1)
    assert (tmp_path / "claims" / "01-test.json").is_file()


def test_inside_ipython_the_record_is_displayed(claims, monkeypatch, capsys):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(chapter, "_in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", shown.append)
    Chapter("01-test").claim("own-a", "a", True, n=1)
    assert shown == ledger.read_ledger(claims)
    assert capsys.readouterr().out == ""


RUN = """
    import symvi
    page = symvi.book.Chapter("01-a")
    page.note("x", 2)
    page.claim("own-a", "a", True, n=1)
    page.close()
"""
IN_IPYTHON = """
    import json
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    shell = InteractiveShell.instance()
    with capture_output() as seen:
        result = shell.run_cell(CODE)
    result.raise_error()
    assert seen.stdout == seen.stderr == "", seen.stdout + seen.stderr
    print(json.dumps([output.data for output in seen.outputs]))
"""
WITHOUT_MYST = "import sys; sys.modules['myst_nb'] = None\n"


def run(code, folder) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_ipython(folder, before: str = "") -> list[dict]:
    code = f"CODE = {textwrap.dedent(RUN)!r}\n{before}{textwrap.dedent(IN_IPYTHON)}"
    return json.loads(run(code, folder))


def test_in_a_notebook(tmp_path):
    number, box, seconds, gigabytes = in_ipython(tmp_path)
    assert number == {"application/papermill.record/text/plain": "2"}
    assert 'id="claim-own-a"' in box["text/html"]
    assert "own-a" in box["text/plain"]
    assert seconds == {"application/papermill.record/text/plain": "5"}
    assert 0 < float(gigabytes["application/papermill.record/text/plain"]) < 10


def test_in_a_kernel_without_the_books_packages(tmp_path):
    """In Colab the first cell once failed: from myst_nb import glue."""
    (box,) = in_ipython(tmp_path, WITHOUT_MYST)
    assert 'id="claim-own-a"' in box["text/html"]


@pytest.mark.parametrize("before", ["", WITHOUT_MYST])
def test_in_a_script(tmp_path, before):
    line = run(before + textwrap.dedent(RUN), tmp_path)
    assert line == "✓ reproduced: own-a. a Measured: n = 1.\n"
