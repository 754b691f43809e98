"""Rules of single operations, in cases where a wrong one would exchange what differs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symvi

LAX = jax.lax


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def sizes(apply, shapes, size=(3, 3)):
    """The sizes of the groups found, each verified with elements of its own."""
    params = {name: jnp.array(normal(*shape)) for name, shape in shapes.items()}
    found = symvi.find_symmetry(apply, params, normal(*size))
    change = found.symmetry.verify(found.apply, params, normal(*size), num=20)
    assert change < 1e-12
    return sorted(group.size for group in found.symmetry.groups)


def stretched(b, rows=4):
    """The same row several times: it does not change along its first axis."""
    return jnp.broadcast_to(b[None], (rows, len(b)))


def delayed(p, x):
    """A loop that hands its state on through five places, of which all but one begin at zero."""

    def step(carry, row):
        return (*carry[1:], jnp.tanh(row @ p["w"])), None

    start = (jnp.zeros(4),) * 5
    return LAX.scan(step, start, jnp.concatenate([x, x]))[0][0] @ p["o"]


def counted(p, x):
    """The same in a loop of unknown length."""

    def step(state):
        count, carry = state
        return count + 1, (*carry[1:], carry[-1] + jnp.tanh(x[0] @ p["w"]) + 1)

    state = (0, (jnp.zeros(4),) * 5)
    return LAX.while_loop(lambda state: state[0] < 7, step, state)[1][0] @ p["o"]


def batched_rows(p, x):
    """Each feature takes the entry of its own row of a table."""
    table = jnp.tanh(x @ p["w"]).T  # features, data
    numbers = LAX.GatherDimensionNumbers((), (1,), (1,), (0,), (0,))
    places = jnp.zeros((4, 1), int)
    return LAX.gather(table, places, numbers, (1, 1)) @ p["o"]


def batch_groups(p, x):
    """Output channels of either half read another half of the batch."""
    return (
        LAX.conv_general_dilated(x[:, None], p["w"], (1,), "SAME", batch_group_count=2).sum(2)
        @ p["o"]
    )


def dilated(p, x):
    h = jnp.broadcast_to((x @ p["w"])[..., None], (3, 4, 2)).reshape(3, 8)
    window = LAX.reduce_window(h, 0.0, LAX.add, (1, 1), (1, 1), "VALID", base_dilation=(1, 2))
    return window @ p["o"]


def two_of_a_window(p, x):
    """Of two arrays in one window: the second depends on the features of the first."""
    h, ones = x @ p["w"], jnp.broadcast_to(x.sum(1, keepdims=True), (3, 4))

    def most(one, two):
        first = one[0] > two[0]
        return jnp.where(first, one[0], two[0]), jnp.where(first, one[1], two[1])

    operands, start = (h, jnp.cumsum(ones, 0)), (-jnp.inf, 0.0)
    found = LAX.reduce_window(operands, start, most, (2, 1), (1, 1), "VALID")
    return found[1] @ p["o"]


def rows_and_states(p, x):
    """A loop over the rows of features that a reshape joined, with an output at each step."""

    def step(state, row):
        state = jnp.tanh(row + state @ p["v"])
        return state, jax.nn.relu(state)

    rows = (x @ p["w"]).reshape(-1, 4, 2).swapaxes(0, 1)
    state, states = LAX.scan(step, jnp.zeros(2), rows.mean(1), reverse=True)
    return states @ p["o"] + state @ p["o"]


def a_mixed_pair(p, x):
    """A loop that exchanges two states at each step."""

    def step(_, pair):
        return jnp.tanh(pair[1] @ p["v"]), pair[0]

    return sum(LAX.fori_loop(0, 3, step, (x @ p["w"], x @ p["u"]))) @ p["o"]


def a_batch_of_kernels(p, x):
    """Convolutions with kernels of their own for each of two halves of the channels."""

    def one(image, kernel):
        return LAX.conv(image[None], kernel, (1,), "SAME")[0]

    h = jnp.einsum("nc,cf->fn", x, p["w"]).reshape(2, 3, -1)
    made = jax.vmap(one)(h, p["k"])
    return made.reshape(8, -1).T @ p["o"]


def slope(p, x):
    """The gradient of a network with respect to its inputs."""
    return jax.grad(lambda x: (jnp.tanh(x @ p["w"]) @ p["o"]).sum())(x)


def running_products(p, x):
    return LAX.associative_scan(jnp.multiply, jnp.tanh(x @ p["w"]), axis=0) @ p["o"]


SHAPES = {"w": (3, 4), "o": (4, 2)}
# name: function, shapes, shape of the input, sizes of the groups
CASES = {
    "a running sum of equal rows": (
        lambda p, x: jnp.cumsum(stretched(p["w"]), 0).T @ p["o"],
        {"w": (4,), "o": (4, 2)},
        [],
    ),
    "ranks of each column's entries": (
        lambda p, x: jnp.argsort(x @ p["w"], 0) * 1.0 @ p["o"],
        SHAPES,
        [4],
    ),
    "a column that is sorted by others": (
        lambda p, x: (
            LAX.sort((x @ p["w"], jnp.broadcast_to(x[:, :1], (3, 4))), dimension=0, num_keys=1)[1]
            @ p["o"]
        ),
        SHAPES,
        [4],
    ),
    "a state handed on": (delayed, SHAPES, [4]),
    "a state handed on for some steps": (counted, SHAPES, [4]),
    "rows taken side by side": (batched_rows, SHAPES, [4]),
    "groups of the batch": (
        batch_groups,
        {"w": (4, 1, 3), "o": (4, 2)},
        (4, 5),
        [],
    ),
    "gaps between entries": (dilated, {"w": (3, 4), "o": (15, 2)}, []),
    "two arrays in one window": (two_of_a_window, SHAPES, []),
    "a constant that is activated": (
        lambda p, x: jnp.tanh(x @ p["w"]) * jax.nn.relu(jnp.ones(4) * 2) @ p["o"],
        SHAPES,
        [4],
    ),
    "entries at places": (
        lambda p, x: (x @ p["w"])[:, np.array([0, 3, 4])] @ p["o"],
        {"w": (3, 6), "o": (3, 2)},
        [3, 3],  # of those that are taken and of those that are not
    ),
    "entries at places, one twice": (
        lambda p, x: (x @ p["w"])[:, np.array([0, 1, 1])] @ p["o"],
        {"w": (3, 4), "o": (3, 2)},
        [2],  # those that are not taken
    ),
    "each entry twice": (
        lambda p, x: (x @ p["w"])[:, np.array([2, 0, 1, 0, 1, 2])] @ p["o"],
        {"w": (3, 3), "o": (6, 2)},
        [3],
    ),
    "the diagonal": (
        lambda p, x: (p["w"] @ p["w"].T)[np.arange(4), np.arange(4)] * (x @ p["v"]) @ p["o"],
        {"w": (4, 3), "v": (3, 4), "o": (4, 2)},
        [3],
    ),
    "places outside": (
        lambda p, x: (
            (x @ p["w"]).at[:, np.array([0, 1, 9])].get(mode="fill", fill_value=2) @ p["o"]
        ),
        {"w": (3, 5), "o": (3, 2)},
        [],
    ),
    "a row of a table": (
        lambda p, x: x @ p["w"] + p["table"][2] @ p["o"],
        {"w": (3, 2), "table": (5, 4), "o": (4, 2)},
        [4, 4],  # features of the row, rows that are not read
    ),
    "a row at a place found last": (
        lambda p, x: LAX.dynamic_slice(jnp.tanh(x @ p["w"]), (0, 1), (3, 3)) @ p["o"],
        {"w": (3, 6), "o": (3, 2)},
        [3, 3],
    ),
    "entries replaced": (
        lambda p, x: (x @ p["w"]).at[:, 2:5].set(x @ p["v"]) @ p["o"],
        {"w": (3, 6), "v": (3, 3), "o": (6, 2)},
        [3, 3, 3],
    ),
    "entries replaced out of order": (
        lambda p, x: (x @ p["w"]).at[:, np.array([4, 1])].set(x @ p["v"]) @ p["o"],
        {"w": (3, 6), "v": (3, 2), "o": (6, 2)},
        [2, 2, 4],
    ),
    "entries added to": (
        lambda p, x: jnp.tanh(x @ p["w"]).at[:, :2].add(x @ p["v"]) @ p["o"],
        {"w": (3, 5), "v": (3, 2), "o": (5, 2)},
        [2, 3],
    ),
    "rows replaced": (
        lambda p, x: jnp.zeros((5, 4)).at[1:4].set(x @ p["w"]) @ p["o"],
        {"w": (3, 4), "o": (4, 2)},
        [4],
    ),
    "a part replaced": (
        lambda p, x: LAX.dynamic_update_slice(x @ p["w"], x @ p["v"], (0, 1)) @ p["o"],
        {"w": (3, 6), "v": (3, 3), "o": (6, 2)},
        [3, 3, 3],
    ),
    "a corner replaced": (
        lambda p, x: (x @ p["w"]).at[:2, :2].set(1.0) @ p["o"],
        {"w": (3, 4), "o": (4, 2)},
        [],
    ),
    "a flat norm of a square weight": (
        lambda p, x: (
            jnp.tanh(x @ p["w"] @ (p["v"] / jnp.linalg.norm(p["v"].reshape(-1))))
            @ p["v"].T
            @ p["o"]
        ),
        {"w": (3, 4), "v": (4, 4), "o": (4, 2)},
        [4, 4],
    ),
    "a square weight made flat and used on both axes": (
        lambda p, x: (
            (
                (h := x @ p["w"])
                + h @ (p["v"].reshape(-1) / jnp.abs(p["v"]).sum()).reshape(4, 4).T
                + h @ p["v"]
            )
            @ p["o"]
        ),
        {"w": (3, 4), "v": (4, 4), "o": (4, 2)},
        [4],
    ),
    "a part of a flat weight": (
        lambda p, x: x @ p["w"] @ p["o"] + (p["w"].reshape(-1)[3:9]).reshape(3, 2),
        {"w": (3, 4), "o": (4, 2)},
        [],
    ),
    "pairs of features": (
        lambda p, x: ((h := x @ p["w"])[:, :, None] * jnp.tanh(h)[:, None]).reshape(3, -1) @ p["o"],
        {"w": (3, 3), "o": (9, 2)},
        [],
    ),
    "rows of blocks in a loop": (
        rows_and_states,
        {"w": (3, 8), "v": (2, 2), "o": (2, 2)},
        [2],
    ),
    "two states exchanged": (
        a_mixed_pair,
        {"w": (3, 4), "u": (3, 4), "v": (4, 4), "o": (4, 2)},
        [4],
    ),
    "a batch of kernels": (
        a_batch_of_kernels,
        {"w": (3, 6), "k": (2, 4, 3, 3), "o": (8, 2)},
        [3, 4],
    ),
    "a gradient": (slope, SHAPES, [2, 4]),
    "running products": (running_products, SHAPES, [4]),
    "equal rows below a row of zeros": (
        lambda p, x: jnp.pad(stretched(p["w"]), ((1, 0), (0, 0))).T @ p["o"],
        {"w": (4,), "o": (5, 2)},
        [4],
    ),
    "zeros beside and between": (
        lambda p, x: LAX.pad(x @ p["w"], 0.0, ((0, 0, 0), (2, 1, 1))) @ p["o"],
        {"w": (3, 4), "o": (10, 2)},
        [4, 6],
    ),
    "entries cut off by padding": (
        lambda p, x: LAX.pad(x @ p["w"], 0.0, ((0, 0, 0), (-1, 1, 0))) @ p["o"],
        SHAPES,
        [],
    ),
    "blocks padded": (
        lambda p, x: (
            jnp.pad((x @ p["w"]).reshape(3, 2, 2), ((0, 0), (0, 0), (1, 0))).reshape(3, 6) @ p["o"]
        ),
        {"w": (3, 4), "o": (6, 2)},
        [2],
    ),
    "the largest": (
        lambda p, x: LAX.top_k(x @ p["w"], 2)[0] @ p["o"],
        {"w": (3, 4), "o": (2, 2)},
        [],
    ),
    "where the largest stand": (
        lambda p, x: LAX.top_k(x @ p["w"], 2)[1] * 1.0 @ p["o"],
        {"w": (3, 4), "o": (2, 2)},
        [],
    ),
    "which is the largest": (
        lambda p, x: jax.nn.one_hot(jnp.argmax(x @ p["w"], 1), 4) @ p["o"],
        SHAPES,
        [],
    ),
    "a window along features": (
        lambda p, x: LAX.reduce_window(x @ p["w"], 0.0, LAX.add, (1, 3), (1, 1), "SAME") @ p["o"],
        SHAPES,
        [],
    ),
    "copies side by side": (
        lambda p, x: jnp.repeat(jnp.tile(x @ p["w"], 2), 2, axis=1) @ p["o"],
        {"w": (3, 3), "o": (12, 2)},
        [2] * 6,  # of copies; the features, whole, besides
    ),
    "the lower triangle of a weight": (
        lambda p, x: x @ p["w"] @ jnp.tril(p["v"]) @ p["o"],
        {"w": (3, 4), "v": (4, 4), "o": (4, 2)},
        [],
    ),
    "a branch on a number of branches": (
        lambda p, x: (
            LAX.switch(
                (x.sum() > 0).astype(int),
                [lambda h: jnp.zeros((3, 4)), lambda h: h, lambda h: jnp.flip(h, 0)],
                x @ p["w"],
            )
            @ p["o"]
        ),
        SHAPES,
        [4],
    ),
    "two values stacked and taken apart": (
        lambda p, x: (
            (h := jnp.stack([x @ p["w"], jnp.tanh(x @ p["v"])], 1))[:, 0] @ p["o"]
            + h[:, 1] @ p["u"]
        ),
        {"w": (3, 4), "v": (3, 4), "o": (4, 2), "u": (4, 2)},
        [4, 4],
    ),
    "rows of a stack": (
        lambda p, x: jnp.einsum(
            "snf,so->no", jnp.stack([(h := x @ p["w"]), h**2, jnp.zeros((3, 4))]), p["o"]
        ),
        {"w": (3, 4), "o": (3, 2)},
        [4],
    ),
    "taken apart": (
        lambda p, x: sum(
            (k + 1) * row @ p["o"] for k, row in enumerate(jnp.unstack(x @ p["w"] + p["b"]))
        ),
        {"w": (3, 4), "b": (4,), "o": (4, 2)},
        [4],
    ),
    "entries taken apart": (
        lambda p, x: (lambda a, b, c: jnp.stack([a * b, c]))(*jnp.unstack(x @ p["w"], axis=1)),
        {"w": (3, 3)},
        [],  # that a product is the same in either order is not seen
    ),
    "copies of equal columns": (
        lambda p, x: jnp.tile(x[:, :1] * p["w"][0], (1, 2)) @ p["o"],
        {"w": (1, 3), "o": (6, 1)},
        [2, 2, 2],
    ),
    "copies of features that are tied to each other": (
        lambda p, x: (
            ((h := x @ p["w"]) + h[:, ::-1])
            @ p["u"]
            * (jnp.tanh(jnp.stack([h, h], 1).reshape(3, 8) @ p["v"])).sum(1, keepdims=True)
        ),
        {"w": (3, 4), "u": (4, 2), "v": (8, 2)},
        [2],  # columns of the last
    ),
    "entries joined by none": (
        lambda p, x: jnp.concatenate([x @ p["w"], jnp.zeros((3, 0))], 1).reshape(3, 4) @ p["o"],
        SHAPES,
        [4],
    ),
    "no rows": (
        lambda p, x: (x[:0] @ p["w"]).reshape(-1).sum() + x @ p["w"] @ p["o"],
        SHAPES,
        [4],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_groups_found(name):
    apply, shapes, *rest, expected = CASES[name]
    assert sizes(apply, shapes, *rest) == expected
