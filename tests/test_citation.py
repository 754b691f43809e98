"""CITATION.cff is valid, and it agrees with the package, the changelog and the bibliography."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from pybtex.database import parse_file

import symvi

ROOT = Path(__file__).resolve().parents[1]
CITATION = yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), yaml.BaseLoader)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
# The official schema, as cffconvert 2.0.0 brings it (CC BY 4.0, doi:10.5281/zenodo.5171937, by
# Druskat, Spaaks and the contributors of the Citation File Format).
SCHEMA = json.loads(
    (ROOT / "tests" / "citation-file-format-1.2.0.json").read_text(encoding="utf-8")
)


def check(citation: dict) -> None:
    jsonschema.validate(citation, SCHEMA, format_checker=jsonschema.FormatChecker())


def as_json(citation: dict) -> dict:
    """The reference's volume and pages are numbers to the schema, dates and versions are text."""
    numbers = {"volume", "year", "start", "end"}
    references = [
        {key: int(value) if key in numbers else value for key, value in reference.items()}
        for reference in citation["references"]
    ]
    return {**citation, "references": references}


def test_the_citation_file_is_valid():
    check(as_json(CITATION))


@pytest.mark.parametrize(
    "fault",
    [{"version": ["0.1.0"]}, {"date-released": "soon"}, {"authors": []}, {"licence": "MIT"}],
    ids=str,
)
def test_a_fault_in_it_would_be_seen(fault):
    with pytest.raises(jsonschema.ValidationError):
        check(as_json({**CITATION, **fault}))


def newest_version() -> tuple[str, str]:
    """The version at the top of the changelog, and its date or "unreleased"."""
    return re.search(r"^## \[(\S+)\] - (\S+)$", CHANGELOG, re.M).groups()


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [project["version"], CITATION["version"], symvi.__version__, newest_version()[0]]
    assert set(versions) == {symvi.__version__}


def test_the_date_of_release_is_that_of_the_changelog():
    """Nothing has a date of release before there is one."""
    assert CITATION.get("date-released", "unreleased") == newest_version()[1]


def test_the_changelog_keeps_its_form():
    assert CHANGELOG.startswith("# Changelog\n")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.M)) <= kinds
    assert "](CHANGELOG.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_paper_is_the_one_in_the_bibliography():
    (paper,) = CITATION["references"]
    entry = parse_file(ROOT / "book" / "references.bib").entries["gelberg2024"]
    assert re.sub("[{}]", "", entry.fields["title"]) == paper["title"]
    assert [person["family-names"] for person in paper["authors"]] == [
        " ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]
    ]
    assert entry.fields["pages"] == f"{paper['start']}--{paper['end']}"
    assert (entry.fields["volume"], entry.fields["year"]) == (paper["volume"], paper["year"])


def test_the_book_has_the_title_and_the_authors_of_the_site():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert CITATION["title"].startswith(config["title"])
    assert [who["name"] for who in CITATION["authors"]] == [config["author"]]
