"""Sweeps: every cell once, kept as soon as it is there, whatever is killed."""

import json
import linecache
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import jax
import numpy as np
import pytest

import symvi
from symvi import sweep
from symvi.book import fingerprints, sweeps
from symvi.book.fingerprints import fingerprint

CELLS = [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def work(log):
    """A cell function that notes each call in the folder `log`.

    Nested, so that it travels to the workers by value.
    """

    def function(a, b):
        import uuid

        (log / f"{a}{b}-{uuid.uuid4().hex}").touch()
        return {"value": a * 10, "array": np.arange(a), "name": b}

    return function


def kept_in(folder) -> list:
    return sorted(folder.glob("*.json"))


def small(a):
    return {"value": 10 * a}


@pytest.fixture(scope="module")
def quick():
    """A sweep on workers that run already, in this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:

        def run(cells, folder, function=small):
            address = cluster.scheduler_address
            return sweep(function, cells, folder, scheduler=address, progress=False)

        yield run


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
    assert {json.dumps(json.loads(p.read_text(encoding="utf-8"))["cell"]) for p in files} == {
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


def test_failed_cells_are_named_and_the_others_kept(quick, tmp_path):
    mended = tmp_path / "mended"

    def function(a, b):
        if b == "y" and not mended.exists():
            raise ArithmeticError("no good")
        return {"value": a}

    message = r"all of 4 cells to run, 2 failed, the first, .*'b': 'y'.*no good.*and run again"
    with pytest.raises(RuntimeError, match=message):
        quick(CELLS, tmp_path / "kept", function)
    assert len(kept_in(tmp_path / "kept")) == 2
    mended.touch()
    found = quick(CELLS, tmp_path / "kept", function)
    assert [f["value"] for f in found] == [1, 1, 2, 2]


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
                cells = [{"a": a} for a in range(4)]
                print(symvi.sweep(function, cells, folder / "kept", workers=1, progress=False))
            """
        ),
        encoding="utf-8",
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
    """SIGKILL between writing a file and putting it in place.

    No half result, and the next run is as if nothing had happened.
    """
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
                cells = [{"a": a} for a in range(3)]
                found = symvi.sweep(function, cells, sys.argv[1], workers=1, progress=False)
                print([result["square"] for result in found])
            """
        ),
        encoding="utf-8",
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
    (left,) = killed.glob(".*.tmp")
    os.utime(left, (0, 0))  # as old as if nobody had written to it for long
    assert run("lives", killed).stdout == run("lives", whole).stdout == "[0, 1, 4]\n"
    assert {p.name: p.read_bytes() for p in killed.iterdir()} == {
        p.name: p.read_bytes() for p in whole.iterdir()
    }


@pytest.mark.parametrize(
    "content", ["", '{"cell": {}}', "[1, 2]", '{"version": 0, "cell": {"a": 1}, "result": 1}']
)
def test_a_damaged_record_is_refused(quick, tmp_path, content):
    quick([{"a": 1}], tmp_path)
    (path,) = kept_in(tmp_path)
    path.write_text(content, encoding="utf-8")
    message = r"expected the record of a cell in .*delete the file and run again"
    with pytest.raises(ValueError, match=message):
        quick([{"a": 1}], tmp_path)


def test_a_file_with_the_record_of_another_cell_is_refused(quick, tmp_path):
    quick([{"a": 1}], tmp_path / "one")
    quick([{"a": 2}], tmp_path / "two")
    (one,), (two,) = kept_in(tmp_path / "one"), kept_in(tmp_path / "two")
    one.write_bytes(two.read_bytes())
    message = r"expected the record of {'a': 1} in .*, got {'a': 2}; delete the file and run again"
    with pytest.raises(ValueError, match=message):
        quick([{"a": 1}], tmp_path / "one")


def test_a_record_says_what_made_it(quick, tmp_path):
    quick([{"a": 1}], tmp_path)
    (path,) = kept_in(tmp_path)
    record = sweeps.read_cell(path)
    made = {"version": 1, "symvi": symvi.__version__, "function": fingerprint(small)}
    assert record == {**made, "cell": {"a": 1}, "result": {"value": 10}}
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_the_order_of_keys_does_not_make_a_cell(quick, tmp_path):
    def function(a, b):
        return {"value": a - b}

    first = quick([{"a": 1, "b": 1}], tmp_path, function)
    assert first == quick([{"b": 1, "a": 1}], tmp_path, function) == [{"value": 0}]
    assert len(kept_in(tmp_path)) == 1
    with pytest.raises(ValueError, match="got 2 with 1 repeated"):
        quick([{"a": 1, "b": 2}, {"b": 2, "a": 1}], tmp_path, function)


def test_one_result_that_json_has_no_form_for_fails_alone(quick, tmp_path):
    def function(a):
        return {"value": object() if a == 2 else a}

    message = (
        r"3 cells to run, 1 failed, the first, {'a': 2}, with TypeError\('result: expected num"
    )
    with pytest.raises(RuntimeError, match=message):
        quick([{"a": a} for a in (1, 2, 3)], tmp_path, function)
    assert sorted(sweeps.read_cell(p)["result"]["value"] for p in kept_in(tmp_path)) == [1, 3]


@pytest.mark.parametrize("result", [{1: "a", "1": "b"}, {"x": [{True: 0, "True": 1}]}])
def test_result_keys_do_not_merge(result):
    with pytest.raises(ValueError, match=r"expected keys that differ as text, got '\w+' twice"):
        sweeps._call(lambda: result, {})


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({1: np.arange(2), "b": (1.5, None)}, '{"1": [0, 1], "b": [1.5, null]}'),
        ([np.float32(0.5), np.True_, "a"], '[0.5, true, "a"]'),
    ],
)
def test_results_are_plain(result, text):
    assert sweeps._call(lambda: result, {}) == text


@pytest.mark.parametrize("result", [{1, 2}, 1j, b"a", [print], np.array([None])])
def test_results_without_a_form(result):
    with pytest.raises(TypeError, match=r"result: expected numbers, strings, .*; convert it"):
        sweeps._call(lambda: result, {})


def test_a_second_sweep_spares_what_the_first_is_writing(quick, tmp_path):
    live, left = tmp_path / ".abc.json-1.tmp", tmp_path / ".def.json-2.tmp"
    for path in (live, left):
        path.touch()
    os.utime(left, (0, 0))
    quick([{"a": 1}], tmp_path)
    assert [p.name for p in tmp_path.glob(".*.tmp")] == [live.name]


def test_an_edited_function_runs_again(quick, tmp_path):
    """Results were once found by their cell alone, so that an edited function returned old ones."""
    found = []
    for factor in (10, 20, 10):
        code = f"def scaled(a):\n    return {factor} * a\n"
        found += quick([{"a": 1}], tmp_path, made(code, "scaled"))
    assert found == [10, 20, 10]
    assert len(kept_in(tmp_path)) == 2


def made(code: str, name: str):
    """The function `name` of a module with this text, importable by nobody."""
    module = ModuleType("scratch")
    module.__dict__["__name__"] = "scratch"
    lines = code.splitlines(keepends=True)
    file = f"<{abs(hash(code))}>"
    linecache.cache[file] = (len(code), None, lines, file)
    exec(compile(code, file, "exec"), module.__dict__)
    return vars(module)[name]


TEXT = """
import functools, math
FACTOR = 2
OTHER = 1
@functools.lru_cache
def helper(x):
    return x + FACTOR
