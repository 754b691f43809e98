"""A fit that was interrupted ends as the uninterrupted one, bit for bit; restarts may be shared out over devices."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from symvi import BNN, MLP, Categorical, Gaussian, fit
from symvi.vi.checkpoint import load, save

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
    left = [writes]

    def counted(*args, **arrays):
        save(*args, **arrays)
        left[0] -= 1
        if not left[0]:
            raise Stop

    monkeypatch.setattr("symvi.vi.fit.save", counted)


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
run = symvi.fit(bnn, x, y, steps=2000, restarts=2, batch_size=200, progress=False, checkpoint=sys.argv[1] if len(sys.argv) > 2 else None)
np.savez(sys.argv[-1], losses=run.losses, loc=run.posterior.loc["W1"])
"""


def test_killed_at_any_step(tmp_path):
    script, state = tmp_path / "run.py", tmp_path / "state.npz"
    script.write_text(SCRIPT)
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
        run = symvi.fit(bnn, x, np.sin(x), symmetrize=method, steps=20, restarts=restarts, progress=False)
        print(repr(run.losses.sum()), [e.value for e in run.elbos])
"""


def test_restarts_on_eight_devices(tmp_path):
    one = DEVICES.replace("== 8", "== 1")
    lines = []
    for text, flag in ((DEVICES, "--xla_force_host_platform_device_count=8"), (one, "")):
        done = subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "XLA_FLAGS": flag},
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


def test_other_settings_and_damage_are_refused(tmp_path):
    path = tmp_path / "fit.npz"
    fit(MODEL, X, Y, checkpoint=path, **SETTINGS)
    for other in ({"seed": 4}, {"steps": 80}, {"symmetrize": "pairwise"}):
        with pytest.raises(ValueError, match=r"checkpoint: expected .* to belong to this fit"):
            fit(MODEL, X, Y, checkpoint=path, **{**SETTINGS, **other})
    with pytest.raises(ValueError, match="to belong to this fit"):
        fit(MODEL, X + 1, Y, checkpoint=path, **SETTINGS)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"text", b""):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"checkpoint: expected a checkpoint of fit in .*got something else"
        ):
            fit(MODEL, X, Y, checkpoint=path, **SETTINGS)


def test_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    save(path, "a", {"w": np.ones(3)}, losses=np.zeros(2))

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        save(path, "a", {"w": np.zeros(3)}, losses=np.zeros(2))
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    assert np.array_equal(load(path, "a", {"w": np.zeros(3)})[0]["w"], np.ones(3))


def test_nan_is_reported_before_the_end(monkeypatch):
    """All restarts diverge in the first twentieth: the rest is not run."""
    import symvi.vi

    calls, run = [], symvi.vi._run

    def counted(*args):
        calls.append(1)
        return run(*args)

    monkeypatch.setattr(symvi.vi, "_run", counted)
    x = np.linspace(-1, 1, 20)[:, None]
    with pytest.raises(ValueError, match="at least one restart with finite loss, got none"):
        fit(
            BNN(MLP([1, 3, 1], "relu"), Gaussian(0.1)),
            x,
            1e200 * x,
            steps=2000,
            restarts=2,
            progress=False,
        )
    assert len(calls) == 1
