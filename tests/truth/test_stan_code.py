"""Models in Stan: programs, data and draws, each read again without any of the code that wrote
them."""

from __future__ import annotations

import json
from textwrap import dedent

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from symvi import BNN, MLP, Categorical, Gaussian, reference_model
from symvi.draws import log_joints
from symvi.truth import from_stan_draws, stan_data, stan_draws, stan_program
from symvi.truth.references import RECIPES
from symvi.truth.stan_code import constant, stan_shapes, unconstrained

MODELS = {
    **{name: lambda name=name: reference_model(name)[0] for name in RECIPES},
    "two outputs": lambda: BNN(MLP([2, 3, 2], "sin"), Gaussian(), 0.5),
    "known noise": lambda: BNN(MLP([2, 3, 2], "erf", bias=False), Gaussian(0.3), 2.0),
    "one class": lambda: BNN(MLP([2, 3, 1], "tanh"), Categorical()),
    "gelu": lambda: BNN(MLP([2, 3, 4, 1], "gelu"), Gaussian(), 0.5),
}
UNITS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sin": np.sin,
    "erf": scipy.special.erf,
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
}


def data_of(name: str, bnn: BNN):
    if name in RECIPES:
        data = reference_model(name)[1]
        return data.x, data.y
    numbers = np.random.default_rng(0)
    x, widths = numbers.normal(size=(6, bnn.net.widths[0])), bnn.net.widths
    if isinstance(bnn.likelihood, Categorical):
        return x, numbers.integers(widths[-1], size=6)
    return x, numbers.normal(size=(6, widths[-1]))


def prior_draws(bnn: BNN, num: int = 3) -> dict:
    """Draws ``(1, num, *shape)`` by name: one chain."""
    keys = jax.random.split(jax.random.key(0), num)
    drawn = jax.vmap(bnn.sample_prior)(keys)
    return {name: np.asarray(value)[None] for name, value in drawn.items()}


def entries(draw: dict, name: str) -> np.ndarray:
    """An array from entries called name[i,j], name[i] or name; its shape is found by counting."""
    if name in draw:
        return np.array(draw[name])
    rows = next(i for i in range(1, 99) if not {f"{name}[{i}]", f"{name}[{i},1]"} & set(draw))
    if f"{name}[1]" in draw:
        return np.array([draw[f"{name}[{i}]"] for i in range(1, rows)])
    columns = next(j for j in range(1, 99) if f"{name}[1,{j}]" not in draw)
    return np.array([[draw[f"{name}[{i},{j}]"] for j in range(1, columns)] for i in range(1, rows)])


def density_by_hand(bnn: BNN, data: dict, draw: dict) -> float:
    """The density of one draw by Stan's names and data, all constants in: of sigma, not of its
    log."""
    hidden, layers = np.array(data["x"]), len(bnn.net.widths) - 1
    total = sum(
        scipy.stats.norm.logpdf(value, scale=bnn.prior_scale)
        for name, value in draw.items()
        if name != "sigma"
    )
    for layer in range(1, layers + 1):
        weights = entries(draw, f"W{layer}") if layer < layers or not fixed(bnn) else fixed(bnn)
        z = hidden @ weights if np.ndim(weights) else weights * hidden.sum(axis=1)
        z = z + entries(draw, f"b{layer}") if bnn.net.bias else z
        hidden = UNITS[bnn.net.activation](z) if layer < layers else z
    y = np.array(data["y"])
    if isinstance(bnn.likelihood, Categorical):
        chosen = scipy.special.log_softmax(hidden, axis=1)[np.arange(data["N"]), y - 1]
        return total + chosen.sum()
    sigma = draw.get("sigma", bnn.likelihood.scale)
    if "sigma" in draw:
        total += scipy.stats.lognorm.logpdf(sigma, 1.0)
    return total + scipy.stats.norm.logpdf(y, hidden, sigma).sum()


def fixed(bnn: BNN):
    return bnn.net.fixed_output


