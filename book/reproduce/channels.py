"""Channels of a convolutional network on 8 x 8 digits (an appendix of the book).

    .venv/bin/python book/reproduce/channels.py [processes]

splits scikit-learn's digits into seven training sets of 200 images that share none, and 397 images
for testing. On each training set it approximates the posterior of one small convolutional network,
scores the test images, and writes book/results/channels.json.

* Mean field, plain and trained with the pairwise bound of the orbit information of its channels,
  eight restarts each, from narrow and from wide starts.
* The modes of as many restarts: the best one, and all as an ensemble; linearised Laplace at the
  best.
* The restart that each narrow fit returns, trained on for longer and with more draws, at last at a
  tenth of the rate, so that it comes to rest; its bounds are measured by more draws too.
* NUTS on the first training set, and whether its functions pass the rules.

It goes on where it was interrupted; what is finished is kept in _build/results/channels.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np

import symvi
from symvi import baselines, files
from symvi.book.sweeps import rounded
from symvi.comparison import calibration_error, held_out, point_error

ROOT = Path(__file__).resolve().parents[2]
SETS, TRAINING = 7, 200  # training sets that share no image, and images in each
RESTARTS, STEPS, NUM_SAMPLES, DRAWS = 8, 3000, 2, 500
SCALES = {"narrow": 0.05, "wide": 0.5}  # every weight's standard deviation at first
METHODS = {"plain": None, "with I": "pairwise"}
REST, REST_SAMPLES = {1e-2: 6000, 1e-3: 3000}, 8  # further steps by rate, and their draws
MEASURED = 5000  # draws that measure L before and after these
BASELINES = ("modes", "laplace")
CHAINS, WARMUP, KEPT, DEPTH = 4, 400, 400, 8  # of NUTS


def module():
    """Two convolutions and a linear layer, of 590 weights."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(6, 8, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def model():
    """The network with its traced symmetry, unit priors and labels."""
    import torch

    net = symvi.from_torch(module(), torch.zeros(2, 1, 8, 8))
    return symvi.BNN(net, symvi.Categorical(), prior_scale=1.0)


def data_of(which):
    """Training images and labels of one set, and the test images and labels that all share."""
    digits = symvi.data.digits()
    images = np.concatenate([digits.x, digits.x_test]).reshape(-1, 1, 8, 8)
    labels = np.concatenate([digits.y, digits.y_test])
    order = np.random.default_rng(0).permutation(len(images))
    rows, test = order[which * TRAINING :][:TRAINING], order[SETS * TRAINING :]
    return images[rows], labels[rows], images[test], labels[test]


def scores(bnn, draws, data):
    """On the test images: log density (nats a label), accuracy and calibration error."""
    _, _, x, y = data
    return {
        "log density": held_out(bnn, draws, x, y).value,
        "accuracy": point_error(bnn, draws, x, y).value,
        "calibration error": calibration_error(bnn, draws, x, y).value,
    }


def fitted(bnn, data, start, method, seed):
    """Mean field: bounds of all restarts; scores of the best one and of all in equal parts."""
    found = symvi.fit(
        bnn,
        *data[:2],
        symmetrize=METHODS[method],
        steps=STEPS,
        restarts=RESTARTS,
        num_samples=NUM_SAMPLES,
        initial_scale=SCALES[start],
        seed=seed,
        progress=False,
    )
    best = int(np.argmax([e.value for e in found.elbos]))
    information = [symvi.orbit_information(q, "pairwise") for q in found.posteriors]
    mixed = baselines.mixture(found.posteriors)
    rise = found.last_rise()
    return {
        "best": scores(bnn, found.posteriors[best].sample(jax.random.key(1), DRAWS), data),
        "mixture": scores(bnn, mixed.sample(jax.random.key(1), DRAWS), data),
        "chosen": best,
        "objectives": [e.value for e in found.elbos],
        "objective errors": [e.std_error for e in found.elbos],
        "lower": [bounds.lower.value for bounds in information],
        "upper": [bounds.upper.value for bounds in information],
        "last rise": [rise.value, rise.std_error],
        "kept": len(found.kept),
    }


def baseline(bnn, data, arm, seed):
    """One of `BASELINES`: scores, and the log joints of the modes."""
    x, y, *_ = data
    if arm == "modes":
        found, heights = baselines.modes(bnn, x, y, restarts=RESTARTS, seed=seed)
        best = int(np.argmax(heights))
        alone = {name: value[best : best + 1] for name, value in found.items()}
        both = {"best": scores(bnn, alone, data), "mixture": scores(bnn, found, data)}
        return both | {"heights": np.asarray(heights, float).tolist()}
    q = baselines.laplace(bnn, x, y, restarts=RESTARTS, seed=seed)
    return {"best": scores(q.model, q.sample(jax.random.key(1), DRAWS), data)}


