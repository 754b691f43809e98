"""A model in Stan: its program, its data, and draws under the names that Stan gives them.

Stan samples on the real line: a scale sigma > 0 is replaced by log sigma, and the log density gains
the log Jacobian of that change, log sigma. Ours is a density of log sigma from the start::

    log sigma ~ N(0, 1),   which Stan writes as   sigma ~ lognormal(0, 1)

    lognormal(sigma) = N(log sigma; 0, 1) / sigma,   times the Jacobian sigma

So Stan's log density of all unconstrained parameters and ``bnn.log_joint`` differ by the constants
that Stan leaves out only: 1/2 log 2 pi of each weight and of each number observed with Gaussian
noise, and the logs of the scales that are known. (Of lognormal it leaves out nothing.)
"""

from __future__ import annotations

import numpy as np

from symvi.checks import described, expected
from symvi.draws import check_draws
from symvi.likelihoods import NOISE, Categorical, Gaussian
from symvi.models import BNN, check_model
from symvi.networks import MLP

SIGMA = "sigma"  # the noise scale in Stan, exp(log_noise)
# an activation of the matrix z of pre-activations
ACTIVATIONS = {
    "relu": "fmax(0, {z})",
    "tanh": "tanh({z})",
    "gelu": "gelu({z})",
    "erf": "erf({z})",
    "sin": "sin({z})",
}
GELU = """functions {
  // the approximation by tanh
  matrix gelu(matrix z) {
    return 0.5 * z .* (1 + tanh(sqrt(2 / pi()) * (z + 0.044715 * z .^ 3)));
  }
}
"""


def stan_program(bnn: BNN) -> str:
    """The program of a model in Stan's language, as one would write it by hand.

    Hidden widths and priors are part of the program; the numbers of data, inputs and outputs come
    with the data, :func:`stan_data`. Weights are matrices under the names that they have in
    `bnn`, the last layer's of a network with one output a vector, and the noise scale is `sigma`.

    Raises
    ------
    ValueError
        A network that is no :class:`symvi.MLP`, a likelihood that is neither
        :class:`symvi.Gaussian` nor :class:`symvi.Categorical`, or weights of one matrix with
        different prior scales.
    """
    _check(bnn)
    blocks = [
        _comment(bnn),
        GELU if bnn.net.activation == "gelu" else "",
        _block("data", _data_lines(bnn)),
        _block("transformed data", _constant_lines(bnn)),
        _block("parameters", _parameter_lines(bnn)),
        _block("model", [*_network_lines(bnn), "", *_prior_lines(bnn), *_likelihood_lines(bnn)]),
    ]
    return "".join(blocks)


def stan_data(bnn: BNN, x, y) -> dict:
    """The data of :func:`stan_program` as numbers and lists, ready for JSON.

    N data, D inputs, K outputs (where there may be several), x as N rows, and y: N numbers, N rows
    of K, or labels from 1 to K (ours begin at 0).

    Raises
    ------
    ValueError
        As for :func:`stan_program`, or data that do not fit the model.
    """
    _check(bnn)
    bnn.check_data(x, y)
    x, y = np.asarray(x), np.asarray(y)  # JAX may have made them float32
    num, inputs = x.shape
    data = {"N": num, "D": inputs}
    if not _one_output(bnn):
        data["K"] = bnn.net.widths[-1]
    if isinstance(bnn.likelihood, Categorical):
        y = y.reshape(num) + 1
    elif _one_output(bnn):
        y = y.reshape(num)
    return {**data, "x": x.tolist(), "y": y.tolist()}


def stan_draws(bnn: BNN, draws) -> dict:
    """Draws by the names of Stan's parameters, in its order: arrays ``(*batch)``.

    Entries count from 1 and the first index moves fastest: W1[1,1], W1[2,1], ... The noise scale is
    sigma = exp(log_noise).

    Parameters
    ----------
    draws : dict of arrays ``(*batch, *shape)``, or an InferenceData

    Raises
    ------
    ValueError
        As for :func:`stan_program`, or draws of another model.
    """
    columns = unconstrained(bnn, draws)
    if SIGMA in columns:
        columns[SIGMA] = np.exp(columns[SIGMA])
    return columns


