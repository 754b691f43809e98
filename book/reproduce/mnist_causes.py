"""What Table 1 of Gelberg et al. (2024) may come from (chapter 8): settings, widths, other causes.

    .venv/bin/python book/reproduce/mnist_causes.py

does six experiments on MNIST and writes book/results/mnist_causes.json.

* settings: a random sixth of a grid of settings at the table's widths. Is any of them as accurate
  as the paper's networks and leaves the paper's bound something to train with?
* trained: twenty of the settings that are as accurate, each without and with the paper's bound, and
  with a start that is one rounding away, as a control.
* seeds: ten more seeds of those that the bound moves and a rounding does not.
* wide: all methods at 100 and 400 units, five training seeds.
* again: one trained network, evaluated ten times.
* causes: three ways to write the objective that have nothing to do with symmetry.

It goes on where it was interrupted; what is finished is kept in _build/results/mnist_causes. It
needs book/results/mnist.json, which mnist_table.py writes.
"""

import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import mnist_table as base
import numpy as np

import symvi
from symvi import files
from symvi.information.method import Method

ROOT = Path(__file__).resolve().parents[2]
GRID = {
    "width": base.WIDTHS,
    "activation": ("relu", "tanh"),
    "prior": (0.1, 0.3, 1.0, 3.0),
    "start": (-4.0, -3.0, -2.0, -1.0, 0.0),  # log of the initial standard deviation
    "means": ("1/d", "2/d", "0"),  # the variance of the weights that training starts from
    "draws": (1, 8),
    "kl_weight": (1.0, 0.1, 0.01),
}
SHARE, GRID_SEED = 6, 20  # one in six of the grid
SPREAD = {"1/d": 1.0, "2/d": math.sqrt(2), "0": 0.0}
WIDE, WIDE_SEEDS = (100, 400), 5
EVALUATIONS, NETWORKS = 10, 1000
TRAINED = 20
CAUSES = ("closed prior", "no identity", "incoming only")
K = 20


# --- other objectives, as methods of symvi.fit ---


def mean_log_prior(q, bnn):
    """E_q[log p(w)] in nats, in closed form: log p at the means, less the sum of s^2 / (2 p^2)."""
    prior = bnn.prior_scales()
    spread = sum(((scale / prior[name]) ** 2).sum() for name, scale in q.scale.items())
    return bnn.log_prior(q.loc) - spread / 2


def log_ratios(q, params, key, number, act):
    """log q(g_j w) - log q(w) of `number` uniform permutations, in nats."""
    elements = q.symmetry.sample(key, number)
    copies = jax.lax.map(lambda g: q.log_prob(act(g, params)), elements)
    return copies - q.log_prob(params)


@dataclass(frozen=True)
class KLWeight(Method):
    """E_q[log p(y | x, w)] - weight KL(q || p)."""

    weight: float
    bnn: symvi.BNN

    name: ClassVar[str] = "kl-weight"
    kind: ClassVar[str] = "approximate"

    def final_closed_form(self, q):
        return (self.weight - 1) * (q.entropy() + mean_log_prior(q, self.bnn))


@dataclass(frozen=True)
class ClosedPrior(Method):
    """L itself, with the prior's part in closed form instead of by draws."""

    bnn: symvi.BNN

    name: ClassVar[str] = "closed-prior"
    kind: ClassVar[str] = "exact"

    def pointwise(self, q, params, key):
        return -self.bnn.log_prior(params)

    def final_closed_form(self, q):
        return mean_log_prior(q, self.bnn)


@dataclass(frozen=True)
class NoIdentity(Method):
    """log q(w) - log (1/K) sum_j q(g_j w), the identity left out: an upper bound in expectation."""

    num_permutations: int

    name: ClassVar[str] = "no-identity"
    kind: ClassVar[str] = "upper"
    needs_key: ClassVar[bool] = True

    def pointwise(self, q, params, key):
        ratios = log_ratios(q, params, key, self.num_permutations, q.symmetry.act)
        return math.log(self.num_permutations) - jax.nn.logsumexp(ratios)


@dataclass(frozen=True)
class IncomingOnly(Method):
    """The paper's bound with incoming weights and biases permuted and outgoing weights left."""

    num_permutations: int

    name: ClassVar[str] = "incoming-only"
    kind: ClassVar[str] = "approximate"
    needs_key: ClassVar[bool] = True

    def pointwise(self, q, params, key):
        def act(g, params):
            return {**q.symmetry.act(g, params), "W2": params["W2"]}

        ratios = log_ratios(q, params, key, self.num_permutations - 1, act)
        return math.log(self.num_permutations) - jax.nn.logsumexp(jnp.append(ratios, 0.0))


