"""The exported programs held against Stan: the record of a comparison, and the comparison itself.

`make stan` compiles the programs, which takes minutes, and writes the record. Here the record must
be of the programs and data as they are now. What Stan answered is compared again where it is kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import pytest

from symvi import reference_model
from symvi.likelihoods import Categorical, Gaussian
from symvi.networks import ACTIVATIONS
from symvi.truth import stan_program
from symvi.truth.posteriordb_entries import ENTRIES
from symvi.truth.references import data_hash
from symvi.truth.stan_code import constant

BOOK = Path(__file__).resolve().parents[2] / "book"
RECORD = json.loads((BOOK / "results" / "stan.json").read_text(encoding="utf-8"))
COMPARED = {**RECORD["posteriors"], **RECORD["others"]}
ANSWERS = os.environ.get("SYMVI_STAN", "")
DIFFERENCES = ("density", "constant_off", "gradient", "jacobian", "parameters")


@pytest.fixture(scope="module")
def script():
    """What compares: it belongs to the book."""
    path = BOOK / "reproduce" / "stan_densities.py"
    spec = importlib.util.spec_from_file_location("reproduce_stan_densities", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", COMPARED)
def test_the_record_is_of_these_programs(name, script):
    bnn, _, y = script.model(name)
    found = COMPARED[name]
    now = hashlib.sha256(stan_program(bnn).encode()).hexdigest()
    assert found["program_sha256"] == now, "the program has changed: run make stan"
    assert found["constant_expected"] == pytest.approx(constant(bnn, len(y)), rel=1e-12)
    if name in ENTRIES:
        assert found["data_sha256"] == data_hash(reference_model(name)[1])


@pytest.mark.parametrize("name", COMPARED)
def test_stan_agreed(name):
    found = COMPARED[name]
    assert found["points"] >= (16 if name in ENTRIES else 8)
    assert max(found[key] for key in DIFFERENCES) <= RECORD["setting"]["agree"] == 1e-8
    assert found["constant"] == pytest.approx(found["constant_expected"], rel=1e-8)


def test_every_kind_of_program_was_compared(script):
    models = [script.model(name)[0] for name in COMPARED]
    assert set(RECORD["posteriors"]) == set(ENTRIES)
    assert {bnn.net.activation for bnn in models} == set(ACTIVATIONS)
    assert {type(bnn.likelihood) for bnn in models} == {Gaussian, Categorical}
    known = [getattr(bnn.likelihood, "scale", None) is not None for bnn in models]
    assert any(known) and not all(known)
    assert any(bnn.net.widths[-1] > 1 and type(bnn.likelihood) is Gaussian for bnn in models)
    assert any(not bnn.net.bias and bnn.net.fixed_output is None for bnn in models)
    assert any(bnn.net.fixed_output is not None for bnn in models)
    assert any(bnn.prior_scale != 1 for bnn in models)


def test_what_compared_is_recorded():
    assert set(RECORD["made"]) >= {"stan", "pystan", "httpstan", "posteriordb", "g++", "jax"}
    makefile = (BOOK.parent / "Makefile").read_text(encoding="utf-8")
    for package in ("pystan", "httpstan", "posteriordb"):
        assert f"{package}=={RECORD['made'][package]}" in makefile


@pytest.mark.skipif(not ANSWERS, reason="no answers of Stan are kept here: run make stan")
@pytest.mark.parametrize("name", COMPARED)
def test_stan_agrees(name, script):
    found = script.agreement(name, Path(ANSWERS))
    assert max(found[key] for key in DIFFERENCES) <= 1e-8


@pytest.mark.parametrize("name", RECORD["nuts"])
def test_draws_of_stan_have_the_quantiles_of_the_reference(name):
    """The largest of hundreds of standardised differences, which are far from independent."""
    found = RECORD["nuts"][name]
    assert found["rhat"] < 1.01
    assert found["divergences"] == 0
    assert found["largest_z"] < 4.5
