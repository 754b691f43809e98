"""Public architectures: the record of `make architectures`, and the script that makes it.

The script builds the networks of torchvision and timm, which takes tens of minutes. Here its record
must be of the versions that are pinned, and the script's parts work on modules of our own.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "book/results/architectures.json").read_text(encoding="utf-8"))
TAKEN = [one for one in RECORD["networks"] if "refused" not in one]


@pytest.fixture(scope="module")
def script():
    """What makes the record: it belongs to the book."""
    path = ROOT / "book" / "reproduce" / "architectures.py"
    spec = importlib.util.spec_from_file_location("reproduce_architectures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pinned(file: str, package: str) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.search(rf"(?<![\w-]){package}==([\w.]+)", text).group(1)


def test_enough_networks_are_taken_and_their_outputs_agree():
    assert len(TAKEN) >= 40
    assert {one["library"] for one in TAKEN} == {"torchvision", "timm"}
    assert max(one["forward"] for one in TAKEN) <= RECORD["setting"]["agree"] == 1e-10
    for one in TAKEN:
        assert one["groups"] > 0 and 0 < one["log_order"] <= one["nested"]
        assert 0 < one["largest_output"] < float("inf")


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("torch", "requirements.txt"),
        ("jax", "requirements.txt"),
        ("torchvision", "Makefile"),
        ("timm", "Makefile"),
    ],
)
def test_the_record_is_of_the_pinned_versions(package, file):
    made = RECORD["made"][package].partition("+")[0]
    assert made == pinned(file, package), "a pin has changed: run make architectures"


def test_the_record_is_of_the_networks_of_the_script(script):
    rows = [{key: one[key] for key in script.NETWORKS[0]} for one in RECORD["networks"]]
    assert rows == script.NETWORKS
    assert len({(row["library"], row["model"]) for row in rows}) == len(rows)


def test_what_is_measured_of_a_module(script):
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    found = script.measured(module, [3])
    assert found["parameters"] == 20 + 24 + 10
    assert (found["groups"], found["notes"], found["kinds"]) == (2, 0, [])
    assert found["log_order"] == found["nested"] == pytest.approx(7.965546)  # log 5! + log 4!
    assert found["forward"] < 1e-15 and found["largest_output"] > 0
    assert min(found["seconds"], found["processor_seconds"]) > 0


def test_notes_of_one_kind_are_kept_once(script):
    notes = ["buffer 'a.b' pins 3 entries", "buffer 'c' pins 41 entries", "other (see 2)", "other"]
    assert script.kinds(notes) == [notes[0], notes[2], notes[3]]


def refused():
    raise ValueError("module: expected one output\nand more")


def test_an_answer_is_kept_with_its_row_and_errors_too(script, monkeypatch, tmp_path):
    row = {"library": "timm", "model": "m", "shape": [3], "settings": {}}
    path = tmp_path / "timm-m.json"
    for build, key in (
        (lambda _: (nn.Linear(3, 2), None), "forward"),
        (lambda _: refused(), "refused"),
    ):
        monkeypatch.setattr(script, "built", build)
        monkeypatch.setattr(script, "versions", lambda: {"jax": "1"})
        script.answer(row, path)
        assert key in script.kept(row, path)
        assert script.asked(row, "no folder", tmp_path) == script.kept(row, path)
    assert script.kept(row, path)["refused"] == "ValueError: module: expected one output"
    assert script.kept({**row, "shape": [4]}, path) is None
    monkeypatch.setattr(script, "versions", lambda: {"jax": "2"})
    assert script.kept(row, path) is None


@pytest.mark.parametrize(
    ("code", "stderr", "wanted"),
    [
        (-signal.SIGXCPU, "", "no answer within"),
        (1, "Traceback\nImportError: no timm\n", "the process ended with 1: ImportError: no timm"),
        (2, "", "the process ended with 2: nothing was printed"),
    ],
)
def test_a_process_without_an_answer_is_told_of(script, code, stderr, wanted):
    done = SimpleNamespace(returncode=code, stderr=stderr)
    assert wanted in script.lost(done)["refused"]


def test_outputs_that_differ_are_refused(script):
    assert script.judged({"forward": 1e-11}) == {"forward": 1e-11}
    assert script.judged({"refused": "x"}) == {"refused": "x"}
    assert "1.0e-08" in script.judged({"forward": 1e-8})["refused"]


def test_operators_of_torchvision_can_be_declared(script):
    declared = torch.library.Library("symvi_torchvision", "FRAGMENT")
    for schema in script.OPERATORS:
        assert declared.define(schema) in ("nms", "qnms")
