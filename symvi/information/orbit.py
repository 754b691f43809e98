r"""The orbit information I(g; w): what symmetrizing adds to the evidence lower bound, in nats.

Draw w from q_G by drawing g uniformly from the group and then a copy of q: I(g; w) is the mutual
information of the two, I = H(q_G) - H(q) = E_q[log q(w) - log q_G(w)], between 0 and log |G|
(Gelberg et al. 2024, Theorem 4.1).
"""

from __future__ import annotations

from symvi.checks import as_key, positive_int
from symvi.estimates import Bounds, Estimate
from symvi.information.method import Method, warn_if_trivial
from symvi.information.methods import as_method, check_at
from symvi.information.symmetrized import as_base


def orbit_information(
    q,
    method: str | Method = "exact",
    key=None,
    *,
    num_samples: int = 1000,
    num_permutations: int | None = None,
) -> Estimate | Bounds:
    """Estimate or bound I(g; w) of `q` and its symmetry group, in nats. Signed groups too.

    A group of the identity alone has I = 0, and a warning says so.

    Parameters
    ----------
    q : MeanField, UnitNormal, Symmetrized or Fit
    method : str or an object of :mod:`symvi.information`
        ``"exact"``: unbiased, kind "exact"; one hidden layer of at most 16 units, or |G| <= 50,000.
        ``"infonce"``: the lower bound of Gelberg et al. (2024), Theorem 4.3; any network; at most
        log K.
        ``"guided"``: lower and upper bound from K importance-weighted permutations; any width and
        depth.
        ``"pairwise"``: lower and upper bound without sampling (std_error 0); any width and depth.
        ``"subadditive"``: lower and upper bound without sampling by one reference unit; far tighter
        than "pairwise" where many units overlap.
        ``"tightest"``: the better end of "pairwise" and "subadditive", layer by layer; where in
        doubt, this one.
        ``"bethe"``: an upper bound, at most n/2 log 2 above I; one hidden layer of any width.
    key : JAX key, optional
    num_samples : int
        Draws of w.
    num_permutations : int, optional
        K of "infonce" (the identity included) and "guided", where the method is a string; 20 by
        default.

    Returns
    -------
    Estimate or Bounds
        Bounds for "guided", "pairwise", "subadditive" and "tightest".

    Raises
    ------
    ValueError
        Unknown method, K < 1 or given beside an object, num_samples < 1, a group too large for
        "exact", several hidden layers for "bethe".
    """
    method = as_method(method, "method", num_permutations, optional=False)
    num_samples = positive_int("num_samples", num_samples)
    q = as_base(q)
    check_at(method, q, "method")
    warn_if_trivial(q.symmetry)
    return method.estimate(q, as_key(key), num_samples)
