"""Simulation-based calibration of NUTS and of the model's densities, on a small network.

    .venv/bin/python book/reproduce/calibration.py

Each replication draws weights from the prior and data from the likelihood, and ranks what is true
among 99 thinned posterior draws: the function at three inputs, the log noise and the log joint
density, which no relabelling changes (Talts et al. 2018). Ranks are uniform on 0..99 if everything
is right. It writes book/results/calibration.json and goes on where it was interrupted.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import symvi
from symvi.draws import log_joints, outputs

ROOT = Path(__file__).resolve().parents[2]
WIDTHS, NUM, POINTS = (1, 3, 1), 20, (-1.5, 0.0, 1.5)
RANKED, THIN, WARMUP = 99, 10, 500
QUANTITIES = ("f(-1.5)", "f(0)", "f(1.5)", "log noise", "log joint")
REPLICATIONS, BLOCK = 200, 50


def replications(first, block=BLOCK):
    """The ranks of `block` replications from `first` on, ``(block, 5)``, and the divergences."""
    jax.config.update("jax_enable_x64", True)
    from numpyro.infer import MCMC, NUTS

    bnn = symvi.BNN(symvi.MLP(WIDTHS, activation="tanh"), symvi.Gaussian())
    kernel = NUTS(bnn.numpyro_model, target_accept_prob=0.95)
    mcmc = MCMC(
        kernel,
        num_warmup=WARMUP,
        num_samples=RANKED * THIN,
        thinning=THIN,
        progress_bar=False,
        jit_model_args=True,
    )  # compiled once for all data
    x = jnp.linspace(-2, 2, NUM)[:, None]

    def ranked(w, y):
        """The five quantities of draws ``(num, *shape)``, shape ``(num, 5)``."""
        f = outputs(bnn, w, np.array(POINTS)[:, None])[..., 0]
        return np.concatenate(
            [f, np.asarray(w["log_noise"])[:, None], log_joints(bnn, w, x, y)[:, None]], axis=1
        )

    ranks, divergences = [], []
    for number in range(first, first + block):
        k_prior, k_data, k_nuts = jax.random.split(jax.random.key(number), 3)
        truth = bnn.sample_prior(k_prior)
        y = bnn.likelihood.distribution(bnn.net.apply(truth, x), truth).sample(k_data)
        mcmc.run(k_nuts, x, y, extra_fields=("diverging",))
        drawn = ranked(mcmc.get_samples(), y)
        ranks.append((drawn < ranked({k: v[None] for k, v in truth.items()}, y)).sum(axis=0))
        divergences.append(int(mcmc.get_extra_fields()["diverging"].sum()))
    return {"ranks": np.array(ranks), "divergences": divergences}


def main():
    """Run the blocks that are missing and write the ranks."""
    blocks = symvi.sweep(
        replications,
        [{"first": first} for first in range(0, REPLICATIONS, BLOCK)],
        ROOT / "_build" / "results" / "calibration",
    )
    made = {"command": "book/reproduce/calibration.py", "jax": jax.__version__}
    setting = {
        "widths": WIDTHS,
        "activation": "tanh",
        "rows": NUM,
        "draws": RANKED,
        "thin": THIN,
        "warmup": WARMUP,
    }
    record = {
        "made": made,
        "setting": setting,
        "quantities": QUANTITIES,
        "ranks": [row for b in blocks for row in b["ranks"]],
        "divergences": [d for b in blocks for d in b["divergences"]],
    }
    target = ROOT / "book" / "results" / "calibration.json"
    partial_file = target.with_suffix(".tmp")
    partial_file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    partial_file.replace(target)
    print(
        f"{len(record['ranks'])} replications in {target}, {sum(record['divergences'])} divergences"
    )


if __name__ == "__main__":
    main()
