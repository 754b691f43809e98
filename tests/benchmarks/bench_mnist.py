"""Mean-field training of one MLP on minibatches: symvi.fit, Pyro's SVI with AutoNormal, and a torch
loop written by hand; then what symmetrizing adds.

Run with ``make bench`` (never part of the tests). Network 784-30-10 (tanh), 12,000 random images,
batches of 100, Adam 1e-3, float32, one or eight weight draws a step, likelihood scaled by N / batch
in all three. Pyro samples its KL term; torch has it in closed form, symvi its entropy. Every run
compiles first and is repeated `REPEATS` times on fresh seeds; medians count. The second table is at
widths 30, 100 and 400: a step of plain training and of training with I(g; w).
"""

import statistics
import time

import jax
import numpy as np
import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal

import symvi

SIZE, BATCH, RATE, REPEATS = (
    12_000,
    100,
    1e-3,
    3,
)  # so many images that symvi.fit evaluates its result with 20 draws only


def seconds(run):
    """The median time of `run(seed)` after one call that compiles."""
    run(0)
    times = []
    for seed in range(1, REPEATS + 1):
        start = time.perf_counter()
        run(seed)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def batches(steps, seed):
    """Row numbers of each step: shuffled epochs."""
    rng = np.random.default_rng(seed)
    epochs = [rng.permutation(SIZE).reshape(-1, BATCH) for _ in range(-(-steps * BATCH // SIZE))]
    return torch.as_tensor(np.concatenate(epochs)[:steps])


def with_pyro(width, samples, steps, x, y):
    """A run of Pyro's SVI, all particles side by side."""
    shapes = {"w1": (784, width), "b1": (width,), "w2": (width, 10), "b2": (10,)}

    def model(x, y):
        w = {
            name: pyro.sample(
                name, pyro.distributions.Normal(0.0, 1.0).expand(shape).to_event(len(shape))
            )
            for name, shape in shapes.items()
        }
        hidden = torch.tanh(x @ w["w1"] + w["b1"].unsqueeze(-2))
        logits = hidden @ w["w2"] + w["b2"].unsqueeze(-2)
        with pyro.plate("data", BATCH), pyro.poutine.scale(scale=SIZE / BATCH):
            pyro.sample(
                "y",
                pyro.distributions.Categorical(
                    logits=logits.squeeze(-3) if logits.ndim == 4 else logits
                ),
                obs=y,
            )

    def run(seed):
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        svi = SVI(
            model,
            AutoNormal(model, init_scale=0.05),
            pyro.optim.Adam({"lr": RATE}),
            Trace_ELBO(num_particles=samples, vectorize_particles=samples > 1, max_plate_nesting=1),
        )
        for rows in batches(steps, seed):
            svi.step(x[rows], y[rows])

    return run


def with_torch(width, samples, steps, x, y):
    """The same by hand: reparametrised draws side by side, closed-form KL."""

    def run(seed):
        torch.manual_seed(seed)
        shapes = [(784, width), (width,), (width, 10), (10,)]
        loc = [torch.randn(s).mul_(s[0] ** -0.5).requires_grad_() for s in shapes]
        log_scale = [torch.full(s, np.log(0.05), requires_grad=True) for s in shapes]
        optimiser = torch.optim.Adam([*loc, *log_scale], RATE)
        for rows in batches(steps, seed):
            w1, b1, w2, b2 = (
                m + s.exp() * torch.randn(samples, *m.shape)
                for m, s in zip(loc, log_scale, strict=True)
            )
            logits = torch.tanh(x[rows] @ w1 + b1[:, None]) @ w2 + b2[:, None]
            fit = (
                torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), y[rows].repeat(samples), reduction="sum"
                )
                * SIZE
                / BATCH
                / samples
            )
            kl = sum(
                (0.5 * (m**2 + (2 * s).exp() - 1) - s).sum()
                for m, s in zip(loc, log_scale, strict=True)
            )
            optimiser.zero_grad()
            (fit + kl).backward()
            optimiser.step()

    return run


def with_symvi(width, samples, steps, x, y, **options):
    """The same by symvi.fit."""
    bnn = symvi.BNN(symvi.MLP([784, width, 10], "tanh"), symvi.Categorical())

    def run(seed):
        symvi.fit(
            bnn,
            x,
            y,
            steps=steps,
            restarts=1,
            num_samples=samples,
            batch_size=BATCH,
            learning_rate=RATE,
            seed=seed,
            progress=False,
            **options,
        )

    return run


def per_step(make, steps):
    """Seconds a step, from runs of `steps` and 3 * `steps`, so that what a run does once drops
    out."""
    return (seconds(make(3 * steps)) - seconds(make(steps))) / (2 * steps)


def main():
    """Print both tables."""
    rng = np.random.default_rng(0)
    x, y = (
        rng.uniform(size=(SIZE, 784)).astype(np.float32),
        rng.integers(0, 10, SIZE).astype(np.int32),
    )
    x_torch, y_torch = torch.as_tensor(x), torch.as_tensor(y, dtype=torch.int64)
    print("mean field, 784-30-10, batch 100")
    for samples in (1, 8):
        rows = {
            "pyro SVI, AutoNormal": per_step(
                lambda n, s=samples: with_pyro(30, s, n, x_torch, y_torch), 100
            ),
            "torch by hand": per_step(
                lambda n, s=samples: with_torch(30, s, n, x_torch, y_torch), 300
            ),
            "symvi.fit": per_step(lambda n, s=samples: with_symvi(30, s, n, x, y), 1000),
        }
        for name, took in rows.items():
            print(
                f"  {samples} draw(s) a step, {name:21s}: {1 / took:8.0f} steps/s,"
                f" {1e6 * took / samples:8.0f} us a step and draw"
                f" ({took / rows['symvi.fit']:.1f} x symvi)",
                flush=True,
            )
    print("a step with the orbit information, one draw")
    for width, steps in ((30, 300), (100, 60), (400, 8)):
        plain = per_step(lambda n, w=width: with_symvi(w, 1, n, x, y), 36_000 // width)
        print(f"  width {width:3d}, plain: {1e3 * plain:.2f} ms", flush=True)
        methods = {
            "the paper's, K = 5": ("infonce", 5),
            "the paper's, K = 20": ("infonce", 20),
            "pairwise": ("pairwise", 1),
        } | ({"guided, K = 20": ("guided", 20)} if width <= 100 else {})
        for name, (method, number) in methods.items():
            took = per_step(
                lambda n, w=width, m=method, k=number: with_symvi(
                    w, 1, n, x, y, symmetrize=m, num_permutations=k
                ),
                steps,
            )
            print(
                f"  width {width:3d}, {name}: {1e3 * took:.2f} ms, {took / plain:.1f} x plain",
                flush=True,
            )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
