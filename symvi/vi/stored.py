"""A fit in one file: what is stored, and how it is read back."""

from __future__ import annotations

import json
from dataclasses import asdict

import jax.numpy as jnp
import numpy as np

from symvi.checks import described, expected
from symvi.estimates import Estimate
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
    return [[group.name, group.size] for group in bnn.symmetry.groups] + [bnn.symmetry.signed]


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
        raise expected("bnn", wanted, got, "pass the model that was fitted")
    return bnn


# methods and posteriors


def _described_method(symmetrize):
    """None, a string, or a method of the table as its name and settings."""
    if symmetrize is None or isinstance(symmetrize, str):
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
