"""The reference posteriors that come with symvi: accepted, complete, small, and reproducible."""

import importlib.util
import os
import shutil
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
from symvi.truth.diagnostics import acceptance
from symvi.truth.references import FOLDER, RECIPES, data_hash

NAMES = tuple(RECIPES)
# shares of kept draws whose trajectories were cut off, counted from the stored n_steps
AT_THE_LIMIT = dict.fromkeys(NAMES, 0.0) | {
    "mcycle-tanh": 0.007,
    "mcycle-relu": 0.71875,
    "mcycle-deep": 0.69575,
}
SCRIPT = Path(__file__).resolve().parents[2] / "book" / "reproduce" / "references.py"


@pytest.fixture(scope="module")
def script():
    """What draws the references: it belongs to the book."""
    spec = importlib.util.spec_from_file_location("reproduce_references", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    # what else is known of them: 4000 draws are not the 10,000 of posteriordb
    assert found["saturated"] == pytest.approx(AT_THE_LIMIT[name], abs=1e-9)
    assert found["slow"] == (name in ("mcycle-relu", "mcycle-deep"))
    assert not found["posteriordb"]


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
    others = data._replace(y=data.y + 1)
    monkeypatch.setattr(references, "reference_model", lambda name: (bnn, others))
    with pytest.raises(ValueError, match="two-weight: expected the data that the reference draws"):
        reference_posterior("two-weight")


@pytest.mark.parametrize("name", ["mnist", None, 3, ["two-weight"], np.array(["a", "b"])])
def test_unknown_name(name):
    for function in (reference_model, reference_posterior):
        with pytest.raises(ValueError, match="name: expected one of 'two-weight'"):
            function(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that stands for the package's own, with one reference in it."""
    shutil.copy(FOLDER / "two-weight.nc", tmp_path)
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    return tmp_path


def damaged(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"not a netCDF file at all",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-100],
        lambda content: b"\0" * 512 + content[512:],
        lambda content: content[:512] + b"\xff" * 2000 + content[2512:],
    ],
)
def test_a_damaged_file_is_named(folder, change):
    damaged(folder / "two-weight.nc", change)
    with pytest.raises(ValueError, match=r"two-weight\.nc: expected 8 chains of 500 .* install"):
        reference_posterior("two-weight")


def test_a_missing_file_is_named(folder):
    (folder / "two-weight.nc").unlink()
    with pytest.raises(ValueError, match=r"two-weight\.nc: .*FileNotFoundError"):
        reference_posterior("two-weight")


def with_nan(stored):
    stored.posterior["W1"][3, 7] = np.nan
    return stored


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (with_nan, r"draws\['W1'\]: expected finite numbers"),
        (lambda stored: stored.isel(chain=slice(7)), r"chains and draws \(7, 500\)"),
        (lambda stored: stored.isel(draw=slice(3)), r"chains and draws \(8, 3\)"),
        (lambda stored: stored.rename({"W1": "W2"}), r"expected the parameters \['W1'\]"),
        (lambda stored: az.InferenceData(posterior=stored.posterior), r"groups \['posterior'\]"),
    ],
)
def test_other_draws_are_refused(folder, change, got):
    path = folder / "two-weight.nc"
    stored = az.from_netcdf(str(path)).load()
    stored.close()
    change(stored).to_netcdf(str(path))
    with pytest.raises(ValueError, match=r"two-weight\.nc: expected 8 chains.*" + got):
        reference_posterior("two-weight")


def chains(script, num=4, draws=150):
    cells = [("two-weight", chain) for chain in range(num)]
    return [script.draw_chain(*cell, draws=draws, warmup=200) for cell in cells]


@pytest.mark.filterwarnings("ignore:nuts")
def test_draws_below_the_standard_are_not_written(tmp_path, script):
    made = chains(script, 2, 20)
    with pytest.raises(ValueError, match="two-weight: expected draws that meet the rules"):
        script.write_reference("two-weight", made, tmp_path)
    assert not list(tmp_path.iterdir())


def test_writing_keeps_what_was_drawn(tmp_path, script):
    made = chains(script)
    found = script.write_reference("two-weight", made, tmp_path)
    assert found["accepted"]
    stored = az.from_netcdf(str(tmp_path / "two-weight.nc"))
    assert [path.name for path in tmp_path.iterdir()] == ["two-weight.nc"]
    drawn = np.asarray(made[2]["posterior"]["W1"], np.float32)
    assert np.array_equal(stored.posterior["W1"].values[2], drawn)
    assert stored.posterior.attrs["accepted"] == 1
    assert stored.posterior.attrs["saturated"] == found["saturated"] == 0.0
    assert stored.sample_stats.attrs["max_tree_depth"] == 10


GENERATE = """
import sys

sys.path.insert(0, sys.argv[2])
import symvi
from references import draw_chain

if __name__ == "__main__":
    cells = [
        {"name": "two-weight", "chain": chain, "draws": 20, "warmup": 50} for chain in range(3)
    ]
    symvi.sweep(draw_chain, cells, sys.argv[1], workers=1)
"""


def test_a_killed_generation_loses_only_the_chain_at_work(tmp_path):
    program, store = tmp_path / "generate.py", tmp_path / "store"
    program.write_text(GENERATE, encoding="utf-8")
    command = [sys.executable, str(program), str(store), str(SCRIPT.parent)]
    run = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(store.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = {path.name: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert 1 <= len(before) < 3
    subprocess.run(command, check=True, timeout=200)
    after = {path.name: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert len(after) == 3
    assert all(after[name] == when for name, when in before.items())
