"""The notebooks: whole, without outputs, with alt texts, claims and checks."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from symvi.book import ledger

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]-*.ipynb"))
APPENDICES = sorted(BOOK.glob("appendix-*.ipynb"))  # their claims count as a chapter's do
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
COUNTED = [*CHAPTERS, *APPENDICES, BOOK / "cost.ipynb"]  # whose numbers go through a Chapter
SKIPPING_TAGS = {
    "skip-execution",
    "nbval-skip",
    "nbval-ignore-output",
    "nbval-raises-exception",
    "raises-exception",
}
HIDING_TAGS = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
# (notebook, cell id) of cells that the book or the tests do not run or may fail
EXEMPT_CELLS: set[tuple[str, str]] = set()


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def parsed(path: Path) -> ast.Module:
    return ast.parse("\n".join(source(cell) for cell in code_cells(path)))


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a function or method called `name`, comments and strings left out."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [c for c in found if name in (getattr(c.func, "attr", ""), getattr(c.func, "id", ""))]


def test_contents_lists_every_page():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?:root|file): book/(\S+)", contents))
    assert listed == {p.stem for p in [*BOOK.glob("*.md"), *NOTEBOOKS]}


def is_exempt(cell: dict) -> bool:
    tags = set(cell["metadata"].get("tags", []))
    return bool(SKIPPING_TAGS & tags) or "NBVAL_" in source(cell) or "%%" in source(cell)


def lacks_alt_text(cell: dict) -> bool:
    """Whether a cell shows a figure without saying in words what it shows."""
    code = source(cell)
    draws = re.search(r"plt\.(subplots|figure)\(|\.plot_\w+\(", code)
    moves = "to_jshtml" in code or "plt.close(" in code
    image = cell["metadata"].get("mystnb", {}).get("image", {})
    return bool(draws) and not moves and not image.get("alt")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_has_no_outputs(self, path):
        ran = [c["id"] for c in code_cells(path) if c["outputs"] or c["execution_count"]]
        assert ran == []

    def test_is_executed_whole(self, path):
        """No cell is skipped or may fail unless it is listed above; no magic hides errors."""
        mystnb = load(path)["metadata"].get("mystnb", {})
        assert mystnb.get("execution_mode", "cache") in {"cache", "force"}
        assert not mystnb.get("execution_allow_errors", False)
        exempt = {(path.stem, cell["id"]) for cell in code_cells(path) if is_exempt(cell)}
        assert exempt - EXEMPT_CELLS == set()

    def test_figures_have_alt_text(self, path):
        assert [cell["id"] for cell in code_cells(path) if lacks_alt_text(cell)] == []

    def test_the_announcement_of_arviz_is_not_shown(self, path):
        """ArviZ 0.23 prints one when it is first imported on a day, with the machine's paths."""
        imports = [c for c in code_cells(path) if re.search(r"^import arviz", source(c), re.M)]
        tags = [cell["metadata"].get("tags", []) for cell in imports]
        assert all("remove-stderr" in one for one in tags)

    def test_says_that_it_is_python(self, path):
        """Without these, `jupyter nbconvert --to script` writes a .txt."""
        language = load(path)["metadata"]["language_info"]
        found = {key: language.get(key) for key in ("name", "file_extension", "nbconvert_exporter")}
        assert found == {"name": "python", "file_extension": ".py", "nbconvert_exporter": "python"}


def first_cell(path: Path) -> str:
    return source(code_cells(path)[0])


def test_every_notebook_installs_what_it_needs():
    """The same first cell in all, with the address in _config.yml; the page does not show it."""
    assert len({first_cell(path) for path in NOTEBOOKS}) == 1
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    address = re.search(r"^repository:\n  url: (\S+)", config, re.M)[1]
    assert f'BOOK = "{address}"' in first_cell(NOTEBOOKS[0])
    assert all(not visible(code_cells(path)[0]) for path in NOTEBOOKS)


def run_first_cell(folder: Path, monkeypatch, *, installed: bool) -> list[list[str]]:
    """The commands that the cell runs in `folder`, with symvi installed or not."""
    commands = []

    def run(command, check):
        commands.append(command)
        if "clone" in command:
            (folder / command[-1] / "book").mkdir(parents=True)

    monkeypatch.chdir(folder)
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if installed else None)
    exec(first_cell(NOTEBOOKS[0]), {})
    return commands


def test_the_first_cell_fetches_the_book_where_symvi_is_missing(tmp_path, monkeypatch):
    fetched, installed = run_first_cell(tmp_path, monkeypatch, installed=False)
    assert fetched[:2] == ["git", "clone"]
    assert installed[1:] == ["-m", "pip", "install", "--quiet", "./symvi-book[all]"]
    assert Path.cwd() == tmp_path / "symvi-book" / "book"