# --- the experiments ---


def fitted(bnn, x, y, seed, start, method=None, **options):
    """The posteriors of the restarts, one unless told otherwise, by the paper's ten epochs."""
    settings = {
        "steps": base.STEPS,
        "num_samples": 1,
        "restarts": 1,
        "learning_rate": base.RATE,
        **options,
    }
    return symvi.fit(
        bnn,
        x,
        y,
        symmetrize=method,
        batch_size=base.BATCH,
        initial_scale=math.exp(start),
        seed=seed,
        progress=False,
        **settings,
    ).posteriors


def started(bnn, means, seed=300):
    """The weights that training starts from, of the variance that `means` names."""
    weights = bnn.init(jax.random.key(seed))
    spread = SPREAD[means]
    return {k: v * spread if k.startswith("W") else v for k, v in weights.items()}


def setting(width, activation, prior, start, means, draws, kl_weight):
    """A network trained in one setting without I: its accuracy on the test images, and what is
    left for a permutation bound."""
    x, y, x_test, y_test = base.images()
    bnn = base.model(width, activation, prior)
    weights = started(bnn, means)
    method = None if kl_weight == 1 else KLWeight(kl_weight, bnn)
    try:
        (q,) = fitted(bnn, x, y, 300, start, method, num_samples=draws, init=weights)
    except ValueError as error:  # the only restart diverged
        return {"diverged": str(error)}
    p = base.probabilities(bnn, q, x_test, jax.random.key(1), 50)
    return {**base.prediction(p, y_test), **base.information(q, guided=False)}


def trained(width, activation, prior, start, means, change, seed=300):
    """One of these settings again, without I and changed in one way, from the same start with the
    same draws: how far apart the two end. The change is the paper's bound ("bound"), or a start
    whose weights are one rounding larger ("rounding")."""
    x, y, x_test, y_test = base.images()
    bnn = base.model(width, activation, prior)
    weights = started(bnn, means, seed)
    (plain,) = fitted(bnn, x, y, seed, start, init=weights)
    if change == "bound":
        (ours,) = fitted(bnn, x, y, seed, start, "infonce", num_permutations=K, init=weights)
    else:
        larger = {name: value * (1 + 2**-23) for name, value in weights.items()}
        (ours,) = fitted(bnn, x, y, seed, start, init=larger)
    p, p_ours = (
        np.asarray(base.probabilities(bnn, q, x_test, jax.random.key(1), 50)) for q in (plain, ours)
    )
    return {
        "accuracy": base.prediction(p, y_test)["accuracy"],
        "accuracy changed": base.prediction(p_ours, y_test)["accuracy"],
        "weights apart": np.abs(base.flat(ours) - base.flat(plain)).max(),
        "labels apart": int((p.argmax(1) != p_ours.argmax(1)).sum()),
    }


def wide(width, activation, prior, start, method):
    """One method at a width beyond the paper's, beside plain training from the same starts with the
    same draws: one row a restart. The restarts share the order of the images."""
    x, y, x_test, y_test = base.images()
    bnn = base.model(width, activation, prior)
    settings = base.METHODS[method]
    options = {
        "restarts": WIDE_SEEDS,
        "num_permutations": settings.get("num_permutations"),
    }
    plain = fitted(bnn, x, y, 0, start, restarts=WIDE_SEEDS)
    begun = time.time()
    ours = fitted(bnn, x, y, 0, start, settings.get("symmetrize"), **options)
    seconds = time.time() - begun
    rows = []
    for reference, q in zip(plain, ours, strict=True):
        p, label = (base.probabilities(bnn, v, x_test, jax.random.key(1)) for v in (q, reference))
        bound = symvi.elbo(bnn, q, x, y, num_samples=20, key=jax.random.key(2))
        changed = np.asarray(p).argmax(1) != np.asarray(label).argmax(1)
        row = {
            **base.prediction(p, y_test),
            **base.information(q, guided=False),
            "active": base.active(q),
            "L": bound.value,
            "L error": bound.std_error,
            "weights apart": np.abs(base.flat(q) - base.flat(reference)).max(),
            "labels apart": int(changed.sum()),
        }
        rows.append(row)
    return {"seconds": seconds, "restarts": rows}


