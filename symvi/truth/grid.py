"""Exact posteriors on a grid, for networks with two parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import expected, positive_int, positive_number
from symvi.draws import check_pairs
from symvi.models import BNN


@dataclass(frozen=True)
class GridPosterior:
    """The exact posterior of a model with two parameters, on a tensor grid of quadrature nodes.

    Attributes
    ----------
    nodes, weights : arrays (m,)
        Gauss-Legendre nodes and weights, shared by both axes; 0 is a panel boundary.
    log_joint : array (m, m)
        log p(y, w | x) in nats at (w_1, w_2) = (nodes[i], nodes[j]).
    log_evidence : float
        log p(y | x) in nats, restricted to the square that the grid covers.
    """

    nodes: np.ndarray
    weights: np.ndarray
    log_joint: np.ndarray
    log_evidence: float

    @property
    def log_mass(self) -> np.ndarray:
        """log posterior probability of each node's cell, shape ``(m, m)``; sums to 1 after exp."""
        return self.log_joint + _log_cells(self.weights) - self.log_evidence

    def expect(self, values) -> float:
        """The posterior mean of `values` given at the nodes, shape ``(m, m)``."""
        values = np.asarray(values)
        if values.shape != self.log_joint.shape:
            wanted = f"one number for each node, shape {self.log_joint.shape}"
            remedy = "evaluate at (nodes[:, None], nodes[None, :])"
            raise expected("values", wanted, f"shape {values.shape}", remedy)
        return float(np.sum(np.exp(self.log_mass) * values))


def grid_posterior(
    bnn: BNN, x, y, *, limit: float = 6.0, panels: int = 120, order: int = 10
) -> GridPosterior:
    """Integrate the posterior of a two-parameter model exactly, by Gauss-Legendre quadrature.

    The square [-limit, limit]^2 is cut into panels at which the integrand may have kinks only at 0
    (as the two-weight ReLU network has); within a panel the rule of `order` nodes is exact to the
    order 2 `order` - 1. Use float64.

    Parameters
    ----------
    limit : float
        Half the side of the square; the posterior outside it is neglected (take at least 6 prior
        standard deviations, or where the likelihood has died out).
    panels : int
        Panels along half an axis. Narrow posteriors need panels no wider than about their standard
        deviation.

    Raises
    ------
    ValueError
        If the model does not have exactly two scalar parameters, or limit, panels or order are out
        of range, or the data are bad.
    """
    panels = positive_int("panels", panels)
    order = positive_int("order", order)
    limit = positive_number("limit", limit, example=6)
    x, y = check_pairs(bnn, x, y)
    size = sum(int(np.prod(shape)) for shape in bnn.shapes.values())
    if size != 2:
        raise expected("bnn", "a model with 2 parameters", size, "use nuts for larger models")
    nodes, weights = _composite_rule(limit, panels, order)
    log_joint = np.asarray(_table(bnn, jnp.asarray(nodes), x, y))
    total = log_joint + _log_cells(weights)
    top = total.max()
    log_evidence = float(top + np.log(np.exp(total - top).sum()))
    return GridPosterior(nodes, weights, log_joint, log_evidence)


def _composite_rule(limit, panels, order):
    """Nodes and weights on [-limit, limit]: the rule of `order` nodes on each panel."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(0, limit, panels + 1)
    half = np.diff(edges)[:, None] / 2
    right = (edges[:-1, None] + half * (1 + nodes)).ravel()
    of_right = (half * weights).ravel()
    both = np.concatenate([-right[::-1], right])
    return both, np.concatenate([of_right[::-1], of_right])


def _log_cells(weights):
    """log of the quadrature weight of each pair of nodes, shape ``(m, m)``."""
    log_w = np.log(weights)
    return log_w[:, None] + log_w[None, :]


@partial(jax.jit, static_argnames="bnn")
def _table(bnn, nodes, x, y):
    """The log joint density at every pair of nodes, shape ``(m, m)``."""

    def at(w1, w2):
        return bnn.log_joint(bnn.unravel(jnp.stack([w1, w2])), x, y)

    def row(w1):
        return jax.vmap(partial(at, w1))(nodes)

    return jax.lax.map(row, nodes)
