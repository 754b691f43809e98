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

jax.config.update("jax_enable_x64", True)


# Files whose programs run for longer than they compile; these are optimised as a user's are.
OPTIMISED: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def compiled_for_this_file(request):
    """Programs are compiled without most optimisations, in half the time, and let go after each
    file: all of them together would fill the memory. The chapters run the optimised ones."""
    quickly = request.module.__name__.split(".")[-1] not in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quickly)
    yield
    jax.clear_caches()
