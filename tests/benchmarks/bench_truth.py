"""Effective samples per second of symvi.nuts against NumPyro's defaults run plainly, and the time
of an alignment.

Run with ``make bench`` (never part of the tests). Effective sample sizes are the smallest bulk
sizes in function space (outputs, log joint density, log noise). Both draw 4 chains of 1000 after
1000 of warmup on mcycle with 10 tanh units, in float32 as NumPyro does by default, and in float64.
Compilation is timed apart, by a first run of one draw. With
``XLA_FLAGS=--xla_force_host_platform_device_count=4`` before the command, chains run in parallel.
"""

import time

import arviz as az
import jax
import numpy as np
from numpyro.infer import MCMC, NUTS

import symvi
from symvi.draws import posterior_draws
from symvi.truth.diagnostics import function_space

CHAINS, WARMUP, DRAWS = 4, 1000, 1000


def smallest_size(bnn, data, draws):
    """The smallest bulk effective sample size in function space."""
    values = function_space(bnn, draws, data.x, data.y)
    return float(az.ess(az.convert_to_dataset({"f": values}))["f"].min())


def timed(label, run, bnn, data):
    """Print seconds and effective samples a second of `run(seed)`, compilation included and
    (roughly) left out."""
    start = time.perf_counter()
    run(0, 1, 1)
    compiling = time.perf_counter() - start
    start = time.perf_counter()
    draws = run(1, WARMUP, DRAWS)
    seconds = time.perf_counter() - start
    size = smallest_size(bnn, data, draws)
    print(
        f"{label:34s} {seconds:6.1f} s (a run of one draw: {compiling:.1f} s)"
        f"  smallest effective size {size:6.0f}  {size / seconds:6.1f} a second",
        flush=True,
    )


def main():
    """Print one line for each sampler and precision, and the alignment."""
    for precise in (False, True):
        with jax.enable_x64(precise):
            data = symvi.data.mcycle()
            bnn = symvi.BNN(symvi.MLP([1, 10, 1], activation="tanh"), symvi.Gaussian())

            def ours(seed, warmup, draws, bnn=bnn, data=data):
                return posterior_draws(
                    symvi.nuts(
                        bnn,
                        data.x,
                        data.y,
                        chains=CHAINS,
                        warmup=warmup,
                        draws=draws,
                        seed=seed,
                        progress=False,
                    )
                )

            def plain(seed, warmup, draws, bnn=bnn, data=data):
                mcmc = MCMC(
                    NUTS(bnn.numpyro_model),
                    num_warmup=warmup,
                    num_samples=draws,
                    num_chains=CHAINS,
                    progress_bar=False,
                )
                mcmc.run(jax.random.key(seed), jax.numpy.asarray(data.x), jax.numpy.asarray(data.y))
                return {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}

            kind = "float64" if precise else "float32"
            timed(f"symvi.nuts, {kind}", ours, bnn, data)
            timed(f"NumPyro's defaults, {kind}", plain, bnn, data)
    net, rng = symvi.MLP([1, 100, 1], activation="tanh", signed=True), np.random.default_rng(0)
    draws = {name: rng.normal(size=(4000, *shape)) for name, shape in net.shapes.items()}
    for _ in range(2):
        start = time.perf_counter()
        symvi.align(draws, {name: value[0] for name, value in draws.items()}, net.symmetry)
        print(f"alignment of 4000 draws, 100 signed units: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