def again(width, activation, prior, start):
    """One trained network, its test accuracy estimated anew from ten sets of draws."""
    x, y, x_test, y_test = base.images()
    bnn = base.model(width, activation, prior)
    (q,) = fitted(bnn, x, y, 0, start)
    found = []
    for number in range(EVALUATIONS):
        p = base.probabilities(bnn, q, x_test, jax.random.key(400 + number), NETWORKS)
        found.append(base.prediction(p, y_test)["accuracy"])
    return {"accuracy": found}


def cause(width, activation, prior, start, seed, arm):
    """Training changed in one way that has nothing to do with symmetry."""
    x, y, x_test, y_test = base.images()
    bnn = base.model(width, activation, prior)
    arms = {
        "plain": None,
        "closed prior": ClosedPrior(bnn),
        "no identity": NoIdentity(K),
        "incoming only": IncomingOnly(K),
    }
    (q,) = fitted(bnn, x, y, seed, start, arms[arm])
    p = base.probabilities(bnn, q, x_test, jax.random.key(1))
    bound = symvi.elbo(bnn, q, x, y, num_samples=20, key=jax.random.key(2))
    largest = max(float(jnp.abs(value).max()) for value in q.loc.values())
    found = base.information(q, guided=False)
    return {**base.prediction(p, y_test), **found, "L": bound.value, "largest mean": largest}


TASKS = {
    "setting": setting,
    "trained": trained,
    "seeds": trained,
    "wide": wide,
    "again": again,
    "cause": cause,
}


def work(task, **arguments):
    """One cell of the sweep, in single precision, and what computed it."""
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_default_matmul_precision", "highest")
    made = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"rows": TASKS[task](**arguments), "made": made}


def cells(stored):
    """The cells of the experiments by name, but for `trained` and `seeds`."""
    same = stored["setting"]
    everything = base.grid(**GRID)
    part = random.Random(GRID_SEED).sample(everything, len(everything) // SHARE)
    seeds = range(base.SEEDS)
    return {
        "setting": part,
        "wide": [
            {"width": width, **same, "method": method} for width in WIDE for method in base.METHODS
        ],
        "again": [{"width": width, **same} for width in base.WIDTHS],
        "cause": [
            {"width": width, **same, "seed": seed, "arm": arm}
            for width in base.WIDTHS
            for arm in ("plain", *CAUSES)
            for seed in seeds
        ],
    }


def as_accurate(records):
    """The cells of `trained`: the first settings that are within a point of the paper's accuracy,
    or above, with the KL term at its weight and one draw a step, for each change."""
    names = ("width", "activation", "prior", "start", "means")
    found = []
    for record in records:
        cell, row = record["cell"], record["rows"]
        near = row.get("accuracy", 0) > base.PAPER[cell["width"]] - 1
        if near and cell["kl_weight"] == 1 and cell["draws"] == 1:
            found.append({name: cell[name] for name in names})
    changes = ("bound", "rounding")
    return [{**cell, "change": change} for change in changes for cell in found[:TRAINED]]


def moved_by_the_bound(records):
    """The cells of `seeds`: settings in which the bound changed labels and a rounding did not, with
    ten other training seeds."""
    labels = {}
    for record in records:
        cell, row = record["cell"], record["rows"]
        setting = {name: value for name, value in cell.items() if name != "change"}
        found = labels.setdefault(json.dumps(setting), {})
        found[cell["change"]] = row["labels apart"]
    return [
        {**json.loads(setting), "change": "bound", "seed": 301 + number}
        for setting, found in labels.items()
        if found["bound"] > 0 and found["rounding"] == 0
        for number in range(base.SEEDS)
    ]


def main():
    """Run what is missing, then write the results."""
    stored = json.loads((ROOT / "book" / "results" / "mnist.json").read_text(encoding="utf-8"))
    folder = ROOT / "_build" / "results" / "mnist_causes"
    found = {}

    def swept(task, cells):
        results = symvi.sweep(work, [{"task": task, **cell} for cell in cells], folder)
        found[task] = [
            {"cell": cell, "rows": base.rounded(result["rows"]), "made": result["made"]}
            for cell, result in zip(cells, results, strict=True)
        ]

    for task, its_cells in cells(stored).items():
        swept(task, its_cells)
    swept("trained", as_accurate(found["setting"]))
    swept("seeds", moved_by_the_bound(found["trained"]))
    made = {"command": "book/reproduce/mnist_causes.py", "symvi": symvi.__version__}
    target = ROOT / "book" / "results" / "mnist_causes.json"
    files.write_text(target, json.dumps({"made": made, **found}) + "\n")
    print(f"{sum(map(len, found.values()))} cells in {target}")


if __name__ == "__main__":
    main()
