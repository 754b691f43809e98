"""The exported database: every file that posteriordb reads, with the keys that it checks."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from symvi import reference_model, reference_posterior
from symvi.truth import (
    export_posteriordb,
    from_stan_draws,
    posteriordb,
    posteriordb_rule,
    stan_data,
    stan_program,
)
from symvi.truth.posteriordb_entries import BIBLIOGRAPHY, DATA, ENTRIES
from symvi.truth.references import RECIPES

NAMES = tuple(RECIPES)
ADDED = {"added_by", "added_date"}
# must have, may have: assert_... of posteriordb's R package, doc/DATABASE_CONTENT.md
KEYS = {
    "posteriors": (
        {"name", "model_name", "data_name", "reference_posterior_name", "dimensions", *ADDED},
        {"keywords", "urls", "references"},
    ),
    "models/info": (
        {"name", "model_implementations", "title", *ADDED},
        {"prior", "references", "description", "urls", "keywords", "licence"},
    ),
    "data/info": (
        {"name", "data_file", "title", *ADDED},
        {"references", "description", "urls", "keywords"},
    ),
}
DRAWS_KEYS = [
    *("name", "inference", "diagnostics", "checks_made", "comments"),
    *("added_by", "added_date", "versions"),
]  # these in this order
BY_PARAMETER = (
    "effective_sample_size_bulk",
    "effective_sample_size_tail",
    "r_hat",
    "mean_lag1_ac",
)
BY_CHAIN = ("divergent_transitions", "expected_fraction_of_missing_information")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return export_posteriordb(tmp_path_factory.mktemp("database"))


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def unzipped(path: Path):
    """The one file of an archive, which has the archive's name without .zip."""
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [path.stem]
        return json.loads(archive.read(path.stem))


def test_the_folder_has_these_files_and_no_others(root):
    wanted = {"alias/posteriors.json", "bibliography/references.bib"}
    for entry in ENTRIES.values():
        name, draws = entry.name, "reference_posteriors/draws"
        wanted |= {f"posteriors/{name}.json", f"{draws}/info/{name}.info.json"}
        wanted |= {f"{draws}/draws/{name}.json.zip", f"models/stan/{entry.model}.stan"}
        wanted |= {f"models/info/{entry.model}.info.json"}
        wanted |= {f"data/info/{entry.data}.info.json", f"data/data/{entry.data}.json.zip"}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == wanted
    assert set(ENTRIES) == set(NAMES)
    assert len({entry.model for entry in ENTRIES.values()}) == 6


@pytest.mark.parametrize("part", KEYS)
def test_infos_have_the_keys_that_are_checked(root, part):
    must, may = KEYS[part]
    for path in (root / part).iterdir():
        info = read(path)
        assert must <= set(info) <= must | may
        assert path.name.split(".")[0] == info["name"]
        datetime.date.fromisoformat(info["added_date"])
        for key in ("keywords", "references", "urls"):
            value = info.get(key)
            listed = value if isinstance(value, list) else [value]
            assert value is None or all(isinstance(one, str) for one in listed)


@pytest.mark.parametrize("name", NAMES)
def test_posteriors_name_their_parts(root, name):
    """R's package finds the posteriors of a model by splitting names at the hyphen."""
    entry = ENTRIES[name]
    info = read(root / "posteriors" / f"{entry.name}.json")
    assert info["name"].split("-") == [entry.data, entry.model]
    assert (info["data_name"], info["model_name"]) == (entry.data, entry.model)
    assert info["reference_posterior_name"] == entry.name
    bnn, _ = reference_model(name)
    assert sum(info["dimensions"].values()) == sum(
        int(np.prod(shape, dtype=int)) for shape in bnn.shapes.values()
    )
    assert read(root / "alias" / "posteriors.json")[name] == entry.name


@pytest.mark.parametrize("name", NAMES)
def test_programs_and_data_are_those_of_the_model(root, name):
    entry, (bnn, data) = ENTRIES[name], reference_model(name)
    model = read(root / "models" / "info" / f"{entry.model}.info.json")
    place = model["model_implementations"]["stan"]["model_code"]
    assert (root / place).read_text(encoding="utf-8") == stan_program(bnn)
    info = read(root / "data" / "info" / f"{entry.data}.info.json")
    assert info["data_file"] == f"data/data/{entry.data}.json"
    stored = unzipped(root / f"{info['data_file']}.zip")
    assert stored == stan_data(bnn, data.x, data.y)
    assert str(len(data.x)) in info["description"]


