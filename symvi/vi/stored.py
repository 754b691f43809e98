"""A fit in one file: what is stored, and how it is read back."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from symvi.checks import described, expected
from symvi.estimates import Estimate
from symvi.information.method import Plain
from symvi.information.methods import METHODS
from symvi.information.symmetrized import Symmetrized, as_base
from symvi.likelihoods import Categorical, Gaussian
from symvi.models import BNN, check_model
from symvi.networks import MLP
from symvi.posteriors.mean_field import MeanField
from symvi.posteriors.unit_normal import UnitNormal
from symvi.vi.archive import as_path, read_arrays, write_arrays
from symvi.vi.checkpoint import software

KIND = "symvi fit"
VERSION = 1  # of the file
MONITORED = ("steps", "elbo", "lower", "upper")
WANTED = "a fit saved by symvi"
SAME_MODEL = "pass the model that was fitted"
ROWS = 8  # of inputs by which a network is known
COARSE, FINE = 3e-3, 1e-5  # what rounding may do to a network, and to other numbers
REMEDY = "pass a file that fit.save has written"
LIKELIHOODS = {"Gaussian": Gaussian, "Categorical": Categorical}


def write(fit, path) -> None:
    """Write `fit`, a :class:`symvi.Fit`, to `path`: see :meth:`symvi.Fit.save`."""
    path = as_path("path", path)
    places = [q is as_base(fit.posterior) for q in fit.posteriors]
    about = {
        "kind": KIND,
        "version": VERSION,
        "software": software(),
        "model": _described_model(fit.bnn),
        "groups": _described_groups(fit.bnn),
        "likelihood": type(fit.bnn.likelihood).__name__,
        "symmetrize": _described_method(fit.symmetrize),
        "symmetrized": isinstance(fit.posterior, Symmetrized),
        "best": places.index(True) if True in places else None,
        "elbos": [tuple(elbo) for elbo in fit.elbos],
        "kept": list(fit.kept),
        "log_order": None if fit.monitor is None else float(fit.monitor.log_order),
    }
    arrays = {"losses": fit.losses}
    for name, scale in fit.bnn.prior_scales().items():
        arrays[f"prior/{name}"] = scale
    arrays |= _fingerprint(fit.bnn, fit.posteriors[0].loc)
    for number, q in enumerate([*fit.posteriors, as_base(fit.posterior)]):
        arrays |= _arrays_of(q, f"{number}/")
    if fit.monitor is not None:
        for name in MONITORED:
            arrays[f"monitor/{name}"] = getattr(fit.monitor, name)
    write_arrays(path, {"about": json.dumps(about), **arrays})


def read(path, bnn: BNN | None) -> dict:
    """The attributes of the fit in `path` by name, its monitor as a dict too: see
    :func:`symvi.load`."""
    path = as_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"path: no file {path}")
    arrays = read_arrays(path, "path", WANTED, REMEDY)
    try:
        about = json.loads(str(arrays["about"]))
        kind, version = about["kind"], about["version"]
    except (KeyError, TypeError, json.JSONDecodeError):
        kind = version = None
    if kind != KIND:
        raise expected("path", f"{WANTED} in {path}", "a file of another kind", REMEDY)
    if version != VERSION:
        got = f"one of version {version} in {path}"
        raise expected(
            "path", f"a fit of file version {VERSION}", got, "use the symvi that wrote it"
        )
    try:
        return _rebuilt(about, arrays, bnn, path)
    except (KeyError, TypeError, IndexError) as error:
        got = f"a damaged one ({type(error).__name__}: {error})"
        raise expected("path", f"{WANTED} in {path}", got, REMEDY) from error


def _rebuilt(about, arrays, bnn, path) -> dict:
    bnn = _model(about, arrays, bnn, path)
    *posteriors, best = [
        _posterior_of(arrays, f"{number}/", bnn) for number in range(len(about["kept"]) + 1)
    ]
    if about["best"] is not None:
        best = posteriors[about["best"]]
    monitor = None
    if about["log_order"] is not None:
        monitor = {name: arrays[f"monitor/{name}"] for name in MONITORED}
        monitor["log_order"] = about["log_order"]
    return {
        "bnn": bnn,
        "posterior": Symmetrized(best) if about["symmetrized"] else best,
        "posteriors": posteriors,
        "elbos": [Estimate(*elbo) for elbo in about["elbos"]],
        "losses": arrays["losses"],
        "kept": tuple(about["kept"]),
        "symmetrize": _method(about["symmetrize"]),
        "monitor": monitor,
    }


# the model


def _described_model(bnn) -> dict | None:
    """The model as JSON; None if it has parts that are not symvi's own."""
    likelihood = type(bnn.likelihood)
    if type(bnn.net) is not MLP or likelihood not in LIKELIHOODS.values():
        return None
    return {
        "net": asdict(bnn.net),
        "likelihood": likelihood.__name__,
        "settings": asdict(bnn.likelihood),
    }


def _described_groups(bnn) -> list:
    signed = bnn.symmetry.signed
    sizes = [[group.name, group.size] for group in bnn.symmetry.groups]
    return [*sizes, list(signed) if isinstance(signed, tuple) else signed]


