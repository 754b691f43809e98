r"""The posterior averaged over its symmetry group, as a NumPyro distribution.

SVI with ``Trace_ELBO`` estimates E[log p(y, w | x) - log d(w)] with w drawn from the guide and d
its density. Two kinds of method give it the right d and w.

1. "exact": d = q_G and w from q_G. q_G and the joint density are invariant, so the mean is L + I(g;
   w) = L_G.
2. A bound B <= I without random numbers of its own ("pairwise"; "bethe" bounds from the other
   side): log d = log q(w) - b(w) with E_q[b] = B. Its mean over w from the *base* q is L + B, a
   bound of L_G. Draws of q_G would not do, since log q is not invariant. d is no normalised density
   then, and draws stand for one copy of each function.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from symvi.checks import as_key, as_numbers, described, expected, positive_int
from symvi.estimates import Estimate, from_samples
from symvi.information.method import Method, Plain
from symvi.information.methods import as_method, check_at
from symvi.posteriors.mean_field import MeanField, over_draws
from symvi.symmetry import Symmetry


class Symmetrized(dist.Distribution):
    """q averaged over its symmetry group: q_G(w) = mean over g of q(g^-1 w). A pytree.

    Two views of the same distribution: with a number of draws or a dict it speaks named weights
    (``sample(key, 100)``, ``log_prob({"W1": ...})``); with a shape tuple or an array it speaks flat
    vectors, as NumPyro does (``sample(key, ())``, ``log_prob(vector)``), with ``event_shape ==
    (num_weights,)`` and names in sorted order.

    The mixture weights are uniform and fixed, so pathwise gradients with respect to loc and scale
    are unbiased (``has_rsample`` is true for that reason).

    Parameters
    ----------
    base : MeanField
    order : tuple of str, optional
        Names in the order of the flat view, when it is not the sorted order.
    method : str or an object of :mod:`symvi.information`
        ``"exact"``: the density of q_G, for one hidden layer of at most 16 units or |G| <= 50,000.
        ``"pairwise"`` and, for one hidden layer, ``"bethe"``: log q(w) less the method's bound of
        log q(w) - log q_G(w), and draws of the base, so that the ELBO of both is a bound of L_G at
        any width.

    Raises
    ------
    ValueError
        For an `order` that does not name each parameter once, and for a method that needs random
        numbers.
    """

    pytree_data_fields = ("base",)
    pytree_aux_fields = ("method", "order", "shapes")
    support = dist.constraints.real_vector
    reparametrized_params = ("base",)

    def __init__(
        self,
        base: MeanField,
        order: tuple | None = None,
        method: str | Method = "exact",
        *,
        validate_args=None,
    ):
        if not isinstance(base, MeanField):
            raise expected("base", "a MeanField or UnitNormal", described(base), "pass one")
        self.base = base
        self.method = keyless(method, "method")
        self.order = _checked_order(order, sorted(base.loc))
        self.shapes = tuple(tuple(jnp.shape(base.loc[name])) for name in self.order)
        num_weights = sum(math.prod(shape) for shape in self.shapes)
        super().__init__((), (num_weights,), validate_args=validate_args)

    def __repr__(self) -> str:
        kind = type(self.base).__name__
        size = f"{self.event_shape[0]} weights, log |G| = {self.symmetry.log_order:.4g}"
        return f"Symmetrized({kind} of {size}, method={self.method.name!r})"

    @property
    def has_rsample(self) -> bool:
        """True, since draws are differentiable in loc and scale."""
        return True

    @property
    def symmetry(self) -> Symmetry:
        """The group that is averaged over."""
        return self.base.symmetry

    def sample(self, key, sample_shape=()):
        """A draw of q, moved by a uniform g. An int gives named weights, a tuple flat vectors.

        With the method "pairwise" or "bethe" nothing acts: see the head of this module.
        """
        self._check_single()
        if not isinstance(sample_shape, (tuple, list)):
            return self._draws(key, positive_int("num", sample_shape))
        shape = tuple(positive_int("sample_shape", length, least=0) for length in sample_shape)
        num = math.prod(shape)
        flat = self._flatten(self._draws(key, max(1, num)))[:num]
        return flat.reshape(*shape, *self.event_shape)

    def _draws(self, key, num):
        k_base, k_group = jax.random.split(as_key(key))
        draws = self.base.sample(k_base, num)
        if self.method.kind != "exact":
            return draws
        return jax.vmap(self.symmetry.act)(self.symmetry.sample(k_group, num), draws)

    def log_prob(self, value, intermediates=None):
        """log q_G in nats, shape ``(*batch,)``.

        `value` is a dict ``(*batch, *shape)`` or a flat array ``(*batch, num_weights)``.

        Raises ValueError for a group that the method cannot do, as more than 16 units in one hidden
        layer for "exact".
        """
        self._check_single()
        check_at(self.method, self.base, "method")
        if not isinstance(value, dict):
            value = self._unflatten(as_numbers("value", value))

        def one(params):
            return self.method.log_density(self.base, params)

        return over_draws(one, self.base.loc, value)

    def entropy(self, key=None, num_samples: int = 1000) -> Estimate:
        """H(q_G) = H(q) + I(g; w) in nats (Theorem 4.1) or its bound, by draws of q."""
        w = self.base.sample(as_key(key), positive_int("num_samples", num_samples))
        return from_samples(-self.log_prob(w), self.method.kind)

    @property
    def mean(self):
        """E[w] under q_G, flat, each weight's loc averaged over all group elements.

        For distributions made by ``jax.vmap``: ``(*batch, num_weights)``. Raises ValueError for |G|
        > 100,000.
        """
        return self._each(_mean)

    @property
    def variance(self):
        """Var[w] under q_G, flat, elementwise; shapes and errors as for the mean."""
        return self._each(_mean_square) - self.mean**2

    def _each(self, function):
        """The flat ``function(base)``, for every member of a batch that ``jax.vmap`` made."""

        def one(base):
            return self._flatten(function(base))

        for _ in self._vmapped_shape():
            one = jax.vmap(one)
        return one(self.base)

    def _vmapped_shape(self) -> tuple:
        """The axes that ``jax.vmap`` has put before every parameter's; () for one distribution."""
        if not self.order:
            return ()
        shape = jnp.shape(self.base.loc[self.order[0]])
        return shape[: len(shape) - len(self.shapes[0])]

    def _check_single(self) -> None:
        batch = self._vmapped_shape()
        if batch:
            got = f"a batch of shape {batch} made by jax.vmap"
            remedy = "call the method inside jax.vmap: jax.vmap(lambda q: q.log_prob(w))(batch)"
            raise expected("Symmetrized", "one distribution", got, remedy)

    def _flatten(self, params: dict):
        columns = []
        for name, shape in zip(self.order, self.shapes, strict=True):
            value = params[name]
            batch = jnp.shape(value)[: jnp.ndim(value) - len(shape)]
            columns.append(jnp.reshape(value, (*batch, -1)))
        return jnp.concatenate(columns, axis=-1)

    def _unflatten(self, flat):
        if jnp.shape(flat)[-1:] != self.event_shape:
            wanted = f"{self.event_shape[0]} weights on the last axis"
            remedy = f"pass flat vectors of all weights in the order {self.order}, or a dict"
            raise expected("value", wanted, f"shape {jnp.shape(flat)}", remedy)
        out, start = {}, 0
        for name, shape in zip(self.order, self.shapes, strict=True):
            size = math.prod(shape)
            part = flat[..., start : start + size]
            out[name] = jnp.reshape(part, (*jnp.shape(flat)[:-1], *shape))
            start += size
        return out


