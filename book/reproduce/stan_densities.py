"""The Stan programs of the reference posteriors, held against Stan itself.

    make stan

exports the six posteriors as a database, has another Python, one with pystan, compile the programs
and evaluate them (stan_values.py), and compares log densities and gradients with ours, in float64,
at draws from the prior and at reference draws. Three programs more stand for the activations and
likelihoods that no reference posterior has. Stan's NUTS draws two of the posteriors. It writes
book/results/stan.json, and ends with an error where something disagrees. Answers of Stan are kept
in _build/results/stan; those to other programs or points are asked for again.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

import symvi
from symvi.checks import arviz
from symvi.files import write_text
from symvi.truth.diagnostics import function_space
from symvi.truth.posteriordb_entries import ENTRIES
from symvi.truth.references import data_hash
from symvi.truth.stan_code import constant, unconstrained

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "_build" / "results" / "stan"
RECORD = ROOT / "book" / "results" / "stan.json"
PRIOR_POINTS, DRAWN_POINTS, SEED = 8, 8, 0
AGREE = 1e-8  # relative, of log densities and gradients
SAMPLED = ("two-weight",)
SAMPLING = {"chains": 4, "warmup": 1000, "draws": 1000, "adapt_delta": 0.95}
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
OTHERS = {  # network, likelihood, prior scale
    "gelu": (symvi.MLP([2, 3, 4, 2], "gelu", bias=False), symvi.Gaussian(), 0.5),
    "erf": (symvi.MLP([2, 3, 3], "erf"), symvi.Categorical(), 2.0),
    "sin": (symvi.MLP([2, 3, 2], "sin"), symvi.Gaussian(0.3), 1.0),
}


def model(name):
    """A model with its data: of a reference posterior, or of one of the others."""
    if name in ENTRIES:
        bnn, data = symvi.reference_model(name)
        return bnn, data.x, data.y
    bnn = symvi.BNN(*OTHERS[name])
    numbers = np.random.default_rng(SEED)
    x = numbers.normal(size=(6, bnn.net.widths[0]))
    if isinstance(bnn.likelihood, symvi.Categorical):
        return bnn, x, numbers.integers(bnn.net.widths[-1], size=6)
    return bnn, x, numbers.normal(size=(6, bnn.net.widths[-1]))


def points(name):
    """Weights at which densities are compared: arrays ``(num, *shape)`` by name."""
    bnn, _, _ = model(name)
    keys = jax.random.split(jax.random.key(SEED), PRIOR_POINTS)
    from_prior = jax.vmap(bnn.sample_prior)(keys)
    if name not in ENTRIES:
        return {k: np.asarray(v) for k, v in from_prior.items()}
    drawn = symvi.reference_posterior(name).posterior
    rows = np.random.default_rng(SEED).integers(drawn.sizes["draw"], size=DRAWN_POINTS)
    return {
        k: np.concatenate([v, drawn[k].values[np.arange(DRAWN_POINTS), rows]])
        for k, v in from_prior.items()
    }


def on_one_axis(columns):
    """Columns ``(num,)`` by name as an array ``(num, parameters)``."""
    return np.stack(list(columns.values()), axis=-1)


def request(name):
    """What Stan is asked about one model."""
    bnn, x, y = model(name)
    columns = unconstrained(bnn, points(name))
    asked = {"parameters": list(columns), "points": on_one_axis(columns).tolist()}
    if name in ENTRIES:
        asked["posterior"] = ENTRIES[name].name
    else:
        asked["program"] = symvi.truth.stan_program(bnn)
        asked["data"] = symvi.truth.stan_data(bnn, x, y)
    if name in SAMPLED:
        asked["sampling"] = SAMPLING
    return asked


def digest(name):
    """SHA-256 of all that an answer depends on: program, data and request."""
    bnn, x, y = model(name)
    everything = [symvi.truth.stan_program(bnn), symvi.truth.stan_data(bnn, x, y), request(name)]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()


def ask(names, python, folder=FOLDER):
    """Have Stan answer for `names`; what it has answered before is not asked again."""
    database = folder / "database"
    shutil.rmtree(database, ignore_errors=True)
    symvi.truth.export_posteriordb(database, [name for name in names if name in ENTRIES])
    requests = {name: request(name) | {"asked": digest(name)} for name in names}
    write_text(folder / "requests.json", json.dumps(requests))
    script = Path(__file__).with_name("stan_values.py")
    subprocess.run([python, str(script), str(folder)], check=True)


def answer(name, folder=FOLDER):
    """What Stan answered; ValueError where it was asked something else."""
    found = np.load(folder / "answers" / f"{name}.npz")
    if str(found["asked"]) != digest(name):
        raise ValueError(f"{name}: Stan was asked about another program or other points")
    return found


def agreement(name, folder=FOLDER):
    """Largest relative differences between Stan's answers and our values."""
    bnn, x, y = model(name)
    found, weights = answer(name, folder), points(name)
    ours, slopes = jax.vmap(jax.value_and_grad(lambda w: bnn.log_joint(w, x, y)))(weights)
    ours, slopes = np.asarray(ours), on_one_axis(unconstrained(bnn, slopes))
    shift = ours - found["log_prob"]
    scale = np.maximum(1, np.abs(ours))
    steepest = np.maximum(1, np.abs(slopes).max(axis=1))
    jacobian = weights.get("log_noise", np.zeros(len(ours)))
    constrained = on_one_axis(symvi.truth.stan_draws(bnn, weights))
    return {
        "weights": slopes.shape[1],
        "points": len(ours),
        "program_sha256": hashlib.sha256(symvi.truth.stan_program(bnn).encode()).hexdigest(),
        "constant": float(shift.mean()),
        "constant_expected": constant(bnn, len(y)),
        "density": float((np.abs(shift - shift.mean()) / scale).max()),
        "constant_off": float((np.abs(shift - constant(bnn, len(y))) / scale).max()),
        "gradient": float((np.abs(found["gradient"] - slopes).max(axis=1) / steepest).max()),
        "jacobian": float(
            (np.abs(found["log_prob"] - found["without_jacobian"] - jacobian) / scale).max()
        ),
        "parameters": float(np.abs(found["constrained"] - constrained).max()),
    }


