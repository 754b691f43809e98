"""The tables of chapter 8: Table 1 of Gelberg et al. (2024) on MNIST, wider networks, and where
the orbit information is alive.

    .venv/bin/python book/reproduce/mnist_table.py

chooses what the paper leaves unsaid by mean-field fits on 50,000 of the training images, checked on
the other 10,000, then trains every method from paired seeds and writes book/results/mnist.json. It
goes on where it was interrupted; what is finished is kept in _build/results/mnist. MNIST is
downloaded once if it is not there.
"""

import json
import math
import os
import platform
import time
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import symvi
from symvi import files
from symvi.comparison import expected_calibration_error
from symvi.information import pairwise_bounds, pairwise_objective
from symvi.permanents import MAX_EXACT

ROOT = Path(__file__).resolve().parents[2]
WIDTHS, WIDE, SEEDS, TRACED = (5, 10, 20, 30), (100, 400), 10, 2
PAPER = {5: 88.379, 10: 93.217, 20: 94.836, 30: 95.432}  # Table 1, mean field, accuracy in %
CHOICES = {
    "activation": ("relu", "tanh"),
    "prior": (0.1, 0.3, 1.0),
    "start": (-3.0, -2.0),
}  # start: log of the initial standard deviation
METHODS = {
    "plain": {},
    "K=5": {"symmetrize": "infonce", "num_permutations": 5},
    "K=10": {"symmetrize": "infonce", "num_permutations": 10},
    "K=20": {"symmetrize": "infonce", "num_permutations": 20},
    "guided": {"symmetrize": "guided", "num_permutations": 5},
    "pairwise": {"symmetrize": "pairwise"},
}
WIDE_SEEDS, MAP_SEEDS = 3, 5
EPOCHS, BATCH, RATE = 10, 100, 1e-3  # the paper's
STEPS = EPOCHS * 60_000 // BATCH
TIMES = (0, 20, 100, 600, 1800, 6000)  # steps at which the information is measured along training
DRAWS = 200  # networks that predict (the paper: 1000)


def grid(**axes):
    """All combinations as a list of dicts."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


@lru_cache
def images(held_out=0):
    """Training and test images and labels; with `held_out`, that many of the training images are
    the test part."""
    data = symvi.data.mnist(download=True)
    x, y = data.x, data.y.astype(np.int32)
    return (
        (x[:-held_out], y[:-held_out], x[-held_out:], y[-held_out:])
        if held_out
        else (x, y, data.x_test, data.y_test.astype(np.int32))
    )


@lru_cache
def model(width, activation, prior):
    """The network 784-width-10; one object for each, so that its programs compile once."""
    return symvi.BNN(
        symvi.MLP([784, width, 10], activation), symvi.Categorical(), prior_scale=prior
    )


def train(bnn, x, y, start, seed, method="plain", steps=STEPS, restarts=1, rate=RATE):
    """The restarts' posteriors."""
    options = {
        "steps": steps,
        "restarts": restarts,
        "num_samples": 1,
        "batch_size": BATCH,
        "learning_rate": rate,
        "initial_scale": math.exp(start),
    }
    return symvi.fit(bnn, x, y, **options, seed=seed, progress=False, **METHODS[method]).posteriors


@partial(jax.jit, static_argnums=(0, 4))
def probabilities(bnn, q, x, key, num=DRAWS):
    """Mean predicted probabilities over `num` networks drawn from q: shape (N, 10)."""
    draws = q.sample(key, num)
    return (
        jax.lax.scan(
            lambda total, w: (total + jax.nn.softmax(bnn.net.apply(w, x)), None),
            jnp.zeros((len(x), bnn.net.widths[-1])),
            draws,
        )[0]
        / num
    )


def prediction(p, y):
    """Accuracy in %, mean negative log probability in nats, expected calibration error in 10 bins
    (in %)."""
    p = np.asarray(p, float)
    hit = p.argmax(1) == y
    return {
        "accuracy": 100 * hit.mean(),
        "nll": -np.log(p[np.arange(len(y)), y]).mean(),
        "ece": 100 * expected_calibration_error(p.max(1), hit),
    }


@jax.jit
def pull(q):
    """The largest entry of the gradient of the pairwise bound of I with respect to loc and log
    scale."""
    slope = jax.grad(
        lambda loc, log_scale: pairwise_objective(
            symvi.MeanField(loc, jax.tree.map(jnp.exp, log_scale), q.symmetry)
        )[0],
        (0, 1),
    )(q.loc, jax.tree.map(jnp.log, q.scale))
    return jnp.max(jnp.array([jnp.abs(s).max() for s in jax.tree.leaves(slope)]))


