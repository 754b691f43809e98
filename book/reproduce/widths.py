"""The orbit information and its bounds that the figure with sliders in chapter 6 shows.

    .venv/bin/python book/reproduce/widths.py

The posterior has n units of three weights each: the first n of 128 with standard normal means and
standard deviations between 0.3 and 1, all of these times a factor. For each n and factor it
computes the information and its bounds, and writes book/results/widths.json. It goes on where it
was interrupted; what is finished is kept in _build/results/widths.
"""

import json
import math
from functools import partial
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import symvi
from symvi import files
from symvi.information import pointwise_exact, pointwise_guided
from symvi.posteriors import log_unit_densities

ROOT = Path(__file__).resolve().parents[2]
UNITS = [2, 4, 8, 16, 32, 64, 128]
FACTORS = [round(0.2 * i, 1) for i in range(1, 11)]
PERMUTATIONS = [10 * i for i in range(1, 11)]  # K of InfoNCE
WIDEST = 16  # with which the exact information is computed
DRAWS, FEW_DRAWS = 1000, 200  # of the weights, the same for all methods: to 16 units; wider
GUIDED_PERMUTATIONS = 20


def all_units():
    """Means and standard deviations of the 128 units, shape (128, 3) each."""
    numbers = np.random.default_rng(0)
    loc = numbers.normal(size=(max(UNITS), 3))
    return loc, numbers.uniform(0.3, 1.0, size=loc.shape)


def posterior(num, factor):
    """Mean field with the first `num` units."""

    def weights(units, rest):
        w_in, bias, w_out = (jnp.asarray(column) for column in units[:num].T)
        return {"W1": w_in[None], "b1": bias, "W2": w_out[:, None], "b2": jnp.full(1, rest)}

    loc, scale = all_units()
    symmetry = symvi.MLP([1, num, 1], activation="tanh").symmetry
    return symvi.MeanField(weights(loc, 0.0), weights(factor * scale, 1.0), symmetry)


def infonce(log_a, key):
    """One draw of I_K for every K in `PERMUTATIONS`; log_a[i, j] is log q_i(u_j).

    The elements of a smaller K are the first of those of a larger one.
    """
    elements = jax.random.uniform(key, (PERMUTATIONS[-1] - 1, len(log_a))).argsort()
    log_ratios = log_a[jnp.arange(len(log_a)), elements].sum(1) - jnp.trace(log_a)
    log_sums = jax.lax.cumlogsumexp(jnp.append(0.0, log_ratios))
    at = np.array(PERMUTATIONS)
    return jnp.log(at) - log_sums[at - 1]


@partial(jax.jit, static_argnames="num")
def drawn(q, num):
    """Draws of I_K, shape (draws, len(PERMUTATIONS)); of the guided bounds; and of I."""
    k_weights, k_elements = jax.random.split(jax.random.key(0))
    draws = DRAWS if num <= WIDEST else FEW_DRAWS
    w, keys = q.sample(k_weights, draws), jax.random.split(k_elements, draws)
    log_as = jax.vmap(lambda v: log_unit_densities(q, v))(w)

    def guess(v):
        return pointwise_guided(q, *v, GUIDED_PERMUTATIONS)

    guided = jax.lax.map(guess, (w, keys), batch_size=20)
    exact = ()
    if num <= WIDEST:
        exact = jax.lax.map(lambda v: pointwise_exact(q, v), w, batch_size=20)
    return jax.lax.map(lambda v: infonce(*v), (log_as, keys), batch_size=50), guided, exact


def bounds(num):
    """For each factor every estimate for `num` units, and the largest standard error among them."""
    jax.config.update("jax_enable_x64", True)
    rows = []
    for factor in FACTORS:
        q = posterior(num, factor)
        at_each_k, (low, high), exact = drawn(q, num)
        pairwise = symvi.orbit_information(q, "pairwise")
        parts = [low, high, *at_each_k.T] + ([exact] if num <= WIDEST else [])
        row = {
            "lower": pairwise.lower.value,
            "upper": pairwise.upper.value,
            "guided_lower": float(low.mean()),
            "guided_upper": float(high.mean()),
            "infonce": at_each_k.mean(0).tolist(),
            "std_error": max(float(v.std(ddof=1)) / math.sqrt(len(v)) for v in parts),
        }
        rows.append(row | ({"exact": float(exact.mean())} if num <= WIDEST else {}))
    return {"rows": rows}


def rounded(value):
    """Three decimals."""
    return [rounded(v) for v in value] if isinstance(value, list) else round(value, 3) + 0.0


def main():
    """Run what is missing, then write the table."""
    cells = [{"num": num} for num in UNITS]
    found = symvi.sweep(bounds, cells, ROOT / "_build" / "results" / "widths", workers=1)
    settings = [row for cell in found for row in cell["rows"]]
    loc, scale = all_units()
    record = {
        "made": {"command": "book/reproduce/widths.py", "symvi": symvi.__version__},
        "units": UNITS,
        "factors": FACTORS,
        "permutations": PERMUTATIONS,
        "draws": {"to 16 units": DRAWS, "wider": FEW_DRAWS},
        "guided_permutations": GUIDED_PERMUTATIONS,
        "loc": rounded(loc[:, :2].tolist()),
        "scale": rounded(scale[:, :2].tolist()),
        "settings": [
            {"units": num, "factor": factor} | {n: rounded(v) for n, v in row.items()}
            for (num, factor), row in zip(product(UNITS, FACTORS), settings, strict=True)
        ],
    }
    target = ROOT / "book" / "results" / "widths.json"
    files.write_text(target, json.dumps(record) + "\n")
    print(f"{len(settings)} settings in {target}")


if __name__ == "__main__":
    main()
