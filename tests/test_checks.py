"""Each check gives back a good value in its plain form, and says what is wrong with a bad one."""

from __future__ import annotations

import sys
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symvi import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), jnp.int32(3)])
def test_whole_numbers_of_every_kind(value):
    found = checks.positive_int("n", value)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, np.float64(3), True, np.bool_(True), "3", None, [3], np.ones(1, int), 1j]
)
def test_what_is_no_positive_int(value):
    with pytest.raises(ValueError, match=r"^n: expected a whole number >= 1, got .*; pass "):
        checks.positive_int("n", value)


@pytest.mark.parametrize("value", [1e3, np.float32(1e3), jnp.float32(1e3)])
def test_a_whole_float_is_told_its_int(value):
    with pytest.raises(ValueError, match=r"n: expected a whole number >= 1, got .*; pass n=1000$"):
        checks.positive_int("n", value)
    with pytest.raises(
        ValueError, match=r"n of group 'a': expected .*, got 2.5; pass for ex.* n=10$"
    ):
        checks.positive_int("n", 2.5, of="group 'a'")
    with pytest.raises(ValueError, match=r"pass for example n=2000$"):
        checks.positive_int("n", value, least=2000)


def test_least_moves_the_bound():
    assert checks.positive_int("n", 0, least=0) == 0
    with pytest.raises(ValueError, match="n: expected a whole number >= 2, got 1"):
        checks.positive_int("n", 1, least=2)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), jnp.float32(0.5)])
def test_numbers_of_every_kind(value):
    assert checks.positive_number("a", value) == 0.5
    assert checks.fraction("a", value) == 0.5
    assert type(checks.positive_number("a", value)) is float


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", True, None, [1.0], Decimal(1)])
def test_what_is_no_positive_number(value):
    with pytest.raises(
        ValueError, match=r"^a: expected a positive finite number, got .*; pass for"
    ):
        checks.positive_number("a", value)


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, np.nan, "0.5", None])
def test_what_is_no_fraction(value):
    with pytest.raises(
        ValueError, match=r"^a: expected a number between 0 and 1, got .*; pass for"
    ):
        checks.fraction("a", value)


@pytest.mark.parametrize("value", [True, np.True_])
def test_flags(value):
    assert checks.flag("bias", value) is True


@pytest.mark.parametrize("value", ["no", 1, 0, None, np.array([True])])
def test_what_is_no_flag(value):
    with pytest.raises(
        ValueError, match=r"^bias: expected True or False, got .*; pass for example"
    ):
        checks.flag("bias", value)


def test_one_of():
    assert checks.one_of("method", "exact", ("exact", None)) is None
    assert checks.one_of("method", None, ("exact", None)) is None


@pytest.mark.parametrize("value", ["exat", 1, {}, np.ones(2), ["exact"]])
def test_none_of(value):
    with pytest.raises(ValueError, match=r"^method: expected one of 'exact', None, got .*; choose"):
        checks.one_of("method", value, ("exact", None))


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), jnp.int32(7)])
def test_seeds(seed):
    expected = jax.random.key(int(seed))
    assert jnp.array_equal(
        jax.random.key_data(checks.seed_to_key(seed)), jax.random.key_data(expected)
    )


@pytest.mark.parametrize("seed", [-1, 0.0, "0", None, True, [0]])
def test_what_is_no_seed(seed):
    with pytest.raises(ValueError, match=r"^seed: expected an int >= 0, got .*; pass for example"):
        checks.seed_to_key(seed)


def test_a_seed_is_not_a_key():
    with pytest.raises(ValueError, match="seed: expected an int >= 0"):
        checks.seed_to_key(jax.random.key(0))


@pytest.mark.parametrize("key", [None, jax.random.key(0), jax.random.PRNGKey(0)])
def test_keys(key):
    found = checks.as_key(key)
    assert jnp.array_equal(jax.random.key_data(found), jax.random.key_data(jax.random.key(0)))


@pytest.mark.parametrize(
    "key", [0, "key", np.zeros(2, np.uint32), jax.random.split(jax.random.key(0)), jnp.zeros(2)]
)
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match=r"^key: expected one JAX key, got .*; pass for example"):
        checks.as_key(key)


def test_finite():
    assert checks.is_finite(np.ones(3))
    assert not checks.is_finite(np.array([1.0, np.nan]))
    assert not checks.is_finite(jnp.inf)


