"""A fit that was interrupted ends as the uninterrupted one, bit for bit; restarts may be shared out
over devices."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from symvi import BNN, MLP, Categorical, fit
from symvi.vi import archive, checkpoint
from symvi.vi.checkpoint import Checkpoint

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 2)), RNG.integers(0, 3, 60)
MODEL = BNN(MLP([2, 4, 3], "tanh"), Categorical())
SETTINGS = {"steps": 40, "restarts": 2, "batch_size": 16, "seed": 3, "progress": False}


def same(first, second):
    assert np.array_equal(first.losses, second.losses)
    for one, two in zip(
        jax.tree.leaves(first.posteriors), jax.tree.leaves(second.posteriors), strict=True
    ):
        assert np.array_equal(one, two)
    assert first.elbos == second.elbos


class Stop(Exception):
    pass


def stop_after(monkeypatch, writes):
    """Let `fit` be interrupted right after so many checkpoints."""
    left, save = [writes + 1], Checkpoint.save  # the first holds the state before any step

    def counted(*args):
        save(*args)
        left[0] -= 1
        if not left[0]:
            raise Stop

    monkeypatch.setattr(Checkpoint, "save", counted)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"symmetrize": "pairwise"},
        {"symmetrize": "infonce", "num_permutations": 3, "monitor_every": 10},
        {"covariance": "unit"},
    ],
    ids=str,
)
@pytest.mark.parametrize("writes", [1, 3])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, options, writes):
    whole = fit(MODEL, X, Y, **SETTINGS, **options)
    path = tmp_path / "deep" / "fit.npz"
    with monkeypatch.context() as patch:
        stop_after(patch, writes)
        with pytest.raises(Stop):
            fit(MODEL, X, Y, checkpoint=path, **SETTINGS, **options)
    resumed = fit(MODEL, X, Y, checkpoint=path, **SETTINGS, **options)
    same(whole, resumed)
    if whole.monitor:
        assert np.array_equal(whole.monitor.elbo, resumed.monitor.elbo)
        assert list(resumed.monitor.steps) == [10, 20, 30, 40]
    same(
        whole, fit(MODEL, X, Y, checkpoint=path, **SETTINGS, **options)
    )  # of a finished fit nothing is run again
    assert [p.name for p in path.parent.iterdir()] == ["fit.npz"]


SCRIPT = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import symvi

rng = np.random.default_rng(0)
x, y = rng.normal(size=(4000, 20)), rng.integers(0, 5, 4000)
bnn = symvi.BNN(symvi.MLP([20, 30, 5], "tanh"), symvi.Categorical())
checkpoint = sys.argv[1] if len(sys.argv) > 2 else None
settings = {"steps": 2000, "restarts": 2, "batch_size": 200, "progress": False}
run = symvi.fit(bnn, x, y, checkpoint=checkpoint, **settings)
np.savez(sys.argv[-1], losses=run.losses, loc=run.posterior.loc["W1"])
"""


def test_killed_at_any_step(tmp_path):
    script, state = tmp_path / "run.py", tmp_path / "state.npz"
    script.write_text(SCRIPT, encoding="utf-8")
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "whole.npz")], check=True, timeout=300
    )
    run = subprocess.Popen([sys.executable, str(script), str(state), str(tmp_path / "never.npz")])
    deadline = time.monotonic() + 200
    while not state.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert state.exists()
    assert not (tmp_path / "never.npz").exists()
    subprocess.run(
        [sys.executable, str(script), str(state), str(tmp_path / "resumed.npz")],
        check=True,
        timeout=300,
    )
    whole, resumed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "resumed.npz")
    assert all(np.array_equal(whole[k], resumed[k]) for k in ("losses", "loc"))


DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import symvi

assert len(jax.devices()) == 8
x = np.linspace(-1, 1, 20)[:, None]
bnn = symvi.BNN(symvi.MLP([1, 3, 1], "tanh"), symvi.Gaussian(0.3))
for restarts in (8, 3):
    for method in (None, "pairwise"):
        settings = {"symmetrize": method, "steps": 20, "restarts": restarts, "progress": False}
        run = symvi.fit(bnn, x, np.sin(x), **settings)
        print(repr(run.losses.sum()), [e.value for e in run.elbos])
