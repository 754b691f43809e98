"""The reference posteriors that come with symvi: accepted by the rules, complete, small, and made again where they were interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import arviz as az
import numpy as np
import pytest

from symvi import grid_posterior, reference_model, reference_posterior
from symvi.truth import references
from symvi.truth.convergence import acceptance
from symvi.truth.references import FOLDER, RECIPES, data_hash, draw_chain, write_reference

NAMES = tuple(RECIPES)


@pytest.mark.parametrize("name", NAMES)
def test_rules_of_acceptance(name):
    (bnn, data), drawn = reference_model(name), reference_posterior(name)
    attrs = drawn.posterior.attrs
    full = [
        {"divergences": attrs["divergences"], "bfmi": attrs["bfmi"]}
    ]  # of all draws, thinned ones included
    found = acceptance(bnn, drawn, data.x, data.y, full)
    assert found["accepted"]
    assert found["rhat"] < 1.01
    assert min(found["ess_bulk"], found["ess_tail"]) > 400
    assert not drawn.sample_stats["diverging"].any()
    for key in ("rhat", "ess_bulk", "ess_tail"):
        assert found[key] == pytest.approx(attrs[key], rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_with_the_draws(name):
    (bnn, data), drawn = reference_model(name), reference_posterior(name)
    assert {"posterior", "log_likelihood", "sample_stats", "observed_data"} <= set(drawn.groups())
    for key, shape in bnn.shapes.items():
        assert drawn.posterior[key].shape == (8, 500, *shape)
    assert drawn.log_likelihood["y"].shape == (8, 500, len(data.y))
    attrs = drawn.posterior.attrs
    assert attrs["data_sha256"] == data_hash(data)
    assert str(RECIPES[name].net) in attrs["model"]
    assert list(attrs["seeds"]) == list(range(8))
    assert attrs["command"] == f"python book/reproduce/references.py {name}"
    assert {"warmup", "thin", "target_accept", "jax", "arviz", "data"} <= set(attrs)


def test_all_files_together_are_small():
    sizes = [path.stat().st_size for path in Path(str(FOLDER)).iterdir()]
    assert len(sizes) == len(NAMES) >= 6
    assert sum(sizes) <= 12_000_000


def test_two_weights_agree_with_the_grid():
    (bnn, data), drawn = reference_model("two-weight"), reference_posterior("two-weight")
    grid = grid_posterior(bnn, data.x, data.y)
    w = drawn.posterior["W1"].values[:, :, 0]
    first, second = grid.nodes[:, None], grid.nodes[None, :]
    for values, exact in (
        (w.sum(-1), first + second),
        (w.prod(-1), first * second),
        (w.max(-1), np.maximum(first, second)),
    ):
        assert abs(values.mean() - grid.expect(exact + 0 * grid.log_joint)) < 4 * float(
            az.mcse(values)
        )


def test_other_data_are_refused(monkeypatch):
    bnn, data = reference_model("two-weight")
    monkeypatch.setattr(
        references, "reference_model", lambda name: (bnn, data._replace(y=data.y + 1))
    )
    with pytest.raises(
        ValueError, match="two-weight: expected the data that the reference draws were made with"
    ):
        reference_posterior("two-weight")


def test_unknown_name():
    with pytest.raises(ValueError, match="name: expected one of 'two-weight'"):
        reference_posterior("mnist")


def chains(num=4, draws=150):
    return [draw_chain("two-weight", chain, draws=draws, warmup=200) for chain in range(num)]


@pytest.mark.filterwarnings("ignore:nuts")
def test_draws_below_the_standard_are_not_written(tmp_path):
    made = chains(2, 20)
    with pytest.raises(
        ValueError, match="two-weight: expected draws that meet the rules for references"
    ):
        write_reference("two-weight", made, tmp_path)
    assert not list(tmp_path.iterdir())


def test_writing_keeps_what_was_drawn(tmp_path):
    made = chains()
    found = write_reference("two-weight", made, tmp_path)
    assert found["accepted"]
    stored = az.from_netcdf(str(tmp_path / "two-weight.nc"))
    assert [path.name for path in tmp_path.iterdir()] == ["two-weight.nc"]
    assert np.array_equal(
        stored.posterior["W1"].values[2], np.asarray(made[2]["posterior"]["W1"], np.float32)
    )


SCRIPT = """
import sys, symvi
from symvi.truth.references import draw_chain

if __name__ == "__main__":
    cells = [{"name": "two-weight", "chain": chain, "draws": 20, "warmup": 50} for chain in range(3)]
    symvi.sweep(draw_chain, cells, sys.argv[1], workers=1)
"""


def test_a_killed_generation_loses_only_the_chain_at_work(tmp_path):
    script, store = tmp_path / "generate.py", tmp_path / "store"
    script.write_text(SCRIPT)
    run = subprocess.Popen([sys.executable, str(script), str(store)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(store.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = {path.name: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert 1 <= len(before) < 3
    subprocess.run([sys.executable, str(script), str(store)], check=True, timeout=200)
    after = {path.name: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert len(after) == 3
    assert all(after[name] == when for name, when in before.items())
