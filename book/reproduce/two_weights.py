"""The exact optima that the figure with sliders in chapter 4 shows.

    .venv/bin/python book/reproduce/two_weights.py

For each slope and noise of the two-weight network it finds the best mean field posterior and the
best symmetrized one, and writes book/results/two-weights.json (two minutes).
"""

import json
import math
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from scipy.optimize import minimize

import symvi
from symvi import files

ROOT = Path(__file__).resolve().parents[2]
SLOPES = [round(0.05 + 0.01 * i, 2) for i in range(16)]
NOISES = [1 + 0.5 * i for i in range(9)]
Z = np.linspace(-8, 8, 81)  # the trapezoidal rule, for I


def rectified(loc, scale):
    """E[relu(w)] and E[relu(w)^2] of w from N(loc, scale^2)."""
    above, density = norm.cdf(loc / scale), norm.pdf(loc / scale)
    return (
        loc * above + scale * density,
        (loc**2 + scale**2) * above + loc * scale * density,
    )


def bound(loc, scale, slope, noise, squares):
    """The lower bound of the mean field posterior N(loc, scale^2), but for a constant.

    On either side of 0 the network is |x| times the sum of the rectified weights, with their signs
    changed on the left. `squares` has the sums of x^2 on the right and on the left.
    """
    error = 0.0
    for sign, total in zip((1, -1), squares, strict=True):
        mean, square = rectified(sign * loc, scale)
        missed = square.sum() + 2 * mean.prod() - 2 * slope * mean.sum() + slope**2
        error += total * missed
    # the log 2 pi of the prior cancels that of the entropy
    prior_and_entropy = -(loc**2 + scale**2).sum() / 2 + jnp.log(scale).sum() + 1
    return prior_and_entropy - error / (2 * noise**2)


def information(loc, scale):
    """I, by the trapezoidal rule in both weights."""
    density = np.exp(-(Z**2) / 2)
    mass = np.outer(density, density) / density.sum() ** 2
    # each weight in the other's place, in its standard deviations
    first, second = ((loc[i] + scale[i] * Z - loc[1 - i]) / scale[1 - i] for i in (0, 1))
    log_ratio = (Z**2 - first**2)[:, None] / 2 + (Z**2 - second**2) / 2
    return math.log(2) - (mass * jnp.logaddexp(0, log_ratio)).sum()


@jax.jit
@jax.value_and_grad
def objective(theta, unit, slope, noise, squares, share):
    """-(L + share * I); theta has the means in units of `unit` and the logs of the scales."""
    loc, scale = unit * theta[:2], unit * jnp.exp(theta[2:])
    return -bound(loc, scale, slope, noise, squares) - share * information(loc, scale)


def optimum(slope, noise, squares, share):
    """Means and standard deviations at the highest L + share * I of three starts.

    They start close to the midpoint, on a copy and beyond it, with w_1 > w_2.
    """
    unit = noise / math.sqrt(sum(squares) / 2)  # a peak's standard deviation
    found = []
    for way in (0.01, 1.0, 2.0):
        start = np.array([way * slope / unit, -way * slope / unit, 0.0, 0.0])
        args = (unit, slope, noise, squares, share)
        found.append(minimize(objective, start, args, "BFGS", jac=True, options={"gtol": 1e-7}))
    best = min(found, key=lambda f: f.fun).x
    loc, scale = unit * best[:2], unit * np.exp(best[2:])
    order = np.argsort(-loc)  # one of two equal optima
    return loc[order], scale[order]


def row(slope, noise):
    """One setting: the distance of the copies in sd, and of both fits the optimum and its KL."""
    data = symvi.data.absolute(slope, seed=0)
    squares = tuple(float((data.x[sign * data.x > 0] ** 2).sum()) for sign in (1, -1))
    net = symvi.MLP([1, 2, 1], activation="relu", bias=False, fixed_output=1.0)
    model, unit = symvi.BNN(net, symvi.Gaussian(noise)), noise / math.sqrt(sum(squares) / 2)
    limit = slope + 14 * unit
    grid = symvi.grid_posterior(model, data.x, data.y, limit=limit, panels=40, order=8)
    evidence = grid.log_evidence + len(data.x) * math.log(noise * math.sqrt(2 * math.pi))
    plain, trained = (optimum(slope, noise, squares, share) for share in (0, 1))
    plain_kl = evidence - float(bound(*plain, slope, noise, squares))
    trained_kl = evidence - float(bound(*trained, slope, noise, squares) + information(*trained))
    return {
        "slope": slope,
        "noise": noise,
        "distance": 2 * math.sqrt(2) * slope / unit,
        "mean field": [*np.concatenate(plain), plain_kl],
        "afterwards": plain_kl - float(information(*plain)),
        "symmetrized": [*np.concatenate(trained), trained_kl],
    }


def rounded(value):
    """Six decimals."""
    return [rounded(v) for v in value] if isinstance(value, list) else round(float(value), 6) + 0.0


def main():
    """Find all optima, then write them."""
    jax.config.update("jax_enable_x64", True)
    x = symvi.data.absolute(1.0, seed=0).x
    record = {
        "made": {"command": "book/reproduce/two_weights.py", "symvi": symvi.__version__},
        "squares": rounded([(x[sign * x > 0] ** 2).sum() for sign in (1, -1)]),
        "slopes": SLOPES,
        "noises": NOISES,
        "settings": [
            {name: rounded(value) for name, value in row(*setting).items()}
            for setting in product(SLOPES, NOISES)
        ],
    }
    target = ROOT / "book" / "results" / "two-weights.json"
    files.write_text(target, json.dumps(record) + "\n")
    print(f"{len(record['settings'])} settings in {target}")


if __name__ == "__main__":
    main()