def from_stan_draws(bnn: BNN, columns) -> dict:
    """The draws that were turned into `columns`, as arrays ``(*batch, *shape)`` by name.

    The inverse of :func:`symvi.truth.stan_draws`.
    So draws of Stan, or of a chain of posteriordb, can be aligned, judged and compared as ours.

    Parameters
    ----------
    columns : dict of arrays ``(*batch)``
        Under the names of Stan's parameters; others (``lp__``) are left out.

    Raises
    ------
    ValueError
        As for :func:`stan_program`; a parameter that is missing, or values that are no draws.
    """
    _check(bnn)
    draws = {}
    for name, shape in stan_shapes(bnn).items():
        entries = [_entry(columns, _label(name, place)) for place in np.ndindex(*shape)]
        values = np.stack(entries, axis=-1)
        if name == SIGMA:
            with np.errstate(divide="ignore", invalid="ignore"):  # check_draws says it better
                name, values = NOISE, np.log(values)
        draws[name] = values.reshape(*values.shape[:-1], *bnn.shapes[name])
    return check_draws(bnn, draws)[0]


def _entry(columns, label: str) -> np.ndarray:
    if label not in columns:
        remedy = "pass draws of the program that stan_program writes"
        raise expected("columns", f"the parameter {label!r}", "none of that name", remedy)
    return np.asarray(columns[label], float)


def _label(name: str, place: tuple) -> str:
    """What Stan calls the entry at `place` (from 0): W1[2,1], b1[3], sigma."""
    return f"{name}[{','.join(str(i + 1) for i in place)}]" if place else name


def unconstrained(bnn: BNN, draws) -> dict:
    """As :func:`symvi.truth.stan_draws`, but on the real line: `sigma` is log sigma there."""
    _check(bnn)
    draws, batch = check_draws(bnn, draws)
    columns = {}
    for name, shape in stan_shapes(bnn).items():
        values = draws[NOISE if name == SIGMA else name].reshape(*batch, *shape)
        for place in np.ndindex(*shape[::-1]):  # the last index moves fastest here
            entry = place[::-1]
            columns[_label(name, entry)] = values[(..., *entry)]
    return columns


def stan_shapes(bnn: BNN) -> dict:
    """The shapes of Stan's parameters by name, in the order in which the program declares them."""
    shapes = {}
    for layer in range(1, len(bnn.net.widths)):
        for name in (f"W{layer}", f"b{layer}"):
            if name in bnn.shapes:
                shape = bnn.shapes[name]
                last = layer == len(bnn.net.widths) - 1
                shapes[name] = shape[:-1] if last and _one_output(bnn) else shape
    if NOISE in bnn.shapes:
        shapes[SIGMA] = ()
    return shapes


def constant(bnn: BNN, num: int) -> float:
    """How much ``bnn.log_joint`` of `num` data is above Stan's log density, in nats.

    It is what Stan leaves out of normal(mu, s) where s is known: -1/2 log 2 pi - log s.
    """
    _check(bnn)
    scales = [value.ravel() for value in bnn.prior_scales().values()]
    if isinstance(bnn.likelihood, Gaussian):
        known = 1.0 if bnn.likelihood.scale is None else bnn.likelihood.scale
        scales.append(np.full(num * bnn.net.widths[-1], known))
    left_out = np.concatenate(scales)
    return float(-np.sum(0.5 * np.log(2 * np.pi) + np.log(left_out)))


def _check(bnn) -> None:
    """ValueError unless the model can be written in Stan."""
    check_model(bnn)
    if type(bnn.net) is not MLP:
        got = f"a {type(bnn.net).__name__}"
        raise expected("bnn.net", "a symvi.MLP", got, "write the program of other networks by hand")
    if type(bnn.likelihood) not in (Gaussian, Categorical):
        wanted = "symvi.Gaussian or symvi.Categorical"
        remedy = "write the program of other likelihoods by hand"
        raise expected("bnn.likelihood", wanted, described(bnn.likelihood), remedy)
    for name, scale in bnn.prior_scales().items():
        if np.any(scale != scale.flat[0]):
            wanted = "one prior scale for all its weights"
            raise expected(f"prior_scale[{name!r}]", wanted, "several", "give it one number")


