"""No stale number survives a build: the cache of executed notebooks knows every file that they read."""

from __future__ import annotations

import importlib.util
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
