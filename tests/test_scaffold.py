"""What holds the book together: the build's cache and the notebooks."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

import symvi

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]-*.ipynb"))
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
SKIPPING_TAGS = {
    "skip-execution",
    "nbval-skip",
    "nbval-ignore-output",
    "nbval-raises-exception",
    "raises-exception",
}
EXEMPT_CELLS: set[tuple[str, str]] = (
    set()
)  # (notebook, cell id) of cells that the book or the tests do not run or may fail


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


@pytest.fixture(scope="module")
def stale_cache():
    spec = importlib.util.spec_from_file_location("stale_cache", BOOK / "_ext" / "stale_cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestStaleCache:
    """A change to symvi or to a pin empties the cache of executed notebooks; nothing else does."""

    @pytest.fixture
    def project(self, tmp_path):
        (tmp_path / "symvi").mkdir()
        (tmp_path / "symvi" / "vi.py").write_text("a = 1\n")
        (tmp_path / "symvi" / "mcycle.csv").write_text("times,accel\n")
        (tmp_path / "requirements.txt").write_text("jax==1\n")
        return tmp_path

    @staticmethod
    def fill(project):
        (project / "_build" / ".jupyter_cache").mkdir(parents=True, exist_ok=True)

    def test_first_build_has_nothing_to_drop(self, stale_cache, project):
        assert stale_cache.drop_stale_cache(project, project / "_build") is False

    def test_unchanged_inputs_keep_the_cache(self, stale_cache, project):
        stale_cache.drop_stale_cache(project, project / "_build")
        self.fill(project)
        (project / "symvi" / "__pycache__").mkdir()
        (project / "symvi" / "__pycache__" / "vi.pyc").write_text("")
        (project / "README.md").write_text("text")
        assert stale_cache.drop_stale_cache(project, project / "_build") is False
        assert (project / "_build" / ".jupyter_cache").exists()

    @pytest.mark.parametrize(
        "changed", ["symvi/vi.py", "symvi/mcycle.csv", "symvi/new.py", "requirements.txt"]
    )
    def test_any_changed_input_drops_the_cache_once(self, stale_cache, project, changed):
        stale_cache.drop_stale_cache(project, project / "_build")
        self.fill(project)
        (project / changed).write_text("changed\n")
        assert stale_cache.drop_stale_cache(project, project / "_build") is True
        assert not (project / "_build" / ".jupyter_cache").exists()
        self.fill(project)
        assert stale_cache.drop_stale_cache(project, project / "_build") is False

    def test_a_removed_or_renamed_file_drops_the_cache(self, stale_cache, project):
        stale_cache.drop_stale_cache(project, project / "_build")
        self.fill(project)
        (project / "symvi" / "vi.py").rename(project / "symvi" / "fit.py")
        assert stale_cache.drop_stale_cache(project, project / "_build") is True

    def test_a_cache_of_unknown_origin_is_dropped(self, stale_cache, project):
        self.fill(project)
        assert stale_cache.drop_stale_cache(project, project / "_build") is True

    def test_make_book_runs_it_before_the_build(self):
        makefile = (ROOT / "Makefile").read_text()
        assert 0 < makefile.index("stale_cache.py") < makefile.index("jupyter-book build")


def test_contents_lists_every_page():
    listed = set(re.findall(r"(?:root|file): book/(\S+)", (ROOT / "_toc.yml").read_text()))
    assert listed == {p.stem for p in [*BOOK.glob("*.md"), *NOTEBOOKS]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_has_no_outputs(self, path):
        assert [
            cell["id"] for cell in code_cells(path) if cell["outputs"] or cell["execution_count"]
        ] == []

    def test_is_executed_whole(self, path):
        """No cell is skipped or allowed to fail unless it is listed above; no magic hides errors."""
        notebook = load(path)
        mystnb = notebook["metadata"].get("mystnb", {})
        assert mystnb.get("execution_mode", "cache") in {"cache", "force"}
        assert not mystnb.get("execution_allow_errors", False)
        exempt = {
            (path.stem, c["id"])
            for c in code_cells(path)
            if SKIPPING_TAGS & set(c["metadata"].get("tags", []))
            or "NBVAL_" in source(c)
            or "%%" in source(c)
        }
        assert exempt - EXEMPT_CELLS == set()

    def test_figures_have_alt_text(self, path):
        """A cell that shows a figure says in words what it shows."""
        silent = [
            c["id"]
            for c in code_cells(path)
            if re.search(r"plt\.(subplots|figure)\(|\.plot_\w+\(", source(c))
            and "glue(" not in source(c)
            and "to_jshtml" not in source(c)
            and not re.search(r"plt\.close\(", source(c))
            and not c["metadata"].get("mystnb", {}).get("image", {}).get("alt")
        ]
        assert silent == []


def calls(path: Path, name: str) -> list[ast.Call]:
    """The calls of a function or method called `name` in a notebook's code, comments and strings left out."""
    tree = ast.parse("\n".join(source(cell) for cell in code_cells(path)))
    return [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call)
        and name in (getattr(n.func, "attr", None), getattr(n.func, "id", None))
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
class TestChapter:
    def test_carries_asserted_claims_and_checks(self, path):
        """A chapter cannot pass vacuously: it records claims, at least one of them asserted, and asserts facts in between."""
        (begin,) = calls(path, "begin")
        assert begin.args[0].value == path.stem
        claims = calls(path, "claim")
        free = [
            c
            for c in claims
            if any(
                k.arg == "asserted"
                and not (isinstance(k.value, ast.Constant) and k.value.value is True)
                for k in c.keywords
            )
        ]
        assert len(claims) > len(free)
        assert not [c for c in claims if isinstance(c.args[2], ast.Constant)], (
            "holds must be computed"
        )
        tree = ast.parse("\n".join(source(cell) for cell in code_cells(path)))
        asserts = [n for n in ast.walk(tree) if isinstance(n, ast.Assert)]
        assert len(asserts) >= 3
        assert not [a.lineno for a in asserts if isinstance(a.test, ast.Constant)]

    def test_every_claim_is_recorded(self, path):
        """Each claim that the code states has a committed record, and no record is left from an older text."""
        recorded = {
            claim.id
            for claim in symvi.book.ledger.read_ledger(BOOK / "claims")
            if claim.chapter == path.stem
        }
        stated = {
            c.args[0].value for c in calls(path, "claim") if isinstance(c.args[0], ast.Constant)
        }
        assert stated <= recorded
        if all(isinstance(c.args[0], ast.Constant) for c in calls(path, "claim")):
            assert recorded == stated


def test_every_claims_file_belongs_to_a_chapter():
    assert {p.stem for p in (BOOK / "claims").glob("*.json")} <= {p.stem for p in CHAPTERS}