@pytest.mark.parametrize("name", MODELS)
def test_data_and_draws_have_the_density_of_the_model(name):
    """Read by hand from what is exported; the Jacobian of sigma = exp(log_noise) is its log."""
    bnn = MODELS[name]()
    x, y = data_of(name, bnn)
    data = json.loads(json.dumps(stan_data(bnn, x, y)))
    draws = prior_draws(bnn)
    columns = stan_draws(bnn, draws)
    for i, ours in enumerate(log_joints(bnn, draws, x, y)[0]):
        draw = {key: float(value[0, i]) for key, value in columns.items()}
        jacobian = np.log(draw.get("sigma", 1.0))
        assert density_by_hand(bnn, data, draw) + jacobian == pytest.approx(float(ours), rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_constant_is_what_stan_leaves_out(name):
    """By hand: of weights, and of numbers with Gaussian noise; Stan's lognormal keeps its own."""
    bnn = MODELS[name]()
    _, y = data_of(name, bnn)
    at_zero = scipy.stats.norm.logpdf
    wanted = sum(
        at_zero(0.0, scale=bnn.prior_scale) * np.prod(shape) for shape in bnn.net.shapes.values()
    )
    if isinstance(bnn.likelihood, Gaussian):
        known = 1.0 if bnn.likelihood.scale is None else bnn.likelihood.scale
        wanted += y.size * at_zero(0.0, scale=known)
    assert constant(bnn, len(y)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_draws_go_to_stan_and_back(name):
    bnn, draws = MODELS[name](), prior_draws(MODELS[name]())
    columns = stan_draws(bnn, draws)
    back = from_stan_draws(bnn, {**columns, "lp__": np.zeros((1, 3))})
    assert set(back) == set(draws)
    for key, value in draws.items():
        assert back[key].shape == value.shape
        np.testing.assert_allclose(back[key], value, rtol=1e-14, atol=1e-15)
    sizes = [int(np.prod(shape, dtype=int)) for shape in stan_shapes(bnn).values()]
    assert len(columns) == sum(sizes) == sum(value[0, 0].size for value in draws.values())


def test_names_and_order_are_those_of_stan():
    """The first index moves fastest; the weights of one output are a vector, its bias a number."""
    bnn = BNN(MLP([2, 3, 1], "tanh"), Gaussian())
    draws = prior_draws(bnn)
    columns = stan_draws(bnn, draws)
    assert list(columns) == [
        *("W1[1,1]", "W1[2,1]", "W1[1,2]", "W1[2,2]", "W1[1,3]", "W1[2,3]"),
        *("b1[1]", "b1[2]", "b1[3]", "W2[1]", "W2[2]", "W2[3]", "b2", "sigma"),
    ]
    assert np.array_equal(columns["W1[2,3]"], draws["W1"][..., 1, 2])
    assert np.array_equal(columns["W2[2]"], draws["W2"][..., 1, 0])
    assert np.array_equal(columns["sigma"], np.exp(draws["log_noise"]))
    flat = np.array([value[0, 1] for value in unconstrained(bnn, draws).values()])
    one = {key: value[0, 1] for key, value in draws.items()}
    by_columns = [one[key].ravel(order="F") for key in ("W1", "b1", "W2", "b2")]
    assert np.array_equal(flat, np.concatenate([*by_columns, one["log_noise"][None]]))


def test_two_outputs_keep_their_matrix():
    bnn = BNN(MLP([1, 2, 2], "tanh"), Gaussian())
    assert stan_shapes(bnn) == {"W1": (1, 2), "b1": (2,), "W2": (2, 2), "b2": (2,), "sigma": ()}
    x, y = np.ones((3, 1)), np.arange(6.0).reshape(3, 2)
    assert stan_data(bnn, x, y) == {"N": 3, "D": 1, "K": 2, "x": x.tolist(), "y": y.tolist()}


def test_labels_begin_at_one():
    bnn = BNN(MLP([1, 2, 3], "tanh"), Categorical())
    found = stan_data(bnn, np.zeros((3, 1)), np.array([0, 2, 1]))
    assert found["y"] == [1, 3, 2]
    assert all(type(label) is int for label in found["y"])
    assert found["K"] == 3


@pytest.mark.parametrize("name", RECIPES)
def test_no_digit_of_the_data_is_lost(name):
    """Whatever precision JAX works in."""
    bnn, data = reference_model(name)
    with jax.enable_x64(False):
        found = json.loads(json.dumps(stan_data(bnn, data.x, data.y)))
    assert np.array_equal(found["x"], data.x)
    assert np.array_equal(found["y"], data.y.ravel() + isinstance(bnn.likelihood, Categorical))


def test_a_program_as_one_would_write_it():
    bnn = BNN(MLP([1, 10, 1], "tanh", signed=True), Gaussian())
    program = """\
        // A 1-10-1 network of tanh units. Exchanging the units of a hidden
        // layer leaves the density as it is: each mode has a copy for every order of them.
        data {
          int<lower=1> N; // data
          int<lower=1> D; // inputs
          matrix[N, D] x;
          vector[N] y;
        }
        transformed data {
          int<lower=1> H1 = 10; // hidden units
        }
        parameters {
          matrix[D, H1] W1;
          row_vector[H1] b1;
          vector[H1] W2;
          real b2;
          real<lower=0> sigma; // noise
        }
        model {
          matrix[N, H1] h1 = tanh(x * W1 + rep_matrix(b1, N));
          vector[N] f = h1 * W2 + b2;

          to_vector(W1) ~ std_normal();
          b1 ~ std_normal();
          W2 ~ std_normal();
          b2 ~ std_normal();
          sigma ~ lognormal(0, 1);
          y ~ normal(f, sigma);
        }
        """
    assert stan_program(bnn) == dedent(program)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("two-weight", ["real<lower=0> sigma = 2.0; // noise", "to_vector(W1) ~ std_normal();"]),
        ("two-weight", ["matrix[N, H1] h1 = fmax(0, x * W1);"]),
        ("two-weight", ["vector[N] f = h1 * rep_vector(1.0, H1);", "y ~ normal(f, sigma);"]),
        ("mcycle-deep", ["matrix[N, H2] h2 = tanh(h1 * W2 + rep_matrix(b2, N));", "real b3;"]),
        ("digits", ["array[N] int<lower=1, upper=K> y;", "y[n] ~ categorical_logit(f[n]');"]),
        ("known noise", ["matrix[N, K] f = h1 * W2;", "to_vector(W2) ~ normal(0, 2.0);"]),
        ("two outputs", ["b2 ~ normal(0, 0.5);", "to_vector(y) ~ normal(to_vector(f), sigma);"]),
        ("gelu", ["functions {", "matrix[N, H2] h2 = gelu(h1 * W2 + rep_matrix(b2, N));"]),
    ],
)  # fmt: skip
def test_lines_of_other_programs(name, lines):
    program = stan_program(MODELS[name]())
    assert set(lines) <= {line.strip() for line in program.splitlines()}
    assert program.count("{") == program.count("}")