@pytest.mark.parametrize("name", NAMES)
def test_draws_come_back_as_they_were(root, name):
    """By chain, under Stan's names, no digit lost: the log of sigma may lose the last one."""
    bnn, _ = reference_model(name)
    draws = root / "reference_posteriors" / "draws" / "draws" / f"{ENTRIES[name].name}.json.zip"
    chains = unzipped(draws)
    assert len(chains) == 8
    assert all(list(chain) == list(chains[0]) for chain in chains)
    columns = {key: np.array([chain[key] for chain in chains]) for key in chains[0]}
    back = from_stan_draws(bnn, columns)
    for key, value in reference_posterior(name).posterior.data_vars.items():
        if key == "log_noise":
            np.testing.assert_allclose(back[key], value.values, rtol=0, atol=1e-14)
        else:
            assert np.array_equal(back[key], value.values)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_the_draws(root, name):
    entry, (bnn, _), drawn = ENTRIES[name], reference_model(name), reference_posterior(name)
    path = root / "reference_posteriors" / "draws" / "info" / f"{entry.name}.info.json"
    info = read(path)
    assert list(info) == DRAWS_KEYS
    found = info["diagnostics"]
    names = found["diagnostic_information"]["names"]
    assert all(len(found[key]) == len(names) for key in BY_PARAMETER)
    assert all(len(found[key]) == found["nchains"] == 8 for key in BY_CHAIN)
    assert found["ndraws"] == 4000
    assert info["inference"]["method_arguments"]["iter"] == 3000
    # the rule as symvi.truth computes it of the same draws, for which sigma is its log
    rule, passed = posteriordb_rule(bnn, drawn), info["checks_made"]
    assert max(found["r_hat"]) == pytest.approx(rule["rhat"], abs=1e-9)
    assert min(found["expected_fraction_of_missing_information"]) == pytest.approx(rule["bfmi"])
    assert not passed["ndraws_is_10k"]
    assert passed["nchains_is_gte_4"] and passed["no_divergent_transitions"]
    assert passed["efmi_above_0_2"]
    assert passed["r_hat_below_1_01"] == (rule["rhat"] <= 1.01)
    assert passed["abs_mean_lag1_ac_below_0_05"] == (max(found["mean_lag1_ac"]) <= 0.05)
    if "sigma" not in names:
        assert max(found["mean_lag1_ac"]) == pytest.approx(rule["lag1"], abs=1e-12)


def test_what_is_cited_is_in_the_bibliography_and_nothing_else(root, tmp_path):
    def cited_and_listed(folder):
        infos = [read(p) for part in KEYS for p in (folder / part).iterdir()]
        text = (folder / "bibliography" / "references.bib").read_text(encoding="utf-8")
        keys = [line.split("{")[1].rstrip(",") for line in text.splitlines() if line[:1] == "@"]
        assert text.count("{") == text.count("}")
        return {info["references"] for info in infos} - {None}, set(keys)

    cited, listed = cited_and_listed(root)
    assert cited == listed == set(BIBLIOGRAPHY) == {reference for _, _, reference in DATA.values()}
    assert listed == {key for key, text in BIBLIOGRAPHY.items() if f"{{{key}," in text}
    cited, listed = cited_and_listed(export_posteriordb(tmp_path / "one", "two-weight"))
    assert cited == listed == {"gelberg2024variational"}


def test_checks_as_the_rules_say():
    """At each limit, and just beyond it."""
    spread = 4 * np.sqrt(7 * 10_000) - 0.1
    good = {
        "ndraws": 10_000,
        "nchains": 4,
        "effective_sample_size_bulk": [10_000 + spread, 10_000.0],
        "effective_sample_size_tail": [10_000 - spread, 10_000.0],
        "r_hat": [1.01, 1.0],
        "divergent_transitions": [0, 0, 0, 0],
        "expected_fraction_of_missing_information": [0.2, 1.0, 1.0, 1.0],
        "mean_lag1_ac": [0.05, 0.0],
    }
    assert all(posteriordb._checks(good).values())
    for key, value, failed in (
        ("ndraws", 9_999, "ndraws_is_10k"),
        ("nchains", 3, "nchains_is_gte_4"),
        ("effective_sample_size_bulk", [11_100.0], "ess_within_bounds"),
        ("effective_sample_size_tail", [8_900.0], "ess_within_bounds"),
        ("r_hat", [1.0, 1.0101], "r_hat_below_1_01"),
        ("divergent_transitions", [0, 0, 1, 0], "no_divergent_transitions"),
        ("expected_fraction_of_missing_information", [1.0, 0.19], "efmi_above_0_2"),
        ("mean_lag1_ac", [0.0, 0.051], "abs_mean_lag1_ac_below_0_05"),
    ):
        found = posteriordb._checks({**good, key: value})
        assert not found[failed]


def test_the_same_bytes_each_time(tmp_path):
    first, second = (export_posteriordb(tmp_path / name, ["two-weight"]) for name in "ab")
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_all_or_nothing(tmp_path, monkeypatch):
    def broken(entry, data):
        raise KeyError("on the way")

    monkeypatch.setattr(posteriordb, "_data_info", broken)
    with pytest.raises(KeyError, match="on the way"):
        export_posteriordb(tmp_path / "database", ["two-weight"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "precious").write_text("keep me", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "precious"):
        with pytest.raises(ValueError, match="folder: expected a new or empty folder"):
            export_posteriordb(folder, ["two-weight"])
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
