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


# Rooms whose programs take longer to compile than to run. They are compiled without most
# optimisations; the other rooms and the chapters run what a user runs.
COMPILED_QUICKLY = ("information", "permanents", "vi")


@pytest.fixture(scope="module", autouse=True)
def compiled_for_this_file(request):
    """Compiled code is let go after each file: all of it would fill the memory."""
    room = request.path.parent.name
    jax.config.update("jax_disable_most_optimizations", room in COMPILED_QUICKLY)
    yield
    jax.clear_caches()
