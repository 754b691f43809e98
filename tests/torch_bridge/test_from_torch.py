"""from_torch: the same function in JAX, and only true symmetries."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_modules import Net

import symvi
from symvi.torch_bridge.aten import OPERATIONS
from symvi.tracing.reading import RULES


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Every test here compiles something small and runs it once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def seq(*layers):
    return nn.Sequential(*layers)


def lin(*sizes):
    return nn.Linear(*sizes)


def trained(module):
    """Running statistics as after training: all different."""
    for name, buffer in module.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.linspace(0.5, 2.0, len(buffer)))
    return module


def vision(norm=None):
    return seq(
        nn.Conv2d(2, 4, 3, padding=1),
        norm or nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2),
        nn.GELU(),
        nn.Flatten(),
        lin(12, 5),
        nn.Tanh(),
        lin(5, 2),
    )


def normed():
    return seq(lin(3, 4), nn.BatchNorm1d(4), nn.ReLU(), lin(4, 2))


def shared(self, x):
    return self.c(torch.tanh(self.w(torch.tanh(self.w(torch.tanh(self.a(x)))))))


def residual(self, x):
    h = self.a(x)
    h = h + self.out1(F.relu(self.in1(h)))
    h = h + self.out2(F.relu(self.in2(h)))
    return self.c(h)


def two_uses(self, x):
    p, q = F.relu(self.a(x[:, :2])), F.relu(self.a(x[:, 2:]))
    return self.c(torch.cat([p, q], 1))


def two_uses_mixed(self, x):
    p, q = F.relu(self.a(x[:, :2])), F.relu(self.a(x[:, 2:]))
    return self.c(torch.cat([p[:, :2], q, p[:, 2:]], 1))


def gated(self, x):
    a, b = self.a(x).chunk(2, dim=-1)
    return self.c(a * b.sigmoid())


IMAGE = (2, 2, 6, 6)
# name: module, shape of the example, expected sizes of groups by name
ZOO = {
    "one hidden layer": (lambda: seq(lin(3, 4), nn.Tanh(), lin(4, 2)), (2, 3), {"0": 4}),
    "three hidden layers": (
        lambda: seq(
            lin(3, 4),
            nn.SiLU(),
            lin(4, 3),
            nn.ELU(),
            lin(3, 5, False),
            nn.LeakyReLU(0.1),
            lin(5, 1),
        ),
        (2, 3),
        {"0": 4, "2": 3, "4": 5},
    ),
    "functions": (
        lambda: Net(
            lambda s, x: s.b(torch.tanh(s.m(F.gelu(s.a(x), approximate="tanh")))),
            a=lin(3, 4),
            m=lin(4, 3),
            b=lin(3, 1),
        ),
        (1, 3),
        {"a": 4, "m": 3},
    ),
    "methods": (
        lambda: Net(
            lambda s, x: s.b((s.a(x).relu() * 2.0 - 1).sigmoid().pow(2)), a=lin(3, 4), b=lin(4, 1)
        ),
        (2, 3),
        {"a": 4},
    ),
    "many activations": (
        lambda: Net(
            lambda s, x: s.b(
                F.softplus(F.hardtanh(s.a(x)))
                + F.mish(s.a(x))
                + F.selu(x.mean(-1, keepdim=True))
                + F.hardswish(s.a(x)).clamp(-1, 0.3)
            ),
            a=lin(3, 4),
            b=lin(4, 1),
        ),
        (2, 3),
        {"a": 4},
    ),
    "float64 module": (lambda: seq(lin(3, 4), nn.Tanh(), lin(4, 2)).double(), (2, 3), {"0": 4}),
    "raw parameters": (
        lambda: Net(
            lambda s, x: torch.relu(x @ s.w1 + s.b1) @ s.w2.T * s.gain,
            w1=torch.ones(3, 4),
            b1=torch.ones(4),
            w2=torch.ones(2, 4),
            gain=torch.ones(1),
        ),
        (2, 3),
        {"w1": 4},
    ),
    "product of weights": (
        lambda: Net(lambda s, x: F.linear(x, s.u @ s.v), u=torch.ones(2, 4), v=torch.ones(4, 3)),
        (2, 3),
        {"u": 4},
    ),
    "scale per feature": (
        lambda: Net(
            lambda s, x: s.b(torch.tanh(s.a(x)) * s.g / 2),
            a=lin(3, 4),
            b=lin(4, 1),
            g=torch.ones(4),
        ),
        (2, 3),
        {"a": 4},
    ),
    "shared layer": (lambda: Net(shared, a=lin(3, 4), w=lin(4, 4), c=lin(4, 2)), (2, 3), {"a": 4}),
    "shared layer on the input": (
        lambda: Net(
            lambda s, x: s.c(torch.tanh(s.w(torch.tanh(s.w(x))))), w=lin(3, 3), c=lin(3, 2)
        ),
        (2, 3),
        {},
    ),
    "layer of two uses": (lambda: Net(two_uses, a=lin(2, 4), c=lin(8, 2)), (2, 4), {"a": 4}),
    "layer of two uses, mixed": (
        lambda: Net(two_uses_mixed, a=lin(2, 4), c=lin(8, 2)),
        (2, 4),
        {"a": 2, "a:2": 2},
    ),  # slices are kept apart
    "weights plus their transpose": (
        lambda: Net(
            lambda s, x: s.c(F.linear(torch.tanh(s.a(x)), s.w + s.w.T)),
            a=lin(3, 4),
            w=torch.ones(4, 4),
            c=lin(4, 1),
        ),
        (2, 3),
        {"a": 4},
    ),
    "halves exchanged": (
        lambda: Net(
            lambda s, x: (lambda h: s.c(h + torch.cat([h[:, 2:], h[:, :2]], 1)))(F.relu(s.a(x))),
            a=lin(3, 4),
            c=lin(4, 1),
        ),
        (2, 3),
        {"a": 2},
    ),
    "tied autoencoder": (
        lambda: Net(
            lambda s, x: F.linear(torch.tanh(F.linear(x, s.w, s.b)), s.w.t()),
            w=torch.ones(4, 3),
            b=torch.ones(4),
        ),
        (2, 3),
        {"w": 4},
    ),
    "residual": (
        lambda: Net(
            residual,
            a=lin(3, 4),
            in1=lin(4, 5),
            out1=lin(5, 4),
            in2=lin(4, 6),
            out2=lin(6, 4),
            c=lin(4, 2),
        ),
        (2, 3),
        {"a": 4, "in1": 5, "in2": 6},
    ),
    "residual to the input": (
        lambda: Net(
            lambda s, x: s.c(x + s.b(F.relu(s.a(x)))), a=lin(3, 5), b=lin(5, 3), c=lin(3, 1)
        ),
        (2, 3),
        {"a": 5},
    ),
    "concatenation": (
        lambda: Net(
            lambda s, x: s.c(torch.cat([F.relu(s.a(x)), torch.tanh(s.b(x))], dim=-1)),
            a=lin(3, 4),
            b=lin(3, 5),
            c=lin(9, 2),
        ),
        (2, 3),
        {"a": 4, "b": 5},
    ),
    "dense skip": (
        lambda: Net(lambda s, x: s.c(torch.cat([x, F.relu(s.a(x))], 1)), a=lin(3, 4), c=lin(7, 2)),
        (2, 3),
        {"a": 4},
    ),
    "same features twice": (
        lambda: Net(
            lambda s, x: (lambda h: s.c(torch.cat((h, h * h), 1)))(s.a(x)), a=lin(3, 4), c=lin(8, 2)
        ),
        (2, 3),
        {"a": 4},
    ),
    "gate": (lambda: Net(gated, a=lin(3, 8), c=lin(4, 1)), (2, 3), {"a": 4}),
    "slices": (
        lambda: Net(
            lambda s, x: (lambda h: s.c(h[:, :3]) + s.d(h[..., 3:]))(F.relu(s.a(x))),
            a=lin(3, 5),
            c=lin(3, 1),
            d=lin(2, 1),
        ),
        (2, 3),
        {"a": 3, "a:2": 2},
    ),
    "features added in a circle": (
        lambda: Net(
            lambda s, x: (lambda h: s.c(h + torch.cat([h[:, 1:], h[:, :1]], 1)))(F.relu(s.a(x))),
            a=lin(3, 4),
            c=lin(4, 1),
        ),
        (2, 3),
        {},
    ),
    "layer norm": (lambda: seq(lin(3, 4), nn.LayerNorm(4), nn.ReLU(), lin(4, 2)), (2, 3), {"0": 4}),
    "layer norm of the input": (
        lambda: seq(nn.LayerNorm(3), lin(3, 4), nn.ReLU(), lin(4, 2)),
        (2, 3),
        {"1": 4},
    ),
    "batch norm, untrained": (normed, (2, 3), {"0": 4}),
    "batch norm, trained": (lambda: trained(normed()), (2, 3), {}),
    "dropout": (
        lambda: Net(
            lambda s, x: s.b(F.dropout(s.d(F.relu(s.a(x))), 0.3, s.training)),
            a=lin(3, 4),
            d=nn.Dropout(0.5),
            b=lin(4, 2),
        ),
        (2, 3),
        {"a": 4},
    ),
    "buffer times features": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)) * s.m),
            {"m": torch.arange(4.0)},
            a=lin(3, 4),
            b=lin(4, 2),
        ),
        (2, 3),
        {},
    ),
    "buffer of two values in a row": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)) * s.m),
            {"m": torch.tensor([[1.0, 2, 2, 1, 2]])},
            a=lin(3, 5),
            b=lin(5, 2),
        ),
        (2, 3),
        {"a": 2, "a:2": 3},
    ),
    "buffer of two values in a column": (
        lambda: Net(
            lambda s, x: s.b(F.relu(F.linear(x, s.w * s.m))),
            {"m": torch.tensor([[1.0], [2], [2], [1], [2]])},
            w=torch.ones(5, 3),
            b=lin(5, 2),
        ),
        (2, 3),
        {"w": 2, "w:2": 3},
    ),
    "an axis of one entry put in and taken out": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)).unsqueeze(-1).tanh().squeeze(-1)),
            a=lin(3, 4),
            b=lin(4, 2),
        ),
        (2, 3),
        {"a": 4},
    ),
    "outputs without an axis": (
        lambda: Net(lambda s, x: s.b(F.relu(s.a(x))).squeeze(-1), a=lin(3, 4), b=lin(4, 1)),
        (2, 3),
        {"a": 4},
    ),
    "squeeze of an axis with several entries": (
        lambda: Net(lambda s, x: s.b(F.relu(s.a(x)).squeeze(1)), a=lin(3, 4), b=lin(4, 2)),
        (2, 3),
        {"a": 4},
    ),
    "squeeze of one axis of two that have one entry": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)).unsqueeze(1).unsqueeze(-1).squeeze(-1).mean(1)),
            a=lin(3, 4),
            b=lin(4, 2),
        ),
        (2, 3),
        {"a": 4},
    ),
    "buffer of two values": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)) * s.m),
            {"m": torch.tensor([1.0, 2, 2, 1, 2])},
            a=lin(3, 5),
            b=lin(5, 2),
        ),
        (2, 3),
        {"a": 2, "a:2": 3},
    ),
    "fixed mixing matrix": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)) @ s.m), {"m": torch.eye(4)}, a=lin(3, 4), b=lin(4, 2)
        ),
        (2, 3),
        {},
    ),
    "plain tensor attribute": (
        lambda: Net(lambda s, x: s.b(F.relu(s.a(x)) * torch.arange(4.0)), a=lin(3, 4), b=lin(4, 2)),
        (2, 3),
        {},
    ),
    "cumulative sum": (
        lambda: Net(lambda s, x: s.b(torch.cumsum(s.a(x), 1)), a=lin(3, 4), b=lin(4, 2)),
        (2, 3),
        {},
    ),
    "softmax over features": (
        lambda: seq(lin(3, 4), nn.Softmax(dim=-1), lin(4, 2)),
        (2, 3),
        {"0": 4},
    ),
    "sum of features": (
        lambda: Net(lambda s, x: F.relu(s.a(x)).sum(1, keepdim=True), a=lin(3, 4)),
        (2, 3),
        {"a": 4},
    ),
    "sequence": (
        lambda: Net(
            lambda s, x: s.b((F.relu(s.a(x)) + s.p).mean(1)),
            a=lin(3, 4),
            b=lin(4, 2),
            p=torch.ones(5, 4),
        ),
        (2, 5, 3),
        {"a": 4},
    ),
    "conv1d": (
        lambda: seq(
            nn.Conv1d(2, 4, 3, stride=2, dilation=2),
            nn.ReLU(),
            nn.AvgPool1d(2, padding=1),
            nn.Flatten(),
            lin(12, 2),
        ),
        (2, 2, 14),
        {"0": 4},
    ),
    "conv2d, flattened": (vision, IMAGE, {"0": 4, "4": 3, "7": 5}),
    "conv2d, batch norm": (lambda: vision(nn.BatchNorm2d(4)), IMAGE, {"0": 4, "4": 3, "7": 5}),
    "conv2d, trained batch norm": (
        lambda: vision(trained(nn.BatchNorm2d(4))),
        IMAGE,
        {"4": 3, "7": 5},
    ),
    "conv2d, adaptive pool": (
        lambda: seq(
            nn.Conv2d(2, 4, 3, padding="same"),
            nn.AdaptiveAvgPool2d((4, 2)),
            nn.AvgPool2d(2, count_include_pad=False, padding=1),
            nn.Flatten(),
            lin(24, 1),
        ),
        IMAGE,
        {"0": 4},
    ),
    "conv2d, global mean": (
        lambda: Net(
            lambda s, x: s.b(F.max_pool2d(s.a(x), 3, stride=1).mean((2, 3))),
            a=nn.Conv2d(2, 4, 3),
            b=lin(4, 2),
        ),
        IMAGE,
        {"a": 4},
    ),
    "residual convolutions": (
        lambda: Net(
            lambda s, x: (lambda h: s.c(torch.flatten(h + s.b(F.relu(h)), 1)))(s.a(x)),
            a=nn.Conv2d(2, 3, 1),
            b=nn.Conv2d(3, 3, 3, padding=1),
            c=lin(108, 1),
        ),
        IMAGE,
        {"a": 3},
    ),
    "channels last": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)).permute(0, 2, 3, 1).reshape(x.shape[0], -1)),
            a=nn.Conv2d(2, 3, 5),
            b=lin(12, 1),
        ),
        IMAGE,
        {"a": 3},
    ),
    "features to image": (
        lambda: Net(
            lambda s, x: s.b(F.relu(s.a(x)).view(x.size(0), 3, 2, 2)).flatten(1),
            a=lin(3, 12),
            b=nn.Conv2d(3, 1, 1),
        ),
        (2, 3),
        {"a": 3},
    ),
}


def found(net):
    return {g.name: g.size for g in net.symmetry.groups}


def outputs(module, state, x):
    module.load_state_dict(state, strict=True)
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


@pytest.mark.parametrize("name", ZOO)
def test_forward_pass_and_symmetry(name):
    make, shape, expected = ZOO[name]
    torch.manual_seed(0)
    module = make().double()
    net = symvi.from_torch(module, torch.zeros(shape))
    assert found(net) == expected, net.notes
    assert list(net.shapes) == sorted(net.shapes)
    holds(module, net, shape)


def holds(module, net, shape):
    """The module's function, unchanged by 20 group elements in PyTorch's own arithmetic."""
    module = module.eval()
    w, x = net.init(jax.random.key(3)), np.random.default_rng(0).normal(size=(4, *shape[1:]))
    before = outputs(module, net.to_torch(w), x)
    np.testing.assert_allclose(jax.jit(net.apply)(w, x), before, rtol=1e-10, atol=1e-10)
    assert before.shape == (4, *net.output_shape) and net.widths == (
        np.prod(shape[1:]),
        before[0].size,
    )
    copies = jax.tree.map(
        np.asarray,
        jax.jit(jax.vmap(net.symmetry.act, (0, None), axis_size=20))(
            net.symmetry.sample(jax.random.key(4), 20), w
        ),
    )
    for i in range(20):
        moved = net.to_torch({name: value[i] for name, value in copies.items()})
        np.testing.assert_allclose(outputs(module, moved, x), before, rtol=1e-10, atol=1e-10)


def test_travelling_statistics_keep_the_symmetry_of_trained_batch_norm():
    module = trained(normed()).double()
    net = symvi.from_torch(module, torch.zeros(2, 3), statistics="travelling")
    assert net.travelling == ("1.running_mean", "1.running_var")
    (group,) = net.symmetry.groups
    assert group.size == 4 and {
        ("1.running_mean", 0),
        ("1.running_var", 0),
        ("1.weight", 0),
        ("3.weight", 1),
    } <= set(group.axes)
    holds(module, net, (2, 3))
    with pytest.raises(
        ValueError,
        match=r"net: expected parameters that can have a Gaussian prior, got the statistics "
        r"\['1.running_mean', '1.running_var'\]; use statistics='fixed'",
    ):
        symvi.BNN(net, symvi.Gaussian(0.1))


def test_axes_of_units_that_own_several_places():
    axes = {g.name: g.axes for g in symvi.from_torch(vision(), torch.zeros(IMAGE)).symmetry.groups}
    assert axes["4"] == (
        ("4.weight", 0),
        ("4.bias", 0),
        ("7.weight", 1, ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))),
    )
    make, shape, _ = ZOO["layer of two uses, mixed"]
    assert symvi.from_torch(make(), torch.zeros(shape)).symmetry.groups[0].axes[-1] == (
        "c.weight",
        1,
        ((0, 2), (1, 3)),
    )
    make, shape, _ = ZOO["shared layer"]
    assert {("w.weight", 0), ("w.weight", 1)} < set(
        symvi.from_torch(make(), torch.zeros(shape)).symmetry.groups[0].axes
    )


def test_notes_say_what_keeps_units_in_place():
    notes = {
        name: symvi.from_torch(ZOO[name][0](), torch.zeros(ZOO[name][1])).notes
        for name in ("one hidden layer", "batch norm, trained", "cumulative sum")
    }
    assert notes["one hidden layer"] == (
        "besides, units of '0' can change sign, 2.773 nats: signed=True",
    )
    assert (
        "buffer '1.running_mean' is fixed data with 4 different values"
        in notes["batch norm, trained"][0]
    )
    assert notes["cumulative sum"] == (
        "node 'cumsum' (cumsum): reading an axis in order pins 4 entries",
    )
    inputs = Net(lambda s, x: s.a(torch.cumsum(x, 1)), a=lin(3, 2))
    assert symvi.from_torch(inputs, torch.zeros(2, 3)).notes == ()  # nothing there could move
    unused = symvi.from_torch(Net(lambda s, x: s.a(x), a=lin(2, 1), b=lin(2, 2)), torch.zeros(1, 2))
    assert (
        unused.notes == ("parameter 'b.bias' is not used", "parameter 'b.weight' is not used")
        and found(unused) == {}
    )


def test_tied_parameters_have_one_name_and_every_key_in_the_state_dict():
    module = seq(
        lin(3, 4), nn.Tanh(), lin(4, 4), nn.Tanh(), lin(4, 4), nn.Tanh(), lin(4, 1)
    ).double()
    module[4].weight = module[2].weight
    net = symvi.from_torch(module, torch.zeros(1, 3))
    assert "4.weight" not in net.shapes and found(net) == {"0": 4}
    holds(module, net, (1, 3))


def test_the_module_is_left_as_it_is():
    module = seq(lin(3, 4), nn.Dropout(), lin(4, 1)).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    net = symvi.from_torch(module, torch.zeros(2, 3))
    assert module.training and module[0].weight.dtype == torch.float32
    assert all((before[k] == v).all() for k, v in module.state_dict().items())
    assert all((np.asarray(net.params[k]) == v.numpy()).all() for k, v in before.items())
    assert net.params["0.weight"].dtype == jnp.float64  # JAX's default float


def test_a_network_made_in_float32_is_checked_in_float64():
    with jax.enable_x64(False):
        net = symvi.from_torch(vision(), np.zeros(IMAGE, np.float32))
        out = net.apply(net.params, jnp.ones(IMAGE))
        assert (
            out.dtype == jnp.float32
            and net.init(jax.random.key(0))["0.weight"].dtype == jnp.float32
        )


def test_samples_go_back_to_pytorch():
    module = vision(trained(nn.BatchNorm2d(4)))
    net = symvi.from_torch(module, torch.zeros(IMAGE))
    samples = jax.vmap(net.init)(jax.random.split(jax.random.key(0), 3))
    x = np.random.default_rng(0).normal(size=(5, *IMAGE[1:]))
    out = net.predict_torch(samples, x)
    assert isinstance(out, torch.Tensor) and out.shape == (3, 5, 2)
    np.testing.assert_allclose(out, jax.vmap(lambda w: net.apply(w, x))(samples), atol=1e-5)
    state = net.to_torch(jax.tree.map(lambda a: a[1], samples))
    module.load_state_dict(state, strict=True)
    np.testing.assert_allclose(module.eval()(torch.tensor(x).float()).detach(), out[1], atol=1e-5)
    assert (
        state["1.num_batches_tracked"].dtype == torch.int64
        and (state["1.running_mean"] == module[1].running_mean).all()
    )


def test_a_bayesian_network_equals_the_one_by_mlp():
    ours = symvi.MLP([2, 4, 1], "tanh")
    net = symvi.from_torch(seq(lin(2, 4), nn.Tanh(), lin(4, 1)), torch.zeros(1, 2))
    w = ours.init(jax.random.key(0))
    v = {"0.weight": w["W1"].T, "0.bias": w["b1"], "2.weight": w["W2"].T, "2.bias": w["b2"]}
    x, y = (
        jax.random.normal(jax.random.key(1), (6, 2)),
        jax.random.normal(jax.random.key(2), (6, 1)),
    )
    for likelihood in (symvi.Gaussian(0.5), symvi.Gaussian(None)):
        a, b = symvi.BNN(ours, likelihood), symvi.BNN(net, likelihood)
        noise = {"log_noise": jnp.array(0.3)}
        assert float(b.log_joint({**v, **noise}, x, y)) == pytest.approx(
            float(a.log_joint({**w, **noise}, x, y)), rel=1e-12
        )
    q, p = (
        symvi.MeanField(t, jax.tree.map(lambda m: 0.1 + m**2, t), n.symmetry)
        for t, n in ((w, ours), (v, net))
    )
    assert float(symvi.Symmetrized(q).log_prob(w)) == pytest.approx(
        float(symvi.Symmetrized(p).log_prob(v)), rel=1e-12
    )


@pytest.mark.parametrize("name", ["one hidden layer", "dense skip", "shared layer"])
def test_fit(name):
    make, shape, _ = ZOO[name]
    net = symvi.from_torch(make(), torch.zeros(shape))
    bnn = symvi.BNN(net, symvi.Gaussian(0.5))
    x = jax.random.normal(jax.random.key(1), (8, 3))
    fit = symvi.fit(
        bnn,
        x,
        jnp.sin(x[:, :2]),
        symmetrize="exact",
        steps=20,
        restarts=2,
        num_samples=2,
        progress=False,
    )
    plain, best = (
        symvi.elbo(bnn, fit.posterior.base, x, jnp.sin(x[:, :2]), symmetrize=s)
        for s in (None, "exact")
    )
    assert best.value >= plain.value
    assert fit.predict(x, num=3).shape == (3, 8, 2)


def test_images_are_data_too():
    net = symvi.from_torch(vision(), torch.zeros(IMAGE))
    bnn = symvi.BNN(net, symvi.Categorical())
    x, y = jax.random.normal(jax.random.key(0), (6, *IMAGE[1:])), jnp.arange(6) % 2
    fit = symvi.fit(
        bnn, x, y, symmetrize="pairwise", steps=4, restarts=1, num_samples=1, progress=False
    )
    lower, upper = symvi.orbit_information(fit.posterior, "pairwise")
    assert 0 < lower.value <= upper.value + 1e-9 <= net.symmetry.log_order + 1e-8
    with pytest.raises(
        ValueError,
        match=r"x: expected shape \(N, 2, 6, 6\), got \(6, 72\); reshape it, for example "
        r"x.reshape\(-1, 2, 6, 6\)",
    ):
        bnn.check_inputs(x.reshape(6, -1))


def products(s, x):
    return s.b(torch.logcumsumexp(F.relu(s.a(x)), 1))


def test_an_operation_given_by_hand_stays_in_place_unless_a_symmetry_says_more():
    module = Net(
        lambda s, x: s.c(F.relu(s.m(products(s, x)))),
        a=lin(3, 4),
        b=lin(4, 2),
        m=lin(2, 5),
        c=lin(5, 1),
    ).double()
    functions = {torch.logcumsumexp: lambda x, dim: jax.lax.cumlogsumexp(x, dim)}
    net = symvi.from_torch(module, torch.zeros(2, 3), functions=functions)
    assert found(net) == {"b": 2, "m": 5}
    assert any("(logcumsumexp)" in note and "pins 4 entries" in note for note in net.notes)
    holds(module, net, (2, 3))
    wrong = symvi.Symmetry(
        (symvi.UnitGroup("a", 4, (("a.weight", 0), ("a.bias", 0), ("b.weight", 1))),)
    )
    with pytest.raises(ValueError, match=r"verify: expected outputs unchanged.*correct its axes"):
        symvi.from_torch(module, torch.zeros(2, 3), functions=functions, symmetry=wrong)
    right = symvi.Symmetry(net.symmetry.groups[1:])
    assert (
        symvi.from_torch(module, torch.zeros(2, 3), functions=functions, symmetry=right).symmetry
        is right
    )


def test_a_layer_given_by_hand():
    class Sort(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return x.sort(-1).values * self.gain if x.sum() > -1e9 else x

    module = seq(lin(3, 4), Sort(), lin(4, 2)).double()
    by_hand = {Sort: lambda own, x: jnp.sort(x, -1) * own["gain"]}
    assert found(symvi.from_torch(module, torch.zeros(2, 3), functions=by_hand)) == {}
    true = symvi.Symmetry((symvi.UnitGroup("0", 4, (("0.weight", 0), ("0.bias", 0))),))
    holds(
        module,
        symvi.from_torch(module, torch.zeros(2, 3), functions=by_hand, symmetry=true),
        (2, 3),
    )


def test_a_wrong_rule_is_caught_by_the_verification(monkeypatch):
    make, shape, _ = ZOO["cumulative sum"]
    monkeypatch.setitem(RULES, "cumsum", lambda cells, equation, blocks, shapes: blocks[0])
    with pytest.raises(ValueError, match="verify: expected outputs unchanged to 1e-10"):
        symvi.from_torch(make(), torch.zeros(shape))


def test_a_wrong_function_is_caught(monkeypatch):
    monkeypatch.setitem(OPERATIONS, "aten.tanh", lambda x: jnp.tanh(x) + 1e-8)
    with pytest.raises(
        ValueError,
        match="expected the JAX function to equal the module's outputs to 1e-10, got a relative "
        "difference",
    ):
        symvi.from_torch(seq(lin(2, 3), nn.Tanh(), lin(3, 1)), torch.zeros(1, 2))


def mixed():
    return seq(lin(2, 3).double(), lin(3, 1))


X = torch.zeros(2, 2)
SIGNAL = torch.zeros(2, 2, 3)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = lin(3, 4), lin(3, 4), lin(3, 4), lin(4, 1)

    def forward(self, x):
        scores = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 2, -1)
        return self.out(scores @ self.v(x)).mean(1)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def in_place(s, x):
    h = s.a(x)
    F.relu(h, inplace=True)
    return s.b(h)


def act(in_features=2, **kwargs):
    return seq(
        nn.Conv1d(in_features, 4, 1, **kwargs), nn.AdaptiveAvgPool1d(1), nn.Flatten(), lin(4, 1)
    )


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.out = layer(3, 4, batch_first=True), lin(4, 2)

    def forward(self, x):
        return self.out(self.layer(x)[0][:, -1])


def encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=True)
    return seq(lin(3, 4), layer, lin(4, 2))


SEQUENCE = (2, 5, 3)
SIGNAL_SHAPE = (2, 2, 3)
# What was refused before: module, shape of the example, sizes of groups, and of blocks
TAKEN = {
    "attention by hand": (Attention, SEQUENCE, {"q": 4, "v": 4}, {}),
    "heads": (
        Heads,
        (2, 5, 4),
        {name: 2 for name in ("attention", "attention:2", "attention:3", "attention:4")},
        {"attention blocks": 2},
    ),
    "encoder": (
        encoder,
        SEQUENCE,
        {"0": 4, "1.linear1": 6} | {f"1.self_attn{tail}": 2 for tail in ("", ":2", ":3", ":4")},
        {"1.self_attn blocks": 2},
    ),
    "LSTM": (lambda: Recurrent(nn.LSTM), SEQUENCE, {"layer": 4}, {}),
    "GRU": (lambda: Recurrent(nn.GRU), SEQUENCE, {"layer": 4}, {}),
    "RNN": (lambda: Recurrent(nn.RNN), SEQUENCE, {"layer": 4}, {}),
    "group norm": (
        lambda: seq(lin(3, 4), nn.GroupNorm(2, 4), nn.ReLU(), lin(4, 1)),
        (2, 3),
        {"0": 2, "0:2": 2},
        {"0 blocks": 2},
    ),
    "weight norm": (
        lambda: seq(nn.utils.parametrizations.weight_norm(lin(3, 4)), nn.Tanh(), lin(4, 1)),
        (2, 3),
        {"0.parametrizations.weight": 4},
        {},
    ),
    "grouped convolution": (lambda: act(groups=2), SIGNAL_SHAPE, {"0": 2, "0:2": 2}, {}),
    "circular padding": (
        lambda: act(padding_mode="circular", padding=1),
        SIGNAL_SHAPE,
        {"0": 4},
        {},
    ),
    "a pool that rounds up": (
        lambda: seq(nn.Conv1d(2, 4, 1), nn.MaxPool1d(2, ceil_mode=True), nn.Flatten(), lin(8, 1)),
        SIGNAL_SHAPE,
        {"0": 4},
        {},
    ),
    "PReLU": (
        lambda: seq(lin(3, 4), nn.PReLU(4), lin(4, 1)),
        (2, 3),
        {"0": 4},
        {},
    ),
    "sorted": (
        lambda: Net(lambda s, x: s.b(s.a(x).sort(-1)[0]), a=lin(3, 4), b=lin(4, 1)),
        (2, 3),
        {"a": 4},
        {},
    ),
    "in place": (lambda: Net(in_place, a=lin(3, 4), b=lin(4, 1)), (2, 3), {"a": 4}, {}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_layers_that_were_refused_before(name):
    make, shape, expected, blocks = TAKEN[name]
    torch.manual_seed(0)
    module = make().double()
    net = symvi.from_torch(module, torch.zeros(shape))
    assert found(net) == expected, net.notes
    whole = {g.name: g.size for g in net.nested.groups}
    assert {name: whole[name] for name in whole if name not in expected} == blocks
    holds(module, net, shape)
    w = net.init(jax.random.key(0))
    x = np.random.default_rng(1).normal(size=shape)
    assert net.nested.verify(net.apply, w, x) < 1e-10


class Narrow(nn.Module):
    """Casts, a mask by the least number, a distance of a row from itself: as people write them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = lin(3, 4), lin(4, 1)

    def forward(self, x):
        h = self.a(x.float())
        h = (h.to(torch.float32) * h.float()).to(h.dtype)
        mask = (1.0 - torch.ones(4)) * torch.finfo(h.dtype).min
        far = (h[:, :, None] - h[:, None]).norm(dim=-1)
        return self.b(torch.softmax(h + mask + far, -1, dtype=torch.float32))


