"""Cost of the orbit information: a training step with the pairwise bound against mean field, and
estimates against width.

Run with ``make bench``. Network 1-n-1 tanh, N = 1000, 8 weight draws a step, one restart, float32.
Each timing compiles first; the median of `REPEATS` runs is printed, and the growth exponent in n by
least squares on log-log axes.
"""

import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import symvi

STEPS, REPEATS = {8: 2000, 64: 1000, 256: 200, 512: 100}, 5  # steps by width


def seconds(run):
    """The median time of `run(seed)` after one call that compiles."""
    jax.block_until_ready(run(0))
    times = []
    for seed in range(1, REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(run(seed))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def exponent(sizes, times):
    """The slope of log time in log n."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def main():
    """Print one line for each width, then the exponents."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (1000, 1)).astype(np.float32)
    y = (np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    for n, num in STEPS.items():
        bnn = symvi.BNN(symvi.MLP([1, n, 1], "tanh"), symvi.Gaussian(0.1))
        step = {}
        for symmetrize in (None, "pairwise"):
            # the evaluation at the end is the same for both lengths, so their difference is the
            # cost of the steps between

            def run(seed, steps, bnn=bnn, symmetrize=symmetrize):
                return symvi.fit(
                    bnn,
                    x,
                    y,
                    symmetrize=symmetrize,
                    steps=steps,
                    restarts=1,
                    initial_scale=0.2,
                    seed=seed,
                    progress=False,
                ).losses

            step[symmetrize] = (
                seconds(partial(run, steps=3 * num)) - seconds(partial(run, steps=num))
            ) / (2 * num)
        print(
            f"n = {n:4d}: step {1e3 * step[None]:8.2f} ms mean field,"
            f" {1e3 * step['pairwise']:8.2f} ms pairwise"
            f" ({step['pairwise'] / step[None]:.2f} x)",
            flush=True,
        )
    costs = {"guided, K = 20, one draw of w": [], "pairwise bounds": []}
    sizes = (64, 128, 256, 512, 1024)
    for n in sizes:
        net = symvi.MLP([1, n, 1], "tanh")
        loc = {k: jnp.asarray(rng.normal(size=s).astype(np.float32)) for k, s in net.shapes.items()}
        q = symvi.MeanField(loc, {k: jnp.full(v.shape, 0.2) for k, v in loc.items()}, net.symmetry)
        costs["guided, K = 20, one draw of w"].append(
            seconds(
                lambda s, q=q: (
                    symvi.orbit_information(q, "guided", jax.random.key(s), num_samples=10)[0].value
                )
            )
            / 10
        )
        costs["pairwise bounds"].append(
            seconds(lambda s, q=q: symvi.orbit_information(q, "pairwise")[0].value)
        )
        print(
            f"n = {n:4d}: "
            + ", ".join(f"{name} {times[-1]:.3f} s" for name, times in costs.items()),
            flush=True,
        )
    for name, times in costs.items():
        print(
            f"{name}: time grows as n^{exponent(sizes, times):.2f} from {sizes[0]} to {sizes[-1]}"
        )


if __name__ == "__main__":
    main()
