"""The README's examples run, each alone and outside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


def run_alone(example: str, folder: Path) -> list[str]:
    """The lines that an example prints in a fresh process that starts in `folder`."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", example],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_there_are_two_short_examples():
    assert len(EXAMPLES) == 2
    assert all(len(example.splitlines()) <= 12 for example in EXAMPLES)


def test_first_example_fits_a_network(tmp_path):
    (line,) = run_alone(EXAMPLES[0], tmp_path)
    found = re.fullmatch(r"L_G = (-?\d+\.\d) nats, I = (\d+\.\d\d) of 6\.58", line)
    assert found, line
    assert 0 < float(found[2]) <= 6.58


def test_second_example_needs_nothing_of_the_first(tmp_path):
    table = run_alone(EXAMPLES[1], tmp_path)
    assert [line.split()[0] for line in table[-3:]] == ["weights", "aligned", "functions"]


@pytest.mark.parametrize("command", re.findall(r"^    make (\w+)", README, re.M))
def test_its_commands_exist(command):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command}:", makefile, re.M)