def test_casts_masks_and_norms():
    net = symvi.from_torch(Narrow(), torch.zeros(2, 3))
    assert found(net) == {"a": 4}
    w, x = net.init(jax.random.key(0)), np.ones((2, 3))
    slopes = jax.grad(lambda w: net.apply(w, x).sum())(w)
    assert all(np.isfinite(slope).all() for slope in slopes.values())
    with jax.enable_x64(False):
        assert np.isfinite(net.apply(net.params, jnp.ones((2, 3)))).all()


def test_a_network_can_be_pickled():
    net = symvi.from_torch(seq(lin(3, 4), nn.Tanh(), lin(4, 1)), torch.zeros(2, 3))
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(
        again.apply(net.params, np.ones((2, 3))), net.apply(net.params, np.ones((2, 3)))
    )


@pytest.mark.parametrize(
    ("symmetry", "match"),
    [
        ("auto", "symmetry: expected a symvi.Symmetry"),
        (symvi.MLP([3, 6, 2]).symmetry, r"params\['W1'\]: expected size 6"),
        (symvi.Symmetry((symvi.UnitGroup("a", 4, (("weight", 3),)),)), "expected size 4"),
    ],
)
def test_a_symmetry_that_does_not_fit(symmetry, match):
    with pytest.raises(ValueError, match=match):
        symvi.from_torch(lin(3, 4), torch.zeros(2, 3), symmetry=symmetry)