class Model:
    size = 3
def build(k):
    def work(a, b=1):
        # a comment
        return [helper(v) + math.pi + Model.size for v in (a, b, k)]
    return work
work = build(5)
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another comment", True),
        ("OTHER = 1", "OTHER = 2", True),
        ("(a, b, k)", "(a, b,  k)", True),
        ("(a, b, k)", "(a, k, b)", False),
        ("FACTOR = 2", "FACTOR = 3", False),
        ("x + FACTOR", "x - FACTOR", False),
        ("size = 3", "size = 4", False),
        ("b=1", "b=2", False),
        ("build(5)", "build(6)", False),
    ],
)
def test_what_a_function_is_made_of(old, new, same):
    before = fingerprint(made(TEXT, "work"))
    assert before == fingerprint(made(TEXT, "work"))
    assert (before == fingerprint(made(TEXT.replace(old, new), "work"))) == same


def test_fingerprints_of_other_callables():
    class Callable:
        def __call__(self, a):
            return a

    things = [
        small,
        partial(small, a=1),
        partial(small, a=2),
        Callable(),
        eval("lambda a: a"),
        eval("lambda a: a + 1"),
        jax.jit(made(TEXT, "helper")),
    ]
    assert len({fingerprint(thing) for thing in things}) == len(things)
    assert fingerprint(small) == fingerprint(jax.jit(small))


@dataclass(frozen=True)
class Width:
    number: int = 3


def of_width(a):
    return a * Width().number


def test_what_a_decorator_generated_does_not_count(monkeypatch):
    """The methods of a dataclass have no text. Their bytecode once counted, which differs between
    versions of Python, so that a sweep begun with one was not found by another."""
    before = fingerprint(of_width)
    monkeypatch.setattr(fingerprints, "_compiled", lambda code: "of another version")
    assert fingerprint(of_width) == before


def test_a_script_without_a_guard_is_told_in_one_line(tmp_path):
    """The processes of a sweep read the script; each once printed 210 lines of traceback."""
    script = tmp_path / "run.py"
    text = """
        import symvi

        def function(a):
            return a

        def main():
            print(symvi.sweep(function, [{"a": 1}], "kept", workers=1, progress=False))

        main()
        """
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "expected line 10 of run.py to stand under a guard" in last
    assert 'put it under if __name__ == "__main__":' in last
    assert len(done.stderr.splitlines()) < 20
    assert not (tmp_path / "kept").exists()


def test_without_dask_results_are_read_and_cells_are_refused(quick, tmp_path, monkeypatch):
    quick([{"a": 1}], tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert quick([{"a": 1}], tmp_path) == [{"value": 10}]
    message = r"symvi.sweep needs distributed, .*: pip install 'symvi\[sweep\]'"
    with pytest.raises(ImportError, match=message):
        quick([{"a": 2}], tmp_path)


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
    message = r"a Dask scheduler at 'tcp://127.0.0.1:9', got no answer in 2 s .*unset SYMVI_SCHED"
    with pytest.raises(ConnectionError, match=message):
        sweep(lambda a: {}, [{"a": 1}], tmp_path, progress=False)
    assert time.time() - begun < 30
    with pytest.raises(ConnectionError, match="expected a Dask scheduler at 'nonsense'"):
        sweep(lambda a: {}, [{"a": 1}], tmp_path, scheduler="nonsense", progress=False)