def _model(about, arrays, bnn, path) -> BNN:
    """The stored model, or the one given, if it fits."""
    if bnn is None:
        stored = about["model"]
        if stored is None:
            got = f"None, and {path} holds no model (its network or likelihood is not symvi's own)"
            raise expected("bnn", "the model of the fit", got, "pass bnn=...")
        prior = {name: np.asarray(scale) for name, scale in _part(arrays, "prior/").items()}
        likelihood = LIKELIHOODS[stored["likelihood"]](**stored["settings"])
        return BNN(MLP(**stored["net"]), likelihood, prior)
    check_model(bnn)
    bnn.check_params(_part(arrays, "0/loc/"), "bnn")
    if _described_groups(bnn) != about["groups"]:
        wanted, got = f"the symmetry {about['groups']}", _described_groups(bnn)
        raise expected("bnn", wanted, got, SAME_MODEL)
    _check_same(bnn, about, arrays)
    return bnn


def _fingerprint(bnn, params, outputs=None) -> dict:
    """What tells a model from others of the same shapes: the network's outputs at fixed inputs, and
    the distribution of data (given `outputs`) and of the likelihood's own parameters.

    Numbers, not a hash: another machine or precision rounds otherwise.
    """
    shape = tuple(getattr(bnn.net, "input_shape", bnn.net.widths[:1]))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, *shape)))
    found = {}
    with contextlib.suppress(Exception):  # parts of one's own may know their own data only
        found["network"] = np.asarray(bnn.net.apply(params, x))
        given = jnp.asarray(found["network"] if outputs is None else outputs)
        law = bnn.likelihood.distribution(given, params)
        found["distribution"], found["likelihood"] = _family(law), _numbers(law)
    priors = [bnn.priors()[name] for name in sorted(bnn.likelihood.latents())]
    found["prior of the likelihood's parameters"] = _numbers(priors)
    return {f"model/{name}": value for name, value in found.items()}


def _family(law) -> np.ndarray:
    """The name of a distribution, as NumPy stores text."""
    while isinstance(law, dist.Independent):
        law = law.base_dist
    return np.array(type(law).__name__)


def _numbers(laws) -> np.ndarray:
    """All parameters of distributions, one after the other."""
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(laws)]
    return np.concatenate([np.zeros(0), *(leaf for leaf in leaves if leaf.dtype.kind in "biuf")])


def _check_same(bnn, about, arrays) -> None:
    """ValueError, which says what differs, unless `bnn` computes what the stored model did."""
    stored = {name: value for name, value in arrays.items() if name.startswith("model/")}
    if not stored:  # written before there were fingerprints
        return
    now = _fingerprint(bnn, _part(arrays, "0/loc/"), stored.get("model/network"))
    now |= {f"prior/{name}": scale for name, scale in bnn.prior_scales().items()}
    stored |= {name: value for name, value in arrays.items() if name.startswith("prior/")}
    differ = [name for name, value in stored.items() if not _close(name, now.get(name), value)]
    named = [name.removeprefix("model/").replace("prior/", "prior_scale of ") for name in differ]
    likelihood = type(bnn.likelihood).__name__
    if likelihood != about["likelihood"]:
        named.append(f"likelihood ({likelihood}, not {about['likelihood']})")
    if named:
        raise expected("bnn", "the model of the fit", f"another {', '.join(named)}", SAME_MODEL)


def _close(name, now, stored) -> bool:
    """Equal but for rounding, which in a network is that of a GPU's products."""
    if now is None or now.shape != stored.shape:
        return False
    if stored.dtype.kind == "U":
        return str(now) == str(stored)
    if name == "model/network":
        slack = COARSE * np.abs(stored).max(initial=0.0)
        return np.allclose(now, stored, rtol=COARSE, atol=slack, equal_nan=True)
    return np.allclose(now, stored, rtol=FINE, atol=FINE, equal_nan=True)


# methods and posteriors


def _described_method(symmetrize):
    """None, a string, or a method of the table as its name and settings."""
    if symmetrize is None or isinstance(symmetrize, Plain):
        return None
    if isinstance(symmetrize, str):
        return symmetrize
    if METHODS.get(symmetrize.name) is not type(symmetrize):
        wanted, got = "a method of symvi's table", described(symmetrize)
        raise expected("symmetrize", wanted, got, "pickle this fit, or save its posteriors")
    return {"name": symmetrize.name, **asdict(symmetrize)}


def _method(stored):
    if not isinstance(stored, dict):
        return stored
    settings = dict(stored)
    return METHODS[settings.pop("name")](**settings)


def _arrays_of(q, prefix: str) -> dict:
    parts = {"loc": q.loc, "scale": q.scale}
    if isinstance(q, UnitNormal):
        parts["lower"] = q.lower
    arrays = {}
    for part, named in parts.items():
        for name, value in named.items():
            arrays[f"{prefix}{part}/{name}"] = np.asarray(value)
    return arrays


def _posterior_of(arrays, prefix: str, bnn):
    loc, scale, lower = (_part(arrays, f"{prefix}{part}/") for part in ("loc", "scale", "lower"))
    if lower:
        return UnitNormal(loc, scale, bnn.symmetry, lower)
    return MeanField(loc, scale, bnn.symmetry)


def _part(arrays, prefix: str) -> dict:
    return {
        name.removeprefix(prefix): jnp.asarray(value)
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