def _one_output(bnn: BNN) -> bool:
    """Whether outputs are one number a datum, and need no matrix."""
    return bnn.net.widths[-1] == 1 and isinstance(bnn.likelihood, Gaussian)


def _block(name: str, lines: list[str]) -> str:
    indented = "".join(f"  {line}\n" if line else "\n" for line in lines)
    return f"{name} {{\n{indented}}}\n"


def _comment(bnn: BNN) -> str:
    net = bnn.net
    widths = "-".join(map(str, net.widths))
    return (
        f"// A {widths} network of {net.activation} units. Exchanging the units of a hidden\n"
        "// layer leaves the density as it is: each mode has a copy for every order of them.\n"
    )


def _data_lines(bnn: BNN) -> list[str]:
    lines = ["int<lower=1> N; // data", "int<lower=1> D; // inputs"]
    if isinstance(bnn.likelihood, Categorical):
        outputs = ["int<lower=1> K; // classes"]
        observed = "array[N] int<lower=1, upper=K> y;"
    elif _one_output(bnn):
        outputs, observed = [], "vector[N] y;"
    else:
        outputs, observed = ["int<lower=1> K; // outputs"], "matrix[N, K] y;"
    return [*lines, *outputs, "matrix[N, D] x;", observed]


def _constant_lines(bnn: BNN) -> list[str]:
    hidden = enumerate(bnn.net.widths[1:-1], 1)
    lines = [f"int<lower=1> H{layer} = {width}; // hidden units" for layer, width in hidden]
    known = getattr(bnn.likelihood, "scale", None)
    if known is not None:
        lines.append(f"real<lower=0> sigma = {known}; // noise")
    return lines


def _parameter_lines(bnn: BNN) -> list[str]:
    last = len(bnn.net.widths) - 1
    sizes = ["D", *(f"H{layer}" for layer in range(1, last)), "K"]
    lines = []
    for name, shape in stan_shapes(bnn).items():
        if name == SIGMA:
            lines.append("real<lower=0> sigma; // noise")
            continue
        before, after = sizes[int(name[1:]) - 1], sizes[int(name[1:])]
        kinds = {
            ("W", 2): f"matrix[{before}, {after}]",
            ("W", 1): f"vector[{before}]",
            ("b", 1): f"row_vector[{after}]",
            ("b", 0): "real",
        }
        lines.append(f"{kinds[name[0], len(shape)]} {name};")
    return lines


def _network_lines(bnn: BNN) -> list[str]:
    net, last = bnn.net, len(bnn.net.widths) - 1
    lines, below = [], "x"
    for layer in range(1, last):
        bias = f" + rep_matrix(b{layer}, N)" if net.bias else ""
        units = ACTIVATIONS[net.activation].format(z=f"{below} * W{layer}{bias}")
        below = f"h{layer}"
        lines.append(f"matrix[N, H{layer}] {below} = {units};")
    if net.fixed_output is not None:
        output = f"{below} * rep_vector({float(net.fixed_output)}, H{last - 1})"
    elif not net.bias:
        output = f"{below} * W{last}"
    elif _one_output(bnn):
        output = f"{below} * W{last} + b{last}"
    else:
        output = f"{below} * W{last} + rep_matrix(b{last}, N)"
    kind = "vector[N]" if _one_output(bnn) else "matrix[N, K]"
    return [*lines, f"{kind} f = {output};"]


def _prior_lines(bnn: BNN) -> list[str]:
    lines = []
    scales = bnn.prior_scales()
    for name, shape in stan_shapes(bnn).items():
        if name == SIGMA:
            lines.append("sigma ~ lognormal(0, 1);")
            continue
        scale = scales[name].flat[0]
        law = "std_normal()" if scale == 1 else f"normal(0, {scale})"
        lines.append(f"{f'to_vector({name})' if len(shape) == 2 else name} ~ {law};")
    return lines


def _likelihood_lines(bnn: BNN) -> list[str]:
    if isinstance(bnn.likelihood, Categorical):
        return ["for (n in 1 : N) {", "  y[n] ~ categorical_logit(f[n]');", "}"]
    if _one_output(bnn):
        return ["y ~ normal(f, sigma);"]
    return ["to_vector(y) ~ normal(to_vector(f), sigma);"]
