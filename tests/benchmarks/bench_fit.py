"""Steps per second of symvi.fit against NumPyro's SVI.run with AutoNormal: same model, data,
samples and optimiser.

Run with ``make bench`` (never part of the tests). Each timing compiles first and then times a fresh
seed; the median of
`REPEATS` runs is printed. Network 1-50-1 tanh, N = 100, 8 weight draws a step, 10,000 Adam steps.
"""

import statistics
import time

import jax
import numpy as np
import numpyro
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

import symvi

STEPS, SAMPLES, REPEATS = 10_000, 8, 3


def seconds(run):
    """The median time of `run(seed)` after one call that compiles."""
    run(0)
    times = []
    for seed in range(1, REPEATS + 1):
        start = time.perf_counter()
        run(seed)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    """Print one line for each engine and number of restarts."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (100, 1)).astype(np.float32)
    y = (np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    bnn = symvi.BNN(symvi.MLP([1, 50, 1], "tanh"), symvi.Gaussian(0.1))
    svi = SVI(
        bnn.numpyro_model,
        AutoNormal(bnn.numpyro_model, init_scale=0.05),
        numpyro.optim.Adam(1e-2),
        Trace_ELBO(num_particles=SAMPLES),
    )

    def with_numpyro(seed):
        jax.block_until_ready(svi.run(jax.random.key(seed), STEPS, x, y, progress_bar=False).losses)

    def with_symvi(restarts):
        return lambda seed: (
            symvi.fit(
                bnn,
                x,
                y,
                steps=STEPS,
                restarts=restarts,
                num_samples=SAMPLES,
                seed=seed,
                progress=False,
            ).losses
        )

    base = seconds(with_numpyro)
    print(f"numpyro SVI.run, AutoNormal: {base:7.2f} s  {STEPS / base:9.0f} steps/s")
    for restarts in (1, 8):
        took = seconds(with_symvi(restarts))
        rate = STEPS * restarts / took
        ratio = rate * base / STEPS
        print(
            f"symvi.fit, {restarts} restart(s):     {took:7.2f} s  {rate:9.0f} restart-steps/s"
            f"  ({ratio:.2f} x numpyro's rate)"
        )


if __name__ == "__main__":
    main()