def active(q):
    """Units with an outgoing weight whose mean is farther from 0 than its standard deviation."""
    return int((np.abs(q.loc["W2"]) > np.asarray(q.scale["W2"])).any(1).sum())


def information(q, guided=True):
    """I(g; w), in double precision: the uniform bound with K = 20, the certified pairwise interval,
    exact or guided values, and the pull."""
    with jax.enable_x64(True):
        q = symvi.MeanField(
            *({k: jnp.asarray(v, float) for k, v in side.items()} for side in (q.loc, q.scale)),
            q.symmetry,
        )
        found = {
            "uniform": symvi.orbit_information(
                q, "infonce", num_samples=100, num_permutations=20
            ).value
        }
        found |= {"pairwise": [float(v) for v in pairwise_bounds(q)], "pull": float(pull(q))}
        if guided:
            exact = q.symmetry.groups[0].size <= MAX_EXACT
            value = symvi.orbit_information(q, "exact" if exact else "guided", num_samples=100)
            found["best"] = (
                [value.value, value.value] if exact else [value.lower.value, value.upper.value]
            )
    return found


def flat(q):
    """All means and standard deviations as one vector."""
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves((q.loc, q.scale))])


def choice(activation, prior, start, width):
    """Three mean-field fits on 50,000 images, judged on the other 10,000 training images; seeds
    that no table uses."""
    x, y, x_out, y_out = images(held_out=10_000)
    bnn = model(width, activation, prior)
    posteriors = train(bnn, x, y, start, seed=100, steps=EPOCHS * len(x) // BATCH, restarts=3)
    return {
        "accuracy": [
            prediction(probabilities(bnn, q, x_out, jax.random.key(1), 100), y_out)["accuracy"]
            for q in posteriors
        ],
        "pairwise": [[float(v) for v in pairwise_bounds(q)] for q in posteriors],
    }


def harder(width, activation, prior, start):
    """Mean-field fits on 50,000 images, one a seed of the table, scored on the other 10,000 and on
    the test images."""
    x, y, x_out, y_out = images(held_out=10_000)
    *_, x_test, y_test = images()
    bnn = model(width, activation, prior)
    posteriors = train(bnn, x, y, start, seed=200, steps=EPOCHS * len(x) // BATCH, restarts=SEEDS)
    parts = {"held out": (x_out, y_out), "test": (x_test, y_test)}
    return {
        name: [
            prediction(probabilities(bnn, q, u, jax.random.key(1)), v)["accuracy"]
            for q in posteriors
        ]
        for name, (u, v) in parts.items()
    }


def compared(
    bnn, start, seed, methods, size=60_000, guided=True, key=2, draws=20, steps=STEPS, rate=RATE
):
    """Every method from the same start, on the same batches with the same noise: its measures, and
    its distance from plain training."""
    x, y, x_test, y_test = images()
    x, y, out = x[:size], y[:size], {}
    for method in methods:
        begun = time.time()
        (q,) = train(bnn, x, y, start, seed, method, steps, rate=rate)
        seconds, p = time.time() - begun, probabilities(bnn, q, x_test, jax.random.key(1))
        row = {
            **prediction(p, y_test),
            "seconds": seconds,
            "active": active(q),
            **information(q, guided),
        }
        bound = symvi.elbo(bnn, q, x, y, num_samples=draws, key=jax.random.key(key))
        row |= {"L": bound.value, "L error": bound.std_error}
        if method == "plain":
            first, label = flat(q), np.asarray(p).argmax(1)
        out[method] = {
            **row,
            "weights apart": np.abs(flat(q) - first).max(),
            "labels apart": int((np.asarray(p).argmax(1) != label).sum()),
        }
    return out


def table(width, activation, prior, start, seed):
    """One seed of Table 1 at one width, all methods; at width 100 plain training and the paper's K
    = 20, at 400 plain training."""
    bnn = model(width, activation, prior)
    return compared(
        bnn,
        start,
        seed,
        METHODS if width in WIDTHS else ("plain", "K=20") if width == WIDE[0] else ("plain",),
        guided=width in WIDTHS,
    )


def trace(width, activation, prior, start, seed):
    """The information along plain training: a fit of fewer steps is the beginning of a longer
    one."""
    x, y, *_ = images()
    bnn, out = model(width, activation, prior), []
    for steps in TIMES:
        (q,) = train(bnn, x, y, start, seed, steps=max(1, steps))
        if steps == 0:  # the start, but for one step of the means
            q = symvi.MeanField(
                q.loc,
                jax.tree.map(lambda a: jnp.full_like(a, math.exp(start)), q.scale),
                q.symmetry,
            )
        out.append(information(q, guided=False))
    return out


def alive(width, images, prior, start, seed):
    """Plain training and training with I, with few or all images, narrow or wide priors and
    starts."""
    return compared(
        model(width, "relu", prior),
        math.log(prior) if start is None else start,
        seed,
        ("plain", "pairwise") if width == 10 else ("plain", "K=20", "pairwise"),
        size=images,
        key=100 + seed,
        draws=1000 if images <= 1000 else 100,
    )


def slow(seed):
    """One setting of `alive` with a tenth of the rate and 40,000 steps."""
    return compared(
        model(10, "relu", 1.0),
        0.0,
        seed,
        ("plain", "pairwise"),
        size=100,
        key=100 + seed,
        draws=1000,
        steps=40_000,
        rate=RATE / 10,
    )


MAP = [
    *grid(width=(10,), images=(100, 1000, 60_000), prior=(0.1, 1.0), start=(-3.0, None)),
    {"width": 30, "images": 60_000, "prior": 1.0, "start": -1.0},
]  # None: start as wide as the prior
TASKS = {
    "slow": slow,
    "choice": choice,
    "harder": harder,
    "table": table,
    "trace": trace,
    "alive": alive,
}


def work(task, **arguments):
    """One cell of the sweep, in single precision."""
    jax.config.update("jax_enable_x64", False)
    return {"rows": TASKS[task](**arguments)}


def chosen(choices):
    """The setting whose mean-field accuracies, on the 10,000 images, stay closest to the paper's
    four."""

    def distance(setting):
        return max(
            abs(np.mean(rows["accuracy"]) - PAPER[cell["width"]])
            for cell, rows in choices
            if all(cell[k] == v for k, v in setting.items())
        )

    return min(grid(**CHOICES), key=distance)


def rounded(value):
    """Six significant digits; certified bounds whole, since what is missing from log |G| is
    small."""
    if isinstance(value, dict):
        return {k: v if k == "pairwise" else rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main():
    """Run what is missing, then write the tables."""
    folder = ROOT / "_build" / "results" / "mnist"
    clock = folder / "seconds"  # by the clock, of all runs so far

    def swept(task, cells):
        begun = time.time()
        try:
            rows = [
                r["rows"] for r in symvi.sweep(work, [{"task": task, **c} for c in cells], folder)
            ]
        finally:
            before = float(clock.read_text(encoding="utf-8")) if clock.exists() else 0
            files.write_text(clock, str(before + time.time() - begun))
        return list(zip(cells, rows, strict=True))

    choices = swept("choice", grid(width=WIDTHS, **CHOICES))
    setting = chosen(choices)
    same = {k: (v,) for k, v in setting.items()}
    found = {
        "choice": choices,
        "harder": swept("harder", grid(width=WIDTHS, **same)),
        "trace": swept("trace", grid(seed=range(TRACED), width=WIDTHS, **same)),
        "alive": swept("alive", [{"seed": seed, **c} for seed in range(MAP_SEEDS) for c in MAP]),
        "slow": swept("slow", grid(seed=range(MAP_SEEDS))),
        "table": swept("table", grid(seed=range(SEEDS), width=WIDTHS, **same))
        + swept("table", grid(width=WIDE, **same, seed=range(WIDE_SEEDS))),
    }
    made = {
        "command": "book/reproduce/mnist_table.py",
        "symvi": symvi.__version__,
        "jax": jax.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "seconds": round(float(clock.read_text(encoding="utf-8"))),
    }
    target = ROOT / "book" / "results" / "mnist.json"
    content = {
        "made": made,
        "setting": setting,
        **{
            name: [{"cell": c, "rows": rounded(r)} for c, r in cells]
            for name, cells in found.items()
        },
    }
    files.write_text(target, json.dumps(content) + "\n")
    cells = sum(map(len, found.values()))
    print(f"{setting}: {cells} cells in {target} ({made['seconds']} s in all runs)")


if __name__ == "__main__":
    main()