def by_nuts(bnn, data, seed):
    """Scores of NUTS, and whether its functions pass the rules, at test images too."""
    x, y, x_test, _ = data
    chains = symvi.nuts(
        bnn,
        x,
        y,
        chains=CHAINS,
        warmup=WARMUP,
        draws=KEPT,
        max_tree_depth=DEPTH,
        seed=seed,
        progress=False,
    )
    found = symvi.truth.diagnostics.acceptance(bnn, chains, x, y)
    elsewhere = symvi.convergence(bnn, chains, x, y, x_new=x_test)
    return {
        "best": scores(bnn, symvi.draws.posterior_draws(chains), data),
        "acceptance": {k: v if isinstance(v, (str, bool)) else float(v) for k, v in found.items()},
        "rhat": {str(view): float(row["rhat"]) for view, row in elsewhere.iterrows()},
    }


def work(which, arm, start, method):
    """One cell: an approximation on one training set."""
    begun = time.time()
    data, bnn = data_of(which), model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the rows
        if arm == "mean field":
            rows = fitted(bnn, data, start, method, which)
        elif arm == "nuts":
            rows = by_nuts(bnn, data, which)
        else:
            rows = baseline(bnn, data, arm, which)
    made = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"rows": rows | {"seconds": round(time.time() - begun, 1)}, "made": made}


def settle(which, start, method):
    """One cell: what a fit returns, trained on until it rests. Its bounds before and after."""
    begun = time.time()
    data, bnn = data_of(which), model()
    shared = {"symmetrize": METHODS[method], "seed": which, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the rows
        found = symvi.fit(
            bnn,
            *data[:2],
            steps=STEPS,
            restarts=RESTARTS,
            num_samples=NUM_SAMPLES,
            initial_scale=SCALES[start],
            **shared,
        )
        rested = found
        for rate, steps in REST.items():
            rested = symvi.fit(
                bnn,
                *data[:2],
                init=rested,
                steps=steps,
                restarts=1,
                num_samples=REST_SAMPLES,
                learning_rate=rate,
                **shared,
            )
    rows = {"before": measured(bnn, found, data), "after": measured(bnn, rested, data)}
    made = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"rows": rows | {"seconds": round(time.time() - begun, 1)}, "made": made}


def measured(bnn, fit, data):
    """L and the bounds of I of what a fit returns, and its scores."""
    q = fit.posteriors[int(np.argmax([e.value for e in fit.elbos]))]
    plain = symvi.elbo(bnn, q, *data[:2], key=jax.random.key(2), num_samples=MEASURED)
    information = symvi.orbit_information(q, "pairwise")
    own = scores(bnn, q.sample(jax.random.key(1), DRAWS), data)
    return own | {
        "elbo": plain.value,
        "elbo error": plain.std_error,
        "lower": information.lower.value,
        "upper": information.upper.value,
    }


def fits_of(starts):
    """The settings of fits from `starts`."""
    return [
        {"which": which, "start": start, "method": method}
        for start in starts
        for which in range(SETS)
        for method in METHODS
    ]


def cells():
    """The cells of :func:`work`, fits first."""
    fits = [{**cell, "arm": "mean field"} for cell in fits_of(SCALES)]
    others = [
        {"which": which, "arm": arm, "start": None, "method": None}
        for arm in BASELINES
        for which in range(SETS)
    ]
    return [*fits, *others, {"which": 0, "arm": "nuts", "start": None, "method": None}]


def main(processes=None):
    """Run what is missing, then write the results."""
    folder = ROOT / "_build" / "results" / "channels"
    records = []
    for kind, function, its_cells in (
        ("cells", work, cells()),
        ("at rest", settle, fits_of(["narrow"])),
    ):
        found = symvi.sweep(function, its_cells, folder, workers=processes)
        for cell, result in zip(its_cells, found, strict=True):
            rows = rounded(result["rows"])
            records.append({"kind": kind, "cell": cell, "rows": rows, "made": result["made"]})
    target = ROOT / "book" / "results" / "channels.json"
    made = {"command": "book/reproduce/channels.py", "symvi": symvi.__version__}
    files.write_text(target, json.dumps({"made": made, "cells": records}) + "\n")
    print(f"{len(records)} cells in {target}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
