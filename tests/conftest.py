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


# Files of few but long tests. They come first: at the end one of two workers would wait for them.
LONG = (
    "test_alone.py",
    "test_packaging.py",
    "test_checkpoint.py",
    "test_sweeps.py",
    "test_evidence.py",
    "test_references.py",
)


def pytest_collection_modifyitems(items):
    """Long files first, all others in their order."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    """Compiled code is let go after each file: all of it would fill the memory."""
    yield
    jax.clear_caches()