def drawn_by_stan(name, folder=FOLDER):
    """Stan's own draws held against the reference draws, by quantiles of functions."""
    az = arviz()
    bnn, x, y = model(name)
    found = answer(name, folder)
    columns = {k.removeprefix("draws "): found[k] for k in found.files if k.startswith("draws ")}
    theirs = function_space(bnn, symvi.truth.from_stan_draws(bnn, columns), x, y)
    ours = function_space(bnn, symvi.reference_posterior(name), x, y)
    rhat = az.rhat(az.convert_to_dataset({"f": theirs}))["f"]
    scores, gaps = [], []
    for level in LEVELS:
        quantiles = [np.quantile(f, level, axis=(0, 1)) for f in (ours, theirs)]
        errors = [
            az.mcse(az.convert_to_dataset({"f": f}), method="quantile", prob=level)["f"].values
            for f in (ours, theirs)
        ]
        gap, error = np.abs(quantiles[1] - quantiles[0]), np.hypot(*errors)
        moving = error > 0  # an output of ReLU units may be 0 in many draws
        if gap[~moving].any():
            raise ValueError(f"{name}: quantiles without an error differ")
        scores.append(gap[moving] / error[moving])
        gaps.append(gap / ours.std(axis=(0, 1)))
    return {
        **SAMPLING,
        "divergences": int(found["divergences"]),
        "rhat": float(rhat.max()),
        "quantities": ours.shape[-1],
        "levels": list(LEVELS),
        "quantiles": sum(score.size for score in scores),
        "largest_z": float(max(score.max() for score in scores)),
        "beyond_two": float(np.mean(np.concatenate(scores) > 2)),
        "largest_gap": float(np.max(gaps)),  # in posterior standard deviations
    }


def main(python):
    """Ask, compare, write the record; exits with an error where something disagrees."""
    jax.config.update("jax_enable_x64", True)
    names = [*ENTRIES, *OTHERS]
    ask(names, python)
    found = {name: agreement(name) for name in names}
    versions = json.loads((FOLDER / "answers" / "versions.json").read_text(encoding="utf-8"))
    record = {
        "made": {"command": "make stan", "jax": jax.__version__, **versions},
        "setting": {
            "seed": SEED,
            "from_prior": PRIOR_POINTS,
            "reference_draws": DRAWN_POINTS,
            "agree": AGREE,
        },
        "posteriors": {
            name: found[name] | {"data_sha256": data_hash(symvi.reference_model(name)[1])}
            for name in ENTRIES
        },
        "others": {name: found[name] for name in OTHERS},
        "nuts": {name: drawn_by_stan(name) for name in SAMPLED},
    }
    for name, one in found.items():
        print(name, {k: v for k, v in one.items() if isinstance(v, float)})
    print(record["nuts"])
    wrong = [
        name
        for name, one in found.items()
        if max(one[k] for k in ("density", "constant_off", "gradient", "jacobian")) > AGREE
    ]
    if wrong:
        raise SystemExit(f"Stan disagrees on {', '.join(wrong)}: nothing is written")
    write_text(RECORD, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