def test_equal_models_have_equal_programs():
    """The prior may be a number, or numbers by name; signs of the group are no part of a
    program."""
    net = MLP([1, 3, 1], "tanh")
    by_name = {name: np.full(shape, 2.0) for name, shape in net.shapes.items()}
    one = BNN(net, Gaussian(), 2.0)
    assert stan_program(BNN(net, Gaussian(), by_name)) == stan_program(one)
    assert stan_program(BNN(MLP([1, 3, 1], "tanh", signed=True), Gaussian(), 2)) == stan_program(
        one
    )


class Shifted(Gaussian):
    """A likelihood of somebody's own, which no program knows."""


class OwnNetwork(MLP):
    """A network of somebody's own."""


UNWRITTEN = {
    "net": (BNN(OwnNetwork([1, 2, 1]), Gaussian()), "bnn.net: expected a symvi.MLP"),
    "likelihood": (BNN(MLP([1, 2, 1]), Shifted()), "bnn.likelihood: expected symvi.Gaussian or"),
    "priors of one matrix": (
        BNN(
            MLP([2, 2, 1], bias=False),
            Gaussian(),
            {"W1": np.array([[1.0, 1.0], [2.0, 2.0]]), "W2": 1.0},
        ),
        r"prior_scale\['W1'\]: expected one prior scale for all its weights",
    ),
    "no model": (MLP([1, 2, 1]), "bnn: expected a symvi.BNN"),
}


@pytest.mark.parametrize("name", UNWRITTEN)
def test_what_no_program_can_be_written_for(name):
    bnn, message = UNWRITTEN[name]
    for call in (
        lambda: stan_program(bnn),
        lambda: stan_data(bnn, np.ones((3, 1)), np.ones(3)),
        lambda: stan_draws(bnn, {}),
        lambda: from_stan_draws(bnn, {}),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W1[1,2]": None}, r"columns: expected the parameter 'W1\[1,2\]', got none"),
        ({"sigma": -np.ones((1, 3))}, r"draws\['log_noise'\]: expected finite numbers"),
        ({"b1[1]": np.full((1, 3), np.nan)}, r"draws\['b1'\]: expected finite numbers"),
    ],
)
def test_columns_that_are_no_draws(change, message):
    bnn = BNN(MLP([1, 2, 1], "tanh"), Gaussian())
    columns = stan_draws(bnn, prior_draws(bnn)) | change
    with pytest.raises(ValueError, match=message):
        from_stan_draws(bnn, {key: value for key, value in columns.items() if value is not None})


def test_data_that_do_not_fit():
    bnn = BNN(MLP([1, 2, 1], "tanh"), Gaussian())
    with pytest.raises(ValueError, match="x: expected shape"):
        stan_data(bnn, np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match="y: expected"):
        stan_data(bnn, np.ones((3, 1)), np.ones(4))