def test_the_first_cell_skips_what_is_there(tmp_path, monkeypatch):
    assert run_first_cell(tmp_path, monkeypatch, installed=True) == []
    assert Path.cwd() == tmp_path
    (tmp_path / "symvi-book" / "book").mkdir(parents=True)  # a restarted kernel
    (only,) = run_first_cell(tmp_path, monkeypatch, installed=False)
    assert only[-1] == "./symvi-book[all]"
    assert Path.cwd() == tmp_path / "symvi-book" / "book"


def visible(cell: dict) -> bool:
    """Whether the page shows the code, without a click."""
    return not HIDING_TAGS & set(cell["metadata"].get("tags", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_visible_cells_are_for_readers(path):
    """At most 25 lines, no line cut off, and no bookkeeping: what a reader would write."""
    faults = []
    for cell in code_cells(path):
        lines = source(cell).splitlines()
        if any(len(line) > 80 for line in lines):
            faults.append((cell["id"], "a line of more than 80 characters"))
        if visible(cell) and len(lines) > 25:
            faults.append((cell["id"], f"{len(lines)} lines"))
        if visible(cell) and re.search(r"\.(claim|note)\(", source(cell)):
            faults.append((cell["id"], "a claim or a note"))
    assert faults == []


def may_fail(claim: ast.Call) -> bool:
    """Whether a claim need not hold: asserted=False, or computed."""
    (given,) = [k.value for k in claim.keywords if k.arg == "asserted"] or [ast.Constant(True)]
    return not (isinstance(given, ast.Constant) and given.value is True)


@pytest.mark.parametrize("path", COUNTED, ids=lambda p: p.stem)
def test_a_chapter_keeps_one_record(path):
    """Its numbers and claims go through one Chapter of its name, opened first and closed last."""
    _, first, *_, last = [ast.parse(source(cell)) for cell in code_cells(path)]
    (opened,) = calls(first, "Chapter")
    assert opened.args[0].value == path.stem
    assert ast.unparse(last.body[-1]) == "chapter.close()"
    whole = parsed(path)
    assert len(calls(whole, "Chapter")) == 1
    for name in ("claim", "note", "close"):
        owners = {ast.unparse(call.func) for call in calls(whole, name)}
        assert owners <= {f"chapter.{name}", "plt.close"}
    assert calls(whole, "glue") == []


@pytest.mark.parametrize("path", COUNTED, ids=lambda p: p.stem)
def test_a_chapter_states_its_time_and_memory(path):
    """In its first cell, as measured by its own run."""
    number = re.match(r"[0-9]+", path.stem)
    prefix = f"ch{int(number[0])}" if number else path.stem.replace("-", "_")
    time, memory = f"{prefix}_run_time", f"{prefix}_peak_memory"
    stated = rf"{{glue:text}}`{time}(:\.0f)?` s and {{glue:text}}`{memory}:\.1f` GB on two cores\."
    assert re.search(stated, source(load(path)["cells"][0]))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
class TestChapter:
    def test_carries_asserted_claims_and_checks(self, path):
        """A chapter cannot pass vacuously: asserted claims, and asserted facts in between."""
        tree = parsed(path)
        claims = calls(tree, "claim")
        assert [claim for claim in claims if not may_fail(claim)] != []
        typed = [claim.lineno for claim in claims if isinstance(claim.args[2], ast.Constant)]
        assert typed == [], "holds must be computed"
        asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        assert len(asserts) >= 3
        assert [a.lineno for a in asserts if isinstance(a.test, ast.Constant)] == []


@pytest.mark.parametrize("path", [*CHAPTERS, *APPENDICES], ids=lambda p: p.stem)
def test_every_claim_is_recorded(path):
    """Each claim of the code has a committed record, and no record is of an older text."""
    records = [c for c in ledger.read_ledger(BOOK / "claims") if c.chapter == path.stem]
    recorded = {claim.id for claim in records}
    names = [claim.args[0] for claim in calls(parsed(path), "claim")]
    stated = {name.value for name in names if isinstance(name, ast.Constant)}
    assert stated <= recorded
    if all(isinstance(name, ast.Constant) for name in names):
        assert recorded == stated


def test_every_claims_file_belongs_to_a_chapter():
    assert {p.stem for p in (BOOK / "claims").glob("*.json")} <= {
        p.stem for p in [*CHAPTERS, *APPENDICES]
    }


def test_pages_name_the_ledger_once():
    """Its title has an article: "the {doc}`ledger`" once showed "the The claims ledger"."""
    for path in [*BOOK.glob("*.md"), *NOTEBOOKS]:
        assert not re.search(r"\b[Tt]he \{doc\}`ledger`", path.read_text(encoding="utf-8")), path