def test_parameters_that_must_be_positive():
    module = Net(
        lambda s, x: s.b(torch.tanh(s.a(x) / torch.sqrt(s.v))),
        a=lin(3, 4),
        v=torch.ones(4),
        b=lin(4, 1),
    )
    assert found(symvi.from_torch(module, torch.zeros(2, 3))) == {"a": 4}


def test_tokens_are_data_too():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(7, 4), lin(4, 2)

        def forward(self, tokens):
            return self.out(self.table(tokens).mean(1))

    tokens = torch.tensor([[0, 3, 6], [2, 2, 1]])
    net = symvi.from_torch(Words(), tokens)
    assert found(net) == {"table": 4}
    others = [note for note in net.notes if not note.startswith("besides, ")]
    assert all("an index into an axis" in note for note in others)
    w = net.init(jax.random.key(0))
    assert net.apply(w, tokens.numpy()).shape == (2, 2)
    samples = jax.tree.map(lambda value: value[None], w)
    np.testing.assert_allclose(
        net.predict_torch(samples, tokens.numpy())[0], net.apply(w, tokens.numpy()), atol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: symvi.from_torch(lambda x: x, X),
            "module: expected a torch.nn.Module, got function; pass an instance",
        ),
        (
            lambda: symvi.from_torch(nn.Linear, X),
            "module: expected a torch.nn.Module, got type; pass an instance",
        ),
        (
            lambda: symvi.from_torch(mixed(), X),
            r"module: expected parameters of one floating dtype, got torch.float32, "
            r"torch.float64; convert them with module.float\(\)",
        ),
        (
            lambda: symvi.from_torch(nn.ReLU(), X),
            "module: expected parameters of one floating dtype, got no parameters",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), torch.zeros(2, 3)),
            r"example_input: expected a batch that the module accepts, got shape \(2, 3\).*"
            r"pass inputs of shape \(N, ...\)",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), torch.zeros(2)),
            r"example_input: expected numbers of shape \(N, ...\), N >= 1, "
            r"got torch.float32 of shape \(2,\); pass a batch",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), torch.zeros(2, 2, dtype=int)),
            "example_input: expected a batch that the module accepts, got .*Long and Double",
        ),
        (
            lambda: symvi.from_torch(
                Net(lambda s, x: s.a(x) if x.sum() > 0 else x, a=lin(2, 2)), X
            ),
            "module: expected a forward pass that torch.export can trace, got .*avoid control flow",
        ),
        (
            lambda: symvi.from_torch(
                Net(lambda s, x: torch.linalg.det(s.a(x)[:, :, None] * x[:, None]), a=lin(2, 2)), X
            ),
            r"module: node '.*' \(.*\): expected a supported operation, got aten.*"
            "functions=.*symmetry=",
        ),
        (
            lambda: symvi.from_torch(
                seq(lin(2, 2), nn.BatchNorm1d(2, track_running_stats=False)), X
            ),
            "module: expected any number of rows, got ValueError",
        ),
        (
            lambda: symvi.from_torch(Net(lambda s, x: F.dropout(s.a(x)), a=lin(2, 2)), X),
            "expected dropout that is off in eval mode, got train=True",
        ),
        (
            lambda: symvi.from_torch(Net(lambda s, x: (s.a(x), x), a=lin(2, 2)), X),
            "module: expected one output tensor that depends on the input, got .*return one tensor",
        ),
        (
            lambda: symvi.from_torch(nn.Bilinear(2, 2, 1), X),
            "module: expected one input, got .*wrap it",
        ),
        (
            lambda: symvi.from_torch(Net(lambda s, x: s.a(x) - s.a(x).mean(0), a=lin(2, 2)), X),
            "expected each row of the output to depend on its own row",
        ),
        (
            lambda: symvi.from_torch(Net(lambda s, x: s.a(x).view(2, 4), a=lin(2, 4)), X),
            "module: expected any number of rows, got RuntimeError",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), X, statistics="moving"),
            "statistics: expected one of 'fixed', 'travelling', got 'moving'",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), X).apply({}, X),
            r"params\['bias'\]: expected shape \(1,\), got no such parameter; pass weights",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), X).apply({}, jnp.ones((2, 3))),
            r"x: expected shape \(N, 2\), got \(2, 3\); reshape",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), X).to_torch(
                {"weight": np.ones((1, 2)), "bias": np.ones((5, 1))}
            ),
            r"params\['bias'\]: expected shape \(1,\), got \(5, 1\).*one set at a time",
        ),
        (
            lambda: symvi.from_torch(lin(2, 1), X).predict_torch(
                {"weight": np.ones((1, 2)), "bias": np.ones(1)}, X
            ),
            r"params\['bias'\]: expected shape \(num, \*\(1,\)\), one set of weights a row, "
            r"got \(1,\)",
        ),
        (
            lambda: symvi.BNN(symvi.from_torch(nn.Conv1d(2, 1, 1), SIGNAL), symvi.Gaussian(1.0)),
            r"net: expected outputs of shape \(N, d_out\), got \(N, 1, 3\); "
            "end the network with a flatten",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


class Keeping(nn.Module):
    """Keeps what it computes from a parameter in its first pass, as LeViT does in eval mode."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 5), nn.Linear(5, 2)
        self.factor, self.kept = nn.Parameter(torch.randn(5)), {}

    def forward(self, x):
        if "factor" not in self.kept:
            self.kept["factor"] = 2 * self.factor
        return self.last(torch.tanh(self.first(x) * self.kept["factor"]))


def test_what_a_module_keeps_of_a_pass_is_no_constant():
    net = symvi.from_torch(Keeping(), torch.zeros(2, 3))
    (group,) = net.symmetry.groups
    assert group.size == 5 and ("factor", 0) in group.axes


class VisionTransformer(nn.Module):
    """The sizes of ViT-tiny, with two blocks: 192 features, 3 heads of 64, 768 hidden units."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, 16)
        self.place = nn.Parameter(torch.randn(1, 5, 192))
        self.start = nn.Parameter(torch.randn(1, 1, 192))
        layer = nn.TransformerEncoderLayer(
            192, 3, 768, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(192), enable_nested_tensor=False)
        self.out = nn.Linear(192, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        start = self.start.expand(len(images), 1, 192)
        return self.out(self.blocks(torch.cat([start, tokens], 1) + self.place)[:, 0])


def test_two_blocks_of_a_vision_transformer_hold_all_permutations():
    """192! for the stream, and for each block 768! (64!)^6 3!."""
    net = symvi.from_torch(VisionTransformer(), torch.zeros(2, 3, 32, 32), exact=True)
    by_hand = math.lgamma(193) + 2 * (math.lgamma(769) + 6 * math.lgamma(65) + math.lgamma(4))
    assert net.nested.log_order == pytest.approx(by_hand, rel=1e-12)
    assert net.exact_log_order == pytest.approx(by_hand, rel=1e-12)
    assert "all permutations" in repr(net)
