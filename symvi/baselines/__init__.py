"""Posteriors of the field to put beside mean field: linearised Laplace, SWAG and MultiSWAG,
Gaussians of low rank, and mixtures of restarts.

Each has ``sample`` and ``log_prob`` (:class:`symvi.posteriors.Posterior`), so :func:`symvi.elbo`
and :func:`symvi.compare` take them as they take :class:`symvi.MeanField`. They are meant for small
networks, and none of them knows of the symmetry.
"""

from symvi.baselines.joint_normal import JointNormal
from symvi.baselines.linearized import LinearizedNetwork
from symvi.baselines.linearized_laplace import laplace
from symvi.baselines.local_modes import modes
from symvi.baselines.low_rank import low_rank_gaussian
from symvi.baselines.mixtures import Mixture, elbo_weights, mixture
from symvi.baselines.weight_averaging import multiswag, swag

__all__ = [
    "JointNormal",
    "LinearizedNetwork",
    "Mixture",
    "elbo_weights",
    "laplace",
    "low_rank_gaussian",
    "mixture",
    "modes",
    "multiswag",
    "swag",
]