"""


def test_restarts_on_eight_devices(tmp_path):
    one = DEVICES.replace("== 8", "== 1")
    lines = []
    for text, flag in ((DEVICES, "--xla_force_host_platform_device_count=8"), (one, "")):
        done = subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        lines.append(
            np.array(
                [
                    float(v)
                    for v in done.stdout.replace("np.float64", "")
                    .translate(str.maketrans("()[],", "     "))
                    .split()
                ]
            )
        )
    assert np.allclose(*lines, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"symmetrize": "pairwise", "monitor_every": 10}], ids=str)
def test_more_steps_go_on_from_fewer(tmp_path, options):
    """20 steps and then 20 more are 40 steps, bit for bit; so are 13 and 27, which divide
    nothing."""
    whole = fit(MODEL, X, Y, **SETTINGS, **options)
    for first in (20,) if options else (20, 13):
        path = tmp_path / f"{first}.npz"
        fit(MODEL, X, Y, checkpoint=path, **{**SETTINGS, "steps": first}, **options)
        same(whole, fit(MODEL, X, Y, checkpoint=path, **SETTINGS, **options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "fit.npz"
    fit(MODEL, X, Y, checkpoint=path, **SETTINGS)
    return path


@pytest.mark.parametrize(
    ("x", "other", "differs"),
    [
        (X, {"seed": 4}, r"seed 3 \(here 4\)"),
        (X, {"symmetrize": "pairwise"}, r"symmetrize None \(here Pairwise\(\)\)"),
        (X, {"learning_rate": 0.02, "restarts": 3}, r"restarts 2 .*, learning_rate 0.01 "),
        (X + 1, {}, "another x; delete the file"),
        (X, {"init": MODEL.init(jax.random.key(0))}, "another init; delete the file"),
    ],
    ids=str,
)
def test_what_differs_is_named(finished, x, other, differs):
    with pytest.raises(ValueError, match=f"to belong to this fit, got one with {differs}"):
        fit(MODEL, x, Y, checkpoint=finished, **{**SETTINGS, **other})


def test_a_bad_batch_size_leaves_no_file(tmp_path):
    """It would refuse the corrected call, as one of another batch size."""
    path = tmp_path / "fit.npz"
    with pytest.raises(ValueError, match=f"batch_size: expected at most N = {len(X)}"):
        fit(MODEL, X, Y, checkpoint=path, **{**SETTINGS, "batch_size": len(X) + 1})
    assert not path.exists()


def test_another_model_is_named(finished):
    relu = BNN(MLP([2, 4, 3], "relu"), Categorical())
    with pytest.raises(ValueError, match="got one with another model; delete"):
        fit(relu, X, Y, checkpoint=finished, **SETTINGS)


@pytest.mark.parametrize("name", ["symvi", "jax", "optax", "numpyro"])
def test_other_software_is_named(finished, monkeypatch, name):
    versions = {**checkpoint.software(), name: "0.0.1"}
    monkeypatch.setattr("symvi.vi.training.software", lambda: versions)
    with pytest.raises(ValueError, match=rf"got one with {name} .* \(here 0.0.1\)"):
        fit(MODEL, X, Y, checkpoint=finished, **SETTINGS)


def test_a_later_format_is_named(finished, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    with pytest.raises(ValueError, match=r"got one with format 2 \(here 1\)"):
        fit(MODEL, X, Y, checkpoint=finished, **SETTINGS)


def test_fewer_steps_than_the_file_has(finished):
    with pytest.raises(
        ValueError, match=r"at most steps=20, got one after 40 steps in .*ask for steps=40"
    ):
        fit(MODEL, X, Y, checkpoint=finished, **{**SETTINGS, "steps": 20})


def test_damage_is_refused(finished, tmp_path):
    content = finished.read_bytes()
    path = tmp_path / "fit.npz"
    for damaged in (content[: len(content) // 2], b"text", b"", np.ones(3).tobytes()):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"checkpoint: expected a checkpoint of fit in .*; delete the file"
        ) as caught:
            fit(MODEL, X, Y, checkpoint=path, **SETTINGS)
        assert "pickle" not in str(caught.value) + repr(caught.value.__cause__)
    np.savez(path, numbers=np.ones(3))
    with pytest.raises(ValueError, match="got a file of another kind"):
        fit(MODEL, X, Y, checkpoint=path, **SETTINGS)


def test_places_that_cannot_hold_a_file_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("symvi.vi.training.run", None)  # any work would fail
    with pytest.raises(ValueError, match="checkpoint: expected a file, got the folder"):
        fit(MODEL, X, Y, checkpoint=tmp_path, **SETTINGS)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match=r"fit.npz"):
        fit(MODEL, X, Y, checkpoint=tmp_path / "file" / "fit.npz", **SETTINGS)


def test_nothing_half_written(tmp_path, monkeypatch):
    """A full disk leaves the file as it was, and the error names it."""
    file = Checkpoint(tmp_path / "state.npz", {"seed": "1"})
    losses = np.zeros((1, 2))
    file.save({"w": np.ones(3)}, losses, [])

    def fails(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archive.np, "savez", fails)
        with pytest.raises(OSError, match=r"No space left on device: '.*state.npz'"):
            file.save({"w": np.zeros(3)}, losses, [])
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    assert np.array_equal(file.load({"w": np.zeros(3)}, 2)[0]["w"], np.ones(3))


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    left = tmp_path / ".state.npz-killed.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    Checkpoint(tmp_path / "state.npz", {}).save({"w": np.ones(3)}, np.zeros((1, 2)), [])
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]
