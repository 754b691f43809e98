"""Files are written whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from symvi import files

ROOT = Path(__file__).resolve().parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWholeFile:
    def test_it_appears_when_the_block_ends(self, tmp_path):
        path = tmp_path / "new" / "folder" / "a.txt"
        with files.whole_file(path) as partial:
            partial.write_text("whole", encoding="utf-8")
            assert partial.parent == path.parent
            assert not path.exists()
        assert path.read_text(encoding="utf-8") == "whole"
        assert names(path.parent) == ["a.txt"]

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    def test_an_error_leaves_what_was_there(self, tmp_path, error):
        path = tmp_path / "a.txt"
        files.write_text(path, "before")
        whole = files.whole_file(path)
        with pytest.raises(error, match="on the way"), whole as partial:  # noqa: PT012
            partial.write_text("half", encoding="utf-8")
            raise error("on the way")
        assert path.read_text(encoding="utf-8") == "before"
        assert names(tmp_path) == ["a.txt"]

    def test_a_kill_leaves_what_was_there(self, tmp_path):
        """SIGKILL gives no block a chance to clean up."""
        path = tmp_path / "a.txt"
        files.write_text(path, "before")
        script = f"""
            import time
            from symvi import files
            with files.whole_file({str(path)!r}) as partial:
                partial.write_text("half")
                print("writing", flush=True)
                time.sleep(60)
        """
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        with writer:
            assert writer.stdout.readline() == "writing\n"
            writer.send_signal(signal.SIGKILL)
            writer.wait(timeout=30)
        assert path.read_text(encoding="utf-8") == "before"
        (left,) = [name for name in names(tmp_path) if name != "a.txt"]
        long_ago = time.time() - 2 * files.STALE
        os.utime(tmp_path / left, (long_ago, long_ago))
        files.write_text(path, "after")
        assert path.read_text(encoding="utf-8") == "after"
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_permissions_follow_the_umask(self, tmp_path, umask, mode):
        before = os.umask(umask)
        try:
            files.write_text(tmp_path / "a.txt", "text")
        finally:
            after = os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode
        assert after == umask  # reading the umask did not change it


class TestLeftovers:
    def leave(self, folder: Path, name: str, age: float) -> Path:
        left = folder / name
        left.write_text("half", encoding="utf-8")
        then = time.time() - age
        os.utime(left, (then, then))
        return left

    def test_those_older_than_ten_minutes_go(self, tmp_path):
        assert files.STALE == 600.0
        old = self.leave(tmp_path, ".a.txt-k1ll3d.tmp", 601)
        files.write_text(tmp_path / "a.txt", "text")
        assert not old.exists()

    def test_younger_ones_may_be_somebodys_work(self, tmp_path):
        young = self.leave(tmp_path, ".a.txt-bu5y.tmp", 590)
        files.write_text(tmp_path / "a.txt", "text")
        assert young.exists()

    @pytest.mark.parametrize("name", [".b.txt-x.tmp", "a.txt-x.tmp", ".a.txt-x.npz", "precious"])
    def test_other_files_stay(self, tmp_path, name):
        other = self.leave(tmp_path, name, 10_000)
        files.write_text(tmp_path / "a.txt", "text")
        assert other.exists()


class TestWhatCannotBeWritten:
    def test_a_folder_that_cannot_be_made(self, tmp_path):
        """Below a file there is no folder, for anybody."""
        (tmp_path / "file").write_text("", encoding="utf-8")
        path = tmp_path / "file" / "a.txt"
        with pytest.raises(OSError, match=r"a.txt") as raised:
            files.write_text(path, "text")
        assert raised.value.filename == str(path)

    def test_a_read_only_folder_names_the_file(self, tmp_path, monkeypatch):
        def refused(**_):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(files.tempfile, "mkstemp", refused)
        with pytest.raises(PermissionError, match=r"a.txt"):
            files.write_text(tmp_path / "a.txt", "text")

    def test_a_full_disk_names_the_file_and_keeps_the_old_one(self, tmp_path):
        path = tmp_path / "a.txt"
        files.write_text(path, "before")
        with pytest.raises(OSError, match=r"a.txt") as raised, files.whole_file(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert raised.value.errno == errno.ENOSPC
        assert path.read_text(encoding="utf-8") == "before"
        assert names(tmp_path) == ["a.txt"]

    def test_a_folder_in_its_place(self, tmp_path):
        (tmp_path / "a.txt").mkdir()
        with pytest.raises(OSError, match=r"a.txt"):
            files.write_text(tmp_path / "a.txt", "text")
        assert names(tmp_path) == ["a.txt"]


class TestWholeFolder:
    def fill(self, path: Path, error: BaseException | None = None) -> None:
        with files.whole_folder(path) as partial:
            files.write_text(partial / "below" / "a.txt", "whole")
            assert partial.parent == path.parent
            if error:
                raise error

    @pytest.mark.parametrize("empty", [False, True])
    def test_it_appears_when_the_block_ends(self, tmp_path, empty):
        path = tmp_path / "new" / "folder"
        if empty:
            path.mkdir(parents=True)
        self.fill(path)
        assert names(path.parent) == ["folder"]
        assert (path / "below" / "a.txt").read_text(encoding="utf-8") == "whole"

    def test_a_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with files.whole_folder("folder") as partial:
            files.write_text(partial / "a.txt", "whole")
        assert names(tmp_path / "folder") == ["a.txt"]

    @pytest.mark.parametrize("error", [KeyError("a"), KeyboardInterrupt(), SystemExit()])
    def test_an_error_leaves_what_was_there(self, tmp_path, error):
        with pytest.raises(type(error)):
            self.fill(tmp_path / "folder", error)
        assert names(tmp_path) == []

    def test_a_folder_with_something_in_it_stays(self, tmp_path):
        path = tmp_path / "folder"
        files.write_text(path / "precious", "keep me")
        with pytest.raises(OSError, match="folder") as raised:
            self.fill(path)
        assert raised.value.filename == str(path)
        assert names(tmp_path) == ["folder"]
        assert names(path) == ["precious"]

    def test_a_file_in_its_place_stays(self, tmp_path):
        path = tmp_path / "folder"
        files.write_text(path, "keep me")
        with pytest.raises(NotADirectoryError, match="folder"):
            self.fill(path)
        assert path.read_text(encoding="utf-8") == "keep me"
        assert names(tmp_path) == ["folder"]

    def test_a_full_disk_names_the_folder(self, tmp_path):
        with pytest.raises(OSError, match=r"No space.*folder"):
            self.fill(tmp_path / "folder", OSError(errno.ENOSPC, "No space left on device"))
        assert names(tmp_path) == []

    def test_what_a_killed_writer_left_goes(self, tmp_path):
        left = tmp_path / ".folder-k1ll3d.tmp"
        files.write_text(left / "a.txt", "half")
        then = time.time() - 2 * files.STALE
        os.utime(left, (then, then))
        self.fill(tmp_path / "folder")
        assert names(tmp_path) == ["folder"]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
    def test_permissions_follow_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            self.fill(tmp_path / "folder")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(OSError, match="folder") as raised:
            self.fill(tmp_path / "file" / "folder")
        assert raised.value.filename == str(tmp_path / "file" / "folder")


def test_text_is_utf8_with_plain_line_ends(tmp_path):
    files.write_text(tmp_path / "a.txt", "σ ≤ 1\nλ\n")
    assert (tmp_path / "a.txt").read_bytes() == "σ ≤ 1\nλ\n".encode()
