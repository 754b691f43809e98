"""No stale number survives a build: the cache knows every file that notebooks read."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"


@pytest.fixture(scope="module")
def stale_cache():
    spec = importlib.util.spec_from_file_location("stale_cache", BOOK / "_ext" / "stale_cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


READ = [
    "symvi/vi.py",
    "symvi/data/mcycle.csv",
    "symvi/truth/reference/digits.nc",
    "book/results/mnist.json",
    "book/reproduce/mnist_table.py",
    "requirements.txt",
]
CLAIMS = "book/claims/01-test.json"


@pytest.fixture
def project(tmp_path):
    for name in [*READ, CLAIMS]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    return tmp_path


def fill(project):
    (project / "_build" / ".jupyter_cache").mkdir(parents=True, exist_ok=True)


def change_one_byte(path):
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


class TestStaleCache:
    """A change to what notebooks read empties their cache; nothing else does."""

    def test_first_build_has_nothing_to_drop(self, stale_cache, project):
        assert stale_cache.drop_stale_cache(project, project / "_build") is False

    def test_unchanged_inputs_keep_the_cache(self, stale_cache, project):
        stale_cache.drop_stale_cache(project, project / "_build")
        fill(project)
        ruff = "book/reproduce/.ruff_cache"
        (project / ruff).mkdir(parents=True)
        for name in ("symvi/vi.pyc", "book/results/.mnist.json-1.tmp", "README.md", f"{ruff}/1"):
            (project / name).write_text("text", encoding="utf-8")
        assert stale_cache.drop_stale_cache(project, project / "_build") is False
        assert (project / "_build" / ".jupyter_cache").exists()

    @pytest.mark.parametrize("changed", [*READ, CLAIMS])
    def test_one_changed_byte_drops_the_cache_once(self, stale_cache, project, changed):
        build = project / "_build"
        stale_cache.drop_stale_cache(project, build)
        fill(project)
        change_one_byte(project / changed)
        assert stale_cache.drop_stale_cache(project, build) is True
        assert not (build / ".jupyter_cache").exists()
        fill(project)
        assert stale_cache.drop_stale_cache(project, build) is False

    def test_claims_that_the_build_wrote_keep_the_cache(self, stale_cache, project):
        build = project / "_build"
        stale_cache.drop_stale_cache(project, build)
        fill(project)
        change_one_byte(project / CLAIMS)
        stale_cache.note_claims(project, build)
        assert stale_cache.drop_stale_cache(project, build) is False

    @pytest.mark.parametrize("name", READ[:-1])
    def test_a_renamed_file_drops_the_cache(self, stale_cache, project, name):
        stale_cache.drop_stale_cache(project, project / "_build")
        fill(project)
        (project / name).rename(project / f"{name}.x")
        assert stale_cache.drop_stale_cache(project, project / "_build") is True

    def test_a_cache_of_unknown_origin_is_dropped(self, stale_cache, project):
        fill(project)
        assert stale_cache.drop_stale_cache(project, project / "_build") is True

    def test_the_build_uses_it(self):
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert 0 < makefile.index("stale_cache.py") < makefile.index("jupyter-book build")
        assert "    stale_cache: book/_ext\n" in (ROOT / "_config.yml").read_text(encoding="utf-8")


def read_by(notebook: Path) -> set[Path]:
    """The files beside the notebook that its code names, by path or by import."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nodes = list(ast.walk(ast.parse("\n".join(code))))
    names = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    imports = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names = {name for name in names if 0 < len(name) < 200 and "\n" not in name}
    paths = {BOOK / name for name in names} | {BOOK / "reproduce" / f"{i}.py" for i in imports}
    return {path for path in paths if path.is_file()}


def test_every_file_that_a_notebook_reads_is_known(stale_cache):
    read = set().union(*map(read_by, sorted(BOOK.glob("*.ipynb"))))
    assert {p.name for p in read} >= {"mnist.json", "evidence.json", "mnist_table.py"}
    assert read - set(stale_cache.inputs(ROOT)) == set()
