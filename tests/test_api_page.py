"""The book's API page: every public name is there, every directive names something that exists."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import symvi

PAGE = (Path(__file__).resolve().parents[1] / "book" / "api.md").read_text(encoding="utf-8")
DIRECTIVES = re.findall(r"^\.\. (auto\w+|module|currentmodule):: (\S+)$", PAGE, re.M)
DOCUMENTED = {name.removeprefix("symvi.") for _, name in DIRECTIVES}
# families have a heading of their own, and directives for what is in them
FAMILIES = {name.split(".")[0] for name in DOCUMENTED if "." in name}


def found(path: str):
    """What a dotted path names: a module, or something in one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        holder, _, name = path.rpartition(".")
        return getattr(found(holder), name)


def test_every_public_name_is_documented():
    assert set(symvi.__all__) - DOCUMENTED - FAMILIES == set()


@pytest.mark.parametrize("path", sorted({path for _, path in DIRECTIVES}))
def test_directives_name_what_exists(path):
    assert found(path) is not None


@pytest.mark.parametrize("name", symvi.__all__)
def test_public_names_have_docstrings(name):
    thing = getattr(symvi, name)
    assert len(inspect.getdoc(thing) or "") > 20
    if not inspect.isclass(thing):
        return
    public = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
    functions = [k for k, v in public.items() if inspect.isfunction(v)]
    properties = [k for k, v in public.items() if isinstance(v, property)]
    bare = [k for k in functions + properties if not inspect.getdoc(getattr(thing, k))]
    assert bare == []
    # napoleon reads "word: rest" in a property's first line as "type: text": half would be lost
    first_lines = {k: inspect.getdoc(getattr(thing, k)).split("\n")[0] for k in properties}
    assert [k for k, line in first_lines.items() if ":" in line.replace(":class:", "")] == []
