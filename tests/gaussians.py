"""Mean-field posteriors to test densities on, and their naive log density."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import symvi

NETS = {
    "plain": symvi.MLP([1, 4, 1], "relu"),
    "signed": symvi.MLP([1, 3, 1], "tanh", signed=True),
    "deep": symvi.MLP([1, 2, 3, 1], "relu"),
    "deep signed": symvi.MLP([1, 2, 2, 1], "tanh", signed=True),
    "with noise": symvi.BNN(symvi.MLP([1, 3, 1], "relu"), symvi.Gaussian()),
}


def posterior(net, seed=0, spread=1.0, scale=0.4):
    """A mean-field posterior over the net's weights, all scales different."""
    loc = net.init(jax.random.key(seed))
    keys = jax.random.split(jax.random.key(seed + 1), len(loc))
    return symvi.MeanField(
        jax.tree.map(lambda m: spread * m, loc),
        {
            n: scale * jnp.exp(0.3 * jax.random.normal(k, v.shape))
            for (n, v), k in zip(loc.items(), keys, strict=True)
        },
        net.symmetry,
    )


def naive_log_q(q, w):
    """log q(w): the normal log densities of all weights, added up."""
    return sum(
        scipy.stats.norm.logpdf(
            np.asarray(w[k]), np.asarray(q.loc[k]), np.asarray(q.scale[k])
        ).sum()
        for k in q.loc
    )