def test_traced_values_are_let_through():
    """Their entries cannot be looked at; a check must not break jit."""

    @jax.jit
    def f(x):
        assert not checks.is_concrete(x)
        assert checks.is_finite(x)
        assert checks.as_scalar(x) is None
        return checks.as_numbers("x", x)

    assert f(jnp.float64(2.0)) == 2.0


class TestNumbers:
    @pytest.mark.parametrize(
        "value", [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4]]), ((1.0, 2), (3, 4))]
    )
    def test_what_converts(self, value):
        found = checks.as_numbers("x", value)
        assert isinstance(found, jax.Array)
        assert found.tolist() == [[1, 2], [3, 4]]

    def test_a_data_frame_of_numbers(self):
        import pandas as pd

        found = checks.as_numbers("x", pd.DataFrame({"a": [1.0, 2.0]}))
        assert found.tolist() == [[1.0], [2.0]]

    def test_a_jax_array_is_not_copied(self):
        x = jnp.ones(3)
        assert checks.as_numbers("x", x) is x

    @pytest.mark.parametrize(
        "value",
        [None, "text", ["a", "b"], {"a": 1}, object(), [[1, 2], [3]], np.array([None]), {1, 2}],
    )
    def test_what_does_not(self, value):
        with pytest.raises(
            ValueError, match=r"^x: expected an array of numbers, got .*; (pass|conv)"
        ):
            checks.as_numbers("x", value)

    @pytest.mark.parametrize(
        ("value", "remedy"),
        [
            (["1.0", "2"], r"convert it, for example by np.asarray\(\.\.\., dtype=float\)"),
            (np.array([1, Decimal(2)], object), r"convert it, .*dtype=float\)"),
            (["a"], "pass an array of numbers"),
            (None, "pass an array of numbers"),
            (1j, "pass an array of numbers"),
            (np.array(["2020-01-01"], "datetime64[D]"), "pass an array of numbers"),
        ],
    )
    def test_conversion_is_advised_where_it_helps(self, value, remedy):
        with pytest.raises(ValueError, match=f"; {remedy}$"):
            checks.as_numbers("x", value)
        with pytest.raises(ValueError, match=r"; pass the scale$"):
            checks.as_numbers("x", value, "pass the scale")

    def test_whole_numbers_that_would_wrap_round(self):
        with jax.enable_x64(False):
            assert checks.as_numbers("y", np.array([2**31 - 1])).tolist() == [2**31 - 1]
            with pytest.raises(ValueError, match=r"y: expected whole numbers of at most 32 bits"):
                checks.as_numbers("y", np.array([2**32 + 1]))
        assert checks.as_numbers("y", np.array([2**32 + 1])).tolist() == [2**32 + 1]


class TestDescribed:
    def test_short_things_as_they_are(self):
        assert checks.described("no") == "'no'"
        assert checks.described(None) == "None"

    def test_arrays_by_type_and_shape(self):
        assert checks.described(np.ones((2, 3))) == "an array of float64 of shape (2, 3)"

    @pytest.mark.parametrize("key", [jax.random.key(0), jax.random.key(0, impl="rbg")])
    def test_keys(self, key):
        assert checks.described(key) == "a JAX key"
        assert checks.described(jax.random.split(key)) == "JAX keys of shape (2,)"

    def test_two_lines_by_type(self):
        class Long:
            def __repr__(self):
                return "one\ntwo"

        assert checks.described(Long()) == "an object of type Long"

    def test_long_things_by_type(self):
        assert checks.described(list(range(100))) == "an object of type list"


class TestNeeds:
    def test_what_is_installed(self):
        assert checks.needs("numpy.linalg", "all", "symvi") is np.linalg

    def test_what_is_missing_is_one_line(self):
        with pytest.raises(ImportError) as raised:
            checks.needs("no_such_library.part", "data", "symvi.data.digits")
        assert str(raised.value) == (
            "symvi.data.digits needs no_such_library, which is not installed: "
            "pip install 'symvi[data]'"
        )

    def test_what_is_broken_shows_its_own_error(self, tmp_path, monkeypatch):
        """A library that is there but lacks something of its own is not called missing."""
        (tmp_path / "broken_library.py").write_text("import no_such_part\n", encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="no_such_part"):
            checks.needs("broken_library", "data", "symvi.data.digits")


def test_bars_are_drawn_where_somebody_looks(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert checks.shows_progress(True)
    assert not checks.shows_progress(False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert not checks.shows_progress(True)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert checks.shows_progress(True)
