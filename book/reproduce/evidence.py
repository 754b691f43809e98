"""The table of chapter 11: log evidences of the reference posteriors, and fits against them.

    .venv/bin/python book/reproduce/evidence.py

runs tempered sequential Monte Carlo in blocks of independent repeats, fits every method from the
same eight starts, and writes book/results/evidence.json. It goes on where it was interrupted; what
is finished is kept in _build/results/evidence.
"""

import json
import math
import platform
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import symvi
from symvi.information import pointwise_exact, pointwise_guided
from symvi.truth.references import RECIPES

ROOT = Path(__file__).resolve().parents[2]
PARTICLES, REPEATS, BLOCKS = 1000, 8, 2  # repeats of one block
RESTARTS, STEPS, DRAWS, SCALE = (
    8,
    3000,
    8,
    0.05,
)  # of the fits; draws a step; starting standard deviation
MEASURED, GUIDED, PERMUTATIONS = (
    10_000,
    400,
    20,
)  # draws that measure a posterior; for the guided bounds; permutations of each
METHODS = {
    "plain": {},
    "unit": {"covariance": "unit"},
    "exact": {"symmetrize": "exact"},
    "pairwise": {"symmetrize": "pairwise"},
}
COLUMNS = ("L", "L error", "I lower", "I upper", "lower error", "upper error", "L_G error")


def methods_of(name):
    """The methods for a posterior: all, but "exact" only with one hidden layer."""
    deep = len(RECIPES[name].net.widths) > 3
    return [m for m in METHODS if not (deep and m == "exact")]


def evidence(name, block, particles=PARTICLES, repeats=REPEATS):
    """One block of repeats: the estimate and its standard error."""
    jax.config.update("jax_enable_x64", True)
    begun = time.time()
    bnn, data = symvi.reference_model(name)
    found = symvi.log_evidence(
        bnn, data.x, data.y, particles=particles, repeats=repeats, seed=block
    )
    return {
        "value": found.value,
        "std_error": found.std_error,
        "runs": found.runs.tolist(),
        "effective_runs": found.effective_runs,
        "seconds": round(time.time() - begun),
    }


def pooled(blocks):
    """The log of the mean of the blocks' estimates of p(y | x), with its standard error."""
    values, errors = (np.array([b[k] for b in blocks]) for k in ("value", "std_error"))
    z = np.exp(values - values.max())
    return float(values.max() + math.log(z.mean())), float(
        np.sqrt(np.sum((z * errors) ** 2)) / z.sum()
    )


@partial(jax.jit, static_argnums=0)
def measure(bnn, q, x, y, key):
    """The columns for one posterior: L and I(g; w) on the same draws.

    I is exact with one hidden layer, and else guided bounds on some of the draws.
    """
    k_weights, k_group = jax.random.split(key)
    w = q.sample(k_weights, MEASURED)

    def mean_error(values):
        return values.mean(), values.std(ddof=1) / math.sqrt(len(values))

    gap = jax.lax.map(lambda v: bnn.log_joint(v, x, y) - q.log_prob(v), w, batch_size=100)
    bound, error = mean_error(gap)
    if len(bnn.symmetry.groups) == 1:
        gain = jax.lax.map(lambda v: pointwise_exact(q, v), w, batch_size=100)
        low, low_error = mean_error(gain)
        return jnp.stack([bound, error, low, low, low_error, low_error, mean_error(gap + gain)[1]])
    some, keys = jax.tree.map(lambda v: v[:GUIDED], w), jax.random.split(k_group, GUIDED)
    (low, low_error), (high, high_error) = (
        mean_error(v)
        for v in jax.lax.map(
            lambda v: pointwise_guided(q, *v, PERMUTATIONS), (some, keys), batch_size=50
        )
    )
    return jnp.stack(
        [
            bound,
            error,
            low,
            high,
            low_error,
            high_error,
            jnp.hypot(error, jnp.maximum(low_error, high_error)),
        ]
    )


def train(name, method, steps=STEPS, seed=0):
    """All restarts of one method on one posterior: the fit."""
    bnn, data = symvi.reference_model(name)
    return symvi.fit(
        bnn,
        data.x,
        data.y,
        steps=steps,
        restarts=RESTARTS,
        num_samples=DRAWS,
        initial_scale=SCALE,
        seed=seed,
        progress=False,
        **METHODS[method],
    )


def fitted(name, method):
    """The columns of every restart, shape (restarts, columns).

    Each is on draws of its own, the same for all methods; a restart that diverged stays NaN.
    """
    jax.config.update("jax_enable_x64", True)
    begun = time.time()
    bnn, data = symvi.reference_model(name)
    run = train(name, method)
    table = np.full((RESTARTS, len(COLUMNS)), np.nan)
    table[list(run.kept)] = [
        measure(bnn, q, data.x, data.y, jax.random.key(r))
        for r, q in zip(run.kept, run.posteriors, strict=True)
    ]
    return {"table": table, "seconds": round(time.time() - begun)}


def main():
    """Run what is missing, then write the table."""
    store = ROOT / "_build" / "results" / "evidence"
    cells = [{"name": name, "block": block} for block in range(BLOCKS) for name in RECIPES]
    blocks = symvi.sweep(evidence, cells, store / "smc", workers=1)
    fits = [{"name": name, "method": method} for name in RECIPES for method in methods_of(name)]
    tables = symvi.sweep(fitted, fits, store / "fits", workers=1)
    record = {}
    for name in RECIPES:
        own = [b for c, b in zip(cells, blocks, strict=True) if c["name"] == name]
        value, error = pooled(own)
        (bnn, _), columns = symvi.reference_model(name), {}
        for cell, found in zip(fits, tables, strict=True):
            if cell["name"] == name:
                columns[cell["method"]] = np.vectorize(lambda v: float(f"{v:.6g}"))(
                    found["table"]
                ).tolist()
        seconds = {
            "evidence": sum(b["seconds"] for b in own),
            "fits": sum(
                f["seconds"] for c, f in zip(fits, tables, strict=True) if c["name"] == name
            ),
        }
        record[name] = {
            "log_evidence": value,
            "std_error": error,
            "blocks": own,
            "log_order": float(bnn.symmetry.log_order),
            "seconds": seconds,
            "fits": columns,
        }
    settings = {
        "particles": PARTICLES,
        "repeats": REPEATS * BLOCKS,
        "restarts": RESTARTS,
        "steps": STEPS,
        "draws_a_step": DRAWS,
        "initial_scale": SCALE,
        "measured": MEASURED,
        "guided": GUIDED,
        "permutations": PERMUTATIONS,
    }
    made = {
        "command": "book/reproduce/evidence.py",
        "symvi": symvi.__version__,
        "jax": jax.__version__,
        "machine": platform.machine(),
    }
    target = ROOT / "book" / "results" / "evidence.json"
    partial_file = target.with_suffix(".tmp")
    partial_file.write_text(
        json.dumps({"made": made, "settings": settings, "columns": COLUMNS, "posteriors": record})
        + "\n",
        encoding="utf-8",
    )
    partial_file.replace(target)
    print(f"{len(record)} posteriors in {target}")


if __name__ == "__main__":
    main()
