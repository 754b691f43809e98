"""Tests run in float64, where identities hold to rounding, and with the shapes of arrays
checked."""

import jax
import pytest
from jaxtyping import install_import_hook

ANNOTATED = [
    "symvi.arrays",
    "symvi.information",
    "symvi.permanents",
    "symvi.posteriors",
]

install_import_hook(ANNOTATED, "array_types.checked")  # before symvi is imported

from symvi.checks import arviz  # noqa: E402

arviz()  # quietly: imported by itself, it warns on the first of each day, and the tests stop there

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    """Compiled code is let go after each file: all of it would fill the memory."""
    yield
    jax.clear_caches()
