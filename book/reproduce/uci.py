"""Regression on UCI's sets and their twenty standard splits (an appendix of the book).

    .venv/bin/python book/reproduce/uci.py [set ...]

approximates the posterior of one network, 10 tanh units, on each split of `SETS` and of the sets
named besides in many ways, scores the test part, and writes book/results/uci.json.

* fits by mean field and by Gaussians with a full covariance in each unit, each without and with the
  pairwise bound of the orbit information; and the mixtures of their restarts;
* a low-rank Gaussian, linearised Laplace, SWAG and MultiSWAG. The rate of the latter two is chosen
  on a tenth of the training part;
* NUTS on the first split of each, and whether its functions pass the rules.

It goes on where it was interrupted; what is finished is kept in _build/results/uci.
"""

import json
import math
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np

import symvi
from symvi import baselines, files
from symvi.book.sweeps import rounded
from symvi.comparison import held_out, point_error

ROOT = Path(__file__).resolve().parents[2]
SETS = ("yacht", "energy", "concrete", "wine-quality-red")  # the larger ones take hours each
SPLITS = 20
WIDTH = 10
RESTARTS, STEPS, DRAWS = 4, 5000, 1000
ARMS = {  # of fits: covariance and method
    "mean field": ("diagonal", None),
    "mean field + I": ("diagonal", "pairwise"),
    "unit": ("unit", None),
    "unit + I": ("unit", "pairwise"),
}
BASELINES = ("low rank", "laplace", "swag", "multiswag")
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of SWAG, chosen by validation
CHAINS, WARMUP, KEPT = 4, 1500, 1000  # of NUTS


def model(data):
    """The network on the inputs of `data`; its noise is inferred."""
    net = symvi.MLP([data.x.shape[1], WIDTH, 1], activation="tanh", signed=True)
    return symvi.BNN(net, symvi.Gaussian(), prior_scale=1.0)


def scores(bnn, data, draws):
    """On the test part, in the unit of the target: root mean squared error and log density."""
    density = held_out(bnn, draws, data.x_test, data.y_test)
    error = point_error(bnn, draws, data.x_test, data.y_test)
    scale = float(data.y_scale[0])
    return {
        "rmse": scale * error.value,
        "log density": density.value - math.log(scale),
    }


def fitted(bnn, data, arm, seed):
    """One of `ARMS`: scores of its best restart and of the mixture of all, with its bounds."""
    covariance, method = ARMS[arm]
    found = symvi.fit(
        bnn,
        data.x,
        data.y,
        symmetrize=method,
        covariance=covariance,
        steps=STEPS,
        restarts=RESTARTS,
        seed=seed,
        progress=False,
    )
    best = int(np.argmax([e.value for e in found.elbos]))
    information = symvi.orbit_information(found.posteriors[best], "pairwise")
    mixed = baselines.mixture(found.posteriors, baselines.elbo_weights(found.elbos))
    rise = found.last_rise()
    own = found.elbos[best]
    return {
        "best": scores(bnn, data, found.posteriors[best].sample(jax.random.key(1), DRAWS)),
        "mixture": scores(bnn, data, mixed.sample(jax.random.key(1), DRAWS)),
        "objective": own.value,
        "objective error": own.std_error,
        "information": [information.lower.value, information.upper.value],
        "objectives": [e.value for e in found.elbos],
        "last rise": [rise.value, rise.std_error],
        "kept": len(found.kept),
    }


def validated_rate(bnn, data, seed):
    """The rate in `RATES` with the highest log density of SWAG on a tenth of the training part."""
    order = np.random.default_rng(seed).permutation(len(data.x))
    held, rest = order[: len(order) // 10], order[len(order) // 10 :]
    found = {}
    for rate in RATES:
        try:
            q = baselines.swag(bnn, data.x[rest], data.y[rest], learning_rate=rate, seed=seed)
        except ValueError:  # it diverged
            continue
        draws = q.sample(jax.random.key(1), DRAWS)
        found[rate] = held_out(bnn, draws, data.x[held], data.y[held]).value
    return max(found, key=found.get), found


def baseline(bnn, data, arm, seed):
    """One of `BASELINES`: scores, and what it was chosen by."""
    rows = {}
    predicts = bnn
    if arm == "low rank":
        q = baselines.low_rank_gaussian(
            bnn, data.x, data.y, steps=STEPS, restarts=RESTARTS, seed=seed
        )
        rows["objective"] = q.elbo.value
    elif arm == "laplace":
        q = baselines.laplace(bnn, data.x, data.y, restarts=RESTARTS, seed=seed)
        predicts = q.model
    else:
        rate, validation = validated_rate(bnn, data, seed)
        rows |= {"rate": rate, "validation": {str(k): v for k, v in validation.items()}}
        if arm == "swag":
            q = baselines.swag(bnn, data.x, data.y, learning_rate=rate, seed=seed)
        else:
            q = baselines.multiswag(
                bnn, data.x, data.y, restarts=RESTARTS, learning_rate=rate, seed=seed
            )
    rows["best"] = scores(predicts, data, q.sample(jax.random.key(1), DRAWS))
    return rows


def by_nuts(bnn, data, seed):
    """Scores of NUTS, and whether its functions pass the rules, at the test inputs too."""
    chains = symvi.nuts(
        bnn, data.x, data.y, chains=CHAINS, warmup=WARMUP, draws=KEPT, seed=seed, progress=False
    )
    found = symvi.truth.diagnostics.acceptance(bnn, chains, data.x, data.y)
    elsewhere = symvi.convergence(bnn, chains, data.x, data.y, x_new=data.x_test)
    kept = symvi.draws.posterior_draws(chains)
    return {
        "best": scores(bnn, data, kept),
        "acceptance": {k: v if isinstance(v, (str, bool)) else float(v) for k, v in found.items()},
        "rhat": {str(view): float(row["rhat"]) for view, row in elsewhere.iterrows()},
    }


def work(name, split, arm):
    """One cell: an approximation on one split."""
    jax.config.update("jax_enable_x64", True)
    begun = time.time()
    data = symvi.data.uci(name, split)
    bnn = model(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the rows
        if arm in ARMS:
            rows = fitted(bnn, data, arm, split)
        elif arm in BASELINES:
            rows = baseline(bnn, data, arm, split)
        else:
            rows = by_nuts(bnn, data, split)
    made = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"rows": rows | {"seconds": round(time.time() - begun, 1)}, "made": made}


def cells(names):
    """All cells of the sets `names`."""
    found = [
        {"name": name, "split": split, "arm": arm}
        for name in names
        for arm in (*ARMS, *BASELINES)
        for split in range(SPLITS)
    ]
    return found + [{"name": name, "split": 0, "arm": "nuts"} for name in names]


def main(names):
    """Run what is missing, then write the results."""
    its_cells = cells(dict.fromkeys((*SETS, *names)))
    found = symvi.sweep(work, its_cells, ROOT / "_build" / "results" / "uci")
    target = ROOT / "book" / "results" / "uci.json"
    records = [
        {"cell": cell, "rows": rounded(result["rows"]), "made": result["made"]}
        for cell, result in zip(its_cells, found, strict=True)
    ]
    made = {"command": "book/reproduce/uci.py", "symvi": symvi.__version__}
    files.write_text(target, json.dumps({"made": made, "cells": records}) + "\n")
    print(f"{len(records)} cells in {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
