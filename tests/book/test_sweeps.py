"""Sweeps: every cell once, kept as soon as it is there, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from symvi import sweep
from symvi.book import sweeps

CELLS = [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def work(log):
    """A cell function that notes each call in the folder `log`; nested, so that it travels to the workers by value."""

    def function(a, b):
        import uuid

        (log / f"{a}{b}-{uuid.uuid4().hex}").touch()
        return {"value": a * 10, "array": np.arange(a), "name": b}

    return function


def test_results_come_in_order_and_are_never_computed_twice(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    for _ in range(2):
        found = sweep(work(log), CELLS, tmp_path / "kept", workers=2, progress=False)
        assert found == [
            {"value": 10 * c["a"], "array": list(range(c["a"])), "name": c["b"]} for c in CELLS
        ]
    assert sorted(p.name.split("-")[0] for p in log.iterdir()) == ["1x", "1y", "2x", "2y"]
    files = list((tmp_path / "kept").iterdir())
    assert len(files) == 4 and all(p.suffix == ".json" for p in files)
    assert {json.dumps(json.loads(p.read_text())["cell"]) for p in files} == {
        json.dumps(c) for c in CELLS
    }
    more = sweep(
        work(log), [*CELLS, {"a": 3, "b": "z"}], tmp_path / "kept", workers=1, progress=False
    )
    assert len(more) == 5 and len(list(log.iterdir())) == 5


def test_a_killed_worker_loses_only_its_cell(tmp_path):
    marker, log = tmp_path / "died", tmp_path / "log"
    log.mkdir()

    def function(a, b):
        import os
        import signal

        if a == 2 and b == "x" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"value": f"{a}{b}"}

    found = sweep(function, CELLS, tmp_path / "kept", workers=2, progress=False)
    assert marker.exists()
    assert [f["value"] for f in found] == ["1x", "1y", "2x", "2y"]


def test_failed_cells_are_named_and_the_others_kept(tmp_path):
    mended = tmp_path / "mended"

    def function(a, b):
        if b == "y" and not mended.exists():
            raise ArithmeticError("no good")
        return {"value": a}

    with pytest.raises(
        RuntimeError,
        match=r"expected all of 4 cells to run, 2 failed, the first, .*'b': 'y'.*no good.*mend this and run again",
    ):
        sweep(function, CELLS, tmp_path / "kept", workers=1, progress=False)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    mended.touch()
    assert [
        f["value"] for f in sweep(function, CELLS, tmp_path / "kept", workers=1, progress=False)
    ] == [1, 1, 2, 2]


def test_a_killed_sweep_goes_on_where_it_stopped(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from pathlib import Path
            import symvi

            folder = Path(sys.argv[1])

            def function(a):
                import time
                (folder / f"call-{a}-{time.time_ns()}").touch()
                time.sleep(1.0)
                return {"square": a * a}

            if __name__ == "__main__":
                print(symvi.sweep(function, [{"a": a} for a in range(4)], folder / "kept", workers=1, progress=False))
            """
        )
    )
    command = [sys.executable, str(script), str(tmp_path)]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kept = tmp_path / "kept"
    until = time.time() + 60
    while time.time() < until and len(list(kept.glob("*.json"))) < 2:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {p: p.stat().st_mtime_ns for p in kept.glob("*.json")}
    assert 2 <= len(before) < 4
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([{"square": a * a} for a in range(4)])
    assert {p: p.stat().st_mtime_ns for p in before} == before  # not written again
    calls = [p.name.split("-")[1] for p in tmp_path.glob("call-*")]
    assert len(calls) <= 5  # the one in progress ran twice, no other


def test_a_sweep_killed_while_it_writes_a_result(tmp_path):
    """SIGKILL between writing a file and putting it in place: no half result, and the next run is as if nothing had happened."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from pathlib import Path
            import symvi

            def function(a):
                return {"square": a * a, "many": list(range(2000))}

            def dies(source, target):
                if len(list(Path(target).parent.glob("*.json"))) == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                os.rename(source, target)

            if __name__ == "__main__":
                if sys.argv[2] == "dies":
                    os.replace = dies
                print([r["square"] for r in symvi.sweep(function, [{"a": a} for a in range(3)], sys.argv[1], workers=1, progress=False)])
            """
        )
    )

    def run(how, kept):
        return subprocess.run(
            [sys.executable, str(script), str(kept), how],
            capture_output=True,
            text=True,
            timeout=120,
            start_new_session=True,
        )

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert run("dies", killed).returncode == -signal.SIGKILL
    assert len(list(killed.glob("*.json"))) == 1 and len(list(killed.glob(".*.tmp"))) == 1
    assert run("lives", killed).stdout == run("lives", whole).stdout == "[0, 1, 4]\n"
    assert {p.name: p.read_bytes() for p in killed.iterdir()} == {
        p.name: p.read_bytes() for p in whole.iterdir()
    }


def test_a_write_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        sweeps._write(tmp_path / "cell.json", {"cell": {}, "result": {}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", '{"cell": {}}', "[1, 2]"])
def test_a_damaged_record_is_refused(tmp_path, content):
    path = tmp_path / f"{sweeps._name(CELLS[0])}.json"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=r"expected the record of a cell in .*delete the file and run again"
    ):
        sweep(lambda a, b: {}, CELLS[:1], tmp_path, progress=False)


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([], "expected different dicts, at least one, got 0"),
        ([{"a": 1}, {"a": 1}], "got 2 with 1 repeated; list each setting once"),
        ([{"a": np.arange(2)}], "expected dicts of numbers"),
        ([{"a": float("nan")}], "expected dicts of numbers"),
    ],
)
def test_bad_cells(tmp_path, cells, match):
    with pytest.raises(
        ValueError, match=f"cells: {match}" if match.startswith("expected") else match
    ):
        sweep(lambda a: {}, cells, tmp_path, progress=False)


def test_no_workers(tmp_path):
    with pytest.raises(ValueError, match="workers: expected a whole number >= 1, got 0"):
        sweep(lambda a: {}, [{"a": 1}], tmp_path, workers=0, progress=False)


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "PATIENCE", 2)
    monkeypatch.setenv("SYMVI_SCHEDULER", "tcp://127.0.0.1:9")
    begun = time.time()
    with pytest.raises(
        ConnectionError,
        match=r"expected a Dask scheduler at 'tcp://127.0.0.1:9', got no answer in 2 s .*unset SYMVI_SCHEDULER",
    ):
        sweep(lambda a: {}, [{"a": 1}], tmp_path, progress=False)
    assert time.time() - begun < 30
    with pytest.raises(ConnectionError, match="expected a Dask scheduler at 'nonsense'"):
        sweep(lambda a: {}, [{"a": 1}], tmp_path, scheduler="nonsense", progress=False)


def test_a_running_scheduler_is_used(tmp_path):
    from distributed import LocalCluster

    log = tmp_path / "log"
    log.mkdir()
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        found = sweep(
            work(log), CELLS, tmp_path / "kept", scheduler=cluster.scheduler_address, progress=False
        )
    assert [f["value"] for f in found] == [10, 10, 20, 20]
