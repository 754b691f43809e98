"""The map of chapter 7: what symmetrized training changes against mean field.

    .venv/bin/python book/reproduce/training_map.py

fits every setting of ``GRID`` (one restart of one data set counts as one fit) and writes
book/results/training-map.json. It goes on where it was interrupted; finished settings are kept in
_build/results/training-map.
"""

import json
import math
import platform
import time
from functools import partial
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import symvi
from symvi import files
from symvi.information import pairwise_bounds, pointwise_exact, pointwise_guided
from symvi.permanents import MAX_EXACT

ROOT = Path(__file__).resolve().parents[2]
GRID = {
    "width": (4, 8, 32),
    "size": (16, 64, 256),
    "noise": (0.1, 0.3, 1.0),
    "start": (-3.0, -1.0),
}  # start: log of the initial standard deviation
COLUMNS = ("L", "I lower", "I upper", "held-out", "active", "pairwise lower", "pairwise upper")


def draw_data(size, noise, seed):
    """y = sin(2x) + noise, x uniform on [-2, 2]: `size` training rows and 1000 held-out rows."""
    rng = np.random.default_rng([seed, 7])
    x, x_test = rng.uniform(-2, 2, (size, 1)), rng.uniform(-2, 2, (1000, 1))
    return (
        x,
        np.sin(2 * x) + noise * rng.normal(size=x.shape),
        x_test,
        np.sin(2 * x_test) + noise * rng.normal(size=x_test.shape),
    )


@partial(jax.jit, static_argnums=0)
def measure(bnn, q, x, y, x_test, y_test):
    """The columns for one posterior: 500 draws, of which 100 for the guided bounds of I where it is
    not exact."""
    w = q.sample(jax.random.key(1), 500)
    lower_bound = q.entropy() + jax.vmap(lambda v: bnn.log_joint(v, x, y))(w).mean()
    if bnn.net.widths[1] <= MAX_EXACT // 2:
        low = high = jax.vmap(lambda v: pointwise_exact(q, v))(w).mean()
    else:
        some, keys = jax.tree.map(lambda v: v[:100], w), jax.random.split(jax.random.key(2), 100)
        low, high = (
            v.mean()
            for v in jax.lax.map(lambda v: pointwise_guided(q, *v, 20), (some, keys), batch_size=25)
        )
    terms = jax.vmap(lambda v: bnn.pointwise_log_likelihood(v, x_test, y_test))(w)
    held_out = (jax.nn.logsumexp(terms, axis=0) - math.log(len(terms))).mean()
    active = jnp.sum(jnp.abs(q.loc["W2"][:, 0]) > q.scale["W2"][:, 0])
    return jnp.stack([lower_bound, low, high, held_out, active.astype(float), *pairwise_bounds(q)])


def setting(width, size, noise, start, draws=6, restarts=8, steps=5000):
    """Every method on the same `draws` data sets from the same `restarts` starts: arrays (draws,
    restarts, columns) by method."""
    jax.config.update("jax_enable_x64", True)
    bnn = symvi.BNN(symvi.MLP([1, width, 1], activation="tanh"), symvi.Gaussian(noise))
    methods = (None, "pairwise") + (("exact",) if width <= MAX_EXACT // 2 else ())
    out = {str(m): [] for m in methods}
    for seed in range(draws):
        data = draw_data(size, noise, seed)
        for method in methods:
            run = symvi.fit(
                bnn,
                *data[:2],
                symmetrize=method,
                steps=steps,
                restarts=restarts,
                initial_scale=math.exp(start),
                seed=seed,
                progress=False,
            )
            table = np.full((restarts, len(COLUMNS)), np.nan)  # a restart that diverged stays NaN
            table[list(run.kept)] = [measure(bnn, q, *data) for q in run.posteriors]
            out[str(method)].append(table)
    return {name: np.array(tables) for name, tables in out.items()}


def main():
    """Run what is missing, then write the table."""
    begun = time.time()
    cells = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    results = symvi.sweep(setting, cells, ROOT / "_build" / "results" / "training-map")
    rounded = [
        {
            "cell": c,
            "result": {
                m: np.vectorize(lambda v: float(f"{v:.6g}"))(t).tolist() for m, t in r.items()
            },
        }
        for c, r in zip(cells, results, strict=True)
    ]
    made = {
        "command": "book/reproduce/training_map.py",
        "symvi": symvi.__version__,
        "jax": jax.__version__,
        "machine": platform.machine(),
        "seconds": round(time.time() - begun),
    }
    target = ROOT / "book" / "results" / "training-map.json"
    content = {"made": made, "columns": COLUMNS, "cells": rounded}
    files.write_text(target, json.dumps(content) + "\n")
    print(f"{len(cells)} settings in {target} ({made['seconds']} s in this run)")


if __name__ == "__main__":
    main()
