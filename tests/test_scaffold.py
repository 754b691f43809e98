"""What holds the project together: the pins, the README's example, the build's cache, the notebooks, the API page."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import subprocess
import sys
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


def test_requirements_are_exact_pins():
    lines = [
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()
    ]
    pins = [line for line in lines if line]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", pin)] == []


def test_package_depends_only_on_pinned_packages():
    import tomllib

    wanted = {
        re.match(r"[A-Za-z0-9_-]+", d)[0]
        for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    assert wanted - pinned == set()


def test_readme_example_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert all(len(example.splitlines()) <= 12 for example in examples)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", "\n".join(examples)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    first, *table = done.stdout.splitlines()
    assert re.fullmatch(r"L_G = -?\d+\.\d nats, I = \d+\.\d\d of 6\.58", first), first
    assert [line.split()[0] for line in table[-3:]] == ["weights", "aligned", "functions"]


def test_repository_url_is_the_same_everywhere():
    url = "https://github.com/symmetry-vi/symmetry-and-variational-inference"
    for name in ("_config.yml", "pyproject.toml", "CITATION.cff"):
        found = re.findall(
            r"https://github\.com/[\w./-]+", (ROOT / name).read_text(encoding="utf-8")
        )
        assert found, name
        assert set(found) == {url}, name


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


def test_api_page_documents_every_public_name():
    page = (BOOK / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"auto(?:class|function|module):: symvi\.?([\w.]*)", page))
    assert set(symvi.__all__) - documented == set()


@pytest.mark.parametrize("name", symvi.__all__)
def test_public_names_have_docstrings(name):
    thing = getattr(symvi, name)
    assert len(inspect.getdoc(thing) or "") > 20
    if inspect.isclass(thing):
        public = [(k, v) for k, v in vars(thing).items() if not k.startswith("_")]
        bare = [
            k
            for k, v in public
            if (inspect.isfunction(v) or isinstance(v, property))
            and not inspect.getdoc(getattr(thing, k))
        ]
        assert bare == []
        # napoleon reads "word: rest" in the first line of a property as "type: text", and the page loses the first half
        assert [
            k
            for k, v in public
            if isinstance(v, property)
            and ":" in inspect.getdoc(getattr(thing, k)).split("\n")[0].replace(":class:", "")
        ] == []


def test_package_stays_readable():
    assert [
        p.name
        for p in (ROOT / "symvi").rglob("*.py")
        if len(p.read_text(encoding="utf-8").splitlines()) > 700
    ] == []


@pytest.mark.parametrize("name", ["a b", "ünï cödé", "it's 100 % $HOME"])
def test_make_stays_in_its_folder(tmp_path, name):
    """In a folder whose path has a space, `make test` once removed a neighbouring folder."""
    project = tmp_path / name
    bin_ = project / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (project / "_build" / "claims-fresh").mkdir(parents=True)
    beside = tmp_path / name.split()[0]
    beside.mkdir(exist_ok=True)
    (beside / "precious").write_text("keep me", encoding="utf-8")
    for file in ("Makefile", "requirements.txt", "pyproject.toml"):
        (project / file).write_bytes((ROOT / file).read_bytes())
    for tool in ("python", "ruff", "jupyter-book"):  # each notes where it was told to write
        (bin_ / tool).write_text(
            f'#!/bin/sh\necho "{tool}: $SYMVI_CLAIMS: $JAX_COMPILATION_CACHE_DIR" >> log\n',
            encoding="utf-8",
        )
        (bin_ / tool).chmod(0o755)
    (project / ".venv" / ".ready").touch()
    for target in ("test", "book"):
        done = subprocess.run(
            ["make", target], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (beside / "precious").read_text(encoding="utf-8") == "keep me"
    log = (project / "log").read_text(encoding="utf-8")
    assert f"{project}/_build/claims-fresh: {project}/_build/jax" in log
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({name, beside.name})


def test_make_refuses_a_folder_that_cannot_work(tmp_path):
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    done = subprocess.run(
        ["make", "book"], cwd=tmp_path / "a:b", capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "move this folder" in done.stderr