def keyless(value, argument: str) -> Method:
    """The method that `value` names; ValueError where its density would need random numbers."""
    method = as_method(value, argument, optional=False)
    if method.needs_key or isinstance(method, Plain):
        wanted = "a method whose density needs no random numbers"
        remedy = f"pass {argument}='exact' or 'pairwise'; fit, elbo and orbit_information take all"
        raise expected(argument, wanted, repr(method), remedy)
    return method


def _checked_order(order, names):
    """`order` as a tuple, the sorted `names` for None; ValueError unless each is there once."""
    if order is None:
        return tuple(names)
    is_list = isinstance(order, (tuple, list)) and all(isinstance(name, str) for name in order)
    if not is_list or sorted(order) != names:
        raise expected("order", f"the names {names}", described(order), "name each parameter once")
    return tuple(order)


def _orbit_mean(symmetry, params):
    """The mean of g w over all g."""

    def moved(g):
        return symmetry.act(g, params)

    copies = jax.vmap(moved, axis_size=symmetry.order)(symmetry.elements())
    return jax.tree.map(_mean_over_copies, copies)


def _mean_over_copies(values):
    return values.mean(axis=0)


def _mean(base):
    """E[w] of each weight under q_G."""
    return _orbit_mean(base.symmetry, base.loc)


def _mean_square(base):
    """E[w^2] of each weight under q_G; a square has no sign to flip."""
    variance = base.variance()
    square = {name: variance[name] + loc**2 for name, loc in base.loc.items()}
    return _orbit_mean(Symmetry(base.symmetry.groups), square)


def as_posterior(q, argument: str = "q") -> MeanField | Symmetrized:
    """`q`, or the posterior of a fit; ValueError for anything else."""
    found = getattr(q, "posterior", q)
    if not isinstance(found, (MeanField, Symmetrized)):
        wanted = "a MeanField, UnitNormal, Symmetrized or Fit"
        raise expected(argument, wanted, described(q), "pass one of these")
    return found


def as_base(q, argument: str = "q") -> MeanField:
    """What is symmetrized: `q` itself, the base of a Symmetrized, or that of a fit."""
    found = as_posterior(q, argument)
    return found.base if isinstance(found, Symmetrized) else found
