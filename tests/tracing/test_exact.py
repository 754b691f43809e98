"""exact=True: the whole group is counted, and results say how far they are from it."""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import Net

import symvi
from symvi.tracing import exact as counting


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def weights(**shapes):
    return {name: normal(*shape) for name, shape in shapes.items()}


def log_factorials(*sizes):
    return sum(math.lgamma(size + 1) for size in sizes)


def chain(p, x):
    hidden = jnp.tanh(x @ p["w0"])
    for layer in range(1, len(p) - 1):
        hidden = jnp.tanh(hidden @ p[f"w{layer}"])
    return hidden @ p[f"w{len(p) - 1}"]


def layers(*widths):
    pairs = enumerate(itertools.pairwise(widths))
    return weights(**{f"w{layer}": pair for layer, pair in pairs})


def flipped(p, x):
    hidden = jnp.tanh(x @ p["w"])
    return (hidden + hidden[:, ::-1]) @ p["o"]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.last = nn.LSTM(3, 7, batch_first=True), nn.Linear(7, 2)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


def attended(m, x):
    h = m.a(x)
    return m.c((h + m.heads(h, h, h, need_weights=False)[0]).mean(1))


# name: the network as it is found, its exact log |G| by hand
WHOLE = {
    "MLP": (
        lambda: symvi.find_symmetry(chain, layers(3, 8, 8, 2), normal(2, 3), exact=True),
        log_factorials(8, 8),  # 21.209 nats
    ),
    "MLP in PyTorch": (
        lambda: symvi.from_torch(
            nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)),
            torch.zeros(2, 3),
            exact=True,
        ),
        log_factorials(8, 8),
    ),
    "LSTM": (
        lambda: symvi.from_torch(Recurrent(), torch.zeros(2, 4, 3), exact=True),
        log_factorials(7),  # a unit owns a row in each gate
    ),
    "attention": (
        lambda: symvi.from_torch(
            Net(
                attended,
                a=nn.Linear(3, 16),
                heads=nn.MultiheadAttention(16, 4, batch_first=True),
                c=nn.Linear(16, 2),
            ),
            torch.zeros(2, 5, 3),
            exact=True,
        ),
        log_factorials(16, 4, *[4] * 8),  # stream, heads, their query-key and value features
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_found_is_the_whole_group(name):
    made, exact = WHOLE[name]
    found = made()
    assert found.exact_log_order == pytest.approx(exact, abs=1e-9)
    assert found.nested.log_order == pytest.approx(exact, abs=1e-9)
    assert not any("counted exactly" in note for note in found.notes)
    assert "), all permutations, " in repr(found)


def test_the_numbers_of_the_smallest():
    made, _ = WHOLE["MLP"]
    assert made().exact_log_order == pytest.approx(21.209, abs=5e-4)
    made, _ = WHOLE["LSTM"]
    assert made().exact_log_order == pytest.approx(8.525, abs=5e-4)


def test_a_group_that_falls_short_says_by_how_much():
    """Units i and 3 - i hang on one string: their exchange (2^2) and that of pairs (2!)."""
    found = symvi.find_symmetry(flipped, weights(w=(3, 4), o=(4, 1)), normal(2, 3), exact=True)
    assert found.nested.log_order == 0
    assert found.exact_log_order == pytest.approx(math.log(8), abs=1e-9)
    note = "all permutations, counted exactly, are 2.079 nats more than what was found"
    assert note in found.notes
    assert "2.079 nats short of all permutations" in repr(found)

    module = Net(
        lambda m, x: (lambda h: m.c(h + h.flip(-1)))(torch.tanh(m.a(x))),
        a=nn.Linear(3, 4),
        c=nn.Linear(4, 1),
    )
    same = symvi.from_torch(module, torch.zeros(2, 3), exact=True)
    assert same.exact_log_order == pytest.approx(math.log(8), abs=1e-9)
    assert note in same.notes
    assert "short of all permutations" in repr(same)


def test_blocks_count_for_the_whole_group():
    """The product alone falls short by the exchange of blocks; what is compared is the nested."""

    def maxout(p, x):
        return (x @ p["w"]).reshape(-1, 4, 3).max(-1) @ p["o"]

    found = symvi.find_symmetry(maxout, weights(w=(2, 12), o=(4, 1)), normal(2, 2), exact=True)
    assert found.symmetry.log_order == pytest.approx(log_factorials(3, 3, 3, 3))
    assert found.exact_log_order == pytest.approx(log_factorials(3, 3, 3, 3, 4), abs=1e-9)
    assert "all permutations" in repr(found)


def test_it_is_not_counted_unless_asked_for():
    found = symvi.find_symmetry(chain, layers(3, 4, 2), normal(2, 3))
    assert found.exact_log_order is None
    assert "all permutations" not in repr(found)


def test_parameters_that_are_not_used_do_not_count():
    params = layers(3, 4, 2) | {"idle": normal(5, 6)}

    def apply(p, x):
        return jnp.tanh(x @ p["w0"]) @ p["w1"]

    found = symvi.find_symmetry(apply, params, normal(2, 3), exact=True)
    assert found.exact_log_order == pytest.approx(math.log(24), abs=1e-9)
    assert found.notes[-1] == "parameter 'idle' is not used"


def test_copies_that_stand_in_no_parameter_do_not_count():
    """Three copies of each of four units, added again, move among themselves and move no weight."""

    def apply(p, x):
        copies = jnp.broadcast_to((x @ p["w"])[:, :, None], (2, 4, 3)).reshape(2, 12)
        return jnp.tanh(copies).reshape(2, 4, 3).sum(-1) @ p["o"]

    found = symvi.find_symmetry(apply, weights(w=(3, 4), o=(4, 1)), normal(2, 3), exact=True)
    assert found.exact_log_order == pytest.approx(math.log(24), abs=1e-9)


def test_a_count_with_more_digits_than_python_reads():
    """Python reads numbers of at most 4300 digits, 9901 nats, unless it is told to."""
    most = sys.get_int_max_str_digits()
    found = symvi.find_symmetry(chain, layers(3, 600, 600, 600, 600, 2), normal(2, 3), exact=True)
    assert found.exact_log_order == pytest.approx(4 * math.lgamma(601), rel=1e-12)
    assert found.exact_log_order > 9901
    assert sys.get_int_max_str_digits() == most


def test_a_network_that_is_too_large_is_refused():
    wanted = r"exact: expected False, or a graph of at most [\d,]+ vertices where 6,000 cells are "
    wanted += r"alike, got 30,\d\d\d vertices; count the group of a narrower network"
    with pytest.raises(ValueError, match=wanted):
        symvi.find_symmetry(chain, layers(3, 6000, 2), normal(2, 3), exact=True)
    module = nn.Sequential(nn.Linear(3, 6000), nn.Tanh(), nn.Linear(6000, 2))
    with pytest.raises(ValueError, match="exact: expected False, or a graph"):
        symvi.from_torch(module, torch.zeros(2, 3), exact=True)


def test_a_graph_without_many_cells_alike_is_refused_by_its_size(monkeypatch):
    monkeypatch.setattr(counting, "MOST_WORK", 1_000_000)

    def pixels(p, x):
        image = jax.nn.relu(jax.lax.conv(x, p["k"], (1, 1), "SAME"))
        return image.reshape(len(x), -1) @ p["o"]

    params = weights(k=(8, 1, 3, 3), o=(8 * 16 * 16, 1))
    with pytest.raises(ValueError, match="at most 10,000 vertices where 8 cells are alike"):
        symvi.find_symmetry(pixels, params, normal(1, 1, 16, 16), exact=True)


def test_without_igraph_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ImportError, match=r"the exact group needs igraph.*symvi\[exact\]"):
        symvi.find_symmetry(chain, layers(3, 4, 2), normal(2, 3), exact=True)
    assert symvi.find_symmetry(chain, layers(3, 4, 2), normal(2, 3)).symmetry.order == 24


def test_a_symmetry_written_by_hand_is_not_counted():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    axes = (("0.weight", 0), ("0.bias", 0), ("2.weight", 1))
    by_hand = symvi.Symmetry((symvi.UnitGroup("0", 4, axes),))
    with pytest.raises(ValueError, match="exact: expected False beside a symmetry written by hand"):
        symvi.from_torch(module, torch.zeros(2, 3), symmetry=by_hand, exact=True)
    assert symvi.from_torch(module, torch.zeros(2, 3), symmetry=by_hand).exact_log_order is None
