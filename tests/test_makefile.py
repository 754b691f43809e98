"""make works in its own folder, whatever that is called, and says in one line what it cannot do."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(target: str, *settings: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", target, *settings], cwd=cwd, capture_output=True, text=True, check=False
    )


def project_with_tools(folder: Path, script: str) -> Path:
    """A folder with our Makefile whose tools are shell scripts, so that nothing is installed."""
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    for tool in ("python", "ruff", "jupyter-book"):
        (tools / tool).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tools / tool).chmod(0o755)
    (folder / ".venv" / ".ready").touch()
    return folder


@pytest.mark.parametrize("name", ["a b", "ünï cödé", "it's 100 % $HOME"])
def test_make_stays_in_its_folder(tmp_path, name):
    """In a folder whose path has a space, `make test` once removed a neighbouring folder."""
    notes = 'echo "$SYMVI_CLAIMS: $JAX_COMPILATION_CACHE_DIR" >> log'
    project = project_with_tools(tmp_path / name, notes)
    (project / "_build" / "claims-fresh").mkdir(parents=True)
    beside = tmp_path / name.split()[0]
    beside.mkdir(exist_ok=True)
    (beside / "precious").write_text("keep me", encoding="utf-8")
    for target in ("test", "book"):
        done = make(target, cwd=project)
        assert done.returncode == 0, done.stderr
    assert (beside / "precious").read_text(encoding="utf-8") == "keep me"
    log = (project / "log").read_text(encoding="utf-8")
    assert f"{project}/_build/claims-fresh: {project}/_build/jax" in log
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({name, beside.name})


def test_make_refuses_a_folder_that_cannot_work(tmp_path):
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    done = make("book", cwd=tmp_path / "a:b")
    assert done.returncode != 0
    assert "move this folder" in done.stderr


def test_make_test_checks_everything(tmp_path):
    """Lint, layout, tests, chapters and the ledger; each must be able to fail the whole."""
    project = project_with_tools(tmp_path / "p", 'echo "${0##*/} $*" >> log')
    assert make("test", cwd=project).returncode == 0
    steps = (project / "log").read_text(encoding="utf-8").splitlines()
    wanted = ["ruff check .", "ruff format --check .", "pytest tests", "pytest book", "compare"]
    assert len(steps) == len(wanted)
    for step, part in zip(steps, wanted, strict=True):
        assert part in step


def test_make_links_executes_no_chapter(tmp_path):
    """It builds the book as it is, with a network or not, and runs none of its cells."""
    program = "from jupyter_book.cli.main import main; main()"
    run = f"""exec '{sys.executable}' -c '{program}' "$@\""""
    project = project_with_tools(tmp_path / "p", run)
    (project / "_config.yml").write_text("execute:\n  execute_notebooks: cache\n", encoding="utf-8")
    (project / "_toc.yml").write_text("format: jb-book\nroot: page\n", encoding="utf-8")
    cell = nbformat.v4.new_code_cell("open('executed', 'w').close()")
    text = nbformat.v4.new_markdown_cell("# Title\n\n[a link](mailto:somebody@example.com)")
    nbformat.write(nbformat.v4.new_notebook(cells=[text, cell]), project / "page.ipynb")
    done = make("links", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "_build" / "links" / "_build" / "html" / "output.json").is_file()
    assert list(project.rglob("executed")) == []


def test_the_settings_that_make_links_changes_are_there():
    assert "execute_notebooks: cache" in (ROOT / "_config.yml").read_text(encoding="utf-8")


class TestServe:
    @pytest.fixture
    def project(self, tmp_path):
        project = project_with_tools(tmp_path / "p", f'exec "{sys.executable}" "$@"')
        (project / "_build" / "html").mkdir(parents=True)
        (project / "_build" / "html" / "index.html").write_text("book", encoding="utf-8")
        return project

    def test_a_port_that_is_taken(self, project):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = make("serve", f"PORT={port}", cwd=project)
        assert done.returncode != 0
        assert f"Port {port} is taken" in done.stdout
        assert "http://" not in done.stdout
        assert "Traceback" not in done.stdout + done.stderr

    def test_no_port(self, project):
        done = make("serve", "PORT=http", cwd=project)
        assert done.returncode != 0
        assert "choose another" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr

    def test_no_book_yet(self, project):
        (project / "_build" / "html" / "index.html").unlink()
        done = make("serve", cwd=project)
        assert done.returncode != 0
        assert "run make book" in done.stdout
